"""Tracklets against plain loops, and on several processes."""

import numpy as np
import pytest
import torch

from ogreid import RetrievalEvaluation
from ogreid.errors import InputError
from ogreid.retrieval import RetrievalMetric, evaluate_retrieval
from retrieval_scenes import scene

QUERIES, GALLERY = 60, 160


def samples(seed):
    """Embedding, identity, camera and tracklet of a set, queries first; tracklets of different people share numbers."""
    rows = scene(seed, queries=QUERIES, gallery=GALLERY, identities=7, noise=1.5)
    sides = [np.concatenate([rows[i], rows[i + 3]]) for i in range(3)]
    return *sides, np.random.default_rng(seed).integers(0, 3, QUERIES + GALLERY)


def pooled_by_loops(embedding, identity, camera, tracklet):
    """Each side's tracklets in the order of their first sample: embedding, identity, camera."""
    members = {}
    for row in range(len(embedding)):
        members.setdefault((row >= QUERIES, identity[row], camera[row], tracklet[row]), []).append(row)
    rows = {False: [], True: []}
    for (gallery, person, eye, _), own in members.items():
        mean = np.mean([embedding[row] / np.linalg.norm(embedding[row].astype(np.float64)) for row in own], axis=0)
        rows[gallery].append((mean / np.linalg.norm(mean), person, eye))
    return [[np.array(column) for column in zip(*rows[side], strict=True)] for side in (False, True)]


def metric_of(embedding, identity, camera, tracklet, order=None, **options):
    metric = RetrievalMetric(QUERIES, GALLERY, tracklet=tracklet, **options)
    order = np.arange(len(embedding)) if order is None else order
    for part in np.array_split(order, 7):
        metric.update(*(torch.from_numpy(column[part]) for column in (embedding, identity, camera)), torch.tensor(part))
    return metric


@pytest.mark.parametrize("seed", range(4))
def test_tracklets_are_the_means_that_loops_form(seed):
    columns = samples(seed)
    metric = metric_of(*columns, order=np.random.default_rng(9).permutation(QUERIES + GALLERY))
    numbers = metric.compute()
    sides = pooled_by_loops(*columns)
    expected = evaluate_retrieval(*sides[0], *sides[1])
    for side, (embedding, identity, camera) in zip(metric.samples.sides(QUERIES), sides, strict=True):
        np.testing.assert_allclose(side[0], embedding, atol=1e-6)
        np.testing.assert_array_equal(side[1], identity)
        np.testing.assert_array_equal(side[2], camera)
    assert numbers["mAP"] == pytest.approx(expected.summary()["mAP"], abs=1e-6)
    assert metric.result.summary()["queries"] == len(sides[0][0]) < QUERIES


def test_a_tracklet_of_its_own_for_each_sample_changes_nothing_and_long_embeddings_weigh_no_more():
    embedding, identity, camera, tracklet = samples(0)
    plain = metric_of(embedding, identity, camera, None).compute()
    assert metric_of(embedding, identity, camera, np.arange(len(embedding))).compute() == plain
    lengths = np.random.default_rng(1).uniform(0.1, 10, (len(embedding), 1)).astype(np.float32)
    scaled = metric_of(embedding * lengths, identity, camera, tracklet).compute()
    assert scaled["mAP"] == pytest.approx(metric_of(embedding, identity, camera, tracklet).compute()["mAP"], abs=1e-4)


def test_a_part_of_a_set_is_pooled_too():
    metric = metric_of(*samples(0), order=np.arange(QUERIES + 9), partial=True)
    assert metric.compute()["missing"] == GALLERY - 9
    empty = metric_of(*samples(0), order=np.arange(0), partial=True)
    assert empty.compute()["missing"] == QUERIES + GALLERY


def test_what_cannot_be_pooled_is_refused():
    embedding, identity, camera, tracklet = samples(0)
    with pytest.raises(InputError, match="one for each row"):
        metric_of(embedding, identity, camera, tracklet[1:])
    embedding[1] = -embedding[0]
    identity[:2] = camera[:2] = tracklet[:2] = 0
    others = (identity == 0) & (np.arange(len(identity)) > 1)
    camera[others] = 3
    with pytest.raises(InputError, match=r"pooled embedding .*all zeros"):
        metric_of(embedding, identity, camera, tracklet).compute()
    with pytest.raises(InputError, match="expected crop or tracklet, got 'track'"):
        RetrievalEvaluation(by="track")
