"""The paper as data: entries are whole, and a run finds the one that fits it."""

import pytest

from ogreid import config
from ogreid.reporting.paper import published_for, published_tables


def experiment(train="market", model="ognet", loss="circle", inputs="scene", **own):
    data = {"train": [train], "inputs": inputs}
    return config.from_dict({"data": data, "model": {"name": model, **own}, "loss": {"name": loss}})


@pytest.mark.parametrize(
    ("settings", "test", "source", "numbers"),
    [
        ({}, "market", "Table II", (87.80, 70.56)),
        ({"model": "ognet_small", "loss": "ce"}, "market", "Table II", (86.79, 67.92)),
        ({"train": "cuhk", "model": "ognet_deep"}, "cuhk", "Table II", (49.43, 45.71)),
        ({"train": "msmt", "model": "resnet50", "loss": "ce"}, "msmt", "Table II", (46.88, 22.25)),
        ({"k": 8}, "market", "Table II, network as published", (87.80, 70.56)),
        ({"model": "ognet_small", "loss": "ce", "inputs": "image"}, "market", "Table I", (85.72, 67.28)),
        ({"loss": "ce"}, "duke", "Table III, released weights", (26.5, 13.1)),
        ({"train": "duke"}, "msmt", "Table III, published", (6.8, 1.9)),
        ({"loss": "ce", "k": 1}, "market", "Table IV, without graph (k = 1)", (None, 65.50)),
        ({"loss": "ce", "k": 1, "gate": False}, "market", "Table IV, without gate", (None, 64.65)),
        (
            {"model": "ognet_deep", "residual": "none"},
            "market",
            "Table V, without short-cut of OG-Net-Deep",
            (None, 68.49),
        ),
    ],
)
def test_a_run_finds_its_entry(settings, test, source, numbers):
    entry = published_for(experiment(**settings), test)
    assert (entry.source, entry.numbers.get("rank1"), entry.numbers["mAP"]) == (source, *numbers)


def test_an_ablation_of_which_only_the_difference_is_known_says_so():
    entry = published_for(experiment(loss="ce", last_graph="position"), "market")
    assert entry.source.startswith("Table IV, without appearance") and "1.15 lower" in entry.source
    assert entry.numbers == {}


@pytest.mark.parametrize(
    ("settings", "test"),
    [
        ({"train": "plaza-160"}, "plaza-160"),
        ({"loss": "triplet"}, "market"),
        ({"train": "cuhk"}, "market"),
        ({}, "winter"),
    ],
)
def test_what_the_paper_does_not_report_is_not_invented(settings, test):
    assert published_for(experiment(**settings), test) is None


def test_every_entry_of_the_comparison_covers_the_four_benchmarks_in_percent():
    rates = [
        rate
        for entry in published_tables()["retrieval"]
        for on in ("market", "duke", "cuhk", "msmt")
        for rate in entry[on]
    ]
    assert len(rates) == 18 * 4 * 2 and all(0 < rate < 100 for rate in rates)


@pytest.mark.parametrize("name", ["market_no_graph", "market_no_gate", "market_position_graph", "market_visible"])
def test_experiments_that_repeat_a_table_find_it(name):
    loaded = config.load(name)
    source = published_for(loaded, loaded.data.train[0]).source
    assert source.split(",")[0] == ("Table I" if name == "market_visible" else "Table IV")
    assert loaded.description.rstrip(")").endswith("Table I" if name == "market_visible" else "Tables IV and V")


def test_a_difference_is_taken_between_numbers_of_one_kind_only():
    paper, ours = published_for(experiment(), "market"), {"rank1": 90.0, "mAP": 70.0, "mINP": 30.0}
    assert paper.minus(ours, "trapezoid") == pytest.approx({"rank1": 2.2, "mAP": -0.56})
    assert paper.minus(ours, "step") == pytest.approx({"rank1": 2.2})
