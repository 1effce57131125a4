"""Reading checkpoints back, strictly and without running anything in them: of a run, or of any Trainer."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ogreid import config, files
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.runs import Run
from ogreid.training.module import ReIDModule
from ogreid.training.weights import check_fit, read_tensors


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A trained module and how it was trained.

    Attributes:
        module: in evaluation mode, on the CPU.
        data: arguments of the ``ReIDDataModule`` it was trained with; empty where another module gave the data.
        path: of the file.
        experiment: of the run; None where a plain Trainer wrote the checkpoint.
    """

    module: ReIDModule
    path: Path
    data: dict[str, Any] = field(default_factory=dict)
    experiment: Experiment | None = None


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """The module in a checkpoint.

    Args:
        path: a run folder (its result is taken) or a ``.ckpt`` file.

    Raises:
        InputError: nothing there, unreadable, not of a ``ReIDModule``, or of another network than it names.
    """
    file = Path(path) if str(path).endswith(".ckpt") else Run.open(path).result
    content = read_checkpoint(file)
    arguments = _arguments(content["hyper_parameters"], ReIDModule, file)
    if arguments.get("model") is None or arguments.get("loss") is None:
        raise InputError(
            f"{file}: was trained with a network or loss of your own, which only your program can build: "
            "ReIDModule.load_from_checkpoint(path, model=..., loss=...)"
        )
    # It may name a network of any size. Memory is taken only after the weights, which are there, turned out to fit it.
    with torch.device("meta"):
        expected = ReIDModule(**arguments).state_dict()
    check_fit(expected, content["state_dict"], f"{file}: does not fit the network it names ({arguments['model']})")
    module = ReIDModule(**arguments)
    module.load_state_dict(content["state_dict"])
    return LoadedCheckpoint(module.eval(), file, _data_arguments(content, file), recorded_experiment(content, file))


def recorded_experiment(content: Mapping[str, Any], file: Path) -> Experiment | None:
    """The experiment of the run that wrote a checkpoint; None where a plain Trainer did."""
    recorded = content.get("ogreid")
    if recorded is None:
        return None
    if not isinstance(recorded, dict) or not isinstance(recorded.get("experiment"), dict):
        raise InputError(f"{file}: names no experiment; copy it again")
    return config.from_dict(recorded["experiment"], where=str(file))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a Lightning checkpoint of a ``ReIDModule``: plain tensors, numbers and text.

    Raises:
        InputError: nothing there, unreadable, or not such a checkpoint.
    """
    file = Path(path)
    content = read_tensors(file)
    required = ("state_dict", "hyper_parameters")
    if not all(isinstance(content.get(name), dict) for name in required):
        raise InputError(f"{file}: not a checkpoint of ogreid; released ones are read by --published FOLDER")
    return content


def _arguments(hyper_parameters: Mapping[str, Any], kind: type, file: Path) -> dict[str, Any]:
    """Arguments of a class as a checkpoint holds them; Lightning's own entries begin with ``_``."""
    arguments = {str(key): value for key, value in hyper_parameters.items() if not str(key).startswith("_")}
    try:
        files.check_plain(arguments)
        inspect.signature(kind).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: its hyperparameters are not those of {kind.__name__} ({error})") from error
    return arguments


def _data_arguments(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    from ogreid.data.module import ReIDDataModule

    arguments = content.get("datamodule_hyper_parameters")
    if not isinstance(arguments, dict) or not {"num_points", "inputs"} <= arguments.keys():
        return {}  # another data module's
    arguments = _arguments(arguments, ReIDDataModule, file)
    try:
        ReIDDataModule(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: its data settings are not usable ({error})") from error
    return arguments
