"""Counts of the scores of all pairs of a query and a gallery row, and the pairs at both ends.

Every score is a float64 product of rows of `unit_vectors`, which is exact in whatever order it is added (see
`ranking`), and all that is kept are whole numbers and the first pairs of a strict order. So no result depends on block,
thread or machine, and memory does not grow with the number of pairs.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy import ndarray

GRID = 2**20
"""Levels of a score in 1: thresholds are multiples of 2^-20, about 1e-6."""

_SPARE = 64  # levels beyond -1 and 1: rows are unit vectors only up to their own rounding
LEVELS = 2 * (GRID + _SPARE) + 1
WINDOW = 1024
"""Bins of the range of scores in which the pairs of each person are counted."""


class Pairs(NamedTuple):
    """Which of the pairs of Q queries and V gallery rows, sorted by identity and without junk, count as what."""

    begin: ndarray  # (Q,) int64, first gallery row of the query's identity
    end: ndarray  # (Q,) int64, one past its last row
    camera: ndarray  # (Q,) of the queries
    gallery_camera: ndarray  # (V,)
    person: ndarray  # (Q,) int64, row of each query's identity in ``Counts.persons``
    gallery_person: ndarray  # (V,) the same of the gallery rows
    gallery_row: ndarray  # (V,) int64, numbers in the gallery as it was given
    same_camera: bool  # whether impostor pairs of one camera count; genuine ones never do


class Extremes(NamedTuple):
    """The first K pairs by score (``sign`` 1: highest, -1: lowest first), then by query and by gallery row."""

    score: ndarray  # (K,) float64, sign * score, descending; -inf where there is none
    pair: ndarray  # (K, 2) int64, query and gallery row
    sign: float

    @classmethod
    def empty(cls, count: int, sign: float) -> "Extremes":
        """Room for ``count`` pairs."""
        return cls(np.full(count, -np.inf), np.full((count, 2), -1, dtype=np.int64), sign)

    @classmethod
    def merged(cls, parts: "list[Extremes]") -> "Extremes":
        """The first pairs of all parts."""
        score, pair = (np.concatenate([one[i] for one in parts]) for i in (0, 1))
        order = np.lexsort((pair[:, 1], pair[:, 0], -score))[: len(parts[0].score)]
        order = order[score[order] > -np.inf]
        return cls(score[order], pair[order], parts[0].sign)


class Counts(NamedTuple):
    """What the pairs add up to."""

    genuine: ndarray  # (LEVELS,) pairs by the level of their score, `level_of`
    impostor: ndarray  # (LEVELS,)
    persons: ndarray  # (I, WINDOW) impostor pairs by each identity that takes part, and bin of the score
    lowest: Extremes  # genuine pairs
    highest: Extremes  # impostor pairs

    @classmethod
    def empty(cls, persons: int, errors: int, pairs: int) -> "Counts":
        """No pairs yet; ``pairs`` that can come say how large the numbers may grow."""
        kind = np.dtype(np.uint32 if pairs < 2**32 else np.uint64)
        genuine, impostor = np.zeros(LEVELS, kind), np.zeros(LEVELS, kind)
        ends = Extremes.empty(errors, -1.0), Extremes.empty(errors, 1.0)
        return cls(genuine, impostor, np.zeros((persons, WINDOW), kind), *ends)

    @classmethod
    def total(cls, parts: "list[Counts]") -> "Counts":
        """All parts together, as int64."""
        columns: list[list[ndarray]] = [[one[i] for one in parts] for i in range(3)]  # type: ignore[misc]
        sums = [np.asarray(np.sum(column, axis=0, dtype=np.int64)) for column in columns]
        ends = Extremes.merged([one.lowest for one in parts]), Extremes.merged([one.highest for one in parts])
        return cls(sums[0], sums[1], sums[2], *ends)


def level_of(score: ndarray) -> ndarray:
    """The level of scores: those in [n, n + 1) * 2^-20 share one."""
    return np.asarray(np.floor(score * GRID).astype(np.int64) + (GRID + _SPARE))


def threshold_of(level: ndarray) -> ndarray:
    """The lowest score of each level."""
    return np.asarray((level - (GRID + _SPARE)) / GRID)


@njit(nogil=True, cache=True)
def _keep(extremes: Extremes, score: float, query: int, row: int) -> None:
    """Insert a pair into its place; the last one leaves. Called only where the pair is not after the last one."""
    kept, pair, _ = extremes
    at = len(kept) - 1
    if score == kept[at] and (pair[at, 0] < query or (pair[at, 0] == query and pair[at, 1] <= row)):
        return
    while at > 0 and (
        kept[at - 1] < score
        or (kept[at - 1] == score and (pair[at - 1, 0] > query or (pair[at - 1, 0] == query and pair[at - 1, 1] > row)))
    ):
        kept[at] = kept[at - 1]
        pair[at] = pair[at - 1]
        at -= 1
    kept[at] = score
    pair[at, 0], pair[at, 1] = query, row


@njit(nogil=True, cache=True)
def count_pairs(
    scores: ndarray, query: int, first: int, pairs: Pairs, window: tuple[float, float], counts: Counts
) -> None:
    """Add one block to the counts.

    Args:
        scores: (B, T) float64, exact.
        query: number of the block's first query.
        first: number of its first gallery row.
        pairs: what they are.
        window: lowest score of bin 1 of ``counts.persons``, and bins per unit of score.
        counts: increased in place.
    """
    genuine, impostor, persons, lowest, highest = counts
    low, scale = window
    last = len(highest.score) - 1
    for b in range(scores.shape[0]):
        q = query + b
        camera, own = pairs.camera[q], persons[pairs.person[q]]
        begin, end = pairs.begin[q] - first, pairs.end[q] - first
        for t in range(scores.shape[1]):
            score = scores[b, t]
            level = np.int64(np.floor(score * GRID)) + (GRID + _SPARE)
            other = pairs.gallery_camera[first + t] != camera
            if begin <= t < end:
                if other:
                    genuine[level] += 1
                    if last >= 0 and -score >= lowest.score[last]:
                        _keep(lowest, -score, q, pairs.gallery_row[first + t])
            elif other or pairs.same_camera:
                impostor[level] += 1
                bin_ = np.int64(min(max((score - low) * scale + 1.0, 0.0), WINDOW - 1.0))
                own[bin_] += 1
                persons[pairs.gallery_person[first + t], bin_] += 1
                if last >= 0 and score >= highest.score[last]:
                    _keep(highest, score, q, pairs.gallery_row[first + t])
