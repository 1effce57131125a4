import sys

import numpy as np
import pytest
from PIL import Image

from ogreid import pack
from ogreid.data import Store
from ogreid.data.datasets.cuhk_mat import unpack_mat
from ogreid.errors import InputError

h5py = pytest.importorskip("h5py", reason="reads the released CUHK03 file only")
from scipy.io import savemat  # noqa: E402

NAMES = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "2_001_2_07.png", "1_002_2_10.png"]


def picture(name):
    return np.random.default_rng(sum(map(ord, name))).integers(0, 256, (90, 40, 3), dtype=np.uint8)


@pytest.fixture
def released(tmp_path):
    """Two pairs of cameras, two persons by ten pictures each, as MATLAB 7.3 writes cells of cells."""
    root = tmp_path / "cuhk03_release"
    root.mkdir()
    with h5py.File(root / "cuhk-03.mat", "w") as file:
        file.create_group("#refs#")
        pairs = []
        for pair in (1, 2):
            table = file.create_dataset(f"#refs#/p{pair}", (10, 2), dtype=h5py.ref_dtype)
            for person in (1, 2):
                for number in range(1, 11):
                    name = f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
                    told = picture(name).T if name in NAMES else np.zeros(2, dtype=np.uint64)
                    table[number - 1, person - 1] = file.create_dataset(f"#refs#/{name}", data=told).ref
            pairs.append(table.ref)
        for kind in ("detected", "labeled"):
            file.create_dataset(kind, (1, 2), dtype=h5py.ref_dtype)[0] = pairs
    split = {"train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4], [5]]}
    filelist = np.array([[name] for name in NAMES], dtype=object)
    savemat(
        root / "cuhk03_new_protocol_config_detected.mat",
        {"filelist": filelist, "labels": np.array([[1], [1], [2], [703], [2]])} | split,
    )
    return root


def test_the_released_file_becomes_market_style_folders(released, tmp_path):
    told = []
    folder = unpack_mat(released, "detected", tmp_path / "crops", lambda done, total: told.append((done, total)))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert names == [
        "bounding_box_test/0002_c2_10.png",
        "bounding_box_test/0703_c2_7.png",
        "bounding_box_train/0001_c1_1.png",
        "bounding_box_train/0001_c2_6.png",
        "query/0002_c1_1.png",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "query/0002_c1_1.png")), picture(NAMES[2]))
    assert told[-1] == (5, 5)


def test_the_door_unpacks_and_packs_it(released, tmp_path):
    # As the archive and the protocol are often unpacked: the split one folder above the pictures.
    split = "cuhk03_new_protocol_config_detected.mat"
    (released / split).rename(released.parent / split)
    order = [
        "cuhk",
        "--root",
        str(released.parent),
        "--allow-count-mismatch",
        "--workers",
        "1",
        "--data",
        str(tmp_path),
    ]
    pack.main(order)
    store = Store.open(tmp_path / "cuhk")
    assert store.manifest.splits == {"train": 2, "query": 1, "gallery": 2}
    assert store.manifest.benchmark == "cuhk"


def test_a_missing_or_damaged_part_is_named_and_nothing_is_left(released, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"config_labeled.mat: missing"):
        unpack_mat(released, "labeled", tmp_path / "crops")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h5py", None)
        with pytest.raises(InputError, match=r"cuhk-03.mat: reading it needs h5py; pip install"):
            unpack_mat(released, "detected", tmp_path / "crops")
    (released / "cuhk-03.mat").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"cuhk-03.mat: not the released file"):
        unpack_mat(released, "detected", tmp_path / "crops")
    (released / "cuhk03_new_protocol_config_detected.mat").write_bytes(b"x" * 200)
    with pytest.raises(InputError, match="not the new protocol's split"):
        unpack_mat(released, "detected", tmp_path / "crops")
    assert not list(tmp_path.glob("crops*"))
