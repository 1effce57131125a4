"""The loaders of whole batches."""

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ogreid.config.workers import signals_blocked
from ogreid.data.batch import CloudBatch
from ogreid.data.dataset import ResidentClouds


def make_loader(
    dataset: Dataset[CloudBatch], sampler: Sampler[int], batch_size: int, num_workers: int, *, drop_last: bool = False
) -> DataLoader[CloudBatch]:
    """A loader of a data set that gives whole batches.

    Args:
        dataset: read a batch at a time.
        sampler: the order of its rows on this process.
        batch_size: of this process.
        num_workers: loader processes.
        drop_last: leave out a last batch that is smaller.
    """
    return _Loader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=num_workers,
        collate_fn=_as_read,
        pin_memory=torch.cuda.is_available() and not isinstance(dataset, ResidentClouds),
        persistent_workers=num_workers > 0,
    )


def _as_read(batch: Any) -> Any:  # noqa: ANN401 - torch types a batch as a list of samples
    """The data set gives whole batches; there is nothing to collate."""
    return batch


class _Loader(DataLoader[CloudBatch]):
    # Its workers see no signal: the parent needs batches to finish a step, and a fork inherits its handlers.
    def _get_iterator(self) -> Any:  # noqa: ANN401 - torch's private iterator
        with signals_blocked("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
            return super()._get_iterator()
