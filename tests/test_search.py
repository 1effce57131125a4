"""The search command: a crop finds itself first, the gallery's embeddings are cached, mistakes are one line."""

import csv
import json

import numpy as np
import pytest
import torch

from crop_folders import STORE, predict_and_save
from ogreid import pack, search
from ogreid.data import Store
from ogreid.errors import InputError
from ogreid.retrieval import Embeddings
from ogreid.training import inference
from tiny_runs import fit_tiny

QUERY = "0003_c1s1_000001_00.png"
HISTOGRAM = ("--model", "histogram")


def ranked(root, query, *options, to="ranking.json", store=STORE, network=HISTOGRAM):
    """The content of the written file; JSON as it was written."""
    target = root / to
    arguments = ["--gallery", store, "--data", str(root), "--query", str(query), "--to", str(target)]
    assert search.main([*network, *arguments, *options]) == 0
    text = target.read_text()
    return json.loads(text) if to.endswith(".json") else text


def test_a_crop_finds_itself_and_the_same_person_first(crops, capsys):
    content = ranked(crops / "data", crops / "images" / QUERY, "--top", "3")
    assert (content["store"], content["ranked"], content["hint"]) == (STORE, 8, "")
    first, second, third = content["results"]
    assert (first["source"], first["rank"], first["identity"], first["camera"]) == (QUERY, 1, 3, 1)
    assert first["score"] == pytest.approx(1, abs=1e-6) and second["score"] > third["score"]
    assert (second["identity"], second["camera"]) == (3, 2) and third["identity"] != 3
    assert capsys.readouterr().out.strip().endswith("ranking.json")


def test_every_kind_of_file_holds_the_ranked_list(crops):
    root, image = crops / "data", crops / "images" / QUERY
    records = ranked(root, image)["results"]
    rows = list(csv.DictReader(ranked(root, image, to="ranking.csv").splitlines()))
    assert rows == [{key: str(value) for key, value in record.items()} for record in records] and len(rows) == 8
    page = ranked(root, image, "--top", "3", to="ranking.html")
    assert "rank 1, score 1.000, identity 3, camera 1" in page and "rank 4" not in page and "data:image" in page
    page = ranked(root, image, "--top", "3", "--no-pictures", to="ranking.html")
    assert "rank 1, score 1.000, identity 3, camera 1" in page and "data:image" not in page


def test_below_the_threshold_there_is_no_match(crops, capsys):
    root, image = crops / "data", crops / "images" / QUERY
    content = ranked(root, image, "--threshold", "0.999", "--top", "3")
    assert [one["match"] for one in content["results"]] == [True, False, False] and content["no_match"] == []
    assert f"{QUERY}: 1 match; highest score 1.0000, threshold 0.9990\n" in capsys.readouterr().out
    content = ranked(root, image, "--threshold", "1.5")
    assert content["no_match"] == [QUERY] and content["threshold"] == 1.5
    assert f"{QUERY}: no match" in capsys.readouterr().out
    assert f"{QUERY}: no match" in ranked(root, image, "--threshold", "1.5", to="ranking.html")
    rows = list(csv.DictReader(ranked(root, image, "--threshold", "0.999", to="ranking.csv").splitlines()))
    assert [row["match"] for row in rows] == ["True"] + ["False"] * 7


