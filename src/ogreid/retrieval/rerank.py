"""k-reciprocal re-ranking with sparse rows.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. Of the N = Q + G rows each is
described by the rows that name it as a neighbor and are named by it: the weights V (N, N), of which a row has some
tens that are not zero. The distance of query i and gallery row j is

    (1 - weight) * (1 - sum min(V_i, V_j) / sum max(V_i, V_j)) + weight * d_ij,

with d the squared Euclidean distance of the unit vectors, divided by the row's largest. The released form keeps five
dense N x N matrices (105 GB for MSMT17); here nothing larger than a block of rows is dense.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from ogreid.errors import InputError
from ogreid.retrieval.directions import directions, same_width

__all__ = ["Reranking", "reranked_scores"]


@dataclass(frozen=True)
class Reranking:
    """The method's three numbers, as published for Market-1501.

    Attributes:
        neighbors: k1, how many neighbors must be mutual.
        expansion: k2, over how many neighbors a row's weights are averaged; 1 for none.
        weight: of the original distance, 0 to 1.
    """

    neighbors: int = 20
    expansion: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.neighbors < 1 or not 1 <= self.expansion <= self.neighbors + 1 or not 0 <= self.weight <= 1:
            raise InputError(
                f"re-ranking with neighbors={self.neighbors}, expansion={self.expansion}, weight={self.weight}: "
                "expected neighbors >= 1, expansion from 1 to neighbors + 1, weight from 0 to 1"
            )


def reranked_scores(
    query: np.ndarray, gallery: np.ndarray, reranking: Reranking | None = None, *, block: int = 512
) -> Iterator[np.ndarray]:
    """Minus the re-ranked distances, as scores for `judge_scores`.

    Gallery rows that are junk take part, as in the released code: the method does not look at identities.

    Args:
        query: (Q, D) embeddings of any length.
        gallery: (G, D) embeddings.
        reranking: see there.
        block: rows that are dense at a time.

    Yields:
        (B, G) float32 for the queries in their order, B at most ``block``.

    Raises:
        InputError: an embedding without direction, widths that differ, or fewer rows than neighbors.
    """
    how = reranking or Reranking()
    same_width(query, gallery)
    rows = directions(np.concatenate([query, gallery]), "row (queries first)")
    if len(rows) <= how.neighbors:
        raise InputError(f"re-ranking looks at {how.neighbors} neighbors of each row, there are {len(rows)} rows")
    near, largest = _neighbors(rows, how.neighbors + 1, block)
    weights = _weights(rows, near, largest, how)
    known = weights[len(query) :].tocsc()
    for first in range(0, len(query), block):
        asked = weights[first : min(first + block, len(query))]
        original = _distances(rows[first : first + asked.shape[0]], rows[len(query) :])
        original /= largest[first : first + asked.shape[0], None]
        common = np.zeros(original.shape, dtype=np.float32)
        _add_minima(asked.indptr, asked.indices, asked.data, known.indptr, known.indices, known.data, common)
        yield -((1 - how.weight) * (1 - common / (2 - common)) + how.weight * original)


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of unit vectors."""
    distances: np.ndarray = left @ right.T
    distances *= -2
    distances += 2
    np.maximum(distances, 0, out=distances)
    return distances


def _neighbors(rows: np.ndarray, count: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row's nearest rows (N, count) int64, itself first, and its largest distance (N,)."""
    near = np.empty((len(rows), count), dtype=np.int64)
    largest = np.empty(len(rows), dtype=np.float32)
    for first in range(0, len(rows), block):
        distances = _distances(rows[first : first + block], rows)
        here = np.arange(len(distances))
        largest[first + here] = distances.max(axis=1)
        distances[here, first + here] = -1  # itself first, before a row that equals it
        some = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, some, axis=1), axis=1, kind="stable")
        near[first + here] = np.take_along_axis(some, order, axis=1)
    return near, largest


def _weights(rows: np.ndarray, near: np.ndarray, largest: np.ndarray, how: Reranking) -> sparse.csr_array:
    """V after local query expansion: row i is the mean over its first ``expansion`` neighbors."""
    half = round(how.neighbors / 2) + 1
    counts, members = _reciprocal(near, half)
    values = _closeness(rows, counts, members, largest)
    size = len(rows)
    starts = np.concatenate([[0], np.cumsum(counts)])
    encoded = sparse.csr_array((values, members, starts), shape=(size, size))
    if how.expansion == 1:
        return encoded
    chosen = near[:, : how.expansion].ravel()
    share = np.full(len(chosen), 1 / how.expansion, dtype=np.float32)
    mean = sparse.csr_array((share, chosen, np.arange(0, len(chosen) + 1, how.expansion)), shape=(size, size))
    return sparse.csr_array(mean @ encoded)


@njit(nogil=True, cache=True)
def _mutual(near: np.ndarray, row: int, count: int, found: np.ndarray) -> int:
    """Rows among the first ``count`` neighbors of ``row`` that have it among theirs; how many."""
    held = 0
    for other in near[row, :count]:
        for back in near[other, :count]:
            if back == row:
                found[held] = other
                held += 1
                break
    return held


@njit(nogil=True, cache=True)
def _reciprocal(near: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row's k-reciprocal neighbors, with those of a neighbor that shares over two thirds of its own half set."""
    rows, count = near.shape
    counts = np.zeros(rows, dtype=np.int64)
    members = np.empty(rows * 4 * count, dtype=np.int64)
    own, theirs = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    marked = np.full(rows, -1, dtype=np.int64)  # the row in whose set one is already
    total = 0
    for row in range(rows):
        if total + count * (half + 1) > len(members):
            members = np.concatenate((members, np.empty(len(members), dtype=np.int64)))
        mutual = _mutual(near, row, count, own)
        start = total
        for other in own[:mutual]:
            marked[other] = row
            members[total] = other
            total += 1
        for other in own[:mutual]:
            held = _mutual(near, other, half, theirs)
            shared = 0
            for one in theirs[:held]:
                for mine in own[:mutual]:
                    shared += one == mine
            if 3 * shared > 2 * held:
                for one in theirs[:held]:
                    if marked[one] != row:
                        marked[one] = row
                        members[total] = one
                        total += 1
        members[start:total].sort()
        counts[row] = total - start
    return counts, members[:total].copy()


@njit(nogil=True, cache=True)
def _closeness(rows: np.ndarray, counts: np.ndarray, members: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """exp(-distance) over each row's members, as shares of one."""
    values = np.empty(len(members), dtype=np.float32)
    at = 0
    for row in range(len(counts)):
        start, total = at, 0.0
        for at in range(start, start + counts[row]):
            score = 0.0
            for d in range(rows.shape[1]):
                score += np.float64(rows[row, d]) * np.float64(rows[members[at], d])
            values[at] = np.exp(-max(2 - 2 * score, 0.0) / largest[row])
            total += values[at]
        at = start + counts[row]
        values[start:at] /= np.float32(total)
    return values


@njit(nogil=True, cache=True)
def _add_minima(
    starts: np.ndarray,
    members: np.ndarray,
    values: np.ndarray,
    known_starts: np.ndarray,
    known: np.ndarray,
    known_values: np.ndarray,
    common: np.ndarray,
) -> None:
    """common[i, j] += sum_c min(V_i[c], V_j[c]), V_j by columns."""
    for i in range(len(starts) - 1):
        for at in range(starts[i], starts[i + 1]):
            column = members[at]
            for k in range(known_starts[column], known_starts[column + 1]):
                common[i, known[k]] += min(values[at], known_values[k])
