"""One sighting: a person put before a camera, drawn, half hidden perhaps, and cut out as a detector would."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ogreid.synthetic.body import Array, load_body, rotation, rotation_vector
from ogreid.synthetic.clothing import Dressed
from ogreid.synthetic.gait import draw_pose
from ogreid.synthetic.photograph import photograph
from ogreid.synthetic.render import Figure, Light, render_figure
from ogreid.synthetic.scene import window
from ogreid.synthetic.cameras import Station
from ogreid.synthetic.attributes import linear

__all__ = ["HEIGHT", "WIDTH", "Sighting", "see", "see_nobody"]

HEIGHT, WIDTH = 128, 64
Mapped = Callable[[Array], Array]


@dataclass(frozen=True)
class Sighting:
    """A crop and the truth about the person in it.

    Attributes:
        crop: (H, W, 3) uint8.
        pose: (J, 3) joint rotations; the pelvis's is in the axes of the camera.
        pixels: (V, 2) where the vertices of the dressed skin lie in the crop.
        cover: (H, W) share of each pixel that the person covers, had nothing stood in front.
    """

    crop: NDArray[np.uint8]
    pose: Array
    pixels: Array
    cover: Array


@dataclass(frozen=True)
class _Standing:
    """Somebody at a spot: what to draw, and where its vertices lie in the picture of the scene."""

    figure: Figure
    points: Array
    pose: Array

    @property
    def body(self) -> Array:
        """Where the vertices of the dressed skin lie; no skirt, hair or bag."""
        return self.points[: load_body().skin_count]


def see(station: Station, dressed: Dressed, rng: np.random.Generator, *, other: Dressed | None = None) -> Sighting:
    """One crop of a person, as a detector would cut it from the camera's picture.

    Args:
        station: the camera.
        dressed: the person.
        rng: of this sighting alone.
        other: somebody who passes by, behind or in front.
    """
    place = station.place
    spot = _draw_spot(station, rng)
    person = _stand(station, dressed, spot, rng)
    in_crop, picture = _cut_out(station, person.body, rng)
    light = _at_spot(station.light, rng)
    picture = picture * _falling(light) * _ground_shadow(person, in_crop, light)
    behind = rng.uniform() < 0.65
    if other is not None and behind:
        picture = _pass_by(station, other, spot, rng.uniform(0.6, 2.5), in_crop, light, picture, rng)
    drawn, cover = render_figure(person.figure, in_crop(person.points), light, HEIGHT, WIDTH)
    picture = picture * (1 - cover[..., None]) + drawn
    if other is not None and not behind:
        picture = _pass_by(station, other, spot, -rng.uniform(0.6, 1.2), in_crop, light, picture, rng)
    elif rng.uniform() < place.occluded:
        _occlude(picture, _falling(light), rng)
    return Sighting(photograph(picture, station.response, rng), person.pose, in_crop(person.body), cover)


def see_nobody(station: Station, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop (H, W, 3) uint8 that a detector took for a person by mistake: a piece of the scene."""
    side = rng.uniform(72, 180)
    room = np.array(station.view.size) - (side / 2, side)
    corner = (rng.uniform(0, room[0]), rng.uniform(0, room[1]))
    picture = window(station.scene, corner, side, HEIGHT, WIDTH)
    return photograph(picture * _falling(_at_spot(station.light, rng)), station.response, rng)


def _draw_spot(station: Station, rng: np.random.Generator) -> tuple[float, float]:
    """Where somebody walks: across and away, meters."""
    depth = rng.uniform(station.near, station.far)
    reach = 0.36 * station.view.size[0] / station.view.focal * depth
    return float(rng.uniform(-reach, reach)), float(depth)


def _stand(station: Station, dressed: Dressed, spot: tuple[float, float], rng: np.random.Generator) -> _Standing:
    """Pose somebody, put the lower foot on the ground at the spot, and project."""
    body, view = load_body(), station.view
    pose = draw_pose(body, dressed.wardrobe.manner, rng, standing=bool(rng.uniform() < 0.25))
    back = np.pi if rng.uniform() < 0.5 else 0.0  # people come and go on the same path
    heading = station.path + back + rng.normal(0, 0.35)
    facing = view.turn @ rotation(np.array([0, heading, 0], dtype=np.float32))
    pose[0] = rotation_vector(facing)
    figure = dressed.posed(pose, facing)
    down = view.turn[:, 1]
    legs = float(np.einsum("vi,i->v", figure.vertices[: body.skin_count], down).max())
    place = view.turn @ np.array([spot[0], view.height - legs, spot[1]], dtype=np.float32)
    return _Standing(figure, view.project(figure.vertices + place), pose)


