"""The paper as data: a run finds the entry that fits it, and runs that differ in one part alone its ablation."""

from pathlib import Path

import pytest

from ogreid import config
from ogreid.reporting.paper import published_for, published_tables
from ogreid.reporting.results import RunResults, ablation_table


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
        ({"model": "ognet_deep", "residual": "none"}, "market", "Table V, without short-cut", (None, 68.49)),
    ],
)
def test_a_run_finds_its_entry(settings, test, source, numbers):
    entry = published_for(experiment(**settings), test)
    assert f"{entry.source} ".startswith(f"{source} ") or entry.source.startswith(f"{source},")
    assert (entry.numbers.get("rank1"), entry.numbers["mAP"]) == numbers


def test_an_ablation_of_which_only_the_difference_is_known_says_so():
    entry = published_for(experiment(loss="ce", last_graph="position"), "market")
    assert entry.source.startswith("Table IV, without appearance") and "1.15 lower" in entry.source
    assert entry.numbers == {}


def test_what_the_paper_does_not_report_is_not_invented():
    for settings, test in (({"loss": "triplet"}, "market"), ({"train": "cuhk"}, "market"), ({}, "winter")):
        assert published_for(experiment(**settings), test) is None


def test_every_entry_of_the_comparison_covers_the_four_benchmarks_in_percent():
    boards = ("market", "duke", "cuhk", "msmt")
    rates = [rate for entry in published_tables()["retrieval"] for on in boards for rate in entry[on]]
    assert len(rates) == 18 * 4 * 2 and all(0 < rate < 100 for rate in rates)


@pytest.mark.parametrize("name", ["market_no_graph", "market_no_gate", "market_position_graph", "market_visible"])
def test_experiments_that_repeat_a_table_find_it(name):
    loaded = config.load(name)
    source = published_for(loaded, loaded.data.train[0]).source
    assert source.split(",")[0] == ("Table I" if name == "market_visible" else "Table IV")


def test_a_difference_is_taken_between_numbers_of_one_kind_only():
    paper, ours = published_for(experiment(), "market"), {"rank1": 90.0, "mAP": 70.0, "mINP": 30.0}
    assert paper.minus(ours, "trapezoid") == pytest.approx({"rank1": 2.2, "mAP": -0.56})
    assert paper.minus(ours, "step") == pytest.approx({"rank1": 2.2})


def run(mean, seed=0, model="ognet", loss="ce", **own):
    settings = {"name": f"n{mean}", "seed": seed, "loss": {"name": loss}, "data": {"train": ["plaza-160"]}}
    experiment = config.from_dict(settings | {"model": {"name": model} | own})
    return RunResults(Path("run"), experiment, {"retrieval": {"plaza-160": {"mAP": mean}}})


def test_a_part_contributes_what_runs_with_it_have_more_than_runs_without():
    narrow = {"channels": [16, 32]}
    groups = [[run(30.0, k=8, **narrow), run(34.0, seed=1, k=8, **narrow)], [run(29.0, k=1, **narrow)]]
    (row,) = ablation_table(groups).rows
    assert row == ["graph (k = 1) against k=8, plaza-160", "29.00", "32.00", "+3.00", "1, 2", "+3.83 (Table IV)"]


def test_the_gate_is_compared_without_a_graph_as_in_the_paper():
    groups = [[run(30.0, k=1)], [run(28.0, k=1, gate=False)], [run(40.0)], [run(39.0, gate=False)]]
    rows = [(row[0], row[2]) for row in ablation_table(groups).rows]
    assert rows == [("graph (k = 1), plaza-160", "40.00"), ("gate, plaza-160", "30.00")]


def test_runs_that_differ_in_more_are_not_compared():
    for other in ({"loss": "circle", "k": 1}, {"k": 1, "gate": False}, {"model": "ognet_small", "k": 1}, {"k": 8}):
        assert ablation_table([[run(30.0)], [run(20.0, **other)]]) is None
