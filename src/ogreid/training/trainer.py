"""Lightning's Trainer from an experiment, checked early."""

import contextlib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from ogreid.errors import InputError
from ogreid.training.distributed import SharedNorms
from ogreid.config.schema import Experiment

__all__ = ["WholeFiles", "check_trainer", "make_trainer"]


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are written beside, then renamed: there is the old one or the new one, never half of one.

    Lightning's own writes to the system's temporary folder and moves the file, which is a copy wherever that folder is
    on another disk.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,  # noqa: ANN401 - Lightning's own signature
    ) -> None:
        """Called by Lightning on the first process.

        Raises:
            InputError: the file cannot be written; what was there stays as it was.
        """
        whole = Path(path)
        part = whole.with_name(f"{whole.name}.part")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())  # else a machine that goes down may have renamed a file without its content
            part.replace(whole)
        except OSError as error:
            _forget(part)
            stays = "the one before it stays" if whole.is_file() else "there is none before it"
            size = f"{content.tell() / 2**20:.1f} MiB"
            raise InputError(
                f"{whole}: the checkpoint cannot be written ({error.strerror}, {size}); {stays}; make room, then go on "
                f"with python -m ogreid.fit --resume {whole.parent.parent}"
            ) from error


def _forget(part: Path) -> None:
    with contextlib.suppress(OSError):  # the disk that did not take it may not answer either
        part.unlink(missing_ok=True)


def make_trainer(experiment: Experiment, callbacks: list[Callback], **more: Any) -> L.Trainer:  # noqa: ANN401
    """Lightning's Trainer as the experiment says.

    Args:
        experiment: resolved.
        callbacks: whatever takes part.
        **more: handed on to the Trainer: logger, default_root_dir.

    Raises:
        InputError: a precision, strategy or device that is not to be had here.
    """
    how = experiment.trainer
    settings: dict[str, Any] = dict(
        max_epochs=how.max_epochs,
        max_time=how.max_time,
        accelerator=how.accelerator,
        devices=int(how.devices) if how.devices.lstrip("-").isdigit() else how.devices,
        strategy=how.strategy,
        num_nodes=how.num_nodes,
        precision=how.precision,
        gradient_clip_val=how.gradient_clip_val,
        accumulate_grad_batches=how.accumulate_grad_batches,
        sync_batchnorm=how.sync_batchnorm,
        deterministic=how.deterministic,
        fast_dev_run=how.fast_dev_run,
        limit_train_batches=how.limit_train_batches,
        limit_val_batches=how.limit_val_batches,
        num_sanity_val_steps=how.num_sanity_val_steps,
        log_every_n_steps=how.log_every_n_steps,
        check_val_every_n_epoch=min(experiment.trainer.check_val_every_n_epoch, how.max_epochs),
        enable_progress_bar=how.enable_progress_bar,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[WholeFiles(), *([SharedNorms()] if how.sync_batchnorm else [])],
        use_distributed_sampler=False,
    )
    try:
        return L.Trainer(**settings, **more)
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        why = " ".join(str(error).split())
        raise InputError(f"trainer settings are refused by Lightning: {why[:240]}; --print-config shows them") from error


def check_trainer(experiment: Experiment) -> None:
    """Fail before any data is made, where Lightning would refuse the settings later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real Trainer says it again
        make_trainer(experiment, [], logger=False, enable_checkpointing=False)
