"""The folder of one run, and what it was made with.

``runs/<experiment>/<stamp>-<seed>/`` holds ``experiment.yaml``, ``metrics.csv``, ``summary.json``,
``checkpoints/{best,last}.ckpt``, ``wandb/``, ``pictures/``, ``report.html`` and ``log.txt``.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf

from ogreid import config, foreign, locks
from ogreid.config import Experiment
from ogreid.errors import UserError

__all__ = ["Run", "open_run", "provenance", "start_run", "write_atomically"]

PATIENCE = 15  # seconds
STAMP = "OGREID_STAMP"
"""Set by the first process of a run, so that every process of it writes to the same folder."""


@dataclass(frozen=True)
class Run:
    """Paths inside one run folder."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of ``best.ckpt`` and ``last.ckpt``."""
        return self.folder / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the process that trains here."""
        return self.folder / "lock"

    @property
    def last(self) -> Path:
        """Where training goes on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def average(self) -> Path:
        """The averaged weights, where the experiment averages."""
        return self.checkpoints / "average.ckpt"

    @property
    def best(self) -> Path:
        """The averaged weights, else the checkpoint with the highest ``val/mAP``, else the last one."""
        candidates = (self.average, self.checkpoints / "best.ckpt", self.last)
        return next((path for path in candidates if path.is_file()), self.last)

    @property
    def tracking_id(self) -> str:
        """W&B's run id: a function of the folder's name, so that a resumed run is the same run there."""
        return hashlib.sha256("/".join(self.folder.parts[-2:]).encode()).hexdigest()[:12]

    def experiment(self, overrides: tuple[str, ...] = ()) -> Experiment:
        """The resolved experiment that this folder was started with."""
        path = self.folder / "experiment.yaml"
        try:
            plain = OmegaConf.to_container(foreign.read_yaml(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable as YAML ({error}); copy the run again") from error
        if not isinstance(plain, dict):
            raise UserError(f"{path}: expected the settings of an experiment; copy the run again")
        return config.from_dict({str(k): v for k, v in plain.items()}, overrides, where=str(path))

    def summary(self) -> dict[str, Any]:
        """``summary.json`` as far as it was written."""
        path = self.folder / "summary.json"
        if not path.is_file():
            return {}
        try:
            return dict(foreign.read_json(path, most=1 << 26))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not a readable summary ({error}); delete it, or copy the run again") from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace ``summary.json`` in one step; what could not be judged (NaN) is null."""
        write_atomically(self.folder / "summary.json", json.dumps(_plain(summary), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything that JSON can hold
    """The same, with None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def start_run(experiment: Experiment, stamp: str) -> Run:
    """The folder of a new run, with the resolved experiment in it.

    A second process of the same run (same stamp) finds the folder already there; a second *run* in the same second
    gets the next free number, because the first process makes the stamp unique by creating the folder.
    """
    from ogreid import processes  # torch comes with it, and a door that only reads runs has no use for that

    folder = Path(experiment.runs.root) / experiment.name / f"{stamp}-{experiment.seed}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if processes.rank() == 0 and not (folder / "experiment.yaml").exists():
            write_atomically(folder / "experiment.yaml", config.to_yaml(experiment))
    except OSError as error:
        raise UserError(
            f"{experiment.runs.root}: no run can be kept there ({error.strerror}); choose another with runs.root=..."
        ) from error
    return Run(folder)


def hold(run: Run) -> IO[bytes]:
    """The run's lock, for ``locks.release``: two fits never write to one folder.

    Raises:
        UserError: another process trains here, or the folder cannot be written.
    """
    # The loader's workers inherit the lock, and those of a run that was killed see only after some seconds that it was.
    for _ in range(int(10 * PATIENCE) + 1):
        try:
            file = locks.held(run.lock)
        except OSError as error:
            raise UserError(
                f"{run.folder}: cannot be written ({error.strerror}); copy the run to go on with it"
            ) from error
        if file is not None:
            return file
        time.sleep(0.1)
    raise UserError(f"{run.folder}: another process trains here; wait for it to end, or start a run of its own")


def new_stamp(experiment: Experiment) -> str:
    """A stamp whose folder does not exist yet, the same on every process of the run.

    Lightning's own launcher hands it over by the environment; processes that torchrun started agree on it.
    """
    if STAMP in os.environ:
        return os.environ[STAMP]
    if int(os.environ.get("NODE_RANK", 0)) and "RANK" not in os.environ:
        raise UserError(f"node {os.environ['NODE_RANK']} cannot know the run's folder: set {STAMP}, or use torchrun")
    if "SLURM_JOB_ID" in os.environ and "SLURM_PROCID" in os.environ:
        stamp = f"job{os.environ['SLURM_JOB_ID']}"  # the same on every task of the job, and after a re-queue
    else:
        from ogreid import processes

        parent = Path(experiment.runs.root) / experiment.name
        stamp = processes.agree(lambda: _free_stamp(parent, experiment.seed))
    os.environ[STAMP] = stamp
    return stamp


def _free_stamp(parent: Path, seed: int) -> str:
    """A stamp whose folder did not exist; it is made at once, so that two runs of the same second get one each."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    for stamp in (now if i == 0 else f"{now}.{i}" for i in range(1000)):
        try:
            (parent / f"{stamp}-{seed}").mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:
            pass  # start_run tells what is wrong with the place
        return stamp
    raise UserError(f"{parent}: 1000 runs were started in one second; wait for the next")


def open_run(path: str | Path) -> Run:
    """The run that ``path`` (its folder, or a checkpoint in it) belongs to.

    Raises:
        UserError: there is no run there.
    """
    folder = Path(path)
    if folder.suffix == ".ckpt":
        folder = folder.parent.parent
    if not (folder / "experiment.yaml").is_file():
        raise UserError(
            f"{path}: not a run (no experiment.yaml in {folder}); give a folder like runs/demo/<stamp>-<seed>"
        )
    return Run(folder)


def provenance() -> dict[str, str]:
    """Git revision, versions and machine: what a number was made with."""
    names = ("ogreid", "torch", "lightning", "torchmetrics", "numpy", "numba", "wandb")
    found = {name: _version(name) for name in names}
    return {"git": _revision(), "python": platform.python_version(), "platform": platform.platform(), **found}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _revision() -> str:
    """The revision of the source checkout; "unknown" where the package was installed without one."""
    here = Path(__file__).parent
    try:
        top = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return top.stdout.strip()


def write_atomically(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)
