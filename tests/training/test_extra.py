"""What lifting knows of a point reaches a network that names it, from stores and images; elsewhere it is refused."""

import numpy as np
import pytest
import torch

from conftest import make_place
from crop_folders import STORE, write_crops
from ogreid import Extractor, ReIDDataModule, ReIDModule, pack
from ogreid.data import Store
from ogreid.data.batch import CloudBatch
from ogreid.data.datasets.crops import crop_dataset, find_images
from ogreid.data.transforms import mirror
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.models.summary import count_flops
from ogreid.runs import STAMP
from ogreid.training.inference import Network, embed, embed_store, evaluate
from ogreid.training.views import embed_batch
from tiny_runs import fit_tiny

SMALL = {"channels": [4, 6], "blocks": [1, 1], "embedding": 8, "pixels": ["foreground", "normal"]}


@pytest.fixture(scope="module")
def lifted(tmp_path_factory):
    """A folder with ``images``, packed with what a network of pixels needs, and without."""
    folder = tmp_path_factory.mktemp("lifted")
    images = write_crops(folder / "images")
    where = ["--images", str(images), "--data", str(folder / "data"), "--workers", "1"]
    assert pack.main([STORE, *where, "--extra", "foreground", "--extra", "normal"]) == 0
    assert pack.main(["plain", *where]) == 0
    return folder


@pytest.fixture
def network():
    torch.manual_seed(0)
    module = ReIDModule("lifted_resnet", model_options=SMALL, loss="ce", scales=(1.0,), mirror=True).eval()
    return Network("small", module, {"inputs": "crop"})


def test_a_run_trains_evaluates_and_reports_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(make_place(tmp_path, tiny={"extra": ("foreground", "normal")}))
    monkeypatch.delenv(STAMP, raising=False)
    pixels = ["model.name=lifted_resnet", "model.pixels=[depth,foreground,normal]", "data.inputs=crop"]
    small = ["model.channels=[4,6]", "model.blocks=[1,1]", "model.parts=2", "model.options.crop=[16,16]"]
    run = fit_tiny("model.num_kept=null", "model.k=null", *pixels, *small, "trainer.max_epochs=2")
    assert run.summary()["retrieval"]["tiny"]["queries"] == 8
    assert count_flops(build_model("lifted_resnet", pixels=["normal"])) > count_flops(build_model("lifted_resnet"))


def test_images_are_lifted_with_what_the_network_needs(lifted, network):
    stored = embed_store(network, Store.open(lifted / "data" / STORE))
    images = embed(network, crop_dataset(find_images([lifted / "images"])))
    np.testing.assert_allclose(images.embedding, stored.embedding[np.argsort(stored.source)], atol=1e-5)


def test_a_store_without_it_is_refused_before_anything_is_computed(lifted, network):
    with pytest.raises(InputError, match=r"plain: stores no 'foreground', only xyz, rgb; pack with --extra foreground"):
        evaluate(network, ["plain"], lifted / "data")


def test_a_network_on_crops_of_unknown_size_sees_no_mirror(network):
    network.module.network.crop = None
    pixels = torch.zeros(2, 8192, 3)
    batch = CloudBatch(pixels, pixels, *torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="needs its attribute crop"):
        embed_batch(network.module.network, batch, mirror=True)


def test_the_extractor_takes_the_network_that_ships_and_one_that_needs_more(monkeypatch, network):
    crops = [np.full((40, 30, 3), 90, np.uint8), np.full((128, 64, 3), 200, np.uint8)]
    assert Extractor()(crops).shape == (2, 256)
    monkeypatch.setattr("ogreid.training.extractor.load_network", lambda: network)
    assert Extractor()(crops).shape == (2, 8)


def test_a_mirrored_view_is_added_and_turns_what_it_must(lifted, network):
    data = ReIDDataModule(lifted / "data", train=(), test=STORE, inputs="crop", num_workers=0)
    data.setup("test")
    data.require(["foreground", "normal"])
    batch: CloudBatch = data.on_after_batch_transfer(next(iter(data.test_dataloader()[0])), 0)
    module = network.module
    with torch.no_grad():
        both = module.validation_step(batch, 0)
        one, other = (module.network(view.xyz, view.rgb, **view.extra) for view in (batch, mirror(batch, 64)))
        torch.testing.assert_close(both, torch.nn.functional.normalize(one + other), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(one, other)
        assert torch.equal(embed_batch(module.network, batch, (1.0,), mirror=True), both)
