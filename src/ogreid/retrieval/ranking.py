"""Ranks of the positives: how many negatives score at least as much as each of them.

Only the ranks of the positives matter, and a rank is a count. So no Q x G matrix is kept and nothing is sorted but
the few scores of a query's own positives; counts add up over tiles of the gallery.

**Why no result depends on block, thread or machine.** `unit_vectors` rounds normalized embeddings to multiples of
2^-24. Those are float32 numbers, and their products are multiples of 2^-48 whose partial sums stay below 2 (Cauchy-
Schwarz), so a float64 dot product of two of them is *exact* in whatever order it is added. That exact score decides
every rank: equal embeddings tie, always. `count_negatives` reads a float32 matrix product, whose last bits do depend on
block shape and library, only as a filter: where it lies further from every positive than the a-priori error bound of a
float32 dot product (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 3.5) it decides as the exact
score would, and in the rare remaining cases (1 in 2000 to 1 in 200) the exact score is computed.

Compiled functions that call each other stay in this one file: numba's cache looks at no other for changes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy import ndarray

from ogreid.retrieval.unit_vectors import CenteredRows

PART = 256
"""Columns of a product that are added in one go; fewer would slow it down, more would be rounded more."""

_BUCKETS = 1024
_FIRST, _LAST = np.float32(0), np.float32(_BUCKETS - 1)
_LANES = np.uint64(4)


class Spans(NamedTuple):
    """Where the identity of each of B queries lies in a gallery of G rows that is sorted by identity.

    Gallery rows of a query's identity and camera are junk.
    """

    begin: ndarray  # (B,) int64, first gallery row of the query's identity
    end: ndarray  # (B,) int64, one past its last row
    camera: ndarray  # (B,) of the queries
    gallery_camera: ndarray  # (G,)


def rounding_bound(width: int) -> float:
    """Largest distance between `blocked_product` and the exact dot product of two unit vectors of ``width``."""
    roundings = min(width, PART) + -(-width // PART)  # within a part, and one for each part that is added
    unit = roundings * 2.0**-24
    return 1.01 * unit / (1 - unit)  # 1.01: the rows are unit vectors only up to their own rounding


# Any order of addition gives the same exact sum here (see above), so the compiler may use vector registers.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _exact_score(query: ndarray, center: ndarray, residual: ndarray) -> float:
    score = 0.0
    for d in range(len(center)):
        score += np.float64(query[d]) * (np.float64(center[d]) + np.float64(residual[d]))
    return score


@njit(nogil=True, cache=True)
def _score_positives(query: ndarray, gallery: CenteredRows, spans: Spans) -> tuple[ndarray, ndarray]:
    begin, end, camera, gallery_camera = spans
    offsets = np.zeros(len(query) + 1, dtype=np.int64)
    for q in range(len(query)):
        offsets[q + 1] = offsets[q] + np.sum(gallery_camera[begin[q] : end[q]] != camera[q])
    scores = np.empty(offsets[-1], dtype=np.float64)
    for q in range(len(query)):
        at = offsets[q]
        for g in range(begin[q], end[q]):
            if gallery_camera[g] != camera[q]:
                scores[at] = _exact_score(query[q], gallery.center, gallery.residual[g])
                at += 1
        scores[offsets[q] : at].sort()
    return offsets, scores


@njit(nogil=True, cache=True)
def _buckets(
    offsets: ndarray, scores: ndarray, shift: ndarray, bound: ndarray, slack: float
) -> tuple[ndarray, ndarray]:
    table = np.empty((len(offsets) - 1, _BUCKETS), dtype=np.int32)
    scale = np.zeros((len(offsets) - 1, 2), dtype=np.float32)
    for q in range(len(offsets) - 1):
        own = scores[offsets[q] : offsets[q + 1]] - shift[q]
        if len(own) == 0:
            continue
        # The first bucket lies below every positive and the last above: scores outside are clamped into those two.
        near = bound[q] + slack
        width = (own[-1] - own[0] + 2 * near) / (_BUCKETS - 4)
        margin = near + width / 100
        lowest = own[0] - near - 2 * width
        scale[q] = 1 / width, -lowest / width
        below = 0
        for b in range(_BUCKETS):
            while below < len(own) and own[below] < lowest + b * width - margin:
                below += 1
            table[q, b] = below
            if below < len(own) and own[below] <= lowest + (b + 1) * width + margin:
                table[q, b] = -1 - below
    return table, scale


class PositiveScores(NamedTuple):
    """The scores of the positives of B queries, each query's in ascending order.

    ``table`` cuts a query's range of scores into equal buckets and holds the number n of positives below each, or
    -1 - n where the next one lies in it or within ``bound`` of it. It saves nearly all searches.
    """

    spans: Spans
    offsets: ndarray  # (B + 1,) int64; those of query q are scores[offsets[q]:offsets[q + 1]]
    scores: ndarray  # float64, exact
    shift: ndarray  # (B,) float64, query @ center: what a score has beyond the residuals' product and the offset
    table: ndarray  # (B, 1024) int32
    scale: ndarray  # (B, 2) float32; bucket number = first * (score - shift) + second
    bound: ndarray  # (B,) how far a float32 score may be from the exact one

    @classmethod
    def build(cls, query: ndarray, gallery: CenteredRows, spans: Spans) -> "PositiveScores":
        """The positives of ``query`` (B, D), rows of `unit_vectors`, in a gallery that is sorted by identity."""
        offsets, scores = _score_positives(query, gallery, spans)
        shift = query.astype(np.float64) @ gallery.center.astype(np.float64)
        length = np.linalg.norm((query - gallery.center).astype(np.float64), axis=1)
        # Beside the rounding of the product: that of the query's residual, of the offset and of adding it.
        bound = gallery.radius * (rounding_bound(query.shape[1]) * length + 2.0**-22)
        # Bucket numbers are computed in float32; the constant keeps a bucket from having no width at all.
        table, scale = _buckets(offsets, scores, shift, bound, 2.0**-20 * gallery.radius + 2.0**-44)
        return cls(spans, offsets, scores, shift, table, scale, bound)


def blocked_product(left: ndarray, right: ndarray, out: ndarray, spare: ndarray) -> None:
    """``out`` (B, T) becomes ``left`` (B, D) times ``right`` (T, D) transposed, within `rounding_bound`.

    numpy's product, not torch's: ``torch.set_float32_matmul_precision`` may turn that into bfloat16.
    """
    np.matmul(left[:, :PART], right[:, :PART].T, out=out)
    for first in range(PART, left.shape[1], PART):
        part = slice(first, first + PART)
        out += np.matmul(left[:, part], right[:, part].T, out=spare)


# Numbers of rows are unsigned here: numba then need not ask whether they count from the end (1.8 ns a score, not 4.4).
@njit(nogil=True, cache=True)
def _count_row(
    score: ndarray, offset: ndarray, table: ndarray, scale: ndarray, bucket: ndarray, lanes: ndarray, unsure: ndarray
) -> int:
    """Count the scores of one query in ``lanes``; returns how many rows were left ``unsure``."""
    factor, shift = scale[0], scale[1]
    stride, left = np.uint64(len(lanes)) // _LANES, np.uint64(0)
    for g in range(np.uint64(len(score))):  # a loop of its own: it runs in vector registers
        bucket[g] = np.uint32(np.int32(min(max((score[g] + offset[g]) * factor + shift, _FIRST), _LAST)))
    for g in range(np.uint64(len(score))):  # without branches, which no processor could predict
        above = table[bucket[g]]
        lanes[(g % _LANES) * stride + np.uint64(max(above + 1, 0))] += np.uint32(1)
        unsure[left] = g
        left += np.uint64(above < 0)
    return int(left)


@njit(nogil=True, cache=True)
def _upper_bound(scores: ndarray, first: int, score: float) -> int:
    """The number, ``first`` or more, of the first of the ascending ``scores`` that is above ``score``, or of the end.

    It is nearly always the first or second; but an identity of 10 000 images that all look alike has them in one
    bucket, so the step doubles.
    """
    step = 1
    while first + step <= len(scores) and scores[first + step - 1] <= score:
        first += step
        step *= 2
    while step > 1:
        step //= 2
        if first + step <= len(scores) and scores[first + step - 1] <= score:
            first += step
    return first


@njit(nogil=True, cache=True)
def count_negatives(
    query: ndarray, tile: CenteredRows, scores: ndarray, positives: PositiveScores, bins: ndarray
) -> None:
    """Add one tile of the gallery to the counts.

    Args:
        query: (B, D) float32 rows of `unit_vectors`.
        tile: T rows of the gallery.
        scores: (B, T) float32, the `blocked_product` of ``query - tile.center`` and ``tile.residual``.
        positives: of the queries.
        bins: flat int64, counted up in place: the one at ``offsets[q] + q + i`` holds how many negatives score at least
            as much as exactly i of the positives of query q (i = 0 is not needed).
    """
    columns = scores.shape[1]
    bucket, unsure = np.empty(columns, dtype=np.uint32), np.empty(columns + 1, dtype=np.uint32)
    for q in range(len(query)):
        own = positives.scores[positives.offsets[q] : positives.offsets[q + 1]]
        if len(own) == 0:
            continue
        counts = bins[positives.offsets[q] + q : positives.offsets[q + 1] + q + 1]
        table, bound, shift = positives.table[q], positives.bound[q], positives.shift[q]
        # Four lanes, because an addition to the number that was just stored has to wait for it.
        lanes = np.zeros((4, len(own) + 2), dtype=np.uint32)
        begin, end = positives.spans.begin[q] - tile.first, positives.spans.end[q] - tile.first
        for low, high in ((0, min(max(begin, 0), columns)), (min(max(end, 0), columns), columns)):
            score, offset = scores[q, low:high], tile.offset[low:high]
            left = _count_row(score, offset, table, positives.scale[q], bucket, lanes.ravel(), unsure)
            for g in unsure[:left]:
                about = np.float64(score[g] + offset[g]) + shift
                at = _upper_bound(own, -1 - table[bucket[g]], about - bound)
                if at < len(own) and own[at] <= about + bound:
                    at = _upper_bound(own, at, _exact_score(query[q], tile.center, tile.residual[low + g]))
                counts[at] += 1
        for lane in lanes:
            for above in range(len(own) + 1):
                counts[above] += np.int64(lane[above + 1])


def count_negatives_plain(
    query: ndarray, tile: CenteredRows, positives: PositiveScores, bins: ndarray, device: torch.device
) -> None:
    """The definition of `count_negatives`, and the form for CUDA: every score in float64, where it is exact."""
    counts = np.diff(positives.offsets)
    most = int(counts.max(initial=0))
    padded = np.full((len(query), most), np.inf)
    padded[np.arange(most) < counts[:, None]] = positives.scores
    arrays = (query, tile.center, tile.residual, padded, positives.spans.begin, positives.spans.end)
    rows, center, residual, sorted_scores, begin, end = (torch.from_numpy(array).to(device) for array in arrays)
    scores = rows.double() @ (center.double() + residual).T
    above = torch.searchsorted(sorted_scores, scores, right=True)
    number = tile.first + torch.arange(len(residual), device=device)
    own = (number >= begin[:, None]) & (number < end[:, None])
    table = torch.zeros(len(query), most + 1, dtype=torch.int64, device=device)
    table.scatter_add_(1, above, (~own).long())
    bins += table.cpu().numpy()[np.arange(most + 1) <= counts[:, None]]
