"""The evaluation protocol of person re-identification, exact and independent of how it is computed.

That of Market-1501 (Zheng et al., ICCV 2015): every query ranks the gallery by cosine similarity; gallery rows of its
own identity *and* camera are junk and removed, as are rows of identity -1; identity 0 (distractors) stays. `ranking`
says how ranks are counted and why they are the same for every block size.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from threadpoolctl import ThreadpoolController

from ogreid.errors import InputError
from ogreid.retrieval import measures, ranking
from ogreid.retrieval.measures import AveragePrecision, RetrievalResult, Unanswerable
from ogreid.retrieval.ranking import PositiveScores, Spans
from ogreid.retrieval.unit_vectors import CenteredRows, check_embeddings, unit_vectors

Array = np.ndarray | torch.Tensor
Side = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Query or gallery: embeddings (R, D), identities (R,), cameras (R,)."""

_BLOCK = 512, 2048  # a product of 4 MB, which the caches still hold when it is read
_libraries = cache(ThreadpoolController)


def evaluate_retrieval(
    query: Array,
    query_identity: Array,
    query_camera: Array,
    gallery: Array,
    gallery_identity: Array,
    gallery_camera: Array,
    *,
    average_precision: AveragePrecision = "trapezoid",
    unanswerable: Unanswerable = "skip",
    block: tuple[int, int] = _BLOCK,
) -> RetrievalResult:
    """Evaluate the retrieval of ``query`` in ``gallery`` by cosine similarity.

    For positives at ranks r_1 < ... < r_n, AP is mean_i i / r_i ("step") or the area under the line through those
    points, mean_i (i / r_i + (i - 1) / (r_i - 1)) / 2 with the second term 1 where r_i = 1 ("trapezoid"). Ties are
    broken pessimistically, a tied negative before a positive, so that a network which maps everything to one point
    scores near zero.

    Args:
        query: (Q, D) embeddings, numpy or torch, any length but zero; on a CUDA device the ranks are counted there.
        query_identity: (Q,) integers.
        query_camera: (Q,) integers.
        gallery: (G, D) embeddings.
        gallery_identity: (G,) integers; -1 is junk.
        gallery_camera: (G,) integers.
        average_precision: the definition behind ``mean_average_precision``.
        unanswerable: "skip" leaves invalid queries (those without a match) out of the means, as torchreid and fast-reid
            do; "zero" counts them with AP 0, as the published code does.
        block: queries and gallery rows per matrix product: memory and speed, never the result.

    Returns:
        The result, bit-equal for every block, thread count and device.

    Raises:
        InputError: embeddings not finite, zero, empty or of two widths; lengths that differ; no valid query.

    Example:
        >>> import numpy as np
        >>> query, gallery = np.eye(2), np.array([[1.0, 0.0], [0.5, 1.0], [1.0, 1.0]])
        >>> result = evaluate_retrieval(
        ...     query, np.array([7, 8]), np.array([1, 1]), gallery, np.array([7, 9, 8]), np.array([2, 2, 2])
        ... )
        >>> result.rank(1), result.mean_average_precision, result.mean_average_precision_step
        (0.5, 0.625, 0.75)
    """
    choices = {"average_precision": (average_precision, AveragePrecision), "unanswerable": (unanswerable, Unanswerable)}
    for name, (value, known) in choices.items():
        if value not in get_args(known):
            raise InputError(f"{name}: expected {' or '.join(get_args(known))}, got {value!r}")
    device = query.device if isinstance(query, torch.Tensor) else torch.device("cpu")
    left, right = to_numpy("query embeddings", query), to_numpy("gallery embeddings", gallery)
    check_embeddings(left, right)
    columns = query_identity, query_camera, gallery_identity, gallery_camera
    spans, order = _match(*columns, num_queries=len(left), num_gallery=len(right))
    units = unit_vectors(left, "query embedding"), unit_vectors(right, "gallery embedding", order)
    values, precision = _measure(*units, spans, block, device)
    return measures.aggregate(values, precision, len(right), average_precision, unanswerable)


def evaluate_scores(
    scores: Iterable[np.ndarray],
    query_identity: np.ndarray,
    query_camera: np.ndarray,
    gallery_identity: np.ndarray,
    gallery_camera: np.ndarray,
    *,
    average_precision: AveragePrecision = "trapezoid",
    unanswerable: Unanswerable = "skip",
) -> RetrievalResult:
    """What `evaluate_retrieval` does for scores of any kind: re-ranked distances, fused networks, foreign matrices.

    ``scores`` are blocks (B, G), float32 or float64, larger for more alike, whose rows are the Q queries in order; one
    (Q, G) array in a list will do. The other arguments are those of `evaluate_retrieval`.

    Raises:
        InputError: identities or cameras missing, shapes that do not fit, NaN among the scores, no valid query.
    """
    spans, order = _match(query_identity, query_camera, gallery_identity, gallery_camera)
    num_queries, num_gallery = len(spans.begin), len(gallery_identity)
    values, precision = np.full((num_queries, 4), np.nan), np.zeros(measures.RECALL_LEVELS)
    first = 0
    for block in scores:
        if block.ndim != 2 or block.shape[1] != num_gallery or first + len(block) > num_queries:
            expected = f"expected {num_queries} queries in all and {num_gallery} columns"
            raise InputError(f"scores of shape {block.shape} from query {first} on, {expected}")
        if np.isnan(block).any():
            raise InputError(f"scores of the queries {first} to {first + len(block) - 1} hold NaN, which has no rank")
        for q, row in enumerate(block[:, order], start=first):
            own = slice(spans.begin[q], spans.end[q])
            positives = np.sort(row[own][spans.gallery_camera[own] != spans.camera[q]])
            reached = np.searchsorted(positives, np.delete(row, own), side="right")
            bins = np.bincount(reached, minlength=len(positives) + 1)
            measures.measure_queries(np.array([0, len(positives)]), bins, values[q : q + 1], precision)
        first += len(block)
    if first != num_queries:
        raise InputError(f"scores of {first} queries, expected {num_queries}")
    return measures.aggregate(values, precision, num_gallery, average_precision, unanswerable)


