"""A network and its loss as Lightning trains them. Knows no metric and draws no picture."""

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from ogreid.data.batch import CloudBatch
from ogreid.config import Optimizer
from ogreid.errors import collect_refusals
from ogreid.losses import ReidLoss
from ogreid.ops.collectives import connected

__all__ = ["ReIDModule", "embed_views"]

log = logging.getLogger(__name__)


class ReIDModule(L.LightningModule):
    """Backbone and loss head.

    Args:
        network: (xyz, rgb) -> (B, D) embedding.
        loss: the head; None where nothing is trained (judging a network that has no classifier).
        optimizer: see :class:`ogreid.config.load.Optimizer`.
        views: scales at which a cloud is embedded when judged.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: ReidLoss | None = None,
        optimizer: Optimizer | None = None,
        views: Sequence[float] = (1.0, 1.1),
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer = optimizer if optimizer is not None else Optimizer()
        self.views = tuple(views)

    def forward(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        """Embedding (B, D) of one view, not normalized."""
        return self.network(xyz, rgb)  # type: ignore[no-any-return]

    def training_step(self, batch: CloudBatch, batch_idx: int) -> Tensor:
        """The loss terms, summed and ramped."""
        assert self.loss is not None
        with collect_refusals([]) as refused:
            terms = self.loss(self(batch.xyz, batch.rgb), batch.identity)
        total = torch.stack(list(terms.values())).sum() * (torch.nan if refused else 1)
        logged = {"train/loss": total} | {f"train/{name}": value for name, value in terms.items()}
        # sync_dist: the mean over all processes, not what the first one saw.
        self.log_dict(logged, on_step=True, on_epoch=False, sync_dist=True, batch_size=len(batch.index))
        return total * self._ramp()

    def validation_step(self, batch: CloudBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Normalized embedding (B, D) over all views; the callbacks judge it.

        Where there are other processes, clouds that are refused become NaN, which the judge refuses on all of them.
        """
        alone: AbstractContextManager[list[str]] = nullcontext([])
        with collect_refusals([]) if connected() else alone as refused:
            embedding = embed_views(self.network, batch.xyz, batch.rgb, self.views)
        if refused:
            log.warning(refused[0])
            embedding = torch.full_like(embedding, torch.nan)
        return embedding

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam and a cosine per epoch, as published."""
        how = self.optimizer
        adam = torch.optim.Adam(
            self.parameters(), lr=how.lr, weight_decay=how.weight_decay, amsgrad=how.amsgrad, foreach=True
        )
        epochs = max(self.trainer.max_epochs or 1, 1)

        def cosine(epoch: int) -> float:
            part = min(epoch / epochs, 1.0)
            return how.final + (1 - how.final) * (1 + math.cos(math.pi * part)) / 2

        schedule = torch.optim.lr_scheduler.LambdaLR(adam, cosine)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "epoch", "name": "lr"}}

    def _ramp(self) -> float:
        """0.1 -> 1 over the first epochs, on the *loss* as in the released code; under Adam nearly nothing."""
        whole = self.optimizer.loss_warmup * self.trainer.num_training_batches
        return min(1.0, 0.1 + 0.9 * self.trainer.global_step / whole) if whole else 1.0


def embed_views(network: nn.Module, xyz: Tensor, rgb: Tensor, views: Sequence[float] = (1.0, 1.1)) -> Tensor:
    """The released test protocol: the sum of the embeddings of the scaled clouds, normalized.

    Args:
        network: in evaluation mode.
        xyz: (B, N, 3).
        rgb: (B, N, 3).
        views: scale factors of ``xyz``.

    Returns:
        (B, D), of length 1 up to the published 1e-6 in the norm.
    """
    total: Any = sum(network(scale * xyz, rgb) for scale in views)
    embedding: Tensor = total.float()
    unit: Tensor = embedding / (embedding.norm(dim=1, keepdim=True) + 1e-6)
    return unit
