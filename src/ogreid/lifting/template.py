"""A standing body for plain crops: where no estimator ran, most people still stand upright in the middle.

The surface is made of tubes with oval rings, from the proportions of a standing adult of 1.72 m; overlapping
tubes are no harm, because the z-buffer shows the outer one.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from ogreid.lifting.camera import WeakCamera
from ogreid.lifting.mesh import Mesh

__all__ = ["upright_template"]

SIDES = 24  # corners of a ring
STEP = 0.02  # meters between rings after interpolation: about one pixel, so that vertices alone cover the body too


class Ring(NamedTuple):
    """One oval cross-section of a tube, in meters: its middle and its half-axes across and in depth."""

    x: float
    y: float
    z: float
    across: float
    deep: float


# y runs down from the crown (0) to the soles (1.72); x to the right, z away from the camera.
HEAD = [
    Ring(0, 0.00, 0.01, 0.020, 0.025),
    Ring(0, 0.03, 0.01, 0.062, 0.075),
    Ring(0, 0.09, 0.00, 0.077, 0.095),
    Ring(0, 0.15, -0.01, 0.071, 0.088),
    Ring(0, 0.20, -0.02, 0.052, 0.062),
    Ring(0, 0.23, -0.01, 0.040, 0.045),
]
TORSO = [
    Ring(0, 0.20, 0.01, 0.050, 0.052),
    Ring(0, 0.26, 0.01, 0.065, 0.058),
    Ring(0, 0.30, 0.01, 0.150, 0.075),
    Ring(0, 0.35, 0.01, 0.185, 0.100),
    Ring(0, 0.45, 0.00, 0.170, 0.120),
    Ring(0, 0.58, 0.00, 0.145, 0.110),
    Ring(0, 0.68, 0.00, 0.138, 0.102),
    Ring(0, 0.80, 0.01, 0.165, 0.120),
    Ring(0, 0.88, 0.02, 0.170, 0.118),
    Ring(0, 0.93, 0.01, 0.120, 0.090),
]
ARM = [
    Ring(0.170, 0.29, 0.01, 0.030, 0.035),
    Ring(0.192, 0.34, 0.01, 0.052, 0.052),
    Ring(0.212, 0.45, 0.01, 0.047, 0.050),
    Ring(0.235, 0.60, 0.01, 0.040, 0.042),
    Ring(0.250, 0.72, 0.00, 0.038, 0.040),
    Ring(0.262, 0.85, -0.01, 0.027, 0.030),
    Ring(0.268, 0.92, -0.02, 0.022, 0.040),
    Ring(0.266, 1.00, -0.02, 0.018, 0.034),
    Ring(0.262, 1.04, -0.02, 0.008, 0.015),
]
LEG = [
    Ring(0.085, 0.84, 0.01, 0.080, 0.085),
    Ring(0.092, 0.94, 0.01, 0.083, 0.090),
    Ring(0.095, 1.10, 0.00, 0.068, 0.075),
    Ring(0.097, 1.24, -0.01, 0.054, 0.060),
    Ring(0.099, 1.36, 0.01, 0.055, 0.062),
    Ring(0.101, 1.50, 0.02, 0.042, 0.046),
    Ring(0.103, 1.63, 0.02, 0.035, 0.042),
    Ring(0.106, 1.67, -0.03, 0.042, 0.105),
    Ring(0.108, 1.72, -0.05, 0.042, 0.120),
]
HEIGHT = 1.72


@cache
def upright_template() -> Mesh:
    """The standing body, with the camera that puts its crown near row 9 and its soles near row 119 of 128.

    Returns:
        The same mesh every time: about 5 000 vertices, faces, weak camera; z = 0 is the mean depth.
    """
    tubes = [HEAD, TORSO, ARM, _mirrored(ARM), LEG, _mirrored(LEG)]
    vertices, faces, count = [], [], 0
    for tube in tubes:
        corners, triangles = _tube(tube)
        vertices.append(corners)
        faces.append(triangles + count)
        count += len(corners)
    surface = np.concatenate(vertices)
    surface[:, 1] -= HEIGHT / 2
    surface[:, 2] -= surface[:, 2].mean()
    return Mesh(surface.astype(np.float32), np.concatenate(faces), WeakCamera(1.0, (0.0, 0.0)))


def _mirrored(tube: list[Ring]) -> list[Ring]:
    return [ring._replace(x=-ring.x) for ring in tube]


def _tube(rings: list[Ring]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (R * SIDES + 2, 3) and triangles of a closed tube through the rings."""
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    shape = _denser(np.array(rings))
    corners = np.stack(
        [
            shape[:, :1] + shape[:, 3:4] * np.cos(angle),
            np.repeat(shape[:, 1:2], SIDES, axis=1),
            shape[:, 2:3] + shape[:, 4:5] * np.sin(angle),
        ],
        axis=-1,
    ).reshape(-1, 3)
    here = np.arange(SIDES)
    after = (here + 1) % SIDES
    sides = [
        start + np.stack(corner, axis=1)
        for start in range(0, (len(shape) - 1) * SIDES, SIDES)
        for corner in ((here, after, here + SIDES), (after, after + SIDES, here + SIDES))
    ]
    return _closed(corners, sides, here, after, shape)


def _denser(shape: np.ndarray) -> np.ndarray:
    """Rings (R, 5) every ``STEP`` along y, between the given ones."""
    top, bottom = shape[0, 1], shape[-1, 1]
    heights = np.linspace(top, bottom, round((bottom - top) / STEP) + 1)
    return np.stack([np.interp(heights, shape[:, 1], column) for column in shape.T], axis=1)


def _closed(
    corners: np.ndarray, sides: list[np.ndarray], here: np.ndarray, after: np.ndarray, shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    first, last = len(corners), len(corners) + 1
    end = first - SIDES
    cap = [np.stack([np.full(SIDES, first), after, here], axis=1)]
    cap.append(np.stack([np.full(SIDES, last), end + here, end + after], axis=1))
    return np.concatenate([corners, shape[[0, -1], :3]]), np.concatenate([*sides, *cap])
