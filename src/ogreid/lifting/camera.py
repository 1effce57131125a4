"""From body coordinates in meters to the pixels of an image and back: the two projections that estimators use.

Pixel ``(row, column)`` is sampled at the continuous coordinate ``(row, column)`` itself, not at its middle,
because that is how the published clouds were made (``u`` in [-1, 1] becomes the index ``round((u + 1) / 2 *
128)``, and a background pixel goes back through the same numbers). All modes of lifting share it, so their
clouds coincide.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ogreid.errors import InputError

FARTHEST = 1e6  # meters or pixels; products of such numbers and bodies are far from overflowing


def _usable(positive: float, *others: float) -> bool:
    return bool(1 / FARTHEST < positive < FARTHEST and np.abs(others).max() < FARTHEST)  # NaN is not


@dataclass(frozen=True)
class WeakCamera:
    """Weak perspective over the square box, in [-1, 1]: ``s (X + t)`` (HMR, 4D-Humans) or ``s X + t`` (ROMP).

    The square has the side ``max(H, W)`` and the center of the image.

    Attributes:
        scale: box half-sides per meter, > 0.
        translation: ``(tx, ty)``, meters in ``s(x+t)``, box half-sides in ``sx+t``.
        order: which of the two conventions; it is never guessed.

    Raises:
        InputError: a camera that projects nothing.
    """

    scale: float
    translation: tuple[float, float]
    order: Literal["s(x+t)", "sx+t"] = "s(x+t)"

    def __post_init__(self) -> None:
        if not _usable(self.scale, *self.translation):
            raise InputError(f"weak camera: scale {self.scale}, translation {self.translation}; expected scale > 0")
        if self.order not in ("s(x+t)", "sx+t"):
            raise InputError(f"weak camera: order {self.order!r}; known: 's(x+t)' (HMR), 'sx+t' (ROMP)")

    @property
    def offset(self) -> np.ndarray:
        """The translation in meters, (2,): ``s * (X + offset)`` in either order."""
        shift = np.asarray(self.translation, dtype=np.float64)
        return shift if self.order == "s(x+t)" else shift / self.scale

    def square(self, vertices: np.ndarray, side: int) -> np.ndarray:
        """Continuous (column, row) coordinates (V, 2) in the square box of ``side`` pixels."""
        return np.asarray((self.scale * (vertices[:, :2] + self.offset) + 1) / 2 * side)

    def pixels(self, vertices: np.ndarray, height: int, width: int) -> np.ndarray:
        """Continuous pixel coordinates (V, 2) as (column, row) of ``vertices`` (V, 3)."""
        return np.asarray(self.square(vertices, max(height, width)) - box_corner(height, width))

    def nearness(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What rasterization needs of ``vertices`` (V, 3).

        Returns:
            (V,) numbers that grow towards the camera and are linear over the image of a flat face; (V,) factors that
            turn weights in the image into weights on the face.
        """
        return -vertices[:, 2].astype(np.float64), np.ones(len(vertices))

    def unproject(self, pixels: np.ndarray, z: float, height: int, width: int) -> np.ndarray:
        """The x and y in meters (..., 2) of continuous pixel coordinates (..., 2) on the plane at ``z``."""
        unit = (pixels + box_corner(height, width)) / max(height, width) * 2 - 1
        return np.asarray(unit / self.scale - self.offset)


@dataclass(frozen=True)
class PinholeCamera:
    """Full perspective: ``focal * (X + t)_xy / (X + t)_z + center`` in pixels of the image (SAM 3D Body).

    Attributes:
        focal: pixels, > 0.
        translation: meters, ``(tx, ty, tz)``; the body must lie in front, ``z + tz > 0``.
        center: the principal point as ``(column, row)``.

    Raises:
        InputError: a camera that projects nothing.
    """

    focal: float
    translation: tuple[float, float, float]
    center: tuple[float, float]

    def __post_init__(self) -> None:
        if not _usable(self.focal, *self.translation, *self.center):
            raise InputError(
                f"pinhole camera: focal {self.focal}, translation {self.translation}, center {self.center};"
                " expected focal > 0, all finite"
            )

    def pixels(self, vertices: np.ndarray, height: int, width: int) -> np.ndarray:
        """See :meth:`WeakCamera.pixels`.

        Raises:
            InputError: a vertex behind the camera.
        """
        moved = vertices + np.asarray(self.translation, dtype=np.float64)
        if not np.all(moved[:, 2] > 0):
            raise InputError(
                f"pinhole camera: a vertex lies at {moved[:, 2].min():.2f} m, behind the camera;"
                " expected a positive depth after the translation: check the camera that came with the mesh"
            )
        return np.asarray(self.focal * moved[:, :2] / moved[:, 2:] + np.asarray(self.center))

    def nearness(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inverse = 1 / (vertices[:, 2].astype(np.float64) + self.translation[2])
        return inverse, inverse

    def unproject(self, pixels: np.ndarray, z: float, height: int, width: int) -> np.ndarray:
        depth = z + self.translation[2]
        return np.asarray((pixels - np.asarray(self.center)) * depth / self.focal - self.translation[:2])


@dataclass(frozen=True)
class ResizedCamera:
    """A camera of an image that was resized after its body was estimated; the two axes may shrink differently.

    Attributes:
        camera: of the image that the estimator saw.
        height: rows of that image.
        width: its columns.
    """

    camera: WeakCamera | PinholeCamera
    height: int
    width: int

    def pixels(self, vertices: np.ndarray, height: int, width: int) -> np.ndarray:
        return np.asarray(self.camera.pixels(vertices, self.height, self.width) * self._shrinkage(height, width))

    def nearness(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.camera.nearness(vertices)

    def unproject(self, pixels: np.ndarray, z: float, height: int, width: int) -> np.ndarray:
        return self.camera.unproject(pixels / self._shrinkage(height, width), z, self.height, self.width)

    def _shrinkage(self, height: int, width: int) -> np.ndarray:
        return np.array([width / self.width, height / self.height])


Camera = WeakCamera | PinholeCamera | ResizedCamera


def box_corner(height: int, width: int) -> np.ndarray:
    """(2,) as (column, row): where the image begins in the square of side ``max(H, W)`` around its center."""
    side = max(height, width)
    return np.array([(side - width) / 2, (side - height) / 2])


def pixel_grid(height: int, width: int) -> np.ndarray:
    """(H, W, 2) as (column, row): the coordinate at which every pixel is sampled."""
    rows, columns = np.indices((height, width), dtype=np.float64)
    return np.stack([columns, rows], axis=-1)
