"""Packed clouds as Lightning wants them: loaders, stage and device are its business and nobody else's."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ogreid.config import Augmentation, Data, check, data_root
from ogreid.config.workers import available_cores
from ogreid.data.batch import CloudBatch
from ogreid.data.dataset import (
    CloudDataset,
    CropDataset,
    EvaluationSet,
    ResidentClouds,
    holdout_set,
    split_identities,
)
from ogreid.data.datasets.catalogue import check_transfer, store_path
from ogreid.data.datasets.synthetic_stores import ensure_synthetic, parse_synthetic
from ogreid.data.loader import make_loader
from ogreid.data.overlap import refuse_shared
from ogreid.data.samplers import EvaluationSampler, TrainingSampler
from ogreid.data.store.mapped import Store, scattered
from ogreid.data.transforms import Draws, draws_for, to_crops, to_network
from ogreid.errors import InputError
from ogreid.registry import SAMPLERS, resolve

Progress = Callable[[str, int, int], None]
"""(what is being made, done, total)"""

if TYPE_CHECKING:
    SamplerName: TypeAlias = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


class ReIDDataModule(L.LightningDataModule):
    """Training clouds of one or several stores, and the sets on which retrieval is evaluated.

    ``validate`` and ``test`` go through the test sets, then the transfer sets; ``predict`` through the same, or through
    :attr:`predict_datasets` where they are set. With ``val="holdout"``, ``validate`` goes through training identities
    that are held out, so that an epoch can be chosen without looking at the test sets. Synthetic stores that are
    missing are made (``plaza-160``).

    Args:
        root: folder of the packed stores; where it is not given, ``OGREID_DATA``, else ``data``.
        train: stores whose training identities are learned; identities of different stores stay apart.
        test: stores evaluated at validation and test; the first one's mAP is ``val/mAP``.
        val: what validation goes through: the ``test`` and transfer sets, or ``holdout``.
        holdout: share of the training identities of each store that ``val="holdout"`` keeps from training; the same
            ones whatever the seed.
        transfer: stores evaluated without having been trained on.
        transfer_every: validations between two evaluations of the transfer sets; the last one always has them.
        num_points: points per cloud that the network gets.
        density: the same as a fraction in (0, 1] of the stored points; wins over ``num_points``.
        batch_size: clouds per training step and process.
        eval_batch_size: clouds per evaluation step and process.
        sampler: ``random``, ``balanced``, ``class_balanced`` or ``pk`` (P identities x ``num_instances``).
        num_instances: clouds per identity for ``class_balanced`` and ``pk``.
        inputs: ``scene`` (the cloud), ``image`` (the cloud with z = 0) or ``crop`` (all pixels row by row, for networks
            that read images).
        num_workers: loader processes.
        resident: hold whole stores in the device's memory (9 bytes a point); no workers.
        augmentation: of training clouds; the published one where it is not given.
        seed: of sampling and augmentation.

    Attributes:
        num_identities: classes of the classifier; known after ``setup("fit")``.
        test_sets: what ``test`` goes through.
        holdout_sets: what ``validate`` goes through with ``val="holdout"``.
        predict_datasets: what ``predict`` goes through; the evaluation sets where it is empty.
        progress: called with (what, done, total) while a synthetic store is made.

    Raises:
        InputError: a value out of its range; a store that is missing, with the command that packs it.

    Example:
        >>> ReIDDataModule("data", train="market", test="market", batch_size=36).config.train
        ['market']
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        train: str | Sequence[str] = "market",
        test: str | Sequence[str] = "market",
        val: Literal["test", "holdout"] = "test",
        holdout: float = 0.1,
        transfer: str | Sequence[str] = (),
        transfer_every: int = 1,
        num_points: int = 4096,
        density: float | None = None,
        batch_size: int = 36,
        eval_batch_size: int = 64,
        sampler: SamplerName = "random",
        num_instances: int = 4,
        inputs: Literal["scene", "image", "crop"] = "scene",
        num_workers: int = 2,
        resident: bool = False,
        augmentation: Augmentation | dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(augmentation, Augmentation):
            augmentation = Augmentation(**augmentation or {})
        given = None if root is None else str(root)
        trained, tested, transferred = ([one] if isinstance(one, str) else list(one) for one in (train, test, transfer))
        sets: tuple[Any, ...] = (trained, tested, val, holdout, transferred)
        sizes: tuple[Any, ...] = (transfer_every, num_points, density, batch_size, eval_batch_size)
        config: Any = (given, *sets, *sizes, sampler, num_instances, inputs, num_workers, resident, augmentation)
        self.config = check(Data(*config))
        self.root, self.seed = data_root(root), seed
        check_transfer(self.config, self.root)
        self.save_hyperparameters({**asdict(self.config), "seed": seed})
        self.progress: Progress | None = None
        self.train_set: CloudDataset | None = None
        self.test_sets: list[EvaluationSet] = []
        self.holdout_sets: list[EvaluationSet] = []
        self.predict_datasets: list[Dataset[CloudBatch]] = []
        self.num_identities = 0
        self.extra: tuple[str, ...] = ()
        self._pixels: Tensor | None = None

    @property
    def source_name(self) -> str:
        """The training stores, joined: where a transfer comes from."""
        return "+".join(self.config.train)

    @property
    def evaluation_sets(self) -> list[EvaluationSet]:
        """What the trainer evaluates now, in the order of its loaders."""
        validates = self.trainer is not None and self.trainer.state.fn in (TrainerFn.FITTING, TrainerFn.VALIDATING)
        return self.holdout_sets if validates and self.config.val == "holdout" else self.test_sets

    def prepare_data(self) -> None:
        """Make the synthetic stores that are missing. Lightning calls this on one process per node."""
        for name in dict.fromkeys((*self.config.train, *self.config.test, *self.config.transfer)):
            if parse_synthetic(name) is not None:
                ensure_synthetic(name, self.root, workers=available_cores(), progress=self.progress)

    def setup(self, stage: str) -> None:
        """Open the stores: for ``fit`` those of training, too; for ``predict`` none where datasets are given."""
        if self.train_set is None and (stage == "fit" or (stage == "validate" and self.config.val == "holdout")):
            self.train_set, self.num_identities = self._training_set()
        if not self.test_sets and not (stage == "predict" and self.predict_datasets):
            names = [(name, False) for name in self.config.test] + [(name, True) for name in self.config.transfer]
            self.test_sets = [self._evaluation_set(name, transfer) for name, transfer in names]
            if self.train_set is not None:
                refuse_shared(self.train_set, self.test_sets)

    def require(self, extra: Sequence[str]) -> None:
        """Let batches carry these arrays of the stores, too; a network that needs some asks for them.

        Raises:
            InputError: a store without one of them.
        """
        self.extra = tuple(extra)
        trained = [] if self.train_set is None else self.train_set.stores
        for store in (*trained, *(one.store for one in self.test_sets)):
            store.check_fields(extra)

    def num_points(self, stored: int) -> int:
        """Points per cloud that the network gets, of as many as are stored.

        Raises:
            InputError: more than are stored.
        """
        density = self.config.density
        count = self.config.num_points if density is None else max(1, round(density * stored))
        if count > stored:
            raise InputError(f"data.num_points: expected at most {stored}, the points of a stored cloud, got {count}")
        return count

    def check_order(self, store: Store) -> None:
        """Refuse a store whose clouds hold no crops, where ``inputs`` asks for crops."""
        if self.config.inputs == "crop" and store.manifest.order != "scattered":
            raise InputError(
                f"{store.path}: expected clouds in pixel order for data.inputs=crop, got order {store.manifest.order}; "
                "pack its crops in raster mode"
            )

    def train_dataloader(self) -> DataLoader[CloudBatch]:
        """Whole batches only, another order each epoch. A resumed run starts where its checkpoint was written."""
        return self.training_loader(*self._position())

    def training_loader(self, epoch: int, done: int = 0) -> DataLoader[CloudBatch]:
        """The batches of one epoch, without the first ``done``.

        Raises:
            InputError: fewer clouds than one batch of all processes.
        """
        assert self.train_set is not None
        config = self.config
        if len(self.train_set) < config.batch_size * self._world:
            raise InputError(
                f"{' + '.join(config.train)}: expected clouds for at least one batch of {config.batch_size} on "
                f"{self._world} process(es), got {len(self.train_set)}; set data.batch_size lower"
            )
        sampler = TrainingSampler(
            self.train_set.identity,
            resolve("sampler", SAMPLERS, config.sampler),
            num_instances=config.num_instances,
            batch_size=config.batch_size,
            seed=self.seed,
            rank=self._rank,
            world=self._world,
            epoch=epoch,
            done=done,
        )
        return self._loader(self.train_set, config.batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> list[DataLoader[CloudBatch]]:
        """One loader per evaluation set, in their order."""
        return [
            self._evaluation_loader(CloudDataset.of(one.store, one.rows), self.transfer_due if one.transfer else None)
            for one in self.evaluation_sets
        ]

    def test_dataloader(self) -> list[DataLoader[CloudBatch]]:
        """One loader per test and transfer set, in their order."""
        return self.val_dataloader()

    def predict_dataloader(self) -> list[DataLoader[CloudBatch]]:
        """One loader per set of :attr:`predict_datasets`, else per evaluation set, with the crops' names."""
        sets = self.evaluation_sets
        datasets = self.predict_datasets or [CloudDataset.of(one.store, one.rows, sources=True) for one in sets]
        return [self._evaluation_loader(one) for one in datasets]

    def transfer_due(self) -> bool:
        """Whether the validation that runs now includes the transfer sets."""
        trainer = self.trainer
        if trainer is None or not trainer.training or trainer.sanity_checking:
            return True
        every = self.config.transfer_every * (trainer.check_val_every_n_epoch or 1)
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        return last or (trainer.current_epoch + 1) % every == 0

    def on_after_batch_transfer(self, batch: CloudBatch, dataloader_idx: int) -> CloudBatch:
        """Center, select and, in training, augment on the device."""
        trainer = self.trainer
        if trainer is not None and trainer.training:
            return self.augmented(batch, trainer.current_epoch, trainer.fit_loop.total_batch_idx)
        return self._prepared(batch, None, None)

    def augmented(self, batch: CloudBatch, epoch: int, step: int) -> CloudBatch:
        """A batch on the device as a training step gets it; random numbers depend on the seed and these numbers."""
        draws = draws_for(batch.xyz.device, self.seed, epoch, step).part(self._rank, self._world)
        return self._prepared(batch, self.config.augmentation, draws)

    def _prepared(self, batch: CloudBatch, augmentation: Augmentation | None, draws: Draws | None) -> CloudBatch:
        stored = batch.xyz.shape[1]
        if self.config.inputs != "crop":
            flat, balls = self.config.inputs == "image", augmentation is not None and not self._trains_on_crops
            return to_network(batch, self.num_points(stored), augmentation, draws, flat=flat, balls=balls)
        if self._pixels is None or len(self._pixels) != stored:
            self._pixels = torch.from_numpy(np.argsort(scattered(stored)))
        return to_crops(batch, self._pixels.to(batch.xyz.device), self._crop_width(stored), augmentation, draws)

    @property
    def _trains_on_crops(self) -> bool:
        """Whether the training clouds are lifted crops, all of them."""
        assert self.train_set is not None
        return all(store.manifest.order == "scattered" for store in self.train_set.stores)

    def _crop_width(self, stored: int) -> int:
        widths = {one.store.manifest.width for one in self.test_sets if one.store.points == stored}
        return widths.pop() if len(widths) == 1 else round((stored / 2) ** 0.5)  # twice as high as wide

    def _position(self) -> tuple[int, int]:
        """Epoch, and steps done in it, from which Lightning's loops continue.

        Not left to ``set_epoch``: Lightning calls that after the loader's workers have begun to fetch.
        """
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.completed if loop.restarting else 0
        # Lightning declares the counter without the epochs that were processed.
        return loop.epoch_progress.current.processed, done  # type: ignore[attr-defined]

    def _open(self, name: str) -> Store:
        store = Store.open(store_path(name, self.root))
        self.check_order(store)
        return store

    def _training_set(self) -> tuple[CloudDataset, int]:
        if not self.config.train:
            raise InputError("data.train: the list is empty; name at least one store")
        names, stores, parts = self.config.train, [self._open(name) for name in self.config.train], []
        self.holdout_sets = []
        for name, store in zip(names, stores, strict=True):
            rows = np.sort(np.concatenate([store.split("train"), store.split("val")]))
            if not len(rows):
                raise InputError(f"{name}: has no training split; evaluate on it (data.test), or pack one")
            if self.config.val == "holdout":
                rows, withheld = split_identities(store, rows, self.config.holdout)
                self.holdout_sets.append(holdout_set(f"{name}-holdout", store, withheld))
            parts.append(rows)
        return CloudDataset.of_identities(stores, parts)

    def _evaluation_set(self, name: str, transfer: bool) -> EvaluationSet:
        store = self._open(name)
        self.num_points(store.points)
        return EvaluationSet.of(name, store, transfer)

    def _evaluation_loader(
        self, dataset: Dataset[CloudBatch], due: Callable[[], bool] | None = None
    ) -> DataLoader[CloudBatch]:
        batch_size = self.config.eval_batch_size
        sampler = EvaluationSampler(len(dataset), batch_size, self._rank, self._world, due)  # type: ignore[arg-type]
        return self._loader(dataset, batch_size, sampler)

    def _loader(
        self,
        dataset: Dataset[CloudBatch],
        batch_size: int,
        sampler: TrainingSampler | EvaluationSampler,
        drop_last: bool = False,
    ) -> DataLoader[CloudBatch]:
        if isinstance(dataset, CloudDataset | CropDataset):
            dataset.require(self.extra)
        workers = self.config.num_workers
        if self.config.resident and isinstance(dataset, CloudDataset):
            dataset, workers = ResidentClouds(dataset, self._device), 0
        return make_loader(dataset, sampler, batch_size, workers, drop_last=drop_last)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1
