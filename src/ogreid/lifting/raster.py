"""The visible surface under every pixel: a z-buffer over the faces of a body.

The published code tests vertices only, and leaves 47 % of the silhouette's pixels at the depth of the
background and 13.6 % of the kept points behind others (measured on six bodies). Faces have neither hole.
"""

import numba
import numpy as np

__all__ = ["surface_points", "visible_faces"]

EDGE = -1e-9  # just below 0: rounding must not open a seam between two faces


@numba.njit(cache=True)
def visible_faces(
    pixels: np.ndarray, nearness: np.ndarray, faces: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which face each pixel sees, and where on it.

    Args:
        pixels: (V, 2) float64 continuous (column, row).
        nearness: (V,) float64, larger is nearer, linear over the picture.
        faces: (F, 3) vertex numbers.
        height: rows of the picture.
        width: columns of the picture.

    Returns:
        ``owner`` (H * W,) int64 the visible face or -1; ``weights`` (H * W, 3) float64 its weights *in the
        picture* (multiply by the camera's foreshortening and normalize to get weights on the face). Of two
        faces at the same depth the first one wins.
    """
    owner = np.full(height * width, -1, dtype=np.int64)
    weights = np.zeros((height * width, 3), dtype=np.float64)
    best = np.full(height * width, -np.inf, dtype=np.float64)
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, bx, by, cx, cy = (
            pixels[a, 0],
            pixels[a, 1],
            pixels[b, 0],
            pixels[b, 1],
            pixels[c, 0],
            pixels[c, 1],
        )
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Clamped before the cast: a vertex far outside would overflow the whole numbers.
        left = int(np.ceil(max(min(ax, bx, cx), 0.0)))
        right = int(np.floor(min(max(ax, bx, cx), width - 1.0)))
        top = int(np.ceil(max(min(ay, by, cy), 0.0)))
        bottom = int(np.floor(min(max(ay, by, cy), height - 1.0)))
        if area == 0.0 or left > right or top > bottom:
            continue  # seen from its edge, or beside the picture
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                wb = ((column - ax) * (cy - ay) - (row - ay) * (cx - ax)) / area
                wc = ((bx - ax) * (row - ay) - (by - ay) * (column - ax)) / area
                wa = 1.0 - wb - wc
                if wa < EDGE or wb < EDGE or wc < EDGE:
                    continue
                near = wa * nearness[a] + wb * nearness[b] + wc * nearness[c]
                pixel = row * width + column
                if near > best[pixel]:
                    best[pixel] = near
                    owner[pixel] = face
                    weights[pixel, 0] = wa
                    weights[pixel, 1] = wb
                    weights[pixel, 2] = wc
    return owner, weights


@numba.njit(cache=True)
def surface_points(
    owner: np.ndarray,
    weights: np.ndarray,
    faces: np.ndarray,
    vertices: np.ndarray,
    foreshortening: np.ndarray,
    xyz: np.ndarray,
) -> None:
    """Turn weights in the picture into weights on the face, and put the points that they name into ``xyz``.

    Args:
        owner: (P,) of :func:`visible_faces`; pixels without a face keep what ``xyz`` holds.
        weights: (P, 3) of :func:`visible_faces`; changed in place.
        faces: (F, 3) vertex numbers.
        vertices: (V, 3) meters.
        foreshortening: (V,) of the camera.
        xyz: (P, 3) float64; changed in place.
    """
    for pixel in range(len(owner)):
        if owner[pixel] < 0:
            continue
        total = 0.0
        for corner in range(3):
            weights[pixel, corner] *= foreshortening[faces[owner[pixel], corner]]
            total += weights[pixel, corner]
        for axis in range(3):
            xyz[pixel, axis] = 0.0
        for corner in range(3):
            weights[pixel, corner] /= total
            vertex = faces[owner[pixel], corner]
            for axis in range(3):
                xyz[pixel, axis] += weights[pixel, corner] * vertices[vertex, axis]
