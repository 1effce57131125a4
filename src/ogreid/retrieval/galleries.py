"""Ranked lists worth looking at: what chosen queries found, with the right and the wrong marked."""

from dataclasses import dataclass

import numpy as np

from ogreid.retrieval.directions import directions

__all__ = ["KINDS", "RankedGallery", "choose_queries", "rank_gallery"]

KINDS = ("best", "median", "worst")


@dataclass(frozen=True)
class RankedGallery:
    """The first T gallery rows that one query finds, junk removed.

    Attributes:
        query: its number among the queries.
        rows: (T,) int64 numbers among the gallery rows, most similar first.
        scores: (T,) float64 cosine similarities.
        correct: (T,) bool; the same identity (from another camera, since the own one is junk).
    """

    query: int
    rows: np.ndarray
    scores: np.ndarray
    correct: np.ndarray


def choose_queries(average_precision: np.ndarray, identity: np.ndarray, each: int = 2) -> list[tuple[str, int]]:
    """Queries with the best, the median and the worst AP, each identity at most once.

    Args:
        average_precision: (Q,); NaN where a query was not judged.
        identity: (Q,).
        each: how many of each kind.

    Returns:
        (kind, query number), best first; fewer where there are not enough identities.
    """
    judged = np.flatnonzero(~np.isnan(average_precision))
    order = judged[np.argsort(-average_precision[judged], kind="stable")]
    middle = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")
    chosen: list[tuple[str, int]] = []
    seen: set[int] = set()
    for kind, candidates in zip(("best", "worst", "median"), (order, order[::-1], order[middle]), strict=True):
        picked = 0
        for query in candidates.tolist():
            if picked < each and int(identity[query]) not in seen:
                seen.add(int(identity[query]))
                chosen.append((kind, query))
                picked += 1
    return sorted(chosen, key=lambda one: KINDS.index(one[0]))


def rank_gallery(
    queries: list[int],
    query: np.ndarray,
    query_identity: np.ndarray,
    query_camera: np.ndarray,
    gallery: np.ndarray,
    gallery_identity: np.ndarray,
    gallery_camera: np.ndarray,
    *,
    top: int = 10,
) -> list[RankedGallery]:
    """The first ``top`` gallery rows of some queries, by the exact scores and the tie rule of `judge`.

    Args:
        queries: numbers of the queries that are wanted.
        query: (Q, D) embeddings; gallery (G, D); identities and cameras (Q,) and (G,) integers as for `judge`.
        query_identity: (Q,).
        query_camera: (Q,).
        gallery: (G, D).
        gallery_identity: (G,); -1 is junk.
        gallery_camera: (G,).
        top: rows per list; fewer where the gallery has not as many.
    """
    wanted, known = directions(query[queries], "query"), directions(gallery, "gallery row")
    scores = wanted.astype(np.float64) @ known.astype(np.float64).T  # exact, see `counting`
    found = []
    for number, row in zip(queries, scores, strict=True):
        same = gallery_identity == query_identity[number]
        valid = np.flatnonzero((gallery_identity != -1) & ~(same & (gallery_camera == query_camera[number])))
        first = valid[np.lexsort((same[valid], -row[valid]))][:top]
        found.append(RankedGallery(number, first, row[first], same[first]))
    return found
