"""Where numbers go while training: ``metrics.csv`` always, beside it the loggers that the experiment names."""

import csv
import io
import netrc
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning as L
import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ogreid import config
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.files import write_text
from ogreid.registry import LOGGERS, resolve
from ogreid.reporting.media import verification_media
from ogreid.runs import Run
from ogreid.training.callbacks.evaluation import LOGGED
from ogreid.training.callbacks.preemption import Stopped
from ogreid.training.distributed import rank

_STAGED = "WANDB_DATA_DIR"
_OPTIONAL = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "mlflow-skinny")}
"""Loggers, and the packages of which they need one."""


class _Continued(ExperimentWriter):
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
        write_text(Path(self.metrics_file_path), text.getvalue())


class RunCSVLogger(CSVLogger):
    """``metrics.csv`` in the run folder itself, continued when the run is."""

    def log_hyperparams(self, params: object = None) -> None:
        """Nothing: ``experiment.yaml`` has them."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _Continued(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]  # Lightning declares its private parent


class TrackPosition(L.Callback):
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
        return {"rows": writer.rows if isinstance(writer, _Continued) else 0}  # not the first process: no writer

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        writer = self.logger.experiment
        if isinstance(writer, _Continued):
            writer.cut(state_dict["rows"])


class ProjectWandbLogger(WandbLogger):
    """Lightning's logger with axes of our own, that ends its run and hands over files.

    Lightning's sets ``anonymous``, which W&B 0.31 warns about even where it is None.

    Args:
        by_epoch: metrics that are drawn over epochs; all others are drawn over ``trainer/global_step``.
        best: those of them whose summary is the largest value instead of the last one.
        **options: of Lightning's logger and of ``wandb.init``.
    """

    def __init__(self, *, by_epoch: Sequence[str] = (), best: Sequence[str] = (), **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)
        self.by_epoch, self.best = by_epoch, best

    @property
    @rank_zero_experiment
    def experiment(self) -> "wandb.Run":
        if self._experiment is None:
            run = super().experiment
            for name in self.by_epoch:
                run.define_metric(name, step_metric="epoch", summary="max" if name in self.best else None)
        return self._experiment

    def log_hyperparams(self, params: object = None) -> None:
        """Nothing: the whole experiment is the run's config from the start."""

    def log_file(self, path: Path, name: str, kind: str, metadata: dict[str, Any]) -> None:
        """Log a file as an artifact; it is read where it lies when the run is synchronized, not copied before.

        Args:
            path: the file.
            name: of the artifact, whose versions are the runs.
            kind: type of the artifact.
            metadata: of the artifact.
        """
        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), type=kind, metadata=metadata)
        artifact.add_file(str(path.resolve()), policy="immutable")
        self.experiment.log_artifact(artifact)

    def end(self, status: int, *, preempted: bool = False) -> None:
        """End W&B's run where one was started: another run in this process would be written into it.

        Args:
            status: 0 for a run that is finished; W&B calls all others failed.
            preempted: W&B then calls it preempted instead, and a sweep of its own queues it again.
        """
        if self._experiment is not None:
            if preempted:
                self._experiment.mark_preempting()
            self._experiment.finish(exit_code=status)
            self._experiment = None


@contextmanager
def tracked(experiment: Experiment, run: Run) -> Iterator[list[Logger]]:
    """Loggers of a run, ended when it ends, as failed where it fails, as preempted where a signal stops it.

    W&B's copies of tables lie in the run folder meanwhile, so that it can be synchronized from another machine.
    """
    loggers = loggers_for(experiment, run)
    ours = [logger for logger in loggers if isinstance(logger, ProjectWandbLogger)]
    staged = os.environ.setdefault(_STAGED, str((run.folder / "wandb" / "staged").resolve()))
    status, preempted = 1, False
    try:
        yield loggers
        status = 0
    except Stopped as stop:
        status, preempted = (1, True) if stop.code == 0 else (255, False)  # what W&B itself makes of Ctrl-C
        raise
    finally:
        for logger in ours:
            logger.end(status, preempted=preempted)
        if staged.startswith(str(run.folder.resolve())):
            del os.environ[_STAGED]


