"""The counting behind retrieval: how many negatives score at least as much as each positive.

Only the ranks of the positives matter, and a rank is a count. So no Q x G matrix is kept and nothing is sorted but
the few scores of a query's own positives; counts add up over pieces of the gallery.

**Why no result depends on block, thread or machine.** `directions` rounds normalized embeddings to multiples of
2^-24. Those are float32 numbers, and their products are multiples of 2^-48 whose partial sums stay below 2 (Cauchy-
Schwarz), so a float64 dot product of two of them is *exact* in whatever order it is added. That exact score decides
every rank: equal embeddings tie, always. `tally` reads a float32 matrix product, whose last bits do depend on block
shape and library, only as a filter: where it lies further from every positive than the a-priori error bound of a
float32 dot product (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5) its verdict is the exact
one, and in the rare remaining cases (1 in 2000 to 1 in 200) the exact score is computed.

What is compiled and calls each other stays in this one file: numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from ogreid.retrieval.centered import Centered

__all__ = ["Ladders", "count_positives", "product", "rounding_bound", "tally", "tally_plain"]

PART = 256
"""Columns of a product that are added in one go; fewer would slow it down, more would be rounded more."""

_BUCKETS = 1024
_FIRST, _LAST = np.float32(0), np.float32(_BUCKETS - 1)
_TURNS = np.uint64(4)


def rounding_bound(width: int) -> float:
    """Largest distance between `product` and the exact dot product of two unit vectors of ``width``."""
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
def exact_score(query: np.ndarray, q: int, center: np.ndarray, rest: np.ndarray, g: int) -> float:
    """The product of row q of ``query`` and row g of the gallery, ``center + rest[g]``, without rounding."""
    score = 0.0
    for d in range(len(center)):
        score += np.float64(query[q, d]) * (np.float64(center[d]) + np.float64(rest[g, d]))
    return score


@njit(nogil=True, cache=True)
def _score_positives(
    query: np.ndarray,
    center: np.ndarray,
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
                scores[at] = exact_score(query, q, center, rest, g)
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
                table[q, b] = -1 - under
    return table, scale


class Ladders(NamedTuple):
    """The scores of the positives of B queries, each query's in ascending order.

    Attributes:
        offsets: (B + 1,) int64; the rungs of query q are ``scores[offsets[q]:offsets[q + 1]]``.
        scores: float64, exact.
        aside: (B,) float64, ``query @ center``: what a score has beyond the product of the rests and the offset.
        table: (B, 1024) int32; a query's range of scores cut into equal buckets: the number n of rungs that lie below
            the bucket, or -1 - n where the next one lies in it or within ``bound`` of it. It saves all searches.
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
        gallery: Centered,
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
        scores = _score_positives(query, gallery.center, gallery.rest, begin, end, camera, gallery_camera, offsets)
        aside = query.astype(np.float64) @ gallery.center.astype(np.float64)
        length = np.linalg.norm((query - gallery.center).astype(np.float64), axis=1)
        # Beside the rounding of the product: that of the query's rest, of the offset and of adding it.
        bound = gallery.reach * (rounding_bound(query.shape[1]) * length + 2.0**-22)
        # Bucket numbers are computed in float32; the constant keeps a bucket from having no width at all.
        table, scale = _buckets(offsets, scores, aside, bound, 2.0**-20 * gallery.reach + 2.0**-44)
        return cls(offsets, scores, aside, table, scale, bound)

    def empty_bins(self) -> np.ndarray:
        """Counts, all zero, flat: bin i of query q is at ``offsets[q] + q + i``."""
        return np.zeros(len(self.scores) + len(self.offsets) - 1, dtype=np.int64)


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray, spare: np.ndarray) -> None:
    """``out`` (B, T) becomes ``left`` (B, D) times ``right`` (T, D) transposed, within `rounding_bound`.

    numpy's product, not torch's: ``torch.set_float32_matmul_precision`` may turn that into bfloat16.
    """
    np.matmul(left[:, :PART], right[:, :PART].T, out=out)
    for first in range(PART, left.shape[1], PART):
        part = slice(first, first + PART)
        out += np.matmul(left[:, part], right[:, part].T, out=spare)


