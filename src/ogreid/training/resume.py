"""Going on with a run: from which checkpoint, and with which settings it may differ."""

import logging
import os
from pathlib import Path
from typing import Any

from ogreid import config
from ogreid.training.train import checkpoint
from ogreid.ops import collectives
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.runs import Run

__all__ = ["changes", "place_to_start"]

log = logging.getLogger(__name__)

FREE = (
    "name",
    "description",
    "data.root",
    "data.resident",
    "data.num_workers",
    "evaluation.save_embeddings",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.save_every_n_steps",
    "trainer.skip_bad_steps",
    "wandb.",
    "runs.",
)
"""May differ without a word: what is learned does not depend on it."""

FIXED = (
    "model.",
    "loss.name",
    "data.train",
    "data.inputs",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.amsgrad",
)
"""May not differ: the network would be another one, or the value lies in the optimizer's state and would be ignored."""


def place_to_start(run: Run, resume: str | None, experiment: Experiment) -> Path | None:
    """The checkpoint to go on from; None to begin at the beginning.

    A run that was killed before its first checkpoint begins again in its folder. So does, from its last checkpoint, a
    job that SLURM put back into the queue: it is started with the command of the first time.

    Args:
        run: the folder.
        resume: what was asked: a run folder or a checkpoint; None for a new run.
        experiment: as it shall go on.

    Raises:
        InputError: a checkpoint that cannot be read or gone on from, or settings that do not fit it.
    """
    queued_again = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
    if resume is None and not queued_again:
        return None
    asked = resume is not None and resume.endswith(".ckpt")
    start = Path(str(resume)) if asked else run.last
    if not asked and not start.is_file():
        if distributed.rank() == 0:
            log.warning("%s: has no checkpoint yet, so the run begins at the beginning", run.folder)
            (run.folder / "metrics.csv").unlink(missing_ok=True)
        return None
    content = checkpoint.read(start)
    if "bad" in content or start.name == run.average.name:
        raise InputError(f"{start}: is not a step of the training; give the run folder, or its last.ckpt or best.ckpt")
    _check(start, config.from_dict(content["ogreid"]["experiment"], where=str(start)), experiment)
    return start


def changes(old: Experiment, new: Experiment) -> dict[str, tuple[Any, Any]]:
    """Settings that matter to what is learned and are not the same, by their dotted names: (old, new)."""
    before, now = (_flat(config.to_dict(experiment)) for experiment in (old, new))
    return {key: (before[key], now[key]) for key in now if before[key] != now[key] and not key.startswith(FREE)}


def _check(start: Path, old: Experiment, new: Experiment) -> None:
    changed = changes(old, new)
    fixed = {key: both for key, both in changed.items() if key.startswith(FIXED)}
    if fixed:
        raise InputError(f"{start}: cannot go on with {_told(fixed)}; start a new run with --experiment")
    if changed and distributed.rank() == 0:
        log.warning("goes on with other settings, so not to the numbers of an unbroken run: %s", _told(changed))


def _told(changed: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{key}={now} (was {before})" for key, (before, now) in changed.items())


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
