"""Several processes at one store: refused or correct, never mixed.

Threads stand for processes here: ``flock`` keeps two open files apart, whoever opened them.
"""

import os
import pickle
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import benchmark_trees as trees
from ogreid import locks
from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK, Field, Manifest, make_rows
from ogreid.data.datasets.synthetic_stores import ensure_synthetic
from ogreid.data.store.writing import StoreWriter, write_block
from ogreid.errors import InputError
from ogreid.lifting import upright_template

ROWS, POINTS = BLOCK + 7, 8


def write(path, color, *, overwrite=False, rows=ROWS):
    """A store whose every byte of rgb, identity and source tells who packed it."""
    fields = {"xyz": Field("float32", (POINTS, 3)), "rgb": Field("uint8", (POINTS, 3))}
    size = {"points": POINTS, "height": 4, "width": 2}
    plan = Manifest(
        name="tiny", benchmark="folder", mode="raster", order="scattered", background=True, fields=fields, **size
    )
    told = make_rows(["query"] * rows, [color] * rows, [1] * rows, [f"{color}/{i}.jpg" for i in range(rows)])
    with StoreWriter(path, plan, told, overwrite=overwrite) as writer:
        for block in writer.pending():
            shape = (len(writer.of_block(block)), POINTS, 3)
            arrays = {"xyz": np.full(shape, color, np.float32), "rgb": np.full(shape, color, np.uint8)}
            writer.record(block, write_block(writer.part, block, arrays))
        return writer.finish()


def color_of(store):
    """Who packed it; every part must say the same."""
    xyz, rgb = store.raw(range(len(store)))
    told = {*np.unique(rgb).tolist(), *np.unique(xyz).tolist(), *np.unique(store.rows["identity"]).tolist()}
    assert len(told) == 1, f"mixed: {told}"
    return told.pop()


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.thorough)])
def test_packs_of_one_store_at_once_leave_one_whole_store_and_tell_the_others(tmp_path, rounds):
    def attempt(color):
        start.wait()
        try:
            return color_of(write(tmp_path / "tiny", color, overwrite=True)) == color
        except InputError as error:
            assert "another process is packing this store" in str(error)
            return None

    for _ in range(rounds):
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(attempt, range(1, 5)))
        assert True in told, told
        left = Store.open(tmp_path / "tiny")
        left.verify()
        assert color_of(left) in range(1, 5)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.thorough)])
def test_a_store_opened_while_it_is_replaced_is_the_old_one_or_the_new_one(tmp_path, rounds):
    write(tmp_path / "tiny", 1)
    done = threading.Event()

    def replace():
        for color in range(2, rounds + 2):
            write(tmp_path / "tiny", color % 200, overwrite=True)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(replace)
        while not done.is_set() and not running.done():
            try:
                opened = Store.open(tmp_path / "tiny")
                color_of(opened)
                opened.verify()
            except InputError as error:  # between the two renames, or the checksums' file is the newer one already
                assert str(tmp_path / "tiny") in str(error)
        running.result()
    assert color_of(Store.open(tmp_path / "tiny")) == (rounds + 1) % 200


