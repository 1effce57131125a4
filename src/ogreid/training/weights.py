"""A backbone that was trained before, as the start of another training."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ogreid import files
from ogreid.errors import InputError, MissingFileError
from ogreid.models.pretrained import SHIPPED, read_safetensors
from ogreid.models.published import load_published, unwrapped_names
from ogreid.runs import Run
from ogreid.training.distributed import rank

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """Trained weights.

    Attributes:
        path: of the file.
        network: the backbone's ``state_dict``.
        head: the classifier's; empty where the file has none.
        stores: that they were trained on, in order; empty where the file does not say.
        record: path, SHA-256 and experiment, for ``summary.json``.
    """

    path: Path
    network: dict[str, Tensor]
    head: dict[str, Tensor] = field(default_factory=dict)
    stores: tuple[str, ...] = ()
    record: dict[str, str] = field(default_factory=dict)


def read_weights(path: str | Path) -> Weights:
    """Weights of a backbone.

    Args:
        path: a run folder (its result is taken), a ``.ckpt`` file of a run or of any Trainer, a file with a backbone's
            ``state_dict`` (``.safetensors`` or torch's own; names may carry ``module.``, ``_orig_mod.`` and
            ``network.``), a released folder, or ``synthetic``, which ships with ogreid.

    Raises:
        InputError: nothing there, unreadable, or neither of these.
    """
    folder = SHIPPED if path == "synthetic" else Path(path)
    if folder.suffix == ".safetensors":
        state, _ = read_safetensors(folder)
        return Weights(folder, unwrapped_names(state), record=_record(folder, "safetensors"))
    if (folder / "opts.yaml").is_file():
        network, _ = load_published(folder)
        return Weights(file := folder / "model_last.pth", network.state_dict(), record=_record(file, "published"))
    file = Run.open(folder).result if folder.is_dir() or not folder.suffix else folder
    content = read_tensors(file)
    if not isinstance(content.get("state_dict"), dict):
        state = unwrapped_names(content)
        if not state or not all(isinstance(value, Tensor) for value in state.values()):
            raise InputError(f"{file}: expected a checkpoint or the state_dict of a backbone, got neither")
        return Weights(file, state, record=_record(file, "state_dict"))
    state, experiment = content["state_dict"], _inside(_inside(content, "ogreid"), "experiment")
    stores = _stores(_inside(content, "datamodule_hyper_parameters"))
    record = _record(file, str(experiment.get("name", "")))
    return Weights(file, _part(state, "network."), _part(state, "head."), stores, record)


def read_tensors(file: Path) -> dict[str, Any]:
    """The content of a file of ``torch.save``: plain tensors, numbers and text.

    Raises:
        InputError: nothing there, unreadable, or no dictionary.
    """
    if not file.is_file():
        raise MissingFileError(f"{file}: no checkpoint there; give a run folder or a .ckpt file")
    try:
        content = files.read_tensors(file)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{file}: not readable as a checkpoint: {reason}; copy it again, or take another one"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a checkpoint, got a {type(content).__name__}")
    return content


def start_network(network: nn.Module, path: str | Path) -> Weights:
    """Give a network the weights of :func:`read_weights`.

    Raises:
        InputError: they are not those of this network, with both shapes.
    """
    weights = read_weights(path)
    name = type(network).__name__
    check_fit(network.state_dict(), weights.network, f"{weights.path}: does not fit {name} with these options")
    network.load_state_dict(weights.network)
    return weights


def start_classifier(head: nn.Module, weights: Weights, stores: Sequence[str]) -> None:
    """Give a classifier the weights, where they were trained on the same stores; one line says so, or that it is new.

    Args:
        head: new.
        weights: of :func:`read_weights`.
        stores: that are trained on now.
    """
    state = head.state_dict()
    if stores and tuple(stores) == weights.stores and _shapes(state) == _shapes(weights.head):
        head.load_state_dict(weights.head)
        source = "from the weights"
    else:
        before = weights.head.get("classifier.weight")
        source = "new" + (f" (the weights had {len(before)} identities)" if isinstance(before, Tensor) else "")
    if rank() == 0:
        classes = len(state["classifier.weight"])
        log.info("%s: starts the network; classifier of %d identities: %s", weights.path, classes, source)


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Any], problem: str) -> None:
    """Refuse weights that are not exactly those of a network.

    Args:
        expected: the network's ``state_dict``.
        state: the weights.
        problem: start of the error.

    Raises:
        InputError: a weight that is missing, additional, or of another shape or kind.
    """
    for name in sorted({*expected, *map(str, state)}):
        if name not in state or name not in expected:
            raise InputError(f"{problem}: {name} is {'missing' if name in expected else 'not part of it'}")
        ours, theirs = expected[name], state[name]
        if not isinstance(theirs, Tensor):
            raise InputError(f"{problem}: {name} is not a tensor")
        if ours.shape != theirs.shape or ours.dtype.is_floating_point != theirs.dtype.is_floating_point:
            raise InputError(
                f"{problem}: {name} is {tuple(theirs.shape)} {theirs.dtype}, not {tuple(ours.shape)} {ours.dtype}"
            )


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _inside(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {str(name)[len(prefix) :]: value for name, value in state.items() if str(name).startswith(prefix)}


def _stores(data: Mapping[str, Any]) -> tuple[str, ...]:
    train = data.get("train", ())
    return (train,) if isinstance(train, str) else tuple(map(str, train)) if isinstance(train, list | tuple) else ()


def _record(file: Path, experiment: str) -> dict[str, str]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"path": str(file), "sha256": digest, "experiment": experiment}