def loggers_for(experiment: Experiment, run: Run) -> list[Logger]:
    """The CSV file of the run folder first, then those that the experiment names."""
    names = dict.fromkeys(["csv", *experiment.logger])
    chosen = [resolve("logger", LOGGERS, name)(experiment, run) for name in names]
    return [logger for logger in chosen if logger is not None]


def check_loggers(experiment: Experiment) -> None:
    """Fail before any data is made, where the package of a logger is not installed."""
    for name, packages in _OPTIONAL.items():
        if name in experiment.logger and not any(map(_is_installed, packages)):
            raise InputError(f"logger: {name} is not installed; pip install {packages[-1]}")


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def csv_logger(_: Experiment, run: Run) -> Logger:
    """``metrics.csv`` in the run folder."""
    return RunCSVLogger(save_dir=run.folder, name="", version="", flush_logs_every_n_steps=50)


def tensorboard_logger(_: Experiment, run: Run) -> Logger:
    """Event files in ``tensorboard/`` of the run folder; a resumed run adds one."""
    return TensorBoardLogger(run.folder, name="tensorboard", version="", default_hp_metric=False)


def mlflow_logger(experiment: Experiment, run: Run) -> Logger | None:
    """``mlflow.db`` in the run folder, or the server at ``MLFLOW_TRACKING_URI``; a resumed run is another one there."""
    if rank():
        return None  # its constructor writes the database already
    server, folder = os.environ.get("MLFLOW_TRACKING_URI"), run.folder.resolve()
    return MLFlowLogger(
        experiment.name,
        run_name=run.folder.name,
        tracking_uri=server or f"sqlite:///{folder / 'mlflow.db'}",
        artifact_location=None if server else (folder / "mlruns").as_uri(),
    )


def log_files(loggers: Iterable[Logger], experiment: Experiment, run: Run, summary: Mapping[str, Any]) -> None:
    """Hand verification, the resulting checkpoint and the report to W&B, where it tracks the run.

    Args:
        loggers: of the trainer.
        experiment: whose name the artifacts have.
        run: whose files.
        summary: its numbers go with the checkpoint.
    """
    numbers = {key: summary[key] for key in ("retrieval", "transfer", "parameters", "provenance")}
    for logger in loggers:
        if isinstance(logger, ProjectWandbLogger):
            if summary["verification"]:
                logger.experiment.log(verification_media(summary["verification"]))
            for path, name, kind in (
                (run.result, experiment.name, "model"),
                (run.folder / "report.html", f"{experiment.name}-report", "report"),
            ):
                if path.is_file():
                    logger.log_file(path, name, kind, {"run": str(run.folder), **numbers})


def wandb_mode(mode: str) -> str:
    """``auto`` becomes ``online`` where a key is known (environment or netrc), else ``offline``: it never asks."""
    if mode != "auto":
        return mode
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


def wandb_logger(experiment: Experiment, run: Run) -> ProjectWandbLogger | None:
    """W&B as ``experiment.wandb`` says; None where its mode is ``disabled``."""
    config_, mode = experiment.wandb, wandb_mode(experiment.wandb.mode)
    if mode == "disabled":
        return None
    in_repository = any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
    tested = [f"val/{on}" for on in experiment.data.test]
    source = "+".join(experiment.data.train)
    moved = [f"transfer/{source}->{on}" for on in experiment.data.transfer]
    return ProjectWandbLogger(
        by_epoch=["val/mAP", *(f"{label}/{number}" for label in (*tested, *moved) for number in LOGGED)],
        best=[f"{label}/mAP" for label in tested],
        project=config_.project,
        entity=config_.entity,
        name=f"{experiment.name}-{run.folder.name}",
        id=run.tracking_id,
        # Absolute: W&B's service may have been started by an earlier run, in another working directory.
        save_dir=run.folder.resolve(),
        resume="allow" if mode == "online" else None,  # offline runs are joined by their id when they are synchronized
        group=config_.group or experiment.name,
        tags=[experiment.name, experiment.model.name, experiment.loss.name, *config_.tags],
        config=config.to_dict(experiment),
        # Not Lightning's ``offline``, which sets WANDB_MODE for everything that comes later in this process.
        settings=wandb.Settings(mode=mode, disable_git=not in_repository, silent=True, console="off"),
    )