# Numbers of rows are unsigned here: numba then need not ask whether they count from the end (1.8 ns a score, not 4.4).
@njit(nogil=True, cache=True)
def _tally_row(
    score: np.ndarray,
    offset: np.ndarray,
    low: int,
    high: int,
    table: np.ndarray,
    scale: np.ndarray,
    number: np.ndarray,
    turns: np.ndarray,
    doubtful: np.ndarray,
) -> int:
    """Count the scores of one query in ``turns``; how many had to be left ``doubtful``."""
    factor, shift = scale[0], scale[1]
    stride, held = np.uint64(len(turns)) // _TURNS, np.uint64(0)
    for g in range(np.uint64(low), np.uint64(high)):  # a loop of its own: it runs in vector registers
        number[g] = np.uint32(np.int32(min(max((score[g] + offset[g]) * factor + shift, _FIRST), _LAST)))
    for g in range(np.uint64(low), np.uint64(high)):  # without branches, which nobody could foresee
        above = table[number[g]]
        turns[(g % _TURNS) * stride + np.uint64(max(above + 1, 0))] += np.uint32(1)
        doubtful[held] = g
        held += np.uint64(above < 0)
    return int(held)


@njit(nogil=True, cache=True)
def _climb(rungs: np.ndarray, rung: int, last: int, score: float) -> int:
    """The first rung from ``rung`` on that lies above ``score``, or ``last``.

    Nearly always none or one is climbed; but an identity of 10 000 images that all look alike has them in one bucket.
    """
    step = 1
    while rung + step <= last and rungs[rung + step - 1] <= score:
        rung += step
        step *= 2
    while step > 1:
        step //= 2
        if rung + step <= last and rungs[rung + step - 1] <= score:
            rung += step
    return rung


@njit(nogil=True, cache=True)
def _decide(
    doubtful: np.ndarray,
    number: np.ndarray,
    q: int,
    query: np.ndarray,
    tile: Centered,
    score: np.ndarray,
    ladders: Ladders,
    own: np.ndarray,
) -> None:
    """Count the doubtful rows of query q in ``own``, by their exact scores where nothing less will do."""
    first, last = ladders.offsets[q], ladders.offsets[q + 1]
    rungs, bound, aside = ladders.scores, ladders.bound[q], ladders.aside[q]
    for g in doubtful:
        about = np.float64(score[g] + tile.offset[g]) + aside
        rung = _climb(rungs, first - 1 - ladders.table[q, number[g]], last, about - bound)
        if rung < last and rungs[rung] <= about + bound:
            rung = _climb(rungs, rung, last, exact_score(query, q, tile.center, tile.rest, g))
        own[rung - first] += 1


@njit(nogil=True, cache=True)
def tally(
    query: np.ndarray,
    tile: Centered,
    scores: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    ladders: Ladders,
    bins: np.ndarray,
) -> None:
    """Add one piece of the gallery to the counts.

    Args:
        query: (B, D) float32 rows of `directions`.
        tile: T rows, a piece of the gallery.
        scores: (B, T) float32, the `product` of ``query - tile.center`` and ``tile.rest``.
        begin: (B,) first row, counted from the tile's, of the query's own identity: no negatives up to ``end``.
        end: (B,) one past the last such row; both may lie outside the tile.
        ladders: of the queries.
        bins: counted up in place: bin i holds how many negatives score at least as much as exactly i of the positives
            (bin 0 is not needed).
    """
    columns = scores.shape[1]
    number, doubtful = np.empty(columns, dtype=np.uint32), np.empty(columns + 1, dtype=np.uint32)
    for q in range(len(query)):
        base, count = ladders.offsets[q], ladders.offsets[q + 1] - ladders.offsets[q]
        if count == 0:
            continue
        own = bins[base + q : base + q + count + 1]
        # In turns, because an addition to the number that was just stored has to wait for it.
        turns = np.zeros((4, count + 2), dtype=np.uint32)
        for low, high in ((0, min(max(begin[q], 0), columns)), (min(max(end[q], 0), columns), columns)):
            steps = ladders.table[q], ladders.scale[q]
            held = _tally_row(scores[q], tile.offset, low, high, *steps, number, turns.ravel(), doubtful)
            _decide(doubtful[:held], number, q, query, tile, scores[q], ladders, own)
        for turn in turns:
            for above in range(count + 1):
                own[above] += np.int64(turn[above + 1])


def tally_plain(
    query: np.ndarray,
    tile: Centered,
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
    asked, center, rest = (torch.from_numpy(part).to(device).double() for part in (query, tile.center, tile.rest))
    scores = asked @ (center + rest).T
    above = torch.searchsorted(torch.from_numpy(padded).to(device), scores, right=True)
    column = torch.arange(len(rest), device=device)
    own = (column >= torch.from_numpy(begin).to(device)[:, None]) & (column < torch.from_numpy(end).to(device)[:, None])
    table = torch.zeros(len(query), most + 1, dtype=torch.int64, device=device)
    table.scatter_add_(1, above, (~own).long())
    wanted = np.arange(most + 1) <= counts[:, None]
    bins += table.cpu().numpy()[wanted]
