"""Lightning's Trainer from an experiment, checked before any data is made."""

import inspect
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
from lightning.pytorch.loggers import Logger

from ogreid.config import Experiment
from ogreid.config.slurm import srun_tasks
from ogreid.errors import InputError, nearest_names
from ogreid.files import atomic_write
from ogreid.training.distributed import SharedNorms, cluster_environment

OURS = ("callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary", "logger", "plugins")
"""Arguments of the Trainer that a run sets itself."""
REFUSED = {
    "barebones": "a run needs its callbacks and loggers",
    "overfit_batches": "use trainer.limit_train_batches",
    "reload_dataloaders_every_n_epochs": "loaders draw another order each epoch by themselves",
    "use_distributed_sampler": "the samplers are distributed already",
    "val_check_interval": "use trainer.check_val_every_n_epoch",
}
PRECISIONS = ("32-true", "32", "16-mixed", "bf16-mixed")


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written beside, synchronized and renamed: there is the old one or the new one.

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
        target = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as file:
                file.write(content.getbuffer())
        except OSError as error:
            stays = "the one before it stays" if target.is_file() else "there is none before it"
            size = f"{content.tell() / 2**20:.1f} MiB"
            raise InputError(
                f"{target}: the checkpoint cannot be written ({error.strerror}, {size}); {stays}; make room, then "
                f"resume with python -m ogreid.fit --resume {target.parent.parent}"
            ) from error


def build_trainer(
    experiment: Experiment, callbacks: list[Callback], *, logger: list[Logger] | bool = False, root: Path | None = None
) -> L.Trainer:
    """Lightning's Trainer as the experiment says.

    Under torchrun, processes and nodes come from its environment where the experiment does not say them. A run folder
    has one writer: processes that were started together train together, or not at all.

    Args:
        experiment: resolved.
        callbacks: all of them.
        logger: loggers, or False for none.
        root: Lightning's ``default_root_dir``.

    Raises:
        InputError: an argument that is not Lightning's or that a run cannot serve; a precision, strategy or device that
            is not available here; another number of processes than were started.
    """
    arguments = _launched() | {k: v for k, v in experiment.trainer.items() if (k, v) != ("devices", "auto")}
    _check_arguments(arguments)
    arguments.pop("max_steps", None)  # see preemption.StopAfter
    every = arguments.get("check_val_every_n_epoch")
    if every and (arguments.get("max_epochs") or -1) > 0:
        arguments["check_val_every_n_epoch"] = min(every, arguments["max_epochs"])
    plugins: list[Any] = [
        AtomicCheckpoints(),
        *cluster_environment(),
        *([SharedNorms()] if arguments.get("sync_batchnorm") else []),
    ]
    try:
        trainer = L.Trainer(
            **arguments,
            callbacks=callbacks,
            logger=logger,
            default_root_dir=root,
            plugins=plugins,
            enable_model_summary=False,
            enable_checkpointing=any(getattr(one, "is_checkpoint", False) for one in callbacks),
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"trainer: refused by Lightning: {reason[:240]}; --print-config shows the settings") from error
    started, together = _started(), trainer.num_devices * trainer.num_nodes
    if started not in (None, together):
        raise InputError(
            f"trainer.devices x trainer.num_nodes: expected {started}, the number of processes that were started, got "
            f"{together}; under torchrun leave both out"
        )
    return trainer


def check_trainer(experiment: Experiment) -> None:
    """Fail before any data is made, where Lightning would refuse the settings later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real Trainer says it again
        build_trainer(experiment, [])


def evaluation_trainer(callbacks: list[Callback], **arguments: Any) -> L.Trainer:  # noqa: ANN401
    """A Trainer for ``validate`` and ``predict`` alone: no logger, no checkpoint.

    Args:
        callbacks: all of them.
        **arguments: of Lightning's Trainer.
    """
    return L.Trainer(
        **arguments,
        callbacks=callbacks,
        plugins=[*cluster_environment(alone=arguments.get("devices") == 1)],
        default_root_dir=os.devnull,  # inside SLURM, Lightning prefers an hpc_ckpt_*.ckpt of the working directory
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def _launched() -> dict[str, Any]:
    """Processes and nodes as torchrun started them; nothing elsewhere."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return {"devices": local, "num_nodes": max(1, world // local)}


def _started() -> int | None:
    """Processes that torchrun or srun started together; None where Lightning starts them."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return srun_tasks()


def _check_arguments(arguments: dict[str, Any]) -> None:
    known = [name for name in inspect.signature(L.Trainer.__init__).parameters if name not in ("self", *OURS)]
    for name, value in arguments.items():
        if name in REFUSED:
            raise InputError(f"trainer.{name}: not supported in a run; {REFUSED[name]}")
        if name in ("max_epochs", "max_steps", "limit_train_batches") and value == 0:
            raise InputError(f"trainer.{name}: expected a step at least, got 0; python -m ogreid.evaluate trains none")
        if name not in known:
            raise InputError(f"unknown key 'trainer.{name}'; {nearest_names(name, known)}")
        if name == "precision" and value is not None and str(value) not in PRECISIONS:
            raise InputError(f"trainer.precision: expected {', '.join(PRECISIONS)}, got {value}")
