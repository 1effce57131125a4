"""The clouds of a set, batch by batch: read from packed stores, or held on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ogreid.data.batch import CloudBatch
from ogreid.data.datasets.sources import CropClouds
from ogreid.data.store.mapped import Store
from ogreid.errors import InputError


@dataclass(frozen=True)
class EvaluationSet:
    """One named set to be evaluated: query rows first, then gallery rows.

    Attributes:
        name: of the store.
        store: opened.
        rows: (Q + G,) rows of the store; a batch's ``index`` counts in this order.
        num_queries: Q.
        transfer: whether it is a transfer set.
    """

    name: str
    store: Store
    rows: np.ndarray
    num_queries: int
    transfer: bool = False

    @classmethod
    def of(cls, name: str, store: Store, transfer: bool = False) -> "EvaluationSet":
        """Query and gallery split of a store; junk takes part in no ranking.

        Raises:
            InputError: one of both is empty.
        """
        query, gallery = store.split("query"), store.split("gallery")
        gallery = gallery[store.rows["identity"][gallery] != -1]
        if not len(query) or not len(gallery):
            raise InputError(
                f"{name}: expected query and gallery clouds, got {len(query)} and {len(gallery)}; evaluation needs both"
            )
        return cls(name, store, np.concatenate([query, gallery]), len(query), transfer)

    @property
    def num_gallery(self) -> int:
        """G."""
        return len(self.rows) - self.num_queries

    @property
    def tracklet(self) -> np.ndarray:
        """(Q + G,) int64, the tracklet of each row; an InputError where the store has none."""
        if not self.store.has_tracklets:
            pattern = "pack it from names with a tracklet (--pattern, group tracklet), or evaluate by crop"
            raise InputError(f"{self.store.path}: has no tracklets; {pattern}")
        tracklet: np.ndarray = self.store.rows["tracklet"][self.rows]
        return tracklet


def split_identities(store: Store, rows: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Training rows, and rows of the identities that are held out.

    Args:
        store: opened.
        rows: of its training split.
        share: of the identities that are held out, at least one; drawn once and for all, whatever a run's seed.

    Raises:
        InputError: too few identities for both.
    """
    identity = store.rows["identity"][rows]
    names = np.unique(identity)
    count = max(1, round(share * len(names)))
    if count >= len(names):
        raise InputError(
            f"{store.path}: expected training identities besides {count} that are held out, got {len(names)}; set "
            "data.holdout lower, or data.val=test"
        )
    withheld = np.isin(identity, np.random.default_rng(0).permutation(names)[:count])
    return rows[~withheld], rows[withheld]


def holdout_set(name: str, store: Store, rows: np.ndarray) -> EvaluationSet:
    """Rows of the training split as an evaluation set.

    Queries are the first row of each identity in each camera, where the identity has several cameras; all rows are the
    gallery, in which a query does not match its own camera.

    Raises:
        InputError: no identity was seen by two cameras.
    """
    identity, camera = store.rows["identity"][rows], store.rows["camera"][rows]
    pairs, first = np.unique(np.stack((identity, camera)), axis=1, return_index=True)
    names, cameras = np.unique(pairs[0], return_counts=True)
    queries = rows[np.sort(first[np.isin(pairs[0], names[cameras > 1])])]
    if not len(queries):
        raise InputError(f"{name}: expected held-out identities with two cameras, got none; set data.val=test")
    return EvaluationSet(name, store, np.concatenate([queries, rows]), len(queries))


