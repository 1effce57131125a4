"""Several processes at one store: refused or correct, never mixed.

Threads stand for processes here: ``flock`` keeps two open files apart, whoever opened them.
"""

import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ogreid.data import Store
from ogreid.data.datasets.synthetic_stores import ensure_synthetic
from ogreid.data.store.manifest import BLOCK
from ogreid.errors import InputError
from small_stores import blocks_of, small_rows, small_store

ROWS, POINTS = BLOCK + 7, 8


def colored(color):
    """Rows and arrays whose every identity, source and byte says who packed them."""
    shape = (ROWS, POINTS, 3)
    arrays = {"xyz": np.full(shape, color, np.float32), "rgb": np.full(shape, color, np.uint8)}
    return small_rows(ROWS, identity=[color] * ROWS, split=["query"] * ROWS), arrays


def write(path, color, **options):
    return small_store(path, *colored(color), **options)


def color_of(store):
    """Who packed it; every part must say the same."""
    xyz, rgb = store.raw(range(len(store)))
    colors = {*np.unique(rgb).tolist(), *np.unique(xyz).tolist(), *np.unique(store.rows["identity"]).tolist()}
    assert len(colors) == 1, f"mixed: {colors}"
    return colors.pop()


def visible(folder):
    return sorted(path.name for path in folder.glob("[!.]*"))


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.thorough)])
def test_packs_of_one_store_at_once_leave_one_whole_store_and_refuse_the_others(tmp_path, rounds):
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
            results = list(pool.map(attempt, range(1, 5)))
        assert True in results, results
        store = Store.open(tmp_path / "tiny")
        store.verify()
        assert color_of(store) in range(1, 5)
        assert visible(tmp_path) == ["tiny"]


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
                store = Store.open(tmp_path / "tiny")
                color_of(store)
                store.verify()
            except InputError as error:  # between the two renames, or the checksums' file is the newer one already
                assert str(tmp_path / "tiny") in str(error)
        running.result()
    assert color_of(Store.open(tmp_path / "tiny")) == (rounds + 1) % 200


def test_an_open_store_stays_as_it_was_when_another_takes_its_place_or_its_folder_is_deleted(tmp_path):
    first = write(tmp_path / "tiny", 1)
    pickled = pickle.dumps(first)
    write(tmp_path / "tiny", 2, overwrite=True)
    assert np.unique(first.raw(range(ROWS))[1]).tolist() == [1]
    with pytest.raises(InputError, match="packed anew"):  # a worker must not read another store than its parent
        pickle.loads(pickled)
    second = Store.open(tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny")
    assert np.unique(second.raw(range(ROWS))[1]).tolist() == [2]


@pytest.mark.parametrize("left", [0, 200, 4096])
def test_a_file_that_is_cut_off_while_it_is_mapped_is_refused_and_does_not_end_the_process(tmp_path, left):
    store = write(tmp_path / "tiny", 1)
    os.truncate(store.path / "xyz.npy", left)
    with pytest.raises(InputError, match=rf"xyz.npy: {left} of \d+ bytes"):
        store.raw([ROWS - 1])


def test_a_replacement_that_was_killed_between_its_renames_loses_no_store(tmp_path):
    write(tmp_path / "tiny", 1).path.rename(tmp_path / "tiny.old")
    with pytest.raises(InputError, match="already packed"):
        write(tmp_path / "tiny", 2)
    assert color_of(Store.open(tmp_path / "tiny")) == 1
    assert visible(tmp_path) == ["tiny"]


def test_foreign_files_beside_a_store_are_neither_followed_nor_deleted(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"precious")
    (tmp_path / "tiny.part").symlink_to(tmp_path / "photos")
    with pytest.raises(InputError, match=r"tiny.part: .*move it away"):
        write(tmp_path / "tiny", 1)
    (tmp_path / "tiny.part").unlink()
    (tmp_path / "tiny.part").mkdir()
    (tmp_path / "tiny.part/notes.txt").write_text("precious")
    with pytest.raises(InputError, match=r"notes.txt: .*move it away"):
        write(tmp_path / "tiny", 1)
    assert (tmp_path / "photos/holiday.jpg").exists() and (tmp_path / "tiny.part/notes.txt").exists()


WRONG_BLOCK = '{"block": 99, "checksums": {"xyz": "", "rgb": ""}}\n'


@pytest.mark.parametrize("journal", ["[]\n", "{}\n", WRONG_BLOCK, '{"block": 0, "checksums": 1}\n', "[" * 9999])
def test_a_journal_with_false_entries_is_not_believed(tmp_path, journal):
    rows, arrays = colored(1)
    wrong = {name: values + 1 for name, values in arrays.items()}
    with pytest.raises(KeyboardInterrupt):
        small_store(tmp_path / "tiny", rows, arrays, blocks=blocks_of(wrong, stop_at=1))
    (tmp_path / "tiny.part/finished.jsonl").write_text(journal)
    assert color_of(write(tmp_path / "tiny", 1)) == 1


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"tiny.part: .*choose another folder"):
        write(tmp_path / "file/tiny", 1)
    with pytest.raises(InputError, match="synthetic: cannot be written"):
        ensure_synthetic("plaza-4", tmp_path / "file")


def test_a_store_on_a_read_only_disk_is_read(tmp_path, monkeypatch):
    def refuse(path, mode="r", *args, **kwargs):
        assert set(mode) <= set("rbt"), f"{path} opened for writing"
        return original(path, mode, *args, **kwargs)

    write(tmp_path / "tiny", 1)
    original = type(tmp_path).open
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    monkeypatch.setattr(type(tmp_path), "mkdir", lambda *_, **__: pytest.fail("made a folder"))
    assert color_of(Store.open(tmp_path / "tiny")) == 1
