"""The cameras of a place: the scene without people, its light, and what cameras make of it (exposure, color, noise)."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ogreid.synthetic.attributes import linear
from ogreid.synthetic.body import Array
from ogreid.synthetic.render import Light

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
    speckles = speckle * rng.standard_normal(x.shape, dtype=np.float32)
    total = sum((strength * _noise(rng, x, y, grain) for strength, grain in layers), start=speckles)
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
    sky = ~on_ground & (up > rng.uniform(5, 12))
    image = np.where(on_ground[..., None], floor, np.where(sky[..., None], linear("b9c7d6"), front))
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


HEIGHT_IN_SCENE = 120  # pixels of a person of 1.7 m in the middle of the way
_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # ITU-R BT.709
_GROUND_COLORS = ("b7aa97", "a8a49d", "c9bda6", "8f8378", "bdb8b0")
_WALL_COLORS = ("b5a793", "a97458", "c7c2b8", "8d9298", "d0c4ac", "8a6a58")


@dataclass(frozen=True)
class Site:
    """What the cameras of a domain have in common; shares in [0, 1]."""

    indoor: float  # cameras inside a building
    occluded: float  # crops with something in front of the person
    crowded: float  # crops with somebody else in the background
    cut: float  # crops that miss a part of the person
    varied: float  # how far apart the cameras' colors are; 1 is strong
    # Least and greatest height of a camera outdoors, meters: from above, people are seen against the ground.
    height: tuple[float, float] = (2.8, 6.0)
    backdrop: tuple[float, float] = (1.25, 1.8)  # least and greatest distance of the wall, in distances of the people
    plain: bool = False  # a plain wall


@dataclass(frozen=True)
class CameraEffects:
    """The character of one camera."""

    mixing: Array  # (3, 3) from scene to camera colors: white balance, saturation, crosstalk
    exposure: float  # factor on linear light
    gamma: float  # exponent of the tone curve on top of the usual 1 / 2.2
    haze: float  # gray added to everything
    blur: float  # standard deviation in pixels of the crop
    noise: float  # standard deviation of the read-out noise, of full scale
    quality: int  # of the JPEG files


@dataclass(frozen=True)
class Camera:
    """One camera of a site."""

    view: View  # its geometry
    scene: Array  # (h, w, 3) the empty image under white light
    light: Light  # what falls on people in the open
    effects: CameraEffects
    near: float  # least distance of people along the ground, meters
    far: float  # greatest
    heading: float  # main one of people, radians; 0 walks towards the camera
    site: Site


def draw_materials(site: Site, rng: np.random.Generator, count: int) -> list[Materials]:
    """What each of ``count`` cameras looks at: one ground and few walls, for they all watch the same place."""
    # Paving is laid of stones of several colors.
    stones = linear(str(rng.choice(_GROUND_COLORS))) * np.exp(rng.normal(0, 0.11, (5, 3)))
    outdoor, indoor = str(rng.choice(GROUNDS[:2])), str(rng.choice(INDOOR_GROUNDS))
    outer = [(str(rng.choice(WALLS)), linear(str(rng.choice(_WALL_COLORS)))) for _ in range(3)]
    inner = [(str(rng.choice(INDOOR_WALLS)), linear(str(rng.choice(_WALL_COLORS)))) for _ in range(2)]
    materials = []
    for camera in range(count):
        inside = site.plain or camera < round(site.indoor * count)
        walls = [("panels", inner[0][1])] if site.plain else inner if inside else outer
        wall, color = walls[camera % len(walls)]
        tone = np.exp(0.3 * site.varied * rng.normal())
        materials.append(Materials(indoor if inside else outdoor, stones * tone, wall, color * tone))
    return materials


def draw_camera(site: Site, materials: Materials, rng: np.random.Generator) -> Camera:
    """A random camera of a site."""
    indoor = materials.ground in INDOOR_GROUNDS
    middle = rng.uniform(6, 9) if indoor else rng.uniform(8, 14)
    height = rng.uniform(2.4, 3.4) if indoor else rng.uniform(*site.height)
    pitch = float(np.arctan2(height - rng.uniform(0.7, 1.1), middle))
    view = View(float(height), pitch, float(HEIGHT_IN_SCENE * middle / 1.7), (512, 384))
    distance = float(middle * rng.uniform(*site.backdrop))
    furniture = 0 if site.plain else int(rng.integers(3, 9))
    scene = draw_scene(view, materials, distance=distance, furniture=furniture, seed=int(rng.integers(2**31)))
    light = _draw_light(rng, view, site.varied, indoor=indoor)
    effects = draw_effects(rng, site.varied)
    return Camera(view, scene, light, effects, 0.85 * middle, 1.15 * middle, float(rng.uniform(-np.pi, np.pi)), site)


def _draw_light(rng: np.random.Generator, view: View, varied: float, *, indoor: bool) -> Light:
    """Low warm sun, high sun, overcast, or lamps overhead."""
    around = rng.uniform(-np.pi, np.pi)
    tilt = rng.uniform(1.0, 1.4) if indoor else rng.uniform(0.35, 1.2)
    towards = np.array([np.sin(around) * np.cos(tilt), -np.sin(tilt), -np.cos(around) * np.cos(tilt)], dtype=np.float32)
    strength = 0.25 if indoor else 0.55 * np.exp(0.8 * varied * rng.normal())
    warm = varied * rng.uniform(-0.22, 0.35)
    tint = np.array([1 + warm, 1, 1 - warm], dtype=np.float32)
    sky = np.array([0.95, 1.0, 1.08], dtype=np.float32) if not indoor else tint
    colors = (strength * tint, rng.uniform(0.55, 0.7) * sky, rng.uniform(0.2, 0.35) * tint)
    sun, above, below = (np.asarray(color, dtype=np.float32) for color in colors)
    return Light(towards @ view.rotation.T, sun, above, below, np.array([0, -1, 0], dtype=np.float32) @ view.rotation.T)


def draw_effects(rng: np.random.Generator, varied: float) -> CameraEffects:
    """A random camera; ``varied`` scales how far it is from a neutral one."""
    gains = np.exp(varied * rng.normal(0, 0.2, 3))
    saturation = 1 + varied * rng.uniform(-0.45, 0.25)
    mixing = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    return CameraEffects(
        mixing=np.asarray(mixing * gains[:, None], dtype=np.float32),
        exposure=float(1.6 * np.exp(varied * rng.normal(0, 0.28))),
        gamma=float(np.exp(varied * rng.normal(0, 0.16))),
        haze=float(varied * rng.uniform(0, 0.05)),
        blur=float(rng.uniform(0.25, 0.75)),
        noise=float(rng.uniform(0.004, 0.02)),
        quality=int(rng.integers(82, 95)),
    )


def apply_effects(light: Array, effects: CameraEffects, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 image that a camera makes of linear light (H, W, 3).

    Exposure and white balance wander a little from one image to the next, as automatic ones do.
    """
    drift = np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.03, 3))
    image = np.maximum(light @ effects.mixing.T, 0) * (effects.exposure * drift).astype(np.float32) + effects.haze
    blur = effects.blur * rng.uniform(0.7, 1.5)
    motion = rng.uniform(0.8, 1.6) if rng.uniform() < 0.15 else 0.0
    image = gaussian_filter1d(image, blur, axis=0, mode="nearest", truncate=3)
    image = gaussian_filter1d(image, float(np.hypot(blur, motion)), axis=1, mode="nearest", truncate=3)
    # A soft shoulder instead of clipping: bright cloth keeps its folds.
    toned = np.where(image > 0.7, 0.7 + 0.3 * np.tanh((image - 0.7) / 0.3), image) ** np.float32(effects.gamma / 2.2)
    grain = np.float32(effects.noise) * rng.standard_normal(toned.shape, dtype=np.float32)
    return np.asarray(np.clip((toned + grain) * 255 + 0.5, 0, 255), dtype=np.uint8)
