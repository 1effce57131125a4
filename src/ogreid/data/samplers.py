"""Which rows make the next batch: reproducible from (seed, epoch), and disjoint over processes.

Both samplers are distributed samplers, so Lightning leaves them alone whatever ``use_distributed_sampler`` says.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from torch.utils.data import DistributedSampler

Order = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(identity (R,), num_instances, generator) -> row numbers of one epoch."""


def random_order(identity: np.ndarray, num_instances: int, generator: np.random.Generator) -> np.ndarray:
    """Every row once."""
    return generator.permutation(len(identity))


def balanced(identity: np.ndarray, num_instances: int, generator: np.random.Generator) -> np.ndarray:
    """R draws with replacement, each row weighted by 1 / rows of its identity (released code)."""
    weight = 1.0 / np.bincount(identity)[identity]
    return generator.choice(len(identity), size=len(identity), p=weight / weight.sum())


def class_balanced(identity: np.ndarray, num_instances: int, generator: np.random.Generator) -> np.ndarray:
    """Passes of ``num_instances`` random rows of every identity, until R rows are reached (released code)."""
    rows = _rows_of(identity)
    drawn: list[np.ndarray] = []
    total = 0
    while total < len(identity):
        chosen = [generator.choice(r, size=num_instances, replace=len(r) < num_instances) for r in rows]
        drawn.append(generator.permutation(np.concatenate(chosen)))
        total += len(drawn[-1])
    return np.concatenate(drawn)[: len(identity)]


def pk(identity: np.ndarray, num_instances: int, generator: np.random.Generator) -> np.ndarray:
    """Groups of ``num_instances`` rows of one identity, so that a batch holds P identities x K rows.

    Identities come in random order, pass after pass, until R rows are reached.
    """
    rows = _rows_of(identity)
    drawn: list[np.ndarray] = []
    while len(drawn) * num_instances < len(identity):
        for i in generator.permutation(len(rows)):
            drawn.append(generator.choice(rows[i], size=num_instances, replace=len(rows[i]) < num_instances))
    return np.concatenate(drawn)[: len(identity)]


def _rows_of(identity: np.ndarray) -> list[np.ndarray]:
    """The rows of each identity, ascending; one sort, because a look at all rows for each person takes hours."""
    order = np.argsort(identity, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(identity[order])) + 1)


class TrainingSampler(DistributedSampler[int]):
    """One epoch of whole batches, the same global order whatever the world size.

    Step t of an epoch takes ``world x batch_size`` consecutive rows of the global order, and process r the r-th share
    of them. The rest that fills no global batch is dropped, as in the released code.

    Args:
        identity: (R,) contiguous training identities.
        order: one of :data:`ogreid.registry.SAMPLERS`.
        num_instances: rows per identity for ``class_balanced`` and ``pk``.
        batch_size: rows per process and step.
        seed: of the run.
        rank: this process.
        world: number of processes.
        epoch: the first one.
        done: steps of the first epoch that were made before a resume; its first pass leaves them out.
    """

    def __init__(
        self,
        identity: np.ndarray,
        order: Order,
        *,
        num_instances: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        epoch: int = 0,
        done: int = 0,
    ) -> None:
        super().__init__(range(len(identity)), num_replicas=world, rank=rank)  # type: ignore[arg-type]  # Sized is enough
        self.identity, self.order, self.num_instances = identity, order, num_instances
        self.batch_size, self.seed, self.world = batch_size, seed, world
        self.epoch, self.done = epoch, done

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, on resume too."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Rows of this process in a whole epoch."""
        return len(self.identity) // (self.batch_size * self.world) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Row numbers of this process."""
        generator = np.random.default_rng([self.seed, self.epoch])
        rows = self.order(self.identity, self.num_instances, generator)
        steps = len(self) // self.batch_size
        share = rows[: steps * self.world * self.batch_size].reshape(steps, self.world, self.batch_size)[:, self.rank]
        done, self.done = self.done, 0
        return iter(share[done:].ravel().tolist())


def positive_pairs(sampler: TrainingSampler) -> tuple[float, float]:
    """Pairs of rows of one identity in a batch, and identities in a batch: means over the next epoch.

    A loss on pairs learns from these; below one pair per identity it hardly does.
    """
    rows = sampler.order(sampler.identity, sampler.num_instances, np.random.default_rng([sampler.seed, sampler.epoch]))
    batches = sampler.identity[rows[: len(rows) // sampler.batch_size * sampler.batch_size]]
    counts = [np.unique(batch, return_counts=True)[1] for batch in batches.reshape(-1, sampler.batch_size)]
    pairs = [(count * (count - 1)).sum() / 2 for count in counts]
    return float(np.mean(pairs)), float(np.mean([len(count) for count in counts]))


class EvaluationSampler(DistributedSampler[int]):
    """Each row exactly once over all processes, no padding: process r takes batches r, r + world, ...

    Whole batches are dealt out, not rows, so that a row has the same neighbors in its batch whatever the number of
    processes: matrix products may round differently for another batch, and the embeddings must have the same bits.

    Args:
        rows: R.
        batch_size: rows per batch.
        rank: this process.
        world: number of processes.
        due: called at the start of each pass; where it is false, the pass is empty.
    """

    def __init__(
        self, rows: int, batch_size: int, rank: int = 0, world: int = 1, due: Callable[[], bool] | None = None
    ) -> None:
        super().__init__(range(rows), num_replicas=world, rank=rank)  # type: ignore[arg-type]  # Sized is enough
        self.rows, self.batch_size, self.world, self.due = rows, batch_size, world, due

    def __len__(self) -> int:
        """Rows of the first process, which has most, when it is due.

        Not of this one: Lightning skips the validation of a process that has no rows, and the others would wait for it.
        """
        return sum(map(len, self._batches(0)))

    def __iter__(self) -> Iterator[int]:
        """Row numbers of this process."""
        due = self.due is None or self.due()
        return chain.from_iterable(self._batches(self.rank) if due else ())

    def _batches(self, rank: int) -> list[range]:
        starts = range(rank * self.batch_size, self.rows, self.world * self.batch_size)
        return [range(start, min(start + self.batch_size, self.rows)) for start in starts]
