"""Crops: a person drawn before a camera, half hidden perhaps, and cut out as a detector would."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ogreid.synthetic.attributes import linear
from ogreid.synthetic.body import Array, draw_pose, load_body, rotation, rotation_vector
from ogreid.synthetic.cameras import Camera, apply_effects, window
from ogreid.synthetic.clothing import Person
from ogreid.synthetic.render import Light, render_person

HEIGHT, WIDTH = 128, 64
ToCrop = Callable[[Array], Array]  # places in the scene's image to places in the crop
_OCCLUDER_COLORS = ("6f7276", "2f5a3c", "8c1f24", "3b4a60", "b5b9bd", "4b3b2e", "d9a521")


@dataclass(frozen=True)
class Detection:
    """A crop and the truth about the person in it."""

    crop: NDArray[np.uint8]  # (H, W, 3)
    pose: Array  # (J, 3) joint rotations; the pelvis's is in the axes of the camera
    pixels: Array  # (V, 2) where the vertices of the dressed skin lie in the crop
    cover: Array  # (H, W) share of each pixel that the person covers, had nothing stood in front


@dataclass(frozen=True)
class _Standing:
    """A person at a spot: vertices (V, 3), where they lie in the scene's image (V, 2), and the pose (J, 3)."""

    person: Person
    vertices: Array
    points: Array
    pose: Array

    @property
    def skin(self) -> Array:
        """Where the vertices of the dressed skin lie; no skirt, hair or prop."""
        return self.points[: load_body().skin_count]

    def draw(self, image: Array, to_crop: ToCrop, light: Light) -> tuple[Array, Array]:
        """The image (H, W, 3) with the person over it, and the cover (H, W)."""
        drawn, cover = render_person(self.person, self.vertices, to_crop(self.points), light, HEIGHT, WIDTH)
        return np.asarray(image * (1 - cover[..., None]) + drawn), cover


def detect(camera: Camera, person: Person, rng: np.random.Generator, *, passer_by: Person | None = None) -> Detection:
    """One crop of a person, as a detector would cut it from the camera's image; somebody else may pass by."""
    depth = float(rng.uniform(camera.near, camera.far))
    reach = 0.36 * camera.view.size[0] / camera.view.focal * depth
    spot = float(rng.uniform(-reach, reach)), depth  # across and away, meters
    standing = _stand(camera, person, spot, rng)
    to_crop, image = _draw_box(camera, standing.skin, rng)
    light = _light_at_spot(camera.light, rng)
    image = image * _on_ground(light) * _ground_shadow(to_crop(standing.skin), light)
    behind = rng.uniform() < 0.65
    other = None
    if passer_by is not None:  # to the side, and behind or in front
        away = depth + (rng.uniform(0.6, 2.5) if behind else -rng.uniform(0.6, 1.2))
        aside = rng.choice([-1, 1]) * rng.uniform(0.35, 0.6)
        other = _stand(camera, passer_by, (spot[0] * away / depth + aside, away), rng)
    if other is not None and behind:
        image, _ = other.draw(image, to_crop, light)
    image, cover = standing.draw(image, to_crop, light)
    if other is not None and not behind:
        image, _ = other.draw(image, to_crop, light)
    elif rng.uniform() < camera.site.occluded:
        _occlude(image, _on_ground(light), rng)
    return Detection(apply_effects(image, camera.effects, rng), standing.pose, to_crop(standing.skin), cover)


