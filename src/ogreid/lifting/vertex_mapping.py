"""The mapping that made the published clouds, point for point, and the one that the paper's text describes.

Source: Zheng et al., "Parameter-Efficient Person Re-identification in the 3D Space" (TNNLS 2022), released
code.
"""

import numba
import numpy as np

from ogreid.lifting.camera import WeakCamera, box_corner, pixel_grid
from ogreid.lifting.mesh import Mesh

__all__ = ["OCCLUSION", "nearest_vertices", "owning_vertices"]

OCCLUSION = 0.05  # meters; a pixel deeper than its neighbor by more is behind it
REACH = 1.5  # pixels; a vertex farther from the pixel than this leaves it to the background


def owning_vertices(mesh: Mesh, height: int, width: int) -> np.ndarray:
    """The vertex that owns each pixel, (H, W) int64, -1 where none does.

    Row and column are rounded half away from zero (the column twice: in the square, then in the crop) and
    clamped to the picture; per pixel the smallest z wins, the lower vertex number on a tie; then the
    one-sided 5 cm rule.
    """
    corner = box_corner(height, width)
    if isinstance(mesh.camera, WeakCamera):
        square = _round(mesh.camera.square(mesh.vertices, max(height, width)))
    else:
        square = mesh.camera.pixels(mesh.vertices, height, width) + corner
    limit = np.array([width - 1, height - 1])
    place = np.clip(_round(square - corner), 0, limit).astype(np.int64)
    return np.asarray(_front_vertices(place, mesh.vertices[:, 2].astype(np.float64), height, width))


@numba.njit(cache=True)
def _front_vertices(place: np.ndarray, z: np.ndarray, height: int, width: int) -> np.ndarray:
    """Smallest z per pixel, then drop the owners above and to the left that lie over 5 cm deeper."""
    front = np.full((height, width), -1, dtype=np.int64)
    for vertex in range(len(z)):
        column, row = place[vertex, 0], place[vertex, 1]
        if front[row, column] < 0 or z[vertex] < z[front[row, column]]:
            front[row, column] = vertex
    owner = front.copy()
    # Depths are read from `front`: a dropped vertex still hides its own neighbors, so that the order of the
    # scan cannot matter.
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            here = front[row, column]
            if here < 0:
                continue
            above, left = front[row - 1, column], front[row, column - 1]
            if above >= 0 and z[above] - z[here] > OCCLUSION:
                owner[row - 1, column] = -1
            if left >= 0 and z[left] - z[here] > OCCLUSION:
                owner[row, column - 1] = -1
    return owner


def nearest_vertices(mesh: Mesh, height: int, width: int) -> np.ndarray:
    """The paper's text: each pixel takes the closest vertex; (H, W) int64, -1 where none is within ``REACH``.

    The text does not say what hides what. Here a vertex takes part unless the front of its own pixel lies
    more than 5 cm before it, so that the back of the body does not shine through.
    """
    from scipy.spatial import cKDTree  # half a second, which the other modes need not wait for

    pixels = mesh.camera.pixels(mesh.vertices, height, width)
    z = mesh.vertices[:, 2].astype(np.float64)
    place = np.clip(_round(pixels), 0, [width - 1, height - 1]).astype(np.int64)
    front = np.full((height, width), np.inf)
    np.minimum.at(front, (place[:, 1], place[:, 0]), z)
    seen = np.flatnonzero(z - front[place[:, 1], place[:, 0]] <= OCCLUSION)
    tree = cKDTree(pixels[seen])
    distance, found = tree.query(pixel_grid(height, width).reshape(-1, 2), distance_upper_bound=REACH)
    owner = np.where(np.isfinite(distance), seen[np.minimum(found, len(seen) - 1)], -1)
    return np.asarray(owner.reshape(height, width))


def _round(value: np.ndarray) -> np.ndarray:
    """Half away from zero, unlike numpy's half to even."""
    return np.asarray(np.copysign(np.floor(np.abs(value) + 0.5), value))
