"""The judging door: other ways to ask beside the plain one, and the paper beside a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fabricated import make_run
from ogreid import evaluate, fit, runs
from ogreid.training.train import densities
from ogreid.training.train import inference
from ogreid.config import Data
from ogreid.errors import InputError
from ogreid.pack import main as pack
from test_training import TINY


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve people in slightly different colors, seen by three cameras, packed."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for identity in range(1, 13):
        color = rng.uniform(60, 200, 3)
        for camera in (1, 2, 3):
            crop = np.clip(rng.normal(color + rng.normal(0, 12, 3), 25, (128, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(crop).save(folder / "images" / f"{identity:04}_c{camera}_0.png")
    pack(["people-folder", "--images", str(folder / "images"), "--data", str(folder / "data"), "--workers", "1"])
    return folder


def test_other_ways_to_ask_stand_beside_the_plain_one(root, capsys):
    asked = ["--model", "histogram", "--on", "people-folder", "--data", str(root / "data"), "--points", "2048"]
    assert evaluate.main([*asked, "--also", "re-ranked", "expanded", "--json", str(root / "found.json")]) == 0
    found = json.loads((root / "found.json").read_text())["retrieval"]
    assert list(found) == ["people-folder", "people-folder, re-ranked", "people-folder, expanded"]
    assert len({numbers["mAP"] for numbers in found.values()}) == 3
    assert len({numbers["queries"] for numbers in found.values()}) == 1
    shown = capsys.readouterr().out
    assert all(f"{numbers['mAP']:.2f}" in shown for numbers in found.values())


def test_one_network_is_tested_at_several_densities(root):
    asked = ["--model", "histogram", "--on", "people-folder", "--data", str(root / "data")]
    told = root / "density.json"
    assert evaluate.main([*asked, "--density", "1", "0.25", "--json", str(told)]) == 0
    found = json.loads(told.read_text())
    assert [row["density"] for row in found["densities"]] == [0.25, 1]
    assert found["trained"] is None
    assert told.with_suffix(".svg").read_text().startswith("<svg")
    assert evaluate.main([*asked, "--points", "2048", "--json", str(root / "plain.json")]) == 0
    assert found["densities"][0]["retrieval"] == json.loads((root / "plain.json").read_text())["retrieval"]


def test_the_density_of_training_is_a_share_of_the_stores_points(root):
    def trained(**data):
        judged = inference.Judged("made", None, Data(**data))
        return densities.trained_density(judged, "people-folder", str(root / "data"))

    assert trained(points=2048) == 0.25
    assert trained(points=2048, density=0.5) == 0.5


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--density", "0.5", "1.5"], "--density 1.5: expected shares of the points, above 0 and up to 1"),
        (["--density", "0"], "--density 0: expected shares"),
        (["--density", "--points", "64"], "leave --points and --also"),
        (["--density", "--json", "nowhere/found.json"], "its folder does not exist"),
    ],
)
def test_densities_that_make_no_sense_are_refused_before_anything_is_judged(root, more, told):
    with pytest.raises(InputError, match=told):
        evaluate.main(["--model", "histogram", "--on", "people-folder", "--data", str(root / "data"), *more])


def test_an_unknown_way_is_refused_with_the_nearest_one(root):
    asked = ["--model", "histogram", "--on", "people-folder", "--data", str(root / "data")]
    with pytest.raises(InputError, match="--also rerankd: did you mean re-ranked"):
        evaluate.main([*asked, "--also", "rerankd"])


def test_a_set_that_cannot_be_judged_is_named(tmp_path):
    """Everybody was seen once only."""
    (tmp_path / "images").mkdir()
    for identity in (1, 2, 3):
        crop = np.full((128, 64, 3), 60 * identity, dtype=np.uint8)
        Image.fromarray(crop).save(tmp_path / "images" / f"{identity:04}_c{identity}_0.png")
    where = ["--data", str(tmp_path)]
    pack(["people-folder", "--images", str(tmp_path / "images"), *where, "--workers", "1"])
    with pytest.raises(InputError, match="people-folder: none of the 3 queries has a match from another camera"):
        evaluate.main(["--model", "histogram", "--on", "people-folder", *where, "--points", "2048"])


def test_a_released_folder_is_judged(root, tmp_path, capsys):
    released = Path(__file__).parent / "golden" / "ognet"
    asked = ["--published", str(released), "--on", "people-folder", "--data", str(root / "data"), "--points", "256"]
    assert evaluate.main([*asked, "--json", str(tmp_path / "found.json")]) == 0
    told = json.loads((tmp_path / "found.json").read_text())
    assert told["network"] == "published" and told["published"] == []
    numbers = told["retrieval"]["people-folder"]
    assert numbers["queries"] == 36 and 0 < numbers["mAP"] < numbers["mAP_step"] <= 100
    assert f"{numbers['mAP']:.2f}" in capsys.readouterr().out


@pytest.fixture
def judged_run(tmp_path, stores, monkeypatch):
    """A run trained for two steps on a store that is called market, and another store that is called duke."""
    stores("market")
    stores("duke", identities=6, seed=1)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.yaml").write_text("description: tiny\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    tiny = [setting.replace("tiny", "market") for setting in TINY]
    assert fit.main(["--experiment", "small", *tiny, "loss.name=circle", *ONE_EPOCH]) == 0
    (run,) = (tmp_path / "runs" / "small").iterdir()
    return run


ONE_EPOCH = ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_one_table_holds_both_kinds_of_map_and_the_papers_numbers(judged_run, tmp_path, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    capsys.readouterr()
    asked = ["--checkpoint", str(judged_run), "--on", "market", "--on", "duke", "--data", str(tmp_path / "data")]
    assert evaluate.main([*asked, "--json", "found.json"]) == 0
    told, shown = json.loads(Path("found.json").read_text()), capsys.readouterr().out
    assert list(told["retrieval"]) == ["market", "duke"]
    paper = {(row["on"], row["rank1"], row["mAP"]) for row in told["published"]}
    assert paper == {("market", 87.80, 70.56), ("duke", 27.2, 13.9)}
    assert all(row["source"].startswith("paper, Table II") for row in told["published"])
    assert shown.count("rank-10") == 1
    assert max(map(len, shown.splitlines())) <= int(columns)
    for numbers in (*told["retrieval"].values(), *told["published"]):
        for key in ("mAP", "mAP_step"):
            assert key not in numbers or f" {numbers[key]:.2f} " in shown


def test_the_papers_rows_fit_the_run_that_is_judged(tmp_path):
    run = make_run(tmp_path / "run", train="market")
    rows = evaluate._published(str(run), ["market", "duke", "plaza-8"])
    assert rows == {
        ("paper, Table II, network as published", "market"): {"rank1": 87.80, "mAP": 70.56},
        ("paper, Table III, released weights, network as published", "duke"): {"rank1": 27.2, "mAP": 13.9},
    }
    assert evaluate._published(None, ["market"]) == {}
