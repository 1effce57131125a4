"""What a part contributes: only runs that differ in that part alone are compared."""

from pathlib import Path

import pytest

from ogreid import config
from ogreid.reporting.results import RunResults, ablation_table


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


@pytest.mark.parametrize(
    "other",
    [run(20.0, loss="circle", k=1), run(20.0, k=1, gate=False), run(20.0, model="ognet_small", k=1), run(20.0, k=8)],
)
def test_runs_that_differ_in_more_are_not_compared(other):
    assert ablation_table([[run(30.0)], [other]]) is None
