"""The cameras of a place: their scene and light, and what they make of it (exposure, color, contrast, blur, noise)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ogreid.synthetic.attributes import linear
from ogreid.synthetic.body import Array
from ogreid.synthetic.render import Light
from ogreid.synthetic.scene import GROUNDS, INDOOR_GROUNDS, INDOOR_WALLS, WALLS, Materials, View, draw_scene

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
    up = np.array([0, -1, 0], dtype=np.float32)
    sun, above, below = (np.asarray(color, dtype=np.float32) for color in colors)
    return Light(towards @ view.rotation.T, sun, above, below, up @ view.rotation.T)


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
