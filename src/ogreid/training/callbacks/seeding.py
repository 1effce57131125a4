"""What training draws from torch's own generators (dropout) depends on where it stands, not on its past."""

import lightning as L
import torch

from ogreid.data.batch import CloudBatch
from ogreid.data.transforms import draws_for

_DROPOUT = 1
"""Tells these streams from those of augmentation, which has generators of its own."""


class SeedEachStep(L.Callback):
    """Seeds torch's generators by (seed, epoch, step, process) before each training step.

    So nothing about them has to be kept in a checkpoint, and nothing that draws from them in between (a loader that
    starts its workers, a validation, an evaluated baseline) can change what a resumed run learns.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: CloudBatch, batch_idx: int
    ) -> None:
        """Called by Lightning; seeding a CUDA generator does not wait for the device."""
        seed_step(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch's generators for one step of one process.

    Args:
        seed: of the run.
        epoch: from 0.
        step: in the epoch, from 0.
        rank: of the process.
    """
    torch.manual_seed(draws_for(torch.device("cpu"), _DROPOUT, seed, epoch, step, rank).generator.initial_seed())
