"""Networks in safetensors files that rebuild themselves; one ships with ogreid, trained on synthetic people only."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ogreid import files
from ogreid.errors import InputError, MissingFileError
from ogreid.models import build_model, describe

SHIPPED = Path(__file__).with_name("synthetic.safetensors")
"""What commands take where no network is named; how it was trained and what it can do: docs/network.md."""


class Pretrained(NamedTuple):
    """A network, and what its file says of it.

    Attributes:
        network: in evaluation mode.
        data: arguments of ``ReIDDataModule`` that its input is prepared with.
        options: of ``ReIDModule``: ``scales`` and ``mirror``.
        card: how it was trained, as text.
    """

    network: nn.Module
    data: dict[str, Any]
    options: dict[str, Any]
    card: dict[str, str]


def load_pretrained(path: str | Path = SHIPPED) -> Pretrained:
    """Read a network that :func:`save_pretrained` wrote.

    Args:
        path: a ``.safetensors`` file; the network that ships with ogreid where none is given.

    Raises:
        InputError: nothing there, unreadable, or weights that are not those of the network it names.
    """
    state, text = read_safetensors(path)
    try:
        about = json.loads(text["ogreid"])
        name, options = about["network"]
        data, views, card = (dict(about[key]) for key in ("data", "options", "card"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: names no network of ogreid; give model.weights=FILE and model.name=NAME") from error
    try:
        with torch.device("meta"):  # it may name a network of any size; memory is taken for one that fits the file
            expected = {key: value.shape for key, value in build_model(name, **options).state_dict().items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: names a network that cannot be built ({error}); copy it again") from error
    if expected != {key: value.shape for key, value in state.items()}:
        raise InputError(f"{path}: its weights are not those of {name} with {options}; copy it again")
    network = build_model(name, **options)
    network.load_state_dict(state)
    return Pretrained(network.eval(), data, views, card)


def save_pretrained(
    network: nn.Module, path: Path, *, data: dict[str, Any], options: dict[str, Any], card: dict[str, str]
) -> None:
    """Write a network of the registry in half precision, which is read in single precision.

    Args:
        network: of a class of ours, see :func:`ogreid.models.describe`.
        path: a ``.safetensors`` file; written beside, then renamed.
        data: see :class:`Pretrained`.
        options: see :class:`Pretrained`.
        card: see :class:`Pretrained`.

    Raises:
        InputError: a network that is in no registry.
    """
    described = describe(network)
    if described is None:
        raise InputError(f"{type(network).__name__} is in no registry, so that no file can name it")
    half = {key: _narrow(value).contiguous() for key, value in network.state_dict().items()}
    about = {"network": described, "data": data, "options": options, "card": card}
    with files.atomic_write(path) as file:
        file.write(save(half, {"ogreid": json.dumps(about)}))


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, floating-point ones in float32, and its metadata.

    Raises:
        InputError: nothing there, or unreadable.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no weights there; give a .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable .safetensors file ({error}); copy it again") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}, metadata


def _narrow(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value