def _match(
    *columns: Array | None, num_queries: int | None = None, num_gallery: int | None = None
) -> tuple[Spans, Int64[np.ndarray, " V"]]:
    """Spans in the gallery sorted by identity without junk, and the numbers of its rows in that order."""
    identity = integers("query identities", columns[0], num_queries)
    camera = integers("query cameras", columns[1], len(identity))
    gallery_identity = integers("gallery identities", columns[2], num_gallery)
    gallery_camera = integers("gallery cameras", columns[3], len(gallery_identity))
    order = np.argsort(gallery_identity, kind="stable")
    order = order[gallery_identity[order] != -1]
    begin, end = (np.searchsorted(gallery_identity[order], identity, side=side) for side in ("left", "right"))
    return Spans(begin, end, camera, gallery_camera[order]), order


def _measure(
    query: Float32[np.ndarray, "Q D"],
    rows: Float32[np.ndarray, "V D"],
    spans: Spans,
    block: tuple[int, int],
    device: torch.device,
) -> tuple[Float64[np.ndarray, "Q 4"], Float64[np.ndarray, "101"]]:
    """Per-query measures and the summed precision; the gallery rows come sorted by identity."""
    values, precision = np.full((len(query), 4), np.nan), np.zeros(measures.RECALL_LEVELS)
    gallery = CenteredRows.build(rows)
    threads = 1 if device.type == "cuda" else torch.get_num_threads()
    each = -(-len(query) // (block[0] * threads))
    size = -(-len(query) // (each * threads))  # equal parts of at most a block, as many for each thread
    parts = [slice(first, first + size) for first in range(0, len(query), size)]

    def count(part: slice) -> tuple[PositiveScores, np.ndarray]:
        own = Spans(spans.begin[part], spans.end[part], spans.camera[part], spans.gallery_camera)
        positives = PositiveScores.build(query[part], gallery, own)
        return positives, _count(query[part], gallery, positives, block[1], device)

    # Threads of a pool: numba's own would not survive the forks of a data loader, and those of the product would go on
    # spinning where others count.
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for part, (positives, bins) in zip(parts, pool.map(count, parts), strict=True):
            measures.measure_queries(positives.offsets, bins, values[part], precision)
    return values, precision


def _count(
    query: np.ndarray, gallery: CenteredRows, positives: PositiveScores, length: int, device: torch.device
) -> np.ndarray:
    """The bins of `count_negatives` after all tiles of ``length`` gallery rows."""
    bins = np.zeros(len(positives.scores) + len(query), dtype=np.int64)
    residual = query - gallery.center
    buffer = np.empty((2, len(query) * min(length, len(gallery.residual))), dtype=np.float32)
    for first in range(0, len(gallery.residual), length):
        tile = gallery.tile(first, length)
        if device.type == "cuda":
            ranking.count_negatives_plain(query, tile, positives, bins, device)
            continue
        shape = len(query), len(tile.residual)
        scores, spare = buffer[:, : shape[0] * shape[1]].reshape(2, *shape)
        ranking.blocked_product(residual, tile.residual, scores, spare)
        ranking.count_negatives(query, tile, scores, positives, bins)
    return bins


def to_numpy(what: str, values: Array | None) -> np.ndarray:
    """Arrays as they are, tensors on the CPU; half precision becomes float32. None is refused as missing."""
    if values is None:
        raise InputError(f"{what} are missing")
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return np.asarray((values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy())


def integers(what: str, values: Array | None, rows: int | None = None) -> np.ndarray:
    """``values`` as (rows,) int64, of any length where ``rows`` is None; an InputError where they are no such."""
    array = to_numpy(what, values)
    expected = (array.size if rows is None else rows,)
    if array.shape != expected:
        raise InputError(f"{what} have the shape {array.shape}, expected {expected}: one for each row")
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} are {array.dtype}, expected integers")
    largest = int(array.max(initial=0))
    if array.dtype.kind == "u" and (largest == np.iinfo(array.dtype).max or largest >= 2**63):
        raise InputError(f"{what} are {array.dtype} and hold {largest}, which -1 (junk) becomes there; use int64")
    return array.astype(np.int64)
