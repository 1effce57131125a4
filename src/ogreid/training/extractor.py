"""Embeddings for applications: arrays in, arrays out, without a Trainer, a store or a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ogreid.data.batch import CloudBatch
from ogreid.data.datasets.sources import CropClouds, resized
from ogreid.errors import InputError
from ogreid.registry import MODELS
from ogreid.training.inference import Network, load_network

Crops = np.ndarray | Sequence[np.ndarray]


class Extractor:
    """Embeds crops of people, or the boxes of a frame.

    Crops are scaled to 128 x 64 pixels and lifted with the upright body, as `ogreid.search` lifts its queries, and
    prepared as in training.

    Args:
        network: a run folder, a ``.ckpt`` file of any Trainer, a released folder (``opts.yaml`` and its weights), or a
            name of ``ogreid.registry.MODELS`` without training, for example ``histogram``; where none is given, the
            network that ships with ogreid.
        batch_size: crops at a time.
        device: of torch, ``cuda`` or ``cpu``; the first GPU where there is one.

    Attributes:
        width: D.

    Raises:
        InputError: nothing there, or not readable.

    Example:
        >>> extractor = Extractor("histogram")
        >>> frame = np.zeros((240, 320, 3), dtype=np.uint8)
        >>> frame[20:200, 30:100] = 200, 30, 30
        >>> extractor(frame, boxes=[[30, 20, 100, 200], [200, 20, 260, 200]]).shape == (2, extractor.width)
        True
    """

    def __init__(self, network: str | Path | None = None, *, batch_size: int = 64, device: str | None = None) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size: expected 1 or more, got {batch_size}")
        self.batch_size, self.device = batch_size, device or ("cuda" if torch.cuda.is_available() else "cpu")
        loaded = _load(network)
        self.module, self._data = loaded.module.eval().to(self.device), loaded.data_module()
        self._extra = tuple(getattr(self.module.network, "extra", ()))
        self._lifting = CropClouds(Path(), extras=self._extra)
        self.width = self._embed([np.full((128, 64, 3), 128, dtype=np.uint8)]).shape[1]

    def __call__(self, crops: Crops, *, boxes: np.ndarray | Sequence[Sequence[float]] | None = None) -> np.ndarray:
        """Embed N crops.

        Args:
            crops: (h, w, 3) uint8 RGB each, of any sizes; with ``boxes`` one frame (H, W, 3).
            boxes: (N, 4), left, top, right and bottom in pixels of the frame; what lies outside is cut off.

        Returns:
            (N, D) float32, of length 1: the dot product of two is their cosine similarity.

        Raises:
            InputError: no uint8 RGB images; a box that is not (4,), not finite, or without a pixel in the frame.
        """
        images = list(crops) if boxes is None else _cut(np.asarray(crops), np.asarray(boxes, dtype=np.float64))
        for number, image in enumerate(images):
            _check(image, f"crop {number}")
        parts = [images[first : first + self.batch_size] for first in range(0, len(images), self.batch_size)]
        empty = np.zeros((0, getattr(self, "width", 0)), dtype=np.float32)
        return np.concatenate([empty, *(self._embed(part) for part in parts)])

    def _embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        clouds = [self._lifting.lifted(resized(Image.fromarray(np.ascontiguousarray(one))), "crop") for one in images]
        names = ("xyz", "rgb", *self._extra)
        arrays = {name: torch.from_numpy(np.stack([cloud[name] for cloud in clouds])).to(self.device) for name in names}
        xyz, rgb, unknown = arrays.pop("xyz"), arrays.pop("rgb"), torch.full((len(images),), -1, device=self.device)
        extra = {name: values if values.ndim == 3 else values[..., None] for name, values in arrays.items()}
        batch = CloudBatch(xyz, rgb, unknown, unknown, unknown, extra=extra)
        with torch.inference_mode():
            return self.module.predict_step(self._data.on_after_batch_transfer(batch, 0), 0).embedding.numpy()


def _load(network: str | Path | None) -> Network:
    if network is None:
        return load_network()
    path = Path(network)
    if not path.exists() and str(network) in MODELS:
        return load_network(model=str(network))
    if (path / "opts.yaml").is_file():
        return load_network(published=str(network))
    return load_network(str(network))


def _check(image: np.ndarray, name: str) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"{name}: expected an RGB image (h, w, 3) of uint8, got {got}")
    if not image.size:
        raise InputError(f"{name}: expected pixels, got the shape {image.shape}")


def _cut(frame: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """The pixels of each box, its corners rounded and moved into the frame."""
    _check(frame, "frame")
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all()):
        raise InputError(f"boxes: expected (N, 4) finite numbers (left, top, right, bottom), got {boxes.shape}")
    height, width = frame.shape[:2]
    crops = []
    for number, box in enumerate(boxes.reshape(-1, 4)):
        left, top, right, bottom = np.clip(np.rint(box), 0, (width, height, width, height)).astype(int).tolist()
        if right <= left or bottom <= top:
            raise InputError(f"box {number}: {box.tolist()} has no pixel in the frame of {width} x {height}")
        crops.append(frame[top:bottom, left:right])
    return crops
