"""Farthest points: the definition by loops, the fused form, and what the network relies on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogreid.errors import InputError
from ogreid.ops import farthest_points, gather_points
from operation_cases import FORMS, random


def farthest_by_loops(xyz, count, skip_origin):
    """Index 0, then again and again the point whose nearest chosen one is farthest."""
    points = xyz.double().tolist()
    allowed = [not skip_origin or sum(c * c for c in p) > 1e-3 for p in points]
    chosen = [0]
    while len(chosen) < count:
        best, farthest = 0, -1.0
        for i, p in enumerate(points):
            near = min(sum((a - b) ** 2 for a, b in zip(p, points[j], strict=True)) for j in chosen)
            if allowed[i] and near > farthest:
                best, farthest = i, near
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("backend", FORMS)
@pytest.mark.parametrize("skip_origin", [False, True])
def test_each_next_point_is_the_farthest_from_all_before(backend, skip_origin):
    xyz = random(2, 60, 3)
    xyz[:, 3:9] *= 0.01  # near the origin
    index = farthest_points(xyz, 40, skip_origin=skip_origin, backend=backend)
    assert index.tolist() == [farthest_by_loops(cloud, 40, skip_origin) for cloud in xyz]
    assert not skip_origin or not set(index.flatten().tolist()) & set(range(3, 9))


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 4),
    points=st.integers(1, 130),
    share=st.floats(0, 1),
    skip_origin=st.booleans(),
    repeats=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    seed=st.integers(0, 2**16),
)
def test_plain_and_fused_choose_the_same_points(batch, points, share, skip_origin, repeats, dtype, seed):
    xyz = (0.2 * random(batch, points, 3, seed=seed)).to(dtype)
    if repeats:  # ties: the lowest index wins in both forms
        xyz = xyz[:, torch.arange(points) // 3]
    count = 1 + int(share * (points - 1))
    plain, fused = (farthest_points(xyz, count, skip_origin=skip_origin, backend=form) for form in FORMS)
    assert torch.equal(plain, fused)


@pytest.mark.parametrize("backend", FORMS)
@pytest.mark.parametrize("skip_origin", [False, True])
def test_farthest_points_of_the_sampled_points_are_their_first_ones(backend, skip_origin):
    xyz = 0.3 * random(3, 200, 3, seed=1, dtype=torch.float32)
    sample = gather_points(xyz, farthest_points(xyz, 80, skip_origin=skip_origin, backend=backend))
    again = farthest_points(sample, 30, skip_origin=skip_origin, backend=backend)
    assert torch.equal(again, torch.arange(30).expand(3, 30))


@pytest.mark.parametrize("backend", FORMS)
def test_index_zero_repeats_where_every_point_is_at_the_origin(backend):
    assert farthest_points(torch.zeros(2, 9, 3), 5, skip_origin=True, backend=backend).tolist() == [[0] * 5] * 2


@pytest.mark.parametrize("count", [0, 11])
def test_a_count_that_the_cloud_cannot_give_is_refused(count):
    with pytest.raises(InputError, match=rf"expected 1 to 10 .* got {count}"):
        farthest_points(random(1, 10, 3), count)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_coordinate_that_is_not_finite_is_named(value):
    xyz = random(3, 10, 3)
    xyz[1, 7, 2] = value
    with pytest.raises(InputError, match="cloud 1, point 7"):
        farthest_points(xyz, 4)


def test_gathered_rows_are_those_of_their_own_cloud():
    values, index = torch.arange(24.0).view(2, 4, 3), torch.tensor([[3, 0], [1, 1]])
    assert torch.equal(gather_points(values, index), torch.stack([values[0, [3, 0]], values[1, [1, 1]]]))
    assert gather_points(values, index.unsqueeze(2)).shape == (2, 2, 1, 3)
