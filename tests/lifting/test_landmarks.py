"""The landmark network without its weights: what it sees, how its outputs come back, what is refused."""

import hashlib
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pose_model
from ogreid.errors import InputError
from ogreid.lifting import landmarks
from ogreid.lifting.landmarks import BOXES, CARD, INPUT, LICENSE, MODEL_FILE, MODEL_SHA256, PoseNetwork, refined


def fake_outputs(square):
    """All landmarks at the center of what is red; a mask of what is green."""
    rows, columns = np.nonzero(square[..., 0] > 0.5)
    points = np.zeros((39, 5), np.float32)
    points[:, :2] = columns.mean() + 0.5, rows.mean() + 0.5
    points[:, 3] = 3.0
    return {
        "points": points.ravel(),
        "presence": np.array([0.75], np.float32),
        "mask": 20 * (square[..., 1:2] - 0.5),
        "heat": np.full((64, 64, 39), -9.0),
        "world": np.arange(117.0),
    }


@pytest.mark.parametrize("size", [(128, 64), (130, 131), (700, 260)])
def test_points_and_mask_come_back_to_their_pixels(monkeypatch, size):
    monkeypatch.setattr(PoseNetwork, "_run", lambda self, square: fake_outputs(square))
    pixels = np.zeros((*size, 3), np.uint8)
    row, column = size[0] // 3, size[1] // 2
    reach = size[0] // 20
    pixels[row - reach : row + reach + 1, column - reach : column + reach + 1, 0] = 255
    pixels[size[0] // 2 :, : size[1] // 2, 1] = 255
    attempts = list(PoseNetwork(Path("any"))("any.jpg", Image.fromarray(pixels)))
    assert len(attempts) == len(BOXES)
    for one in attempts:
        np.testing.assert_allclose(one.points, np.tile([column, row], (33, 1)), atol=size[0] / 250)
        assert one.presence == 0.75 and one.scores == pytest.approx(1 / (1 + np.exp(-3)))
        np.testing.assert_array_equal(one.world[1], [3, 4, 5])
        assert one.mask.shape == size and np.mean(one.mask != (pixels[..., 1] > 0)) < 0.03


def test_a_clear_heat_map_refines_its_landmark():
    heat = np.full((64, 64, 2), -20.0)
    heat[10, 21, 0] = heat[10, 22, 0] = 5.0
    points = np.array([[85.0, 42.0], [10.0, 300.0]])
    np.testing.assert_allclose(refined(points, heat), [[21.5 * INPUT / 64, 10 * INPUT / 64], [10, 300]], atol=1e-3)


def test_a_missing_or_foreign_network_and_a_missing_runtime_are_refused(tmp_path, monkeypatch):
    network = PoseNetwork(tmp_path / MODEL_FILE)
    with pytest.raises(InputError, match=r"no landmark network.*make pose.*--pose-model.*--landmarks"):
        _ = network.settings
    network.path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"expected {MODEL_SHA256}"):
        _ = network.settings
    monkeypatch.setattr(landmarks, "MODEL_SHA256", hashlib.sha256(b"nothing").hexdigest())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match=r"pip install 'ogreid\[pose\]'"):
        _ = network.settings
    assert pickle.loads(pickle.dumps(network)) == network


def wheel(path, *contents):
    with zipfile.ZipFile(path, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}/{MODEL_FILE}", content)
    return path


def test_the_network_is_taken_from_a_wheel_and_both_sentences_are_said(tmp_path, monkeypatch, capsys):
    content = bytes(1 << 20) + b"network"
    monkeypatch.setattr(pose_model, "MODEL_SHA256", hashlib.sha256(content).hexdigest())
    target = tmp_path / "data" / "network"
    order = ["--to", str(target), "--wheel", str(wheel(tmp_path / "a.whl", content))]
    assert pose_model.main(order) == 0
    assert target.read_bytes() == content
    assert capsys.readouterr().out.splitlines() == [str(target), LICENSE, CARD]
    assert pose_model.main(["--to", str(target), "--wheel", "nowhere"]) == 0  # it is there, nothing is fetched


@pytest.mark.parametrize(
    ("contents", "reason"),
    [((), "0 times"), ((b"small",), "5]"), ((bytes(1 << 21),), "expected e9a5"), ((bytes(1 << 21),) * 2, "2 times")],
)
def test_other_wheels_are_refused(tmp_path, contents, reason):
    target = tmp_path / "network"
    with pytest.raises(InputError, match=reason) as error:
        pose_model.main(["--to", str(target), "--wheel", str(wheel(tmp_path / "a.whl", *contents))])
    assert "\n" not in str(error.value) and not target.exists()


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda command, check: failed)
    with pytest.raises(InputError, match=r"pip could not download .*--wheel FILE"):
        pose_model.main(["--to", str(tmp_path / "network")])
    (tmp_path / "b.whl").write_bytes(io.BytesIO(b"PK").read())
    with pytest.raises(InputError, match="not the wheel"):
        pose_model.network_in(tmp_path / "b.whl")
