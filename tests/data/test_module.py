"""The data module: identities apart, rows exactly once, batches that depend on the seed alone."""

import numpy as np
import pytest
import torch

from ogreid.config import Augmentation
from ogreid.data.module import ReIDDataModule
from ogreid.data.store.mapped import scattered
from ogreid.data.transforms import Draws, to_crops
from ogreid.errors import InputError


@pytest.fixture
def data(stores, tmp_path):
    stores("one", seed=1, extra=("foreground", "normal"))
    stores("two", identities=6, seed=2)
    stores("more", identities=6, seed=3, extra=("foreground", "normal"))

    def make(**changes):
        settings = {"train": "one", "test": ["one"], "num_points": 64, "batch_size": 4, "num_workers": 0} | changes
        module = ReIDDataModule(tmp_path / "data", **settings, seed=5)
        module.setup("fit")
        return module

    return make


def test_batches_carry_what_a_network_needs_and_a_store_without_it_is_refused(data):
    module = data()
    module.require(["normal", "foreground"])
    clouds = module.train_set
    batch = next(iter(module.train_dataloader()))
    assert {name: array.shape for name, array in batch.extra.items()} == {
        "normal": (4, 256, 3),
        "foreground": (4, 256, 1),
    }
    rows = clouds.row[batch.index.numpy()]
    np.testing.assert_array_equal(batch.extra["normal"], clouds.stores[0].field("normal", rows))
    assert all("normal" in one.extra for loader in module.val_dataloader() for one in loader)
    with pytest.raises(InputError, match=r"two.*normal.*--extra normal"):
        data(test=["one", "two"]).require(["normal"])


def test_identities_of_two_stores_stay_apart_and_count_from_zero(data):
    module = data(train=["one", "two"])
    assert module.num_identities == 4 + 3
    assert sorted(set(module.train_set.identity)) == list(range(7))
    first = module.train_set.store == 0
    assert set(module.train_set.identity[first]).isdisjoint(module.train_set.identity[~first])


def test_a_batch_over_two_stores_holds_the_requested_rows(data):
    module = data(train=["one", "two"])
    clouds = module.train_set
    rows = [len(clouds) - 1, 0, len(clouds) - 2, 3]
    batch = clouds.__getitems__(rows)
    for place, row in enumerate(rows):
        store = clouds.stores[clouds.store[row]]
        xyz, rgb = store.raw([clouds.row[row]])
        np.testing.assert_array_equal(batch.xyz[place], xyz[0])
        np.testing.assert_array_equal(batch.rgb[place], rgb[0])
        assert batch.camera[place] == store.rows["camera"][clouds.row[row]]
    assert batch.index.tolist() == rows


def test_an_evaluation_set_gives_queries_first_and_each_row_once(data):
    module = data(test=["one"], transfer=["two"], eval_batch_size=3)
    one, two = module.evaluation_sets
    assert (one.num_queries, one.num_gallery, one.transfer) == (8, 8, False)
    assert (two.num_queries, two.num_gallery, two.transfer) == (6, 6, True)
    for loader, evaluated in zip(module.val_dataloader(), module.evaluation_sets, strict=True):
        batches = list(loader)
        index = torch.cat([b.index for b in batches])
        assert index.tolist() == list(range(len(evaluated.rows)))
        assert set(evaluated.store.rows["split"][evaluated.rows[: evaluated.num_queries]]) == {"query"}
        identity = torch.cat([b.identity for b in batches])
        np.testing.assert_array_equal(identity, evaluated.store.rows["identity"][evaluated.rows])


@pytest.mark.parametrize(
    "changes", [{"train": ["one", "more"]}, {"inputs": "crop"}, {"sampler": "pk", "num_points": 256}]
)
def test_a_set_resident_on_the_device_gives_the_same_bits_as_one_that_is_read(data, changes):
    def batches(module):
        module.require(["normal"])
        loaders = [module.train_dataloader(), *module.val_dataloader()]
        served = [batch for loader in loaders for batch in loader]
        return served + [module.on_after_batch_transfer(batch, 0) for batch in served]

    resident, read = (batches(data(resident=on_device, num_workers=0, **changes)) for on_device in (True, False))
    assert len(resident) == len(read) > 2
    for one, other in zip(resident, read, strict=True):
        pairs = zip((*one[:5], *one.extra.values()), (*other[:5], *other.extra.values()), strict=True)
        assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_a_set_resident_on_the_device_is_read_once_and_by_no_worker(data, monkeypatch):
    module = data(resident=True, num_workers=2)
    loader = module.train_dataloader()
    list(loader)
    monkeypatch.setattr("ogreid.data.store.mapped.Store.field", None)
    assert loader.num_workers == 0
    assert len(list(loader)) == len(loader)


def test_crops_are_served_row_by_row_and_mirrored_by_their_columns(data):
    module = data(inputs="crop")
    clouds = module.train_set
    batch = module.on_after_batch_transfer(clouds.__getitems__([0, 1]), 0)
    picture = clouds.stores[0].crop(int(clouds.row[0]))
    np.testing.assert_allclose(batch.rgb[0].view(16, 16, 3), picture / 255 - 0.5, atol=1e-6)
    pixels = torch.from_numpy(np.argsort(scattered(256)))
    mirrored = (
        to_crops(clouds.__getitems__([0, 1]), pixels, 16, Augmentation(mirror=1), Draws(torch.Generator()))
        .rgb[0]
        .view(16, 16, 3)
    )
    np.testing.assert_allclose(mirrored, picture[:, ::-1] / 255 - 0.5, atol=1e-6)


def test_an_image_in_space_has_no_depth(data):
    module = data(inputs="image")
    seen = module.on_after_batch_transfer(module.train_set.__getitems__([0]), 0)
    assert seen.xyz[..., 2].abs().max() == 0
    assert seen.xyz[..., :2].std() > 0.01


def test_density_is_a_fraction_of_the_stored_points(data):
    assert data(density=0.5).num_points(256) == 128
    assert data(num_points=99).num_points(256) == 99


def test_a_transfer_set_that_is_trained_on_is_refused():
    for name in ("one", "./one"):
        with pytest.raises(InputError, match="is trained on, too"):
            ReIDDataModule("data", train=["one", "two"], test="two", transfer=[name])
