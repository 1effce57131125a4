import numpy as np
import pytest

import benchmark_trees as trees
from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK
from ogreid.data.store.writing import pack
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.store.sharding import merge_shards, parse_shard, shard_path, shard_rows
from ogreid.data.datasets.sources import CropClouds
from ogreid.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return trees.market(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def rows(root):
    """Three blocks, the last one short, from a few pictures."""
    return np.resize(rows_array(read_benchmark("market", root, allow_count_mismatch=True)), 2 * BLOCK + 9)


def pack_shard(root, rows, target, number, count, **options):
    mine, shard = shard_rows(rows, number, count)
    source = CropClouds(root, **options)
    return pack(mine, source, shard_path(target, number, count), name="tiny", benchmark="market", shard=shard)


def test_shards_join_to_the_bytes_of_one_machine(tmp_path, root, rows):
    whole = pack(rows, CropClouds(root), tmp_path / "whole/tiny", name="tiny", benchmark="market")
    for number in (3, 1, 2):
        pack_shard(root, rows, tmp_path / "tiny", number, 3)
    for left in ("lock", "part", "old"):  # by packs that run, or were killed
        (tmp_path / f"tiny.shard-1-of-3.{left}").touch()
    merged = merge_shards(tmp_path / "tiny")
    for name in ("manifest.json", "rows.npy", "xyz.npy", "rgb.npy"):
        assert (merged.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_every_row_is_in_one_shard_even_where_shards_outnumber_blocks(tmp_path, root, rows):
    for count in (1, 2, 3, 5):
        parts = [shard_rows(rows, number, count)[0] for number in range(1, count + 1)]
        np.testing.assert_array_equal(np.concatenate(parts), rows)
        assert all(len(part) % BLOCK == 0 for part in parts[:-1])
    for number in (2, 4, 5):
        pack_shard(root, rows, tmp_path / "tiny", number, 5)
    assert len(merge_shards(tmp_path / "tiny")) == len(rows)


def test_a_shard_is_a_store_that_knows_what_it_is_part_of(tmp_path, root, rows):
    pack_shard(root, rows, tmp_path / "tiny", 2, 2)
    shard = Store.open(shard_path(tmp_path / "tiny", 2, 2)).manifest.shard
    assert (shard.number, shard.count, shard.rows) == (2, 2, len(rows))


def test_a_missing_shard_is_named(tmp_path, root, rows):
    with pytest.raises(InputError, match=r"no finished shards beside it; make them with --shard"):
        merge_shards(tmp_path / "tiny")
    pack_shard(root, rows, tmp_path / "tiny", 2, 3)
    with pytest.raises(InputError, match="shard 1/3, 3/3 is not packed yet"):
        merge_shards(tmp_path / "tiny")


def test_shards_of_other_settings_or_crops_are_refused(tmp_path, root, rows):
    pack_shard(root, rows, tmp_path / "tiny", 1, 2)
    pack_shard(root, rows, tmp_path / "tiny", 2, 2, dtype="float32")
    with pytest.raises(InputError, match=r"2-of-2: packed with other settings than tiny.shard-1-of-2"):
        merge_shards(tmp_path / "tiny")
    pack_shard(root, rows[::-1], tmp_path / "other", 1, 2)
    pack_shard(root, rows, tmp_path / "other", 2, 2)
    with pytest.raises(InputError, match="of several packs"):
        merge_shards(tmp_path / "other")


def test_a_damaged_shard_is_named_and_nothing_is_joined(tmp_path, root, rows):
    for number in (1, 2):
        pack_shard(root, rows, tmp_path / "tiny", number, 2)
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
