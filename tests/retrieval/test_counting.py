"""The counting: exact scores, the filter before them, and the plain form that defines it."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ogreid.retrieval import counting
from ogreid.retrieval.centered import Centered
from ogreid.retrieval.counting import Ladders, rounding_bound
from ogreid.retrieval.directions import directions


def hostile(seed, queries=6, width=64):
    """A gallery, sorted by identity, of positives and negatives that differ from them by a few units of 2^-24."""
    rng = np.random.default_rng(seed)
    query = directions(rng.standard_normal((queries, width)), "row")
    rows = []
    for _ in range(8):
        jitter = rng.integers(-2, 3, (queries, width)) * 2.0**-24
        rows.append((query + jitter).astype(np.float32))
    gallery = np.concatenate([*rows, directions(rng.standard_normal((30, width)), "row")])
    identity = np.concatenate([np.tile(np.arange(queries), 3), np.full(len(gallery) - 3 * queries, 99)])
    order = np.argsort(identity, kind="stable")
    return query, gallery[order], identity[order]


def spans(identity, queries):
    return np.searchsorted(identity, np.arange(queries)), np.searchsorted(identity, np.arange(queries), side="right")


def fused(query, gallery, begin, end, ladders, tile):
    bins = ladders.empty_bins()
    for first in range(0, len(gallery.rest), tile):
        piece = gallery.tile(first, tile)
        scores = product(query - gallery.center, piece.rest)
        counting.tally(query, piece, scores, begin - first, end - first, ladders, bins)
    return bins


def product(left, right):
    scores, spare = np.empty((2, len(left), len(right)), dtype=np.float32)
    counting.product(left, right, scores, spare)
    return scores


def plain(query, gallery, begin, end, ladders, tile):
    bins = ladders.empty_bins()
    for first in range(0, len(gallery.rest), tile):
        piece = gallery.tile(first, tile)
        counting.tally_plain(query, piece, begin - first, end - first, ladders, bins, torch.device("cpu"))
    return bins


def test_scores_are_exact_fractions():
    query, gallery, identity = hostile(1, queries=3, width=33)
    begin, end = spans(identity, 3)
    cameras = np.ones(3, dtype=np.int64)
    seen = 2 * np.ones(len(gallery), dtype=np.int64)
    ladders = Ladders.build(query, Centered.take(gallery.copy()), begin, end, cameras, seen)
    for q in range(3):
        exact = sorted(
            sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query[q], gallery[g], strict=True))
            for g in range(begin[q], end[q])
        )
        got = ladders.scores[ladders.offsets[q] : ladders.offsets[q + 1]]
        assert [Fraction(float(score)) for score in got] == exact


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tile", [5, 1000])
def test_the_filter_never_decides_what_it_cannot_know(seed, tile):
    """All scores lie within float32 rounding of each other; counts must be those of the exact scores."""
    query, gallery, identity = hostile(seed)
    begin, end = spans(identity, len(query))
    camera, gallery_camera = np.zeros(len(query), dtype=np.int64), np.ones(len(gallery), dtype=np.int64)
    known = Centered.take(gallery.copy())
    ladders = Ladders.build(query, known, begin, end, camera, gallery_camera)
    bins = fused(query, known, begin, end, ladders, tile)
    exact = query.astype(np.float64) @ gallery.astype(np.float64).T
    ambiguous = 0
    for q in range(len(query)):
        rungs = ladders.scores[ladders.offsets[q] : ladders.offsets[q + 1]]
        negatives = exact[q, identity != q]
        expected = np.bincount((negatives[:, None] >= rungs).sum(axis=1), minlength=len(rungs) + 1)
        first = ladders.offsets[q] + q
        np.testing.assert_array_equal(bins[first : first + len(rungs) + 1], expected)
        ambiguous += (np.abs(negatives[:, None] - rungs) <= ladders.bound[q]).sum()
    assert ambiguous > 50


@pytest.mark.parametrize("lean", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_plain_and_fused_counts_are_equal(seed, lean):
    """Spread over all directions, and in cones of cosines round 0.5 and 0.999."""
    rng = np.random.default_rng(seed)
    identity = np.sort(rng.integers(0, 12, 500))
    common = lean * rng.standard_normal(40)
    query, gallery = (directions(rng.standard_normal((n, 40)) + common, "row") for n in (11, 500))
    begin, end = spans(identity, 11)
    camera, gallery_camera = rng.integers(0, 3, 11), rng.integers(0, 3, 500)
    known = Centered.take(gallery)
    assert (known.reach < 0.1) == (lean > 1)
    ladders = Ladders.build(query, known, begin, end, camera, gallery_camera)
    assert (np.diff(ladders.offsets) > 0).all()
    np.testing.assert_array_equal(
        fused(query, known, begin, end, ladders, 64), plain(query, known, begin, end, ladders, 170)
    )


def test_many_equal_positives_and_a_single_one_are_bucketed_safely():
    """The range of one query's positives has no width at all."""
    rng = np.random.default_rng(4)
    query = directions(rng.standard_normal((2, 16)), "row")
    others = directions(query[:1] + 1e-4 * rng.standard_normal((400, 16)), "row")
    check_equal(query, np.concatenate([np.repeat(query[:1], 5, axis=0), query[1:], others]))


def test_a_gallery_in_one_point_is_counted_as_ties():
    """No range, no rests, no rounding: the narrowest cone that there is."""
    query = directions(np.ones((2, 16)), "row")
    assert check_equal(query, np.repeat(query[:1], 406, axis=0)).tolist() == [0] * 5 + [401, 0, 405]


def check_equal(query, gallery):
    """Counts of two queries with five positives and one, first in the gallery."""
    identity = np.concatenate([np.zeros(5, dtype=int), [1], np.full(len(gallery) - 6, 9)])
    begin, end = spans(identity, 2)
    zeros = np.zeros(len(gallery), dtype=np.int64)
    known = Centered.take(gallery)
    ladders = Ladders.build(query, known, begin, end, zeros[:2] + 1, zeros)
    expected = plain(query, known, begin, end, ladders, 1000)
    np.testing.assert_array_equal(fused(query, known, begin, end, ladders, 100), expected)
    return expected


@pytest.mark.parametrize("width", [16, 256, 300, 512, 4096])
def test_the_rounding_bound_holds_with_room(width):
    rng = np.random.default_rng(width)
    left, right = (directions(np.abs(rng.standard_normal((64, width))), "row") for _ in range(2))
    exact = left.astype(np.float64) @ right.astype(np.float64).T
    assert np.abs(product(left, right) - exact).max() < rounding_bound(width) < 1e-4
