"""Resuming a run: from which checkpoint, and with which settings it may differ."""

import logging
import os
from pathlib import Path
from typing import Any

from ogreid import config
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.runs import STAMP, Run
from ogreid.training.checkpoint import read_checkpoint, recorded_experiment
from ogreid.training.distributed import rank

log = logging.getLogger(__name__)


def is_finished(run: Run, resume: str | None, experiment: Experiment) -> bool:
    """Whether a run that is continued has its results already, and no setting makes it longer or another one."""
    continued = _requeued() if resume is None else not resume.endswith(".ckpt")
    steps = run.summary().get("steps") if continued and run.last.is_file() else None
    if steps is None:
        return False
    content = read_checkpoint(run.last)
    recorded = recorded_experiment(content, run.last)
    return (
        recorded is not None and content["global_step"] == steps and not config.changed_settings(recorded, experiment)
    )


def _requeued() -> bool:
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def starting_checkpoint(run: Run, resume: str | None, experiment: Experiment) -> Path | None:
    """The checkpoint that a run starts from; None to begin at the beginning.

    A run that was killed before its first checkpoint begins again in its folder. So does, from its last checkpoint, a
    job that SLURM put back into the queue: it is started with the command of the first time.

    Args:
        run: the folder.
        resume: a run folder or a checkpoint; None for a new run.
        experiment: as it continues.

    Raises:
        InputError: a checkpoint that cannot be read or resumed, or settings that do not fit it.
    """
    if resume is None and not _requeued():
        if run.last.is_file():
            raise InputError(f"{run.folder}: holds a run already; give --resume, or another {STAMP}")
        return None
    named = resume is not None and resume.endswith(".ckpt")
    start = Path(str(resume)) if named else run.last
    if not named and not start.is_file():
        if rank() == 0:
            log.warning("%s: has no checkpoint yet, so the run begins at the beginning", run.folder)
            (run.folder / "metrics.csv").unlink(missing_ok=True)
        return None
    content = read_checkpoint(start)
    recorded = recorded_experiment(content, start)
    if recorded is None or "failing_step" in content or start.name == run.average.name:
        raise InputError(f"{start}: is not a step of this run; give the run folder, or its last.ckpt or best.ckpt")
    _check(start, recorded, experiment)
    return start


def _check(start: Path, old: Experiment, new: Experiment) -> None:
    changed = {key: values for key, values in config.changed_settings(old, new).items() if values[2] != "extend"}
    fixed = {key: values for key, values in changed.items() if values[2] == "fixed"}
    if fixed:
        raise InputError(f"{start}: cannot be resumed with {_described(fixed)}; start a new run with --experiment")
    if changed and rank() == 0:
        log.warning("resumed with other settings, so not to the numbers of an unbroken run: %s", _described(changed))


def _described(changed: dict[str, tuple[Any, ...]]) -> str:
    return ", ".join(f"{key}={new} (was {old})" for key, (old, new, *_) in changed.items())
