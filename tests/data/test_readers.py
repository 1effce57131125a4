import shutil

import pytest

import benchmark_trees as trees
from ogreid.data.datasets.layouts import Row
from ogreid.data.datasets.readers import BENCHMARKS, read_benchmark, rows_array
from ogreid.errors import InputError


def read(name, root):
    return read_benchmark(name, root, allow_count_mismatch=True)


def counts(rows):
    return {split: sum(row.split == split for row in rows) for split in {row.split for row in rows}}


def test_market_is_read_from_its_own_folder_and_from_the_one_above(tmp_path):
    root = trees.market(tmp_path / "Market-1501-v15.09.15")
    rows = read("market", root)
    assert counts(rows) == {"train": 4, "query": 4, "gallery": 6}
    assert rows[0] == Row("train", 1, 1, "bounding_box_train/0001_c1s1_000151_01.jpg")
    assert {row.identity for row in rows if row.split == "gallery"} == {-1, 0, 3, 4}
    above = read("market", tmp_path)
    assert [row.path for row in above] == [f"{root.name}/{row.path}" for row in rows]


def test_duke_and_cuhk_have_market_s_folders_with_their_own_names(tmp_path):
    assert {row.camera for row in read("duke", trees.duke(tmp_path / "DukeMTMC-reID"))} == {1, 8}
    trees.cuhk(tmp_path / "cuhk03-np/detected")
    trees.cuhk(tmp_path / "cuhk03-np/labeled")
    assert read("cuhk", tmp_path)[0].path == "cuhk03-np/detected/bounding_box_train/0001_c1_1.png"
    assert read("cuhk_labeled", tmp_path)[0].path == "cuhk03-np/labeled/bounding_box_train/0001_c1_1.png"


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt_follows_its_lists_in_both_versions(tmp_path, folders):
    rows = read("msmt", trees.msmt(tmp_path / "MSMT17", *folders))
    assert counts(rows) == {"train": 2, "val": 1, "query": 1, "gallery": 2}
    assert rows[1] == Row("train", 0, 15, f"{folders[0]}/0000/0000_001_15_0303noon_0023_1.jpg")
    assert [row.identity for row in rows if row.split == "gallery"] == [0, 1]


def test_the_published_tree_trains_on_train_all_and_without_it_on_train_and_val(tmp_path):
    root = trees.published(tmp_path / "2DMarket")
    assert counts(read("market", root)) == {"train": 2, "query": 1, "gallery": 2}
    shutil.rmtree(root / "train_all")
    assert counts(read("market", root)) == {"train": 1, "val": 1, "query": 1, "gallery": 2}


def test_a_flat_folder_gives_one_query_for_each_person_and_camera(tmp_path):
    for name in ("0001_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg", "0000_c1_0.jpg", "-1_c2_9.jpg"):
        trees.picture(tmp_path / name)
    rows = read("folder", tmp_path)
    by_split = {split: [row.path for row in rows if row.split == split] for split in ("query", "gallery")}
    assert by_split["query"] == ["0001_c1_0.jpg", "0001_c2_0.jpg"]
    # The only picture of person 1 in camera 2 is in the gallery too: without it, no query could be answered.
    assert by_split["gallery"] == ["-1_c2_9.jpg", "0000_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg"]


def test_a_folder_with_splits_keeps_them(tmp_path):
    for name in ("train/0001_c1_0.jpg", "query/0002_c1_0.jpg", "gallery/0002_c2_0.jpg"):
        trees.picture(tmp_path / name)
    assert [row.split for row in read("folder", tmp_path)] == ["train", "query", "gallery"]


def test_synthetic_domains_use_the_real_layouts_and_have_no_counts(tmp_path):
    assert counts(read_benchmark("plaza", trees.market(tmp_path / "plaza"))) == {"train": 4, "query": 4, "gallery": 6}
    assert counts(read_benchmark("transit", trees.msmt(tmp_path / "transit")))["gallery"] == 2


def test_rows_become_an_array_of_named_columns(tmp_path):
    rows = rows_array(read("market", trees.market(tmp_path)))
    assert rows.dtype.names == ("split", "identity", "camera", "source")
    assert rows[0].item() == ("train", 1, 1, "bounding_box_train/0001_c1s1_000151_01.jpg")


def test_counts_that_differ_are_told_by_split_with_the_way_out(tmp_path):
    with pytest.raises(InputError) as refusal:
        read_benchmark("market", trees.market(tmp_path))
    told = str(refusal.value)
    assert "train 4 of 12936" in told and "query 4 of 3368" in told and "identities 2 of 751" in told
    assert "did the archive unpack whole?" in told and "--allow-count-mismatch" in told


