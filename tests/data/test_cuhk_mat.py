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

SPLIT = "cuhk03_new_protocol_config_detected.mat"
NAMES = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "2_001_2_07.png", "1_002_2_10.png"]


def image(name):
    return np.random.default_rng(sum(map(ord, name))).integers(0, 256, (90, 40, 3), dtype=np.uint8)


@pytest.fixture
def released(tmp_path):
    """Two pairs of cameras, two persons by ten images each, as MATLAB 7.3 writes cells of cells."""
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
                    values = image(name).T if name in NAMES else np.zeros(2, dtype=np.uint64)
                    table[number - 1, person - 1] = file.create_dataset(f"#refs#/{name}", data=values).ref
            pairs.append(table.ref)
        for kind in ("detected", "labeled"):
            file.create_dataset(kind, (1, 2), dtype=h5py.ref_dtype)[0] = pairs
    split = {"train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4], [5]]}
    filelist = np.array([[name] for name in NAMES], dtype=object)
    savemat(
        root / SPLIT,
        {"filelist": filelist, "labels": np.array([[1], [1], [2], [703], [2]])} | split,
    )
    return root


def test_the_released_file_becomes_market_style_folders(released, tmp_path):
    steps = []
    folder = unpack_mat(released, "detected", tmp_path / "crops", lambda done, total: steps.append((done, total)))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert names == [
        "bounding_box_test/0002_c2_10.png",
        "bounding_box_test/0703_c2_7.png",
        "bounding_box_train/0001_c1_1.png",
        "bounding_box_train/0001_c2_6.png",
        "query/0002_c1_1.png",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "query/0002_c1_1.png")), image(NAMES[2]))
    assert steps[-1] == (5, 5)


def test_the_command_unpacks_and_packs_it(released, tmp_path):
    # As the archive and the protocol are often unpacked: the split one folder above the images.
    (released / SPLIT).rename(released.parent / SPLIT)
    where = ["--root", str(released.parent), "--data", str(tmp_path)]
    pack.main(["cuhk", *where, "--allow-count-mismatch", "--workers", "1"])
    store = Store.open(tmp_path / "cuhk")
    assert store.manifest.splits == {"train": 2, "query": 1, "gallery": 2}
    assert store.manifest.benchmark == "cuhk"


def test_a_missing_or_damaged_part_is_named_and_nothing_is_left(released, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"config_labeled.mat: missing"):
        unpack_mat(released, "labeled", tmp_path / "crops")
    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"cuhk-03.mat: .*pip install"):
        patch.setitem(sys.modules, "h5py", None)
        unpack_mat(released, "detected", tmp_path / "crops")
    for name in ("cuhk-03.mat", SPLIT):
        (released / name).write_bytes(b"x" * 200)
        with pytest.raises(InputError, match=f"{name}: not the "):
            unpack_mat(released, "detected", tmp_path / "crops")
    assert not list(tmp_path.glob("crops*"))
