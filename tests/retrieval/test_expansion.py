"""Query expansion and pooling against their definitions."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.retrieval.expansion import expand_queries, pool_queries


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize(("count", "alpha"), [(1, 3.0), (5, 3.0), (4, 0.0)])
def test_a_query_is_the_weighted_mean_of_itself_and_what_it_finds(count, alpha):
    rng = np.random.default_rng(count)
    query, gallery = rng.standard_normal((9, 6)), rng.standard_normal((40, 6))
    found = expand_queries(query, gallery, count, alpha=alpha, block=4)
    for one, row in zip(found, unit(query), strict=True):
        scores = unit(gallery) @ row
        near = np.argsort(-scores)[:count]
        weights = np.maximum(scores[near], 0) ** alpha
        np.testing.assert_allclose(one, unit(row + weights @ unit(gallery)[near]), atol=1e-6)


def test_more_rows_than_the_gallery_has_are_refused():
    with pytest.raises(InputError, match="with 7 rows: expected 1 to the gallery's 4"):
        expand_queries(np.eye(4), np.eye(4), 7)


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="query embeddings are 4 wide, gallery embeddings 5"):
        expand_queries(np.eye(4), np.eye(5), 2)
    with pytest.raises(InputError, match=r"query cameras have the shape \(3,\), expected \(4,\)"):
        pool_queries(np.eye(4), np.arange(4), np.arange(3))


def test_pictures_of_one_person_by_one_camera_become_one_query():
    query = np.array([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0], [-1.0, 0.0]])
    pooled, identity, camera = pool_queries(query, np.array([4, 4, 4, 2]), np.array([1, 1, 2, 1]))
    assert list(zip(identity.tolist(), camera.tolist(), strict=True)) == [(2, 1), (4, 1), (4, 2)]
    np.testing.assert_allclose(pooled, [[-1, 0], [0.5**0.5, 0.5**0.5], [0.5**0.5, 0.5**0.5]], atol=1e-6)
