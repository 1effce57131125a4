"""Packed clouds as Lightning wants them: loaders, stage and device are its business and nobody else's."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ogreid.data.batch import CloudBatch
from ogreid.config import Augmentation, Data
from ogreid.data.datasets.catalogue import store_path
from ogreid.data.dataset import CloudDataset, ResidentClouds
from ogreid.data.samplers import ORDERS, EvaluationSampler, TrainingSampler
from ogreid.data.store.reading import Store, scattered
from ogreid.data.datasets.synthetic_stores import ensure_synthetic, parse_synthetic
from ogreid.data.transforms import Draws, draws_for, to_crops, to_network
from ogreid.errors import InputError

__all__ = ["ReIDDataModule", "RetrievalSet"]

Progress = Callable[[str, int, int], None]
"""(what is being made, done, total)"""


@dataclass(frozen=True)
class RetrievalSet:
    """One named set to be judged: query rows first, then gallery rows.

    Attributes:
        name: of the store.
        store: opened.
        rows: (Q + G,) rows of the store; a batch's ``index`` counts in this order.
        queries: Q.
        transfer: judged as a transfer set.
    """

    name: str
    store: Store
    rows: np.ndarray
    queries: int
    transfer: bool = False

    @property
    def gallery(self) -> int:
        """G."""
        return len(self.rows) - self.queries


class ReIDDataModule(L.LightningDataModule):
    """Training clouds of one or several stores and the sets on which retrieval is judged.

    Args:
        data: see :class:`ogreid.config.load.Data`.
        seed: of the run.
        transfer_every: validations between two looks at the transfer sets.
        progress: told how far the making of a synthetic store has come.
    """

    def __init__(self, data: Data, seed: int = 0, transfer_every: int = 1, progress: Progress | None = None) -> None:
        super().__init__()
        self.data, self.seed, self.transfer_every, self.progress = data, seed, transfer_every, progress
        self.identities = 0
        self.train_set: CloudDataset | None = None
        self.retrieval_sets: list[RetrievalSet] = []

    def prepare_data(self) -> None:
        """Make the synthetic stores that are missing. Lightning calls this on one process per node."""
        cores = os.cpu_count() or 1
        for name in dict.fromkeys((*self.data.train, *self.data.test, *self.data.transfer)):
            if parse_synthetic(name) is not None:
                ensure_synthetic(name, Path(self.data.root), workers=cores, progress=self.progress)

    def is_packed(self) -> bool:
        """Whether every store can be opened; waits are built on this where another process is packing."""
        names = (*self.data.train, *self.data.test, *self.data.transfer)
        return all((Path(self.data.root) / name / "manifest.json").is_file() or Path(name).is_dir() for name in names)

    def setup(self, stage: str) -> None:
        """Open the stores; ``fit`` needs training rows, every stage the retrieval sets."""
        if self.retrieval_sets and (self.train_set is not None or stage != "fit"):
            return
        if stage == "fit":
            self.train_set, self.identities = self._training_set()
        judged = [(name, False) for name in self.data.test] + [(name, True) for name in self.data.transfer]
        self.retrieval_sets = [self._retrieval_set(name, transfer) for name, transfer in judged]

    @property
    def points(self) -> int:
        """Points per cloud that the network sees."""
        stored = self.retrieval_sets[0].store.points
        wanted = round(self.data.density * stored) if self.data.density is not None else self.data.num_points
        if not 0 < wanted <= stored:
            raise InputError(
                f"{self.retrieval_sets[0].name}: {wanted} points asked, each cloud has {stored}; set data.num_points or "
                f"data.density lower"
            )
        return wanted

    def train_dataloader(self) -> DataLoader[CloudBatch]:
        """Whole batches only; the next epoch differs from the last. A resumed run goes on where its checkpoint was."""
        return self.training_loader(*self._place())

    def training_loader(self, epoch: int, done: int = 0) -> DataLoader[CloudBatch]:
        """The batches of one epoch, without the first ``done``."""
        assert self.train_set is not None
        data = self.data
        if len(self.train_set) < data.batch_size * self._world:
            raise InputError(
                f"{' + '.join(data.train)}: {len(self.train_set)} training clouds do not fill one batch of "
                f"{data.batch_size} on {self._world} process(es); set data.batch_size lower"
            )
        sampler = TrainingSampler(
            self.train_set.identity,
            ORDERS[data.sampler],
            per_identity=data.num_instances,
            batch=data.batch_size,
            seed=self.seed,
            rank=self._rank,
            world=self._world,
            epoch=epoch,
            done=done,
        )
        return self._loader(self.train_set, data.batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> list[DataLoader[CloudBatch]]:
        """One loader per retrieval set, then one per transfer set."""
        loaders = []
        for wanted in self.retrieval_sets:
            identity = wanted.store.rows["identity"][wanted.rows]
            clouds = CloudDataset([wanted.store], np.zeros(len(wanted.rows), np.int64), wanted.rows, identity)
            due = self.transfer_due if wanted.transfer else None
            sampler = EvaluationSampler(len(clouds), self.data.eval_batch_size, self._rank, self._world, due)
            loaders.append(self._loader(clouds, self.data.eval_batch_size, sampler))
        return loaders

    def transfer_due(self) -> bool:
        """Whether the validation that runs now looks at the transfer sets."""
        trainer = self.trainer
        if trainer is None or not trainer.training or trainer.sanity_checking:
            return True
        every = self.transfer_every * (trainer.check_val_every_n_epoch or 1)
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        return last or (trainer.current_epoch + 1) % every == 0

    def on_after_batch_transfer(self, batch: CloudBatch, dataloader_idx: int) -> CloudBatch:
        """Center, select and, in training, augment on the device."""
        trainer = self.trainer
        if trainer is not None and trainer.training:
            return self.augmented(batch, trainer.current_epoch, trainer.fit_loop.total_batch_idx)
        return self._prepared(batch, None, None)

    def augmented(self, batch: CloudBatch, epoch: int, step: int) -> CloudBatch:
        """A batch on the device as a training step gets it; what is drawn depends on the seed and these numbers."""
        draws = draws_for(batch.xyz.device, self.seed, epoch, step).part(self._rank, self._world)
        return self._prepared(batch, self.data.augmentation, draws)

    def _prepared(self, batch: CloudBatch, how: Augmentation | None, draws: Draws | None) -> CloudBatch:
        if self.data.inputs == "crop":
            pixels, width = self._pixels()
            return to_crops(batch, pixels.to(batch.xyz.device), width, how.mirror if how else 0.0, draws)
        return to_network(batch, self.points, how, draws, flat=self.data.inputs == "image")

    def _pixels(self) -> tuple[Tensor, int]:
        """Which stored point each pixel is, row by row, and the width of a crop."""
        store = self.retrieval_sets[0].store
        if store.manifest.order != "scattered":
            raise InputError(f"{store.path}: published clouds hold no crops; pack the crops: python -m ogreid.pack NAME")
        return torch.from_numpy(np.argsort(scattered(store.points))), store.manifest.width

    def _place(self) -> tuple[int, int]:
        """Epoch, and steps done in it, from which Lightning's loops go on.

        Not left to ``set_epoch``: Lightning calls that after the loader's workers have begun to fetch.
        """
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.completed if loop.restarting else 0
        # Lightning declares the counter without the epochs that were processed.
        return loop.epoch_progress.current.processed, done  # type: ignore[attr-defined]

    def _training_set(self) -> tuple[CloudDataset, int]:
        stores = [Store.open(store_path(name, Path(self.data.root))) for name in self.data.train]
        number, row, identity = [], [], []
        known = 0
        for i, store in enumerate(stores):
            rows = np.sort(np.concatenate([store.split("train"), store.split("val")]))
            if not len(rows):
                raise InputError(f"{self.data.train[i]}: has no training split; judge it (data.test), or pack one")
            names, own = np.unique(store.rows["identity"][rows], return_inverse=True)
            number.append(np.full(len(rows), i, np.int64))
            row.append(rows)
            identity.append(own + known)
            known += len(names)
        merged = [np.concatenate(parts) for parts in (number, row, identity)]
        return CloudDataset(stores, *merged), known

    def _retrieval_set(self, name: str, transfer: bool) -> RetrievalSet:
        store = Store.open(store_path(name, Path(self.data.root)))
        query, gallery = store.split("query"), store.split("gallery")
        gallery = gallery[store.rows["identity"][gallery] != -1]  # junk takes part in no ranking
        if not len(query) or not len(gallery):
            raise InputError(f"{name}: {len(query)} query and {len(gallery)} gallery clouds; judging needs both")
        return RetrievalSet(name, store, np.concatenate([query, gallery]), len(query), transfer)

    def _loader(
        self,
        clouds: CloudDataset,
        batch: int,
        sampler: TrainingSampler | EvaluationSampler,
        drop_last: bool = False,
    ) -> DataLoader[CloudBatch]:
        resident = self.data.resident
        workers = 0 if resident else self.data.num_workers
        return DataLoader(
            ResidentClouds(clouds, self._device) if resident else clouds,
            batch_size=batch,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            collate_fn=_as_read,
            worker_init_fn=_leave_signals_to_the_parent,
            pin_memory=torch.cuda.is_available() and not resident,
            persistent_workers=workers > 0,
        )

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def _as_read(batch: Any) -> Any:  # noqa: ANN401 - torch types a batch as a list of samples
    """The dataset hands over whole batches; there is nothing to collate."""
    return batch


def _leave_signals_to_the_parent(worker: int) -> None:
    """A terminal's Ctrl-C and SLURM's SIGTERM reach every process, and the parent still needs batches to finish a step.

    torch ends its workers by a message through their queue, and they leave by themselves where the parent is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
