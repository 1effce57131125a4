"""Where people are seen: the cameras of a place, with their scene, light and colors."""

from dataclasses import dataclass

import numpy as np

from ogreid.synthetic.body import Array
from ogreid.synthetic.photograph import Response, draw_response
from ogreid.synthetic.render import Light
from ogreid.synthetic.scene import GROUNDS, INDOOR_GROUNDS, INDOOR_WALLS, WALLS, Materials, View, draw_scene
from ogreid.synthetic.attributes import linear

__all__ = ["Place", "Station", "build_station", "draw_materials"]


HEIGHT_IN_SCENE = 120  # pixels of a person of 1.7 m in the middle of the way


@dataclass(frozen=True)
class Place:
    """What the cameras of a domain have in common; shares in [0, 1].

    Attributes:
        indoor: cameras inside a building.
        plain: cameras in front of a plain wall.
        occluded: crops with something in front of the person.
        crowded: crops with somebody else in the background.
        cut: crops that miss a part of the person.
        varied: how far apart the cameras' colors are; 1 is strong.
        height: least and greatest height of a camera outdoors, meters: from above, people are seen against the ground.
        backdrop: least and greatest distance of the wall, in distances of the people.
    """

    indoor: float
    plain: bool
    occluded: float
    crowded: float
    cut: float
    varied: float
    height: tuple[float, float] = (2.8, 6.0)
    backdrop: tuple[float, float] = (1.25, 1.8)


@dataclass(frozen=True)
class Station:
    """One camera in its place.

    Attributes:
        view: its geometry.
        scene: (h, w, 3) the empty picture under white light.
        light: what falls on people in the open.
        response: what it makes of light.
        near: least distance of people along the ground, meters.
        far: greatest.
        path: main heading of people, radians; 0 walks towards the camera.
        place: see ``Place``.
    """

    view: View
    scene: Array
    light: Light
    response: Response
    near: float
    far: float
    path: float
    place: Place


_GROUND_COLORS = ("b7aa97", "a8a49d", "c9bda6", "8f8378", "bdb8b0")
_WALL_COLORS = ("b5a793", "a97458", "c7c2b8", "8d9298", "d0c4ac", "8a6a58")


def draw_materials(place: Place, rng: np.random.Generator, count: int) -> list[Materials]:
    """What each of ``count`` cameras looks at: one ground and few walls, for they all watch the same place."""
    # Paving is laid of stones of several colors.
    stones = linear(str(rng.choice(_GROUND_COLORS))) * np.exp(rng.normal(0, 0.11, (5, 3)))
    outdoor, indoor = str(rng.choice(GROUNDS[:2])), str(rng.choice(INDOOR_GROUNDS))
    walls = [(str(rng.choice(WALLS)), linear(str(rng.choice(_WALL_COLORS)))) for _ in range(3)]
    inner = [(str(rng.choice(INDOOR_WALLS)), linear(str(rng.choice(_WALL_COLORS)))) for _ in range(2)]
    found = []
    for camera in range(count):
        inside = place.plain or camera < round(place.indoor * count)
        kind, color = (
            ("panels", inner[0][1]) if place.plain else (inner if inside else walls)[camera % (2 if inside else 3)]
        )
        tone = np.exp(0.3 * place.varied * rng.normal())
        found.append(Materials(indoor if inside else outdoor, stones * tone, kind, color * tone))
    return found


def build_station(place: Place, materials: Materials, rng: np.random.Generator) -> Station:
    """A random camera of a place."""
    indoor = materials.ground in INDOOR_GROUNDS
    middle = rng.uniform(6, 9) if indoor else rng.uniform(8, 14)
    height = rng.uniform(2.4, 3.4) if indoor else rng.uniform(*place.height)
    pitch = float(np.arctan2(height - rng.uniform(0.7, 1.1), middle))
    view = View(float(height), pitch, float(HEIGHT_IN_SCENE * middle / 1.7), (512, 384))
    scene = draw_scene(
        view,
        materials,
        distance=float(middle * rng.uniform(*place.backdrop)),
        furniture=0 if place.plain else int(rng.integers(3, 9)),
        seed=int(rng.integers(2**31)),
    )
    light = _draw_light(rng, view, place.varied, indoor=indoor)
    response = draw_response(rng, place.varied)
    path = float(rng.uniform(-np.pi, np.pi))
    return Station(view, scene, light, response, 0.85 * middle, 1.15 * middle, path, place)


def _draw_light(rng: np.random.Generator, view: View, varied: float, *, indoor: bool) -> Light:
    """Low warm sun, high sun, overcast, or lamps overhead."""
    around = rng.uniform(-np.pi, np.pi)
    tilt = rng.uniform(1.0, 1.4) if indoor else rng.uniform(0.35, 1.2)
    towards = np.array([np.sin(around) * np.cos(tilt), -np.sin(tilt), -np.cos(around) * np.cos(tilt)], dtype=np.float32)
    strength = 0.25 if indoor else 0.55 * np.exp(0.8 * varied * rng.normal())
    warm = varied * rng.uniform(-0.22, 0.35)
    tint = np.array([1 + warm, 1, 1 - warm], dtype=np.float32)
    sky = np.array([0.95, 1.0, 1.08], dtype=np.float32) if not indoor else tint
    return Light(
        towards @ view.turn.T,
        np.asarray(strength * tint, dtype=np.float32),
        np.asarray(rng.uniform(0.55, 0.7) * sky, dtype=np.float32),
        np.asarray(rng.uniform(0.2, 0.35) * tint, dtype=np.float32),
        np.array([0, -1, 0], dtype=np.float32) @ view.turn.T,
    )
