"""Ranked lists in the order of the evaluation, junk removed; the best and worst queries; the map of embeddings."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ogreid.retrieval import evaluate_retrieval, search
from ogreid.retrieval.inspection import choose_queries, principal_plane, rank_gallery, sample_identities
from retrieval_scenes import scene


@pytest.mark.parametrize("seed", range(3))
def test_lists_hold_no_junk_fall_in_score_and_hit_where_the_evaluation_does(seed):
    _, query_identity, query_camera, _, identity, camera = rows = scene(seed, queries=12, gallery=60, identities=7)
    whole, short = (rank_gallery(list(range(12)), *rows, top=top) for top in (100, 3))
    for one, start, first_hit in zip(whole, short, evaluate_retrieval(*rows).first_hit, strict=True):
        np.testing.assert_array_equal(start.rows, one.rows[:3])
        assert (np.diff(one.scores) <= 0).all() and (identity[one.rows] != -1).all()
        own = identity[one.rows] == query_identity[one.query]
        assert (camera[one.rows][own] != query_camera[one.query]).all()
        np.testing.assert_array_equal(own, one.correct)
        assert (np.flatnonzero(own)[0] + 1 if own.any() else 0) == first_hit


def test_a_tied_negative_comes_first():
    gallery, one = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1])
    ranked = rank_gallery([0], gallery[:1], one, one, gallery, np.array([1, 2]), np.array([2, 2]))
    assert ranked[0].correct.tolist() == [False, True]


@pytest.mark.parametrize("top", [1, 7, 300])
def test_search_is_a_stable_sort_of_cosines(top):
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((150, 5)), rng.integers(-1, 2, (300, 5)) + np.array([0.5, 0, 0, 0, 0])
    units = [np.rint(rows / np.linalg.norm(rows, axis=1, keepdims=True) * 2**24) / 2**24 for rows in (query, gallery)]
    exact = units[0] @ units[1].T
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :top]
    rows, scores = search(query, gallery, top=top)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, expected, axis=1))


def test_best_median_and_worst_are_chosen_with_each_identity_once():
    precision = np.array([0.9, np.nan, 0.1, 0.5, 1.0, 0.45, 0.2, 0.8])
    identity = np.array([1, 2, 3, 4, 1, 5, 3, 6])
    assert choose_queries(precision, identity, each=1) == [("best", 4), ("median", 3), ("worst", 2)]
    chosen = choose_queries(precision, identity, each=2)
    assert chosen[:2] == [("best", 4), ("best", 7)]
    assert len({identity[query] for _, query in chosen}) == len(chosen) == 5
    assert 1 not in [query for _, query in chosen]


def test_the_plane_is_that_of_principal_components():
    rows = np.random.default_rng(0).standard_normal((80, 9)) * np.arange(1, 10)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected, plane = PCA(2).fit_transform(unit), principal_plane(rows)
    np.testing.assert_allclose(plane, expected * np.sign((expected * plane).sum(axis=0)), atol=1e-6)


def test_the_sample_is_of_the_identities_with_the_most_rows():
    identity = np.array([3, -1, 3, 2, 2, 2, 0, 5, 3, 3, 0, 0])
    assert sample_identities(identity, count=2, each=3).tolist() == [0, 2, 3, 4, 5, 8]
    assert sample_identities(np.array([-1, 0])).tolist() == []
