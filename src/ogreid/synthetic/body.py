"""The small parametric body: shape scores and joint rotations to vertices, by linear blend skinning; how it walks.

Axes: x right, y down, z away from a camera that the body faces; meters; the pelvis is the origin. At rest the
body stands with its arms half lowered. The file and its license are described in ``BODY.md``.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PosedBody:
    """A body in a pose."""

    vertices: Array  # (V, 3) meters
    joints: Array  # (J, 3) meters
    transforms: Array  # (J, 3, 4) from the rest frame of a joint to the posed body


@dataclass(frozen=True)
class Body:
    """The body model; its vertices are those of the skin, then of the skirt, then of the hair surface."""

    joint_names: tuple[str, ...]  # J names, parents first
    parents: tuple[int, ...]  # (J,) number of each joint's parent, -1 for the pelvis
    mean: Array  # (V, 3) mean rest vertices; they serve as coordinates on the surface too
    components: Array  # (S, V, 3) displacement for one standard deviation of each shape score
    joint_mean: Array  # (J, 3)
    joint_components: Array  # (S, J, 3)
    weight_joints: NDArray[np.int64]  # (V, 4) joints that move a vertex
    weights: Array  # (V, 4) their skinning weights, which sum to 1
    faces: dict[str, NDArray[np.int32]]  # (F, 3) triangles of "body", "skirt" and "hair"
    example_scores: Array  # (E, S) shape scores of random adults

    @cached_property
    def skin_count(self) -> int:
        """Number of vertices of the skin; they come first."""
        return int(self.faces["body"].max()) + 1

    def joint(self, name: str) -> int:
        return self.joint_names.index(name)

    def rest(self, shape: Array) -> tuple[Array, Array]:
        """Vertices (V, 3) and joints (J, 3) of a shape (S,) at rest."""
        flat = self.components.reshape(len(shape), -1)
        # Plain einsum: the threads of a BLAS would neither help nor always add in the same order.
        vertices = self.mean + np.einsum("s,sv->v", shape, flat).reshape(self.mean.shape)
        return vertices, self.joint_mean + np.einsum("s,sjc->jc", shape, self.joint_components)

    def height(self, shape: Array) -> float:
        """Stature in meters, crown to sole."""
        return float(np.ptp(self.rest(shape)[0][: self.skin_count, 1]))

    def posed(self, shape: Array, pose: Array) -> Array:
        """Vertices (V, 3) of the bare skin of a shape (S,) in a pose (J, 3); see ``skin`` for the pose."""
        vertices, joints = self.rest(shape)
        return self.skin(vertices[: self.skin_count], joints, pose).vertices

    def skin(self, vertices: Array, joints: Array, pose: Array) -> PosedBody:
        """Pose a rest body by linear blend skinning.

        ``vertices`` (V, 3), cloth included, are the first ones of the body, or all; ``pose`` (J, 3) are rotations
        against the joint's parent, as rotation vectors in rest axes; the pelvis's is that of the whole body.
        """
        moved, transforms = self.move_joints(joints, pose)
        return PosedBody(_skinned(vertices, self.weight_joints, self.weights, transforms), moved, transforms)

    def move_joints(self, joints: Array, pose: Array) -> tuple[Array, Array]:
        """Joints (J, 3) and transforms (J, 3, 4) in a pose (J, 3), from joints (J, 3) at rest."""
        transforms = _transforms(joints, rotation(pose), np.array(self.parents))
        return np.einsum("nij,nj->ni", transforms[:, :, :3], joints) + transforms[:, :, 3], transforms


@njit(cache=True)
def _transforms(joints: np.ndarray, turns: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """(J, 3, 4) rigid motion of each joint's flesh, from rest joints (J, 3) and rotations (J, 3, 3)."""
    result = np.zeros((len(joints), 3, 4), dtype=np.float32)
    for number, parent in enumerate(parents):
        above = result[parent] if parent >= 0 else np.eye(3, 4, dtype=np.float32)
        for row in range(3):
            place = above[row, 3]
            for k in range(3):
                place += above[row, k] * joints[number, k]
            for column in range(3):
                turn = np.float32(0)
                for k in range(3):
                    turn += above[row, k] * turns[number, k, column]
                result[number, row, column] = turn
                place -= turn * joints[number, column]
            result[number, row, 3] = place
    return result


