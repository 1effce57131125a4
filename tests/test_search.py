"""The search door: a picture finds itself first, embeddings are kept and used again, mistakes are one line."""

import numpy as np
import pytest
import torch
from PIL import Image
from ogreid.training.train import searching
from ogreid.config import Data
from ogreid.data import Store
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.training.module import ReIDModule
from ogreid.pack import main as pack
from ogreid.search import main

COLORS = [(200, 40, 40), (40, 160, 60), (40, 60, 200), (210, 180, 40)]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four people in clothes of one color each, seen by two cameras; and their packed store."""
    folder = tmp_path_factory.mktemp("people")
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for identity, color in enumerate(COLORS, start=1):
        for camera in (1, 2):
            crop = np.clip(rng.normal(color, 12, (128, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(crop).save(images / f"{identity:04}_c{camera}s1_000001_00.png")
    pack(["people-folder", "--images", str(images), "--data", str(folder / "data"), "--workers", "1"])
    return folder


def ask(people, *more):
    query = sorted((people / "images").iterdir())[4]  # person 3, camera 1
    page = people / "found.html"
    asked = ["--model", "histogram", "--gallery", "people-folder", "--data", str(people / "data"), "--to", str(page)]
    assert main([*asked, "--query", str(query), *more]) == 0
    return page.read_text()


def test_a_picture_finds_itself_and_the_same_person_first(people, capsys):
    page = ask(people, "--top", "3")
    ranks = [page.index(f"rank {rank}, score") for rank in (1, 2, 3)]
    assert page[ranks[0] :].startswith("rank 1, score 1.000, identity 3, camera 1")
    assert "identity 3, camera 2" in page[ranks[1] : ranks[2]]
    assert "rank 4" not in page
    assert "among 8 sightings of people-folder" in page
    assert capsys.readouterr().out.strip().endswith("found.html")


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    """A synthetic domain, whose clouds have estimated bodies; its data root."""
    root = tmp_path_factory.mktemp("domain")
    assert pack(["plaza-4", "--data", str(root), "--workers", "1"]) == 0
    return root


def ask_domain(root, *more):
    query = sorted((root / "synthetic" / "plaza-4" / "query").glob("*.jpg"))[0]
    page = root / "found.html"
    asked = [
        "--model",
        "histogram",
        "--gallery",
        "plaza-4",
        "--data",
        str(root),
        "--to",
        str(page),
        "--query",
        str(query),
    ]
    assert main([*asked, *more]) == 0
    return page.read_text()


def test_a_picture_asked_of_a_store_with_estimated_bodies_is_said_to_be_lifted_otherwise(domain, people, caplog):
    hint = "plaza-4 has estimated bodies and the pictures the upright one"
    assert hint in ask_domain(domain) and "with --meshes" in caplog.text
    assert len(caplog.messages) == 1
    caplog.clear()
    assert "upright" not in ask(people) and not caplog.messages


def test_a_picture_with_its_own_body_finds_itself(domain, caplog):
    meshes = ["--meshes", str(domain / "synthetic" / "plaza-4")]
    page = ask_domain(domain, *meshes)
    assert "rank 1, score 1.000" in page and "upright" not in page and not caplog.messages


def test_a_picture_is_the_very_cloud_of_the_store_only_with_its_own_body(domain):
    store = Store.open(domain / "plaza-4")
    network, how = ReIDModule(build_model("ognet_small", k=4, channels=[8, 16], num_kept=[16, 8])), Data(points=256)
    embedded = searching.embed_store(network, how, store)
    tree = domain / "synthetic" / "plaza-4"
    row = store.split("query")[0]
    picture = tree / str(store.rows["source"][row])
    for meshes, same in ((tree, True), (None, False)):
        (found,) = searching.find(network, how, store, embedded, [picture], 1, meshes=meshes)
        assert (found.scores[0] > 1 - 1e-5) == same
    assert found.rows.shape == (1,)


def test_bodies_of_other_pictures_are_refused(domain, people):
    with pytest.raises(InputError, match=r"png: not in .*plaza-4, whose bodies are of its own crops"):
        ask(people, "--meshes", str(domain / "synthetic" / "plaza-4"))
    with pytest.raises(InputError, match="nowhere: no such file or folder; --meshes takes"):
        ask(people, "--meshes", "nowhere")


def test_a_page_without_pictures_names_the_sightings(people):
    page = ask(people, "--top", "3", "--no-pictures")
    assert "rank 1, score 1.000, identity 3, camera 1" in page
    assert "data:image" not in page and "data:image" in ask(people, "--top", "3")


def test_embeddings_are_kept_and_used_again(people, monkeypatch):
    kept = people / "kept.npz"
    first = ask(people, "--embeddings", str(kept))
    with np.load(kept) as held:
        assert held["embedding"].shape[0] == len(held["row"]) == 8
        assert set(held["identity"]) == {1, 2, 3, 4}
        assert held["source"][0].endswith(".png")
    calls, embed = [], searching._embed
    monkeypatch.setattr(searching, "_embed", lambda *a: calls.append(len(a[2])) or embed(*a))
    assert ask(people, "--embeddings", str(kept)) == first
    assert calls == [1]  # the query alone


def test_embeddings_of_another_network_are_not_used(people):
    kept = people / "other.npz"
    ask(people, "--embeddings", str(kept))
    with np.load(kept) as held:
        stale = dict(held)
    stale["made_of"], stale["embedding"] = np.array("another"), np.ones_like(stale["embedding"])
    np.savez(kept, **stale)
    assert "rank 1, score 1.000, identity 3, camera 1" in ask(people, "--embeddings", str(kept))
    kept.write_text("no archive")
    with pytest.raises(InputError, match=r"other\.npz: not embeddings"):
        ask(people, "--embeddings", str(kept))


def test_any_changed_weight_is_another_network(people):
    store, how = Store.open(people / "data" / "people-folder"), Data()
    network = build_model("ognet_small")
    before = searching._fingerprint(ReIDModule(network), how, store)
    assert searching._fingerprint(ReIDModule(network), how, store) == before
    assert searching._fingerprint(ReIDModule(network, views=(1.0,)), how, store) != before
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-3
    assert searching._fingerprint(ReIDModule(network), how, store) != before


def test_embeddings_are_exported_without_a_question(people, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("faiss")
    files = [people / f"gallery.{kind}" for kind in ("npz", "parquet", "faiss")]
    asked = ["--model", "histogram", "--gallery", "people-folder", "--data", str(people / "data")]
    assert main([*asked, "--export", *map(str, files)]) == 0
    assert capsys.readouterr().out.split()[-3:] == [str(file) for file in files]
    with np.load(files[0]) as held:
        assert len(held["embedding"]) == 8
        assert len(set(held["source"])) == 8
    with pytest.raises(InputError, match="nothing asked"):
        main(asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--export", "people.csv"], r"people\.csv: embeddings are written as"),
        (["--embeddings", "kept.faiss"], "--embeddings kept.faiss: kept as .npz only; --export writes"),
        (["--query", "nobody.jpg"], "nobody.jpg: no such picture"),
        (["--gallery", "people-foldr"], "did you mean people-folder"),
        (["--top", "0"], "--top 0: expected 1 or more"),
    ],
)
def test_mistakes_are_one_line(people, options, message):
    with pytest.raises(InputError, match=message):
        ask(people, *options)
    (people / "images" / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"empty\.jpg: not a readable picture \(no JPEG, PNG, BMP\)"):
        ask(people, "--query", str(people / "images" / "empty.jpg"))
    (people / "images" / "empty.jpg").unlink()
