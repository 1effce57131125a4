"""Retrieval measures of person re-identification, exact and independent of how they are computed.

The arithmetic of the Market-1501 protocol (Zheng et al., ICCV 2015): every query ranks the gallery by cosine
similarity; gallery rows of its own identity *and* camera are junk and removed, as are rows of identity -1; identity 0
(distractors) stays. `counting` says how ranks are found and why they are the same for every block size.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from threadpoolctl import ThreadpoolController

from ogreid.errors import InputError
from ogreid.retrieval import counting
from ogreid.retrieval.centered import Centered
from ogreid.retrieval.counting import Ladders
from ogreid.retrieval.directions import check_rows, directions, same_width
from ogreid.retrieval.measures import RECALL_LEVELS, measure

__all__ = ["AveragePrecision", "RetrievalResult", "Unanswerable", "integers", "judge", "summed_up"]

Array = np.ndarray | torch.Tensor
AveragePrecision = Literal["trapezoid", "step"]
Unanswerable = Literal["skip", "zero"]

_QUERIES, _TILE = 512, 2048  # a product of 4 MB, which the caches still hold when it is read


class RetrievalResult(NamedTuple):
    """What a retrieval is worth. Means are over the judged queries: those answerable, or all (``unanswerable``).

    A query is answerable if the gallery shows its identity from another camera. Per-query values are NaN for queries
    that were skipped. A named tuple, not a frozen dataclass: torchmetrics' ``compute`` refuses those.

    Attributes:
        cmc: (G,) float64; share of the judged queries whose first hit is at rank 1, 2 ... or better.
        mean_average_precision: by the chosen definition; the paper's and the official Market code's is the trapezoid.
        mean_average_precision_step: by the step definition (fast-reid, torchreid, scikit-learn).
        mean_inverse_negative_penalty: mINP (Ye et al., TPAMI 2021): positives / rank of the last one.
        answerable: number of answerable queries.
        unanswerable: number of the others.
        average_precision: (Q,) float64 by the chosen definition.
        first_hit: (Q,) int64, rank of the first hit, 0 where there is none.
        precision: (101,) float64; mean interpolated precision at recall 0, 0.01 ... 1 (precision-recall curve).
        missing: rows that were not there when a partial set was judged; 0 otherwise.
    """

    cmc: np.ndarray
    mean_average_precision: float
    mean_average_precision_step: float
    mean_inverse_negative_penalty: float
    answerable: int
    unanswerable: int
    average_precision: np.ndarray
    first_hit: np.ndarray
    precision: np.ndarray
    missing: int = 0

    @property
    def partial(self) -> bool:
        """Whether rows were missing, so that the numbers are no result."""
        return self.missing > 0

    def rank(self, k: int) -> float:
        """Rank-k matching rate in [0, 1]; beyond the gallery's end the last value."""
        return float(self.cmc[min(k, len(self.cmc)) - 1]) if len(self.cmc) else float("nan")

    def summary(self) -> dict[str, float]:
        """The numbers of ``summary.json``; rates in percent. ``missing`` is among them only if rows were."""
        rates = {
            "rank1": self.rank(1),
            "rank5": self.rank(5),
            "rank10": self.rank(10),
            "mAP": self.mean_average_precision,
            "mAP_step": self.mean_average_precision_step,
            "mINP": self.mean_inverse_negative_penalty,
        }
        counts = {"queries": self.answerable + self.unanswerable, "unanswerable": self.unanswerable}
        missing = {"missing": self.missing} if self.partial else {}
        return {name: round(100 * rate, 8) for name, rate in rates.items()} | counts | missing

    @classmethod
    def nothing(cls, queries: int, missing: int) -> "RetrievalResult":
        """The judgment of a partial set in which nothing can be judged: every rate is NaN."""
        nan = float("nan")
        none = np.full(queries, nan)
        hits = np.zeros(queries, dtype=np.int64)
        return cls(np.empty(0), nan, nan, nan, 0, queries, none, hits, np.full(101, nan), missing)


