"""The counting behind retrieval: how many negatives score at least as much as each positive.

Only the ranks of the positives matter, and a rank is a count. So no Q x G matrix is kept and nothing is sorted but
the few scores of a query's own positives; counts add up over pieces of the gallery.

**Why no result depends on block, thread or machine.** `directions` rounds normalised embeddings to multiples of
2^-24. Those are float32 numbers, and their products are multiples of 2^-48 whose partial sums stay below 2 (Cauchy-
Schwarz), so a float64 dot product of two of them is *exact* in whatever order it is added. That exact score decides
every rank: equal embeddings tie, always. `tally` reads a float32 matrix product, whose last bits do depend on block
shape and library, only as a filter: where it lies further from every positive than the a-priori error bound of a
float32 dot product (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5) its verdict is the exact
one, and in the rare remaining cases (about 1 in 1000) the exact score is computed.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

__all__ = ["Ladders", "measure", "rounding_bound", "tally", "tally_plain", "tally_scores"]

RECALL_LEVELS = 101
"""Points of the precision-recall curve: recall 0, 0.01 ... 1."""

_BUCKETS = 1024
_FIRST, _LAST = np.float32(0), np.float32(_BUCKETS - 1)


def rounding_bound(width: int) -> float:
    """Largest distance between the float32 and the exact dot product of two unit vectors of ``width``."""
    unit = width * 2.0**-24
    return 1.01 * unit / (1 - unit)  # 1.01: the rows are unit vectors only up to their own rounding


@njit(nogil=True, cache=True)
def _count_positives(begin: np.ndarray, end: np.ndarray, camera: np.ndarray, gallery_camera: np.ndarray) -> np.ndarray:
    counts = np.zeros(len(begin), dtype=np.int64)
    for q in range(len(begin)):
        for g in range(begin[q], end[q]):
            counts[q] += gallery_camera[g] != camera[q]
    return counts


# Any order of addition gives the same exact sum here (see above), so the compiler may use vector registers.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _exact_score(left: np.ndarray, right: np.ndarray) -> float:
    score = 0.0
    for d in range(left.shape[0]):
        score += np.float64(left[d]) * np.float64(right[d])
    return score


@njit(nogil=True, cache=True)
def _at_most(rungs: np.ndarray, score: float) -> int:
    """How many of the ascending, non-empty ``rungs`` are <= ``score``; a binary search without branches."""
    found = 0
    length = len(rungs)
    while length > 1:
        half = length >> 1
        found += half * (rungs[found + half - 1] <= score)
        length -= half
    return int(found + (rungs[found] <= score))


@njit(nogil=True, cache=True)
def _score_positives(
    query: np.ndarray,
    gallery: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    camera: np.ndarray,
    gallery_camera: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    scores = np.empty(offsets[-1], dtype=np.float64)
    for q in range(len(begin)):
        at = offsets[q]
        for g in range(begin[q], end[q]):
            if gallery_camera[g] != camera[q]:
                scores[at] = _exact_score(query[q], gallery[g])
                at += 1
        scores[offsets[q] : at].sort()
    return scores


@njit(nogil=True, cache=True)
def _buckets(offsets: np.ndarray, scores: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    table = np.empty((len(offsets) - 1, _BUCKETS), dtype=np.int32)
    scale = np.zeros((len(offsets) - 1, 2), dtype=np.float32)
    slack = bound + 1e-6  # bucket numbers are computed in float32
    for q in range(len(offsets) - 1):
        rungs = scores[offsets[q] : offsets[q + 1]]
        if len(rungs) == 0:
            continue
        # The first bucket lies below every rung and the last above: scores outside are clamped into those two.
        width = (rungs[-1] - rungs[0] + 2 * slack) / (_BUCKETS - 4)
        margin = slack + width / 100
        lowest = rungs[0] - slack - 2 * width
        scale[q] = 1 / width, -lowest / width
        under = 0
        for b in range(_BUCKETS):
            while under < len(rungs) and rungs[under] < lowest + b * width - margin:
                under += 1
            table[q, b] = under
            if under < len(rungs) and rungs[under] <= lowest + (b + 1) * width + margin:
                table[q, b] = -1
    return table, scale


class Ladders(NamedTuple):
    """The scores of the positives of B queries, each query's in ascending order: the rungs that negatives climb.

    Attributes:
        offsets: (B + 1,) int64; the rungs of query q are ``scores[offsets[q]:offsets[q + 1]]``.
        scores: float64, exact.
        table: (B, 1024) int32; a query's range of scores cut into equal buckets: how many rungs lie below the bucket,
            or -1 where one lies in it or within ``bound`` of it. It saves nearly all searches.
        scale: (B, 2) float32; bucket number = first * score + second.
        bound: how far a float32 score may be from the exact one.
    """

    offsets: np.ndarray
    scores: np.ndarray
    table: np.ndarray
    scale: np.ndarray
    bound: float

    @classmethod
    def build(
        cls,
        query: np.ndarray,
        gallery: np.ndarray,
        begin: np.ndarray,
        end: np.ndarray,
        camera: np.ndarray,
        gallery_camera: np.ndarray,
    ) -> "Ladders":
        """The ladders of ``query`` (B, D) in ``gallery`` (G, D), both rows of `directions`.

        Args:
            query: (B, D) float32.
            gallery: (G, D) float32, sorted by identity.
            begin: (B,) first gallery row of the query's identity.
            end: (B,) one past its last row.
            camera: (B,) of the queries; rows of the same camera are junk.
            gallery_camera: (G,).
        """
        counts = _count_positives(begin, end, camera, gallery_camera)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        scores = _score_positives(query, gallery, begin, end, camera, gallery_camera, offsets)
        bound = rounding_bound(query.shape[1])
        table, scale = _buckets(offsets, scores, bound)
        return cls(offsets, scores, table, scale, bound)

    def empty_bins(self) -> np.ndarray:
        """Counts, all zero, flat: bin i of query q is at ``offsets[q] + q + i``."""
        return np.zeros(len(self.scores) + len(self.offsets) - 1, dtype=np.int64)


@njit(nogil=True, cache=True)
def _tally_rows(
    first: int,
    last: int,
    query: np.ndarray,
    tile: np.ndarray,
    product: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    ladders: Ladders,
    bins: np.ndarray,
) -> None:
    columns = product.shape[1]
    number = np.empty(columns, dtype=np.int32)
    bound = ladders.bound
    for q in range(first, last):
        rungs = ladders.scores[ladders.offsets[q] : ladders.offsets[q + 1]]
        count = len(rungs)
        if count == 0:
            continue
        factor, shift = ladders.scale[q]
        row, table, own = product[q], ladders.table[q], bins[ladders.offsets[q] + q :]
        for low, high in ((0, min(max(begin[q], 0), columns)), (min(max(end[q], 0), columns), columns)):
            for g in range(low, high):  # a loop of its own: it runs in vector registers
                number[g] = np.int32(min(max(row[g] * factor + shift, _FIRST), _LAST))
            for g in range(low, high):
                above = table[number[g]]
                if above < 0:
                    score = np.float64(row[g])
                    above = _at_most(rungs, score)
                    near = (above > 0 and score - rungs[above - 1] <= bound) or (
                        above < count and rungs[above] - score <= bound
                    )
                    if near:
                        above = _at_most(rungs, _exact_score(query[q], tile[g]))
                own[above] += 1


def tally(
    query: np.ndarray,
    tile: np.ndarray,
    product: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    ladders: Ladders,
    bins: np.ndarray,
    pool: ThreadPoolExecutor,
    threads: int,
) -> None:
    """Add one piece of the gallery to the counts.

    Threads of a pool instead of numba's own: those would not survive the forks of a data loader.

    Args:
        query: (B, D) float32 rows of `directions`.
        tile: (T, D) float32, a piece of the gallery, likewise.
        product: (B, T) float32, ``query @ tile.T`` in any order of addition.
        begin: (B,) first row, counted from the tile's, of the query's own identity: no negatives up to ``end``.
        end: (B,) one past the last such row; both may lie outside the tile.
        ladders: of the queries.
        bins: counted up in place: bin i holds how many negatives score at least as much as exactly i of the positives
            (bin 0 is not needed).
        pool: where the rows are counted.
        threads: into how many pieces the rows are cut.
    """
    cuts = np.linspace(0, len(query), threads + 1).astype(np.int64)
    jobs = [
        pool.submit(_tally_rows, first, last, query, tile, product, begin, end, ladders, bins)
        for first, last in pairwise(cuts)
    ]
    for job in jobs:
        job.result()


def tally_plain(
    query: np.ndarray,
    tile: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    ladders: Ladders,
    bins: np.ndarray,
    device: torch.device,
) -> None:
    """The definition of `tally`, and the form for CUDA devices: every score in float64, where it is exact."""
    counts = np.diff(ladders.offsets)
    most = int(counts.max(initial=0))
    padded = np.full((len(query), most), np.inf)
    held = np.arange(most) < counts[:, None]
    padded[held] = ladders.scores
    scores = torch.from_numpy(query).to(device).double() @ torch.from_numpy(tile).to(device).double().T
    above = torch.searchsorted(torch.from_numpy(padded).to(device), scores, right=True)
    column = torch.arange(len(tile), device=device)
    own = (column >= torch.from_numpy(begin).to(device)[:, None]) & (column < torch.from_numpy(end).to(device)[:, None])
    table = torch.zeros(len(query), most + 1, dtype=torch.int64, device=device)
    table.scatter_add_(1, above, (~own).long())
    wanted = np.arange(most + 1) <= counts[:, None]
    bins += table.cpu().numpy()[wanted]


@njit(nogil=True, cache=True)
def tally_scores(
    scores: np.ndarray, begin: np.ndarray, end: np.ndarray, camera: np.ndarray, gallery_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and complete counts for scores (B, G) of any kind; the gallery sorted by identity, without junk."""
    counts = _count_positives(begin, end, camera, gallery_camera)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(counts)
    bins = np.zeros(offsets[-1] + len(counts), dtype=np.int64)
    for q in range(len(counts)):
        rungs = np.sort(scores[q, begin[q] : end[q]][gallery_camera[begin[q] : end[q]] != camera[q]])
        if len(rungs) > 0:
            for g in range(scores.shape[1]):
                if not begin[q] <= g < end[q]:
                    bins[offsets[q] + q + _at_most(rungs, scores[q, g])] += 1
    return offsets, bins


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
