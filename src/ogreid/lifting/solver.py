"""The compiled part of the fit of a body to landmarks: softened residuals with their exact derivatives, and steps.

Parameters (P,) are the A angles, the S shape scores, then log scale and the camera's offset (x, y) in meters.
"""

from typing import NamedTuple

import numba
import numpy as np

SOFT = 6.0  # residuals, in standard deviations, never count for more: a landmark may be plainly wrong
STRAIGHT = 20.0  # weight of knees and elbows that bend backwards, per radian
EPSILON = 1e-6  # radians, of the numerical derivative of one rotation


class Skeleton(NamedTuple):
    """What the fit knows of a body: J joints, V vertices that stand for landmarks, L landmarks, S scores, A angles."""

    parents: np.ndarray  # (J,) -1 for the root, parents first
    joints: np.ndarray  # (J, 3) meters at rest
    joint_components: np.ndarray  # (S, J, 3)
    vertices: np.ndarray  # (V, 3)
    vertex_components: np.ndarray  # (S, V, 3)
    vertex_joints: np.ndarray  # (V,) the joint that moves each
    landmarks: np.ndarray  # (L,) a joint's number, or J + a vertex's
    moved: np.ndarray  # (J, L) whether a joint's rotation moves a landmark
    angle_joints: np.ndarray  # (A,) the joint that each angle turns
    axes: np.ndarray  # (A, 3) about which axis
    neutral: np.ndarray  # (A,) radians
    spread: np.ndarray  # (A,) standard deviations about it, radians; infinite where nothing is expected
    hinges: np.ndarray  # (A,) whether an angle should not be negative
    middle: np.ndarray  # (2,) numbers of the landmarks between which the world's origin lies


class Target(NamedTuple):
    """What a body is fitted to."""

    image: np.ndarray  # (L, 2) in half-sides of the square box
    image_weight: np.ndarray  # (L,) standard deviations per half-side
    world: np.ndarray  # (L, 3) meters
    world_weight: np.ndarray  # (L,) standard deviations per meter


@numba.njit(cache=True)
def _rotation(x: float, y: float, z: float) -> np.ndarray:
    angle = np.sqrt(x * x + y * y + z * z)
    a = np.sin(angle) / angle if angle > 1e-9 else 1.0
    b = (1 - np.cos(angle)) / (angle * angle) if angle > 1e-9 else 0.5
    c = np.cos(angle)
    return np.array(
        [
            [c + b * x * x, b * x * y - a * z, b * x * z + a * y],
            [b * x * y + a * z, c + b * y * y, b * y * z - a * x],
            [b * x * z - a * y, b * y * z + a * x, c + b * z * z],
        ]
    )


@numba.njit(cache=True)
def _product(a: np.ndarray, b: np.ndarray, transposed: bool) -> np.ndarray:
    """``a @ b`` or ``a @ b.T`` of (3, 3): faster than BLAS for so few numbers."""
    result = np.zeros((3, 3))
    for row in range(3):
        for column in range(3):
            for k in range(3):
                result[row, column] += a[row, k] * (b[column, k] if transposed else b[k, column])
    return result


