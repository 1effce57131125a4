"""Counting: unit vectors on a grid, exact scores, the filter before them, and the plain form that defines it."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ogreid.retrieval import ranking
from ogreid.retrieval.ranking import PositiveScores, Spans, rounding_bound
from ogreid.retrieval.unit_vectors import CenteredRows, unit_vectors


def hostile(seed, queries=6, width=64):
    """A gallery, sorted by identity, of positives and negatives that differ from them by a few units of 2^-24."""
    rng = np.random.default_rng(seed)
    query = unit_vectors(rng.standard_normal((queries, width)), "row")
    rows = []
    for _ in range(8):
        jitter = rng.integers(-2, 3, (queries, width)) * 2.0**-24
        rows.append((query + jitter).astype(np.float32))
    gallery = np.concatenate([*rows, unit_vectors(rng.standard_normal((30, width)), "row")])
    identity = np.concatenate([np.tile(np.arange(queries), 3), np.full(len(gallery) - 3 * queries, 99)])
    order = np.argsort(identity, kind="stable")
    return query, gallery[order], identity[order]


def build(query, rows, identity, camera=None, gallery_camera=None):
    """The gallery and the positives of queries that are identities 0, 1 ..., by another camera where none is given."""
    begin, end = (np.searchsorted(identity, np.arange(len(query)), side=side) for side in ("left", "right"))
    camera = np.zeros(len(query), dtype=np.int64) if camera is None else camera
    gallery_camera = np.ones(len(rows), dtype=np.int64) if gallery_camera is None else gallery_camera
    gallery = CenteredRows.build(rows.copy())
    return gallery, PositiveScores.build(query, gallery, Spans(begin, end, camera, gallery_camera))


def count(query, gallery, positives, length, plain=False):
    bins = np.zeros(len(positives.scores) + len(query), dtype=np.int64)
    for first in range(0, len(gallery.residual), length):
        tile = gallery.tile(first, length)
        if plain:
            ranking.count_negatives_plain(query, tile, positives, bins, torch.device("cpu"))
        else:
            scores = product(query - gallery.center, tile.residual)
            ranking.count_negatives(query, tile, scores, positives, bins)
    return bins


def product(left, right):
    scores, spare = np.empty((2, len(left), len(right)), dtype=np.float32)
    ranking.blocked_product(left, right, scores, spare)
    return scores


def test_scores_are_exact_fractions():
    query, rows, identity = hostile(1, queries=3, width=33)
    _, positives = build(query, rows, identity)
    for q in range(3):
        exact = sorted(
            sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query[q], row, strict=True))
            for row in rows[identity == q]
        )
        own = positives.scores[positives.offsets[q] : positives.offsets[q + 1]]
        assert [Fraction(float(score)) for score in own] == exact


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("length", [5, 1000])
def test_the_filter_never_decides_what_it_cannot_know(seed, length):
    """All scores lie within float32 rounding of each other; counts must be those of the exact scores."""
    query, rows, identity = hostile(seed)
    gallery, positives = build(query, rows, identity)
    bins = count(query, gallery, positives, length)
    exact = query.astype(np.float64) @ rows.astype(np.float64).T
    ambiguous = 0
    for q in range(len(query)):
        own = positives.scores[positives.offsets[q] : positives.offsets[q + 1]]
        negatives = exact[q, identity != q]
        expected = np.bincount((negatives[:, None] >= own).sum(axis=1), minlength=len(own) + 1)
        first = positives.offsets[q] + q
        np.testing.assert_array_equal(bins[first : first + len(own) + 1], expected)
        ambiguous += (np.abs(negatives[:, None] - own) <= positives.bound[q]).sum()
    assert ambiguous > 50


@pytest.mark.parametrize("lean", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_plain_and_fused_counts_are_equal(seed, lean):
    """Spread over all directions, and in cones of cosines round 0.5 and 0.999."""
    rng = np.random.default_rng(seed)
    identity = np.sort(rng.integers(0, 12, 500))
    common = lean * rng.standard_normal(40)
    query, rows = (unit_vectors(rng.standard_normal((n, 40)) + common, "row") for n in (11, 500))
    gallery, positives = build(query, rows, identity, rng.integers(0, 3, 11), rng.integers(0, 3, 500))
    assert (gallery.radius < 0.1) == (lean > 1)
    assert (np.diff(positives.offsets) > 0).all()
    np.testing.assert_array_equal(
        count(query, gallery, positives, 64), count(query, gallery, positives, 170, plain=True)
    )


@pytest.mark.parametrize("width", [16, 256, 300, 512, 4096])
def test_the_rounding_bound_holds_with_room(width):
    rng = np.random.default_rng(width)
    left, right = (unit_vectors(np.abs(rng.standard_normal((64, width))), "row") for _ in range(2))
    exact = left.astype(np.float64) @ right.astype(np.float64).T
    assert np.abs(product(left, right) - exact).max() < rounding_bound(width) < 1e-4