def judge(
    query: Array,
    query_identity: Array,
    query_camera: Array,
    gallery: Array,
    gallery_identity: Array,
    gallery_camera: Array,
    *,
    average_precision: AveragePrecision = "trapezoid",
    unanswerable: Unanswerable = "skip",
    block: tuple[int, int] = (_QUERIES, _TILE),
) -> RetrievalResult:
    """Judge the retrieval of ``query`` in ``gallery`` by cosine similarity.

    For positives at ranks r_1 < ... < r_n, AP is mean_i i / r_i ("step") or the area under the line through those
    points, mean_i (i / r_i + (i - 1) / (r_i - 1)) / 2 with the second term 1 where r_i = 1 ("trapezoid"). Ties are
    broken pessimistically, a tied negative before a positive, so that a network which maps everything to one point
    scores near zero.

    Args:
        query: (Q, D) embeddings, numpy or torch, any length but zero; on a CUDA device the counting is done there.
        query_identity: (Q,) integers.
        query_camera: (Q,) integers.
        gallery: (G, D) embeddings.
        gallery_identity: (G,) integers; -1 is junk.
        gallery_camera: (G,) integers.
        average_precision: the definition behind ``mean_average_precision``.
        unanswerable: "skip" leaves queries without a match out of the mean, as torchreid and fast-reid do; "zero"
            counts them with AP 0, as the published code does.
        block: queries and gallery rows per matrix product: memory and speed, never the result.

    Returns:
        The judgment, bit-equal for every block, thread count and device.

    Raises:
        InputError: embeddings not finite, zero, empty or of two widths; lengths that differ; no answerable query.
    """
    _check_choice("average_precision", average_precision, ("trapezoid", "step"))
    _check_choice("unanswerable", unanswerable, ("skip", "zero"))
    device = query.device if isinstance(query, torch.Tensor) else torch.device("cpu")
    queries = _Rows.read("query", query, query_identity, query_camera)
    known = _Rows.read("gallery", gallery, gallery_identity, gallery_camera)
    same_width(queries.embedding, known.embedding)
    kept = np.flatnonzero(known.identity != -1)
    order = kept[np.argsort(known.identity[kept], kind="stable")]
    measures, precision = _measure(queries.sorted(np.arange(len(queries.identity))), known.sorted(order), block, device)
    return summed_up(measures, precision, len(known.identity), average_precision, unanswerable)


class _Rows(NamedTuple):
    """Embeddings (R, D) with their identities and cameras (R,) int64, on the CPU."""

    side: str
    embedding: np.ndarray
    identity: np.ndarray
    camera: np.ndarray

    @classmethod
    def read(cls, side: str, embedding: Array | None, identity: Array | None, camera: Array | None) -> "_Rows":
        rows = _numpy(f"{side} embeddings", embedding)
        check_rows(side, rows)
        if rows.dtype not in (np.float32, np.float64):
            rows = rows.astype(np.float32)
        identities = integers(f"{side} identities", identity, len(rows))
        cameras = integers(f"{side} cameras", camera, len(rows))
        return cls(side, np.ascontiguousarray(rows), identities, cameras)

    def sorted(self, order: np.ndarray) -> "_Rows":
        """The rows in ``order``, embeddings normalized and on the grid of `directions`."""
        unit = directions(self.embedding, f"{self.side} embedding", order)
        return _Rows(self.side, unit, self.identity[order], self.camera[order])


