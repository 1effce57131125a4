"""Reading our own checkpoints back, strictly, without running anything that is in them."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ogreid import config, runs
from ogreid.config import Experiment
from ogreid.errors import UserError
from ogreid.losses import build_loss
from ogreid.models import build_model
from ogreid.module import ReidModule

__all__ = ["Restored", "build_module", "restore"]


@dataclass(frozen=True)
class Restored:
    """A trained module and the experiment that made it."""

    module: ReidModule
    experiment: Experiment
    path: Path


def build_module(experiment: Experiment, identities: int) -> ReidModule:
    """The untrained network and its loss, as the experiment says.

    Args:
        experiment: resolved.
        identities: classes of the classifier; 0 for a network that is only judged.
    """
    backend = {} if experiment.ops.backend == "auto" else {"backend": experiment.ops.backend}
    network = build_model(experiment.model.name, **experiment.model.overrides(), **backend)
    loss = None
    if identities:
        width = int(network.width)  # type: ignore[arg-type]  # nn.Module types every attribute as Tensor | Module
        loss = build_loss(experiment.loss.name, width, identities, **experiment.loss.options())
    return ReidModule(network, loss, experiment.optimiser, experiment.validation.views)


def restore(path: str | Path) -> Restored:
    """The module in a checkpoint of ours.

    Args:
        path: a run folder (its best checkpoint is taken) or a ``.ckpt`` file.

    Raises:
        UserError: nothing there, unreadable, not ours, or of another network.
    """
    file = Path(path) if str(path).endswith(".ckpt") else runs.open_run(path).best
    content = _read(file)
    experiment = config.from_dict(content["ogreid"]["experiment"], where=str(file))
    module = build_module(experiment, int(content["ogreid"]["identities"]))
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{file}: does not fit the network it names ({experiment.model.name}): {first}") from error
    return Restored(module.eval(), experiment, file)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(f"{file}: no checkpoint there; give a run folder or a .ckpt file")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{file}: not readable as a checkpoint (truncated, or not plain tensors): {why}") from error
    if not isinstance(content, dict) or "ogreid" not in content or "state_dict" not in content:
        raise UserError(f"{file}: not a checkpoint of ogreid; released ones are read by --published FOLDER")
    return content
