"""Every benchmark, in its own layout, from its files to numbers through the commands."""

import json

import pytest

import benchmark_trees as trees
from ogreid import evaluate, fit, pack
from ogreid.data import Store
from tiny_runs import TINY

OWN = ["data.num_points=256", "data.batch_size=2", "data.sampler=random", "model.num_kept=[64,16]", "loss.name=ce"]
PUBLISHED_POINTS = 300


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
def test_a_benchmark_is_packed_trained_on_and_evaluated(place, name, tree, option):
    source = [name, option, str(tree(place / "tree")), "--allow-count-mismatch", "--workers", "1", "--verify"]
    assert pack.main(source) == 0
    store = Store.open(place / "data" / name)
    assert store.manifest.benchmark == name
    sets = [f"data.train=[{name}]", f"data.test=[{name}]", "trainer.fast_dev_run=true"]
    assert fit.main(["--experiment", "small", *TINY, *OWN, *sets]) == 0
    assert evaluate.main(["--model", "histogram", "--on", name, "--points", "256", "--json", "numbers.json"]) == 0
    numbers = json.loads((place / "numbers.json").read_text())["retrieval"][name]
    assert numbers["queries"] == len(store.split("query"))


def test_a_folder_of_crops_is_evaluated_without_training(place):
    for person in (1, 2, 3):
        for camera in (1, 2):
            trees.image(place / f"crops/{person:04d}_c{camera}_0.jpg", seed=person)
    assert pack.main(["people-folder", "--images", "crops", "--workers", "1", "--verify"]) == 0
    assert evaluate.main(["--model", "histogram", "--on", "people-folder", "--json", "numbers.json"]) == 0
    numbers = json.loads((place / "numbers.json").read_text())["retrieval"]["people-folder"]
    # Both images of a person are the same here, and nobody else's.
    assert numbers["rank1"] == 100 and numbers["queries"] == 6