def _measure(
    queries: _Rows, gallery: _Rows, block: tuple[int, int], device: torch.device
) -> tuple[Float64[np.ndarray, "Q 4"], Float64[np.ndarray, "101"]]:
    """Per-query measures and the summed precision; the gallery comes sorted by identity."""
    begin = np.searchsorted(gallery.identity, queries.identity, side="left")
    end = np.searchsorted(gallery.identity, queries.identity, side="right")
    measures = np.full((len(queries.identity), 4), np.nan)
    precision = np.zeros(RECALL_LEVELS)
    known = Centered.take(gallery.embedding)

    def count(part: slice) -> tuple[Ladders, np.ndarray]:
        sides = queries.embedding[part], known, begin[part], end[part]
        ladders = Ladders.build(*sides, queries.camera[part], gallery.camera)
        return ladders, _count(*sides, ladders, block[1], device)

    threads = 1 if device.type == "cuda" else torch.get_num_threads()
    parts = _parts(len(measures), block[0], threads)
    # Threads of a pool: numba's own would not survive the forks of a data loader, and those of the product would go on
    # spinning where others count.
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for part, (ladders, bins) in zip(parts, pool.map(count, parts), strict=True):
            measure(ladders.offsets, bins, measures[part], precision)
    return measures, precision


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _parts(rows: int, block: int, threads: int) -> list[slice]:
    """``rows`` in equal parts of at most ``block``, as many for each thread."""
    each = -(-rows // (block * threads))
    size = max(1, -(-rows // (each * threads)))
    return [slice(first, first + size) for first in range(0, rows, size)]


def _count(
    query: Float32[np.ndarray, "B D"],
    gallery: Centered,
    begin: Int64[np.ndarray, " B"],
    end: Int64[np.ndarray, " B"],
    ladders: Ladders,
    tile: int,
    device: torch.device,
) -> Int64[np.ndarray, " bins"]:
    """How many negatives of the whole gallery climb how far on the ladders of B queries."""
    bins = ladders.empty_bins()
    rest = query - gallery.center
    held = np.empty((2, len(query) * min(tile, len(gallery.rest))), dtype=np.float32)
    for first in range(0, len(gallery.rest), tile):
        piece = gallery.tile(first, tile)
        if device.type == "cuda":
            counting.tally_plain(query, piece, begin - first, end - first, ladders, bins, device)
            continue
        scores, spare = held[:, : len(query) * len(piece.rest)].reshape(2, len(query), len(piece.rest))
        counting.product(rest, piece.rest, scores, spare)
        counting.tally(query, piece, scores, begin - first, end - first, ladders, bins)
    return bins


def summed_up(
    measures: Float64[np.ndarray, "Q 4"],
    precision: Float64[np.ndarray, "101"],
    gallery: int,
    average_precision: AveragePrecision,
    unanswerable: Unanswerable,
) -> RetrievalResult:
    """The judgment from per-query measures (NaN where unanswerable) and the summed precision of `measures.measure`."""
    answerable = ~np.isnan(measures[:, 0])
    count = int(answerable.sum())
    if count == 0:
        raise InputError(
            f"none of the {len(measures)} queries has a match from another camera in the gallery of {gallery} rows: "
            "are the identities of both from the same benchmark, and the camera numbers read?"
        )
    first_hit = np.where(answerable, measures[:, 3], 0).astype(np.int64)
    if unanswerable == "zero":
        measures = np.where(answerable[:, None], measures, 0.0)
    judged = count if unanswerable == "skip" else len(measures)
    chosen = measures[:, 0 if average_precision == "trapezoid" else 1]
    return RetrievalResult(
        cmc=np.cumsum(np.bincount(first_hit[answerable], minlength=gallery + 1)[1:]) / judged,
        mean_average_precision=float(np.nansum(chosen) / judged),
        mean_average_precision_step=float(np.nansum(measures[:, 1]) / judged),
        mean_inverse_negative_penalty=float(np.nansum(measures[:, 2]) / judged),
        answerable=count,
        unanswerable=len(measures) - count,
        average_precision=chosen.copy(),
        first_hit=first_hit,
        precision=precision / judged,
    )


def _numpy(what: str, values: Array | None) -> np.ndarray:
    if values is None:
        raise InputError(f"{what} are missing")
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return np.asarray((values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy())


def integers(what: str, values: Array | None, rows: int | None = None) -> np.ndarray:
    """``values`` as (rows,) int64; of any length where no number of rows is given.

    Raises:
        InputError: they are missing, no whole numbers, or not as many.
    """
    read = _numpy(what, values)
    if read.shape != (read.size if rows is None else rows,):
        raise InputError(f"{what} have the shape {read.shape}, expected ({rows or read.size},): one for each embedding")
    if read.dtype.kind not in "iu":
        raise InputError(f"{what} are {read.dtype}, expected whole numbers")
    return read.astype(np.int64)


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} is {value!r}, expected {' or '.join(known)}")
