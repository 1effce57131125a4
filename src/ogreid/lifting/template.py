"""A standing body for plain crops: where no estimator ran, most people still stand upright in the middle.

The surface is made of tubes with oval rings, from the proportions of a standing adult of 1.72 m; overlapping
tubes are no harm, because the z-buffer shows the outer one.
"""

from functools import cache

import numpy as np

from ogreid.lifting.camera import WeakCamera
from ogreid.lifting.mesh import Mesh

HEIGHT = 1.72  # meters
SIDES = 24  # corners of a ring
STEP = 0.02  # meters between rings after interpolation: about one pixel, so that vertices alone cover the body too

# The rings of each tube, one a column, in meters. y runs down from the crown (0) to the soles, x to the right, z away
# from the camera; the last two rows are half-axes.
HEAD = [
    [0, 0, 0, 0, 0, 0],  # x
    [0.00, 0.03, 0.09, 0.15, 0.20, 0.23],  # y
    [0.01, 0.01, 0.00, -0.01, -0.02, -0.01],  # z
    [0.020, 0.062, 0.077, 0.071, 0.052, 0.040],  # across
    [0.025, 0.075, 0.095, 0.088, 0.062, 0.045],  # in depth
]
TORSO = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # x
    [0.20, 0.26, 0.30, 0.35, 0.45, 0.58, 0.68, 0.80, 0.88, 0.93],  # y
    [0.01, 0.01, 0.01, 0.01, 0.00, 0.00, 0.00, 0.01, 0.02, 0.01],  # z
    [0.050, 0.065, 0.150, 0.185, 0.170, 0.145, 0.138, 0.165, 0.170, 0.120],  # across
    [0.052, 0.058, 0.075, 0.100, 0.120, 0.110, 0.102, 0.120, 0.118, 0.090],  # in depth
]
ARM = [
    [0.170, 0.192, 0.212, 0.235, 0.250, 0.262, 0.268, 0.266, 0.262],  # x
    [0.29, 0.34, 0.45, 0.60, 0.72, 0.85, 0.92, 1.00, 1.04],  # y
    [0.01, 0.01, 0.01, 0.01, 0.00, -0.01, -0.02, -0.02, -0.02],  # z
    [0.030, 0.052, 0.047, 0.040, 0.038, 0.027, 0.022, 0.018, 0.008],  # across
    [0.035, 0.052, 0.050, 0.042, 0.040, 0.030, 0.040, 0.034, 0.015],  # in depth
]
LEG = [
    [0.085, 0.092, 0.095, 0.097, 0.099, 0.101, 0.103, 0.106, 0.108],  # x
    [0.84, 0.94, 1.10, 1.24, 1.36, 1.50, 1.63, 1.67, 1.72],  # y
    [0.01, 0.01, 0.00, -0.01, 0.01, 0.02, 0.02, -0.03, -0.05],  # z
    [0.080, 0.083, 0.068, 0.054, 0.055, 0.042, 0.035, 0.042, 0.042],  # across
    [0.085, 0.090, 0.075, 0.060, 0.062, 0.046, 0.042, 0.105, 0.120],  # in depth
]


@cache
def upright_template() -> Mesh:
    """The standing body, with the camera that puts its crown near row 9 and its soles near row 119 of 128.

    Returns:
        The same mesh every time: about 5 000 vertices, faces, weak camera; z = 0 is the mean depth.
    """
    vertices, faces, count = [], [], 0
    for rings, side in ((HEAD, 1), (TORSO, 1), (ARM, 1), (ARM, -1), (LEG, 1), (LEG, -1)):
        corners, triangles = _tube(np.array(rings).T * [side, 1, 1, 1, 1])
        vertices.append(corners)
        faces.append(triangles + count)
        count += len(corners)
    surface = np.concatenate(vertices)
    surface[:, 1] -= HEIGHT / 2
    surface[:, 2] -= surface[:, 2].mean()
    return Mesh(surface.astype(np.float32), np.concatenate(faces), WeakCamera(1.0, (0.0, 0.0)))


def _tube(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (R * SIDES + 2, 3) and triangles of a closed tube through rings (R, 5), interpolated every ``STEP``."""
    top, bottom = rings[0, 1], rings[-1, 1]
    heights = np.linspace(top, bottom, round((bottom - top) / STEP) + 1)
    shape = np.stack([np.interp(heights, rings[:, 1], column) for column in rings.T], axis=1)
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    x = shape[:, :1] + shape[:, 3:4] * np.cos(angle)
    z = shape[:, 2:3] + shape[:, 4:5] * np.sin(angle)
    corners = np.stack([x, np.repeat(shape[:, 1:2], SIDES, axis=1), z], axis=-1).reshape(-1, 3)
    here = np.arange(SIDES)
    after = (here + 1) % SIDES
    triangles = [
        start + np.stack(corner, axis=1)
        for start in range(0, (len(shape) - 1) * SIDES, SIDES)
        for corner in ((here, after, here + SIDES), (after, after + SIDES, here + SIDES))
    ]
    first, last = len(corners), len(corners) + 1
    end = first - SIDES
    triangles.append(np.stack([np.full(SIDES, first), after, here], axis=1))
    triangles.append(np.stack([np.full(SIDES, last), end + here, end + after], axis=1))
    return np.concatenate([corners, shape[[0, -1], :3]]), np.concatenate(triangles)
