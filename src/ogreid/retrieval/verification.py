"""Are two images of one person: every pair of a query and a gallery row accepted or rejected by its score.

The counterpart of retrieval for open sets: whoever was never seen has no rank 1, but a score that is too low.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from ogreid.errors import InputError
from ogreid.retrieval.pair_counts import WINDOW, Counts, Extremes, Pairs, count_pairs, level_of, threshold_of
from ogreid.retrieval.protocol import Array, integers, to_numpy
from ogreid.retrieval.unit_vectors import check_embeddings, unit_vectors

RATES = (1e-2, 1e-3, 1e-4)
"""False positive rates at which the true positive rate is reported."""

CURVE = (*(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5)), 1.0)
"""False positive rates of the curve in a summary."""

_BLOCK = 256, 2048
_libraries = cache(ThreadpoolController)


class OperatingPoint(NamedTuple):
    """What accepting every pair whose score is ``threshold`` or more does; rates in [0, 1]."""

    threshold: float
    true_positive_rate: float
    false_positive_rate: float


class HardestPairs(NamedTuple):
    """Pairs at one end of the scores, the worst first."""

    query: np.ndarray  # (K,) int64 numbers of queries
    gallery: np.ndarray  # (K,) int64 numbers of gallery rows
    score: np.ndarray  # (K,) float64 cosine similarities


class VerificationResult(NamedTuple):
    """All pairs by score, at levels of 2^-20: those in [n, n + 1) 2^-20 share one.

    A threshold is a level's lowest score, so every rate at a threshold is that of the exact scores.

    Attributes:
        threshold: (L,) float64, ascending, of the levels that hold a pair.
        genuine: (L,) int64, pairs of one person by two cameras.
        impostor: (L,) int64, pairs of two people.
        false_accepts: the impostor pairs that score highest.
        false_rejects: the genuine pairs that score lowest.
        persons: (I, 1024) int64, impostor pairs in which each identity takes part, by bin of their score.
        resampled: (I,) bool, identities that are people; not distractors, who are many under one number.
        window: lowest score of bin 1 of ``persons``, and bins per unit of score.
    """

    threshold: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    false_accepts: HardestPairs
    false_rejects: HardestPairs
    persons: np.ndarray
    resampled: np.ndarray
    window: tuple[float, float]

    @property
    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates (L + 1,) at each threshold, and 0 where nothing is accepted."""
        above = (np.append(np.cumsum(one[::-1])[::-1], 0) / one.sum() for one in (self.impostor, self.genuine))
        false, true = above
        return false, true

    @property
    def equal_error_rate(self) -> float:
        """Where false positives and false negatives are equally frequent, on the line between two thresholds."""
        false, true = self.rates
        excess = false - (1 - true)  # from 1 down to -1
        at = int(np.flatnonzero(excess > 0)[-1])
        share = excess[at] / (excess[at] - excess[at + 1])
        return float(false[at] + share * (false[at + 1] - false[at]))

    def at(self, rate: float) -> OperatingPoint:
        """The lowest threshold whose false positive rate is at most ``rate``.

        With fewer than 1 / rate impostor pairs nobody is accepted wrongly.

        Raises:
            InputError: a rate outside (0, 1].
        """
        if not 0 < rate <= 1:
            raise InputError(f"false positive rate: expected above 0 and up to 1, got {rate:g}")
        false, true = self.rates
        at = int(np.argmax(false <= rate))
        step = threshold_of(level_of(self.threshold[-1:]) + 1)
        return OperatingPoint(float(np.append(self.threshold, step)[at]), float(true[at]), float(false[at]))

    def intervals(
        self, rates: Sequence[float] = RATES, *, confidence: float = 0.95, samples: int = 1000
    ) -> list[tuple[float, float]]:
        """Bootstrap intervals over identities of the thresholds of :meth:`at`.

        Identities are drawn with replacement; a pair of identities a and b that were drawn w_a and w_b times counts
        w_a + w_b - 1 times, the first order of w_a * w_b. Thresholds are interpolated between a thousandth of the range
        from the median impostor score to the highest one.

        Args:
            rates: false positive rates, below a half.
            confidence: share of the samples within an interval.
            samples: to draw, from a fixed seed.
        """
        count = int(self.resampled.sum())
        weights = np.ones((samples, len(self.persons)))
        weights[:, self.resampled] = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), samples)
        above = np.cumsum(self.persons[:, ::-1], axis=1)[:, ::-1].astype(np.float64)
        false = weights @ above - above.sum(axis=0) / 2  # (samples, WINDOW); all weights 1 give the plain counts
        false = np.clip(false / np.maximum(false[:, :1], self.impostor.sum() / 1e6), 0, 1)
        false = np.minimum.accumulate(false, axis=1)
        low, scale = self.window
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        ends = [np.quantile(low + _crossing(false, rate) / scale, tails) for rate in rates]
        return [(float(one), float(other)) for one, other in ends]

    def histogram(self, bins: int = 60) -> dict[str, Any]:
        """Shares in percent of both kinds of pairs by score, from the lowest score ``low`` to the highest ``high``."""
        low, high = float(self.threshold[0]), float(self.threshold[-1])
        place = np.minimum((self.threshold - low) / ((high - low) or 1.0) * bins, bins - 1).astype(np.int64)
        shares = {
            kind: np.bincount(place, weights=100 * counts / counts.sum(), minlength=bins).round(6).tolist()
            for kind, counts in (("genuine", self.genuine), ("impostor", self.impostor))
        }
        return {"low": low, "high": high, **shares}

    def summary(self) -> dict[str, Any]:
        """The numbers of ``summary.json``; rates in percent, false positive rates as they are."""
        points = {f"{rate:g}": self.at(rate) for rate in RATES}
        intervals = dict(zip(points, self.intervals(), strict=True))
        curve = [(rate, self.at(rate)) for rate in CURVE]
        return {
            "genuine": int(self.genuine.sum()),
            "impostor": int(self.impostor.sum()),
            "eer": round(100 * self.equal_error_rate, 8),
            "tpr": {name: round(100 * point.true_positive_rate, 8) for name, point in points.items()},
            "threshold": {name: point.threshold for name, point in points.items()},
            "interval": {name: [round(end, 6) for end in ends] for name, ends in intervals.items()},
            "roc": [[rate, round(100 * one.true_positive_rate, 6), one.threshold] for rate, one in curve],
            "histogram": self.histogram(),
        }


