"""Every benchmark, in its own layout, from its files to judged numbers through the doors."""

import json

import pytest

import benchmark_trees as trees
from ogreid import evaluate, fit, pack
from ogreid.data import Store

SMALL = [
    "data.num_points=256",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.sampler=random",
    "model.channels=[8,16]",
    "model.num_kept=[64,16]",
    "model.k=4",
    "model.embedding=16",
    "loss.name=ce",
    "evaluation.scales=[1.0]",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.fast_dev_run=true",
    "trainer.enable_progress_bar=false",
    "wandb.mode=disabled",
]
PUBLISHED_POINTS = 300


@pytest.fixture
def data(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/small.yaml").write_text("description: tiny\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OGREID_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def second_version(root):
    return trees.msmt(root, "mask_train_v2", "mask_test_v2")


def published_clouds(root):
    return trees.clouds(root, PUBLISHED_POINTS) / "3DMarket+bg"


@pytest.mark.parametrize(
    ("name", "tree", "option"),
    [
        ("market", trees.market, "--root"),
        ("market", trees.published, "--root"),
        ("market", published_clouds, "--published"),
        ("duke", trees.duke, "--root"),
        ("msmt", trees.msmt, "--root"),
        ("msmt", second_version, "--root"),
        ("cuhk", trees.cuhk, "--root"),
        ("cuhk_labeled", lambda root: trees.cuhk(root / "labeled").parent, "--root"),
    ],
)
def test_a_benchmark_goes_from_its_tree_through_every_door(tmp_path, data, name, tree, option):
    order = [name, option, str(tree(tmp_path / "tree")), "--allow-count-mismatch", "--workers", "1", "--verify"]
    assert pack.main(order) == 0
    assert Store.open(data / name).manifest.benchmark == name
    assert fit.main(["--experiment", "small", f"data.train=[{name}]", f"data.test=[{name}]", *SMALL]) == 0
    judge = ["--model", "histogram", "--on", name, "--points", "256", "--json", str(tmp_path / "judged.json")]
    assert evaluate.main(judge) == 0
    numbers = json.loads((tmp_path / "judged.json").read_text())["retrieval"][name]
    assert numbers["queries"] == len(Store.open(data / name).split("query"))


def test_a_folder_of_crops_is_judged_without_training(tmp_path, data):
    for person in (1, 2, 3):
        for camera in (1, 2):
            trees.image(tmp_path / f"crops/{person:04d}_c{camera}_0.jpg", seed=person)
    pack.main(["people-folder", "--images", str(tmp_path / "crops"), "--workers", "1", "--verify"])
    judge = ["--model", "histogram", "--on", "people-folder", "--json", str(tmp_path / "judged.json")]
    assert evaluate.main(judge) == 0
    numbers = json.loads((tmp_path / "judged.json").read_text())["retrieval"]["people-folder"]
    # Both pictures of a person are the same here, and nobody else's.
    assert numbers["rank1"] == 100 and numbers["queries"] == 6
