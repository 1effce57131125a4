"""A sweep: seeds merged, a table, and charts whose points lie where the numbers are."""

import json
import re

import pytest

from ogreid.errors import InputError
from ogreid.reporting import density_figure, read_sweep, sweep_figures, sweep_table
from sweeping_files import make_sweep

SEEDS = [{"model.k": k, "seed": seed, "level": level + seed} for k, level in ((4, 20), (16, 30)) for seed in (0, 2)]
LEFT, RIGHT = 46, 408  # pixels of a chart's axes
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


def markers(svg):
    """Tooltip -> x of its marker."""
    return {note: float(x) for x, note in re.findall(r'<use [^>]* x="([\d.]+)"[^>]*><title>([^<]+)<', svg)}


def figures(folder, rows, **options):
    return sweep_figures(read_sweep(make_sweep(folder, rows, **options)))


def test_runs_that_differ_in_the_seed_alone_are_one_row_with_mean_and_spread(tmp_path):
    record = read_sweep(make_sweep(tmp_path / "k", SEEDS, transfer="winter-8"))
    settings = [(setting.parameters, setting.runs) for setting in record.settings]
    assert settings == [({"model.k": 4}, 2), ({"model.k": 16}, 2)]
    assert record.settings[0].numbers["plaza-8"]["mAP"] == (21, pytest.approx(2**0.5))
    table = sweep_table(record)
    assert table.heads[:5] == ["model.k", "runs", "plaza-8 rank-1", "plaza-8 mAP", "winter-8 (transfer) rank-1"]
    assert table.rows[0][:4] == ("4", "2", f"31.50 {PLUS_MINUS} 2.12", f"21.00 {PLUS_MINUS} 1.41")
    assert len({len(line) for line in table.markdown().splitlines()}) == 1


def test_a_set_on_which_one_run_was_trained_is_no_transfer_set_of_the_sweep(tmp_path):
    folder = make_sweep(tmp_path / "t", [{"experiment": "a", "level": 20.0}, {"experiment": "b", "level": 30.0}])
    content = json.loads((folder / "sweep.json").read_text())
    own, other = (run["retrieval"]["plaza-8"] for run in content["runs"])
    content["runs"][0] |= {"retrieval": {"plaza-8": own}, "transfer": {"winter-8": other, "transit-8": other}}
    content["runs"][1] |= {"retrieval": {"winter-8": own}, "transfer": {"plaza-8": other, "transit-8": other}}
    (folder / "sweep.json").write_text(json.dumps(content))
    assert list(read_sweep(folder).sets.values()) == ["plaza-8", "winter-8", "transit-8 (transfer)"]


def test_a_single_run_has_no_spread_and_the_paper_stands_beside(tmp_path):
    numbers = {"market_ce": (60.0, {"rank1": 86.82, "mAP": 69.02}), "market_no_graph": (50.0, {"mAP": 65.5})}
    rows = [{"experiment": key, "level": own, "published": {"market": one}} for key, (own, one) in numbers.items()]
    record = read_sweep(make_sweep(tmp_path / "ablation", rows, on="market"))
    table = sweep_table(record)
    assert table.heads[2:] == ["market rank-1", "market mAP", "paper, market rank-1", "paper, market mAP"]
    assert table.rows[0] == ("market_ce", "1", "90.00", "60.00", "86.82", "69.02")
    assert table.rows[1] == ("market_no_graph", "1", "75.00", "50.00", "\N{EN DASH}", "65.50")
    (chart,) = sweep_figures(record).values()
    assert [entry.name for entry in chart.legend] == ["market", "paper, market"]
    bars = ["market_ce: market 60.0, paper, market 69.0", "market_no_graph: market 50.0, paper, market 65.5"]
    assert chart.description == "; ".join(bars)


def test_k_is_drawn_by_doublings_with_a_line_for_each_data_set_and_whiskers(tmp_path):
    rows = [{"model.k": k, "seed": s, "level": 20.0 + s} for k in (1, 4, 64) for s in (0, 1)]
    charts = figures(tmp_path / "k", rows, transfer="winter-8")
    assert list(charts) == ["plot"]
    svg = charts["plot"].svg()
    places = markers(svg)
    thirds = [LEFT, (2 * LEFT + RIGHT) / 3, RIGHT]
    assert [places[f"plaza-8: 20.5 at {k}"] for k in (1, 4, 64)] == pytest.approx(thirds, abs=0.1)
    assert len(places) == 6 and "winter-8 (transfer): 10.2 at 64" in places
    assert svg.count("stroke: var(--ink); stroke-width: 1.3") == 6


def test_a_second_parameter_makes_the_lines_and_each_data_set_a_chart(tmp_path):
    rows = [{"model.k": k, "data.density": d, "level": 20.0 + k * d} for k in (4, 8, 16) for d in (0.25, 1.0)]
    charts = figures(tmp_path / "kd", rows, transfer="winter-8")
    assert list(charts) == ["plot-plaza-8", "plot-winter-8"]
    assert [entry.name for entry in charts["plot-plaza-8"].legend] == ["density 0.25", "density 1.0"]
    assert len(markers(charts["plot-plaza-8"].svg())) == 6


def test_the_papers_two_numbers_stand_beside_k_on_its_own_benchmark(tmp_path):
    rows = [{"model.k": k, "level": 60.0} for k in (1, 20)]
    own, other = (figures(tmp_path / on, rows, on=on)["plot"].legend for on in ("market", "plaza-8"))
    assert [(entry.dashed, entry.value) for entry in own] == [(False, ""), (True, "65.5"), (True, "69.3")]
    assert [entry.dashed for entry in other] == [False]


def test_the_density_of_training_is_marked():
    rows = [{"density": d, "retrieval": {"plaza-8": {"mAP": m}}} for d, m in ((0.05, 10.0), (0.5, 30.0), (1.0, 20.0))]
    marked, plain = (density_figure(rows, trained) for trained in (0.5, None))
    upright = re.search(r'd="M ([\d.]+) [\d.]+ \nL \1 [^>]*stroke-dasharray', marked)
    assert float(upright[1]) == markers(marked)["plaza-8: 30 at 50"] == LEFT + (RIGHT - LEFT) / 2
    assert "trained at 50 %" in marked and "trained" not in plain and "stroke-dasharray" not in plain


def test_a_folder_without_a_sweep_and_a_torn_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="no sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text('{"name": "k", "ru')
    with pytest.raises(InputError, match="not a whole sweep"):
        read_sweep(tmp_path)
