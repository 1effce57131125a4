"""The folders that ``make_domain`` writes (names, counts, determinism, estimates) and the contact sheet."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ogreid.errors import InputError
from ogreid.synthetic import DOMAINS, make_domain, read_estimates
from ogreid.synthetic.__main__ import GAP, main

NAMES = {
    "plaza": r"(bounding_box_train|query|bounding_box_test)/(-1|\d{4})_c[1-6]s\d_\d{6}_\d\d\.jpg",
    "winter": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c[1-8]_f\d{7}\.jpg",
    "transit": r"(train|test)/\d{4}/\d{4}_\d{3}_\d\d_\d{4}(morning|noon|afternoon)_\d{4}_0\.jpg",
    "platform": r"detected/(bounding_box_train|query|bounding_box_test)/\d{4}_c[12]_\d+\.png",
}


def crops(root):
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def plaza(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "plaza-4"
    make_domain("plaza", root, identities=4)
    return root


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_names_are_those_of_the_benchmark(name, tmp_path):
    make_domain(name, tmp_path / "root", identities=4)
    paths = list(crops(tmp_path / "root"))
    assert paths and [path for path in paths if not re.fullmatch(NAMES[name], path)] == []
    with Image.open(tmp_path / "root" / paths[0]) as image:
        assert (image.size, image.mode) == ((64, 128), "RGB")
    assert sorted(read_estimates(tmp_path / "root")) == paths


def test_two_workers_make_the_same_bytes_as_one(plaza, tmp_path):
    make_domain("plaza", tmp_path / "again", identities=4, workers=2)
    assert crops(tmp_path / "again") == crops(plaza)
    assert (tmp_path / "again/bodies.npz").read_bytes() == (plaza / "bodies.npz").read_bytes()


def test_another_estimator_sees_the_same_crops_and_another_seed_gives_others(plaza, tmp_path):
    for estimator in ("noisy", "exact"):
        make_domain("plaza", tmp_path / estimator, identities=4, estimator=estimator)
        assert crops(tmp_path / estimator) == crops(plaza)
        assert (tmp_path / estimator / "bodies.npz").read_bytes() != (plaza / "bodies.npz").read_bytes()
    make_domain("plaza", tmp_path / "other", identities=4, seed=1)
    assert not set(crops(tmp_path / "other").values()) & set(crops(plaza).values())


def test_identities_are_split_and_every_query_has_a_match_before_another_camera(plaza):
    def keys(folder):
        matches = (re.match(r"(-?\d+)_c(\d)", path.name) for path in (plaza / folder).iterdir())
        return [(int(match[1]), int(match[2])) for match in matches]

    queries, gallery = keys("query"), keys("bounding_box_test")
    assert {identity for identity, _ in keys("bounding_box_train")} == {1, 2}
    assert {identity for identity, _ in queries} == {3, 4}
    assert {identity for identity, _ in gallery} == {3, 4, 0, -1}
    assert len(set(queries)) == len(queries)
    for identity, camera in queries:
        assert any(other == identity and seen != camera for other, seen in gallery)


def test_a_failure_leaves_nothing_behind(tmp_path):
    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_domain("platform", tmp_path / "root", identities=4, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda folder: make_domain("plasa", folder / "x", identities=4), "plaza"),
        (lambda folder: make_domain("plaza", folder / "x", identities=1), "4"),
        (lambda folder: make_domain("plaza", folder / "x", identities=4, estimator="noise"), "noisy"),
        (lambda folder: make_domain("plaza", folder, identities=4), "already there"),
        (lambda folder: read_estimates(folder / "x"), "no such file"),
        (read_estimates, "format 99"),
        (lambda folder: read_estimates(folder / "broken"), "not a file of estimated bodies"),
        (lambda folder: main(["--contact-sheet", "x.jpg"]), ".png"),
        (lambda folder: main(["--contact-sheet", "x.png", "--people", "0"]), "--people"),
        (lambda folder: main([]), "--contact-sheet"),
    ],
)
def test_errors_are_one_line(call, words, tmp_path):
    np.savez(tmp_path / "bodies.npz", format=np.array(99))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/bodies.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        call(tmp_path)
    assert words in str(error.value)


def test_the_contact_sheet_shows_all_domains(tmp_path):
    target = tmp_path / "images/sheet.png"
    assert main(["--contact-sheet", str(target), "--people", "2", "--cameras", "1"]) == 0
    with Image.open(target) as sheet:
        assert sheet.size == (2 * 2 * 64 + GAP, 2 * 128 + GAP)


def test_synthetic_data_needs_no_torch():
    code = "import sys, ogreid.synthetic; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
