"""Re-ranking against the method written densely, and what it is for."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.retrieval import judge
from ogreid.retrieval.rerank import Reranking, reranked_scores
from ogreid.retrieval.scored import judge_scores


def scene(seed=0, queries=18, gallery=110, identities=10, noise=0.9):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((identities, 10))
    sides = []
    for rows in (queries, gallery):
        identity = rng.integers(0, identities, rows)
        embedding = (centers[identity] + noise * rng.standard_normal((rows, 10))).astype(np.float32)
        sides += [embedding, identity, rng.integers(0, 4, rows)]
    return sides


def dense(query, gallery, k1, k2, weight):
    """The paper's equations over whole N x N matrices, sets as sets."""
    rows = np.concatenate([query, gallery]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    distance = np.maximum(2 - 2 * rows @ rows.T, 0)
    distance /= distance.max(axis=1, keepdims=True)
    np.fill_diagonal(distance, -1e-9)
    order = np.argsort(distance, axis=1)
    mutual = lambda i, k: {j for j in order[i, : k + 1] if i in order[j, : k + 1]}  # noqa: E731 - the paper's R(i, k)
    encoded = np.zeros_like(distance)
    for i in range(len(rows)):
        own = mutual(i, k1)
        extended = set(own)
        for j in own:
            theirs = mutual(j, round(k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                extended |= theirs
        members = sorted(extended)
        encoded[i, members] = np.exp(-np.maximum(distance[i, members], 0))
        encoded[i] /= encoded[i].sum()
    if k2 > 1:
        encoded = np.stack([encoded[order[i, :k2]].mean(axis=0) for i in range(len(rows))])
    q = len(query)
    jaccard = np.array(
        [[1 - np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in encoded[q:]] for a in encoded[:q]]
    )
    return (1 - weight) * jaccard + weight * distance[:q, q:]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (8, 1, 0.0), (5, 3, 1.0), (15, 2, 0.5)])
def test_sparse_rows_give_the_dense_distances(seed, k1, k2, weight):
    query, _, _, gallery, _, _ = scene(seed)
    how = Reranking(neighbors=k1, expansion=k2, weight=weight)
    blocks = list(reranked_scores(query, gallery, how, block=7))
    assert [len(block) for block in blocks] == [7, 7, 4]
    np.testing.assert_allclose(-np.concatenate(blocks), dense(query, gallery, k1, k2, weight), atol=2e-5)


def test_re_ranking_improves_a_fair_network():
    query, identity, camera, gallery, known, seen = scene(3, queries=40, gallery=400, identities=20, noise=0.8)
    before = judge(query, identity, camera, gallery, known, seen)
    after = judge_scores(reranked_scores(query, gallery), identity, camera, known, seen)
    assert after.mean_average_precision > before.mean_average_precision + 0.03
    assert after.answerable == before.answerable


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="expansion from 1 to neighbors"):
        Reranking(neighbors=3, expansion=6)
    with pytest.raises(InputError, match="looks at 20 neighbors of each row, there are 8 rows"):
        next(reranked_scores(np.eye(8)[:2], np.eye(8)[2:]))
    with pytest.raises(InputError, match="query embeddings are 8 wide, gallery embeddings 3"):
        next(reranked_scores(np.eye(8), np.eye(3)))
    with pytest.raises(InputError, match=r"row \(queries first\) 1 is all zeros"):
        next(reranked_scores(np.ones((3, 4)) * np.array([[1], [0], [1]]), np.ones((30, 4))))
