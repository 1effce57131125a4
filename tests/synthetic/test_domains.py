"""The trees that `make_domain` writes: names, counts, determinism, estimates."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ogreid.errors import InputError
from ogreid.synthetic import DOMAINS, make_domain, read_estimates

NAMES = {
    "plaza": r"(bounding_box_train|query|bounding_box_test)/(-1|\d{4})_c[1-6]s\d_\d{6}_\d\d\.jpg",
    "winter": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c[1-8]_f\d{7}\.jpg",
    "transit": r"(train|test)/\d{4}/\d{4}_\d{3}_\d\d_\d{4}(morning|noon|afternoon)_\d{4}_0\.jpg",
    "platform": r"detected/(bounding_box_train|query|bounding_box_test)/\d{4}_c[12]_\d+\.png",
}


def pictures(root: Path) -> dict[str, bytes]:
    found = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def plaza(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "plaza-4"
    make_domain("plaza", root, identities=4)
    return root


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_names_are_those_of_the_benchmark(name: str, tmp_path: Path) -> None:
    make_domain(name, tmp_path / "tree", identities=4)
    found = pictures(tmp_path / "tree")
    assert found
    assert [path for path in found if not re.fullmatch(NAMES[name], path)] == []
    with Image.open(tmp_path / "tree" / next(iter(found))) as picture:
        assert picture.size == (64, 128)
        assert picture.mode == "RGB"


def test_two_workers_make_the_same_bytes_as_one(plaza: Path, tmp_path: Path) -> None:
    make_domain("plaza", tmp_path / "again", identities=4, workers=2)
    assert pictures(tmp_path / "again") == pictures(plaza)
    assert (tmp_path / "again/bodies.npz").read_bytes() == (plaza / "bodies.npz").read_bytes()


def test_another_seed_is_another_world(plaza: Path, tmp_path: Path) -> None:
    make_domain("plaza", tmp_path / "other", identities=4, seed=1)
    assert not set(pictures(tmp_path / "other").values()) & set(pictures(plaza).values())


def test_every_query_has_a_match_before_another_camera(plaza: Path) -> None:
    def key(path: Path) -> tuple[int, int]:
        found = re.match(r"(-?\d+)_c(\d)", path.name)
        assert found is not None
        return int(found[1]), int(found[2])

    gallery = {key(path) for path in (plaza / "bounding_box_test").iterdir()}
    queries = [key(path) for path in (plaza / "query").iterdir()]
    assert max(Counter(queries).values()) == 1
    for identity, camera in queries:
        assert any(other == identity and seen != camera for other, seen in gallery)


def test_training_and_judged_identities_are_disjoint_and_strays_are_in_the_gallery(plaza: Path) -> None:
    def identities(folder: str) -> set[str]:
        return {path.name.partition("_")[0] for path in (plaza / folder).iterdir()}

    assert identities("bounding_box_train") == {"0001", "0002"}
    assert identities("query") == {"0003", "0004"}
    assert identities("bounding_box_test") == {"0003", "0004", "0000", "-1"}


def test_the_lists_of_transit_name_every_picture_once(tmp_path: Path) -> None:
    root = tmp_path / "transit"
    make_domain("transit", root, identities=4)
    listed = []
    for split, folder in (("train", "train"), ("val", "train"), ("query", "test"), ("gallery", "test")):
        for line in (root / f"list_{split}.txt").read_text().splitlines():
            path, label = line.rsplit(" ", 1)
            assert int(path[:4]) == int(label)
            listed.append(f"{folder}/{path}")
    assert sorted(listed) == sorted(pictures(root))


def test_there_is_an_estimate_for_every_crop(plaza: Path) -> None:
    bodies = read_estimates(plaza)
    assert sorted(bodies) == sorted(pictures(plaza))
    mesh = bodies[next(iter(bodies))]
    assert mesh.faces is not None
    assert mesh.faces.max() == len(mesh.vertices) - 1
    assert 1.0 < np.ptp(mesh.vertices[:, 1]) < 2.1


def test_progress_ends_at_the_number_of_crops(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_domain("platform", tmp_path / "tree", identities=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(pictures(tmp_path / "tree")),) * 2


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_domain("platform", tmp_path / "tree", identities=4, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_told_in_one_line(plaza: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean plaza"):
        make_domain("plasa", tmp_path / "x", identities=4)
    with pytest.raises(InputError, match="at least 4"):
        make_domain("plaza", tmp_path / "x", identities=1)
    with pytest.raises(InputError, match="already there"):
        make_domain("plaza", plaza, identities=4)
    with pytest.raises(InputError, match="no such file"):
        read_estimates(tmp_path)
    (tmp_path / "bodies.npz").write_bytes(b"not a file of numbers")
    with pytest.raises(InputError, match="not a file of estimated bodies"):
        read_estimates(tmp_path)


def test_people_need_no_torch() -> None:
    code = "import sys, ogreid.synthetic; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
