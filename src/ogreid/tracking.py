"""Where numbers go while training: ``metrics.csv`` always, Weights & Biases unless disabled."""

import csv
import io
import netrc
import os
from pathlib import Path
from typing import Any

import lightning as L
import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ogreid import config
from ogreid.config import Experiment
from ogreid.runs import Run, write_atomically

__all__ = ["KeepPlace", "ProjectWandbLogger", "RunCSVLogger", "loggers_for", "wandb_mode"]


class _GoingOn(ExperimentWriter):
    """Appends to a ``metrics.csv`` that is there; Lightning's own writer deletes it, and a resumed run its history."""

    rows: int

    def save(self) -> None:
        """Append what was logged since the last time."""
        self.rows += len(self.metrics)
        super().save()

    def cut(self, rows: int) -> None:
        """Keep the first rows of the file; what stands after them was logged by a process that got no further."""
        if rows < self.rows:
            self._rewrite(self._read()[:rows])
            self.rows = rows

    def _check_log_dir_exists(self) -> None:
        self.rows = 0
        if Path(self.metrics_file_path).is_file():
            with Path(self.metrics_file_path).open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])
            self.rows = len(self._read())

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._rewrite(self._read())

    def _read(self) -> list[dict[str, str]]:
        with Path(self.metrics_file_path).open(newline="") as file:
            return list(csv.DictReader(file))

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        """Beside, then renamed: Lightning's own rewrites in place, where a kill loses everything."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(Path(self.metrics_file_path), text.getvalue())


class RunCSVLogger(CSVLogger):
    """``metrics.csv`` in the run folder itself, continued when the run is."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made at its first use."""
        if self._experiment is None:
            self._experiment = _GoingOn(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]  # Lightning declares its private parent


class KeepPlace(L.Callback):
    """Every checkpoint says how long ``metrics.csv`` was, and a resumed run cuts it to that: no row is lost or doubled.

    Args:
        logger: whose file.
    """

    def __init__(self, logger: RunCSVLogger) -> None:
        self.logger = logger

    def state_dict(self) -> dict[str, int]:
        """Called by Lightning for each checkpoint; what was logged before it is on the disk before it."""
        self.logger.save()
        writer = self.logger.experiment
        return {"rows": writer.rows if isinstance(writer, _GoingOn) else 0}  # not the first process: no writer

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Called by Lightning when a run goes on."""
        writer = self.logger.experiment
        if isinstance(writer, _GoingOn):
            writer.cut(state_dict["rows"])


class ProjectWandbLogger(WandbLogger):
    """Lightning's logger without the ``anonymous`` setting, which W&B 0.31 warns about even where it is None."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed on as they are
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)


def loggers_for(experiment: Experiment, run: Run) -> list[Logger]:
    """The CSV file of the run folder, and W&B beside it."""
    made: list[Logger] = [RunCSVLogger(save_dir=run.folder, name="", version="", flush_logs_every_n_steps=50)]
    mode = wandb_mode(experiment.wandb.mode)
    if mode != "disabled":
        made.append(_wandb(experiment, run, offline=mode == "offline"))
    return made


def wandb_mode(asked: str) -> str:
    """``auto`` becomes ``online`` where a key is known (environment or netrc), else ``offline``: it never asks."""
    if asked != "auto":
        return asked
    if os.environ.get("WANDB_MODE") in {"online", "offline", "disabled"}:
        return os.environ["WANDB_MODE"]
    return "online" if os.environ.get("WANDB_API_KEY") or _netrc_has_key() else "offline"


def _netrc_has_key() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def _wandb(experiment: Experiment, run: Run, *, offline: bool) -> ProjectWandbLogger:
    how = experiment.wandb
    in_repository = any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
    return ProjectWandbLogger(
        project=how.project,
        entity=how.entity,
        name=f"{experiment.name}-{run.folder.name}",
        id=run.tracking_id,
        # Absolute: W&B's service may have been started by an earlier run, in another working directory.
        save_dir=run.folder.resolve(),
        offline=offline,
        resume=None if offline else "allow",  # offline runs are joined by their id when they are synchronised
        group=how.group or experiment.name,
        tags=[experiment.name, experiment.model.name, experiment.loss.name, *how.tags],
        config=config.to_dict(experiment),
        settings=wandb.Settings(disable_git=not in_repository, silent=True, console="off"),
    )
