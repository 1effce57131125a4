"""Tracklets in names, in stores and in shards."""

import re

import numpy as np
import pytest

import benchmark_trees as trees
from ogreid import pack
from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK, make_rows, rows_checksum
from ogreid.data.store.writing import merge_shards, shard_path, shard_rows
from ogreid.errors import InputError
from small_stores import small_arrays, small_rows, small_store

PATTERN = r"(?P<identity>\d+)C(?P<camera>\d+)T(?P<tracklet>\d+)F\d+"
COUNT = BLOCK + 9


def tracked(count=COUNT):
    rows = small_rows(count)
    columns = [rows[name].tolist() for name in ("split", "identity", "camera", "source")]
    return make_rows(*columns, [row // 3 for row in range(count)])


@pytest.fixture
def order(tmp_path):
    """Two people; camera 1 follows each twice, camera 2 once, three frames each."""
    for person in (1, 2):
        for camera, tracklet in ((1, 1), (1, 2), (2, 1)):
            for frame in range(3):
                trees.image(tmp_path / f"crops/{person:04d}C{camera}T{tracklet:04d}F{frame:03d}.png", person)
    return ["walk", "--images", str(tmp_path / "crops"), "--workers", "1", "--data", str(tmp_path / "data")]


def test_tracklets_of_names_are_kept_and_whole_ones_are_queries(order, tmp_path):
    pack.main([*order, "--pattern", PATTERN])
    store = Store.open(tmp_path / "data/walk")
    assert store.has_tracklets
    kept = {(row["split"], row["source"][4:12]) for row in store.rows if row["identity"] == 1}
    assert kept == {("query", "C1T0001F"), ("gallery", "C1T0002F"), ("query", "C2T0001F"), ("gallery", "C2T0001F")}
    assert all(int(row["source"][7:11]) == row["tracklet"] for row in store.rows)
    assert store.manifest.splits == {"query": 12, "gallery": 12}
    pack.main([*order, "--verify", "--preview", "2"])


def test_a_dry_run_shows_tracklets_and_a_store_without_them_is_not_taken_for_one(order, tmp_path, caplog):
    caplog.set_level("INFO")
    pack.main([*order, "--pattern", PATTERN, "--dry-run"])
    assert "0001C1T0001F000.png: identity 1, camera 1, tracklet 1, query" in caplog.text
    assert "24 rows, 2 identities, 2 cameras, 6 tracklets; nothing was packed" in caplog.text
    pack.main([*order, "--pattern", PATTERN.replace("?P<tracklet>", "?:")])
    assert not Store.open(tmp_path / "data/walk").has_tracklets
    with pytest.raises(InputError, match="already packed without tracklets"):
        pack.main([*order, "--pattern", PATTERN])


@pytest.mark.parametrize(
    ("name", "pattern", "reason"),
    [
        ("0001C1F007.png", r"(?P<identity>\d+)C(?P<camera>\d+)(?:T(?P<tracklet>\d+))?", r"F007.png: tracklet None"),
        (f"0001C1T{2**63}F1.png", PATTERN, "expected 64-bit numbers"),
        (f"0001C1T{'9' * 200}F1.png", PATTERN, "expected 64-bit numbers"),
        ("0001C1T0001F1.png", PATTERN.replace("tracklet", "tracks"), "the group tracks means nothing here"),
        ("0001C1TabcF1.png", PATTERN.replace(r"T(?P<tracklet>\d+)", r"T(?P<tracklet>\w+?)"), "tracklet 'abc'"),
    ],
)
def test_tracklets_that_are_no_numbers_are_refused_in_one_line(order, tmp_path, name, pattern, reason):
    trees.image(tmp_path / "crops" / name)
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        pack.main([*order, "--pattern", pattern])
    assert "\n" not in str(error.value) and not list((tmp_path / "data").glob("walk/*"))


def test_shards_carry_tracklets_to_the_bytes_of_one_machine(tmp_path):
    rows, arrays = tracked(), small_arrays(COUNT)
    whole = small_store(tmp_path / "whole/tiny", rows, arrays)
    for number, part in ((1, slice(0, BLOCK)), (2, slice(BLOCK, COUNT))):
        mine, shard = shard_rows(rows, number, 2)
        cut = {name: values[part] for name, values in arrays.items()}
        small_store(shard_path(tmp_path / "tiny", number, 2), mine, cut, name="tiny", shard=shard)
    merged = merge_shards(tmp_path / "tiny")
    np.testing.assert_array_equal(merged.rows["tracklet"], rows["tracklet"])
    for name in ("manifest.json", "rows.npy", "xyz.npy", "rgb.npy"):
        assert (merged.path / name).read_bytes() == (whole.path / name).read_bytes()
    mine, shard = shard_rows(small_rows(COUNT), 2, 2)  # without, and says it is of the same pack
    shard = type(shard)(2, 2, COUNT, rows_checksum(rows))
    second = shard_path(tmp_path / "tiny", 2, 2)
    small_store(second, mine, {n: v[BLOCK:] for n, v in arrays.items()}, name="tiny", shard=shard, overwrite=True)
    with pytest.raises(InputError, match="not those they were cut from"):
        merge_shards(tmp_path / "tiny", overwrite=True)


def test_rows_without_tracklets_keep_their_checksum_and_another_tracklet_is_noticed(tmp_path):
    assert rows_checksum(small_rows(7)) == "5a406f41690511718df661d5fe726329a7739d7d8c6988c54c5acdeeaead772c"
    store = small_store(tmp_path / "tiny", tracked(), small_arrays(COUNT))
    rows = store.rows.copy()
    rows["tracklet"][5] += 1
    np.save(store.path / "rows.npy", rows)
    with pytest.raises(InputError, match="not the rows of this store"):
        Store.open(store.path)
    np.save(store.path / "rows.npy", rows[["split", "identity", "camera", "source"]])
    with pytest.raises(InputError, match="not the rows of this store"):
        Store.open(store.path)
