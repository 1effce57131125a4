"""Landmarks of a person in a crop: what they are, and the network that locates them (extra ``ogreid[pose]``).

The network is BlazePose's landmark model (Bazarevsky et al. 2020) as released in MediaPipe. It is not part of this
package: ``make pose`` fetches it, ``--pose-model FILE`` names it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.errors import InputError, MissingFileError

COUNT = 33
COCO = np.array([0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
"""The numbers that COCO's 17 points have among BlazePose's 33."""
MODEL_FILE = "pose_landmark_full.tflite"
MODEL_SHA256 = "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
LICENSE = "License: Apache-2.0, which does not limit what the landmark network is used for."
CARD = "Model card: surveillance and identity recognition are outside what the landmark network was made for."
INPUT = 256  # pixels, the side of what the network sees
BOXES = ((1.3, 0.52), (1.8, 0.55), (1.15, 0.5))
"""That square's side and its center's row, in heights of the crop; the later ones for crops that the first fails on.

Of 28 in 400 real crops on which it failed, the two others together gave an accepted body to all but a few.
"""
WINDOW = 7  # cells of a heat map around a landmark that refine it


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of one person.

    Attributes:
        points: (33, 2) as (column, row) in pixels of the crop; 0 is the center of the first pixel.
        scores: (33,) in [0, 1]; 0 where a point is not known.
        presence: in [0, 1], how likely there is a person at all.
        world: (33, 3) meters, x right, y down, z away, from any origin; None where only the image is known.
        mask: (H, W) bool, the person's pixels; None where they are not known.
    """

    points: np.ndarray
    scores: np.ndarray
    presence: float
    world: np.ndarray | None = None
    mask: np.ndarray | None = None


class LandmarkSource(Protocol):
    """Gives the landmarks of crops; travels to worker processes by pickle."""

    @property
    def settings(self) -> dict[str, str]:
        """What the landmarks depend on; the same settings and crops give the same ones."""

    def __call__(self, source: str, image: Image.Image) -> Iterator[Landmarks]:
        """One attempt after another for the crop ``source``; the next one where no body fits the last."""


@dataclass(frozen=True)
class PoseNetwork:
    """The landmark network on one thread; travels to worker processes as the path of its file.

    Attributes:
        path: of the ``.tflite`` file.
    """

    path: Path

    @property
    def settings(self) -> dict[str, str]:
        """What estimates depend on, checked before any crop is read.

        Raises:
            InputError: a missing file or runtime, or another file; with the way out.
        """
        try:
            digest = hashlib.sha256(files.read_bytes(self.path, 1 << 25)).hexdigest()
        except FileNotFoundError as error:
            raise MissingFileError(
                f"{self.path}: no landmark network; `make pose` fetches it, --pose-model FILE names it elsewhere,"
                " --landmarks DIR takes the landmarks of another tool"
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: not the landmark network ({error}); fetch it with `make pose`") from error
        if digest != MODEL_SHA256:
            raise InputError(f"{self.path}: sha256 {digest}, expected {MODEL_SHA256}; fetch it with `make pose`")
        self._load()
        return {"network": digest}

    def _load(self) -> Any:  # noqa: ANN401 - the runtime has no types
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise InputError(
                f"--bodies estimate needs the runtime of the landmark network ({error}); pip install 'ogreid[pose]'"
            ) from error
        return Interpreter(str(self.path), num_threads=1)

    @cached_property
    def _interpreter(self) -> Any:  # noqa: ANN401
        interpreter = self._load()
        interpreter.allocate_tensors()
        return interpreter

    def __reduce__(self) -> tuple[type["PoseNetwork"], tuple[Path]]:
        return PoseNetwork, (self.path,)

    def __call__(self, source: str, image: Image.Image) -> Iterator[Landmarks]:
        """The landmarks of the most prominent person in an RGB crop: one pass without a detector for each box."""
        for box, center in BOXES:
            scale = box * image.height / INPUT
            corner = np.array([image.width / 2, center * image.height]) - box * image.height / 2
            yield self._read(self._run(_square(image, scale, corner)), scale, corner, image.height, image.width)

    def _run(self, square: np.ndarray) -> dict[str, np.ndarray]:
        """The network's outputs by their sizes, which tell them apart."""
        interpreter = self._interpreter
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], square[None])
        interpreter.invoke()
        sizes = {195: "points", 1: "presence", INPUT * INPUT: "mask", 64 * 64 * 39: "heat", 117: "world"}
        outputs = [interpreter.get_tensor(one["index"])[0] for one in interpreter.get_output_details()]
        return {sizes[output.size]: output for output in outputs}

    @staticmethod
    def _read(outputs: dict[str, np.ndarray], scale: float, corner: np.ndarray, height: int, width: int) -> Landmarks:
        raw = outputs["points"].reshape(39, 5)[:COUNT].astype(np.float64)
        points = refined(raw[:, :2], outputs["heat"])
        return Landmarks(
            points * scale + corner - 0.5,  # the network counts from the edge of the first pixel, not its center
            _sigmoid(raw[:, 3]),
            float(outputs["presence"][0]),
            outputs["world"].reshape(39, 3)[:COUNT].astype(np.float64),
            _mask(outputs["mask"].reshape(INPUT, INPUT), scale, corner, height, width),
        )


def refined(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Points (N, 2) moved to the mean of their heat maps (64, 64, >= N) nearby, where the heat is clear.

    Source: MediaPipe, ``RefineLandmarksFromHeatmapCalculator``.
    """
    side, reach = heat.shape[0], WINDOW // 2
    result = points.copy()
    for number, cell in enumerate(np.floor(points * side / INPUT)):
        if not (cell.min() >= 0 and cell.max() < side):
            continue
        left, top = (max(0, int(one) - reach) for one in cell)
        window = _sigmoid(heat[top : int(cell[1]) + reach + 1, left : int(cell[0]) + reach + 1, number])
        if window.max() >= 0.5:
            rows, columns = np.indices(window.shape)
            mean = np.array([(window * (columns + left)).sum(), (window * (rows + top)).sum()]) / window.sum()
            result[number] = mean * INPUT / side
    return result


def _square(image: Image.Image, scale: float, corner: np.ndarray) -> np.ndarray:
    """(256, 256, 3) float32 in [0, 1]: the square that begins at ``corner``, black outside the crop."""
    if scale >= 2:
        factor = int(scale)
        image, scale, corner = image.reduce(factor), scale / factor, corner / factor
    matrix = (scale, 0, corner[0], 0, scale, corner[1])
    square = image.transform((INPUT, INPUT), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.float32) / np.float32(255)


def _mask(logits: np.ndarray, scale: float, corner: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) bool: where the mask of the square is more likely than not."""
    matrix = (1 / scale, 0, -corner[0] / scale, 0, 1 / scale, -corner[1] / scale)
    probability = Image.fromarray(_sigmoid(logits).astype(np.float32))
    size = width, height
    return np.asarray(probability.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)) > 0.5


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -50, 50))))
