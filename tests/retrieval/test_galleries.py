"""Ranked lists: the judge's order, junk gone, worst and best found."""

import numpy as np
import pytest

from ogreid.retrieval import judge
from ogreid.retrieval.galleries import choose_queries, rank_gallery


def scene(seed=0, queries=12, gallery=60):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((7, 8))
    sides = []
    for rows, lowest in ((queries, 1), (gallery, -1)):
        identity = rng.integers(lowest, 7, rows)
        sides += [centers[identity] + rng.standard_normal((rows, 8)), identity, rng.integers(1, 4, rows)]
    return sides


@pytest.mark.parametrize("seed", range(3))
def test_first_hits_are_the_judges(seed):
    rows = scene(seed)
    judged = judge(*rows)
    lists = rank_gallery(list(range(12)), *rows, top=60)
    for one, first_hit in zip(lists, judged.first_hit, strict=True):
        assert (np.flatnonzero(one.correct)[0] + 1 if one.correct.any() else 0) == first_hit


def test_lists_hold_no_junk_and_fall_in_score():
    query, query_identity, query_camera, gallery, identity, camera = scene(5)
    for one in rank_gallery([3, 0], query, query_identity, query_camera, gallery, identity, camera, top=60):
        assert (np.diff(one.scores) <= 0).all()
        assert (identity[one.rows] != -1).all()
        own = identity[one.rows] == query_identity[one.query]
        assert (camera[one.rows][own] != query_camera[one.query]).all()
        np.testing.assert_array_equal(own, one.correct)


def test_a_short_gallery_gives_a_short_list():
    rows = scene(1, gallery=4)
    assert len(rank_gallery([0], *rows, top=10)[0].rows) <= 4


def test_a_tied_negative_comes_first():
    gallery = np.array([[1.0, 0.0], [1.0, 0.0]])
    one = np.array([1])
    ranked = rank_gallery([0], gallery[:1], one, one, gallery, np.array([1, 2]), np.array([2, 2]))
    assert ranked[0].correct.tolist() == [False, True]


def test_best_median_and_worst_are_chosen_with_each_identity_once():
    precision = np.array([0.9, np.nan, 0.1, 0.5, 1.0, 0.45, 0.2, 0.8])
    identity = np.array([1, 2, 3, 4, 1, 5, 3, 6])
    assert choose_queries(precision, identity, each=1) == [("best", 4), ("median", 3), ("worst", 2)]
    chosen = choose_queries(precision, identity, each=2)
    assert chosen[:2] == [("best", 4), ("best", 7)]
    assert len({identity[query] for _, query in chosen}) == len(chosen) == 5
    assert 1 not in [query for _, query in chosen]
