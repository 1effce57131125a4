"""The data module: identities apart, rows exactly once, batches that depend on the seed alone."""

import numpy as np
import pytest
import torch

from ogreid.config import Data
from ogreid.data.module import ReIDDataModule
from ogreid.data.transforms import Draws, to_crops
from ogreid.errors import InputError


@pytest.fixture
def data(stores, tmp_path):
    stores("one", seed=1)
    stores("two", identities=6, seed=2)

    def make(**how):
        settings = {"train": ["one"], "retrieval": ["one"], "points": 64, "batch": 4, "workers": 0} | how
        module = ReIDDataModule(Data(root=str(tmp_path / "data"), **settings), seed=5)
        module.setup("fit")
        return module

    return make


def test_identities_of_two_stores_stay_apart_and_count_from_zero(data):
    module = data(train=["one", "two"])
    assert module.identities == 4 + 3
    assert sorted(set(module.train_set.identity)) == list(range(7))
    first = module.train_set.store == 0
    assert set(module.train_set.identity[first]).isdisjoint(module.train_set.identity[~first])


def test_a_batch_over_two_stores_holds_the_rows_that_were_asked_for(data):
    module = data(train=["one", "two"])
    clouds = module.train_set
    wanted = [len(clouds) - 1, 0, len(clouds) - 2, 3]
    batch = clouds.__getitems__(wanted)
    for place, row in enumerate(wanted):
        store = clouds.stores[clouds.store[row]]
        xyz, rgb = store.raw([clouds.row[row]])
        np.testing.assert_array_equal(batch.xyz[place], xyz[0])
        np.testing.assert_array_equal(batch.rgb[place], rgb[0])
        assert batch.camera[place] == store.rows["camera"][clouds.row[row]]
    assert batch.index.tolist() == wanted


def test_a_judged_set_gives_queries_first_and_each_row_once(data):
    module = data(retrieval=["one"], transfer=["two"], evaluation_batch=3)
    one, two = module.retrieval_sets
    assert (one.queries, one.gallery, one.transfer) == (8, 8, False)
    assert (two.queries, two.gallery, two.transfer) == (6, 6, True)
    for loader, judged in zip(module.val_dataloader(), module.retrieval_sets, strict=True):
        batches = list(loader)
        index = torch.cat([b.index for b in batches])
        assert index.tolist() == list(range(len(judged.rows)))
        assert set(judged.store.rows["split"][judged.rows[: judged.queries]]) == {"query"}
        identity = torch.cat([b.identity for b in batches])
        np.testing.assert_array_equal(identity, judged.store.rows["identity"][judged.rows])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(data, workers):
    def epoch(module):
        return [batch.index.tolist() for batch in module.train_dataloader()]

    assert epoch(data(workers=workers)) == epoch(data(workers=0))


@pytest.mark.parametrize(
    "how", [{"train": ["one", "two"]}, {"inputs": "crop"}, {"sampling": "identity", "points": 256}]
)
def test_a_set_held_on_the_device_gives_the_same_bits_as_one_that_is_read(data, how):
    def batches(module):
        loaders = [module.train_dataloader(), *module.val_dataloader()]
        served = [batch for loader in loaders for batch in loader]
        return served + [module.on_after_batch_transfer(batch, 0) for batch in served]

    held, read = (batches(data(resident=resident, workers=0, **how)) for resident in (True, False))
    assert len(held) == len(read) > 2
    for one, other in zip(held, read, strict=True):
        assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_set_held_on_the_device_is_read_once_and_by_no_worker(data, monkeypatch):
    module = data(resident=True, workers=2)
    loader = module.train_dataloader()
    list(loader)
    monkeypatch.setattr("ogreid.data.store.reading.Store.raw", None)
    assert loader.num_workers == 0
    assert len(list(loader)) == len(loader)


def test_crops_are_served_row_by_row_and_mirrored_by_their_columns(data):
    module = data(inputs="crop")
    clouds = module.train_set
    batch = module.on_after_batch_transfer(clouds.__getitems__([0, 1]), 0)
    picture = clouds.stores[0].picture(int(clouds.row[0]))
    np.testing.assert_allclose(batch.rgb[0].view(16, 16, 3), picture / 255 - 0.5, atol=1e-6)
    pixels, width = module._pixels()
    mirrored = (
        to_crops(clouds.__getitems__([0, 1]), pixels, width, 1.0, Draws(torch.Generator())).rgb[0].view(16, 16, 3)
    )
    np.testing.assert_allclose(mirrored, picture[:, ::-1] / 255 - 0.5, atol=1e-6)


def test_an_image_in_space_has_no_depth(data):
    module = data(inputs="image")
    seen = module.on_after_batch_transfer(module.train_set.__getitems__([0]), 0)
    assert seen.xyz[..., 2].abs().max() == 0
    assert seen.xyz[..., :2].std() > 0.01


def test_density_is_a_fraction_of_the_stored_points(data):
    assert data(density=0.5).points == 128
    assert data(points=99).points == 99


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"points": 300}, "one: 300 points asked, each cloud has 256; set data.num_points or data.density lower"),
        ({"batch": 99}, "one: 16 training clouds do not fill one batch of 99 on 1 process"),
        ({"retrieval": ["onne"]}, "no store onne in .*did you mean one?"),
        ({"retrieval": ["market"]}, "no packed market in .*; make it: python -m ogreid.pack market --root DIR"),
    ],
)
def test_what_cannot_be_served_is_said(data, how, message):
    with pytest.raises(InputError, match=message):
        module = data(**how)
        assert module.points and module.train_dataloader()
