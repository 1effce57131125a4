"""Embeddings from an ONNX file, without torch."""

import json
from pathlib import Path

import numpy as np

from ogreid.errors import InputError, MissingFileError

HEIGHT, WIDTH = 128, 64
BLANK = 1e-5  # as ogreid.data.transforms has it


class Runtime:
    """Runs a file of ``ogreid export --onnx`` with onnxruntime (``pip install "ogreid[onnx]"``).

    Embeddings have length 1; the scalar product of two is their similarity.

    Args:
        path: the file.
        num_threads: of onnxruntime; all cores where it is 0.

    Attributes:
        about: what the file says of itself: ``inputs``, ``points``, ``scales``, ``mirror``, ``version``.

    Raises:
        InputError: nothing there, or no file of ``ogreid export --onnx``.

    Example:
        >>> Runtime("none.onnx")
        Traceback (most recent call last):
        ogreid.errors.MissingFileError: none.onnx: no such file; write one with ogreid export --onnx
    """

    def __init__(self, path: str | Path, num_threads: int = 0) -> None:
        if not Path(path).is_file():
            raise MissingFileError(f"{path}: no such file; write one with ogreid export --onnx")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.about = json.loads(self.session.get_modelmeta().custom_metadata_map["ogreid"])
        except Exception as error:  # onnxruntime has a class for each of its faults, none of them public
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a file of ogreid export --onnx ({reason})") from error

    def crops(self, crops: np.ndarray) -> np.ndarray:
        """Embeddings (B, D) float32 of crops (B, 128, 64, 3) uint8, red first.

        Raises:
            InputError: crops of another shape or type; a network on clouds, or one that needs more than colors.
        """
        if self.about["inputs"] != "crop" or self.about["extra"]:
            raise InputError("Runtime.crops: this network reads clouds: lift the crops, and call Runtime.clouds")
        if crops.shape[1:] != (HEIGHT, WIDTH, 3) or crops.dtype != np.uint8:
            raise InputError(f"Runtime.crops: expected (B, 128, 64, 3) uint8, got {crops.shape} {crops.dtype}")
        views = [crops, crops[:, :, ::-1]] if self.about["mirror"] else [crops]
        flat = [view.reshape(len(crops), HEIGHT * WIDTH, 3).astype(np.float32) / np.float32(255) for view in views]
        return _normalized([self._run(np.zeros_like(colors), colors) for colors in flat])

    def clouds(self, xyz: np.ndarray, rgb: np.ndarray, **extra: np.ndarray) -> np.ndarray:
        """Embeddings (B, D) float32 of clouds: xyz (B, P, 3) meters, rgb (B, P, 3) uint8; P points or more.

        Of more points than the network takes, evenly spaced ones are taken, in their order.

        Args:
            xyz: as stored; centered here.
            rgb: as stored.
            **extra: what the network needs beside them, (B, P, C).

        Raises:
            InputError: too few points; colors that are not uint8; a network on crops.
        """
        if self.about["inputs"] == "crop":
            raise InputError("Runtime.clouds: this network reads crops: call Runtime.crops")
        points = self.about["points"]
        if rgb.dtype != np.uint8 or xyz.shape != rgb.shape or xyz.shape[1] < points:
            raise InputError(
                f"Runtime.clouds: expected xyz and rgb (B, {points} or more, 3), rgb uint8, got {xyz.shape} and "
                f"{rgb.shape} {rgb.dtype}"
            )
        colors = rgb.astype(np.float32) / np.float32(255)
        blank = np.abs(colors.mean(axis=2) - 1) <= BLANK
        chosen = np.stack([evenly_spaced(one, points) for one in blank])[..., None]
        centered = xyz.astype(np.float32) - xyz.astype(np.float32).mean(axis=1, keepdims=True)
        centered, colors = (
            np.take_along_axis(array, chosen, axis=1)
            for array in (centered, np.where(blank[..., None], np.float32(0.5), colors))
        )
        further = {name: np.take_along_axis(values, chosen, axis=1) for name, values in extra.items()}
        views = []
        for side in (1, -1) if self.about["mirror"] else (1,):
            turn = np.array([side, 1, 1], np.float32)
            seen = {name: values * turn if name == "normal" else values for name, values in further.items()}
            views += [self._run(centered * turn * np.float32(scale), colors, seen) for scale in self.about["scales"]]
        return _normalized(views)

    def _run(self, xyz: np.ndarray, colors: np.ndarray, extra: dict[str, np.ndarray] | None = None) -> np.ndarray:
        feed = {"xyz": xyz, "rgb": colors - np.float32(0.5)}
        feed |= {name: values.astype(np.float32) for name, values in (extra or {}).items()}
        needed = {one.name: feed[one.name] for one in self.session.get_inputs()}
        return np.asarray(self.session.run(["embedding"], needed)[0])


def evenly_spaced(blank: np.ndarray, points: int) -> np.ndarray:
    """As :func:`ogreid.data.transforms.select_evenly` chooses, of one cloud: (P,) bool to (N,) int64, ascending."""
    order = np.argsort(blank, kind="stable")
    count = int(len(blank) - blank.sum())
    if count < points:
        return np.sort(order[:points])
    even = (np.arange(points) * ((count - 1) / max(points - 1, 1))).astype(np.int64)
    even[-1] = count - 1
    return np.sort(order[even])


def _normalized(views: list[np.ndarray]) -> np.ndarray:
    total = np.sum(views, axis=0)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + np.float32(1e-6)))
