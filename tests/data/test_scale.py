"""Stores far from the usual size: many images of one person, many people, many cameras, clouds of any size.

Memory is compared with what the arrays themselves take, so that a machine's size cannot decide a test.
"""

import tracemalloc

import numpy as np
import pytest

from ogreid.data import Store
from ogreid.data.samplers import EvaluationSampler, TrainingSampler
from ogreid.registry import SAMPLERS, resolve
from small_stores import small_rows, small_store

MEBI = 1 << 20


def write(path, identity, cameras=2, split=None, points=64):
    """A store whose colors name the row; its arrays are never in memory."""
    numbers = np.arange(len(identity))
    rows = small_rows(len(identity), identity.tolist(), (numbers % cameras + 1).tolist(), split)
    shape = (len(identity), points, 3)
    xyz = np.broadcast_to((numbers % 1000 / 1000).astype(np.float16)[:, None, None], shape)
    rgb = np.broadcast_to((numbers % 251).astype(np.uint8)[:, None, None], shape)
    return small_store(path, rows, {"xyz": xyz, "rgb": rgb})


def peak(work):
    """The result of ``work``, and the MiB of Python's and numpy's memory that it took at most."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1] / MEBI
    finally:
        tracemalloc.stop()


def epoch(identity, order):
    options = {"num_instances": 4, "batch_size": 32, "seed": 0, "world": 2}
    chosen = resolve("sampler", SAMPLERS, order)
    shares = [list(TrainingSampler(identity, chosen, rank=rank, **options)) for rank in range(2)]
    return np.concatenate(shares)


@pytest.mark.parametrize("order", SAMPLERS)
@pytest.mark.parametrize(
    ("people", "each"), [(1, 10_000), (1_000, 2), pytest.param(100_000, 2, marks=pytest.mark.thorough)]
)
def test_every_order_draws_an_epoch_of_one_person_or_of_very_many(order, people, each):
    identity = np.repeat(np.arange(people), each)
    measured = people * each <= 10_000  # tracing every allocation takes ten times as long
    drawn, memory = peak(lambda: epoch(identity, order)) if measured else (epoch(identity, order), 0)
    assert len(drawn) == len(identity) // 64 * 64
    assert drawn.min() >= 0 and drawn.max() < len(identity)
    assert memory < 16 + 400 * len(identity) / MEBI  # bytes for each row


def test_an_evaluation_of_a_million_rows_is_divided_without_a_list_of_them():
    sampler = EvaluationSampler(1_000_000, 64, rank=1, world=3)
    first, memory = peak(lambda: next(iter(sampler)))
    assert first == 64 and memory < 4


@pytest.mark.parametrize(
    ("people", "each", "cameras", "points"),
    [
        (1, 2_000, 2, 64),
        (2_000, 1, 1_000, 64),
        pytest.param(1, 10_000, 6, 64, marks=pytest.mark.thorough),
        pytest.param(1, 300, 2, 100_000, marks=pytest.mark.thorough),
    ],
)
def test_a_store_of_any_size_is_packed_opened_and_read_batch_by_batch(tmp_path, people, each, cameras, points):
    store = write(tmp_path / "large", np.repeat(np.arange(1, people + 1), each), cameras, points=points)
    assert len(store.manifest.cameras) == cameras and sum(store.manifest.splits.values()) == len(store)
    indices = np.random.default_rng(0).permutation(len(store))[: 64 * 64 // points + 2]
    (xyz, rgb), memory = peak(lambda: store.raw(indices))
    np.testing.assert_array_equal(rgb[:, 0, 0], indices % 251)
    assert xyz.shape == (len(indices), points, 3)
    assert memory < 3 * (xyz.nbytes + rgb.nbytes) / MEBI + 1
    store.verify()


@pytest.mark.thorough
def test_a_store_of_a_hundred_thousand_people_opens_in_the_memory_of_its_rows(tmp_path):
    write(tmp_path / "large", np.arange(100_000), 9, ["train"] * 100_000, points=4)
    store, memory = peak(lambda: Store.open(tmp_path / "large"))
    assert store.manifest.identities == {"train": 100_000}
    rows = store.rows.nbytes / MEBI
    assert memory < 12 * rows + 4, f"{memory:.0f} MiB for {rows:.0f} MiB of rows"
