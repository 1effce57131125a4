"""What a camera makes of light: exposure, color, contrast, blur, noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ogreid.synthetic.body import Array

__all__ = ["Response", "draw_response", "photograph"]

_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # ITU-R BT.709


@dataclass(frozen=True)
class Response:
    """The character of one camera.

    Attributes:
        mixing: (3, 3) from scene to camera colors: white balance, saturation, crosstalk.
        exposure: factor on linear light.
        gamma: exponent of the tone curve on top of the usual 1 / 2.2.
        haze: gray added to everything.
        blur: standard deviation in pixels of the crop.
        noise: standard deviation of the read-out noise, of full scale.
        quality: of the JPEG files.
    """

    mixing: Array
    exposure: float
    gamma: float
    haze: float
    blur: float
    noise: float
    quality: int


def draw_response(rng: np.random.Generator, varied: float) -> Response:
    """A random camera; ``varied`` scales how far it is from a neutral one."""
    gains = np.exp(varied * rng.normal(0, 0.2, 3))
    saturation = 1 + varied * rng.uniform(-0.45, 0.25)
    mixing = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    return Response(
        mixing=np.asarray(mixing * gains[:, None], dtype=np.float32),
        exposure=float(1.6 * np.exp(varied * rng.normal(0, 0.28))),
        gamma=float(np.exp(varied * rng.normal(0, 0.16))),
        haze=float(varied * rng.uniform(0, 0.05)),
        blur=float(rng.uniform(0.25, 0.75)),
        noise=float(rng.uniform(0.004, 0.02)),
        quality=int(rng.integers(82, 95)),
    )


def photograph(picture: Array, response: Response, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 picture that a camera makes of linear light (H, W, 3).

    Exposure and white balance wander a little from one picture to the next, as automatic ones do.
    """
    drift = np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.03, 3))
    seen = np.maximum(picture @ response.mixing.T, 0) * (response.exposure * drift).astype(np.float32) + response.haze
    blur = response.blur * rng.uniform(0.7, 1.5)
    motion = rng.uniform(0.8, 1.6) if rng.uniform() < 0.15 else 0.0
    seen = gaussian_filter1d(seen, blur, axis=0, mode="nearest", truncate=3)
    seen = gaussian_filter1d(seen, float(np.hypot(blur, motion)), axis=1, mode="nearest", truncate=3)
    # A soft shoulder instead of clipping: bright cloth keeps its folds.
    toned = np.where(seen > 0.7, 0.7 + 0.3 * np.tanh((seen - 0.7) / 0.3), seen) ** np.float32(response.gamma / 2.2)
    grain = np.float32(response.noise) * rng.standard_normal(toned.shape, dtype=np.float32)
    return np.asarray(np.clip((toned + grain) * 255 + 0.5, 0, 255), dtype=np.uint8)