@njit(cache=True)
def _skinned(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) moved by the weighted mean of their joints' transforms (J, 3, 4)."""
    moved = np.zeros_like(vertices)
    for v in range(len(vertices)):
        x, y, z = vertices[v]
        for k in range(joints.shape[1]):
            share, transform = weights[v, k], transforms[joints[v, k]]
            for axis in range(3):
                moved[v, axis] += share * (
                    transform[axis, 0] * x + transform[axis, 1] * y + transform[axis, 2] * z + transform[axis, 3]
                )
    return moved


def rotation(vectors: Array) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    axis = vectors / np.maximum(angle[..., 0], 1e-12)
    cross = np.zeros((*vectors.shape[:-1], 3, 3), dtype=np.float32)
    cross[..., 0, 1], cross[..., 0, 2] = -axis[..., 2], axis[..., 1]
    cross[..., 1, 0], cross[..., 1, 2] = axis[..., 2], -axis[..., 0]
    cross[..., 2, 0], cross[..., 2, 1] = -axis[..., 1], axis[..., 0]
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross), dtype=np.float32)


def rotation_vector(matrix: Array) -> Array:
    """The rotation vector (3,) of a rotation matrix (3, 3), by way of its quaternion (stable at half turns)."""
    trace = np.trace(matrix)
    largest = int(np.argmax([*np.diagonal(matrix), trace]))
    skew = (matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1])
    quaternion = np.array([*skew, 1 + trace], dtype=np.float64)  # x, y, z, w
    if largest < 3:
        quaternion[:] = (*(matrix[largest] + matrix[:, largest]), skew[largest])
        quaternion[largest] = 1 - trace + 2 * matrix[largest, largest]
    quaternion *= (1 if quaternion[3] >= 0 else -1) / np.linalg.norm(quaternion)
    sine = np.linalg.norm(quaternion[:3])
    angle = 2 * np.arctan2(sine, quaternion[3])
    return np.asarray(quaternion[:3] * (angle / sine if sine > 1e-9 else 2.0), dtype=np.float32)


@cache
def load_body() -> Body:
    """The body that ships with the package."""
    with (files("ogreid.synthetic") / "body.npz").open("rb") as stream, np.load(stream) as stored:
        return Body(
            tuple(stored["joints"].tolist()),
            tuple(stored["parents"].tolist()),
            **{name: stored[name] for name in ("mean", "joint_mean", "joint_components")},
            components=stored["components"].astype(np.float32) * stored["component_unit"][:, None, None],
            weight_joints=stored["weight_joints"].astype(np.int64),
            weights=stored["weights"].astype(np.float32) / np.float32(255),
            faces={name: stored[f"{name}_faces"].astype(np.int32) for name in ("body", "skirt", "hair")},
            example_scores=stored["example_scores"].astype(np.float32),
        )


# Rotation vectors that bring the arms of the rest pose (half lowered) to the sides and the feet together.
ARMS_DOWN = np.radians(31.0)
FEET_TOGETHER = np.radians(3.5)


@dataclass(frozen=True)
class Gait:
    """What stays the same in the way one person walks; radians."""

    stride: float  # amplitude of the hips
    swing: float  # amplitude of the arms
    elbow: float  # how far the elbows are bent
    stoop: float  # forward lean of the upper spine
    splay: float  # feet turned outwards
    spread: float  # arms held away from the body
    load: int  # -1 and 1 for a right or left arm kept straight by what it carries, 0 for none


