import numpy as np
import pytest

from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK
from ogreid.data.store.writing import merge_shards, parse_shard, shard_path, shard_rows
from ogreid.errors import InputError
from small_stores import small_arrays, small_rows, small_store

COUNT = 2 * BLOCK + 9  # three blocks, the last one short
ROWS, ARRAYS = small_rows(COUNT), small_arrays(COUNT)


def pack_shard(target, number, count, rows=ROWS, **changes):
    mine, shard = shard_rows(rows, number, count)
    first = next(i for i in range(COUNT) if rows[i] == mine[0])
    arrays = {name: values[first : first + len(mine)] for name, values in ARRAYS.items()}
    return small_store(shard_path(target, number, count), mine, arrays, name="tiny", shard=shard, **changes)


def test_shards_merge_to_the_bytes_of_one_machine(tmp_path):
    whole = small_store(tmp_path / "whole/tiny", ROWS, ARRAYS)
    for number in (3, 1, 2):
        pack_shard(tmp_path / "tiny", number, 3)
    for left in ("lock", "part", "old"):  # by packs that run, or were killed
        (tmp_path / f"tiny.shard-1-of-3.{left}").touch()
    steps = []
    merged = merge_shards(tmp_path / "tiny", progress=lambda *step: steps.append(step))
    assert steps[-1] == (COUNT, COUNT) and len(steps) == 3
    for name in ("manifest.json", "rows.npy", "xyz.npy", "rgb.npy"):
        assert (merged.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_every_row_is_in_one_shard_even_where_shards_outnumber_blocks(tmp_path):
    for count in (1, 2, 3, 5):
        parts = [shard_rows(ROWS, number, count)[0] for number in range(1, count + 1)]
        np.testing.assert_array_equal(np.concatenate(parts), ROWS)
        assert all(len(part) % BLOCK == 0 for part in parts[:-1])
    for number in (2, 4, 5):
        pack_shard(tmp_path / "tiny", number, 5)
    shard = Store.open(shard_path(tmp_path / "tiny", 2, 5)).manifest.shard
    assert (shard.number, shard.count, shard.rows) == (2, 5, COUNT)
    assert len(merge_shards(tmp_path / "tiny")) == COUNT


def test_missing_shards_and_shards_of_other_settings_or_crops_are_refused(tmp_path):
    with pytest.raises(InputError, match="no finished shards beside it"):
        merge_shards(tmp_path / "some")
    pack_shard(tmp_path / "some", 2, 3)
    with pytest.raises(InputError, match="shard 1/3, 3/3 is not packed yet"):
        merge_shards(tmp_path / "some")
    pack_shard(tmp_path / "tiny", 1, 2)
    pack_shard(tmp_path / "tiny", 2, 2, mode="nearest")
    with pytest.raises(InputError, match=r"2-of-2: .*other settings than tiny.shard-1-of-2"):
        merge_shards(tmp_path / "tiny")
    pack_shard(tmp_path / "other", 1, 2, rows=ROWS[::-1])
    pack_shard(tmp_path / "other", 2, 2)
    with pytest.raises(InputError, match="of several packs"):
        merge_shards(tmp_path / "other")


def test_a_damaged_shard_is_named_and_nothing_is_merged(tmp_path):
    for number in (1, 2):
        pack_shard(tmp_path / "tiny", number, 2)
    path = shard_path(tmp_path / "tiny", 2, 2) / "rgb.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"shard-2-of-2/rgb.npy: damaged"):
        merge_shards(tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists() and not (tmp_path / "tiny.part").exists()


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3"])
def test_a_shard_that_cannot_be_is_refused(text):
    with pytest.raises(InputError, match="expected I/N"):
        parse_shard(text)
