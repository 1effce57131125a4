"""The judging door: other ways to ask beside the plain one, and the paper beside a run."""

import json

import numpy as np
import pytest
from PIL import Image

from fabricated import make_run
from ogreid import evaluate
from ogreid.errors import UserError
from ogreid.pack import main as pack


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve people in slightly different colours, seen by three cameras, packed."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for identity in range(1, 13):
        colour = rng.uniform(60, 200, 3)
        for camera in (1, 2, 3):
            crop = np.clip(rng.normal(colour + rng.normal(0, 12, 3), 25, (128, 64, 3)), 0, 255).astype(np.uint8)
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


def test_an_unknown_way_is_refused_with_the_nearest_one(root):
    asked = ["--model", "histogram", "--on", "people-folder", "--data", str(root / "data")]
    with pytest.raises(UserError, match="--also rerankd: did you mean re-ranked"):
        evaluate.main([*asked, "--also", "rerankd"])


def test_a_set_that_cannot_be_judged_is_named(tmp_path):
    """Everybody was seen once only."""
    (tmp_path / "images").mkdir()
    for identity in (1, 2, 3):
        crop = np.full((128, 64, 3), 60 * identity, dtype=np.uint8)
        Image.fromarray(crop).save(tmp_path / "images" / f"{identity:04}_c{identity}_0.png")
    where = ["--data", str(tmp_path)]
    pack(["people-folder", "--images", str(tmp_path / "images"), *where, "--workers", "1"])
    with pytest.raises(UserError, match="people-folder: none of the 3 queries has a match from another camera"):
        evaluate.main(["--model", "histogram", "--on", "people-folder", *where, "--points", "2048"])


def test_the_papers_rows_fit_the_run_that_is_judged(tmp_path):
    run = make_run(tmp_path / "run", train="market")
    rows = evaluate._published(str(run), ["market", "duke", "plaza-8"])
    assert rows == {
        ("paper, Table II", "market"): {"rank1": 87.80, "mAP": 70.56},
        ("paper, Table III, released weights", "duke"): {"rank1": 27.2, "mAP": 13.9},
    }
    assert evaluate._published(None, ["market"]) == {}
