"""Weight averaging over the last epochs, with BatchNorm statistics re-estimated for the averaged weights."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ogreid.data.batch import CloudBatch
from ogreid.data.module import ReIDDataModule


class TailAveraging(WeightAveraging):
    """Equal average of the weights at the end of each of the last epochs (the released ``--wa``).

    While training goes on, validation and checkpoints see the *current* weights: Lightning's own callback would show
    the untouched initial ones until the first average exists. After the training :meth:`take_over` puts the average in
    their place, and one pass over the training clouds re-estimates the statistics of every BatchNorm.

    Args:
        fraction: of the epochs, at the end.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__(use_buffers=False)
        self.fraction = fraction
        self.first: int | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = trainer.max_epochs or 1
        self.first = epochs - max(1, round(self.fraction * epochs))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """At the end of an epoch, from the first of the last ones on."""
        return epoch_idx is not None and self.first is not None and epoch_idx >= self.first

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation sees the current weights."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing was swapped."""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last weights are still to be evaluated; a run that is resumed after its last step never comes here."""

    def take_over(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The average takes the place of the weights, with statistics of its own; after ``trainer.fit``."""
        if self._average_model is None or not int(self._average_model.n_averaged):
            return
        pl_module.to(trainer.strategy.root_device)
        self._copy_average_to_current(pl_module)
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
        assert isinstance(data, ReIDDataModule)
        batches = _batches(data, trainer.max_epochs or 0, pl_module.device)
        update_bn(islice(batches, int(trainer.num_training_batches)), _Embed(pl_module))

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """``state_dict`` stays the current weights; the average travels beside it."""
        if self._average_model is not None:
            checkpoint["average"] = self._average_model.state_dict()

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average_model is not None and "average" in checkpoint:
            self._average_model.load_state_dict(checkpoint["average"])


class _Embed(nn.Module):
    """What ``update_bn`` calls, with a batch as its one argument."""

    def __init__(self, module: L.LightningModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: CloudBatch) -> Tensor:
        embedding: Tensor = self.module(batch.xyz, batch.rgb)
        return embedding


def _batches(data: ReIDDataModule, epoch: int, device: torch.device) -> Iterator[list[CloudBatch]]:
    """One more epoch, augmented as in training; each batch is a list because ``update_bn`` takes its first member.

    The epoch after the last one, by its number and not by what the loops count: the same for a run that was stopped on
    its last step and resumed.
    """
    for step, batch in enumerate(data.training_loader(epoch)):
        moved = CloudBatch(*(part.to(device, non_blocking=True) for part in batch[:5]))
        yield [data.augmented(moved, epoch, step)]
