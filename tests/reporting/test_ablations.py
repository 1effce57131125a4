"""What a part is worth: only runs that differ in that part alone are laid beside each other."""

from pathlib import Path

import pytest

from ogreid.reporting.ablations import ablation_html, parts_worth
from ogreid.reporting.reading import RunRecord


def run(mean, seed=0, model="ognet", loss="ce", **own):
    settings = {"name": f"n{mean}", "seed": seed, "loss": {"name": loss}, "data": {"train": ["plaza-160"]}}
    found = {"retrieval": {"plaza-160": {"mAP": mean}}}
    return RunRecord(Path("run"), settings | {"model": {"name": model, "gate": None} | own}, found, {})


def test_a_part_is_worth_what_runs_with_it_have_more_than_runs_without():
    narrow = {"widths": [16, 32]}
    groups = [[run(30.0, k=8, **narrow), run(34.0, seed=1, k=8, **narrow)], [run(29.0, k=1, **narrow)]]
    (graph,) = parts_worth(groups)
    assert (graph.part, graph.table, graph.on) == ("graph (k = 1) against k=8", "IV", "plaza-160")
    assert (graph.without, graph.with_it, graph.runs) == (29.0, 32.0, (1, 2))
    assert graph.published == pytest.approx(69.33 - 65.50)
    assert "+3.00" in ablation_html(groups) and "+3.83 (Table IV)" in ablation_html(groups)


def test_the_gate_is_weighed_without_a_graph_as_in_the_paper():
    groups = [[run(30.0, k=1)], [run(28.0, k=1, gate=False)], [run(40.0)], [run(39.0, gate=False)]]
    assert [(worth.part, worth.with_it) for worth in parts_worth(groups)] == [("graph (k = 1)", 40.0), ("gate", 30.0)]


@pytest.mark.parametrize(
    "other",
    [run(20.0, loss="circle", k=1), run(20.0, k=1, gate=False), run(20.0, model="ognet_small", k=1), run(20.0, k=8)],
)
def test_runs_that_differ_in_more_are_not_compared(other):
    assert parts_worth([[run(30.0)], [other]]) == [] and ablation_html([[run(30.0)], [other]]) == ""
