"""The parametric body: skinning, rotations, heights, walking."""

import hypothesis.extra.numpy as shapes
import hypothesis.strategies as values
import numpy as np
import pytest
from hypothesis import given, settings

from ogreid.synthetic.body import load_body, rotation, rotation_vector
from ogreid.synthetic.gait import draw_manner, draw_pose
from ogreid.synthetic.attributes import SHORTEST, STYLES, TALLEST, draw_wardrobe

VECTORS = shapes.arrays(np.float64, 3, elements=values.floats(-1.8, 1.8))


def skinned_by_loops(shape: np.ndarray, pose: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Linear blend skinning in 4 x 4 matrices, joint by joint and vertex by vertex."""
    body = load_body()
    rest, joints = body.rest(shape)
    world: list[np.ndarray] = []
    for number, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = rotation(pose[number])
        local[:3, 3] = joints[number] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    back = [matrix.copy() for matrix in world]
    for number, matrix in enumerate(back):
        matrix[:3, 3] -= matrix[:3, :3] @ joints[number]
    moved = []
    for vertex in chosen:
        blended = sum(w * back[j] for j, w in zip(body.weight_joints[vertex], body.weights[vertex], strict=True))
        moved.append((blended @ np.append(rest[vertex], 1))[:3])
    return np.array(moved)


def test_skinning_agrees_with_the_definition() -> None:
    body, rng = load_body(), np.random.default_rng(0)
    shape = rng.normal(0, 1, body.shape_count).astype(np.float32)
    pose = rng.normal(0, 0.4, (len(body.parents), 3)).astype(np.float32)
    chosen = rng.integers(0, body.skin_count, 50)
    expected = skinned_by_loops(shape, pose, chosen)
    assert np.allclose(body.posed(shape, pose)[chosen], expected, atol=2e-5)


def test_the_rest_pose_leaves_the_rest_body() -> None:
    body = load_body()
    shape = body.example_scores[3]
    still = np.zeros((len(body.parents), 3), dtype=np.float32)
    assert np.allclose(body.posed(shape, still), body.rest(shape)[0][: body.skin_count], atol=1e-5)


def test_turning_the_pelvis_turns_the_whole_body() -> None:
    body, rng = load_body(), np.random.default_rng(1)
    shape = body.example_scores[0]
    pose = rng.normal(0, 0.3, (len(body.parents), 3)).astype(np.float32)
    pose[0] = 0
    turned = pose.copy()
    turned[0] = (0.3, -0.9, 0.2)
    joint = body.rest(shape)[1][0]
    expected = (body.posed(shape, pose) - joint) @ rotation(turned[0]).T + joint
    assert np.allclose(body.posed(shape, turned), expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(VECTORS)
def test_rotations_are_orthogonal_and_their_vectors_come_back(vector: np.ndarray) -> None:
    matrix = rotation(vector).astype(np.float64)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
    assert np.allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-4)


def test_a_half_turn_has_a_vector() -> None:
    for axis in np.eye(3):
        matrix = rotation(np.pi * axis)
        assert np.allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-5)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_people_are_of_ordinary_height(style: str) -> None:
    body, rng = load_body(), np.random.default_rng(2)
    heights = [body.height(draw_wardrobe(body, STYLES[style], rng).shape) for _ in range(30)]
    assert min(heights) >= SHORTEST
    assert max(heights) <= TALLEST
    assert np.std(heights) > 0.05


def test_joints_lie_inside_the_body() -> None:
    body = load_body()
    for shape in body.example_scores[:8]:
        vertices, joints = body.rest(shape)
        skin = vertices[: body.skin_count]
        owner = body.weight_joints[: body.skin_count, 0]
        for number, joint in enumerate(joints):
            near = skin[np.linalg.norm(skin - joint, axis=1) < 0.35]
            assert (near.min(axis=0) < joint).all(), body.joint_names[number]
            assert (near.max(axis=0) > joint).all(), body.joint_names[number]
            assert (owner == number).any()


def test_walkers_stand_upright_with_arms_down_and_one_foot_before_the_other() -> None:
    body, rng = load_body(), np.random.default_rng(3)
    shape = np.zeros(body.shape_count, dtype=np.float32)
    strides = []
    for _ in range(20):
        pose = draw_pose(body, draw_manner(rng, 0), rng, standing=False)
        rest, joints = body.rest(shape)
        posed = body.bend(rest, joints, pose).joints
        place = dict(zip(body.joint_names, posed, strict=True))
        assert place["head"][1] < place["chest"][1] < place["pelvis"][1] < place["knee.L"][1] < place["ankle.L"][1]
        assert place["elbow.L"][1] > place["shoulder.L"][1] + 0.1
        assert abs(place["ankle.L"][0]) < 0.3
        strides.append(abs(place["ankle.L"][2] - place["ankle.R"][2]))
    assert max(strides) > 0.35
    knees = rotation(pose[body.joint("knee.L")])
    assert knees[2, 1] >= 0, "a knee bends backwards only"
