"""Averages of the weights, exponential or over the last epochs, that replace the network's own after training."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ogreid.data.batch import CloudBatch
from ogreid.data.module import ReIDDataModule


class FinalAveraging(WeightAveraging):
    """Lightning's averaging, in which the average replaces the weights after the training, by :meth:`take_over`.

    While training goes on, validation and checkpoints see the *current* weights: Lightning's own callback would show
    the untouched initial ones until the first average exists.
    """

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation sees the current weights."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing was swapped."""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last weights are still to be evaluated; a run that is resumed after its last step never comes here."""

    def take_over(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The average, where there is one, takes the place of the weights; after ``trainer.fit``."""
        if self._average_model is not None and int(self._average_model.n_averaged):
            pl_module.to(trainer.strategy.root_device)
            self._copy_average_to_current(pl_module)
            self.update_statistics(trainer, pl_module)

    def update_statistics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Those of every BatchNorm, where they are not averaged with the weights."""

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """``state_dict`` stays the current weights; the average travels beside it."""
        if self._average_model is not None:
            checkpoint["average"] = self._average_model.state_dict()

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average_model is not None and "average" in checkpoint:
            self._average_model.load_state_dict(checkpoint["average"])


class ExponentialAveraging(FinalAveraging, EMAWeightAveraging):
    """Exponential moving average of the weights, and of the statistics of every BatchNorm, after each step.

    Args:
        decay: share of the average that a step leaves.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)


class TailAveraging(FinalAveraging):
    """Equal average of the weights at the end of each of the last epochs (the released ``--wa``).

    One pass over the training clouds estimates the statistics of every BatchNorm anew.

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

    def update_statistics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One epoch of forward passes."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
        assert isinstance(data, ReIDDataModule)
        batches = _batches(data, trainer.max_epochs or 0, pl_module.device)
        update_bn(islice(batches, int(trainer.num_training_batches)), _Embed(pl_module))


class _Embed(nn.Module):
    """What ``update_bn`` calls, with a batch as its one argument."""

    def __init__(self, module: L.LightningModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: CloudBatch) -> Tensor:
        embedding: Tensor = self.module(batch.xyz, batch.rgb, **batch.extra)
        return embedding


def _batches(data: ReIDDataModule, epoch: int, device: torch.device) -> Iterator[list[CloudBatch]]:
    """One more epoch, augmented as in training; each batch is a list because ``update_bn`` takes its first member.

    The epoch after the last one, by its number and not by what the loops count: the same for a run that was stopped on
    its last step and resumed.
    """
    for step, batch in enumerate(data.training_loader(epoch)):
        moved = data.transfer_batch_to_device(batch, device, 0)
        yield [data.augmented(moved, epoch, step)]