class CloudDataset(Dataset[CloudBatch]):
    """Rows of one or several stores, read a batch at a time.

    Args:
        stores: opened stores.
        store: (R,) which store each row is in.
        row: (R,) its row there.
        identity: (R,) its label.
        sources: whether batches carry the crops' names.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        store: np.ndarray,
        row: np.ndarray,
        identity: np.ndarray,
        *,
        sources: bool = False,
    ) -> None:
        self.stores, self.store, self.row, self.identity, self.sources = list(stores), store, row, identity, sources
        self.extra: tuple[str, ...] = ()
        self.camera = np.empty(len(row), dtype=np.int64)
        for number, opened in enumerate(self.stores):
            inside = store == number
            self.camera[inside] = opened.rows["camera"][row[inside]]

    @classmethod
    def of_identities(cls, stores: Sequence[Store], rows: Sequence[np.ndarray]) -> tuple["CloudDataset", int]:
        """Rows of each store, labeled 0 to I - 1 by identity, those of different stores apart; and I."""
        number, identity, count = [], [], 0
        for i, (store, chosen) in enumerate(zip(stores, rows, strict=True)):
            names, own = np.unique(store.rows["identity"][chosen], return_inverse=True)
            number.append(np.full(len(chosen), i, np.int64))
            identity.append(own + count)
            count += len(names)
        return cls(stores, np.concatenate(number), np.concatenate(list(rows)), np.concatenate(identity)), count

    @classmethod
    def of(cls, store: Store, rows: np.ndarray, *, sources: bool = False) -> "CloudDataset":
        """Rows of one store, with the identities of the benchmark."""
        return cls([store], np.zeros(len(rows), np.int64), rows, store.rows["identity"][rows], sources=sources)

    def require(self, extra: Sequence[str]) -> None:
        """Let batches carry these arrays of the stores, too.

        Raises:
            InputError: a store without one of them.
        """
        for store in self.stores:
            store.check_fields(extra)
        self.extra = tuple(extra)

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: int) -> CloudBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> CloudBatch:
        """A whole batch at once: the store's memory map is read once per batch, in file order."""
        rows = np.asarray(indices)
        parts = []
        for number in np.unique(self.store[rows]):
            place = np.flatnonzero(self.store[rows] == number)
            store, own = self.stores[number], self.row[rows[place]]
            parts.append((place, [store.field(name, own) for name in ("xyz", "rgb", *self.extra)]))
        columns = (_in_order([(place, values[i]) for place, values in parts]) for i in range(2 + len(self.extra)))
        return self.batch(indices, *map(torch.from_numpy, columns))

    def batch(self, indices: list[int], xyz: Tensor, rgb: Tensor, *extra: Tensor) -> CloudBatch:
        """The rows ``indices`` with their clouds and the arrays of :attr:`extra`."""
        rows = np.asarray(indices)
        identity = torch.from_numpy(self.identity[rows].astype(np.int64))
        source = tuple(map(self.source, indices)) if self.sources else ()
        index = torch.from_numpy(rows.astype(np.int64))
        camera, arrays = torch.from_numpy(self.camera[rows]), _columns(self.extra, extra)
        return CloudBatch(xyz, rgb, identity, camera, index, source, arrays)

    def source(self, index: int) -> str:
        """The crop that a row was lifted from, as its benchmark names it."""
        return str(self.stores[self.store[index]].rows["source"][self.row[index]])

    def describe(self, index: int) -> str:
        """``store row N (source)``, for messages."""
        return f"{self.stores[self.store[index]].path.name} row {self.row[index]} ({self.source(index)})"


class ResidentClouds(Dataset[CloudBatch]):
    """A whole set in the memory of a device, as stored, copied there when the first batch is read.

    No batch is read or copied afterwards, so a loader needs no workers. Batches have the same bits.

    Args:
        clouds: the set.
        device: where it is to be.
    """

    def __init__(self, clouds: CloudDataset, device: torch.device) -> None:
        self.clouds, self.device = clouds, device
        self._resident: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> CloudBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> CloudBatch:
        """A whole batch, its clouds on the device."""
        self._resident = self._resident or self._copy()
        rows = torch.tensor(indices, device=self.device)
        xyz, rgb, *extra = (column[rows] for column in self._resident)
        return self.clouds.batch(indices, xyz, rgb, *extra)

    def _copy(self, block: int = 256) -> list[Tensor]:
        """Each array (R, P, ...), so many clouds at a time that they need no second copy on the host."""
        whole: list[Tensor] = []
        for start in range(0, len(self), block):
            stop = min(start + block, len(self))
            batch = self.clouds.__getitems__(list(range(start, stop)))
            parts = [batch.xyz, batch.rgb, *batch.extra.values()]
            whole = whole or [part.new_empty(len(self), *part.shape[1:], device=self.device) for part in parts]
            for target, part in zip(whole, parts, strict=True):
                target[start:stop].copy_(part)
        return whole


class CropDataset(Dataset[CloudBatch]):
    """Crops that are lifted when they are read; their identity and camera are not known, and -1.

    Args:
        crops: for each crop what makes its cloud, and the crop's name there.
        sources: the crops' names in a batch.
    """

    extra: tuple[str, ...]

    def __init__(self, crops: Sequence[tuple[CropClouds, str]], sources: Sequence[str]) -> None:
        self.crops, self.sources, self.extra = list(crops), list(sources), ()

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> CloudBatch:
        return self.__getitems__([index])

    def require(self, extra: Sequence[str]) -> None:
        """Let batches carry these arrays, too, see :data:`ogreid.data.datasets.sources.EXTRAS`."""
        self.crops = [(source.storing(extra), crop) for source, crop in self.crops] if extra else self.crops
        self.extra = tuple(extra)

    def __getitems__(self, indices: list[int]) -> CloudBatch:
        """A whole batch."""
        clouds = [self.crops[index][0].cloud(self.crops[index][1]) for index in indices]
        unknown = torch.full((len(indices),), -1, dtype=torch.int64)
        columns = (np.stack([cloud[name] for cloud in clouds]) for name in ("xyz", "rgb", *self.extra))
        xyz, rgb, *extra = map(torch.from_numpy, columns)
        sources = tuple(self.sources[index] for index in indices)
        arrays = _columns(self.extra, extra)
        return CloudBatch(xyz, rgb, unknown, unknown, torch.tensor(indices), sources, arrays)


def _columns(names: Sequence[str], arrays: Sequence[Tensor]) -> dict[str, Tensor]:
    """By name, each (B, P, C)."""
    return {name: one if one.ndim == 3 else one[..., None] for name, one in zip(names, arrays, strict=True)}


def _in_order(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0][1]
    whole = np.empty((sum(len(place) for place, _ in parts), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for place, values in parts:
        whole[place] = values
    return whole
