"""From ranks to measures: per query, and their means."""

from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from ogreid.errors import InputError

AveragePrecision = Literal["trapezoid", "step"]
Unanswerable = Literal["skip", "zero"]

RECALL_LEVELS = 101
"""Points of the precision-recall curve: recall 0, 0.01 ... 1."""


class RetrievalResult(NamedTuple):
    """The measures of one retrieval; means are over the valid queries, or over all (``unanswerable="zero"``).

    A query is valid if the gallery holds its identity by another camera. Per-query values are NaN for invalid queries
    that were skipped. A named tuple, not a frozen dataclass: torchmetrics refuses to copy those.

    Attributes:
        cmc: (G,) float64; share of the queries whose first hit is at rank 1, 2 ... or better.
        mean_average_precision: by the chosen definition; the paper's and the official Market code's is the trapezoid.
        mean_average_precision_step: by the step definition (fast-reid, torchreid, scikit-learn).
        mean_inverse_negative_penalty: mINP (Ye et al., TPAMI 2021): positives / rank of the last one.
        answerable: number of valid queries.
        unanswerable: number of invalid queries.
        average_precision: (Q,) float64 by the chosen definition.
        first_hit: (Q,) int64, rank of the first hit, 0 where there is none.
        precision: (101,) float64; mean interpolated precision at recall 0, 0.01 ... 1 (precision-recall curve).
        missing: samples that were never evaluated, if a partial set was accepted; 0 otherwise.
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

    def rank(self, k: int) -> float:
        """Rank-k matching rate in [0, 1]; beyond the gallery's end the last value."""
        return float(self.cmc[min(k, len(self.cmc)) - 1]) if len(self.cmc) else float("nan")

    def summary(self) -> dict[str, float]:
        """The numbers of ``summary.json``; rates in percent. ``missing`` is among them only if samples are."""
        rates = {f"rank{k}": self.rank(k) for k in (1, 5, 10)} | {"mAP": self.mean_average_precision}
        rates |= {"mAP_step": self.mean_average_precision_step, "mINP": self.mean_inverse_negative_penalty}
        counts = {"queries": self.answerable + self.unanswerable, "unanswerable": self.unanswerable}
        missing = {"missing": self.missing} if self.missing else {}
        return {name: round(100 * rate, 8) for name, rate in rates.items()} | counts | missing


@njit(nogil=True, cache=True)
def measure_queries(offsets: np.ndarray, bins: np.ndarray, measures: np.ndarray, precision: np.ndarray) -> None:
    """Turn the counts of `ranking` into measures, per query.

    Args:
        offsets: (Q + 1,) running sum of the number of positives.
        bins: flat counts of negatives, complete.
        measures: (Q, 4) float64, written where a query has positives: trapezoid AP, step AP, inverse negative
            penalty, rank of the first hit.
        precision: (101,) float64, increased by each query's interpolated precision at recall 0, 0.01 ... 1.
    """
    for q in range(len(offsets) - 1):
        count = offsets[q + 1] - offsets[q]
        if count == 0:
            continue
        ranks = np.empty(count, dtype=np.int64)
        negatives, step, before = 0, 0.0, 0.0
        for hit in range(1, count + 1):
            negatives += bins[offsets[q] + q + count - hit + 1]
            rank = negatives + hit
            ranks[hit - 1] = rank
            step += hit / rank
            before += (hit - 1) / (rank - 1) if rank > 1 else 1.0
        measures[q, 0] = (step + before) / (2 * count)
        measures[q, 1] = step / count
        measures[q, 2] = count / ranks[-1]
        measures[q, 3] = ranks[0]
        best, hit = 0.0, count
        for level in range(RECALL_LEVELS - 1, -1, -1):
            needed = max(1, -(-level * count // (RECALL_LEVELS - 1)))
            while hit >= needed:
                best = max(best, hit / ranks[hit - 1])
                hit -= 1
            precision[level] += best


def aggregate(
    measures: np.ndarray,
    precision: np.ndarray,
    num_gallery: int,
    average_precision: AveragePrecision,
    unanswerable: Unanswerable,
    missing: int = 0,
) -> RetrievalResult:
    """The result from (Q, 4) measures (NaN where a query is invalid) and the summed precision of `measure_queries`.

    Without a valid query an InputError is raised, or where samples are missing, the rates are NaN.
    """
    valid = ~np.isnan(measures[:, 0])
    count = int(valid.sum())
    if count == 0 and not missing:
        problem = f"none of the {len(measures)} queries has a match from another camera"
        advice = "are both from the same benchmark, and the camera numbers read?"
        raise InputError(f"{problem} among {num_gallery} gallery rows: {advice}")
    first_hit = np.where(valid, measures[:, 3], 0).astype(np.int64)
    total = (count if unanswerable == "skip" else len(measures)) if count else float("nan")
    if unanswerable == "zero":
        measures = np.where(valid[:, None], measures, 0.0)
    chosen = measures[:, 0 if average_precision == "trapezoid" else 1]
    return RetrievalResult(
        cmc=np.cumsum(np.bincount(first_hit[valid], minlength=num_gallery + 1)[1:]) / total,
        mean_average_precision=float(np.nansum(chosen) / total),
        mean_average_precision_step=float(np.nansum(measures[:, 1]) / total),
        mean_inverse_negative_penalty=float(np.nansum(measures[:, 2]) / total),
        answerable=count,
        unanswerable=len(measures) - count,
        average_precision=chosen.copy(),
        first_hit=first_hit,
        precision=precision / total,
        missing=missing,
    )
