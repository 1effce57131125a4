"""The counting behind retrieval: how many negatives score at least as much as each positive.

Only the ranks of the positives matter, and a rank is a count. So no Q x G matrix is kept and nothing is sorted but
the few scores of a query's own positives; counts add up over pieces of the gallery. `ladders` says why they are the
same for every block, thread and machine.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from scipy.linalg.blas import sgemm

from ogreid.retrieval.centred import Centred
from ogreid.retrieval.ladders import PART, Ladders, at_most, count_positives, exact_score

__all__ = ["RECALL_LEVELS", "measure", "product", "tally", "tally_plain", "tally_scores"]

RECALL_LEVELS = 101
"""Points of the precision-recall curve: recall 0, 0.01 ... 1."""

_FIRST, _LAST = np.float32(0), np.float32(1023)  # buckets of a ladder
_TURNS = np.uint64(4)


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left`` (B, D) times ``right`` (T, D) transposed, float32, within `ladders.rounding_bound`; (B, T).

    BLAS itself, not torch's product: ``torch.set_float32_matmul_precision`` may turn that into bfloat16.
    """
    columns = None
    for first in range(0, left.shape[1], PART):
        sides = right[:, first : first + PART].T, left[:, first : first + PART].T
        columns = sgemm(1.0, *sides, beta=float(first > 0), c=columns, trans_a=True, overwrite_c=True)
    assert columns is not None
    return np.asarray(columns.T)


# Numbers of rows are unsigned here: numba then need not ask whether they count from the end (1.8 ns a score, not 4.4).
@njit(nogil=True, cache=True)
def _tally_row(
    score: np.ndarray,
    offset: np.ndarray,
    low: int,
    high: int,
    table: np.ndarray,
    scale: np.ndarray,
    turns: np.ndarray,
    doubtful: np.ndarray,
) -> int:
    """Count the scores of one query in ``turns``; how many had to be left ``doubtful``."""
    factor, shift = scale[0], scale[1]
    stride, held = np.uint64(len(turns)) // _TURNS, np.uint64(0)
    number = np.empty(high, dtype=np.uint32)
    for g in range(np.uint64(low), np.uint64(high)):  # a loop of its own: it runs in vector registers
        number[g] = np.uint32(np.int32(min(max((score[g] + offset[g]) * factor + shift, _FIRST), _LAST)))
    for g in range(np.uint64(low), np.uint64(high)):  # without branches, which nobody could foresee
        above = table[number[g]]
        turns[(g % _TURNS) * stride + np.uint64(above + 1)] += np.uint32(1)
        doubtful[held] = g
        held += np.uint64(above < 0)
    return int(held)


@njit(nogil=True, cache=True)
def _decide(
    doubtful: np.ndarray,
    q: int,
    query: np.ndarray,
    tile: Centred,
    score: np.ndarray,
    ladders: Ladders,
    own: np.ndarray,
) -> None:
    """Count the doubtful rows of query q in ``own``, by their exact scores where nothing less will do."""
    first, count = ladders.offsets[q], ladders.offsets[q + 1] - ladders.offsets[q]
    bound, aside = ladders.bound[q], ladders.aside[q]
    held = 0
    for g in doubtful:
        about = np.float64(score[g] + tile.offset[g]) + aside
        below = at_most(ladders.scores, first, count, about - bound)
        sure = below == at_most(ladders.scores, first, count, about + bound)
        own[below] += sure
        doubtful[held] = g
        held += not sure
    for g in doubtful[:held]:
        own[at_most(ladders.scores, first, count, exact_score(query, q, tile.centre, tile.rest, g))] += 1


@njit(nogil=True, cache=True)
def _tally_rows(
    first: int,
    last: int,
    query: np.ndarray,
    tile: Centred,
    scores: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    ladders: Ladders,
    bins: np.ndarray,
) -> None:
    columns = scores.shape[1]
    doubtful = np.empty(columns + 1, dtype=np.uint32)
    for q in range(first, last):
        base, count = ladders.offsets[q], ladders.offsets[q + 1] - ladders.offsets[q]
        if count == 0:
            continue
        own = bins[base + q : base + q + count + 1]
        # In turns, because an addition to the number that was just stored has to wait for it.
        turns = np.zeros((4, count + 2), dtype=np.uint32)
        for low, high in ((0, min(max(begin[q], 0), columns)), (min(max(end[q], 0), columns), columns)):
            held = _tally_row(
                scores[q], tile.offset, low, high, ladders.table[q], ladders.scale[q], turns.ravel(), doubtful
            )
            _decide(doubtful[:held], q, query, tile, scores[q], ladders, own)
        for turn in turns:
            for above in range(count + 1):
                own[above] += np.int64(turn[above + 1])


def tally(
    query: np.ndarray,
    tile: Centred,
    scores: np.ndarray,
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
        tile: T rows, a piece of the gallery.
        scores: (B, T) float32, the `product` of ``query - tile.centre`` and ``tile.rest``.
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
        pool.submit(_tally_rows, first, last, query, tile, scores, begin, end, ladders, bins)
        for first, last in pairwise(cuts)
    ]
    for job in jobs:
        job.result()


def tally_plain(
    query: np.ndarray,
    tile: Centred,
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
    asked, centre, rest = (torch.from_numpy(part).to(device).double() for part in (query, tile.centre, tile.rest))
    scores = asked @ (centre + rest).T
    above = torch.searchsorted(torch.from_numpy(padded).to(device), scores, right=True)
    column = torch.arange(len(rest), device=device)
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
    counts = count_positives(begin, end, camera, gallery_camera)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(counts)
    bins = np.zeros(offsets[-1] + len(counts), dtype=np.int64)
    for q in range(len(counts)):
        rungs = np.sort(scores[q, begin[q] : end[q]][gallery_camera[begin[q] : end[q]] != camera[q]])
        if len(rungs) > 0:
            for g in range(scores.shape[1]):
                if not begin[q] <= g < end[q]:
                    bins[offsets[q] + q + at_most(rungs, 0, len(rungs), scores[q, g])] += 1
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
