import json
import pickle

import numpy as np
import pytest

from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK, Field, Manifest, make_rows
from ogreid.data.store.reading import scattered
from ogreid.data.store.writing import StoreWriter, write_block
from ogreid.errors import InputError

POINTS = 8


def plan(**changes):
    fields = {"xyz": Field("float16", (POINTS, 3)), "rgb": Field("uint8", (POINTS, 3))}
    settings = {"mode": "raster", "order": "scattered", "background": True, "height": 4, "width": 2}
    return Manifest(**{"name": "tiny", "benchmark": "market", "points": POINTS, "fields": fields} | settings | changes)


def rows_of(count):
    splits = ["train", "query", "gallery"]
    return make_rows(
        [splits[i % 3] for i in range(count)],
        [i // 4 - 1 for i in range(count)],
        [i % 2 + 1 for i in range(count)],
        [f"box/{i:04d}.jpg" for i in range(count)],
    )


def content(count, seed=0):
    rng = np.random.default_rng(seed)
    xyz = rng.normal(size=(count, POINTS, 3)).astype(np.float16)
    return {"xyz": xyz, "rgb": rng.integers(0, 256, (count, POINTS, 3), dtype=np.uint8)}


def write(path, count=BLOCK + 5, **changes):
    arrays = content(count)
    with StoreWriter(path, plan(**changes), rows_of(count)) as writer:
        for block in writer.pending():
            inside = slice(block * BLOCK, (block + 1) * BLOCK)
            writer.record(block, write_block(writer.part, block, {k: v[inside] for k, v in arrays.items()}))
        return writer.finish(), arrays


def test_rows_come_back_in_the_order_they_are_asked_for(tmp_path):
    store, arrays = write(tmp_path / "tiny")
    wanted = [130, 3, 3, 0]
    xyz, rgb = store.raw(wanted)
    np.testing.assert_array_equal(xyz, arrays["xyz"][wanted])
    np.testing.assert_array_equal(rgb, arrays["rgb"][wanted])
    assert (xyz.dtype, rgb.dtype) == (np.float16, np.uint8)


def test_rows_count_from_the_end_too_and_end_where_they_end(tmp_path):
    store, arrays = write(tmp_path / "tiny", count=6)
    np.testing.assert_array_equal(store.raw([-1])[1][0], arrays["rgb"][5])
    assert store.raw([])[0].shape == (0, POINTS, 3)
    for outside in (6, -7):
        with pytest.raises(IndexError, match="of an array of 6"):
            store.raw([outside])


def test_rows_are_read_alike_where_the_system_cannot_be_asked_ahead(tmp_path, monkeypatch):
    store, arrays = write(tmp_path / "tiny")
    monkeypatch.delattr("mmap.MADV_WILLNEED")
    np.testing.assert_array_equal(store.raw([130, 3])[0], arrays["xyz"][[130, 3]])


def test_clouds_are_ready_for_a_network(tmp_path):
    store, arrays = write(tmp_path / "tiny")
    xyz, rgb = store.clouds(np.array([1, 2]))
    assert xyz.dtype == rgb.dtype == np.float32
    np.testing.assert_array_equal(xyz, arrays["xyz"][1:3].astype(np.float32))
    np.testing.assert_array_equal(rgb, arrays["rgb"][1:3] / np.float32(255))


def test_splits_and_the_manifest_tell_what_is_in_it(tmp_path):
    store, _ = write(tmp_path / "tiny", count=12)
    assert len(store) == 12 and store.points == POINTS
    np.testing.assert_array_equal(store.split("query"), [1, 4, 7, 10])
    np.testing.assert_array_equal(store.split("val"), [])
    manifest = store.manifest
    assert manifest.splits == {"train": 4, "query": 4, "gallery": 4}
    assert manifest.cameras == {"1": 6, "2": 6}
    assert manifest.identities == {"train": 2, "query": 2, "gallery": 2}
    assert store.rows["source"][3] == "box/0003.jpg"
    with pytest.raises(InputError, match="did you mean query"):
        store.split("querry")


def test_a_store_travels_to_another_process_as_its_path(tmp_path):
    store, arrays = write(tmp_path / "tiny")
    packed = pickle.dumps(store)
    assert len(packed) < 500
    np.testing.assert_array_equal(pickle.loads(packed).raw([7])[1][0], arrays["rgb"][7])


def test_the_scattered_order_is_a_fixed_permutation_without_rows_or_columns():
    order = scattered(8192)
    np.testing.assert_array_equal(np.sort(order), np.arange(8192))
    # Written out so that a store packed today can be read for ever.
    assert order[:6].tolist() == [7813, 4967, 6686, 410, 5326, 6212]
    rows = order // 64
    assert abs(np.corrcoef(rows, np.arange(8192))[0, 1]) < 0.05
    assert abs(rows[:512].mean() - 63.5) < 6


def test_the_picture_is_the_crop_again(tmp_path):
    store, arrays = write(tmp_path / "tiny")
    crop = store.picture(2)
    np.testing.assert_array_equal(crop.reshape(-1, 3)[scattered(POINTS)], arrays["rgb"][2])
    assert crop.shape == (4, 2, 3)
    written, _ = write(tmp_path / "written", order="written")
    assert written.picture(2) is None


def test_equal_content_gives_equal_bytes(tmp_path):
    write(tmp_path / "a" / "tiny")
    write(tmp_path / "b" / "tiny")
    for name in ("manifest.json", "rows.npy", "xyz.npy", "rgb.npy"):
        assert (tmp_path / "a/tiny" / name).read_bytes() == (tmp_path / "b/tiny" / name).read_bytes()


def test_nothing_is_left_beside_a_finished_store(tmp_path):
    write(tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        "manifest.json",
        "rgb.npy",
        "rows.npy",
        "xyz.npy",
    ]


def test_an_interrupted_pack_goes_on_and_a_damaged_block_is_written_again(tmp_path):
    count, target = 3 * BLOCK, tmp_path / "tiny"
    arrays = content(count)

    def put(writer, block):
        inside = slice(block * BLOCK, (block + 1) * BLOCK)
        writer.record(block, write_block(writer.part, block, {k: v[inside] for k, v in arrays.items()}))

    with pytest.raises(KeyboardInterrupt), StoreWriter(target, plan(), rows_of(count)) as writer:
        put(writer, 0)
        put(writer, 2)
        raise KeyboardInterrupt
    with (tmp_path / "tiny.part/finished.jsonl").open("a") as journal:
        journal.write('{"block": 1, "chec')  # killed in the middle of a line
    damage(tmp_path / "tiny.part/xyz.npy", at=-3)
    with StoreWriter(target, plan(), rows_of(count)) as writer:
        assert writer.pending() == [1, 2]
        put(writer, 1)
        put(writer, 2)
        store = writer.finish()
    np.testing.assert_array_equal(store.raw(range(count))[0], arrays["xyz"])
    store.verify()


def test_another_plan_starts_anew(tmp_path):
    count, target = BLOCK, tmp_path / "tiny"
    with pytest.raises(KeyboardInterrupt), StoreWriter(target, plan(), rows_of(count)) as writer:
        writer.record(0, write_block(writer.part, 0, content(count)))
        raise KeyboardInterrupt
    with StoreWriter(target, plan(mode="nearest"), rows_of(count)) as writer:
        assert writer.pending() == [0]


def test_a_user_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError), StoreWriter(tmp_path / "tiny", plan(), rows_of(4)):
        raise InputError("a crop cannot be read")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_cannot_pack_one_store(tmp_path):
    with (
        StoreWriter(tmp_path / "tiny", plan(), rows_of(4)),
        pytest.raises(InputError, match="another process is packing"),
        StoreWriter(tmp_path / "tiny", plan(), rows_of(4)),
    ):
        pass


