import pytest

import benchmark_trees as trees
from ogreid import pack
from ogreid.data import Store
from ogreid.errors import InputError

PATTERN = r"cam(?P<camera>\d+)-p(?P<identity>\d+)"


@pytest.fixture
def order(tmp_path):
    for person in range(1, 5):
        for camera in (3, 8):
            trees.image(tmp_path / "crops" / f"cam{camera}-p{person:03d}.png")
    return ["mine", "--images", str(tmp_path / "crops"), "--workers", "1", "--data", str(tmp_path / "data")]


def test_a_pattern_names_identity_and_camera(order, tmp_path):
    pack.main([*order, "--pattern", PATTERN])
    rows = Store.open(tmp_path / "data/mine").rows
    assert set(rows["identity"]) == {1, 2, 3, 4} and set(rows["camera"]) == {3, 8}


def test_a_dry_run_says_what_names_are_taken_for_and_packs_nothing(order, tmp_path, caplog):
    caplog.set_level("INFO")
    pack.main([*order, "--pattern", PATTERN, "--dry-run"])
    assert "cam3-p001.png: identity 1, camera 3, query" in caplog.text
    assert "16 rows, 4 identities, 2 cameras; nothing was packed" in caplog.text
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "expected a regular expression like"),
        (r"cam(?P<camera>\d+)", "expected the groups identity and camera"),
        (r"x(?P<camera>\d+)(?P<identity>\d+)", "no identity and camera in the name"),
        (r"(?P<camera>cam)(?P<identity>\d+)", "expected whole numbers"),
        (r"cam(?P<identity>\d+)(?P<camera>x)?", "expected whole numbers"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(order, pattern, reason):
    with pytest.raises(InputError, match=reason) as error:
        pack.main([*order, "--pattern", pattern])
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="require --images"):
        pack.main(["plaza-8", "--dry-run"])