def detect_background(camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A false detection: a crop (H, W, 3) uint8 of the scene alone."""
    side = rng.uniform(72, 180)
    room = np.array(camera.view.size) - (side / 2, side)
    image = window(camera.scene, (rng.uniform(0, room[0]), rng.uniform(0, room[1])), side, HEIGHT, WIDTH)
    return apply_effects(image * _on_ground(_light_at_spot(camera.light, rng)), camera.effects, rng)


def _stand(camera: Camera, person: Person, spot: tuple[float, float], rng: np.random.Generator) -> _Standing:
    """Pose a person, put the lower foot on the ground at the spot, and project."""
    body, view = load_body(), camera.view
    pose = draw_pose(body, person.attributes.gait, rng, standing=bool(rng.uniform() < 0.25))
    back = np.pi if rng.uniform() < 0.5 else 0.0  # people come and go on the same path
    heading = camera.heading + back + rng.normal(0, 0.35)
    facing = view.rotation @ rotation(np.array([0, heading, 0], dtype=np.float32))
    pose[0] = rotation_vector(facing)
    vertices = person.posed(pose, facing)
    legs = float(np.einsum("vi,i->v", vertices[: body.skin_count], view.rotation[:, 1]).max())
    place = view.rotation @ np.array([spot[0], view.height - legs, spot[1]], dtype=np.float32)
    return _Standing(person, vertices, view.project(vertices + place), pose)


def _draw_box(camera: Camera, skin: Array, rng: np.random.Generator) -> tuple[ToCrop, Array]:
    """The detector's box: how places in the scene fall into the crop, and the empty scene (H, W, 3) there."""
    columns, rows = skin[:, 0], skin[:, 1]  # a column at a time: twenty times faster than along the first axis
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
    tall = float(high[1] - low[1])
    side = tall * rng.uniform(1.01, 1.1)
    middle = (low + high) / 2 + rng.normal(0, 1, 2) * (0.035 * tall, 0.015 * tall)
    if rng.uniform() < camera.site.cut:  # feet or head missing
        side = tall * rng.uniform(0.72, 0.92)
        middle[1] += (tall - side) * rng.choice([-0.5, -0.5, 0.35])
    corner = (float(middle[0] - side / 4), float(middle[1] - side / 2))
    zoom = HEIGHT / side

    def to_crop(places: Array) -> Array:
        return np.asarray((places - np.asarray(corner)) * zoom, dtype=np.float32)

    return to_crop, window(camera.scene, corner, side, HEIGHT, WIDTH)


def _light_at_spot(light: Light, rng: np.random.Generator) -> Light:
    """The light at one spot and moment: people walk through shade, and clouds pass."""
    sun = rng.uniform(0.0, 0.4) if rng.uniform() < 0.2 else rng.uniform(0.75, 1.1)
    level = np.float32(rng.uniform(0.85, 1.15))
    return Light(light.towards, light.sun * np.float32(sun) * level, light.sky * level, light.ground * level, light.up)


def _on_ground(light: Light) -> Array:
    return np.asarray(light.sun * max(0.0, float(light.towards @ light.up)) + light.sky, dtype=np.float32)


def _ground_shadow(pixels: Array, light: Light) -> Array:
    """(H, W, 1) how much of the light is left on the ground: dark under the feet, and where the sun is kept off."""
    tall = float(np.ptp(pixels[:, 1]))
    feet = np.array([pixels[:, 0].mean(), pixels[:, 1].max() - 0.02 * tall])
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    spread = 0.16 * tall
    contact = np.exp(-(((columns - feet[0]) / spread) ** 2) - ((rows - feet[1]) / (0.22 * spread)) ** 2)
    sun = float(light.sun.mean() / (light.sun.mean() + light.sky.mean()))
    thrown = -light.towards[0] / max(0.3, abs(float(light.towards[1])))
    along = feet[0] + thrown * 0.35 * tall
    length = 0.45 * tall * (0.2 + abs(thrown))
    cast = np.exp(-(((columns - along) / length) ** 2) - ((rows - feet[1]) / (0.035 * tall)) ** 2)
    return np.asarray((1 - 0.5 * contact) * (1 - 0.7 * sun * cast), dtype=np.float32)[..., None]


def _occlude(image: Array, light: Array, rng: np.random.Generator) -> None:
    kind = rng.choice(["post", "railing", "box", "hedge"])
    color = linear(str(rng.choice(_OCCLUDER_COLORS))) * light
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    if kind == "post":
        middle, half = rng.uniform(8, WIDTH - 8), rng.uniform(1.5, 4)
        hidden = np.abs(columns - middle) < half
        shade = 1.15 - 0.6 * np.clip((columns - middle + half) / (2 * half), 0, 1)
    elif kind == "railing":
        top = rng.uniform(68, 92)
        hidden = (np.abs(rows - top) < 1.5) | ((rows > top) & ((columns + rng.uniform(0, 8)) % 8 < 1.6))
        shade = np.ones_like(rows)
    elif kind == "box":
        left, top = rng.uniform(-20, 40), rng.uniform(72, 104)
        hidden = (rows > top) & (columns > left) & (columns < left + rng.uniform(20, 50))
        shade = np.where(rows < top + 4, 1.25, 0.9)
    else:
        ragged = gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH)), 1.6).astype(np.float32)
        hidden = rows + 14 * ragged > rng.uniform(88, 112)
        color, shade = linear("3f5a2a") * light, 1 + 2.2 * ragged
    image[hidden] = (color * shade[..., None])[hidden]