def test_an_open_store_stays_what_it_was_when_another_takes_its_place_or_its_folder_is_deleted(tmp_path):
    opened = write(tmp_path / "tiny", 1)
    write(tmp_path / "tiny", 2, overwrite=True)
    assert np.unique(opened.raw(range(ROWS))[1]).tolist() == [1]
    second = Store.open(tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny")
    assert np.unique(second.raw(range(ROWS))[1]).tolist() == [2]


def test_a_worker_does_not_open_another_store_than_the_process_it_works_for(tmp_path):
    packed = pickle.dumps(write(tmp_path / "tiny", 1))
    write(tmp_path / "tiny", 2, overwrite=True)
    with pytest.raises(InputError, match="tiny: was packed anew while it was in use; start again"):
        pickle.loads(packed)


def test_arrays_of_another_store_of_the_same_size_are_found_out_by_verify(tmp_path):
    write(tmp_path / "tiny", 1)
    write(tmp_path / "other", 2)
    shutil.copy(tmp_path / "other/rgb.npy", tmp_path / "tiny/rgb.npy")
    with pytest.raises(InputError, match=r"rgb.npy: rows 0 to 127 do not have their checksum"):
        Store.open(tmp_path / "tiny").verify()
    shutil.copy(tmp_path / "other/rows.npy", tmp_path / "tiny/rows.npy")
    with pytest.raises(InputError, match=r"rows.npy: the rows do not have the checksum"):
        Store.open(tmp_path / "tiny")


@pytest.mark.parametrize("left", [0, 200, 4096])
def test_a_file_that_is_cut_off_while_it_is_mapped_is_refused_and_does_not_end_the_process(tmp_path, left):
    store = write(tmp_path / "tiny", 1)
    os.truncate(store.path / "xyz.npy", left)
    with pytest.raises(InputError, match=rf"xyz.npy: {left} of \d+ bytes are left, cut off while in use"):
        store.raw([ROWS - 1])


def test_a_drive_that_went_away_is_told(tmp_path):
    store = write(tmp_path / "tiny", 1)

    def gone():
        raise OSError(116, "Stale file handle")

    store._arrays["rgb"]._map = SimpleNamespace(size=gone)
    with pytest.raises(InputError, match=r"rgb.npy: no longer readable \(Stale file handle\); is its drive still there"):
        store.field("rgb", [0])


def test_a_replacement_that_was_killed_between_its_renames_loses_no_store(tmp_path):
    write(tmp_path / "tiny", 1)
    (tmp_path / "tiny").rename(tmp_path / "tiny.old")
    with pytest.raises(InputError, match="already packed"):
        write(tmp_path / "tiny", 2)
    assert color_of(Store.open(tmp_path / "tiny")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_what_is_not_ours_beside_a_store_is_neither_followed_nor_deleted(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"precious")
    (tmp_path / "tiny.part").symlink_to(tmp_path / "photos")
    with pytest.raises(InputError, match=r"tiny.part: not a folder of this program; move it away"):
        write(tmp_path / "tiny", 1)
    (tmp_path / "tiny.part").unlink()
    (tmp_path / "tiny.part").mkdir()
    (tmp_path / "tiny.part/notes.txt").write_text("precious")
    with pytest.raises(InputError, match=r"notes.txt: not a file of this program; move it away"):
        write(tmp_path / "tiny", 1)
    assert (tmp_path / "photos/holiday.jpg").exists() and (tmp_path / "tiny.part/notes.txt").exists()


@pytest.mark.parametrize(
    "journal",
    [
        "[]\n",
        "{}\n",
        '{"block": 99, "checksums": {"xyz": "", "rgb": ""}}\n',
        '{"block": 0, "checksums": 1}\n',
        "[" * 9999,
    ],
)
def test_a_journal_that_tells_nothing_true_is_not_believed(tmp_path, journal):
    with pytest.raises(KeyboardInterrupt):
        write_interrupted(tmp_path / "tiny")
    (tmp_path / "tiny.part/finished.jsonl").write_text(journal)
    assert color_of(write(tmp_path / "tiny", 1)) == 1


def write_interrupted(path):
    real = StoreWriter.record
    StoreWriter.record = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    try:
        write(path, 1)
    finally:
        StoreWriter.record = real


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"tiny.part: .*; choose another folder with --data or --to"):
        write(tmp_path / "file/tiny", 1)
    with pytest.raises(InputError, match="synthetic: cannot be written"):
        ensure_synthetic("plaza-4", tmp_path / "file")


def test_data_that_can_only_be_read_is_read(tmp_path, monkeypatch):
    write(tmp_path / "tiny", 1)

    def refuse(path, mode="r", *args, **kwargs):
        assert set(mode) <= set("rbt"), f"{path} opened for writing"
        return real(path, mode, *args, **kwargs)

    real = type(tmp_path).open
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    monkeypatch.setattr(type(tmp_path), "mkdir", lambda *_, **__: pytest.fail("made a folder"))
    assert color_of(Store.open(tmp_path / "tiny")) == 1


def test_who_waits_for_a_lock_gets_one_that_still_has_a_name(tmp_path):
    path, order = tmp_path / "lock", []
    first = locks.held(path)
    assert locks.held(path) is None

    def second():
        with locks.alone(path):
            order.append("second")
            assert locks.held(path) is None  # nobody gets in beside the one that waited

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second)
        time.sleep(0.05)
        order.append("first")
        locks.release(path, first)
        waiting.result()
    assert order == ["first", "second"] and not path.exists()


def test_runs_that_want_the_same_synthetic_people_make_them_once(tmp_path, monkeypatch):
    made = []

    def make_domain(domain, root, *, identities, **_):
        made.append(domain)
        time.sleep(0.05)
        trees.market(root, identities // 2)

    def read_estimates(root):
        return {path.relative_to(root).as_posix(): upright_template() for path in root.rglob("*.jpg")}

    people = SimpleNamespace(
        DOMAINS={"plaza": None}, APPEARANCE=1, make_domain=make_domain, read_estimates=read_estimates
    )
    monkeypatch.setitem(__import__("sys").modules, "ogreid.synthetic", people)
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: ensure_synthetic("plaza-4", tmp_path), range(3)))
    assert paths == {tmp_path / "plaza-4"} and made == ["plaza"]
    Store.open(tmp_path / "plaza-4").verify()