@numba.njit(cache=True)
def _positions(skeleton: Skeleton, turns: np.ndarray, joints: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Joints and vertices (J + V, 3) under global rotations (J, 3, 3): linear in rest ``joints`` and ``vertices``."""
    count = len(joints)
    result = np.zeros((count + len(vertices), 3))
    for number in range(len(result)):
        if number < count:
            rest, parent = joints[number], skeleton.parents[number]
        else:
            rest, parent = vertices[number - count], skeleton.vertex_joints[number - count]
        for row in range(3):
            if parent < 0:
                result[number, row] = rest[row]
                continue
            result[number, row] = result[parent, row]
            for k in range(3):
                result[number, row] += turns[parent, row, k] * (rest[k] - joints[parent, k])
    return result


@numba.njit(cache=True)
def landmark_positions(skeleton: Skeleton, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (L, 3) in meters and their derivatives (P, L, 3) by every parameter."""
    number_of_angles, scores = len(skeleton.axes), len(skeleton.joint_components)
    vectors = np.zeros((len(skeleton.parents), 3))
    for angle in range(number_of_angles):
        vectors[skeleton.angle_joints[angle]] += parameters[angle] * skeleton.axes[angle]
    joints, vertices = skeleton.joints.copy(), skeleton.vertices.copy()
    for score in range(scores):
        joints += parameters[number_of_angles + score] * skeleton.joint_components[score]
        vertices += parameters[number_of_angles + score] * skeleton.vertex_components[score]
    turns = np.zeros((len(vectors), 3, 3))
    for joint, parent in enumerate(skeleton.parents):
        turn = _rotation(vectors[joint, 0], vectors[joint, 1], vectors[joint, 2])
        turns[joint] = turn if parent < 0 else _product(turns[parent], turn, False)
    places = _positions(skeleton, turns, joints, vertices)
    derivatives = np.zeros((len(parameters), len(skeleton.landmarks), 3))
    for angle in range(number_of_angles):
        joint, axis = skeleton.angle_joints[angle], skeleton.axes[angle] * EPSILON
        parent, vector = skeleton.parents[joint], vectors[joint]
        after = _rotation(vector[0] + axis[0], vector[1] + axis[1], vector[2] + axis[2])
        before = _rotation(vector[0] - axis[0], vector[1] - axis[1], vector[2] - axis[2])
        change = (after - before) / (2 * EPSILON)
        if parent >= 0:
            change = _product(turns[parent], change, False)
        change = _product(change, turns[joint], True)
        for landmark, place in enumerate(skeleton.landmarks):
            if skeleton.moved[joint, landmark]:
                for row in range(3):
                    for k in range(3):
                        lever = places[place, k] - places[joint, k]
                        derivatives[angle, landmark, row] += change[row, k] * lever
    for score in range(scores):
        components = skeleton.joint_components[score], skeleton.vertex_components[score]
        change = _positions(skeleton, turns, *components)
        derivatives[number_of_angles + score] = change[skeleton.landmarks]
    return places[skeleton.landmarks], derivatives


@numba.njit(cache=True)
def residuals(skeleton: Skeleton, target: Target, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (R,) in standard deviations and their derivatives (R, P): image, world, angles, shape."""
    number_of_angles, scores = len(skeleton.axes), len(skeleton.joint_components)
    place, moves = landmark_positions(skeleton, parameters)
    count, first = len(place), number_of_angles + scores
    rows = 5 * count + 2 * number_of_angles + scores
    value, slope = np.zeros(rows), np.zeros((rows, len(parameters)))
    scale, row = np.exp(parameters[first]), 0
    for landmark in range(count):
        for axis in range(2):
            weight = target.image_weight[landmark]
            across = scale * (place[landmark, axis] + parameters[first + 1 + axis])
            value[row] = weight * (across - target.image[landmark, axis])
            slope[row] = weight * scale * moves[:, landmark, axis]
            slope[row, first] = weight * across
            slope[row, first + 1 + axis] = weight * scale
            row += 1
    left, right = skeleton.middle
    for landmark in range(count):
        for axis in range(3):
            weight = target.world_weight[landmark]
            ours = place[landmark, axis] - (place[left, axis] + place[right, axis]) / 2
            theirs = target.world[landmark, axis] - (target.world[left, axis] + target.world[right, axis]) / 2
            value[row] = weight * (ours - theirs)
            slope[row] = weight * (moves[:, landmark, axis] - (moves[:, left, axis] + moves[:, right, axis]) / 2)
            row += 1
    for one in range(row):
        softness = 1 + (value[one] / SOFT) ** 2
        value[one] /= np.sqrt(softness)
        slope[one] /= softness**1.5
    for angle in range(number_of_angles):
        value[row] = (parameters[angle] - skeleton.neutral[angle]) / skeleton.spread[angle]
        slope[row, angle] = 1 / skeleton.spread[angle]
        if skeleton.hinges[angle] and parameters[angle] < 0:
            value[row + 1], slope[row + 1, angle] = STRAIGHT * parameters[angle], STRAIGHT
        row += 2
    for score in range(scores):
        value[row], slope[row, number_of_angles + score] = parameters[number_of_angles + score], 1
        row += 1
    return value, slope


@numba.njit(cache=True)
def minimize(skeleton: Skeleton, target: Target, start: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Damped Gauss-Newton steps from ``start`` (P,); the best parameters and their sum of squares.

    Ends after ``steps``, when a step gains less than a thousandth, or when none of four dampings gains anything.
    Numbers that are not finite gain nothing.
    """
    parameters, damping = start, 0.1
    value, slope = residuals(skeleton, target, parameters)
    cost = (value**2).sum()
    for _ in range(steps if np.isfinite(cost) else 0):
        normal, gradient = slope.T @ slope, slope.T @ value
        gain = 0.0
        for _ in range(4):
            damped = normal.copy()
            for k in range(len(parameters)):
                damped[k, k] += damping * (normal[k, k] + 1e-3)
            candidate = parameters - np.linalg.solve(damped, gradient)
            if abs(candidate[-3]) < 10:  # the logarithm of the scale
                value, new_slope = residuals(skeleton, target, candidate)
                gain = cost - (value**2).sum()
            if gain > 0:
                break
            damping *= 4
        if not gain > 0:
            break
        parameters, slope = candidate, new_slope
        converged = gain < 1e-3 * cost
        cost, damping = cost - gain, max(damping / 4, 1e-4)
        if converged:
            break
    return parameters, cost


@numba.njit(cache=True)
def push_out(vertices: np.ndarray, faces: np.ndarray, distance: float) -> np.ndarray:
    """Vertices (V, 3) moved along their normals by ``distance`` in meters; faces (F, 3) are wound outwards."""
    normals = np.zeros(vertices.shape)
    for a, b, c in faces:
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
        normal = np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
        normals[a] += normal
        normals[b] += normal
        normals[c] += normal
    moved = vertices.copy()
    for number in range(len(vertices)):
        length = np.sqrt((normals[number] ** 2).sum())
        if length > 0:
            for axis in range(3):
                moved[number, axis] += distance * normals[number, axis] / length
    return moved
