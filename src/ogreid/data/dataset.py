"""The clouds of a set, batch by batch: read from packed stores, or held on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ogreid.data.batch import CloudBatch
from ogreid.data.store.reading import Store

__all__ = ["CloudDataset", "ResidentClouds"]


class CloudDataset(Dataset[CloudBatch]):
    """Rows of one or several stores, read a batch at a time.

    Args:
        stores: opened stores.
        store: (R,) which store each row is in.
        row: (R,) its row there.
        identity: (R,) what to call it.
    """

    def __init__(self, stores: Sequence[Store], store: np.ndarray, row: np.ndarray, identity: np.ndarray) -> None:
        self.stores, self.store, self.row, self.identity = list(stores), store, row, identity
        self.camera = np.empty(len(row), dtype=np.int64)
        for number, opened in enumerate(self.stores):
            mine = store == number
            self.camera[mine] = opened.rows["camera"][row[mine]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row)

    def __getitem__(self, index: int) -> CloudBatch:
        """One row, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> CloudBatch:
        """A whole batch in one go: the store's memory map is read once per batch, in file order."""
        wanted = np.asarray(indices)
        parts = []
        for number in np.unique(self.store[wanted]):
            place = np.flatnonzero(self.store[wanted] == number)
            parts.append((place, *self.stores[number].raw(self.row[wanted[place]])))
        xyz, rgb = (_in_order([(part[0], part[i]) for part in parts]) for i in (1, 2))
        return self.batch(indices, torch.from_numpy(xyz), torch.from_numpy(rgb))

    def batch(self, indices: list[int], xyz: Tensor, rgb: Tensor) -> CloudBatch:
        """The rows ``indices`` with their clouds."""
        wanted = np.asarray(indices)
        return CloudBatch(
            xyz,
            rgb,
            torch.from_numpy(self.identity[wanted].astype(np.int64)),
            torch.from_numpy(self.camera[wanted]),
            torch.from_numpy(wanted.astype(np.int64)),
        )


class ResidentClouds(Dataset[CloudBatch]):
    """A whole set in the memory of a device, as stored, copied there when the first batch is asked for.

    No batch is read or copied afterwards, so a loader needs no workers. Batches have the same bits.

    Args:
        clouds: the set.
        device: where it is to be.
    """

    def __init__(self, clouds: CloudDataset, device: torch.device) -> None:
        self.clouds, self.device = clouds, device
        self.held: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.clouds)

    def __getitem__(self, index: int) -> CloudBatch:
        """One row, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> CloudBatch:
        """A whole batch, its clouds on the device."""
        xyz, rgb = self.held = self.held or self._copied()
        wanted = torch.tensor(indices, device=self.device)
        return self.clouds.batch(indices, xyz[wanted], rgb[wanted])

    def _copied(self, block: int = 256) -> tuple[Tensor, Tensor]:
        """Xyz (R, P, 3) and rgb (R, P, 3), so many clouds at a time that they need no second copy on the host."""
        held: list[Tensor] = []
        for start in range(0, len(self), block):
            stop = min(start + block, len(self))
            parts = self.clouds.__getitems__(list(range(start, stop)))[:2]
            held = held or [part.new_empty(len(self), *part.shape[1:], device=self.device) for part in parts]
            for whole, part in zip(held, parts, strict=True):
                whole[start:stop].copy_(part)
        return held[0], held[1]


def _in_order(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0][1]
    whole = np.empty((sum(len(place) for place, _ in parts), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
    for place, values in parts:
        whole[place] = values
    return whole
