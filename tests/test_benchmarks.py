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
