import logging

import pytest

import benchmark_trees as trees
from ogreid import pack
from ogreid.data import Store
from ogreid.data.datasets.obj import read_published
from ogreid.errors import InputError


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("OGREID_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def crops(tmp_path):
    for name in ("0001_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg", "0002_c2_0.jpg"):
        trees.image(tmp_path / "crops" / name, seed=int(name[3]))
    return str(tmp_path / "crops")


def run(*arguments):
    assert pack.main([*map(str, arguments), "--workers", "1"]) == 0


def test_a_folder_of_crops_becomes_a_store_and_the_second_time_nothing(data, crops, caplog):
    caplog.set_level(logging.INFO)
    run("people-folder", "--images", crops)
    store = Store.open(data / "people-folder")
    assert store.manifest.splits == {"query": 3, "gallery": 3}
    assert "built-in upright body" in caplog.text and "GB on disk" in caplog.text
    stamp = (store.path / "xyz.npy").stat().st_mtime_ns
    run("people-folder", "--images", crops)
    assert "already packed" in caplog.text
    assert (store.path / "xyz.npy").stat().st_mtime_ns == stamp


def test_to_and_name_choose_another_place_and_an_empty_variable_is_not_set(tmp_path, crops, monkeypatch):
    run("people-folder", "--images", crops, "--to", tmp_path / "here/mine")
    assert Store.open(tmp_path / "here/mine").name == "mine"
    run("folder", "--root", crops, "--name", "yours", "--data", tmp_path)
    assert Store.open(tmp_path / "yours").manifest.benchmark == "folder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OGREID_DATA", "")
    run("mine", "--images", crops)
    assert len(Store.open("data/mine")) == 6


def test_published_clouds_pack_from_the_tree_and_from_the_folder_above(tmp_path, data):
    root = trees.clouds(tmp_path / "released")
    for place, name in ((root, "above"), (root / "3DMarket+bg", "tree")):
        run("market", "--published", place, "--name", name, "--allow-count-mismatch", "--dtype", "float32")
        store = Store.open(data / name)
        assert store.manifest.splits == {"train": 2, "query": 1, "gallery": 2} and store.points == 40
        assert store.rows["source"][0].endswith("train_all/0002/0002_c1s1_000451_03.jpg.obj")
    with pytest.raises(InputError, match=r"expected 8192 points, or 6890 .*, got 40"):
        read_published("folder", root / "3DMarket+bg")
    (root / "3DMarket").mkdir()
    with pytest.raises(InputError, match=r"3DMarket, 3DMarket\+bg; name the one"):
        run("market", "--published", root, "--name", "other")


def test_a_packed_store_is_verified_shown_and_exported(tmp_path, data, crops, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    run("mine", "--images", crops)
    run("mine", "--verify", "--preview", "2", "--export-ply", "1")
    assert "every checksum" in caplog.text
    assert (data / "mine-preview.html").stat().st_size > 1000
    assert (tmp_path / "mine-1.ply").stat().st_size > 8192 * 15
    content = bytearray((data / "mine/xyz.npy").read_bytes())
    content[-1] ^= 1
    (data / "mine/xyz.npy").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"xyz.npy: rows 0 to 5 .*checksum"):
        run("mine", "--verify")


def test_a_packed_store_is_not_taken_for_one_of_other_settings(data, crops):
    run("mine", "--images", crops)
    for option, value in {"--mode": "nearest", "--dtype": "float32", "--extra": "normal"}.items():
        with pytest.raises(InputError, match=f"already packed with.*{option}.*--overwrite"):
            run("mine", "--images", crops, option, value)


def test_shards_are_packed_beside_the_store_and_merged(data, crops, caplog):
    caplog.set_level(logging.INFO)
    run("mine", "--images", crops, "--shard", "2/2")
    assert Store.open(data / "mine.shard-2-of-2").manifest.shard.count == 2
    with pytest.raises(InputError, match="nothing is left"):
        run("mine", "--images", crops, "--shard", "1/2")
    run("mine", "--merge", "--verify")
    assert len(Store.open(data / "mine")) == 6 and "no longer needed" in caplog.text
