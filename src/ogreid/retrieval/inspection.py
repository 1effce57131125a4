"""What a retrieval looks like: nearest gallery rows, ranked lists of chosen queries, a map of the embeddings."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from ogreid.retrieval.unit_vectors import check_embeddings, unit_vectors

KINDS = ("best", "median", "worst")
_BLOCK = 64  # queries whose scores are in memory at a time


class RankedGallery(NamedTuple):
    """The first T gallery rows of one query, junk removed."""

    query: int  # its number among the queries
    rows: np.ndarray  # (T,) int64 numbers among the gallery rows, most similar first
    scores: np.ndarray  # (T,) float64 cosine similarities
    correct: np.ndarray  # (T,) bool; the same identity (from another camera, since the query's own is junk)


def search(
    query: Float[np.ndarray, "Q D"], gallery: Float[np.ndarray, "G D"], *, top: int = 10
) -> tuple[Int64[np.ndarray, "Q T"], Float64[np.ndarray, "Q T"]]:
    """The ``top`` most similar gallery rows of each query, by exact cosine similarity.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        top: rows per query; fewer where the gallery has not as many.

    Returns:
        Numbers of the gallery rows, most similar first and equal ones in gallery order, and their scores.

    Raises:
        InputError: embeddings not finite, zero, empty or of two widths.

    Example:
        >>> rows, scores = search(np.array([[2.0, 0.0]]), np.array([[0.0, 1.0], [3.0, 4.0], [1.0, 0.0]]), top=2)
        >>> rows, scores.round(3)
        (array([[2, 1]]), array([[1. , 0.6]]))
    """
    everywhere = np.zeros(len(gallery), dtype=bool)
    lists = [_first(scores, ~everywhere, everywhere, top) for scores in _exact_scores(query, gallery)]
    rows, scores = zip(*lists, strict=True)
    return np.stack(rows), np.stack(scores)


def rank_gallery(
    queries: list[int],
    query: Float[np.ndarray, "Q D"],
    query_identity: Integer[np.ndarray, " Q"],
    query_camera: Integer[np.ndarray, " Q"],
    gallery: Float[np.ndarray, "G D"],
    gallery_identity: Integer[np.ndarray, " G"],
    gallery_camera: Integer[np.ndarray, " G"],
    *,
    top: int = 10,
) -> list[RankedGallery]:
    """The first ``top`` gallery rows of the numbered ``queries``, in the order and by the rules of the protocol.

    The other arguments are those of `evaluate_retrieval`: junk is left out, and a tied negative comes first.
    """
    lists = []
    for number, scores in zip(queries, _exact_scores(query[queries], gallery), strict=True):
        same = gallery_identity == query_identity[number]
        valid = (gallery_identity != -1) & ~(same & (gallery_camera == query_camera[number]))
        rows, scores = _first(scores, valid, same, top)
        lists.append(RankedGallery(number, rows, scores, same[rows]))
    return lists


def _exact_scores(query: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """Cosine similarities (G,) of one query after the other; float64, exact (see `ranking`)."""
    check_embeddings(query, gallery)
    left, right = (unit_vectors(rows, name) for rows, name in ((query, "query"), (gallery, "gallery row")))
    columns = right.astype(np.float64).T
    for first in range(0, len(left), _BLOCK):
        yield from left[first : first + _BLOCK].astype(np.float64) @ columns


def _first(scores: np.ndarray, valid: np.ndarray, late: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of the ``valid`` rows and their scores; of equal ones those that are ``late`` come last."""
    rows = np.flatnonzero(valid)
    if top < len(rows):
        rows = rows[scores[rows] >= np.partition(scores[rows], -top)[-top]]
    rows = rows[np.lexsort((late[rows], -scores[rows]))][:top]
    return rows, scores[rows]


def choose_queries(average_precision: np.ndarray, identity: np.ndarray, each: int = 2) -> list[tuple[str, int]]:
    """Up to ``each`` queries with the best, the median and the worst AP (Q,), each ``identity`` (Q,) at most once.

    Returns:
        (kind, query number), best first; invalid queries, whose AP is NaN, are never chosen.
    """
    valid = np.flatnonzero(~np.isnan(average_precision))
    order = valid[np.argsort(-average_precision[valid], kind="stable")]
    middle = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")
    chosen: list[tuple[str, int]] = []
    for kind, candidates in (("best", order), ("worst", order[::-1]), ("median", order[middle])):
        seen = [identity[query] for _, query in chosen]
        fresh = candidates[~np.isin(identity[candidates], seen)]
        _, first = np.unique(identity[fresh], return_index=True)
        chosen += [(kind, int(query)) for query in fresh[np.sort(first)[:each]]]
    return sorted(chosen, key=lambda one: KINDS.index(one[0]))


def principal_plane(embedding: Float[np.ndarray, "R D"]) -> Float64[np.ndarray, "R 2"]:
    """Unit vectors projected on their first two principal axes, centered.

    Each axis points to where its largest loading is positive, so that the map does not flip from machine to machine.
    """
    centered = unit_vectors(embedding, "embedding").astype(np.float64)
    centered -= centered.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, ::-1][:, :2]
    strongest = np.abs(axes).argmax(axis=0)
    return np.asarray(centered @ (axes * np.sign(axes[strongest, [0, 1]])))


def sample_identities(identity: Integer[np.ndarray, " R"], count: int = 12, each: int = 40) -> Int64[np.ndarray, " S"]:
    """Rows, ascending, of the ``count`` identities with the most rows, up to ``each`` of one; -1 and 0 do not count."""
    names, sizes = np.unique(identity[identity > 0], return_counts=True)
    chosen = names[np.argsort(-sizes, kind="stable")][:count]
    rows = [np.flatnonzero(identity == name)[:each] for name in chosen]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *rows])).astype(np.int64)
