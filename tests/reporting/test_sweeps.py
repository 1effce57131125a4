"""What a sweep found: seeds merged, a table, and drawings whose points lie where the numbers are."""

import json
import re

import pytest

from ogreid.errors import InputError
from ogreid.reporting.bars import Bar, bar_drawing
from ogreid.reporting.charts import HEIGHT, LEFT, RIGHT, WIDTH, Line, line_drawing
from ogreid.reporting.sweep_plots import density_drawing, sweep_drawings, sweep_html
from ogreid.reporting.sweeps import read_sweep, sweep_markdown
from ogreid.sweeps.record import best, write_result
from sweeping_files import make_sweep

SEEDS = [{"model.k": k, "seed": seed, "level": level + seed} for k, level in ((4, 20), (16, 30)) for seed in (0, 2)]


def places(body: str) -> list[list[tuple[float, float]]]:
    """The points of every line of a drawing."""
    paths = re.findall(r'<g class="line c\d"><path d="M([^"]+)"', body)
    return [[tuple(map(float, place.split())) for place in path.split("L")] for path in paths]


def test_runs_that_differ_in_the_seed_alone_are_one_row_with_mean_and_spread(tmp_path):
    found = read_sweep(make_sweep(tmp_path / "k", SEEDS, transfer="winter-8"))
    assert [(setting.parameters, setting.runs) for setting in found.settings] == [
        ({"model.k": 4}, 2),
        ({"model.k": 16}, 2),
    ]
    assert found.settings[0].numbers["plaza-8"]["mAP"] == (21, pytest.approx(2**0.5))
    lines = sweep_markdown(found).splitlines()
    assert lines[0].startswith("| model.k | runs | plaza-8 rank-1 | plaza-8 mAP | winter-8 (transfer) rank-1 |")
    assert lines[2].startswith("| 4 | 2 | 31.50 \N{PLUS-MINUS SIGN} 2.12 | 21.00 \N{PLUS-MINUS SIGN} 1.41 |")
    assert len({line.count("|") for line in lines}) == 1


def test_a_set_on_which_one_run_was_trained_is_no_transfer_set_of_the_sweep(tmp_path):
    folder = make_sweep(tmp_path / "t", [{"experiment": "a", "level": 20.0}, {"experiment": "b", "level": 30.0}])
    content = json.loads((folder / "sweep.json").read_text())
    own, other = (run["retrieval"]["plaza-8"] for run in content["runs"])
    content["runs"][0] |= {"retrieval": {"plaza-8": own}, "transfer": {"winter-8": other, "transit-8": other}}
    content["runs"][1] |= {"retrieval": {"winter-8": own}, "transfer": {"plaza-8": other, "transit-8": other}}
    (folder / "sweep.json").write_text(json.dumps(content))
    assert read_sweep(folder).sets == {"plaza-8": False, "winter-8": False, "transit-8": True}


def test_a_single_run_has_no_spread_and_the_paper_stands_beside(tmp_path):
    paper = {"market": {"rank1": 86.82, "mAP": 69.02}}
    rows = [
        {"experiment": "market_ce", "level": 60.0, "published": paper},
        {"experiment": "market_no_graph", "level": 50.0, "published": {"market": {"mAP": 65.5}}},
    ]
    found = read_sweep(make_sweep(tmp_path / "ablation", rows, on="market"))
    lines = sweep_markdown(found).splitlines()
    assert lines[0] == "| experiment | runs | market rank-1 | market mAP | paper rank-1 | paper mAP |"
    assert lines[2] == "| market_ce | 1 | 90.00 | 60.00 | 86.82 | 69.02 |"
    assert lines[3] == "| market_no_graph | 1 | 75.00 | 50.00 | \N{EN DASH} | 65.50 |"
    (drawing,) = sweep_drawings(found).values()
    assert [name for _, name, _ in drawing.legend] == ["market", "paper, market"]


def test_k_is_drawn_by_doublings_with_a_line_for_each_data_set_and_whiskers(tmp_path):
    rows = [{"model.k": k, "seed": s, "level": 20.0 + s} for k in (1, 4, 64) for s in (0, 1)]
    drawings = sweep_drawings(read_sweep(make_sweep(tmp_path / "k", rows, transfer="winter-8")))
    assert list(drawings) == ["plot"]
    body = drawings["plot"].body
    own, transfer = places(body)
    assert [x for x, _ in own] == pytest.approx([LEFT, LEFT + (WIDTH - LEFT - RIGHT) / 3, WIDTH - RIGHT], abs=0.1)
    assert all(y < z for (_, y), (_, z) in zip(own, transfer, strict=True)), "the transfer set is lower"
    assert body.count('class="whisker"') == 6
    assert re.findall(r'text-anchor="middle">(\d+)</text>', body) == ["1", "4", "64"]


