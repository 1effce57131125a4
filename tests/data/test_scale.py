"""Stores far from the usual size: many images of one person, many people, many cameras, clouds of any size.

Memory is compared with what the arrays themselves take, so that a machine's size cannot decide a test.
"""

import tracemalloc

import numpy as np
import pytest

from ogreid.config import Data
from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK, Field, Manifest, make_rows
from ogreid.data.samplers import ORDERS, EvaluationSampler, TrainingSampler
from ogreid.data.store.writing import StoreWriter, write_block

MEBI = 1 << 20


def write(path, identity, camera, split, *, points=64):
    """A store whose clouds name their row."""
    rows = make_rows(split, identity, camera, [f"{i:07d}.jpg" for i in range(len(identity))])
    size = {"points": points, "height": points, "width": 1}
    fields = {"xyz": Field("float16", (points, 3)), "rgb": Field("uint8", (points, 3))}
    plan = Manifest(
        name=path.name, benchmark="folder", mode="raster", order="scattered", background=True, fields=fields, **size
    )
    with StoreWriter(path, plan, rows) as writer:
        for block in writer.pending():
            number = np.arange(block * BLOCK, block * BLOCK + len(writer.of_block(block)))
            shape = (len(number), points, 3)
            xyz = np.broadcast_to((number % 1000 / 1000).astype(np.float16)[:, None, None], shape)
            rgb = np.broadcast_to((number % 251).astype(np.uint8)[:, None, None], shape)
            writer.record(block, write_block(writer.part, block, {"xyz": xyz, "rgb": rgb}))
        return writer.finish()


def peak(work):
    """What ``work`` gives, and the MiB of Python's and numpy's memory that it took at most."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1] / MEBI
    finally:
        tracemalloc.stop()


def epoch(identity, order, *, world=1, batch=32):
    samplers = [
        TrainingSampler(identity, ORDERS[order], per_identity=4, batch=batch, seed=0, rank=rank, world=world)
        for rank in range(world)
    ]
    return np.concatenate([np.fromiter(one, dtype=np.int64) for one in samplers])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("people", "each"),
    [(1, 10_000), (1_000, 2), pytest.param(100_000, 2, marks=pytest.mark.thorough)],
)
def test_every_order_draws_an_epoch_of_one_person_or_of_very_many(order, people, each):
    identity = np.repeat(np.arange(people), each)
    watched = people * each <= 10_000  # watching every allocation takes ten times as long
    drawn, memory = peak(lambda: epoch(identity, order, world=2)) if watched else (epoch(identity, order, world=2), 0)
    assert len(drawn) == len(identity) // 64 * 64
    assert drawn.min() >= 0 and drawn.max() < len(identity)
    if order == "shuffle":
        assert len(np.unique(drawn)) == len(drawn)
    if order == "identity" and each > 1:
        groups = identity[drawn].reshape(-1, 4)
        assert (groups == groups[:, :1]).all()
    assert memory < 16 + 400 * len(identity) / MEBI  # bytes for each row


def test_an_evaluation_of_a_million_rows_is_dealt_out_without_a_list_of_them():
    sampler = EvaluationSampler(1_000_000, 64, rank=1, world=3)
    first, memory = peak(lambda: next(iter(sampler)))
    assert first == 64 and memory < 4


@pytest.mark.parametrize(
    ("people", "each", "cameras"),
    [(1, 2_000, 2), (2_000, 1, 1_000), pytest.param(1, 10_000, 6, marks=pytest.mark.thorough)],
)
def test_a_store_of_one_person_or_of_a_thousand_cameras_is_packed_opened_and_read(tmp_path, people, each, cameras):
    identity = np.repeat(np.arange(1, people + 1), each).tolist()
    camera = [i % cameras + 1 for i in range(len(identity))]
    split = [("train", "query", "gallery")[i % 3] for i in range(len(identity))]
    store = write(tmp_path / "large", identity, camera, split)
    assert len(store.manifest.cameras) == cameras and sum(store.manifest.splits.values()) == len(store)
    wanted = np.random.default_rng(0).permutation(len(store))[:64]
    (xyz, rgb), memory = peak(lambda: store.raw(wanted))
    np.testing.assert_array_equal(rgb[:, 0, 0], wanted % 251)
    assert memory < 3 * (xyz.nbytes + rgb.nbytes) / MEBI + 1
    store.verify()


@pytest.mark.thorough
def test_a_store_of_a_hundred_thousand_people_opens_in_the_memory_of_its_rows(tmp_path):
    people = 100_000
    identity = list(range(people))
    write(tmp_path / "large", identity, [1 + i % 9 for i in identity], ["train"] * people, points=4)
    store, memory = peak(lambda: Store.open(tmp_path / "large"))
    assert store.manifest.identities == {"train": people}
    rows = store.rows.nbytes / MEBI
    assert memory < 12 * rows + 4, f"{memory:.0f} MiB for {rows:.0f} MiB of rows"


@pytest.mark.parametrize("points", [64, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_clouds_of_any_size_come_back_and_only_the_batch_is_in_memory(tmp_path, points):
    store = write(tmp_path / "large", [1] * 300, [1] * 300, ["train"] * 300, points=points)
    (xyz, rgb), memory = peak(lambda: store.clouds([299, 3]))
    np.testing.assert_array_equal(np.unique(rgb[0]), np.float32(299 % 251) / np.float32(255))
    assert xyz.shape == (2, points, 3) and memory < 3 * (xyz.nbytes + rgb.nbytes) / MEBI + 1


@pytest.mark.parametrize(("height", "width"), [(8, 8), pytest.param(400, 250, marks=pytest.mark.thorough)])
def test_a_crop_of_64_or_of_100_000_pixels_is_lifted(height, width):
    from ogreid.lifting import lift, upright_template

    points, body = height * width, upright_template()
    crop = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    lift(crop, body)  # compiles
    cloud, memory = peak(lambda: lift(crop, body))
    assert cloud.shape == (points, 6) and np.isfinite(cloud).all()
    assert memory < 400 * points / MEBI + 4


@pytest.mark.parametrize(
    ("people", "each", "cameras"),
    [
        (40, 2, 1_000),
        pytest.param(1, 10_000, 2, marks=pytest.mark.thorough),
        pytest.param(50_000, 2, 6, marks=pytest.mark.thorough),
    ],
)
def test_the_data_module_deals_out_batches_of_any_such_store(tmp_path, people, each, cameras):
    from ogreid.data.module import ReIDDataModule

    identity = np.repeat(np.arange(1, people + 1), each).tolist() * 2
    half = len(identity) // 2
    split = ["train"] * half + ["query", "gallery"] * (half // 2)
    write(tmp_path / "large", identity, [i % cameras + 1 for i in range(len(identity))], split)
    data = Data(root=str(tmp_path), train=["large"], retrieval=["large"], points=32, batch=16, workers=0)
    module = ReIDDataModule(data)
    _, memory = peak(lambda: module.setup("fit"))
    assert module.identities == people
    assert memory < 600 * len(identity) / MEBI + 8
    batch = next(iter(module.train_dataloader()))
    assert batch.xyz.shape[0] == 16
    judged = next(iter(module.val_dataloader()[0]))
    assert judged.xyz.shape[1] == 64
