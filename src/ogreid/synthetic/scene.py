"""The fixed image that a camera sees without people: ground, a wall or a street front, sky and street furniture."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from ogreid.synthetic.attributes import linear
from ogreid.synthetic.body import Array

GROUNDS, INDOOR_GROUNDS = ("tiles", "asphalt"), ("floor", "tiles")
WALLS, INDOOR_WALLS = ("brick", "windows", "shops", "hedge", "panels", "glass"), ("panels", "shops", "glass")


@dataclass(frozen=True)
class View:
    """A pinhole camera over flat ground; world axes: x right, y down from the camera, z forward."""

    height: float  # of the camera over the ground, meters
    pitch: float  # downwards, radians
    focal: float  # in pixels of the scene's image
    size: tuple[int, int]  # (width, height) of that image

    @property
    def rotation(self) -> Array:
        """(3, 3) from world axes to the axes of the camera."""
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=np.float32)

    def project(self, points: Array) -> Array:
        """(V, 2) column and row of points (V, 3) in the axes of the camera."""
        center = np.array(self.size, dtype=np.float32) / 2
        return np.asarray(self.focal * points[:, :2] / points[:, 2:3] + center, dtype=np.float32)

    def rays(self) -> Array:
        """(h, w, 3) directions of the pixels in world axes."""
        width, height = self.size
        u, v = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        rays = np.stack([u / self.focal, v / self.focal, np.ones_like(u)], axis=-1)
        return np.asarray(rays @ self.rotation, dtype=np.float32)


def _noise(rng: np.random.Generator, x: Array, y: Array, grain: float) -> Array:
    """Smooth noise in [-1, 1] over the plane, with features of about ``grain`` meters."""
    table = rng.uniform(-1, 1, (64, 64)).astype(np.float32)
    return np.asarray(_interpolated(table, x.ravel(), y.ravel(), grain)).reshape(x.shape)


@njit(cache=True)
def _interpolated(table: np.ndarray, x: np.ndarray, y: np.ndarray, grain: float) -> np.ndarray:
    """A table (64, 64), repeated over the plane, with smooth steps between its cells."""
    noise = np.empty(len(x), dtype=np.float32)
    for n in range(len(x)):
        u, v = x[n] / grain, y[n] / grain
        i, j = int(np.floor(u)), int(np.floor(v))
        fu, fv = u - i, v - j
        fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
        i, j = i % 64, j % 64
        i_next, j_next = (i + 1) % 64, (j + 1) % 64
        upper = table[j, i] + fu * (table[j, i_next] - table[j, i])
        lower = table[j_next, i] + fu * (table[j_next, i_next] - table[j_next, i])
        noise[n] = upper + fv * (lower - upper)
    return noise


def _rough(rng: np.random.Generator, x: Array, y: Array, speckle: float, *layers: tuple[float, float]) -> Array:
    """Factor on an albedo: noise of its own in every pixel, and layers of smooth noise of (strength, grain)."""
    total = speckle * rng.standard_normal(x.shape, dtype=np.float32)
    for strength, grain in layers:
        total = total + strength * _noise(rng, x, y, grain)
    return np.asarray(np.exp(np.clip(total, -0.9, 0.9)))


def _cells(rng: np.random.Generator, x: Array, y: Array, wide: float, high: float) -> tuple[Array, Array]:
    """Of a grid of cells: a random number in [0, 1] for each, and how far from its border a point is, in meters."""
    table = rng.uniform(0, 1, (61, 61)).astype(np.float32)
    i, j = np.floor(x / wide), np.floor(y / high)
    border = np.minimum(np.minimum(x - i * wide, (i + 1) * wide - x), np.minimum(y - j * high, (j + 1) * high - y))
    return table[j.astype(np.int64) % 61, i.astype(np.int64) % 61], border


def _ground(rng: np.random.Generator, kind: str, stones: Array, x: Array, z: Array) -> Array:
    """Albedo (..., 3) of the ground at places (x, z)."""
    # Real ground is never of one color: grain, dirt, and light that falls through leaves and between houses.
    rough = _rough(rng, x, z, 0.3, (0.3, 0.11), (0.2, 0.5))
    rough = rough * np.clip(0.75 + 0.4 * _noise(rng, x, z, 1.3) + 0.25 * _noise(rng, x, z, 4.0), 0.25, 1.3)
    if kind == "asphalt":
        lane = np.abs(z - rng.uniform(7, 14)) < 0.09
        color = np.where(lane[..., None], linear("d9d6c8"), 0.5 * stones[0])
    else:
        tile, _, slab = rng.uniform((0.5, 0, 1.2), (1.0, 1, 2.2)).tolist()  # one unused, so that a seed stays as it was
        side, spread = {"tiles": (tile, 0.8), "floor": (slab, 0.3)}[kind]
        cell, border = _cells(rng, x, z, side, side)
        color = stones[(cell * 997).astype(np.int64) % len(stones)] * (1 + spread * (cell - 0.5))[..., None]
        color = np.where((border < 0.03 * side)[..., None], 0.45 * color, color)
        rough = rough if kind != "floor" else rough**0.5
    tint = 1 + 0.12 * rng.standard_normal((*x.shape, 3), dtype=np.float32)
    tint = tint + 0.15 * _noise(rng, x, z, 0.8)[..., None] * (1, 0, -1)
    return np.asarray(color * rough[..., None] * tint, dtype=np.float32)


def _wall(rng: np.random.Generator, kind: str, base: Array, x: Array, up: Array) -> Array:
    """Albedo (..., 3) of the wall at places (x, height over the ground)."""
    stain = _rough(rng, x, up, 0.14, (0.3, 0.2), (0.4, 1.4))
    if kind == "hedge":
        leaves = 0.6 * _noise(rng, x, up, 0.09) + 0.4 * _noise(rng, x, up, 0.5)
        color = linear("3f5a2a") * (1 + 0.6 * leaves[..., None])
        return np.asarray(np.where((up < 2.2 + 0.4 * leaves)[..., None], color, linear("a9b7c4")), dtype=np.float32)
    if kind == "brick":
        cell, border = _cells(rng, x + 0.5 * np.floor(up / 0.32) * 0.7, up, 0.7, 0.32)
        color = base * (0.6 + 0.8 * cell[..., None])
        color = np.where((border < 0.025)[..., None], linear("b9b0a2"), color)
    elif kind == "shops":
        cell, border = _cells(rng, x, up, rng.uniform(2.2, 3.4), 40.0)
        signs = linear(rng.choice(["c23b30", "2b6cb0", "d9a521", "2f7d4b"])) * (0.4 + cell[..., None])
        inside = linear("d8c9a8") * (0.25 + 0.6 * _cells(rng, x, up, 0.45, 0.6)[0][..., None])
        color = np.where((up > 2.4)[..., None], signs, np.where((border > 0.14)[..., None], inside, 0.4 * base))
    else:
        cell, border = _cells(rng, x, up - 0.4, rng.uniform(1.3, 2.5), rng.uniform(1.9, 2.8))
        pane = linear("5a6b7a") * (0.35 + 0.9 * cell[..., None])
        if kind == "windows":
            color = np.where((border > 0.38)[..., None], pane, base)
        elif kind == "glass":
            color = np.where((border > 0.06)[..., None], 0.5 * pane + 0.3 * base, linear("c9cdd0"))
        else:
            color = base * (0.65 + 0.7 * cell[..., None])
            color = np.where((border < 0.03)[..., None], 0.6 * color, color)
    return np.asarray(color * stain[..., None], dtype=np.float32)


@dataclass(frozen=True)
class Materials:
    """What a place is built of."""

    ground: str  # one of ``GROUNDS``
    stones: Array  # (S, 3) linear colors of its paving; the first is that of a ground in one color
    wall: str  # one of ``WALLS``
    wall_color: Array  # (3,) linear


def draw_scene(view: View, materials: Materials, *, distance: float, furniture: int, seed: int) -> Array:
    """Linear light (h, w, 3) of an empty scene under white light.

    The wall is ``distance`` meters away; so many pieces of ``furniture`` stand before it: posts, bins, cars, trunks.
    """
    rng = np.random.default_rng(seed)
    rays = view.rays()
    falling = np.maximum(rays[..., 1], 1e-4)
    reach = view.height / falling
    on_ground = (rays[..., 1] > 0) & (reach * rays[..., 2] < distance)
    reach = np.where(on_ground, reach, distance / np.maximum(rays[..., 2], 1e-4))
    x, z = reach * rays[..., 0] + 200.0, reach * rays[..., 2]
    up = np.clip(view.height - reach * rays[..., 1], 0, 60)
    floor = _ground(rng, materials.ground, materials.stones, x, z)
    front = _wall(rng, materials.wall, materials.wall_color, x, up)
    image = np.where(on_ground[..., None], floor, front)
    sky = ~on_ground & (up > rng.uniform(5, 12))
    image = np.where(sky[..., None], linear("b9c7d6"), image)
    foot = np.clip(np.abs(z - distance) / 0.5 + up / 0.5, 0, 1)  # where wall and ground meet it is darker
    image = image * (0.55 + 0.45 * foot)[..., None]
    for _ in range(furniture):
        _place_furniture(rng, view, image, distance)
    return np.asarray(image, dtype=np.float32)


_FURNITURE = (  # least and greatest width, height, meters; colors
    ((0.08, 0.16), (2.2, 5.0), ("3a3d40", "8d9094", "4b3b2e")),  # post
    ((0.4, 0.8), (0.7, 1.2), ("2f5a3c", "3b4a60", "7a7f84", "a3553a")),  # bin
    ((0.9, 1.8), (1.4, 2.4), ("cfcdc7", "8d9094", "4d5a6b", "a3937a")),  # board
    ((3.0, 4.4), (1.2, 1.6), ("b5b9bd", "26292e", "6e3a36", "2f4a6d", "d6d6d4")),  # car
    ((0.25, 0.5), (2.5, 5.0), ("4f3d2e", "6a5a48")),  # trunk
)


def _place_furniture(rng: np.random.Generator, view: View, image: Array, distance: float) -> None:
    """Draw one piece of furniture into the image, between the people and the wall."""
    wide, high, colors = _FURNITURE[rng.integers(len(_FURNITURE))]
    z = rng.uniform(0.75, 0.97) * distance
    across = 0.6 * view.size[0] / view.focal * z
    x = rng.uniform(-across, across)
    half, tall = rng.uniform(*wide) / 2, rng.uniform(*high)
    corners = np.array([[x - half, view.height - tall, z], [x + half, view.height, z]], dtype=np.float32)
    (left, top), (right, bottom) = np.round(view.project(corners @ view.rotation.T)).astype(int)
    region = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if region.size == 0:
        return
    shade = np.linspace(1.1, 0.6, region.shape[1])[None, :, None]
    bands = 1 - 0.35 * (np.linspace(0, rng.integers(1, 4), region.shape[0]) % 1 > 0.6)[:, None, None]
    region[:] = linear(str(rng.choice(colors))) * shade * bands


@njit(cache=True)
def window(image: np.ndarray, corner: tuple[float, float], side: float, height: int, width: int) -> np.ndarray:
    """A crop (H, W, 3) of an image (h, w, 3) by bilinear sampling; what lies outside repeats the border.

    Its upper left corner is at ``corner`` (column, row), and it covers ``side`` rows of the image.
    """
    (left, top), step = corner, side / height
    crop = np.empty((height, width, 3), dtype=np.float32)
    for row in range(height):
        y = min(max(top + (row + 0.5) * step - 0.5, 0.0), image.shape[0] - 1.001)
        i = int(y)
        fy = np.float32(y - i)
        for column in range(width):
            x = min(max(left + (column + 0.5) * step - 0.5, 0.0), image.shape[1] - 1.001)
            j = int(x)
            fx = np.float32(x - j)
            for c in range(3):
                above = image[i, j, c] + fx * (image[i, j + 1, c] - image[i, j, c])
                below = image[i + 1, j, c] + fx * (image[i + 1, j + 1, c] - image[i + 1, j, c])
                crop[row, column, c] = above + fy * (below - above)
    return crop
