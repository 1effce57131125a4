"""Judging of ranked lists that come as scores: re-ranked distances, fused networks, other people's matrices."""

from collections.abc import Iterable

import numpy as np
from numba import njit

from ogreid.errors import InputError
from ogreid.retrieval.counting import count_positives
from ogreid.retrieval.measures import RECALL_LEVELS, measure
from ogreid.retrieval.ranking import AveragePrecision, RetrievalResult, Unanswerable, integers, summed_up

__all__ = ["judge_scores"]


def judge_scores(
    scores: Iterable[np.ndarray],
    query_identity: np.ndarray,
    query_camera: np.ndarray,
    gallery_identity: np.ndarray,
    gallery_camera: np.ndarray,
    *,
    average_precision: AveragePrecision = "trapezoid",
    unanswerable: Unanswerable = "skip",
) -> RetrievalResult:
    """What `judge` does, for scores that are not products of embeddings; larger is more alike.

    Args:
        scores: blocks (B, G) whose rows are the Q queries in order; float32 or float64. One (Q, G) array in a list
            will do.
        query_identity: (Q,) integers.
        query_camera: (Q,).
        gallery_identity: (G,); -1 is junk.
        gallery_camera: (G,).
        average_precision: as in `judge`.
        unanswerable: as in `judge`.

    Raises:
        InputError: identities or cameras missing, shapes that do not fit, NaN among the scores, no answerable query.
    """
    query_identity = integers("query identities", query_identity)
    query_camera = integers("query cameras", query_camera, len(query_identity))
    gallery_identity = integers("gallery identities", gallery_identity)
    gallery_camera = integers("gallery cameras", gallery_camera, len(gallery_identity))
    measures = np.full((len(query_identity), 4), np.nan)
    precision = np.zeros(RECALL_LEVELS)
    order = np.argsort(gallery_identity, kind="stable")
    order = order[gallery_identity[order] != -1]
    identity, camera = gallery_identity[order], gallery_camera[order]
    begin, end = (np.searchsorted(identity, query_identity, side=side) for side in ("left", "right"))
    first = 0
    for block in scores:
        part = slice(first, first + len(block))
        if block.ndim != 2 or block.shape[1] != len(gallery_identity) or part.stop > len(query_identity):
            raise InputError(
                f"scores of shape {block.shape} from query {first} on, expected {len(query_identity)} queries in all "
                f"and {len(gallery_identity)} columns"
            )
        if np.isnan(block).any():
            raise InputError(f"scores of the queries {first} to {part.stop - 1} hold NaN, which has no rank")
        sides = begin[part], end[part], query_camera[part]
        offsets = np.concatenate([[0], np.cumsum(count_positives(*sides, camera))])
        bins = _tally(np.ascontiguousarray(block[:, order]), *sides, camera, offsets)
        measure(offsets, bins, measures[part], precision)
        first = part.stop
    if first != len(query_identity):
        raise InputError(f"scores of {first} queries, expected {len(query_identity)}")
    return summed_up(measures, precision, len(gallery_identity), average_precision, unanswerable)


@njit(nogil=True, cache=True)
def _tally(
    scores: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    camera: np.ndarray,
    gallery_camera: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Complete counts for scores (B, G) of any kind; the gallery sorted by identity, without junk."""
    bins = np.zeros(offsets[-1] + len(scores), dtype=np.int64)
    for q in range(len(scores)):
        rungs = np.sort(scores[q, begin[q] : end[q]][gallery_camera[begin[q] : end[q]] != camera[q]])
        if len(rungs) > 0:
            for g in range(scores.shape[1]):
                if not begin[q] <= g < end[q]:
                    bins[offsets[q] + q + np.searchsorted(rungs, scores[q, g], side="right")] += 1
    return bins