def _crossing(false: np.ndarray, rate: float) -> np.ndarray:
    """Where each of the falling rates (S, WINDOW) of `Counts.persons` reaches ``rate``, in bins from bin 1 on."""
    here, after = np.arange(len(false)), np.clip(np.argmax(false <= rate, axis=1), 2, None)
    upper, lower = false[here, after - 1], false[here, after]
    share = np.divide(upper - rate, upper - lower, out=np.zeros(len(false)), where=upper > lower)
    return np.asarray(after - 2 + np.clip(share, 0, 1))


def verify(
    query: Array,
    query_identity: Array,
    query_camera: Array,
    gallery: Array,
    gallery_identity: Array,
    gallery_camera: Array,
    *,
    same_camera: bool = False,
    errors: int = 100,
    block: tuple[int, int] = _BLOCK,
) -> VerificationResult:
    """Score every pair of a query and a gallery row by cosine similarity.

    A genuine pair is one person by two cameras, an impostor pair two people. Gallery rows of identity -1 are junk, and
    so are queries of it; identity 0 (distractors) is a person like any other.

    Args:
        query: (Q, D) embeddings, numpy or torch, any length but zero.
        query_identity: (Q,) integers.
        query_camera: (Q,) integers.
        gallery: (G, D) embeddings.
        gallery_identity: (G,) integers.
        gallery_camera: (G,) integers.
        same_camera: count impostor pairs of one camera, too, as retrieval ranks them.
        errors: how many of the hardest pairs of each kind are named.
        block: queries and gallery rows per matrix product: memory and speed, never the result.

    Returns:
        The result, bit-equal for every block and thread count. Memory is bounded by (Q + G) D and the identities.

    Raises:
        InputError: embeddings not finite, zero, empty or of two widths; lengths that differ; no pair of one kind.

    Example:
        >>> import numpy as np
        >>> query, gallery = np.eye(2), np.array([[4.0, 3.0], [0.0, 1.0], [1.0, 0.0]])
        >>> identities, cameras = (np.array([7, 8]), np.array([7, 8, 9])), (np.array([1, 1]), np.array([2, 2, 3]))
        >>> result = verify(query, identities[0], cameras[0], gallery, identities[1], cameras[1])
        >>> result.genuine.tolist(), result.impostor.tolist(), result.threshold.round(3).tolist()
        ([0, 0, 1, 1], [2, 1, 0, 1], [0.0, 0.6, 0.8, 1.0])
        >>> result.equal_error_rate, result.at(0.3).true_positive_rate
        (0.25, 1.0)
    """
    left, right = to_numpy("query embeddings", query), to_numpy("gallery embeddings", gallery)
    check_embeddings(left, right)
    identity = integers("query identities", query_identity, len(left))
    camera = integers("query cameras", query_camera, len(left))
    others = integers("gallery identities", gallery_identity, len(right))
    cameras = integers("gallery cameras", gallery_camera, len(right))
    known = np.flatnonzero(identity != -1)
    pairs, names = _match(identity[known], camera[known], others, cameras, same_camera)
    rows = unit_vectors(left, "query embedding", known), unit_vectors(right, "gallery embedding", pairs.gallery_row)
    window = _window(*rows, pairs)
    counts = _count(*rows, pairs, window, len(names), errors, block)
    for kind, own in (("one person by two cameras", counts.genuine), ("two people", counts.impostor)):
        if not own.any():
            raise InputError(f"verification: no pair of {kind} among {len(left)} queries and {len(right)} gallery rows")
    levels = np.flatnonzero(counts.genuine + counts.impostor)
    return VerificationResult(
        threshold=threshold_of(levels),
        genuine=counts.genuine[levels],
        impostor=counts.impostor[levels],
        false_accepts=_hardest(counts.highest, known),
        false_rejects=_hardest(counts.lowest, known),
        persons=counts.persons,
        resampled=(names != 0) | np.isin(names, identity),
        window=window,
    )


