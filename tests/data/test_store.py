import json
import pickle

import numpy as np
import pytest

from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK
from ogreid.data.store.mapped import scattered
from ogreid.errors import InputError
from small_stores import blocks_of, small_arrays, small_rows, small_store

POINTS, COUNT = 8, BLOCK + 5


@pytest.fixture
def arrays():
    return small_arrays(COUNT)


@pytest.fixture
def store(tmp_path, arrays):
    return small_store(tmp_path / "tiny", small_rows(COUNT), arrays)


@pytest.mark.parametrize("ahead", [True, False])
def test_rows_come_back_in_the_requested_order_and_count_from_the_end_too(store, arrays, ahead, monkeypatch):
    if not ahead:  # a system that takes no advice
        monkeypatch.delattr("mmap.MADV_WILLNEED")
    indices = [130, 3, 3, 0, -1]
    xyz, rgb = store.raw(indices)
    np.testing.assert_array_equal(xyz, arrays["xyz"][indices])
    np.testing.assert_array_equal(rgb, arrays["rgb"][indices])
    assert (xyz.dtype, rgb.dtype) == (np.float16, np.uint8)
    assert store.raw([])[0].shape == (0, POINTS, 3)
    pickled = pickle.dumps(store)  # to another process, as its path
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).raw(indices)[1], arrays["rgb"][indices])
    for outside in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=f"of an array of {COUNT}"):
            store.raw([outside])


def test_splits_and_the_manifest_describe_the_rows(tmp_path):
    store = small_store(tmp_path / "tiny", small_rows(12), small_arrays(12))
    assert (len(store), store.points, store.fields) == (12, POINTS, ("xyz", "rgb"))
    np.testing.assert_array_equal(store.split("query"), [1, 4, 7, 10])
    np.testing.assert_array_equal(store.split("val"), [])
    manifest = store.manifest
    assert manifest.splits == {"train": 4, "query": 4, "gallery": 4}
    assert manifest.cameras == {"1": 6, "2": 6}
    assert manifest.identities == {"train": 2, "query": 2, "gallery": 2}
    assert store.rows["source"][3] == "box/0000003.jpg"
    with pytest.raises(InputError, match="did you mean query"):
        store.split("querry")
    with pytest.raises(InputError, match="--extra normal"):
        store.field("normal", [0])


def test_the_scattered_order_is_a_fixed_permutation_without_rows_or_columns():
    order = scattered(8192)
    np.testing.assert_array_equal(np.sort(order), np.arange(8192))
    # Written out so that a store packed today can be read for ever.
    assert order[:6].tolist() == [7813, 4967, 6686, 410, 5326, 6212]
    rows = order // 64
    assert abs(np.corrcoef(rows, np.arange(8192))[0, 1]) < 0.05
    assert abs(rows[:512].mean() - 63.5) < 6


def test_the_crop_is_rebuilt_where_points_are_pixels(tmp_path, store, arrays):
    crop = store.crop(2)
    np.testing.assert_array_equal(crop.reshape(-1, 3)[scattered(POINTS)], arrays["rgb"][2])
    assert crop.shape == (4, 2, 3)
    assert small_store(tmp_path / "written", small_rows(COUNT), arrays, order="written").crop(2) is None


def test_an_interrupted_pack_resumes_and_a_damaged_block_is_written_again(tmp_path):
    def interrupted(part, pending):
        yield from blocks_of(arrays)(part, [0, 2])
        raise KeyboardInterrupt

    def resumed(part, pending):
        seen.append(pending)
        yield from blocks_of(arrays)(part, pending)

    rows, arrays, target, seen = small_rows(3 * BLOCK), small_arrays(3 * BLOCK), tmp_path / "tiny", []
    with pytest.raises(KeyboardInterrupt):
        small_store(target, rows, arrays, blocks=interrupted)
    with (tmp_path / "tiny.part/finished.jsonl").open("a") as journal:
        journal.write('{"block": 1, "chec')  # killed in the middle of a line
    damage(tmp_path / "tiny.part/xyz.npy", at=-3)
    store = small_store(target, rows, arrays, blocks=resumed)
    np.testing.assert_array_equal(store.raw(range(3 * BLOCK))[0], arrays["xyz"])
    store.verify()
    with pytest.raises(KeyboardInterrupt):
        small_store(target, rows, arrays, overwrite=True, blocks=interrupted)
    small_store(target, rows, arrays, overwrite=True, blocks=resumed, mode="nearest")  # another plan starts anew
    assert seen == [[1, 2], [0, 1, 2]]


def test_a_store_is_replaced_on_request_and_a_foreign_folder_never(tmp_path, store):
    rows, arrays = small_rows(4), small_arrays(4)
    with pytest.raises(InputError, match="already packed; --overwrite"):
        small_store(store.path, rows, arrays)
    assert len(small_store(store.path, rows, arrays, overwrite=True)) == 4
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["tiny"]
    assert sorted(path.name for path in store.path.iterdir()) == ["manifest.json", "rgb.npy", "rows.npy", "xyz.npy"]
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="not a packed store"):
        small_store(tmp_path / "photos", rows, arrays, overwrite=True)


def damage(path, at):
    body = bytearray(path.read_bytes())
    body[at] ^= 255
    path.write_bytes(bytes(body))


def test_verify_names_the_file_and_rows_that_changed(store):
    store.verify()
    damage(store.path / "rgb.npy", at=-1)
    with pytest.raises(InputError, match=rf"rgb.npy: rows {BLOCK} to {COUNT - 1} "):
        Store.open(store.path).verify()


def edit_manifest(path, **changes):
    values = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: (path / "xyz.npy").write_bytes((path / "xyz.npy").read_bytes()[:-7]), "xyz.npy: not a whole"),
        (lambda path: (path / "xyz.npy").write_bytes(b""), "xyz.npy: not a whole"),
        (
            lambda path: (path / "rgb.npy").write_bytes((path / "rgb.npy").read_bytes() + b"more"),
            "rgb.npy: not a whole .*holds 3196",
        ),
        (lambda path: (path / "rgb.npy").unlink(), "rgb.npy: missing"),
        (lambda path: np.save(path / "rgb.npy", np.zeros((3, 2))), r"rgb.npy: expected .* got \(3, 2\) float64"),
        (lambda path: damage(path / "rows.npy", at=-8), "rows.npy: .*checksum"),
        (lambda path: np.save(path / "rows.npy", np.zeros(3)), "rows.npy: not the rows"),
        (lambda path: edit_manifest(path, version=99), "format 99"),
        (lambda path: edit_manifest(path, format="other"), "not the manifest"),
        (lambda path: edit_manifest(path, points=-1), "contradictory"),
        (lambda path: edit_manifest(path, name=".."), "contradictory"),
        (lambda path: (path / "manifest.json").write_text("{"), "not a readable manifest"),
        (lambda path: (path / "manifest.json").write_text('{"format": "ogreid-store", "version": 1}'), "incomplete"),
        (lambda path: (path / "manifest.json").unlink(), "no packed store"),
    ],
)
def test_a_damaged_store_is_refused_with_the_file_s_name(store, spoil, words):
    spoil(store.path)
    with pytest.raises(InputError, match=words) as refusal:
        Store.open(store.path)
    assert str(store.path) in str(refusal.value)