def test_the_threshold_of_a_rate_is_that_of_the_runs_evaluation(crops, place, capsys):
    run = fit_tiny("trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
    numbers = run.summary()["verification"]["tiny"]
    network = ["--checkpoint", str(run.folder)]
    content = ranked(crops / "data", crops / "images" / QUERY, "--fpr", "1e-3", network=network)
    assert content["threshold"] == numbers["threshold"]["0.001"] and content["origin"].endswith("0.001 on tiny")
    assert [one["match"] for one in content["results"]] == [
        one["score"] >= content["threshold"] for one in content["results"]
    ]
    for options, word in ((["--fpr", "1e-9"], "1e-9|1e-09"), (["--fpr", "0.1"], "requires the folder of a run")):
        with pytest.raises(InputError, match=word):
            known = network if "1e-9" in options else HISTOGRAM
            ranked(crops / "data", crops / "images" / QUERY, *options, network=known)


def test_a_part_of_the_gallery_is_searched(crops, tmp_path):
    root, image = crops / "data", crops / "images" / QUERY
    whole = ranked(root, image)["results"]
    second = ranked(root, image, "--where", "camera=2")
    assert second["ranked"] == 4 and second["results"] == [
        one | {"rank": rank} for rank, one in enumerate((one for one in whole if one["camera"] == 2), start=1)
    ]
    cache = ["--embeddings", str(tmp_path / "cache.npz")]
    assert ranked(root, image, "--where", "camera=2", *cache) == second
    both = ranked(root, image, "--where", "identity=3,4", "camera=1", "--limit", "1", *cache)
    assert both["ranked"] == 1 and both["results"][0]["identity"] == 3
    assert len(Embeddings.load(tmp_path / "cache.npz").source) == 8
    for options, word in (
        (["--where", "camera=7"], "camera=7.*it has 1, 2"),
        (["--where", "color=red"], "color=red: expected camera=VALUE"),
        (["--limit", "0"], "--limit"),
    ):
        with pytest.raises(InputError, match=word):
            ranked(root, image, *options)


@pytest.mark.parametrize("inputs", ["scene", "image", "crop"])
def test_scores_are_cosines_of_what_predict_gives(crops, tmp_path, inputs):
    """Query and gallery are prepared as in training."""
    predicted = predict_and_save(crops / "data", tmp_path / "plain.ckpt", inputs)
    network = ["--checkpoint", str(tmp_path / "plain.ckpt")]
    content = ranked(crops / "data", crops / "images" / QUERY, network=network)
    assert content["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    expected = {source: float(row @ predicted[QUERY]) for source, row in predicted.items()}
    assert {one["source"]: one["score"] for one in content["results"]} == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    """The data root of a synthetic store, whose clouds have estimated bodies."""
    root = tmp_path_factory.mktemp("domain")
    assert pack.main(["plaza-4", "--data", str(root), "--workers", "1"]) == 0
    return root


def test_only_its_own_body_makes_a_crop_the_very_cloud_of_the_store(domain, tmp_path, caplog):
    """Without it the scores are lower, and the file says so."""
    folder = domain / "synthetic" / "plaza-4"
    store = Store.open(domain / "plaza-4")
    query = folder / str(store.rows["source"][store.split("query")[0]])
    network = ["--model", "ognet_small"]
    torch.manual_seed(0)
    content = ranked(domain, query, "--meshes", str(folder), store="plaza-4", network=network)
    assert content["results"][0]["score"] == pytest.approx(1, abs=1e-5) and not content["hint"]
    assert not [one for one in caplog.messages if "--meshes" in one]
    torch.manual_seed(0)
    content = ranked(domain, query, store="plaza-4", network=network)
    assert content["results"][0]["score"] < 1 - 1e-5 and "upright" in content["hint"]
    assert [one for one in caplog.messages if "--meshes" in one] == [content["hint"]]
    content = ranked(domain, query, store="plaza-4", network=[])  # the one that ships, which reads colors
    assert content["results"][0]["score"] == pytest.approx(1, abs=1e-5) and not content["hint"]
    with pytest.raises(InputError, match="bodies are of its own crops"):
        (tmp_path / "copy.jpg").write_bytes(query.read_bytes())
        ranked(domain, tmp_path / "copy.jpg", "--meshes", str(folder), store="plaza-4")


def test_the_gallery_is_embedded_once_and_again_for_another_network(crops, tmp_path, monkeypatch):
    counts, embed = [], inference.embed
    monkeypatch.setattr(inference, "embed", lambda *a, **k: counts.append(len(a[1])) or embed(*a, **k))
    cache, image = tmp_path / "cache.npz", crops / "images" / QUERY
    options = ["--embeddings", str(cache)]
    content = ranked(crops / "data", image, *options)
    assert ranked(crops / "data", image, *options) == content and counts == [8, 1, 1]
    assert len(Embeddings.load(cache).source) == 8
    stale = Embeddings.load(cache).replace(fingerprint="of another", embedding=np.ones((8, 3)))
    stale.save(cache)
    assert ranked(crops / "data", image, *options) == content and counts[3:] == [8, 1]
    cache.write_text("no archive")
    with pytest.raises(InputError, match=r"cache\.npz"):
        ranked(crops / "data", image, *options)
    assert cache.read_text() == "no archive"


def test_a_changed_weight_scale_or_input_is_another_network(crops):
    store = Store.open(crops / "data" / STORE)
    network = inference.load_network(model="ognet_small")
    before = inference.fingerprint(network, store)
    assert inference.fingerprint(network, store) == before
    flat = inference.Network(network.name, network.module, {"inputs": "image"})
    assert inference.fingerprint(flat, store) != before
    network.module.scales = (1.0,)
    assert inference.fingerprint(network, store) != before
    network.module.scales = (1.0, 1.1)
    with torch.no_grad():
        next(network.module.network.parameters()).view(-1)[0] += 1e-3
    assert inference.fingerprint(network, store) != before


def test_published_clouds_are_not_searched_by_images(stores, crops, tmp_path):
    stores("clouds", mode="published", order="written")
    with pytest.raises(InputError, match="published"):
        ranked(tmp_path / "data", crops / "images" / QUERY, store="clouds")
