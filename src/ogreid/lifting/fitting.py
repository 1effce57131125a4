"""A parametric body fitted to landmarks: which joints and vertices stand for which, what is expected, what is accepted.

The pose that explains the landmarks in the image and, where they are known, in space, and is not far from an ordinary
one: a maximum a posteriori estimate by damped Gauss-Newton, as SMPLify (Bogo et al. 2016) without its learned prior.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogreid.lifting.camera import ResizedCamera, WeakCamera
from ogreid.lifting.landmarks import Landmarks
from ogreid.lifting.mesh import Mesh
from ogreid.lifting.raster import visible_faces
from ogreid.lifting.solver import Skeleton, Target, landmark_positions, minimize, push_out

Array = NDArray[np.floating[Any]]
UNIT = 64.0  # pixels of a half-side: pixels below are those of a crop 128 high
PIXELS, METERS = 1.5, 0.05  # standard deviations of a landmark in the image and in space
SCORES = 6  # of the shape, in use
STEPS = 14
CLOTHES = 0.03  # meters by which the skin is pushed out
LEAST_SCORE = (
    0.15  # weight of a landmark that is known at all: the network's guess of a hidden joint is better than none
)
LEAST_LANDMARKS = 6  # with a positive score; fewer say nothing of a pose
SCALES = (0.2, 10.0)  # half-sides per meter; a smaller body is a point to which many landmarks fell together
LEAST_EXTENT = 0.05  # half-sides between the outermost landmarks

SURFACE = {0: "nose", 7: "ear.L", 8: "ear.R", 29: "heel.L", 30: "heel.R", 31: "tip.L", 32: "tip.R"}
JOINTS = {11: "shoulder", 13: "elbow", 15: "wrist", 23: "hip", 25: "knee", 27: "ankle"}  # left; right ones follow
TRUNK = (11, 12, 23, 24)
DOUBT = {7: 0.6, 8: 0.6, 29: 0.5, 30: 0.5, 31: 0.5, 32: 0.5}  # weights; the vertices only stand near these
SPREAD: dict[str, tuple[float, ...]] = {
    "pelvis": (np.inf, np.inf, np.inf),
    "waist": (0.15, 0.15, 0.15),
    "chest": (0.2, 0.2, 0.2),
    "neck": (0.25, 0.25, 0.25),
    "head": (0.3, 0.3, 0.3),
    "hip": (0.5, 0.25, 0.3),
    "knee": (0.6,),
    "ankle": (0.3, 0.3, 0.3),
    "collar": (0.12, 0.12, 0.12),
    "shoulder": (0.7, 0.7, 0.7),
    "elbow": (0.8,),
}
"""Standard deviations of the angles of each joint, radians; one for a hinge."""
NEUTRAL = {"knee": 0.1, "elbow": 0.25}
OUTCOMES = ("fitted", "no landmarks", "no person", "far from landmarks", "far from mask")
ARMS_DOWN = np.radians(31.0)  # from the rest pose of the body, whose arms are half lowered


class ParametricBody(Protocol):
    """What the fit uses of :class:`ogreid.synthetic.body.Body`."""

    @property
    def joint_names(self) -> tuple[str, ...]: ...
    @property
    def parents(self) -> tuple[int, ...]: ...
    @property
    def mean(self) -> Array: ...
    @property
    def components(self) -> Array: ...
    @property
    def joint_mean(self) -> Array: ...
    @property
    def joint_components(self) -> Array: ...
    @property
    def weight_joints(self) -> NDArray[np.int64]: ...
    @property
    def weights(self) -> Array: ...
    @property
    def faces(self) -> dict[str, NDArray[np.int32]]: ...
    @property
    def skin_count(self) -> int: ...
    def posed(self, shape: Array, pose: Array) -> Array: ...


class Fit(NamedTuple):
    """A body's parameters and how well they explain the landmarks.

    Attributes:
        pose: (J, 3) rotation vectors, as for ``ParametricBody.posed``.
        shape: (S,) scores.
        camera: (3,) scale and offset ``(s, tx, ty)`` of ``s (X + t)`` over the square around the crop.
        error: median distance of the landmarks in the image, pixels of a crop 128 high.
    """

    pose: Array
    shape: Array
    camera: Array
    error: float


@dataclass(frozen=True)
class Acceptance:
    """When a fit is taken; else the upright body is.

    Attributes:
        presence: of the landmarks, more than this.
        overlap: intersection over union of silhouette and mask, at least; where there is a mask.
        error: of the fit, at most; pixels of a crop 128 high.
    """

    presence: float = 0.5
    overlap: float = 0.5
    error: float = 4.0

    def outcome(self, landmarks: Landmarks, fit: Fit | None, overlap: float | None) -> str:
        """One of :data:`OUTCOMES`; ``overlap`` is None without a mask."""
        if not landmarks.presence > self.presence:
            return "no person"
        if fit is None or not fit.error <= self.error:
            return "far from landmarks"
        return "far from mask" if overlap is not None and not overlap >= self.overlap else "fitted"


@dataclass(frozen=True, eq=False)
class BodyFitter:
    """Fits one parametric body to landmarks.

    Attributes:
        body: whose joints have the names of :data:`SPREAD`.
    """

    body: ParametricBody

    @cached_property
    def numbers(self) -> list[int]:
        """Which of the 33 landmarks are fitted, (L,)."""
        return sorted([*SURFACE, *JOINTS, *(one + 1 for one in JOINTS)])

    @cached_property
    def skeleton(self) -> Skeleton:
        """The tables of the compiled fit."""
        body, surface = self.body, _surface_points(self.body)
        names, parents = list(body.joint_names), np.array(body.parents)
        vertices = np.array([vertex for vertex, _ in surface.values()])
        vertex_joints = np.array([names.index(joint) for _, joint in surface.values()])
        sided = {n + k: f"{joint}.{side}" for n, joint in JOINTS.items() for k, side in enumerate("LR")}
        places = {n: names.index(joint) for n, joint in sided.items()}
        places |= {n: len(names) + list(surface).index(point) for n, point in SURFACE.items()}
        landmarks = np.array([places[number] for number in self.numbers])
        angles = [(names.index(n), axis, spread) for n in names for axis, spread in _angles(body, n)]
        joints = np.array([joint for joint, _, _ in angles])
        axes = np.array([axis for _, axis, _ in angles])
        return Skeleton(
            parents=parents,
            joints=body.joint_mean.astype(np.float64),
            joint_components=body.joint_components[:SCORES].astype(np.float64),
            vertices=body.mean[vertices].astype(np.float64),
            vertex_components=body.components[:SCORES, vertices].astype(np.float64),
            vertex_joints=vertex_joints,
            landmarks=landmarks,
            moved=_moved(parents, landmarks, vertex_joints),
            angle_joints=joints,
            axes=axes,
            neutral=np.array([_neutral(names[joint], axis) for joint, axis in zip(joints, axes, strict=True)]),
            spread=np.array([spread for _, _, spread in angles]),
            hinges=np.array([names[joint].split(".")[0] in NEUTRAL for joint in joints]),
            middle=np.array([self.numbers.index(23), self.numbers.index(24)]),
        )

    def fit(self, landmarks: Landmarks, height: int, width: int) -> Fit | None:
        """The body that explains the landmarks of a crop of ``height`` x ``width`` pixels best.

        Returns:
            None where the landmarks say nothing of a body: too few, in one place, not finite.
        """
        target = self._target(landmarks, height, width)
        if target is None:
            return None
        results = [minimize(self.skeleton, target, start, STEPS) for start in self._starts(target)]
        best, cost = min(results, key=lambda result: result[1])
        plausible = SCALES[0] < np.exp(best[-3]) < SCALES[1]
        return self._result(best, target) if plausible and np.isfinite(cost) and np.isfinite(best).all() else None

    def _target(self, landmarks: Landmarks, height: int, width: int) -> Target | None:
        image = (landmarks.points[self.numbers] - [width / 2, height / 2]) / (max(height, width) / 2)
        scores = landmarks.scores[self.numbers]
        doubt = np.array([DOUBT.get(number, 1.0) for number in self.numbers])
        weight = np.where(scores > 0, np.clip(scores, LEAST_SCORE, 1) * doubt, 0)
        usable = weight > 0
        if usable.sum() < LEAST_LANDMARKS or not np.isfinite(image[usable]).all():
            return None
        image = np.clip(np.where(usable[:, None], image, 0), -10, 10)
        if np.ptp(image[usable], axis=0).max() < LEAST_EXTENT:
            return None
        world, world_weight = np.zeros((len(image), 3)), np.zeros(len(image))
        if landmarks.world is not None and np.isfinite(landmarks.world).all():
            world, world_weight = np.clip(landmarks.world[self.numbers], -10, 10).astype(np.float64), weight / METERS
        return Target(image, weight * UNIT / PIXELS, world, world_weight)

    def _starts(self, target: Target) -> list[np.ndarray]:
        """Rigid motions of the neutral body: by the trunk in space, else a quarter turn each."""
        skeleton = self.skeleton
        start = np.concatenate([skeleton.neutral, np.zeros(SCORES + 3)])
        neutral = landmark_positions(skeleton, start)[0]
        if target.world_weight.any():
            trunk = [self.numbers.index(number) for number in TRUNK]
            turns = [_alignment(neutral[trunk], target.world[trunk])]
        else:
            turns = [np.array([0, angle, 0]) for angle in (0, np.pi / 2, np.pi, -np.pi / 2)]
        return [self._start(start, turn, target) for turn in turns]

    def _start(self, neutral: np.ndarray, turn: np.ndarray, target: Target) -> np.ndarray:
        start, usable = neutral.copy(), target.image_weight > 0
        start[:3] = turn
        place = landmark_positions(self.skeleton, start)[0][usable, :2]
        image = target.image[usable]
        scale = np.linalg.norm(image - image.mean(axis=0)) / np.linalg.norm(place - place.mean(axis=0))
        start[-3] = np.log(np.clip(scale, 0.05, 20))
        start[-2:] = image.mean(axis=0) / np.exp(start[-3]) - place.mean(axis=0)
        return start

    def _result(self, parameters: np.ndarray, target: Target) -> Fit:
        skeleton, count = self.skeleton, len(self.skeleton.axes)
        scale, offset = np.exp(parameters[-3]), parameters[-2:]
        drawn = scale * (landmark_positions(skeleton, parameters)[0][:, :2] + offset)
        error = float(np.median(np.linalg.norm(drawn - target.image, axis=1)[target.image_weight > 0])) * UNIT
        pose = np.zeros((len(skeleton.parents), 3))
        np.add.at(pose, skeleton.angle_joints, parameters[:count, None] * skeleton.axes)
        shape = np.zeros(len(self.body.components))
        shape[:SCORES] = parameters[count:-3]
        camera = np.array([scale, *offset])
        return Fit(pose.astype(np.float32), shape.astype(np.float32), camera.astype(np.float32), error)

    def mesh(self, fit: Fit, height: int, width: int) -> Mesh:
        """The fitted body, its skin pushed out to where clothes are, with the camera of a crop of that size."""
        scale, across, down = fit.camera.tolist()
        skin = push_out(self.body.posed(fit.shape, fit.pose), self.body.faces["body"], CLOTHES)
        return Mesh(skin, self.body.faces["body"], ResizedCamera(WeakCamera(scale, (across, down)), height, width))


def silhouette(mesh: Mesh, height: int, width: int) -> np.ndarray:
    """(H, W) bool: the pixels on the body."""
    pixels, (nearness, _) = mesh.camera.pixels(mesh.vertices, height, width), mesh.camera.nearness(mesh.vertices)
    assert mesh.faces is not None
    owner, _ = visible_faces(pixels.astype(np.float64), nearness, mesh.faces, height, width)
    return np.asarray(owner.reshape(height, width) >= 0)


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks; 0 where both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def _surface_points(body: ParametricBody) -> dict[str, tuple[int, str]]:
    """For each of :data:`SURFACE` a vertex and the joint that moves it; y runs down, z away from the camera."""
    skin = body.skin_count
    mean, names = body.mean[:skin], body.joint_names

    def on(joint: str, least: float) -> np.ndarray:
        mine = np.where(body.weight_joints[:skin] == names.index(joint), body.weights[:skin], 0).sum(axis=1)
        return np.asarray(mine > least)

    def extreme(inside: np.ndarray, axis: int, sign: int) -> int:
        return int(np.flatnonzero(inside)[np.argmax(sign * mean[inside, axis])])

    head = on("head", 0.8)
    ears = head & (np.abs(mean[:, 1] + 0.665) < 0.02)  # the height of the ear canals above the pelvis, meters
    points = {"nose": (extreme(head, 2, -1), "head")}
    for side, sign in (("L", 1), ("R", -1)):
        points[f"ear.{side}"] = extreme(ears, 0, sign), "head"
        points[f"heel.{side}"] = extreme(on(f"ankle.{side}", 0.5), 2, 1), f"ankle.{side}"
        points[f"tip.{side}"] = extreme(on(f"toes.{side}", 0.5), 2, -1), f"toes.{side}"
    return points


def _angles(body: ParametricBody, name: str) -> list[tuple[np.ndarray, float]]:
    """Axes of a joint's angles and what is expected of each."""
    kind, _, side = name.partition(".")
    spread = SPREAD.get(kind, ())
    if kind == "elbow":
        along = np.diff(
            body.joint_mean[[body.joint_names.index(f"{one}.{side}") for one in ("shoulder", "elbow")]], axis=0
        )
        hinge = np.cross(along[0], (0, 0, -1))
        return [(hinge / np.linalg.norm(hinge), spread[0])]
    return list(zip(np.eye(3)[: len(spread)], spread, strict=True))


