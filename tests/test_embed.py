"""Embeddings of stores, folders and single images are those of ``Trainer.predict``, in every kind of file."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from crop_folders import STORE, predict_and_save, write_crops
from ogreid import embed
from ogreid.data import Store
from ogreid.data.datasets.crops import find_images
from ogreid.errors import InputError
from ogreid.retrieval import Embeddings


def embedded(place, *arguments, network=("--model", "histogram")):
    target = place / "embedded.npz"
    assert embed.main([*network, "--data", str(place / "data"), "--to", str(target), "--input", *arguments]) == 0
    return Embeddings.load(target)


@pytest.mark.parametrize("inputs", ["scene", "image", "crop"])
def test_store_folder_and_image_are_embedded_as_predict_does(crops, tmp_path, inputs):
    """With the preparation of the training: another depth, order or number of points would be another embedding."""
    predicted = predict_and_save(crops / "data", tmp_path / "plain.ckpt", inputs)
    network = ["--checkpoint", str(tmp_path / "plain.ckpt")]
    image = str(crops / "images" / "0003_c1s1_000001_00.png")
    for given in (STORE, str(crops / "images"), image):
        result = embedded(crops, given, network=network)
        assert len(result.source) == (1 if given == image else 8)
        for source, row in zip(result.source, result.embedding, strict=True):
            np.testing.assert_allclose(row, predicted[source.rpartition("/")[2]], atol=1e-5)


def test_a_store_gives_its_rows_and_a_folder_its_files(crops):
    stored = embedded(crops, STORE)
    store = Store.open(crops / "data" / STORE)
    for name in ("identity", "camera", "source", "split"):
        np.testing.assert_array_equal(getattr(stored, name), store.rows[name][stored.index])
    assert len(set(stored.source)) == 8 and stored.fingerprint
    files = embedded(crops, str(crops / "images"))
    assert set(files.identity) == set(files.camera) == {-1}
    assert files.source.tolist() == [str(path) for path in sorted((crops / "images").iterdir())]
    np.testing.assert_array_equal(files.embedding, stored.embedding[np.argsort(stored.source)])


def test_several_files_of_several_kinds_say_the_same(crops, tmp_path, capsys):
    faiss, parquet = pytest.importorskip("faiss"), pytest.importorskip("pyarrow.parquet")
    targets = [str(tmp_path / f"people.{kind}") for kind in ("npz", "parquet", "faiss")]
    source = ["--input", STORE, "--data", str(crops / "data")]
    assert embed.main(["--model", "histogram", *source, "--to", *targets]) == 0
    assert capsys.readouterr().out.split() == targets
    stored = Embeddings.load(targets[0])
    table = parquet.read_table(targets[1])
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), stored.embedding)
    scores, rows = faiss.read_index(targets[2]).search(stored.normalized().embedding, 1)
    np.testing.assert_array_equal(rows[:, 0], stored.index)
    np.testing.assert_allclose(scores, 1, atol=1e-5)


def test_bodies_lie_in_the_sub_folders_of_their_crops(tmp_path):
    """Two crops of one name, each with a body of its own."""
    vertices = np.random.default_rng(0).normal(0, 0.3, (2, 40, 3)).astype(np.float32)
    camera = {"type": "weak", "scale": 0.9, "translation": [0.0, 0.0], "order": "s(x+t)"}
    for number, folder in enumerate(("a", "b")):
        write_crops(tmp_path / "images" / folder, identities=1, cameras=1)
        (tmp_path / "bodies" / folder).mkdir(parents=True)
        surface = "".join(f"v {x} {y} {z}\n" for x, y, z in vertices[number]) + "f 1 2 3\nf 4 5 6\n"
        (tmp_path / "bodies" / folder / "0001_c1s1_000001_00.obj").write_text(surface)
        (tmp_path / "bodies" / folder / "camera.json").write_text(json.dumps(camera))
    root = tmp_path / "images"
    shutil.copytree(root, tmp_path / "swapped")
    (tmp_path / "swapped" / "a").rename(tmp_path / "swapped" / "c")
    network = ["--model", "ognet_small"]
    with_bodies = embedded(tmp_path, str(root), "--meshes", str(tmp_path / "bodies"), network=network)
    assert with_bodies.source.tolist() == [str(root / folder / "0001_c1s1_000001_00.png") for folder in "ab"]
    assert np.abs(with_bodies.embedding[0] - with_bodies.embedding[1]).max() > 1e-4
    with pytest.raises(InputError, match="no body"):
        embedded(tmp_path, str(tmp_path / "swapped"), "--meshes", str(tmp_path / "bodies"), network=network)


def test_what_is_no_image_is_counted(crops, tmp_path, caplog):
    folder = shutil.copytree(crops / "images", tmp_path / "images")
    (folder / "._0001_c1s1_000001_00.png").write_bytes(b"left by macOS")
    (folder / "notes.txt").touch()
    with caplog.at_level("INFO", "ogreid"):
        assert len(find_images([folder])) == 8
    assert "8 images" in caplog.text and "1 .txt" in caplog.text and "1 .png" in caplog.text


def test_a_network_on_crops_refuses_clouds_that_are_in_no_pixel_order(stores, tmp_path):
    stores("written", order="written")
    with pytest.raises(InputError, match=r"data\.inputs=crop"):
        embedded(tmp_path, "written", network=["--model", "shufflenetv2"])


@pytest.mark.thorough
def test_two_processes_embed_like_one(crops, tmp_path):
    predict_and_save(crops / "data", tmp_path / "plain.ckpt")
    files = []
    for devices in "12":
        files.append(tmp_path / f"{devices}.npz")
        command = [sys.executable, "-m", "ogreid", "embed", "--checkpoint", str(tmp_path / "plain.ckpt"), "--input"]
        options = ["--data", str(crops / "data"), "--devices", devices, "--to", str(files[-1])]
        subprocess.run([*command, STORE, *options], check=True, capture_output=True)
    one, two = (dict(np.load(file)) for file in files)
    assert all(np.array_equal(one[name], two[name]) for name in one)
