"""Evaluation far from the usual size: one person in very many images, very many people, one camera and a thousand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid.retrieval import RetrievalMetric, evaluate_retrieval
from ogreid.retrieval.unit_vectors import unit_vectors

MEBI = 1 << 20
WIDTH = 32


def crowd(people, each, cameras, seed=0):
    """Embeddings round identity centers, (rows, 32) float32, identities and cameras; a person's cameras take turns."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), each)
    centers = rng.standard_normal((people, WIDTH), dtype=np.float32)
    embedding = centers[identity] + 0.7 * rng.standard_normal((len(identity), WIDTH), dtype=np.float32)
    return embedding, identity, np.arange(len(identity)) % cameras


def one_query(number, query, gallery):
    """Trapezoid AP and rank of the first hit of a query by the definition, a tied negative before a positive."""
    unit, rows = unit_vectors(query[0][number : number + 1], "query"), unit_vectors(gallery[0], "gallery")
    scores = (rows.astype(np.float64) @ unit[0].astype(np.float64)).ravel()  # exact, see `ranking`
    same = gallery[1] == query[1][number]
    positive = np.sort(scores[same & (gallery[2] != query[2][number])])[::-1]
    negative = np.sort(scores[~same])
    hits = np.arange(1, len(positive) + 1)
    ranks = len(negative) - np.searchsorted(negative, positive, side="left") + hits
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float(np.mean((hits / ranks + before) / 2)), int(ranks[0])


def agrees(result, query, gallery, numbers):
    for number in numbers:
        precision, first = one_query(number, query, gallery)
        assert result.average_precision[number] == pytest.approx(precision, rel=1e-12)
        assert result.first_hit[number] == first


def resident(work):
    """What ``work`` gives, and by how many MiB the memory of this process rose at most."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError as error:
        pytest.skip(f"this system does not know the peak of a process: {error}")
    before = _status("VmRSS")
    result = work()
    return result, (_status("VmHWM") - before) / 1024


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """What the first call compiles and imports is no memory of the measured ones."""
    rows = crowd(40, 4, 2)
    metric_of(rows, rows)


def _status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def metric_of(query, gallery, batch=4096):
    """Evaluated as in a training: batch by batch, samples numbered."""
    sides = [torch.from_numpy(np.concatenate(pair)) for pair in zip(query, gallery, strict=True)]
    metric = RetrievalMetric(len(query[0]), len(gallery[0]))
    for part in torch.split(torch.arange(len(sides[0])), batch):
        metric.update(*(side[part] for side in sides), part)
    metric.compute()
    return metric.result


@pytest.mark.parametrize("network", ["learned", "collapsed but for one", "collapsed", "two points"])
def test_a_person_of_two_thousand_images_is_evaluated_right_by_any_network(network):
    """Where a network maps people to nearly one point, all its scores fall into one bucket."""
    rows = [np.concatenate(pair) for pair in zip(crowd(1, 2000, 2), crowd(800, 2, 2, seed=1), strict=True)]
    rows[1][2000:] += 1
    if network != "learned":
        rows[0] = np.ones_like(rows[0])
    if network.startswith("collapsed but"):
        rows[0] += 0.01 * np.random.default_rng(2).standard_normal(rows[0].shape).astype(np.float32)
        rows[0][5] *= -1
    if network == "two points":
        rows[0][1::2, 0] = -1
    query = [column[:12] for column in rows]
    agrees(evaluate_retrieval(*query, *rows), query, rows, range(12))


def test_a_thousand_cameras_are_evaluated():
    rows = crowd(500, 6, 1000)
    agrees(evaluate_retrieval(*rows, *rows), rows, rows, range(0, 3000, 250))


@pytest.mark.thorough
def test_ten_thousand_images_of_one_person_take_bounded_memory():
    rows = crowd(1, 10_000, 2)
    others = [np.concatenate(pair) for pair in zip(rows, crowd(10_000, 1, 2, seed=1), strict=True)]
    others[1][10_000:] += 1
    result, memory = resident(lambda: metric_of(rows, others))
    agrees(result, rows, others, range(0, 10_000, 900))
    # For each thread the scores and counts of 512 queries with 5 000 matches each, and 96 MiB for the rest: 184 MiB in
    # all in a process of its own, up to 205 after other tests. All scores at once would be 1.6 GB.
    assert memory < 4 * others[0].nbytes / MEBI + torch.get_num_threads() * 512 * 5_000 * 24 / MEBI + 96


@pytest.mark.thorough
def test_a_hundred_thousand_people_take_the_memory_of_their_embeddings():
    rows = crowd(100_000, 2, 6)
    query = [column[::100] for column in rows]
    result, memory = resident(lambda: metric_of(query, rows))
    assert result.answerable == 2000
    agrees(result, query, rows, range(0, 2000, 250))
    assert memory < 4 * rows[0].nbytes / MEBI + 200 * len(rows[0]) / MEBI + 64
