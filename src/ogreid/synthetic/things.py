"""Things that people carry and wear on the head: small rounded solids fixed to a joint."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ogreid.synthetic.body import Array, Body, Posed

__all__ = ["Solid", "solids_of"]

AROUND, ALONG = 14, 9


@dataclass(frozen=True)
class Solid:
    """A rounded box.

    Attributes:
        joint: what it is fixed to.
        place: (3,) center in the rest body of a person, relative to the joint; meters.
        size: (3,) half extents.
        square: 1 an ellipsoid, towards 0 a box.
        hangs: it hangs straight down from the joint instead of turning with it.
    """

    joint: str
    place: tuple[float, float, float]
    size: tuple[float, float, float]
    square: float = 0.35
    hangs: bool = False

    def vertices(self, body: Body, posed: Posed, rest_joints: Array, facing: Array) -> Array:
        """Its vertices (AROUND * ALONG, 3) on a posed body; ``facing`` (3, 3) turns what hangs."""
        number = body.joint(self.joint)
        local = _unit_solid(self.square)[0] * np.asarray(self.size, dtype=np.float32) + np.asarray(self.place)
        if self.hangs:
            return np.asarray(posed.joints[number] + local @ facing.T, dtype=np.float32)
        moved = posed.transforms[number]
        return np.asarray((local + rest_joints[number]) @ moved[:, :3].T + moved[:, 3], dtype=np.float32)

    def faces(self) -> NDArray[np.int32]:
        """Triangles over its vertices."""
        return _unit_solid(self.square)[1]

    def coordinates(self) -> Array:
        """(V, 4) surface coordinates for patterns, in meters from its center."""
        local = _unit_solid(self.square)[0] * np.asarray(self.size, dtype=np.float32)
        return np.concatenate([local, np.zeros((len(local), 1), dtype=np.float32)], axis=1)


@cache
def _unit_solid(square: float) -> tuple[Array, NDArray[np.int32]]:
    """A superellipsoid of half extent 1 (Barr, "Superquadrics and angle-preserving transformations", 1981)."""

    def power(values: Array) -> Array:
        return np.asarray(np.sign(values) * np.abs(values) ** square)

    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    tilt = np.linspace(-np.pi / 2, np.pi / 2, ALONG)[:, None]
    x = power(np.cos(tilt)) * power(np.cos(turn))
    z = power(np.cos(tilt)) * power(np.sin(turn))
    y = np.broadcast_to(power(np.sin(tilt)), x.shape)
    ring, step = np.meshgrid(np.arange(ALONG - 1), np.arange(AROUND), indexing="ij")
    a, b = ring * AROUND + step, ring * AROUND + (step + 1) % AROUND
    triangles = np.stack([np.stack([a, b, a + AROUND], -1), np.stack([b, b + AROUND, a + AROUND], -1)])
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    return points.astype(np.float32), triangles.reshape(-1, 3).astype(np.int32)


def solids_of(thing: str) -> list[Solid]:
    """The solids of a thing carried, of headgear or of a hair style; none for what is only painted."""
    kind, _, side = thing.partition(".")
    sign = 1.0 if side == "L" else -1.0
    hand = f"wrist.{side or 'L'}"
    solids = {
        "pack": [
            Solid("chest", (0, -0.02, 0.175), (0.15, 0.21, 0.08)),
            Solid("chest", (0, 0.06, 0.265), (0.11, 0.1, 0.03)),
        ],
        "satchel": [Solid("pelvis", (-sign * 0.235, 0.1, 0.02), (0.05, 0.11, 0.15), 0.25)],
        "tote": [Solid("pelvis", (-sign * 0.25, 0.02, 0.02), (0.06, 0.17, 0.16), 0.4)],
        "shopper": [Solid(hand, (0, 0.34, 0), (0.05, 0.19, 0.15), 0.3, hangs=True)],
        "handbag": [Solid(hand, (0, 0.24, 0), (0.06, 0.1, 0.15), 0.45, hangs=True)],
        "case": [Solid(hand, (0, 0.27, 0), (0.05, 0.15, 0.21), 0.15, hangs=True)],
        "bun": [Solid("head", (0, -0.115, 0.135), (0.045, 0.045, 0.045), 1.0)],
        "tail": [Solid("head", (0, -0.01, 0.15), (0.035, 0.13, 0.035), 0.8)],
        "cap": [Solid("head", (0, -0.105, -0.135), (0.075, 0.008, 0.075), 0.9)],
        "beanie": [Solid("head", (0, -0.18, 0.02), (0.045, 0.03, 0.045), 1.0)],
        "hood": [Solid("neck", (0, -0.01, 0.1), (0.1, 0.075, 0.055), 0.9)],
    }
    return solids.get(kind, [])
