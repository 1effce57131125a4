"""Re-ranking, query expansion and pooling against their definitions, and that each helps where it should."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.registry import VARIANTS, resolve
from ogreid.retrieval import evaluate_retrieval
from ogreid.retrieval.variants import expand_queries, multi_query, pool_queries, reranked_scores
from retrieval_scenes import scene


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
    query, _, _, gallery, _, _ = scene(seed, queries=18, gallery=110, width=10, noise=0.9)
    blocks = list(reranked_scores(query, gallery, neighbors=k1, expansion=k2, weight=weight, block=7))
    assert [len(block) for block in blocks] == [7, 7, 4]
    np.testing.assert_allclose(-np.concatenate(blocks), dense(query, gallery, k1, k2, weight), atol=2e-5)


@pytest.mark.parametrize(
    ("query", "gallery", "options", "message"),
    [
        (np.eye(8)[:2], np.eye(8)[2:], {}, "more than 20 rows .*got 8"),
        (np.eye(8), np.eye(3), {}, "query embeddings are 8 wide, gallery embeddings 3"),
        (np.ones((3, 4)) * [[1], [0], [1]], np.ones((30, 4)), {}, r"row \(queries first\) 1 is all zeros"),
        (np.eye(8), np.eye(8), {"neighbors": 3, "expansion": 6}, "expansion from 1 to neighbors"),
    ],
)
def test_impossible_re_ranking_is_refused(query, gallery, options, message):
    with pytest.raises(InputError, match=message):
        next(reranked_scores(query, gallery, **options))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize(("count", "alpha"), [(1, 3.0), (5, 3.0), (4, 0.0)])
def test_an_expanded_query_is_the_weighted_mean_of_itself_and_its_neighbors(count, alpha):
    rng = np.random.default_rng(count)
    query, gallery = rng.standard_normal((9, 6)), rng.standard_normal((40, 6))
    expanded = expand_queries(query, gallery, count, alpha=alpha)
    for one, row in zip(expanded, unit(query), strict=True):
        scores = unit(gallery) @ row
        near = np.argsort(-scores)[:count]
        weights = np.maximum(scores[near], 0) ** alpha
        np.testing.assert_allclose(one, unit(row + weights @ unit(gallery)[near]), atol=1e-6)


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="expected 1 to 4 gallery rows, got 7"):
        expand_queries(np.eye(4), np.eye(4), 7)
    with pytest.raises(InputError, match="query embeddings are 4 wide, gallery embeddings 5"):
        expand_queries(np.eye(4), np.eye(5), 2)
    with pytest.raises(InputError, match=r"query cameras have the shape \(3,\), expected \(4,\)"):
        pool_queries(np.eye(4), np.arange(4), np.arange(3))


def test_images_of_one_person_by_one_camera_become_one_query():
    query = np.array([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0], [-1.0, 0.0]])
    pooled, identity, camera = pool_queries(query, np.array([4, 4, 4, 2]), np.array([1, 1, 2, 1]))
    assert list(zip(identity.tolist(), camera.tolist(), strict=True)) == [(2, 1), (4, 1), (4, 2)]
    np.testing.assert_allclose(pooled, [[-1, 0], [0.5**0.5, 0.5**0.5], [0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_one_query_a_camera_is_pooled_with_the_gallery_of_that_camera():
    """As in the real Market-1501: the query looks like another person, its camera's other images like its own."""
    query = np.array([[1.0, 0.1]]), np.array([7]), np.array([1])
    gallery = np.array([[0.0, 9.0], [0.0, 1.0], [1.0, 0.0]]), np.array([7, 7, 8]), np.array([1, 2, 2])
    assert evaluate_retrieval(*query, *gallery).rank(1) == 0
    pooled = multi_query(
        query,
        (np.concatenate([gallery[0], [[0, 2]]]), *(np.append(g, e) for g, e in zip(gallery[1:], (7, 1), strict=True))),
    )
    assert pooled.rank(1) == 1 and pooled.answerable == 1


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_variant_retrieves_more_than_the_plain_query(name):
    rows = scene(4, queries=80, gallery=400, identities=20, width=10, noise=0.9)
    plain, variant = evaluate_retrieval(*rows), resolve("variant", VARIANTS, name)(tuple(rows[:3]), tuple(rows[3:]))
    assert variant.mean_average_precision > plain.mean_average_precision + 0.02
    pairs = set(zip(rows[1].tolist(), rows[2].tolist(), strict=True))
    assert variant.answerable + variant.unanswerable == (len(pairs) if name == "multi-query" else 80)