def draw_gait(rng: np.random.Generator, load: int) -> Gait:
    """A random gait."""
    ranges = ((17, 27), (8, 30), (0, 25), (0, 14), (0, 14), (-4, 8))  # degrees, in the order of the fields
    stride, swing, elbow, stoop, splay, spread = (float(np.radians(rng.uniform(*limits))) for limits in ranges)
    return Gait(stride, swing, elbow, stoop, splay, spread, load)


def draw_pose(body: Body, gait: Gait, rng: np.random.Generator, *, standing: bool) -> Array:
    """A pose (J, 3) of somebody in mid-step, or standing; the pelvis is left unturned."""
    phase = rng.uniform(0, 2 * np.pi)
    effort = rng.uniform(0.0, 0.25) if standing else rng.uniform(0.75, 1.1)
    pose = np.zeros((len(body.parents), 3), dtype=np.float32)
    for side, sign, step in (("L", 1.0, phase), ("R", -1.0, phase + np.pi)):
        for name, vector in _leg(sign, step, gait, effort).items():
            pose[body.joint(f"{name}.{side}")] = vector
        shoulder, bend = _arm(sign, step, gait, effort, rng)
        pose[body.joint(f"shoulder.{side}")] = shoulder
        along = body.joint_mean[body.joint(f"elbow.{side}")] - body.joint_mean[body.joint(f"shoulder.{side}")]
        hinge = np.cross(along, (0, 0, -1))
        pose[body.joint(f"elbow.{side}")] = hinge / np.linalg.norm(hinge) * bend
    twist = 0.12 * effort * np.cos(phase)
    pose[body.joint("chest")] = (gait.stoop, twist, 0)
    pose[body.joint("waist")] = (rng.normal(0, 0.03), twist, rng.normal(0, 0.03))
    pose[body.joint("neck")] = (rng.normal(0, 0.1) - gait.stoop / 2, rng.normal(0, 0.2), rng.normal(0, 0.06))
    pose[body.joint("head")] = (rng.normal(0.03, 0.1), rng.normal(0, 0.2), rng.normal(0, 0.05))
    return pose


def _bump(phase: float, center: float, width: float) -> float:
    return float(np.exp((np.cos(phase - center) - 1) / width**2))


def _leg(sign: float, step: float, gait: Gait, effort: float) -> dict[str, tuple[float, float, float]]:
    """Heel strike at step 0, swing from pi on: hip as a cosine, knee with its two humps."""
    flexion = effort * (gait.stride * np.cos(step) + 0.06)
    knee = 0.06 + effort * (0.2 * _bump(step, 0.7, 0.6) + 1.0 * _bump(step, 4.6, 0.75))
    foot = effort * (-0.3 * _bump(step, 3.5, 0.6) + 0.12 * _bump(step, 6.0, 0.6))
    return {
        "hip": (-flexion, -sign * gait.splay, sign * FEET_TOGETHER),
        "knee": (knee, 0, 0),
        "ankle": (-foot - 0.3 * (knee - flexion) * (1 - effort / 2), 0, -sign * FEET_TOGETHER),
        "toes": (-0.5 * effort * _bump(step, 3.4, 0.5), 0, 0),
    }


def _arm(sign: float, step: float, gait: Gait, effort: float, rng: np.random.Generator) -> tuple[Array, float]:
    """Rotation (3,) of the shoulder and bend of the elbow: arms swing against the legs, now and then one is lifted."""
    loaded = gait.load == sign
    swing = (0.25 if loaded else 1.0) * effort * -gait.swing * np.cos(step)
    bend = 0.05 if loaded else gait.elbow + 0.25 * effort * max(0.0, -np.cos(step))
    if rng.uniform() < 0.12 and not loaded:  # telephone, pocket, strap
        swing, bend = rng.uniform(-0.1, 0.5), rng.uniform(1.2, 2.1)
    down = rotation(np.array([0, 0, sign * (ARMS_DOWN - gait.spread)], dtype=np.float32))
    forward = rotation(np.array([-swing, 0, 0], dtype=np.float32))
    return rotation_vector(forward @ down), bend
