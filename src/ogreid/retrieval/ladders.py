"""The scores of a query's own positives, exact and in order: the rungs that negatives climb.

**Why no result depends on block, thread or machine.** `directions` rounds normalised embeddings to multiples of
2^-24. Those are float32 numbers, and their products are multiples of 2^-48 whose partial sums stay below 2 (Cauchy-
Schwarz), so a float64 dot product of two of them is *exact* in whatever order it is added. That exact score decides
every rank: equal embeddings tie, always. `counting.tally` reads a float32 matrix product, whose last bits do depend on
block shape and library, only as a filter: where it lies further from every rung than the a-priori error bound of a
float32 dot product (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5) its verdict is the exact
one, and in the rare remaining cases (1 in 1000 to 1 in 100) the exact score is computed.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from ogreid.retrieval.centred import Centred

__all__ = ["PART", "Ladders", "at_most", "count_positives", "exact_score", "rounding_bound"]

PART = 128
"""Columns of a product that are added in one go; fewer would slow it down, more are rounded more."""

_BUCKETS = 1024


def rounding_bound(width: int) -> float:
    """Largest distance between `counting.product` and the exact dot product of two unit vectors of ``width``."""
    roundings = min(width, PART) + -(-width // PART)  # within a part, and one for each part that is added
    unit = roundings * 2.0**-24
    return 1.01 * unit / (1 - unit)  # 1.01: the rows are unit vectors only up to their own rounding


@njit(nogil=True, cache=True)
def count_positives(begin: np.ndarray, end: np.ndarray, camera: np.ndarray, gallery_camera: np.ndarray) -> np.ndarray:
    """How many of the gallery rows ``begin[q]`` to ``end[q]`` are of another camera than query q; (B,) int64."""
    counts = np.zeros(len(begin), dtype=np.int64)
    for q in range(len(begin)):
        for g in range(begin[q], end[q]):
            counts[q] += gallery_camera[g] != camera[q]
    return counts


# Any order of addition gives the same exact sum here (see above), so the compiler may use vector registers.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def exact_score(query: np.ndarray, q: int, centre: np.ndarray, rest: np.ndarray, g: int) -> float:
    """The product of row q of ``query`` and row g of the gallery, ``centre + rest[g]``, without rounding."""
    score = 0.0
    for d in range(len(centre)):
        score += np.float64(query[q, d]) * (np.float64(centre[d]) + np.float64(rest[g, d]))
    return score


@njit(nogil=True, cache=True)
def at_most(rungs: np.ndarray, first: int, count: int, score: float) -> int:
    """How many of ``rungs[first : first + count]``, ascending, one or more, are <= ``score``.

    A binary search without branches, which nobody could foresee.
    """
    found = first
    while count > 1:
        half = count >> 1
        found += half * (rungs[found + half - 1] <= score)
        count -= half
    return int(found + (rungs[found] <= score) - first)


@njit(nogil=True, cache=True)
def _score_positives(
    query: np.ndarray,
    centre: np.ndarray,
    rest: np.ndarray,
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
                scores[at] = exact_score(query, q, centre, rest, g)
                at += 1
        scores[offsets[q] : at].sort()
    return scores


@njit(nogil=True, cache=True)
def _buckets(
    offsets: np.ndarray, scores: np.ndarray, aside: np.ndarray, bound: np.ndarray, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    table = np.empty((len(offsets) - 1, _BUCKETS), dtype=np.int32)
    scale = np.zeros((len(offsets) - 1, 2), dtype=np.float32)
    for q in range(len(offsets) - 1):
        rungs = scores[offsets[q] : offsets[q + 1]] - aside[q]
        if len(rungs) == 0:
            continue
        # The first bucket lies below every rung and the last above: scores outside are clamped into those two.
        near = bound[q] + slack
        width = (rungs[-1] - rungs[0] + 2 * near) / (_BUCKETS - 4)
        margin = near + width / 100
        lowest = rungs[0] - near - 2 * width
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
    """The scores of the positives of B queries, each query's in ascending order.

    Attributes:
        offsets: (B + 1,) int64; the rungs of query q are ``scores[offsets[q]:offsets[q + 1]]``.
        scores: float64, exact.
        aside: (B,) float64, ``query @ centre``: what a score has beyond the product of the rests and the offset.
        table: (B, 1024) int32; a query's range of scores cut into equal buckets: how many rungs lie below the bucket,
            or -1 where one lies in it or within ``bound`` of it. It saves nearly all searches.
        scale: (B, 2) float32; bucket number = first * (score - aside) + second.
        bound: (B,) how far a float32 score may be from the exact one.
    """

    offsets: np.ndarray
    scores: np.ndarray
    aside: np.ndarray
    table: np.ndarray
    scale: np.ndarray
    bound: np.ndarray

    @classmethod
    def build(
        cls,
        query: np.ndarray,
        gallery: Centred,
        begin: np.ndarray,
        end: np.ndarray,
        camera: np.ndarray,
        gallery_camera: np.ndarray,
    ) -> "Ladders":
        """The ladders of ``query`` in ``gallery``.

        Args:
            query: (B, D) float32 rows of `directions`.
            gallery: G rows, sorted by identity.
            begin: (B,) first gallery row of the query's identity.
            end: (B,) one past its last row.
            camera: (B,) of the queries; rows of the same camera are junk.
            gallery_camera: (G,).
        """
        counts = count_positives(begin, end, camera, gallery_camera)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        scores = _score_positives(query, gallery.centre, gallery.rest, begin, end, camera, gallery_camera, offsets)
        aside = query.astype(np.float64) @ gallery.centre.astype(np.float64)
        length = np.linalg.norm((query - gallery.centre).astype(np.float64), axis=1)
        # Beside the rounding of the product: that of the query's rest, of the offset and of adding it.
        bound = gallery.reach * (rounding_bound(query.shape[1]) * length + 2.0**-22)
        # Bucket numbers are computed in float32; the constant keeps a bucket from having no width at all.
        table, scale = _buckets(offsets, scores, aside, bound, 2.0**-20 * gallery.reach + 2.0**-44)
        return cls(offsets, scores, aside, table, scale, bound)

    def empty_bins(self) -> np.ndarray:
        """Counts, all zero, flat: bin i of query q is at ``offsets[q] + q + i``."""
        return np.zeros(len(self.scores) + len(self.offsets) - 1, dtype=np.int64)
