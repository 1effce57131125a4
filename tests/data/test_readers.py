import logging
import shutil

import pytest

import benchmark_trees as trees
from ogreid.data.datasets.layouts import Row
from ogreid.data.datasets.readers import benchmark_named, read_benchmark, rows_array
from ogreid.errors import InputError, MissingFileError


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
    assert [row.path for row in read("market", tmp_path)] == [f"{root.name}/{row.path}" for row in rows]
    array = rows_array(rows)
    assert array.dtype.names == ("split", "identity", "camera", "source")
    assert array[0].item() == ("train", 1, 1, "bounding_box_train/0001_c1s1_000151_01.jpg")


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


def test_a_flat_folder_gives_one_query_for_each_person_and_camera(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ("0001_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg", "0000_c1_0.jpg", "-1_c2_9.jpg"):
        trees.image(tmp_path / name)
    rows = read("folder", tmp_path)
    by_split = {split: [row.path for row in rows if row.split == split] for split in ("query", "gallery")}
    assert by_split["query"] == ["0001_c1_0.jpg", "0001_c2_0.jpg"]
    # The only image of person 1 in camera 2 is in the gallery too: without it, no query would have a match.
    assert "2 images of identity 0 or -1" in caplog.text
    assert by_split["gallery"] == ["-1_c2_9.jpg", "0000_c1_0.jpg", "0001_c1_1.jpg", "0001_c2_0.jpg"]


def test_a_folder_with_splits_keeps_them(tmp_path):
    for name in ("train/0001_c1_0.jpg", "query/0002_c1_0.jpg", "gallery/0002_c2_0.jpg"):
        trees.image(tmp_path / name)
    assert [row.split for row in read("folder", tmp_path)] == ["train", "query", "gallery"]


def test_synthetic_domains_use_the_real_layouts_and_have_no_counts(tmp_path):
    assert counts(read_benchmark("plaza", trees.market(tmp_path / "plaza"))) == {"train": 4, "query": 4, "gallery": 6}
    assert counts(read_benchmark("transit", trees.msmt(tmp_path / "transit")))["gallery"] == 2


@pytest.mark.parametrize("extra", ["0002_c1_5.jpg", "validation/0002_c1_0.jpg", "query/deeper/0002_c1_0.webp"])
def test_images_that_would_not_be_read_are_refused_or_left_out_with_a_word(tmp_path, caplog, extra):
    caplog.set_level(logging.INFO)
    for name in ("query/0002_c1_0.jpg", "gallery/0002_c2_0.jpg", extra):
        trees.image(tmp_path / name)
    with pytest.raises(InputError, match=r"1 images would not be read \(1 \.\w+ in .*--allow-count-mismatch"):
        read_benchmark("folder", tmp_path)
    assert len(read("folder", tmp_path)) == 2 and "2 files are read, 1 are not: 1 ." in caplog.text
    trees.image(trees.market(tmp_path / "market") / "gt_bbox/0001_c1s1_000151_00.jpg")
    read("market", tmp_path / "market")
    assert "14 files are read, 1 are not: 1 .jpg in gt_bbox/" in caplog.text


def test_lists_from_other_systems_are_read(tmp_path):
    expected = read("msmt", trees.msmt(tmp_path))
    codes = ("utf-8-sig", "utf-16", "utf-8", "utf-16")
    for path, code in zip(sorted(tmp_path.glob("list_*.txt")), codes, strict=True):
        text = path.read_text().replace("/", "\\").replace("\n", "\r\n" if "query" in path.name else "\r")
        path.write_bytes(text.encode(code))
    assert read("msmt", tmp_path) == expected


def leaked(root):
    shutil.rmtree(trees.published(root) / "train_all")
    trees.image(root / "train/0002/0002_c2s1_000551_01.jpg")


def in_one_folder(root):
    for place in ("train/0000/0000_000_01", "train/0001/0001_000_01", "val/0001/0001_001_01"):
        trees.image(root / f"{place}_a_1_0.jpg")
    for place in ("query/0003/0003_001_01", "gallery/0003/0003_001_02"):
        trees.image(root / f"{place}_a_1_0.jpg")


@pytest.mark.parametrize(
    ("name", "tree", "words"),
    [
        (
            "market",
            trees.market,
            ["train 4 of 12936", "query 4 of 3368", "identities 2 of 751", "archive unpack whole"],
        ),
        ("market", leaked, ["1 images are in train and in val", "ran twice"]),
        ("msmt", in_one_folder, ["one identity's folder"]),
    ],
)
def test_counts_that_differ_are_given_by_split_with_the_likely_cause(tmp_path, name, tree, words):
    tree(tmp_path)
    with pytest.raises(InputError) as refusal:
        read_benchmark(name, tmp_path)
    assert all(word in str(refusal.value) for word in [*words, "--allow-count-mismatch"])


def add_to_list(root, split, line):
    with (root / f"list_{split}.txt").open("a") as lines:
        lines.write(line)


ABSENT = "0009/0009_000_02_0303morning_0015_0.jpg 9\n"
DAMAGED = [
    ("market", trees.market, lambda root: trees.image(root / "query/holiday.jpg"), "query/holiday.jpg: .*0002_c1s1"),
    ("market", trees.market, lambda root: shutil.rmtree(root / "query"), "query: no such folder"),
    ("market", trees.market, shutil.rmtree, "no such folder; get it: https"),
    ("market", lambda root: root.mkdir(), None, "Market-1501 is not in it; expected bounding_box_train/"),
    ("market", lambda root: (root / "bounding_box_train").mkdir(parents=True), None, "bounding_box_train: no images"),
    ("folder", lambda root: root.mkdir(), None, "no images"),
    (
        "folder",
        lambda root: [trees.image(root / f"{name}_0.jpg") for name in ("0000_c1", "-1_c2")],
        None,
        "zero iden",
    ),
    ("folder", lambda root: [trees.image(root / f"000{i}_c1_0.jpg") for i in (1, 2)], None, r"one camera only \(1\)"),
    ("msmt", trees.msmt, lambda root: add_to_list(root, "query", ABSENT), "list_query.txt:2: .*0009_000_02.*not there"),
    ("msmt", trees.msmt, lambda root: add_to_list(root, "val", "no label here\n"), "list_val.txt:2: .*label"),
    ("msmt", trees.msmt, lambda root: (root / "list_val.txt").unlink(), "list_val.txt: missing"),
    (
        "market",
        trees.published,
        lambda root: trees.image(root / "gallery/0007/0009_c2s2_000451_03.jpg"),
        "identity 9 in the folder of 0007",
    ),
]


@pytest.mark.parametrize(("name", "tree", "spoil", "words"), DAMAGED)
def test_a_damaged_data_set_is_refused_with_the_place(tmp_path, name, tree, spoil, words):
    tree(tmp_path / "tree")
    if spoil is not None:
        spoil(tmp_path / "tree")
    with pytest.raises(InputError, match=words) as refusal:
        read(name, tmp_path / "tree")
    assert str(tmp_path / "tree") in str(refusal.value)
    assert isinstance(refusal.value, MissingFileError) == (spoil is shutil.rmtree)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Market1501", "market"),
        ("dukee", "duke"),
        ("cuhk03", "cuhk"),
        ("plaza8", "plaza-8"),
        ("plazza-16-s2", "plaza-16-s2"),
        ("winter_40", "winter-40"),
        ("transitt", "transit-160"),
    ],
)
def test_a_misspelled_name_is_recognized(tmp_path, wrong, right):
    with pytest.raises(InputError, match=rf"did you mean {right}( or .*)?\?"):
        read(wrong, tmp_path)


def test_published_counts_are_those_of_the_papers():
    expected = {"market": 12_936 + 3_368 + 19_732, "duke": 16_522 + 2_228 + 17_661, "msmt": 126_441, "cuhk": 14_097}
    assert {name: sum(benchmark_named(name).counts.values()) for name in expected} == expected
