"""Checkpoints between two steps, so that a run that was killed anywhere resumes to the same bits."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from ogreid import config
from ogreid.config import Experiment
from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError
from ogreid.runs import provenance

log = logging.getLogger(__name__)


class LastCheckpoint(Checkpoint):
    """Writes one file at the end of each epoch, every so many steps, and before the last step ahead of a validation.

    Inside an epoch it is written when the *next* batch is there and its step has not begun: the step before is complete
    then, its row of ``metrics.csv`` included, which Lightning writes after every hook of that step. There is none
    between the last step of an epoch and its validation, because Lightning cannot repeat a validation on resume; the
    one before that step stands for it.

    Each file says what made it: ``checkpoint["ogreid"]`` holds the experiment and the provenance.

    Args:
        path: of the file.
        every: steps between two files of one epoch; 0 for ends of epochs only.
        experiment: recorded in every checkpoint.
    """

    is_checkpoint = True

    def __init__(self, path: Path, every: int, experiment: Experiment) -> None:
        self.path, self.every = path, every
        self.record = {"experiment": config.to_dict(experiment), "provenance": provenance()}
        self.inside = self.cut = False
        self.steps_per_epoch: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that is resumed inside an epoch must have batches of the same size.

        Raises:
            InputError: it has not.
        """
        before, now = self.steps_per_epoch, int(trainer.num_training_batches)
        if trainer.fit_loop.restarting and before is not None and before != now:
            raise InputError(
                f"{self.path}: was written inside an epoch of {before} steps, and with these settings an epoch has "
                f"{now}; resume with the data.batch_size and the number of processes that the run was started with"
            )
        self.steps_per_epoch = now

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: CloudBatch, batch_idx: int
    ) -> None:
        last = batch_idx + 1 == trainer.num_training_batches and _is_evaluated(trainer)
        if last or (self.every and batch_idx % self.every == 0):
            self.save_inside(trainer, batch_idx)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the validation, if there was one. A limit on steps or time may have cut the epoch short."""
        self.cut = trainer.fit_loop.batch_idx + 1 < trainer.num_training_batches
        self._save(trainer)
        self.cut = False

    def save_inside(self, trainer: L.Trainer, batch_idx: int) -> None:
        """Save before the step of ``batch_idx``, on all processes.

        Nothing is done at the start of an epoch, because the end of the last one stands for it, nor where gradients of
        several batches are being summed, because no checkpoint holds those.
        """
        if batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            self.inside = True
            self._save(trainer)
            self.inside = False

    def _save(self, trainer: L.Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            trainer.save_checkpoint(self.path, weights_only=False)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Inside an epoch the count is that of the steps that were made.

        Lightning has counted the batch whose step has not begun as fetched, and an epoch that is cut short as done.
        """
        checkpoint["ogreid"] = self.record
        loops = checkpoint["loops"]["fit_loop"]
        if self.inside or self.cut:
            batches = loops["epoch_loop.batch_progress"]
            batches["is_last_batch"] = False
            for count in (batches["total"], batches["current"]):
                count["ready"] = count["completed"]
        if self.cut:
            for count in (loops["epoch_progress"]["total"], loops["epoch_progress"]["current"]):
                count["processed"] = count["completed"]

    def state_dict(self) -> dict[str, Any]:
        return {"steps_per_epoch": self.steps_per_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps_per_epoch = state_dict["steps_per_epoch"]


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: written at the end of an epoch whose validation gave a higher ``val/mAP`` than any before.

    A validation of a part of the sets (``limit_val_batches``) writes none.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor="val/mAP",
            mode="max",
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        self.evaluated = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """There is a new number; of a part of the sets it is no result."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        missing = sum(float(value) for name, value in trainer.callback_metrics.items() if name.endswith("/missing"))
        if fitting and missing and trainer.is_global_zero:
            log.warning("%.0f samples were not evaluated, so no checkpoint is called the best", missing)
        self.evaluated = fitting and not missing

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Epochs without a validation are passed over: their number would be an old one, or none after a resume."""
        if self.evaluated:
            super().on_train_epoch_end(trainer, pl_module)
        self.evaluated = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best so far is known again even where the run folder was moved."""
        old = str(state_dict["best_model_path"])
        here = str(Path(str(self.dirpath), Path(old).name)) if old else ""
        scores = dict.fromkeys([here], state_dict["best_model_score"]) if here else {}
        moved = {"dirpath": self.dirpath, "best_model_path": here, "kth_best_model_path": here, "best_k_models": scores}
        super().load_state_dict(state_dict | moved | {"last_model_path": ""})


def _is_evaluated(trainer: L.Trainer) -> bool:
    """Whether the epoch that runs now ends with a validation."""
    every = trainer.check_val_every_n_epoch or 1
    return bool(trainer.enable_validation) and (trainer.current_epoch + 1) % every == 0
