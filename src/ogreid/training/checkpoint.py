"""Reading our own checkpoints back, strictly, without running anything that is in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ogreid import config, files, runs
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.losses import build_loss
from ogreid.training.memory import free_memory, readable_size
from ogreid.models import build_model
from ogreid.training.module import ReIDModule

__all__ = ["Restored", "build_module", "check_classifier", "read", "restore"]


@dataclass(frozen=True)
class Restored:
    """A trained module and the experiment that made it."""

    module: ReIDModule
    experiment: Experiment
    path: Path


def build_module(experiment: Experiment, identities: int, *, training: bool = True) -> ReIDModule:
    """The untrained network and its loss, as the experiment says.

    Args:
        experiment: resolved.
        identities: classes of the classifier; 0 for a network that is only judged.
        training: whether there must be memory for a gradient and the optimizer's states, too.

    Raises:
        InputError: a name that is unknown, or a classifier that does not fit into memory.
    """
    backend = {} if experiment.ops.backend == "auto" else {"backend": experiment.ops.backend}
    network = build_model(experiment.model.name, **experiment.model.overrides(), **backend)
    loss = None
    if identities:
        width = int(network.width)  # type: ignore[arg-type]  # nn.Module types every attribute as Tensor | Module
        check_classifier(width, identities, _device(experiment), copies=5 if training else 1)
        loss = build_loss(experiment.loss.name, width, identities, **experiment.loss.options())
    return ReIDModule(network, loss, experiment.optimizer, experiment.evaluation.scales)


def check_classifier(width: int, identities: int, device: str, copies: int = 5) -> None:
    """Refuse a classifier that does not fit, before anything is allocated.

    Args:
        width: of the embedding.
        identities: classes.
        device: ``cpu`` or ``cuda``.
        copies: of its weights; in training there are the gradient and Adam's three states (with amsgrad) beside them.

    Raises:
        InputError: with its size and what is free.
    """
    needed, free = copies * 4 * (width + 1) * identities, free_memory(device)
    if free is not None and needed > free:
        raise InputError(
            f"a classifier of {identities} identities x {width} takes {readable_size(needed)} (its weights"
            f"{', gradient and Adam states' * (copies > 1)}), and {readable_size(free)} are free ({device}); set "
            f"model.embedding lower, or train on fewer identities"
        )


def restore(path: str | Path) -> Restored:
    """The module in a checkpoint of ours.

    Args:
        path: a run folder (its best checkpoint is taken) or a ``.ckpt`` file.

    Raises:
        InputError: nothing there, unreadable, not ours, or of another network.
    """
    file = Path(path) if str(path).endswith(".ckpt") else runs.open_run(path).best
    content = read(file)
    experiment, identities = _told(content["ogreid"], file)
    # It may name a network of any size. Memory is taken only after the weights, which are there, turned out to fit it.
    with torch.device("meta"):
        wanted = build_module(experiment, identities, training=False).state_dict()
    _check_fit(wanted, content["state_dict"], f"{file}: does not fit the network it names ({experiment.model.name})")
    module = build_module(experiment, identities, training=False)
    module.load_state_dict(content["state_dict"])
    return Restored(module.eval(), experiment, file)


def _told(told: object, file: Path) -> tuple[Experiment, int]:
    """The experiment and the number of identities, where they are what :func:`restore` needs."""
    experiment, identities = (
        (told.get("experiment"), told.get("identities")) if isinstance(told, dict) else (None, None)
    )
    if not isinstance(experiment, dict) or not isinstance(identities, int) or identities < 0:
        raise InputError(f"{file}: names no experiment, or no number of identities; copy it again")
    return config.from_dict(experiment, where=str(file)), identities


def _check_fit(wanted: Mapping[str, Tensor], state: object, what: str) -> None:
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{what}: its state_dict is none")
    for name in sorted({*wanted, *map(str, state)}):
        if name not in state or name not in wanted:
            raise InputError(f"{what}: {name} is {'missing' if name in wanted else 'not part of it'}")
        ours, theirs = wanted[name], state[name]
        if ours.shape != theirs.shape or ours.dtype.is_floating_point != theirs.dtype.is_floating_point:
            raise InputError(
                f"{what}: {name} is {tuple(theirs.shape)} {theirs.dtype}, not {tuple(ours.shape)} {ours.dtype}"
            )


def _device(experiment: Experiment) -> str:
    """Where the classifier will be trained."""
    on_gpu = experiment.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "cuda" if on_gpu else "cpu"


def read(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint of ours: plain tensors, numbers and text.

    Raises:
        InputError: nothing there, unreadable, or not ours.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no checkpoint there; give a run folder or a .ckpt file")
    try:
        content = files.read_tensors(file)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: not readable as a checkpoint: {why}; copy it again, or take another one") from error
    if not isinstance(content, dict) or "ogreid" not in content or "state_dict" not in content:
        raise InputError(f"{file}: not a checkpoint of ogreid; released ones are read by --published FOLDER")
    return content
