"""From counts to measures, query by query."""

import numpy as np
from numba import njit

__all__ = ["RECALL_LEVELS", "measure"]

RECALL_LEVELS = 101
"""Points of the precision-recall curve: recall 0, 0.01 ... 1."""


@njit(nogil=True, cache=True)
def measure(offsets: np.ndarray, bins: np.ndarray, measures: np.ndarray, precision: np.ndarray) -> None:
    """Turn counts into measures, per query.

    Args:
        offsets: (Q + 1,) of the `Ladders`.
        bins: flat counts, complete.
        measures: (Q, 4) float64, written where a query has positives: trapezoid AP, step AP, inverse negative
            penalty, rank of the first hit.
        precision: (101,) float64, increased by each query's interpolated precision at recall 0, 0.01 ... 1.
    """
    for q in range(len(offsets) - 1):
        count = offsets[q + 1] - offsets[q]
        if count == 0:
            continue
        ranks = np.empty(count, dtype=np.int64)
        negatives = 0
        for hit in range(1, count + 1):
            negatives += bins[offsets[q] + q + count - hit + 1]
            ranks[hit - 1] = negatives + hit
        step = 0.0
        before = 0.0
        for hit in range(1, count + 1):
            rank = ranks[hit - 1]
            step += hit / rank
            before += (hit - 1) / (rank - 1) if rank > 1 else 1.0
        measures[q, 0] = (step + before) / (2 * count)
        measures[q, 1] = step / count
        measures[q, 2] = count / ranks[-1]
        measures[q, 3] = ranks[0]
        best = 0.0
        hit = count
        for level in range(RECALL_LEVELS - 1, -1, -1):
            needed = max(1, -(-level * count // (RECALL_LEVELS - 1)))
            while hit >= needed:
                best = max(best, hit / ranks[hit - 1])
                hit -= 1
            precision[level] += best
