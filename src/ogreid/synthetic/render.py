"""Triangles to a small image: a z-buffer with four samples a pixel, diffuse light from a sun and a sky."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from ogreid.synthetic.body import Array
from ogreid.synthetic.clothing import Person
from ogreid.synthetic.paint import shade

__all__ = ["Light", "render_person"]

SAMPLES = 2  # per side of a pixel


@dataclass(frozen=True)
class Light:
    """Where light comes from, in the axes of the camera; colors are linear."""

    towards: Array  # (3,) unit vector towards the sun
    sun: Array  # (3,) color
    sky: Array  # (3,) color of what comes from above
    ground: Array  # (3,) color of what comes from below
    up: Array  # (3,) unit vector


@njit(cache=True, fastmath=True)
def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3)."""
    normals = np.zeros_like(vertices)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ax, ay, az = vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z
        bx, by, bz = vertices[k, 0] - x, vertices[k, 1] - y, vertices[k, 2] - z
        cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += cx
            normals[v, 1] += cy
            normals[v, 2] += cz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        for axis in range(3):
            normals[v, axis] /= max(length, np.float32(1e-12))
    return normals


@njit(cache=True)
def _visible(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle each sample sees (-1 none) and the shares of its second and third corner."""
    nearest = np.full((height, width), np.inf, dtype=np.float32)
    owner = np.full((height, width), -1, dtype=np.int32)
    shares = np.zeros((height, width, 2), dtype=np.float32)
    half = np.float32(0.5)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        # In samples whose centers are whole numbers.
        x0, y0 = pixels[i, 0] - half, pixels[i, 1] - half
        xj, yj, xk, yk = pixels[j, 0] - half, pixels[j, 1] - half, pixels[k, 0] - half, pixels[k, 1] - half
        left, right = max(np.ceil(min(x0, xj, xk)), 0), min(np.floor(max(x0, xj, xk)), width - 1)
        top, bottom = max(np.ceil(min(y0, yj, yk)), 0), min(np.floor(max(y0, yj, yk)), height - 1)
        if left > right or top > bottom:
            continue  # most triangles are smaller than a sample and miss its center
        x1, y1, x2, y2 = xj - x0, yj - y0, xk - x0, yk - y0
        area = x1 * y2 - x2 * y1
        if abs(area) < 1e-9:
            continue
        z0, z1, z2 = depth[i], depth[j] - depth[i], depth[k] - depth[i]
        for row in range(int(top), int(bottom) + 1):
            dy = np.float32(row) - y0
            for column in range(int(left), int(right) + 1):
                dx = np.float32(column) - x0
                b = (dx * y2 - x2 * dy) / area
                c = (x1 * dy - dx * y1) / area
                if b < 0 or c < 0 or b + c > 1:
                    continue
                z = z0 + b * z1 + c * z2
                if z < nearest[row, column]:
                    nearest[row, column] = z
                    owner[row, column] = f
                    shares[row, column, 0] = b
                    shares[row, column, 1] = c
    return owner, shares


def render_person(
    person: Person, vertices: Array, pixels: Array, light: Light, height: int, width: int
) -> tuple[Array, Array]:
    """Linear light (H, W, 3) of a person, weighted by its cover, and the cover (H, W) in [0, 1].

    Args:
        person: the person.
        vertices: (V, 3) in a pose, in the axes of the camera, meters, the pelvis near the origin.
        pixels: (V, 2) column and row of the vertices in the crop.
        light: what falls on the person.
        height: H.
        width: W.
    """
    owner, shares = _visible(pixels * SAMPLES, vertices[:, 2], person.faces, height * SAMPLES, width * SAMPLES)
    falling = np.stack([light.towards, light.sun, light.sky, light.ground, light.up]).astype(np.float32)
    mesh = (person.faces, person.surface, person.part, _normals(vertices, person.faces), person.coordinates)
    image, cover = shade(owner, shares, mesh, (person.attributes.cloths, person.attributes.traits), falling, SAMPLES)
    return image, cover