def test_val_pictures_that_leaked_into_train_are_named_as_the_cause(tmp_path):
    root = trees.published(tmp_path)
    shutil.rmtree(root / "train_all")
    trees.picture(root / "train/0002/0002_c2s1_000551_01.jpg")
    with pytest.raises(InputError, match=r"1 pictures are in train and in val.*ran twice"):
        read_benchmark("market", root)


def test_val_pictures_in_one_folder_are_named_as_the_cause(tmp_path):
    for name in ("train/0000/0000_000_01_a_1_0.jpg", "train/0001/0001_000_01_a_1_0.jpg"):
        trees.picture(tmp_path / name)
    for name in ("val/0001/0001_001_01_a_1_0.jpg", "query/0003/0003_001_01_a_1_0.jpg"):
        trees.picture(tmp_path / name)
    trees.picture(tmp_path / "gallery/0003/0003_001_02_a_1_0.jpg")
    with pytest.raises(InputError, match="one identity's folder"):
        read_benchmark("msmt", tmp_path)


def test_a_name_that_fits_no_pattern_is_named(tmp_path):
    root = trees.market(tmp_path)
    bad = trees.picture(root / "query/holiday.jpg")
    with pytest.raises(InputError, match=r"holiday.jpg: the name does not tell.*0002_c1s1_000451_03.jpg") as refusal:
        read("market", root)
    assert str(bad) in str(refusal.value)


def test_missing_and_empty_folders_are_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such folder; get it: https"):
        read("market", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"Market-1501 is not in it; expected bounding_box_train/"):
        read("market", tmp_path)
    (tmp_path / "bounding_box_train").mkdir()
    with pytest.raises(InputError, match="bounding_box_train: no pictures"):
        read("market", tmp_path)
    with pytest.raises(InputError, match="no pictures"):
        read("folder", tmp_path)


def test_a_split_that_is_missing_is_named(tmp_path):
    root = trees.market(tmp_path)
    shutil.rmtree(root / "query")
    with pytest.raises(InputError, match="query: no such folder"):
        read("market", root)


def test_zero_identities_are_refused(tmp_path):
    for name in ("0000_c1_0.jpg", "-1_c2_0.jpg"):
        trees.picture(tmp_path / name)
    with pytest.raises(InputError, match="zero identities"):
        read("folder", tmp_path)


def test_one_camera_only_is_refused(tmp_path):
    for name in ("0001_c1_0.jpg", "0001_c1_1.jpg", "0002_c1_0.jpg"):
        trees.picture(tmp_path / name)
    with pytest.raises(InputError, match=r"one camera only \(1\)"):
        read("folder", tmp_path)


def test_msmt_lists_that_name_absent_pictures_are_refused_by_line(tmp_path):
    root = trees.msmt(tmp_path)
    with (root / "list_query.txt").open("a") as lines:
        lines.write("0009/0009_000_02_0303morning_0015_0.jpg 9\n")
    with pytest.raises(InputError, match=r"list_query.txt:2: names .*0009_000_02.*not there"):
        read("msmt", root)
    (root / "list_val.txt").write_text("no label here\n")
    with pytest.raises(InputError, match=r"list_val.txt:1: .*expected a picture's path and its label"):
        read("msmt", root)


def test_an_identity_in_another_s_folder_is_refused(tmp_path):
    root = trees.published(tmp_path)
    trees.picture(root / "gallery/0007/0009_c2s2_000451_03.jpg")
    with pytest.raises(InputError, match="identity 9 in the folder of 0007"):
        read("market", root)


@pytest.mark.parametrize(("wrong", "right"), [("Market1501", "market"), ("dukee", "duke"), ("cuhk03", "cuhk")])
def test_a_misspelt_benchmark_is_recognized(tmp_path, wrong, right):
    with pytest.raises(InputError, match=f"did you mean.*{right}"):
        read(wrong, tmp_path)


def test_published_counts_are_those_of_the_facts():
    assert {name: sum(BENCHMARKS[name].counts.values()) for name in ("market", "duke", "msmt", "cuhk")} == {
        "market": 12_936 + 3_368 + 19_732,
        "duke": 16_522 + 2_228 + 17_661,
        "msmt": 126_441,
        "cuhk": 7_365 + 1_400 + 5_332,
    }
