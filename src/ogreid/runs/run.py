"""The folder of one run.

``runs/<experiment>/<stamp>-<seed>/`` holds ``experiment.yaml``, ``metrics.csv``, ``summary.json``,
``checkpoints/last.ckpt``, ``wandb/``, ``pictures/``, ``report.html`` and ``log.txt``.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ogreid import config, files
from ogreid.config import Experiment
from ogreid.errors import InputError, MissingFileError

STAMP = "OGREID_STAMP"
"""Environment variable that the first process of a run sets, so that every process of it writes to one folder."""

LOCK_TIMEOUT = 15  # seconds; loader workers inherit the lock, and notice only after some that their parent is gone


@dataclass(frozen=True)
class Run:
    """Paths and content of one run folder."""

    folder: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """The run that ``path`` (its folder, or a checkpoint in it) belongs to.

        Raises:
            MissingFileError: there is no run there.
        """
        folder = Path(path)
        if folder.suffix == ".ckpt":
            folder = folder.parent.parent
        if not (folder / "experiment.yaml").is_file():
            raise MissingFileError(
                f"{path}: not a run (no experiment.yaml in {folder}); give a folder like runs/demo/<stamp>-<seed>"
            )
        return cls(folder)

    @classmethod
    def start(cls, experiment: Experiment, stamp: str, *, write: bool = True) -> "Run":
        """The folder of a new run, with the resolved experiment in it.

        Args:
            experiment: resolved.
            stamp: the same on every process of the run; see :meth:`new_stamp`.
            write: whether this process writes ``experiment.yaml`` (the first one).

        Raises:
            InputError: the folder cannot be made.
        """
        folder = Path(experiment.runs.root) / experiment.name / f"{stamp}-{experiment.seed}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if write and not (folder / "experiment.yaml").exists():
                files.write_text(folder / "experiment.yaml", config.to_yaml(experiment))
        except OSError as error:
            raise InputError(
                f"{experiment.runs.root}: no run can be kept there ({error.strerror}); choose another with runs.root="
            ) from error
        return cls(folder)

    @staticmethod
    def new_stamp(experiment: Experiment) -> str:
        """A stamp whose folder did not exist; it is made at once, so that two runs of one second get one each."""
        parent = Path(experiment.runs.root) / experiment.name
        now = datetime.now().strftime("%Y%m%d-%H%M%S")
        for stamp in (now if i == 0 else f"{now}.{i}" for i in range(1000)):
            try:
                (parent / f"{stamp}-{experiment.seed}").mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError:
                pass  # start() says what is wrong with the place
            return stamp
        raise InputError(f"{parent}: 1000 runs were started in one second; wait for the next")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Two trainings never write to one folder.

        Raises:
            InputError: another process trains here, or the folder cannot be written.
        """
        try:
            lock = files.try_lock(self.folder / "lock", LOCK_TIMEOUT)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written ({error.strerror}); copy the run to resume it"
            ) from error
        if lock is None:
            raise InputError(f"{self.folder}: run in progress; wait for it to end, or start a run of its own")
        try:
            yield
        finally:
            (self.folder / "lock").unlink(missing_ok=True)  # before another process can hold it
            lock.release()

    @property
    def checkpoints(self) -> Path:
        """Folder of ``last.ckpt`` and, where the experiment asks for them, ``average.ckpt`` and ``best.ckpt``."""
        return self.folder / "checkpoints"

    @property
    def last(self) -> Path:
        """Where training is resumed from."""
        return self.checkpoints / "last.ckpt"

    @property
    def average(self) -> Path:
        """The averaged weights, where the experiment averages."""
        return self.checkpoints / "average.ckpt"

    @property
    def best(self) -> Path:
        """The network with the highest ``val/mAP``, where the experiment keeps it."""
        return self.checkpoints / "best.ckpt"

    @property
    def result(self) -> Path:
        """The network that the run is evaluated by.

        The averaged weights where it averages, the best ones where held-out identities chose them, else the last ones.
        """
        if self.average.is_file():
            return self.average
        chosen = self.best.is_file() and self.experiment().data.val == "holdout"
        return self.best if chosen else self.last

    @property
    def pictures(self) -> Path:
        """Folder of ranked galleries, clouds and maps of embeddings."""
        return self.folder / "pictures"

    @property
    def tracking_id(self) -> str:
        """W&B's run id: a function of the folder's name, so that a resumed run is the same run there."""
        return hashlib.sha256("/".join(self.folder.parts[-2:]).encode()).hexdigest()[:12]

    def experiment(self, overrides: tuple[str, ...] = ()) -> Experiment:
        """The resolved experiment that this folder was started with."""
        path = self.folder / "experiment.yaml"
        try:
            plain = OmegaConf.to_container(files.read_yaml(path))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as YAML ({error}); copy the run again") from error
        if not isinstance(plain, dict):
            raise InputError(f"{path}: expected the settings of an experiment; copy the run again")
        return config.from_dict({str(k): v for k, v in plain.items()}, overrides, where=str(path))

    def summary(self) -> dict[str, Any]:
        """``summary.json`` as far as it was written."""
        path = self.folder / "summary.json"
        if not path.is_file():
            return {}
        try:
            return dict(files.read_json(path, most=1 << 26))
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a readable summary ({error}); delete it, or copy the run again") from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace ``summary.json`` in one step; what could not be measured (NaN) is null."""
        text = json.dumps(without_nan(summary), indent=2, allow_nan=False)
        files.write_text(self.folder / "summary.json", f"{text}\n")


def without_nan(value: Any) -> Any:  # noqa: ANN401 - anything that JSON can hold
    """The same with None for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