def test_a_store_is_replaced_only_when_asked_and_a_foreign_folder_never(tmp_path):
    store, _ = write(tmp_path / "tiny", count=6)
    with pytest.raises(InputError, match="already packed; --overwrite"):
        StoreWriter(store.path, plan(), rows_of(4))
    with StoreWriter(store.path, plan(), rows_of(4), overwrite=True) as writer:
        writer.record(0, write_block(writer.part, 0, content(4)))
        assert len(writer.finish()) == 4
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="photos: already there, and not a packed store"):
        StoreWriter(tmp_path / "photos", plan(), rows_of(4), overwrite=True)


def damage(path, at):
    body = bytearray(path.read_bytes())
    body[at] ^= 255
    path.write_bytes(bytes(body))


def test_verify_names_the_file_and_rows_that_changed(tmp_path):
    store, _ = write(tmp_path / "tiny")
    store.verify()
    damage(store.path / "rgb.npy", at=-1)
    with pytest.raises(InputError, match=rf"rgb.npy: rows {BLOCK} to {BLOCK + 4} do not have their checksum"):
        Store.open(store.path).verify()


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"more")


def edit_manifest(path, **changes):
    told = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(told | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: (path / "xyz.npy").write_bytes((path / "xyz.npy").read_bytes()[:-7]), r"xyz.npy: not a whole"),
        (lambda path: (path / "xyz.npy").write_bytes(b""), r"xyz.npy: not a whole"),
        (lambda path: lengthen(path / "rgb.npy"), r"rgb.npy: not a whole .* the file holds 3196"),
        (lambda path: (path / "rgb.npy").unlink(), r"rgb.npy: missing"),
        (lambda path: np.save(path / "rgb.npy", np.zeros((3, 2))), r"rgb.npy: holds \(3, 2\) float64, the manifest"),
        (lambda path: damage(path / "rows.npy", at=-8), r"rows.npy: the rows do not have the checksum"),
        (lambda path: np.save(path / "rows.npy", np.zeros(3)), r"rows.npy: not the \d+ rows"),
        (lambda path: edit_manifest(path, version=99), r"store format 99, this ogreid .* reads format 1"),
        (lambda path: edit_manifest(path, format="other"), "not the manifest of an ogreid store"),
        (lambda path: (path / "manifest.json").write_text("{"), "not a readable manifest"),
        (lambda path: (path / "manifest.json").write_text('{"format": "ogreid-store", "version": 1}'), "incomplete"),
        (lambda path: (path / "manifest.json").unlink(), "no packed store"),
    ],
)
def test_a_damaged_store_is_refused_with_the_file_s_name(tmp_path, spoil, words):
    store, _ = write(tmp_path / "tiny")
    del store
    spoil(tmp_path / "tiny")
    with pytest.raises(InputError, match=words) as refusal:
        Store.open(tmp_path / "tiny")
    assert str(tmp_path / "tiny") in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_field_that_was_not_stored_is_asked_for_in_vain(tmp_path):
    store, _ = write(tmp_path / "tiny", count=4)
    assert store.fields == ("xyz", "rgb")
    with pytest.raises(InputError, match="stores no 'normal', only xyz, rgb; pack with --extra normal"):
        store.field("normal", [0])
