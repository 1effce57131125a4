"""Samplers: what an epoch holds, and that processes share it without overlap."""

import numpy as np
import pytest

from ogreid.data.samplers import EvaluationSampler, TrainingSampler
from ogreid.registry import SAMPLERS, resolve

IDENTITY = np.repeat(np.arange(10), [1, 2, 3, 5, 8, 8, 13, 20, 30, 10])


def _sampler(order: str, rank: int = 0, world: int = 1, batch_size: int = 8) -> TrainingSampler:
    chosen = resolve("sampler", SAMPLERS, order)
    return TrainingSampler(IDENTITY, chosen, num_instances=4, batch_size=batch_size, seed=3, rank=rank, world=world)


@pytest.mark.parametrize("order", sorted(SAMPLERS))
def test_an_epoch_is_whole_batches_and_the_next_one_differs(order):
    sampler = _sampler(order)
    first = list(sampler)
    assert list(sampler) == first and len(first) == len(sampler) == 96
    sampler.set_epoch(1)
    assert list(sampler) != first


@pytest.mark.parametrize("order", sorted(SAMPLERS))
def test_two_processes_together_take_each_global_batch_once(order):
    alone = np.array(list(_sampler(order, batch_size=8))).reshape(-1, 8)
    halves = [np.array(list(_sampler(order, rank, 2, batch_size=4))).reshape(-1, 4) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), alone)


def test_random_takes_no_row_twice():
    rows = list(_sampler("random"))
    assert len(set(rows)) == len(rows)


def test_balanced_draws_every_identity_alike():
    sampler = _sampler("balanced")
    drawn = []
    for epoch in range(200):
        sampler.set_epoch(epoch)
        drawn.extend(IDENTITY[list(sampler)])
    share = np.bincount(drawn) / len(drawn)
    np.testing.assert_allclose(share, 0.1, atol=0.01)  # 19 200 draws: standard deviation 0.002


def test_class_balanced_gives_each_identity_its_rows_in_every_pass():
    rows = np.array(list(_sampler("class_balanced")))
    np.testing.assert_array_equal(np.bincount(IDENTITY[rows[:40]], minlength=10), 4)


def test_pk_keeps_the_rows_of_an_identity_together():
    groups = IDENTITY[np.array(list(_sampler("pk"))).reshape(-1, 4)]
    assert (groups == groups[:, :1]).all()


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_sees_each_row_exactly_once_at_any_world_size(world):
    shares = [list(EvaluationSampler(10, 2, rank, world)) for rank in range(world)]
    assert sorted(row for share in shares for row in share) == list(range(10))
    assert {len(EvaluationSampler(10, 2, rank, world)) for rank in range(world)} == {len(shares[0])}
    assert len(shares[0]) == max(map(len, shares))  # announced everywhere: a process without rows joins in


def test_a_row_has_the_same_neighbors_in_its_evaluation_batch_at_any_world_size():
    alone = [range(0, 4), range(4, 8), range(8, 10)]
    for world in (1, 2, 3):
        shares = [list(EvaluationSampler(10, 4, rank, world)) for rank in range(world)]
        batches = [share[start : start + 4] for share in shares for start in range(0, len(share), 4)]
        assert sorted(batches) == [list(batch) for batch in alone]


def test_a_set_that_is_not_due_yields_nothing():
    assert list(EvaluationSampler(10, 2, due=lambda: False)) == []