def test_a_second_parameter_makes_the_lines_and_each_data_set_a_drawing(tmp_path):
    rows = [{"model.k": k, "data.density": d, "level": 20.0 + k * d} for k in (4, 8, 16) for d in (0.25, 1.0)]
    drawings = sweep_drawings(read_sweep(make_sweep(tmp_path / "kd", rows, transfer="winter-8")))
    assert list(drawings) == ["plot-plaza-8", "plot-winter-8"]
    assert [name for _, name, _ in drawings["plot-plaza-8"].legend] == ["density 0.25", "density 1.0"]
    assert [len(line) for line in places(drawings["plot-plaza-8"].body)] == [3, 3]


def test_density_is_drawn_in_equal_steps_in_percent(tmp_path):
    rows = [{"data.density": d, "level": 20.0} for d in (0.05, 0.5, 1.0)]
    drawing = sweep_drawings(read_sweep(make_sweep(tmp_path / "d", rows)))["plot"]
    assert re.findall(r'text-anchor="middle">(\d+)</text>', drawing.body) == ["5", "50", "100"]
    (line,) = places(drawing.body)
    share = (line[1][0] - LEFT) / (WIDTH - LEFT - RIGHT)
    assert share == pytest.approx((50 - 5) / 95, abs=1e-3)


def test_the_papers_two_numbers_stand_beside_k_on_its_own_benchmark(tmp_path):
    rows = [{"model.k": k, "level": 60.0} for k in (1, 20)]
    drawing = sweep_drawings(read_sweep(make_sweep(tmp_path / "k", rows, on="market")))["plot"]
    assert [(kind, value) for kind, _, value in drawing.legend] == [("c0", ""), ("level", "65.5"), ("level", "69.3")]
    other = sweep_drawings(read_sweep(make_sweep(tmp_path / "other", rows, on="plaza-8")))["plot"]
    assert [kind for kind, _, _ in other.legend] == ["c0"]


def test_the_density_of_training_is_marked(tmp_path):
    rows = [{"density": 0.05, "mAP": 10.0}, {"density": 0.5, "mAP": 30.0, "spread": 2.0}, {"density": 1.0, "mAP": 20.0}]
    drawing = density_drawing({"plaza-8": rows}, trained=0.5)
    (line,) = places(drawing.body)
    upright = re.search(r'class="level" d="M([\d.]+) ', drawing.body)[1]
    assert float(upright) == line[1][0]
    assert drawing.body.count('class="whisker"') == 1
    assert "trained at 50 %" in drawing.title
    assert 'class="level"' not in density_drawing({"plaza-8": rows}, trained=None).body


def test_bars_are_as_long_as_their_numbers():
    drawing = bar_drawing(
        [Bar("one", [(40.0, 2.0), None]), Bar("two", [(20.0, 0.0), (10.0, 0.0)])], ["a", "b"], title="t", x_label="x"
    )
    lengths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawing.body)]
    assert lengths == pytest.approx([lengths[0], lengths[0] / 2, lengths[0] / 4], abs=0.1)
    assert "40.0 \N{PLUS-MINUS SIGN} 2.0" in drawing.body
    assert "one: a 40.0; two: a 20.0, b 10.0" in drawing.told


def test_a_picture_file_stands_alone(tmp_path):
    from xml.etree import ElementTree

    drawing = line_drawing([Line("a <b>", [(0, 1), (1, 2)])], title="t & u", x_label="x", y_label="y", last=False)
    tree = ElementTree.fromstring(drawing.picture())
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    told = "".join(tree.itertext())
    assert "t & u" in told
    assert "a <b>: 1 at 0, 2 at 1" in told
    assert float(tree.get("height")) > HEIGHT
    assert "prefers-color-scheme:dark" in told


def test_table_and_plots_lie_beside_the_sweep_and_the_page_shows_what_failed(tmp_path):
    rows = [*SEEDS, {"model.k": 64, "seed": 0, "error": "RuntimeError: <too> much"}]
    folder = make_sweep(tmp_path / "k", rows)
    write_result(folder)
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "table.md", "plot.svg"}
    page = sweep_html(read_sweep(folder))
    assert "model.k=64 seed=0: RuntimeError: &lt;too&gt; much" in page
    assert page.count("<figure") == 1


@pytest.mark.parametrize(
    ("metric", "goal", "told"),
    [
        ("val/mAP", "maximize", "best by val/mAP: k 16 (31.00)"),
        ("val/mAP", "minimize", "best by val/mAP: k 4 (21.00)"),
        ("transfer/plaza-8->winter-8/rank1", "maximize", "best by transfer/plaza-8->winter-8/rank1: k 16 (23.25)"),
        ("train/loss", "minimize", ""),
    ],
)
def test_the_best_setting_is_named_by_the_sweeps_own_metric(tmp_path, metric, goal, told):
    found = read_sweep(make_sweep(tmp_path / "k", SEEDS, transfer="winter-8"))
    found.content["metric"].update(name=metric, goal=goal)
    assert best(found) == told


def test_a_folder_without_a_sweep_and_a_torn_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="no sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text('{"name": "k", "ru')
    with pytest.raises(InputError, match="not a whole sweep; delete it and start the sweep again"):
        read_sweep(tmp_path)
