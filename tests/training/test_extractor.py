"""The extractor gives what predict gives, from arrays; boxes of a frame are crops."""

from pathlib import Path

import numpy as np
import pytest

from crop_folders import predict_and_save
from ogreid import Extractor
from ogreid.data.datasets.sources import read_crop
from ogreid.errors import InputError


@pytest.mark.parametrize("inputs", ["scene", "crop"])
def test_embeddings_are_those_of_predict_in_batches_of_any_size_and_from_boxes(crops, tmp_path, inputs):
    predicted = predict_and_save(crops / "data", tmp_path / "plain.ckpt", inputs)
    images = {name: read_crop(crops / "images" / name) for name in predicted}
    expected = np.stack(list(predicted.values()))
    embedding = Extractor(tmp_path / "plain.ckpt", batch_size=3, device="cpu")(list(images.values()))
    assert embedding.dtype == np.float32 and embedding.shape == expected.shape
    np.testing.assert_allclose(embedding, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
    extractor = Extractor(tmp_path / "plain.ckpt", device="cpu")
    np.testing.assert_allclose(extractor(np.stack(list(images.values()))), expected, atol=1e-5)
    frame = np.concatenate(list(images.values()), axis=1)
    boxes = [[64 * place, 0, 64 * place + 64, 128] for place in range(len(images))]
    np.testing.assert_allclose(extractor(frame, boxes=boxes), expected, atol=1e-5)


@pytest.fixture(scope="module")
def histogram():
    return Extractor("histogram", device="cpu")


def test_crops_of_any_size_and_none(histogram):
    rng = np.random.default_rng(0)
    sizes = [(40, 20), (300, 90), (128, 64)]
    assert histogram([rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]).shape == (3, histogram.width)
    assert histogram([]).shape == (0, histogram.width)
    assert histogram(np.zeros((9, 9, 3), np.uint8), boxes=np.zeros((0, 4))).shape == (0, histogram.width)


def test_a_box_is_cut_off_at_the_frame(histogram):
    frame = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    whole, beyond = histogram(frame, boxes=[[0, 0, 50, 60], [-9.4, -3, 70, 60.2]])
    np.testing.assert_array_equal(whole, beyond)


@pytest.mark.parametrize(
    ("crops", "boxes", "words"),
    [
        ([np.zeros((8, 4, 3))], None, "crop 0: .*uint8, got float64"),
        ([np.zeros((8, 4, 3), np.uint8), np.zeros((8, 4), np.uint8)], None, "crop 1"),
        (["a.jpg"], None, "crop 0: .*got str"),
        (np.zeros((8, 4, 3), np.uint8), [[0, 0, 4]], "boxes"),
        (np.zeros((8, 4, 3), np.uint8), [[0, 0, 4, 8], [5, 0, 9, 8]], "box 1: .* 4 x 8"),
    ],
)
def test_what_is_no_crop_is_refused_in_one_line(histogram, crops, boxes, words):
    with pytest.raises(InputError, match=words) as refused:
        histogram(crops, boxes=boxes)
    assert "\n" not in str(refused.value)


def test_a_network_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="nothing"):
        Extractor(Path("nothing"))
