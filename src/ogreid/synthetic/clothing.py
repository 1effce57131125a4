"""A person in a pose as triangles: skin and cloth, skirt or coat, hair, things carried."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ogreid.synthetic.body import Array, Body, load_body
from ogreid.synthetic.paint import NUMBERS, Cloth, Part, Surface
from ogreid.synthetic.render import Figure
from ogreid.synthetic.things import Solid, solids_of
from ogreid.synthetic.attributes import Wardrobe

__all__ = ["Dressed", "dress"]

_CODES = {
    "head": Part.HEAD, "shoulder": Part.ARM, "elbow": Part.ARM, "wrist": Part.HAND,
    "hip": Part.LEG, "knee": Part.LEG, "ankle": Part.FOOT, "toes": Part.FOOT,
}  # fmt: skip


@cache
def vertex_parts() -> NDArray[np.uint8]:
    """(V,) ``Part`` of each vertex: that of the joint that moves it most; the neck belongs to the head."""
    body = load_body()
    codes = [_CODES.get(name.partition(".")[0], Part.TORSO) for name in body.joint_names]
    parts = np.asarray(codes, dtype=np.uint8)[body.weight_joints[:, 0]]
    parts[(parts == Part.TORSO) & (body.mean[:, 1] < -0.56)] = Part.HEAD
    return parts


@cache
def surface_coordinates() -> Array:
    """(V, 4) place on the mean body and way along the arm (0 before the shoulder, 1 at the wrist)."""
    body = load_body()
    along = np.zeros(len(body.mean), dtype=np.float32)
    for side in "LR":
        chain = [body.joint(f"{name}.{side}") for name in ("shoulder", "elbow", "wrist")]
        start, middle, end = body.joint_mean[chain]
        upper = (body.mean - start) @ (middle - start) / np.sum((middle - start) ** 2)
        lower = (body.mean - middle) @ (end - middle) / np.sum((end - middle) ** 2)
        way = 0.5 * np.clip(upper, 0, 1) + 0.5 * np.clip(lower, 0, 1.6)
        share = body.dense_weights[:, chain].sum(axis=1)
        along = np.maximum(along, np.where(share > 0.5, way, 0))
    return np.concatenate([body.mean, along[:, None]], axis=1).astype(np.float32)


@cache
def rest_normals() -> Array:
    """(V, 3) outward unit normals of the mean body."""
    body = load_body()
    normals = np.zeros_like(body.mean)
    for faces in body.faces.values():
        a, b, c = (body.mean[faces[:, corner]] for corner in range(3))
        flat = np.cross(b - a, c - a)
        for corner in range(3):
            np.add.at(normals, faces[:, corner], flat)
    head = vertex_parts() == Part.HEAD
    middle = body.mean[head].mean(axis=0)
    if np.sum(normals[head] * (body.mean[head] - middle)) < 0:
        normals *= -1
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def _cloth_offsets(body: Body, wardrobe: Wardrobe) -> Array:
    """(V, 3) how far cloth and hair stand off the skin at rest."""
    numbers = wardrobe.numbers
    y, along, part = body.mean[:, 1], surface_coordinates()[:, 3], vertex_parts()
    torso, arms, thighs, shins = wardrobe.loose
    sleeve = numbers[NUMBERS["outer_sleeve"]] if numbers[NUMBERS["outer"]] else numbers[NUMBERS["sleeve"]]
    thick = np.where(part == Part.TORSO, torso, 0.0)
    thick = np.where((part == Part.ARM) & (along < sleeve), arms, thick)
    lower = np.interp(y, [0.1, 0.45, 0.85], [thighs, thighs, shins])
    thick = np.where((part == Part.LEG) & (y < numbers[NUMBERS["leg_hem"]]), lower, thick)
    thick = np.where((part == Part.LEG) & (y > numbers[NUMBERS["shoe_top"]]), 0.012, thick)
    thick = np.where(part == Part.FOOT, 0.006, thick)
    scalp = np.minimum(numbers[NUMBERS["hairline"]] + 0.95 * (body.mean[:, 2] + 0.13), -0.595) - y
    volume = {"shaved": 0.0, "crop": 0.006, "short": 0.018}.get(wardrobe.hair, 0.014)
    volume = {"beanie": 0.022, "cap": 0.016, "hood": 0.03, "scarf": 0.02}.get(wardrobe.headgear, volume)
    thick = np.where(part == Part.HEAD, volume * np.clip(scalp / 0.04, 0, 1), thick)
    thick[body.skin_count :] = 0
    skirt = slice(body.skin_count, int(body.faces["skirt"].max()) + 1)
    thick[skirt] = max(torso, thighs) * 0.8
    return np.asarray(rest_normals() * thick[:, None], dtype=np.float32)


def _cut(body: Body, name: str, cut: float, offsets: Array) -> NDArray[np.int32]:
    """Triangles of a hanging surface above its hem; what reaches below is drawn up to the hem in ``offsets``."""
    faces = body.faces["skirt" if name == "skirt" else "hair"]
    y = body.mean[:, 1]
    kept = faces[(y[faces] < cut).any(axis=1)]
    below = np.unique(kept)
    below = below[y[below] > cut]
    offsets[below, 1] += cut - y[below]
    return kept


@dataclass(frozen=True)
class Dressed:
    """A person with everything on, at rest: made once, posed for every sighting.

    Attributes:
        wardrobe: who.
        rest: (V, 3) vertices of skin, skirt and hair, cloth included.
        joints: (J, 3) at rest.
        solids: things carried and worn on the head.
        faces: (F, 3) over the vertices and those of the solids.
        surface: (F,) ``Surface`` of each triangle.
        part: (F,) ``Part`` of each triangle.
        coordinates: (V, 4) surface coordinates.
    """

    wardrobe: Wardrobe
    rest: Array
    joints: Array
    solids: tuple[Solid, ...]
    faces: NDArray[np.int32]
    surface: NDArray[np.uint8]
    part: NDArray[np.uint8]
    coordinates: Array

    def posed(self, pose: Array, facing: Array) -> Figure:
        """The person in a pose.

        Args:
            pose: (J, 3) rotations; the pelvis's turns the body into the axes of the camera.
            facing: (3, 3) the heading alone, in the axes of the camera: turns what hangs from a hand.
        """
        body = load_body()
        posed = body.bend(self.rest, self.joints, pose)
        pieces = [posed.vertices]
        pieces += [solid.vertices(body, posed, self.joints, facing) for solid in self.solids]
        return Figure(
            np.concatenate(pieces),
            self.faces,
            self.surface,
            self.part,
            self.coordinates,
            self.wardrobe.cloths,
            self.wardrobe.numbers,
        )


def dress(wardrobe: Wardrobe) -> Dressed:
    """Put everything on that a wardrobe says."""
    body = load_body()
    offsets = _cloth_offsets(body, wardrobe)
    pieces = [(body.faces["body"], int(Surface.BODY))]
    if wardrobe.skirt_hem > 0:
        pieces.append((_cut(body, "skirt", wardrobe.skirt_hem, offsets), int(Surface.SKIRT)))
    hair_cut = float(wardrobe.numbers[NUMBERS["hair_cut"]])
    if hair_cut < 0 and wardrobe.headgear not in ("hood", "scarf"):
        pieces.append((_open_face(body, _cut(body, "hair", hair_cut, offsets)), int(Surface.HAIR)))
    vertices, joints = body.rest(wardrobe.shape)
    worn = _solids(wardrobe)
    coordinates, count = [surface_coordinates()], len(vertices)
    for solid, surface in worn:
        pieces.append((solid.faces() + np.int32(count), surface))
        coordinates.append(solid.coordinates())
        count += len(coordinates[-1])
    faces = np.ascontiguousarray(np.concatenate([piece for piece, _ in pieces]), dtype=np.int32)
    parts = np.concatenate([vertex_parts(), np.zeros(count - len(vertices), dtype=np.uint8)])
    return Dressed(
        wardrobe,
        np.asarray(vertices + offsets, dtype=np.float32),
        np.asarray(joints, dtype=np.float32),
        tuple(solid for solid, _ in worn),
        faces,
        np.concatenate([np.full(len(piece), code, dtype=np.uint8) for piece, code in pieces]),
        parts[faces[:, 0]],
        np.concatenate(coordinates).astype(np.float32),
    )


def _open_face(body: Body, hair: NDArray[np.int32]) -> NDArray[np.int32]:
    """The triangles of hair that do not hang before the face and the chest."""
    center = body.mean[hair].mean(axis=1)
    return np.asarray(hair[(center[:, 2] > -0.09) | (center[:, 1] < -0.75)])


def _solids(wardrobe: Wardrobe) -> list[tuple[Solid, int]]:
    """Solids of what is carried and worn on the head, with the surface each is painted as."""
    found = []
    for number, thing in enumerate(wardrobe.things):
        found += [(solid, int(Surface.THING) + number) for solid in solids_of(thing)]
    crown = int(Surface.THING) + int(Cloth.CROWN) - int(Cloth.THING)
    found += [(solid, crown) for solid in solids_of(wardrobe.headgear or wardrobe.hair)]
    return found
