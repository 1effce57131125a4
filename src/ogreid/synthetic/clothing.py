"""A dressed person as triangles: skin and cloth, skirt or coat, hair, props."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ogreid.synthetic.attributes import PersonAttributes
from ogreid.synthetic.body import Array, Body, PosedBody, load_body
from ogreid.synthetic.render import Cloth, Part, Surface, Trait

AROUND, ALONG = 14, 9  # vertices of a prop

_CODES = {
    "head": Part.HEAD, "shoulder": Part.ARM, "elbow": Part.ARM, "wrist": Part.HAND,
    "hip": Part.LEG, "knee": Part.LEG, "ankle": Part.FOOT, "toes": Part.FOOT,
}  # fmt: skip


@dataclass(frozen=True)
class Prop:
    """A rounded box fixed to a joint: something carried or worn on the head, or a hair style."""

    joint: str
    place: tuple[float, float, float]  # center in the rest body of a person, relative to the joint; meters
    size: tuple[float, float, float]  # half extents
    square: float = 0.35  # 1 an ellipsoid, towards 0 a box
    hangs: bool = False  # it hangs straight down from the joint instead of turning with it

    def local(self) -> Array:
        """Vertices (AROUND * ALONG, 3) from the center."""
        return _superellipsoid(self.square)[0] * np.asarray(self.size, dtype=np.float32)

    def vertices(self, posed: PosedBody, rest_joints: Array, facing: Array) -> Array:
        """Vertices (AROUND * ALONG, 3) on a posed body; ``facing`` (3, 3) turns what hangs."""
        number = load_body().joint(self.joint)
        local = self.local() + np.asarray(self.place)
        if self.hangs:
            return np.asarray(posed.joints[number] + local @ facing.T, dtype=np.float32)
        moved = posed.transforms[number]
        return np.asarray((local + rest_joints[number]) @ moved[:, :3].T + moved[:, 3], dtype=np.float32)


@cache
def _superellipsoid(square: float) -> tuple[Array, NDArray[np.int32]]:
    """Vertices and triangles at half extent 1 (Barr, "Superquadrics and angle-preserving transformations", 1981)."""

    def power(values: Array) -> Array:
        return np.asarray(np.sign(values) * np.abs(values) ** square)

    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    tilt = np.linspace(-np.pi / 2, np.pi / 2, ALONG)[:, None]
    x = power(np.cos(tilt)) * power(np.cos(turn))
    z = power(np.cos(tilt)) * power(np.sin(turn))
    points = np.stack([x, np.broadcast_to(power(np.sin(tilt)), x.shape), z], axis=-1).reshape(-1, 3)
    ring, step = np.meshgrid(np.arange(ALONG - 1), np.arange(AROUND), indexing="ij")
    a, b = ring * AROUND + step, ring * AROUND + (step + 1) % AROUND
    triangles = np.stack([np.stack([a, b, a + AROUND], -1), np.stack([b, b + AROUND, a + AROUND], -1)])
    return points.astype(np.float32), triangles.reshape(-1, 3).astype(np.int32)


def props_of(name: str) -> list[Prop]:
    """The solids of a prop, of headgear or of a hair style; none for what is only painted."""
    kind, _, side = name.partition(".")
    sign = 1.0 if side == "L" else -1.0
    hand = f"wrist.{side or 'L'}"
    return {
        "backpack": [
            Prop("chest", (0, -0.02, 0.175), (0.15, 0.21, 0.08)),
            Prop("chest", (0, 0.06, 0.265), (0.11, 0.1, 0.03)),
        ],
        "satchel": [Prop("pelvis", (-sign * 0.235, 0.1, 0.02), (0.05, 0.11, 0.15), 0.25)],
        "tote": [Prop("pelvis", (-sign * 0.25, 0.02, 0.02), (0.06, 0.17, 0.16), 0.4)],
        "shopper": [Prop(hand, (0, 0.34, 0), (0.05, 0.19, 0.15), 0.3, hangs=True)],
        "handbag": [Prop(hand, (0, 0.24, 0), (0.06, 0.1, 0.15), 0.45, hangs=True)],
        "case": [Prop(hand, (0, 0.27, 0), (0.05, 0.15, 0.21), 0.15, hangs=True)],
        "bun": [Prop("head", (0, -0.115, 0.135), (0.045, 0.045, 0.045), 1.0)],
        "tail": [Prop("head", (0, -0.01, 0.15), (0.035, 0.13, 0.035), 0.8)],
        "cap": [Prop("head", (0, -0.105, -0.135), (0.075, 0.008, 0.075), 0.9)],
        "beanie": [Prop("head", (0, -0.18, 0.02), (0.045, 0.03, 0.045), 1.0)],
        "hood": [Prop("neck", (0, -0.01, 0.1), (0.1, 0.075, 0.055), 0.9)],
    }.get(kind, [])


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
        share = np.where(np.isin(body.weight_joints, chain), body.weights, 0).sum(axis=1)
        along = np.maximum(along, np.where(share > 0.5, way, 0))
    return np.concatenate([body.mean, along[:, None]], axis=1).astype(np.float32)


@cache
def rest_normals() -> Array:
    """(V, 3) outward unit normals of the mean body."""
    body = load_body()
    normals = np.zeros_like(body.mean)
    for faces in body.faces.values():
        a, b, c = (body.mean[faces[:, corner]] for corner in range(3))
        for corner in range(3):
            np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def _cloth_offsets(body: Body, attributes: PersonAttributes) -> Array:
    """(V, 3) how far cloth and hair stand off the skin at rest."""
    traits = attributes.traits
    y, along, part = body.mean[:, 1], surface_coordinates()[:, 3], vertex_parts()
    torso, arms, thighs, shins = attributes.loose
    sleeve = traits[Trait.OUTER_SLEEVE] if traits[Trait.OUTER] else traits[Trait.SLEEVE]
    lower = np.interp(y, [0.1, 0.45, 0.85], [thighs, thighs, shins])
    scalp = np.minimum(traits[Trait.HAIRLINE] + 0.95 * (body.mean[:, 2] + 0.13), -0.595) - y
    volume = {"shaved": 0.0, "crop": 0.006, "short": 0.018}.get(attributes.hair, 0.014)
    volume = {"beanie": 0.022, "cap": 0.016, "hood": 0.03, "scarf": 0.02}.get(attributes.headgear, volume)
    leg = part == Part.LEG
    places = (
        part == Part.HEAD, part == Part.TORSO, (part == Part.ARM) & (along < sleeve),
        leg & (y > traits[Trait.SHOE_TOP]), leg & (y < traits[Trait.LEG_HEM]), part == Part.FOOT,
    )  # fmt: skip
    thick = np.select(places, (volume * np.clip(scalp / 0.04, 0, 1), torso, arms, 0.012, lower, 0.006), 0.0)
    thick[body.skin_count :] = 0
    thick[body.skin_count : int(body.faces["skirt"].max()) + 1] = max(torso, thighs) * 0.8
    return np.asarray(rest_normals() * thick[:, None], dtype=np.float32)


def _shortened(body: Body, faces: NDArray[np.int32], hem: float, offsets: Array) -> NDArray[np.int32]:
    """Triangles of a hanging surface above its hem; what reaches below is drawn up to the hem in ``offsets``."""
    y = body.mean[:, 1]
    kept = faces[(y[faces] < hem).any(axis=1)]
    below = np.unique(kept)
    below = below[y[below] > hem]
    offsets[below, 1] += hem - y[below]
    return kept


@dataclass(frozen=True)
class Person:
    """A person with everything on, at rest: made once, posed for every crop."""

    attributes: PersonAttributes
    rest: Array  # (V, 3) vertices of skin, skirt and hair, cloth included
    joints: Array  # (J, 3) at rest
    props: tuple[Prop, ...]  # carried and worn on the head
    faces: NDArray[np.int32]  # (F, 3) over the vertices and those of the props
    surface: NDArray[np.uint8]  # (F,) ``Surface`` of each triangle
    part: NDArray[np.uint8]  # (F,) ``Part`` of each triangle
    coordinates: Array  # (V, 4) surface coordinates

    def posed(self, pose: Array, facing: Array) -> Array:
        """The vertices (V, 3) in a pose (J, 3), the pelvis's in the axes of the camera.

        ``facing`` (3, 3) is the heading alone in these axes: it turns what hangs from a hand.
        """
        posed = load_body().skin(self.rest, self.joints, pose)
        return np.concatenate([posed.vertices, *(prop.vertices(posed, self.joints, facing) for prop in self.props)])


def dress(attributes: PersonAttributes) -> Person:
    """A person at rest in everything that the attributes say."""
    body, traits = load_body(), attributes.traits
    offsets = _cloth_offsets(body, attributes)
    pieces = [(body.faces["body"], int(Surface.BODY))]
    if attributes.skirt_hem > 0:
        pieces.append((_shortened(body, body.faces["skirt"], attributes.skirt_hem, offsets), int(Surface.SKIRT)))
    if traits[Trait.HAIR_CUT] < 0 and attributes.headgear not in ("hood", "scarf"):
        hair = _shortened(body, body.faces["hair"], float(traits[Trait.HAIR_CUT]), offsets)
        center = body.mean[hair].mean(axis=1)  # none hangs before the face and the chest
        pieces.append((hair[(center[:, 2] > -0.09) | (center[:, 1] < -0.75)], int(Surface.HAIR)))
    vertices, joints = body.rest(attributes.shape)
    surfaces = {name: int(Surface.PROP) + number for number, name in enumerate(attributes.props)}
    surfaces[attributes.headgear or attributes.hair] = int(Surface.PROP) + int(Cloth.CROWN) - int(Cloth.PROP)
    worn = [(prop, surface) for name, surface in surfaces.items() for prop in props_of(name)]
    coordinates, count = [surface_coordinates()], len(vertices)
    for prop, surface in worn:
        pieces.append((_superellipsoid(prop.square)[1] + np.int32(count), surface))
        coordinates.append(np.pad(prop.local(), ((0, 0), (0, 1))))
        count += len(coordinates[-1])
    faces = np.ascontiguousarray(np.concatenate([piece for piece, _ in pieces]), dtype=np.int32)
    parts = np.concatenate([vertex_parts(), np.zeros(count - len(vertices), dtype=np.uint8)])
    return Person(
        attributes,
        rest=np.asarray(vertices + offsets, dtype=np.float32),
        joints=np.asarray(joints, dtype=np.float32),
        props=tuple(prop for prop, _ in worn),
        faces=faces,
        surface=np.concatenate([np.full(len(piece), code, dtype=np.uint8) for piece, code in pieces]),
        part=parts[faces[:, 0]],
        coordinates=np.concatenate(coordinates).astype(np.float32),
    )
