"""The map of embeddings: the plane of largest variance, the same way up everywhere."""

import numpy as np
from sklearn.decomposition import PCA

from ogreid.retrieval.plane import principal_plane, sample_identities


def test_the_plane_is_that_of_principal_components():
    rows = np.random.default_rng(0).standard_normal((80, 9)) * np.arange(1, 10)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected, found = PCA(2).fit_transform(unit), principal_plane(rows)
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-6)


def test_the_map_does_not_flip_when_rows_change_places():
    rows = np.random.default_rng(1).standard_normal((50, 6))
    order = np.random.default_rng(2).permutation(50)
    np.testing.assert_allclose(principal_plane(rows[order]), principal_plane(rows)[order], atol=1e-9)


def test_the_sample_is_of_the_identities_with_the_most_rows():
    identity = np.array([3, -1, 3, 2, 2, 2, 0, 5, 3, 3, 0, 0])
    assert sample_identities(identity, count=2, each=3).tolist() == [0, 2, 3, 4, 5, 8]
    assert sample_identities(np.array([-1, 0])).tolist() == []
