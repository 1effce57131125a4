"""Where numbers go while training: ``metrics.csv`` always, Weights & Biases unless disabled."""

import csv
import netrc
import os
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ogreid import config
from ogreid.config import Experiment
from ogreid.runs import Run

__all__ = ["ProjectWandbLogger", "RunCSVLogger", "loggers_for", "wandb_mode"]


class _GoingOn(ExperimentWriter):
    """Appends to a ``metrics.csv`` that is there; Lightning's own writer deletes it, and a resumed run its history."""

    def _check_log_dir_exists(self) -> None:
        if self._fs.isfile(self.metrics_file_path):
            with self._fs.open(self.metrics_file_path, "r", newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class RunCSVLogger(CSVLogger):
    """``metrics.csv`` in the run folder itself, continued when the run is."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made at its first use."""
        if self._experiment is None:
            self._experiment = _GoingOn(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]  # Lightning declares its private parent


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
