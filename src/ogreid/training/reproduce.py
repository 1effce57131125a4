"""Reproducing a training step whose loss or gradient was not finite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError, MissingFileError, collect_refusals
from ogreid.training.callbacks.nan_guard import first_not_finite
from ogreid.training.callbacks.seeding import seed_step
from ogreid.training.checkpoint import load_checkpoint, read_checkpoint
from ogreid.training.module import ReIDModule

NUMBERS = ("processes", "epoch", "batch", "seed")
TENSORS = CloudBatch._fields[:5]


def reproduce_step(path: str) -> Iterator[str]:
    """Repeat the step that a ``bad-step-N.ckpt`` of :class:`NaNGuard` holds.

    Args:
        path: of the file.

    Yields:
        Lines that say, for each process, what the loss is and where a number that is not finite first appears.

    Raises:
        InputError: no such file, or not of a failing step.
    """
    if not Path(path).is_file():
        kind = "a folder" if Path(path).is_dir() else "no such file"
        raise MissingFileError(f"{path}: {kind}; give a bad-step-N.ckpt, which a run saves in checkpoints/")
    step = _checked(read_checkpoint(path).get("failing_step"), path)
    module = load_checkpoint(path).module.train()
    parts = zip(*(step[name].chunk(step["processes"]) for name in TENSORS), strict=True)
    for rank, part in enumerate(parts):
        batch = CloudBatch(*part)
        seed_step(step["seed"], step["epoch"], step["batch"], rank)
        first = first_not_finite(module, batch)
        seed_step(step["seed"], step["epoch"], step["batch"], rank)
        yield f"process {rank}, epoch {step['epoch']}, batch {step['batch']}: {_losses(module, batch)}"
        yield f"first: {first}"
    yield from (f"  {cloud}" for cloud in step["clouds"])


def _checked(step: Any, path: str) -> dict[str, Any]:  # noqa: ANN401 - whatever a checkpoint holds
    if step is None:
        raise InputError(f"{path}: holds no batch; give a bad-step-N.ckpt, which a run saves when its loss is nan")
    if isinstance(step, dict) and "xyz" not in step:
        again = f"python -m ogreid.fit --resume {Path(path).parent.parent} runs.pictures=true"
        raise InputError(f"{path}: saved without its clouds (runs.pictures=false); to reproduce the step: {again}")
    content: dict[str, Any] = step if isinstance(step, dict) else {}
    valid = [isinstance(content.get(name), Tensor) and content[name].dim() > 0 for name in TENSORS]
    valid += [type(content.get(name)) is int for name in NUMBERS]
    if not all(valid) or len({len(content[name]) for name in TENSORS}) != 1:
        raise InputError(f"{path}: its batch is not whole; copy it again, or take another one")
    if not 0 < content["processes"] <= len(content["xyz"]):
        raise InputError(f"{path}: its batch is not whole; copy it again, or take another one")
    return {"clouds": [], **content}


def _losses(module: ReIDModule, batch: CloudBatch) -> str:
    """Every term of the loss, or what an operation refuses."""
    with collect_refusals([]) as refused:
        terms = module.losses(batch)
    return refused[0] if refused else ", ".join(f"{name} {float(value):.6g}" for name, value in terms.items())