def _cut_out(station: Station, body: Array, rng: np.random.Generator) -> tuple[Mapped, Array]:
    """The detector's box: how places in the scene fall into the crop, and the empty scene (H, W, 3) there."""
    columns, rows = body[:, 0], body[:, 1]  # a column at a time: twenty times faster than along the first axis
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
    tall = float(high[1] - low[1])
    side = tall * rng.uniform(1.01, 1.1)
    middle = (low + high) / 2 + rng.normal(0, 1, 2) * (0.035 * tall, 0.015 * tall)
    if rng.uniform() < station.place.cut:  # feet or head missing
        side = tall * rng.uniform(0.72, 0.92)
        middle[1] += (tall - side) * rng.choice([-0.5, -0.5, 0.35])
    corner = (float(middle[0] - side / 4), float(middle[1] - side / 2))
    zoom = HEIGHT / side

    def in_crop(places: Array) -> Array:
        return np.asarray((places - np.asarray(corner)) * zoom, dtype=np.float32)

    return in_crop, window(station.scene, corner, side, HEIGHT, WIDTH)


def _at_spot(light: Light, rng: np.random.Generator) -> Light:
    """The light at one spot and moment: people walk through shade, and clouds pass."""
    sun = rng.uniform(0.0, 0.4) if rng.uniform() < 0.2 else rng.uniform(0.75, 1.1)
    level = np.float32(rng.uniform(0.85, 1.15))
    return Light(light.towards, light.sun * np.float32(sun) * level, light.sky * level, light.ground * level, light.up)


def _falling(light: Light) -> Array:
    """Light (3,) on level ground."""
    return np.asarray(light.sun * max(0.0, float(light.towards @ light.up)) + light.sky, dtype=np.float32)


def _ground_shadow(person: _Standing, in_crop: Mapped, light: Light) -> Array:
    """(H, W, 1) how much of the light is left on the ground: dark under the feet, and where the sun is kept off."""
    pixels = in_crop(person.body)
    tall = float(np.ptp(pixels[:, 1]))
    feet = np.array([pixels[:, 0].mean(), pixels[:, 1].max() - 0.02 * tall])
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    spread = 0.16 * tall
    contact = np.exp(-(((columns - feet[0]) / spread) ** 2) - ((rows - feet[1]) / (0.22 * spread)) ** 2)
    sun = float(light.sun.mean() / (light.sun.mean() + light.sky.mean()))
    thrown = -light.towards[0] / max(0.3, abs(float(light.towards[1])))
    along = feet[0] + thrown * 0.35 * tall
    cast = np.exp(
        -(((columns - along) / (0.45 * tall * (0.2 + abs(thrown)))) ** 2) - ((rows - feet[1]) / (0.035 * tall)) ** 2
    )
    return np.asarray((1 - 0.5 * contact) * (1 - 0.7 * sun * cast), dtype=np.float32)[..., None]


def _pass_by(
    station: Station,
    other: Dressed,
    spot: tuple[float, float],
    behind: float,
    in_crop: Mapped,
    light: Light,
    picture: Array,
    rng: np.random.Generator,
) -> Array:
    """Somebody else, to the side and behind (or in front, for negative ``behind``)."""
    aside = rng.choice([-1, 1]) * rng.uniform(0.35, 0.6)
    away = spot[1] + behind
    passer = _stand(station, other, (spot[0] * away / spot[1] + aside, away), rng)
    drawn, cover = render_figure(passer.figure, in_crop(passer.points), light, HEIGHT, WIDTH)
    return np.asarray(picture * (1 - cover[..., None]) + drawn)


_OCCLUDERS = ("6f7276", "2f5a3c", "8c1f24", "3b4a60", "b5b9bd", "4b3b2e", "d9a521")


def _occlude(picture: Array, falling: Array, rng: np.random.Generator) -> None:
    """Put a post, a railing, a bin or a hedge in front of the person, in place."""
    kind = rng.choice(["post", "railing", "box", "hedge"])
    color = linear(str(rng.choice(_OCCLUDERS))) * falling
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
        color, shade = linear("3f5a2a") * falling, 1 + 2.2 * ragged
    picture[hidden] = (color * shade[..., None])[hidden]
