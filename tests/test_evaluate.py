"""The evaluate command: variants, densities and released networks, and the paper beside a run."""

import csv
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crop_folders import STORE, pack_crops, predict_and_save, write_crops
from ogreid import evaluate, pack
from ogreid.errors import InputError
from ogreid.training import inference
from ogreid.training.inference import load_network
from tiny_runs import fit_tiny

RELEASED = Path(__file__).parent / "golden" / "ognet"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The data root of twelve people in slightly different colors from three cameras."""
    folder = tmp_path_factory.mktemp("evaluate")
    pack_crops(write_crops(folder / "images", identities=12, cameras=3, spread=25), folder / "data")
    return folder / "data"


def numbers(root, *arguments, network=("--model", "histogram")):
    """What ``--json`` holds."""
    target = root / "numbers.json"
    assert evaluate.main([*network, "--on", STORE, "--data", str(root), *arguments, "--json", str(target)]) == 0
    return json.loads(target.read_text())


def test_variants_stand_beside_the_plain_protocol(root, capsys):
    results = numbers(root, "--also", "re-ranked", "expanded", "--points", "2048")["retrieval"]
    assert list(results) == [STORE, f"{STORE}, re-ranked", f"{STORE}, expanded"]
    assert len({one["mAP"] for one in results.values()}) == 3 and {one["queries"] for one in results.values()} == {36}
    table = capsys.readouterr().out
    assert all(f"{one['mAP']:.2f}" in table for one in results.values())


def test_tracklets_of_packed_names_are_pooled_and_stores_without_them_are_refused(root, tmp_path):
    """Frames are noisier than their mean, so tracklets are found where crops are not."""
    rng = np.random.default_rng(0)
    for person in range(1, 9):
        color = rng.uniform(100, 150, 3)
        for camera, frame in product((1, 2, 3), range(4)):
            crop = rng.normal(color + rng.normal(0, 25, 3), 20, (128, 64, 3))
            name = tmp_path / f"walk/{person:04d}C{camera}T0007F{frame:03d}.png"
            name.parent.mkdir(exist_ok=True)
            Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8)).save(name)
    pattern = r"(?P<identity>\d+)C(?P<camera>\d+)T(?P<tracklet>\d+)"
    assert pack.main(["walk", "--images", str(tmp_path / "walk"), "--data", str(root), "--pattern", pattern]) == 0
    target = root / "walk.json"
    command = ["--model", "histogram", "--on", "walk", "--data", str(root), "--points", "512", "--json", str(target)]
    assert evaluate.main(command) == 0
    crops = json.loads(target.read_text())["retrieval"]["walk"]
    assert evaluate.main([*command, "--by", "tracklet", "--also", "expanded"]) == 0
    results = json.loads(target.read_text())["retrieval"]
    assert list(results) == ["walk, by tracklet", "walk, by tracklet, expanded"]
    assert crops["queries"] == 96 and results["walk, by tracklet"]["queries"] == 24
    assert results["walk, by tracklet"]["mAP"] > crops["mAP"] + 10
    network = load_network(model="histogram")
    assert inference.evaluate(network, ["walk"], root, by="tracklet", num_points=512) == {
        "walk, by tracklet": results["walk, by tracklet"]
    }
    with pytest.raises(InputError, match=f"{STORE}: has no tracklets; pack it") as error:
        numbers(root, "--by", "tracklet", "--points", "512")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="leave out --points, --also and --by"):
        numbers(root, "--by", "tracklet", "--density", "0.5")


def test_a_variant_that_a_set_is_too_small_for_costs_no_other_number(crops, caplog):
    results = numbers(crops / "data", "--also", "re-ranked", "multi-query", "--points", "256")["retrieval"]
    assert list(results) == [STORE, f"{STORE}, multi-query"]
    assert [one for one in caplog.messages if f"{STORE}, re-ranked: left out" in one and "neighbors" in one]


def test_pairs_cameras_and_queries_are_in_the_file_and_in_tables_of_their_own(root, capsys):
    errors, queries = root / "errors.csv", root / "queries.csv"
    content = numbers(root, "--points", "2048", "--errors", str(errors), "--per-query", str(queries))
    verification, cameras = content["verification"][STORE], content["cameras"][STORE]
    assert verification["genuine"] == 12 * 3 * 2 and verification["impostor"] == 36 * 24 - 72
    shown = capsys.readouterr().out
    assert (
        f"EER {verification['eer']:.2f} %" in shown and f"threshold {verification['threshold']['0.001']:.4f}" in shown
    )
    assert cameras["cameras"] == [1, 2, 3] and cameras["mAP"][0][0] is None and 0 < cameras["mAP"][0][1] <= 100
    hardest, ranked = (list(csv.DictReader(path.read_text().splitlines())) for path in (errors, queries))
    assert [one["kind"] for one in hardest] == ["impostor"] * 100 + ["genuine"] * 72
    assert hardest[0]["query_identity"] != hardest[0]["gallery_identity"]
    assert [float(one["score"]) for one in hardest[100:]] == sorted(float(one["score"]) for one in hardest[100:])
    assert verification["errors"][0]["query"] == hardest[0]["query"]
    assert sum(float(one["ap"]) for one in ranked) / 36 == pytest.approx(content["retrieval"][STORE]["mAP"], abs=1e-6)
    assert sum(one["first_match"] == "1" for one in ranked) / 0.36 == pytest.approx(
        content["retrieval"][STORE]["rank1"]
    )
    assert all((one["nearest_identity"] == one["identity"]) == (one["first_match"] == "1") for one in ranked)


def test_the_table_of_queries_is_written_as_parquet_with_missing_values(root):
    parquet = pytest.importorskip("pyarrow.parquet")
    numbers(root, "--points", "256", "--per-query", str(root / "queries.parquet"))
    table = parquet.read_table(root / "queries.parquet")
    assert table.num_rows == 36 and str(table.schema.field("first_match").type) == "int64"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--errors", "x.parquet"], r"--errors .*\.csv"),
        (["--per-query", "x.json"], r"--per-query .*\.csv or \.parquet"),
        (["--per-query", "nowhere/x.csv"], "folder"),
        (["--errors", "x.csv", "--density"], "--density"),
        (["--errors", "x.csv", "--by", "tracklet"], "--by tracklet"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_first(root, arguments, words):
    with pytest.raises(InputError, match=words):
        numbers(root, *arguments)


def test_an_unknown_variant_is_refused_before_torch_loads():
    command = [sys.executable, "-X", "importtime", "-m", "ogreid.evaluate", "--model", "histogram", "--on", "any"]
    shown = subprocess.run([*command, "--also", "rerank"], capture_output=True, text=True, check=False)
    assert shown.returncode == 2 and "error: --also rerank: did you mean re-ranked?" in shown.stderr
    assert not re.search(r"\| +(torch|lightning)$", shown.stderr, re.MULTILINE)


def test_one_network_is_tested_at_several_densities(root, monkeypatch):
    content = numbers(root, "--density", "1", "0.25")
    assert [row["density"] for row in content["densities"]] == [0.25, 1] and content["trained"] is None
    assert "<svg" in (root / "numbers.svg").read_text()
    assert content["densities"][0]["retrieval"] == numbers(root, "--points", "2048")["retrieval"]


def test_a_released_folder_is_evaluated(root, capsys):
    content = numbers(root, "--points", "256", network=["--published", str(RELEASED)])
    assert content["network"] == "published" and content["published"] == []
    result = content["retrieval"][STORE]
    assert result["queries"] == 36 and 0 < result["mAP"] < result["mAP_step"] <= 100
    assert f"{result['mAP']:.2f}" in capsys.readouterr().out


def test_the_checkpoint_of_any_trainer_is_evaluated_as_it_was_trained(root, tmp_path):
    """A network on crops gets crops; its numbers do not depend on a number of points, and it has no densities."""
    predict_and_save(root, tmp_path / "plain.ckpt", "crop")
    network = ["--checkpoint", str(tmp_path / "plain.ckpt")]
    assert numbers(root, network=network)["retrieval"][STORE]["queries"] == 36
    with pytest.raises(InputError, match="pixel"):
        numbers(root, "--density", network=network)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_one_table_holds_both_kinds_of_map_and_the_papers_numbers(place, stores, monkeypatch, capsys, columns):
    stores("market")
    stores("duke", identities=6, seed=1)
    monkeypatch.setenv("COLUMNS", columns)
    sets = ["data.train=[market]", "data.test=[market]", "loss.name=circle"]
    run = fit_tiny(*sets, "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
    capsys.readouterr()
    arguments = ["--checkpoint", str(run.folder), "--on", "market", "--on", "duke", "--json", "numbers.json"]
    assert evaluate.main(arguments) == 0
    content, table = json.loads(Path("numbers.json").read_text()), capsys.readouterr().out
    assert list(content["retrieval"]) == ["market", "duke"]
    assert content["retrieval"]["market"] == run.summary()["retrieval"]["market"]
    paper = {(row["on"], row["rank1"], row["mAP"]) for row in content["published"]}
    assert paper == {("market", 87.80, 70.56), ("duke", 27.2, 13.9)}
    assert table.count("rank-10") == 1 and max(map(len, table.splitlines())) <= int(columns)
    for row in (*content["retrieval"].values(), *content["published"]):
        assert all(f" {row[key]:.2f} " in table for key in ("mAP", "mAP_step") if key in row)


def test_densities_of_a_run_go_into_its_folder(place, stores):
    run = fit_tiny("trainer.max_epochs=1")
    assert evaluate.main(["--checkpoint", str(run.folder), "--on", "tiny", "--density", "0.25", "0.5"]) == 0
    content = json.loads((run.folder / "density.json").read_text())
    assert content["trained"] == 0.25 and (run.folder / "density.svg").is_file()
    assert content["densities"][0]["retrieval"] == {"tiny": run.summary()["retrieval"]["tiny"]}
