"""The paper as data: entries are whole, and a run finds the one that fits it."""

import pytest

from ogreid import config
from ogreid.reporting.paper import published_for, published_tables


def experiment(train="market", model="ognet", loss="circle", inputs="scene", **own):
    data = {"train": [train], "inputs": inputs}
    return config.from_dict({"data": data, "model": {"name": model, **own}, "loss": {"name": loss}})


@pytest.mark.parametrize(
    ("settings", "on", "rank1", "mean"),
    [
        ({}, "market", 87.80, 70.56),
        ({"model": "ognet_small", "loss": "ce"}, "market", 86.79, 67.92),
        ({"train": "cuhk", "model": "ognet_deep"}, "cuhk", 49.43, 45.71),
        ({"train": "msmt", "model": "resnet50", "loss": "ce"}, "msmt", 46.88, 22.25),
        ({"model": "ognet_small", "loss": "ce", "inputs": "image"}, "market", 85.72, 67.28),
        ({"loss": "ce"}, "duke", 26.5, 13.1),
        ({"train": "duke"}, "msmt", 6.8, 1.9),
    ],
)
def test_a_run_finds_its_entry(settings, on, rank1, mean):
    found = published_for(experiment(**settings), on)
    assert (found.rank1, found.mean_average_precision) == (rank1, mean)


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({"train": "plaza-160"}, "plaza-160"),
        ({"loss": "triplet"}, "market"),
        ({"train": "cuhk"}, "market"),
        ({}, "winter-40"),
    ],
)
def test_what_the_paper_does_not_say_is_not_made_up(settings, on):
    assert published_for(experiment(**settings), on) is None


def test_every_entry_of_the_comparison_table_covers_the_four_benchmarks_in_percent():
    entries = published_tables()["retrieval"]
    assert len(entries) == 18
    for entry in entries:
        for benchmark in ("market", "duke", "cuhk", "msmt"):
            rank1, mean = entry[benchmark]
            assert 0 < mean < 100
            assert 0 < rank1 < 100


@pytest.mark.parametrize(
    ("settings", "table", "mean"),
    [
        ({"loss": "ce", "k": 1}, "Table IV, without graph", 65.50),
        ({"loss": "ce", "k": 1, "gate": False}, "Table IV, without gate", 64.65),
        ({"loss": "ce", "last_graph": "position"}, "Table IV, without appearance", None),
        ({"model": "ognet_deep", "residual": "none"}, "Table V, without short-cut", 68.49),
        ({"k": 8}, "Table II, network as published", 70.56),
    ],
)
def test_a_network_of_its_own_is_laid_beside_the_ablation_it_repeats(settings, table, mean):
    found = published_for(experiment(**settings), "market")
    assert found.source.startswith(table)
    assert found.numbers().get("mAP") == mean


@pytest.mark.parametrize("name", ["market_no_graph", "market_no_gate", "market_position_graph", "market_visible"])
def test_experiments_that_repeat_a_table_find_it(name):
    loaded = config.load(name)
    source = published_for(loaded, loaded.data.train[0]).source
    assert source.split(",")[0] == ("Table I" if name == "market_visible" else "Table IV")
    assert loaded.description.rstrip(")").endswith("Table I" if name == "market_visible" else "Tables IV and V")


def test_a_difference_is_taken_between_numbers_of_one_kind_only():
    paper = published_for(experiment(), "market")
    ours = {"rank1": 90.0, "mAP": 70.0, "mINP": 30.0}
    assert paper.minus(ours, "trapezoid") == pytest.approx({"rank1": 2.2, "mAP": -0.56})
    assert paper.minus(ours, "step") == pytest.approx({"rank1": 2.2})
