"""Every notebook runs on tiny settings and shows what it says; its two forms are one notebook."""

import ast
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pytest
from PIL import Image

from ogreid.data.datasets.synthetic_stores import ensure_synthetic

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_two_forms_of_a_notebook_are_in_step_and_hold_no_output(source):
    """After an edit: jupytext --sync notebooks/*.py."""
    script, notebook = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in script.cells] == [(c.cell_type, c.source) for c in notebook.cells]
    assert 'pip install -e ".[notebooks]"' in notebook.cells[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_no_notebook_stands_alone():
    assert [path.stem for path in SOURCES] == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder for notebooks, whose ../data and ../runs they share."""
    folder = tmp_path_factory.mktemp("notebooks") / "notebooks"
    folder.mkdir()
    for name in ("plaza-8", "winter-4"):
        ensure_synthetic(name, folder.parent / "data")  # here, not in worker processes that first import everything
    return folder


@pytest.fixture
def run(place, monkeypatch):
    """Runs the cells of a notebook as Jupyter does, with other parameters; its names, and what its cells showed."""
    monkeypatch.chdir(place)

    def play(stem: str, **parameters: object) -> tuple[dict[str, Any], list[Any]]:
        names: dict[str, Any] = {"__name__": stem}
        shown = []
        for cell in jupytext.read(ROOT / "notebooks" / f"{stem}.py").cells:
            if cell.cell_type != "code":
                continue
            body = ast.parse(cell.source).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), stem, "exec"), names)
            if last is not None:
                shown.append(eval(compile(ast.Expression(last.value), stem, "eval"), names))
            if "parameters" in cell.metadata.get("tags", []):
                assert parameters.keys() <= names.keys()
                names.update(parameters)
        return names, [one for one in shown if one is not None]

    return play


def pictures(shown: list[Any], folder: Path) -> list[np.ndarray]:
    """Those of what was shown that are pictures; they are kept, to be looked at."""
    images = [one for one in shown if isinstance(one, Image.Image)]
    for number, one in enumerate(images):
        one.save(folder / f"{number}.png")
    return [np.asarray(one) for one in images]


def colors(picture: np.ndarray) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


TINY = [
    "model.channels=[8,16]",
    "model.num_kept=[32,16]",
    "data.num_points=128",
    "data.num_workers=0",
    "trainer.log_every_n_steps=1",
]


@pytest.mark.thorough
def test_a_crop_becomes_a_cloud(run, tmp_path):
    names, shown = run("01_cloud")
    seen = pictures(shown, tmp_path)
    assert len(seen) == 4 and min(map(colors, seen)) > 50
    assert {mode: len(cloud) for mode, cloud in names["clouds"].items()} == dict.fromkeys(
        ("raster", "vertex", "nearest"), 8192
    )
    share = names["share"]
    assert 0 < share["vertex"] < share["raster"] < share["nearest"] < 1


@pytest.mark.thorough
def test_a_cloud_goes_through_the_network(run, tmp_path):
    names, shown = run("02_network", count=1024)
    seen = pictures(shown, tmp_path)
    assert len(seen) == 6 and min(map(colors, seen)) > 50
    for picture in seen[1:5]:  # whatever is marked is to be seen
        assert ((picture == names["RED"]).all(2)).sum() > 4
    assert names["wins"].sum() == 512


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_a_network_is_trained_and_evaluated(run, tmp_path):
    network = {"channels": [8, 16], "num_kept": [32, 16], "k": 4}
    names, shown = run("03_train_and_evaluate", people=8, elsewhere=4, epochs=1, num_points=128, network=network)
    assert min(map(colors, pictures(shown, tmp_path))) > 50
    assert "plaza-8" in shown[-1].data and "&lt;html" in shown[-1].data  # the report, inside a frame
    assert [numbers["queries"] > 0 for numbers in names["rows"].values()] == [True, True]
    assert names["numbers"]["transfer/plaza-8->winter-4/mAP"] > 0 and names["first"].source


@pytest.mark.thorough
def test_a_setting_is_swept_and_a_density_tested(run):
    settings = [*TINY, "trainer.max_epochs=1"]
    names, shown = run("04_sweeps", people=8, neighbors=[1, 4], densities=["0.01", "0.02"], settings=settings)
    assert [one["parameters"]["model.k"] for one in names["record"]["runs"]] == [1, 4]
    assert {one["status"] for one in names["record"]["runs"]} == {"finished"}
    table, *plots = shown
    assert "model.k" in table.data and len(plots) == 2 and all("<svg" in plot.data for plot in plots)


@pytest.mark.thorough
def test_a_published_checkpoint_gives_the_released_numbers(run):
    names, shown = run("05_published_checkpoint", folder=ROOT / "tests" / "golden" / "ognet", points=256)
    assert names["differ"].keys() == {"embedding", "logits", "two_view_embedding"}
    assert max(names["differ"].values()) < 1e-3
    assert shown[-1] is True  # evaluated as a run of ours, it has the same numbers
