"""The study: its experiments run, its sweeps share what they can, its page says what was measured and nothing else."""

import json
from pathlib import Path

import pytest

import study
import study_page
import study_tables
from ogreid import config, fit, pack, runs

ROOT = Path(__file__).parents[1]
NAMES = [name for name in config.experiment_names(ROOT) if name.startswith("study/")]
COLLECTED = sorted((ROOT / "docs" / "study").glob("*.json"))
KINDS = ["ognet", "deep", "dgcnn", "pointnet2_msg", "shufflenetv2", "image", "visible", "half", "no_gate"]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_of_the_study_composes_on_its_stores(name):
    own = config.load(name, start=ROOT)
    size = own.name.split("_")[0]
    assert {*own.data.train, *own.data.test, *own.data.transfer} <= {
        *study.STORES[size],
        f"{study.STORES[size][0]}-visible",
    }
    assert own.data.train == own.data.test and own.data.num_points == int(study.POINTS[size])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with the smallest store of every domain."""
    folder = tmp_path_factory.mktemp("study")
    where = ["--data", str(folder), "--workers", "1"]
    for domain in study_tables.DOMAINS:
        assert pack.main([f"{domain}-4", *where]) == 0
    assert pack.main(["plaza-4", *where, "--no-background", "--name", "plaza-4-visible"]) == 0
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("name", [f"quick_{kind}" for kind in KINDS] + ["full_deep", "full_visible"])
def test_an_experiment_of_the_study_runs(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    data = config.load(f"study/{name}", start=ROOT).data
    stores = {key: [_smallest(store) for store in getattr(data, key)] for key in ("train", "test", "transfer")}
    settings = [f"data.{key}=[{','.join(names)}]" for key, names in stores.items()]
    settings += [f"data.root={root}", "data.num_points=1024", "data.batch_size=2", "data.eval_batch_size=2"]
    settings += ["data.num_workers=0", "trainer.fast_dev_run=true", "wandb.mode=disabled"]
    assert fit.main(["--experiment", str(ROOT / "experiments" / "study" / f"{name}.yaml"), *settings]) == 0
    (summary,) = (tmp_path / "runs" / name).glob("*/summary.json")
    assert set(json.loads(summary.read_text())["transfer"]) == set(stores["transfer"])


def _smallest(store):
    return "-".join([store.split("-")[0], "4", *store.split("-")[2:]])


@pytest.mark.parametrize("path", COLLECTED, ids=lambda path: path.stem)
def test_the_page_has_exactly_the_collected_numbers(path):
    collected, page = json.loads(path.read_text()), study_page.PAGE.read_text()
    assert study_page.fill(page, study_tables.blocks(collected)) == page, (
        "python scripts/study_page.py SIZE --collected"
    )
    assert "**does not hold**" in page and study_tables.charts(collected)
    with pytest.raises(ValueError, match="quick table1"):
        study_page.fill("# Study\n", {"quick table1": "| a |"})
