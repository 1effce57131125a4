import json

import numpy as np
import pytest
from PIL import Image

from ogreid.errors import InputError
from ogreid.lifting.landmarks import COCO
from ogreid.lifting.readers.landmark_files import LandmarkFiles, read_landmarks

SIZE = (128, 64)
POINTS = np.random.default_rng(0).uniform(5, 60, (17, 2))
SCORES = np.linspace(0.1, 0.9, 17)
FLAT = np.column_stack([POINTS, SCORES]).ravel().tolist()


def written(folder, content, name="a"):
    if isinstance(content, str | bytes):
        path = folder / f"{name}.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        path = folder / f"{name}.npz"
        np.savez(path, **content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"points": POINTS.tolist(), "scores": SCORES.tolist()}),
        json.dumps([{"keypoints": POINTS.tolist(), "keypoint_scores": SCORES.tolist(), "bbox": [[1, 2, 3, 4]]}]),
        json.dumps({"image_id": 3, "keypoints": FLAT}),
        json.dumps({"people": [{"keypoints": FLAT}], "version": 1}),
        json.dumps({"instances": [{"points": np.reshape(FLAT, (17, 3)).tolist()}]}),
        {"points": POINTS, "scores": SCORES},
        {"keypoints": np.reshape(FLAT, (17, 3)).astype(np.float32)},
    ],
)
def test_every_form_says_the_same(tmp_path, content):
    (one,) = read_landmarks(written(tmp_path, content), *SIZE)
    np.testing.assert_allclose(one.points[COCO], POINTS, atol=1e-4)
    np.testing.assert_allclose(one.scores[COCO], SCORES, atol=1e-6)
    assert one.points.shape == (33, 2) and one.scores.sum() == pytest.approx(SCORES.sum())
    assert one.presence == pytest.approx(SCORES.mean()) and one.world is one.mask is None


def test_blazepose_points_with_space_and_mask_are_read_whole(tmp_path):
    points, world = np.random.default_rng(1).uniform(2, 60, (33, 2)), np.random.default_rng(2).normal(size=(33, 3))
    mask = np.zeros(SIZE, np.uint8)
    mask[20:90, 10:50] = 255
    points[4] = np.nan  # a point that the tool did not locate
    (one,) = read_landmarks(written(tmp_path, {"points": points, "world": world, "mask": mask, "presence": 0.8}), *SIZE)
    np.testing.assert_array_equal(one.mask, mask > 0)
    np.testing.assert_array_equal(one.world, world)
    assert one.presence == 0.8 and one.scores[4] == 0 and one.scores.sum() == 32


def test_coco_s_visibility_is_a_score(tmp_path):
    flags = [0] * 5 + [1] * 6 + [2] * 6
    (one,) = read_landmarks(written(tmp_path, {"points": POINTS, "scores": np.array(flags)}), *SIZE)
    np.testing.assert_array_equal(one.scores[COCO], np.array(flags) / 2)


def test_the_largest_and_most_central_person_is_meant(tmp_path):
    people = [
        POINTS * 0.3 + [22, 44],  # central, small
        (POINTS - POINTS.mean(axis=0)) * [0.5, 1.5] + [32, 64],
        POINTS * [0.5, 1.5] + [30, 70],
    ]
    content = json.dumps([{"points": one.tolist()} for one in people])
    (one,) = read_landmarks(written(tmp_path, content), *SIZE)
    np.testing.assert_allclose(one.points[COCO], people[1])
    assert read_landmarks(written(tmp_path, "[]"), *SIZE) == []


HOSTILE = {
    "empty": "",
    "deep": "[" * 100_000,
    "text": '"points"',
    "nothing": "{}",
    "other": json.dumps({"pose_keypoints_2d": FLAT}),
    "openpose": json.dumps({"points": [[1, 2, 1]] * 25}),
    "words": json.dumps({"points": [["a", "b", "c"]] * 17}),
    "ragged": json.dumps({"points": [[1, 2], [3]] * 8}),
    "NaN": '{"points": [[NaN, 1]]}',
    "huge": json.dumps({"points": (POINTS * 1e9).tolist()}),
    "digits": '{"points": [[' + "9" * 5000 + ", 1]]}",
    "many": json.dumps([{}] * 2000),
    "normalized": json.dumps({"points": (POINTS / 64).tolist()}),
    "percent": json.dumps({"points": POINTS.tolist(), "scores": [95] * 17}),
    "scores": json.dumps({"points": POINTS.tolist(), "scores": [0.5] * 33}),
    "presence": json.dumps({"points": POINTS.tolist(), "presence": 7}),
    "presences": json.dumps({"points": POINTS.tolist(), "presence": [0.5, 0.5]}),
    "world": json.dumps({"points": POINTS.tolist(), "world": [[0, 0, 0]]}),
    "long": " " * (1 << 21),
    "binary": b"\xff\xfe\x00",
    "mask": {"points": POINTS, "mask": np.zeros((64, 128))},
    "objects": {"points": np.array([{"run": 1}], dtype=object)},
    "cube": {"points": np.zeros((17, 2, 2))},
    "complex": {"points": POINTS.astype(complex)},
    "infinite": {"points": POINTS, "world": np.full((17, 3), np.inf)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_foreign_files_are_refused_in_one_line(tmp_path, name):
    path = written(tmp_path, HOSTILE[name])
    with pytest.raises(InputError, match="expected COCO-17 or BlazePose-33") as error:
        read_landmarks(path, *SIZE)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_are_recognized_by_the_names_of_their_crops(tmp_path):
    image = Image.new("RGB", SIZE[::-1])
    (tmp_path / "query").mkdir()
    for name, shift in (("query/a.json", 0), ("a.json", 1), ("b.jpg.json", 2)):
        (tmp_path / name).write_text(json.dumps({"points": (POINTS + shift).tolist()}))
    np.savez(tmp_path / "c.npz", points=POINTS + 3)
    source = LandmarkFiles(tmp_path)
    for name, shift in (("query/a.jpg", 0), ("gallery/a.jpg", 1), ("query/b.jpg", 2), ("x/c.png", 3)):
        (one,) = source(name, image)
        np.testing.assert_allclose(one.points[COCO], POINTS + shift)
    assert list(source("query/d.jpg", image)) == []
    before = source.settings
    (tmp_path / "query/a.json").write_text("{}")
    assert source.settings != before
    with pytest.raises(InputError, match="no such folder"):
        _ = LandmarkFiles(tmp_path / "nowhere").settings