def _match(
    identity: np.ndarray, camera: np.ndarray, others: np.ndarray, cameras: np.ndarray, same_camera: bool
) -> tuple[Pairs, np.ndarray]:
    """What the pairs are, and the identities (I,) of both sides, ascending."""
    order = np.argsort(others, kind="stable")
    order = order[others[order] != -1]
    own = others[order]
    names = np.unique(np.concatenate([identity, own]))
    begin, end = (np.searchsorted(own, identity, side=side) for side in ("left", "right"))
    person, gallery_person = np.searchsorted(names, identity), np.searchsorted(names, own)
    return Pairs(begin, end, camera, cameras[order], person, gallery_person, order, same_camera), names


def _window(query: np.ndarray, gallery: np.ndarray, pairs: Pairs) -> tuple[float, float]:
    """From the median impostor score of some pairs to beyond the highest: its low end, and bins per unit."""
    some = np.unique(np.linspace(0, max(len(query) - 1, 0), 64).astype(np.int64)[: len(query)])
    rows = np.unique(np.linspace(0, max(len(gallery) - 1, 0), 4096).astype(np.int64)[: len(gallery)])
    scores = query[some].astype(np.float64) @ gallery[rows].astype(np.float64).T
    impostor = pairs.person[some][:, None] != pairs.gallery_person[rows]
    scores = scores[impostor & (pairs.same_camera | (pairs.camera[some][:, None] != pairs.gallery_camera[rows]))]
    low, high = (float(np.median(scores)), float(scores.max())) if len(scores) else (-1.0, 1.0)
    return low, (WINDOW - 2) / (1.25 * (high - low) + 2.0**-16)


def _count(
    query: np.ndarray,
    gallery: np.ndarray,
    pairs: Pairs,
    window: tuple[float, float],
    persons: int,
    errors: int,
    block: tuple[int, int],
) -> Counts:
    """All blocks, on as many threads as torch uses; each thread counts for itself."""
    threads = min(torch.get_num_threads(), -(-len(query) // block[0])) or 1
    own = [Counts.empty(persons, errors, len(query) * len(gallery)) for _ in range(threads)]
    free: SimpleQueue[Counts] = SimpleQueue()
    for counts in own:
        free.put(counts)

    def part(first: int) -> None:
        counts = free.get()
        left = query[first : first + block[0]].astype(np.float64)
        for start in range(0, len(gallery), block[1]):
            scores = left @ gallery[start : start + block[1]].astype(np.float64).T
            count_pairs(scores, first, start, pairs, window, counts)
        free.put(counts)

    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(0, len(query), block[0])))
    return Counts.total(own)


def _hardest(extremes: Extremes, known: np.ndarray) -> HardestPairs:
    return HardestPairs(known[extremes.pair[:, 0]], extremes.pair[:, 1], extremes.sign * extremes.score)