def _neutral(name: str, axis: np.ndarray) -> float:
    kind, _, side = name.partition(".")
    if kind == "shoulder" and axis[2] == 1:
        return float(ARMS_DOWN if side == "L" else -ARMS_DOWN)
    return NEUTRAL.get(kind, 0.0)


def _moved(parents: np.ndarray, landmarks: np.ndarray, vertex_joints: np.ndarray) -> np.ndarray:
    """(J, L) whether a joint's rotation moves a landmark: joints beyond it, and vertices of its own."""
    moved = np.zeros((len(parents), len(landmarks)), dtype=bool)
    for number, landmark in enumerate(landmarks):
        on_skin = landmark >= len(parents)
        joint = vertex_joints[landmark - len(parents)] if on_skin else parents[landmark]
        while joint >= 0:
            moved[joint, number] = True
            joint = parents[joint]
    return moved


def _alignment(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation vector (3,) that brings centered points ``a`` (N, 3) closest to ``b`` (Kabsch 1976)."""
    from scipy.spatial.transform import Rotation

    u, _, v = np.linalg.svd((a - a.mean(axis=0)).T @ (b - b.mean(axis=0)))
    sign = np.sign(np.linalg.det(u @ v)) or 1.0
    return np.asarray(Rotation.from_matrix(v.T @ np.diag([1, 1, sign]) @ u.T).as_rotvec())
