import logging
import subprocess
import sys

import pytest

import benchmark_trees as trees
from ogreid import pack
from ogreid.data import Store
from ogreid.errors import InputError


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("OGREID_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def crops(tmp_path):
    for name in ("0001_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg", "0002_c2_0.jpg"):
        trees.picture(tmp_path / "crops" / name, seed=int(name[3]))
    return tmp_path / "crops"


def test_a_folder_of_crops_becomes_a_store_and_the_second_time_nothing(data, crops, caplog):
    caplog.set_level(logging.INFO)
    order = ["people-folder", "--images", str(crops), "--workers", "1"]
    assert pack.main(order) == 0
    store = Store.open(data / "people-folder")
    assert store.manifest.splits == {"query": 3, "gallery": 3}
    assert "built-in upright body" in caplog.text and "GB on disk" in caplog.text
    stamp = (store.path / "xyz.npy").stat().st_mtime_ns
    assert pack.main(order) == 0
    assert "already packed" in caplog.text
    assert (store.path / "xyz.npy").stat().st_mtime_ns == stamp


def test_to_and_name_choose_another_place(tmp_path, crops):
    pack.main(["people-folder", "--images", str(crops), "--to", str(tmp_path / "here/mine"), "--workers", "1"])
    assert Store.open(tmp_path / "here/mine").name == "mine"
    pack.main(["folder", "--root", str(crops), "--name", "yours", "--data", str(tmp_path), "--workers", "1"])
    assert Store.open(tmp_path / "yours").manifest.benchmark == "folder"


@pytest.mark.parametrize("benchmark", ["market", "duke", "msmt", "cuhk"])
def test_every_benchmark_packs_from_its_own_layout(tmp_path, data, benchmark):
    root = getattr(trees, benchmark)(tmp_path / "tree")
    pack.main([benchmark, "--root", str(root), "--allow-count-mismatch", "--workers", "1"])
    store = Store.open(data / benchmark)
    assert store.manifest.benchmark == benchmark and len(store.split("query")) and len(store.split("train"))


def test_published_clouds_pack_from_the_tree_and_from_the_folder_above(tmp_path, data):
    root = trees.clouds(tmp_path / "released")
    for place, name in ((root, "above"), (root / "3DMarket+bg", "tree")):
        order = ["market", "--published", str(place), "--name", name, "--allow-count-mismatch", "--workers", "1"]
        pack.main([*order, "--dtype", "float32"])
        store = Store.open(data / name)
        assert store.manifest.splits == {"train": 2, "query": 1, "gallery": 2} and store.points == 40
        assert store.rows["source"][0].endswith("train_all/0002/0002_c1s1_000451_03.jpg.obj")
    (root / "3DMarket").mkdir()
    with pytest.raises(InputError, match=r"holds 3DMarket, 3DMarket\+bg; name the one"):
        pack.main(["market", "--published", str(root), "--name", "other"])


def test_a_packed_store_is_verified_shown_and_exported(tmp_path, data, crops, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    pack.main(["mine", "--images", str(crops), "--workers", "1"])
    pack.main(["mine", "--verify", "--preview", "2", "--export-ply", "1"])
    assert "every checksum" in caplog.text
    assert (data / "mine-preview.html").stat().st_size > 1000
    assert (tmp_path / "mine-1.ply").stat().st_size > 8192 * 15
    content = bytearray((data / "mine/xyz.npy").read_bytes())
    content[-1] ^= 1
    (data / "mine/xyz.npy").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"xyz.npy: rows 0 to 5 do not have their checksum"):
        pack.main(["mine", "--verify"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--mode", "nearest"], "already packed with --mode raster, not nearest; --overwrite"),
        (["--dtype", "float32"], "already packed with --dtype float16, not float32"),
        (["--extra", "normal"], "already packed without --extra normal"),
    ],
)
def test_a_packed_store_is_not_taken_for_one_of_other_settings(data, crops, more, words):
    order = ["mine", "--images", str(crops), "--workers", "1"]
    pack.main(order)
    with pytest.raises(InputError, match=words):
        pack.main([*order, *more])


def test_an_unknown_mode_is_refused_before_any_crop_is_read(data, crops):
    with pytest.raises(InputError, match=r"^--mode rastr: did you mean raster"):
        pack.main(["mine", "--images", str(crops), "--mode", "rastr"])


def test_shares_are_packed_beside_the_store_and_merged(data, crops, caplog):
    caplog.set_level(logging.INFO)
    pack.main(["mine", "--images", str(crops), "--shard", "2/2", "--workers", "1"])
    assert Store.open(data / "mine.shard-2-of-2").manifest.shard.count == 2
    with pytest.raises(InputError, match="nothing is left for this shard"):
        pack.main(["mine", "--images", str(crops), "--shard", "1/2", "--workers", "1"])
    pack.main(["mine", "--merge", "--verify"])
    assert len(Store.open(data / "mine")) == 6 and "no longer needed" in caplog.text


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (["market"], "where is Market-1501.*--root DIR"),
        (["markett", "--root", "."], "did you mean market"),
        (["market", "--images", "."], "market is a benchmark"),
        (["market", "--root", ".", "--workers", "0"], "--workers 0"),
        (["market", "--root", ".", "--mode"], "--help"),
        (["market", "--root", ".", "--shard", "3"], "expected I/N"),
        (["market", "--merge", "--shard", "1/2"], "not allowed with"),
        (["market", "--verify"], "where is Market-1501"),
        (["market", "--root", ".", "--mode", "rastr"], "Market-1501 is not in it"),
        (["plaza"], "say how many people, like plaza-160"),
        (["plazza-16-s2"], "did you mean plaza-16-s2"),
    ],
)
def test_a_wrong_order_is_answered_in_one_line(data, order, words):
    with pytest.raises(InputError, match=words) as refusal:
        pack.main(order)
    assert "\n" not in str(refusal.value)
    assert not data.exists()


def test_the_door_reports_an_error_in_one_line_with_status_2_without_torch(tmp_path):
    code = "import sys; from ogreid import doors, pack; sys.argv[1:] = ['market', '--root', 'nowhere'];"
    code += "import atexit; atexit.register(lambda: print('torch' in sys.modules)); doors.run(pack.main)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: nowhere: no such folder") and answer.stderr.count("\n") == 1
    assert answer.stdout == "False\n"
