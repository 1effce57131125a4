"""From body coordinates in metres to the pixels of a crop: the two projections that estimators use."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Camera", "PinholeCamera", "WeakCamera"]


@dataclass(frozen=True)
class WeakCamera:
    """Weak perspective: ``s * (X + t)`` (HMR, 4D-Humans) or ``s * X + t`` (ROMP) over the square box, in [-1, 1].

    The square has the side ``max(H, W)`` and the centre of the crop.

    Attributes:
        scale: box half-sides per metre.
        translation: ``(tx, ty)``.
        order: which of the two conventions; they are never guessed.
    """

    scale: float
    translation: tuple[float, float]
    order: Literal["s(x+t)", "sx+t"] = "s(x+t)"

    def pixels(self, vertices: np.ndarray, height: int, width: int) -> np.ndarray:
        """Continuous pixel coordinates (V, 2) as (column, row) of ``vertices`` (V, 3); the crop spans [0, W] x [0, H]."""
        offset = np.asarray(self.translation, dtype=vertices.dtype)
        flat = vertices[:, :2]
        unit = self.scale * (flat + offset) if self.order == "s(x+t)" else self.scale * flat + offset
        side = max(height, width)
        corner = np.array([(side - width) / 2, (side - height) / 2], dtype=vertices.dtype)
        return np.asarray((unit + 1) / 2 * side - corner)


@dataclass(frozen=True)
class PinholeCamera:
    """Full perspective: ``focal * (X + t)_xy / (X + t)_z + centre`` in pixels of the crop (SAM 3D Body)."""

    focal: float
    translation: tuple[float, float, float]
    centre: tuple[float, float]

    def pixels(self, vertices: np.ndarray, height: int, width: int) -> np.ndarray:
        """Continuous pixel coordinates (V, 2) as (column, row) of ``vertices`` (V, 3)."""
        moved = vertices + np.asarray(self.translation, dtype=vertices.dtype)
        return np.asarray(self.focal * moved[:, :2] / moved[:, 2:3] + np.asarray(self.centre, dtype=vertices.dtype))


Camera = WeakCamera | PinholeCamera
