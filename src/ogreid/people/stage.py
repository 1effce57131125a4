"""Where people are seen: the cameras of a place, with their scene, light and colours."""

from dataclasses import dataclass

import numpy as np

from ogreid.people.body import Array
from ogreid.people.photograph import Response, draw_response
from ogreid.people.render import Light
from ogreid.people.scene import GROUNDS, INDOOR_GROUNDS, INDOOR_WALLS, WALLS, View, draw_scene

__all__ = ["Place", "Station", "build_station"]


@dataclass(frozen=True)
class Place:
    """What the cameras of a domain have in common; shares in [0, 1].

    Attributes:
        indoor: cameras inside a building.
        plain: cameras in front of a plain wall.
        occluded: crops with something in front of the person.
        crowded: crops with somebody else in the background.
        cut: crops that miss a part of the person.
        varied: how far apart the cameras' colours are; 1 is strong.
    """

    indoor: float
    plain: bool
    occluded: float
    crowded: float
    cut: float
    varied: float


@dataclass(frozen=True)
class Station:
    """One camera in its place.

    Attributes:
        view: its geometry.
        scene: (h, w, 3) the empty picture under white light.
        light: what falls on people in the open.
        response: what it makes of light.
        near: least distance of people along the ground, metres.
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


def build_station(place: Place, rng: np.random.Generator) -> Station:
    """A random camera of a place."""
    indoor = bool(place.plain or rng.uniform() < place.indoor)
    middle = rng.uniform(6, 9) if indoor else rng.uniform(8, 14)
    height = rng.uniform(2.4, 3.4) if indoor else rng.uniform(2.8, 6.0)
    pitch = float(np.arctan2(height - rng.uniform(0.7, 1.1), middle))
    view = View(float(height), pitch, float(150 * middle / 1.7), (640, 480))
    scene = draw_scene(
        view,
        ground=str(rng.choice(INDOOR_GROUNDS if indoor else GROUNDS[:4])),
        wall="panels" if place.plain else str(rng.choice(INDOOR_WALLS if indoor else WALLS)),
        distance=float(middle * rng.uniform(1.25, 1.8)),
        furniture=0 if place.plain else int(rng.integers(2, 9)),
        seed=int(rng.integers(2**31)),
    )
    return Station(
        view, scene, _draw_light(rng, view, indoor), draw_response(rng, place.varied), 0.85 * middle, 1.15 * middle,
        float(rng.uniform(-np.pi, np.pi)), place,
    )  # fmt: skip


def _draw_light(rng: np.random.Generator, view: View, indoor: bool) -> Light:
    """Low warm sun, high sun, overcast, or lamps overhead."""
    around = rng.uniform(-np.pi, np.pi)
    tilt = rng.uniform(1.0, 1.4) if indoor else rng.uniform(0.35, 1.2)
    towards = np.array([np.sin(around) * np.cos(tilt), -np.sin(tilt), -np.cos(around) * np.cos(tilt)], dtype=np.float32)
    strength = rng.uniform(0.1, 0.4) if indoor else rng.choice([0.05, 0.6, 0.95, 1.2])
    warm = rng.uniform(-0.22, 0.35)
    tint = np.array([1 + warm, 1, 1 - warm], dtype=np.float32)
    sky = np.array([0.95, 1.0, 1.08], dtype=np.float32) if not indoor else tint
    return Light(
        towards @ view.turn.T,
        np.asarray(strength * tint, dtype=np.float32),
        np.asarray(rng.uniform(0.5, 0.75) * sky, dtype=np.float32),
        np.asarray(rng.uniform(0.2, 0.35) * tint, dtype=np.float32),
        np.array([0, -1, 0], dtype=np.float32) @ view.turn.T,
    )
