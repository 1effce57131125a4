"""The parametric body: skinning, rotations, heights, walking."""

import hypothesis.extra.numpy as shapes
import hypothesis.strategies as values
import numpy as np
import pytest
from hypothesis import example, given, settings

from ogreid.synthetic.attributes import SHORTEST, STYLES, TALLEST, draw_attributes
from ogreid.synthetic.body import draw_gait, draw_pose, load_body, rotation, rotation_vector

BODY = load_body()


def skinned_by_loops(shape, pose, chosen):
    """Linear blend skinning in 4 x 4 matrices, joint by joint and vertex by vertex."""
    rest, joints = BODY.rest(shape)
    world = []
    for number, parent in enumerate(BODY.parents):
        local = np.eye(4)
        local[:3, :3] = rotation(pose[number])
        local[:3, 3] = joints[number] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    back = [matrix.copy() for matrix in world]
    for number, matrix in enumerate(back):
        matrix[:3, 3] -= matrix[:3, :3] @ joints[number]
    moved = []
    for vertex in chosen:
        blended = sum(w * back[j] for j, w in zip(BODY.weight_joints[vertex], BODY.weights[vertex], strict=True))
        moved.append((blended @ np.append(rest[vertex], 1))[:3])
    return np.array(moved)


def test_skinning_agrees_with_the_definition():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 1, len(BODY.components)).astype(np.float32)
    pose = rng.normal(0, 0.4, (len(BODY.parents), 3)).astype(np.float32)
    chosen = rng.integers(0, BODY.skin_count, 50)
    assert np.allclose(BODY.posed(shape, pose)[chosen], skinned_by_loops(shape, pose, chosen), atol=2e-5)


@settings(max_examples=60, deadline=None)
@example(np.array([np.pi, 0, 0]))
@example(np.array([0, np.pi, 0]))
@example(np.array([0, 0, np.pi]))
@given(shapes.arrays(np.float64, 3, elements=values.floats(-1.8, 1.8)))
def test_rotations_are_orthogonal_and_their_vectors_come_back(vector):
    matrix = rotation(vector).astype(np.float64)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
    assert np.allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-4)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_people_are_of_ordinary_height(style):
    rng = np.random.default_rng(2)
    heights = [BODY.height(draw_attributes(BODY, STYLES[style], rng).shape) for _ in range(30)]
    assert min(heights) >= SHORTEST and max(heights) <= TALLEST
    assert np.std(heights) > 0.05


def test_walkers_stand_upright_with_arms_down_and_one_foot_before_the_other():
    rng, strides = np.random.default_rng(3), []
    rest, joints = BODY.rest(np.zeros(len(BODY.components), dtype=np.float32))
    for _ in range(20):
        pose = draw_pose(BODY, draw_gait(rng, 0), rng, standing=False)
        place = dict(zip(BODY.joint_names, BODY.skin(rest, joints, pose).joints, strict=True))
        heights = [place[name][1] for name in ("head", "chest", "pelvis", "knee.L", "ankle.L")]
        assert heights == sorted(heights)
        assert place["elbow.L"][1] > place["shoulder.L"][1] + 0.1
        assert abs(place["ankle.L"][0]) < 0.3
        assert rotation(pose[BODY.joint("knee.L")])[2, 1] >= 0, "a knee bends backwards only"
        strides.append(abs(place["ankle.L"][2] - place["ankle.R"][2]))
    assert max(strides) > 0.35
