"""Scores of any kind are judged as embeddings are."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.retrieval import judge
from ogreid.retrieval.scored import judge_scores


def scene(seed, queries=25, gallery=90):
    rng = np.random.default_rng(seed)
    embedding = [np.rint(3 * rng.standard_normal((n, 4))) + 0.25 for n in (queries, gallery)]
    names = [(rng.integers(low, 7, n), rng.integers(0, 3, n)) for n, low in ((queries, 1), (gallery, -1))]
    return embedding[0], *names[0], embedding[1], *names[1]


@pytest.mark.parametrize("unanswerable", ["skip", "zero"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_embeddings_are_judged_alike(seed, unanswerable):
    query, identity, camera, gallery, known, seen = scene(seed)
    units = [np.rint(rows / np.linalg.norm(rows, axis=1, keepdims=True) * 2**24) for rows in (query, gallery)]
    scores = units[0] @ units[1].T  # as exact as the judge's own
    expected = judge(query, identity, camera, gallery, known, seen, unanswerable=unanswerable)
    found = judge_scores([scores[:10], scores[10:]], identity, camera, known, seen, unanswerable=unanswerable)
    for name, one, other in zip(expected._fields, found, expected, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((2, 4))], "scores of 2 queries, expected 3"),
        ([np.zeros((3, 5))], r"scores of shape \(3, 5\) from query 0 on, expected 3 queries in all and 4 columns"),
        ([np.zeros((2, 4)), np.zeros((2, 4))], "from query 2 on"),
        ([np.full((3, 4), np.nan)], "queries 0 to 2 hold NaN"),
    ],
)
def test_scores_that_do_not_fit_are_refused(blocks, message):
    identity = np.array([1, 2, 3])
    with pytest.raises(InputError, match=message):
        judge_scores(blocks, identity, np.zeros(3, int), np.array([1, 2, 3, 4]), np.ones(4, int))


@pytest.mark.parametrize(
    ("place", "given", "message"),
    [
        (0, None, "query identities are missing"),
        (1, np.zeros(2, int), r"query cameras have the shape \(2,\), expected \(3,\)"),
        (2, np.zeros(4), "gallery identities are float64, expected whole numbers"),
        (3, None, "gallery cameras are missing"),
    ],
)
def test_identities_and_cameras_that_do_not_fit_are_refused(place, given, message):
    told = [np.array([1, 2, 3]), np.zeros(3, int), np.array([1, 2, 3, 4]), np.ones(4, int)]
    told[place] = given
    with pytest.raises(InputError, match=message):
        judge_scores([np.zeros((3, 4))], *told)
