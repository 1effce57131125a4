"""The runs of a sweep: composed and checked before the first one starts, and found again by what they are."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ogreid import config
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.runs import Run
from ogreid.sweeps.file import EXPERIMENT, SweepFile

__all__ = ["Job", "fingerprint", "jobs_for"]

NOT_PART_OF_IT = (
    "name",
    "description",
    "wandb",
    "runs",
    "data.root",
    "data.num_workers",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
"""Settings that do not change a run's numbers."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        experiment: resolved.
        parameters: what the sweep file gave it.
        hash: of the experiment.
        earlier: the folder of the same run from the time before a setting was added, which changed its hash.
    """

    experiment: Experiment
    parameters: Mapping[str, Any]
    hash: str
    earlier: Path | None = None

    @property
    def run(self) -> Run:
        """Its folder: the hash stands where other runs have the time, so that equal settings are one run."""
        folder = f"{self.hash}-{self.experiment.seed}"
        return Run(self.earlier or _parent(self.experiment) / folder)

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return (self.run.folder / "summary.json").is_file()

    def told(self, keys: Iterable[str]) -> str:
        """Its parameters as a person would type them."""
        return " ".join(f"{key}={self.parameters[key]}" for key in keys if key in self.parameters)


def jobs_for(sweep: SweepFile, drawn: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> list[Job]:
    """Compose the experiment of every point; equal ones once.

    Args:
        sweep: where the experiment and the command's settings come from.
        drawn: the parameters of each run.
        overrides: the person's own settings, which win.

    Raises:
        InputError: a setting that does not exist or does not fit; a run that wants several devices.
    """
    jobs: dict[str, Job] = {}
    earlier = cache(_earlier)
    for parameters in drawn:
        name = str(parameters.get(EXPERIMENT, sweep.experiment))
        # As W&B's agent hands them over: Python's own spelling, which YAML reads alike for all that is not null.
        given = [f"{key}={value}" for key, value in parameters.items() if key != EXPERIMENT]
        group = [f"wandb.group={sweep.name}", "trainer.enable_progress_bar=false"]
        try:
            experiment = config.load(name, [*group, *sweep.command, *given, *overrides])
        except InputError as error:
            raise InputError(f"{sweep.path}: {error}") from error
        _check_devices(experiment, sweep)
        job = Job(experiment, dict(parameters), fingerprint(experiment))
        if not job.run.folder.exists():
            job = replace(job, earlier=earlier(_parent(experiment)).get(job.hash))
        jobs.setdefault(str(job.run.folder), job)
    return list(jobs.values())


def fingerprint(experiment: Experiment) -> str:
    """Ten hexadecimal digits of the settings that make a run's numbers."""
    plain = config.to_dict(experiment)
    for key in NOT_PART_OF_IT:
        group, _, leaf = key.rpartition(".")
        (plain[group] if group else plain).pop(leaf)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:10]


def _parent(experiment: Experiment) -> Path:
    return Path(experiment.runs.root) / experiment.name


def _earlier(parent: Path) -> dict[str, Path]:
    """Hash as it would be today -> folder, of the runs of sweeps that came to a checkpoint or to their end.

    What their ``experiment.yaml`` does not hold was not a setting yet, and has its default.
    """
    found: dict[str, Path] = {}
    for folder in sorted(parent.glob("*-*")):
        run = Run(folder)
        began = run.last.is_file() or (folder / "summary.json").is_file()
        if began and re.fullmatch(r"[0-9a-f]{10}-\d+", folder.name):
            with suppress(InputError):  # of a setting that is gone, or not readable: another run
                found.setdefault(fingerprint(run.experiment()), folder)
    return found


def _check_devices(experiment: Experiment, sweep: SweepFile) -> None:
    how = experiment.trainer
    several = how.devices.isdigit() and int(how.devices) > 1
    if several or how.num_nodes > 1:
        raise InputError(
            f"{sweep.path}: each run here has one device (--processes P runs P of them at once), asked were "
            f"trainer.devices={how.devices} num_nodes={how.num_nodes}; wandb agent runs such sweeps"
        )
