"""Retrieval by pairs of cameras: that of the rows of both, whoever has no match left out."""

import numpy as np

from ogreid.retrieval import evaluate_retrieval
from ogreid.retrieval.camera_pairs import evaluate_camera_pairs
from retrieval_scenes import scene


def test_each_pair_is_the_retrieval_among_the_rows_of_the_other_camera():
    columns = scene(3, queries=60, gallery=200, cameras=4)
    query, gallery = columns[:3], columns[3:]
    for side in (query, gallery):
        side[2] = 10 * side[2]  # numbers as a benchmark has them
    pairs = evaluate_camera_pairs(tuple(query), tuple(gallery))
    assert pairs.cameras.tolist() == [10, 20, 30, 40] and np.isnan(np.diag(pairs.rank1)).all()
    for i, j in np.ndindex(4, 4):
        if i == j:
            continue
        own = [column[query[2] == pairs.cameras[i]] for column in query]
        others = [column[gallery[2] == pairs.cameras[j]] for column in gallery]
        result = evaluate_retrieval(*own, *others)
        assert pairs.mean_average_precision[i, j] == result.mean_average_precision
        assert (pairs.rank1[i, j], pairs.queries[i, j]) == (result.rank(1), result.answerable)
    assert pairs.summary()["mAP"][0][1] == round(100 * pairs.mean_average_precision[0, 1], 6)


def test_a_pair_of_cameras_that_share_nobody_has_no_numbers():
    one = np.eye(3)[:2], np.array([1, 2]), np.array([1, 2])
    other = np.eye(3), np.array([1, 2, -1]), np.array([2, 2, 1])
    pairs = evaluate_camera_pairs(one, other)
    assert pairs.queries.tolist() == [[0, 1], [0, 0]] and pairs.rank1[0, 1] == 1 and np.isnan(pairs.rank1[1, 0])
