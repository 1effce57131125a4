"""Neighbors and balls: the definition by loops, and the fused form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogreid.errors import InputError
from ogreid.ops import ball, balls, nearest, nearest_of
from operation_cases import FORMS, random

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.float16])


def distances(points, index):
    """(B, N, k) from each point to its neighbors."""
    rows = torch.stack([cloud[near] for cloud, near in zip(points, index, strict=True)])
    return (rows - points.unsqueeze(2)).double().norm(dim=3)


@pytest.mark.parametrize("backend", FORMS)
@pytest.mark.parametrize("channels", [3, 20])
def test_neighbors_are_the_k_nearest_in_order(backend, channels):
    points = random(2, 40, channels)
    for cloud, index in zip(points, nearest(points, 7, backend=backend), strict=True):
        for i, row in enumerate(index.tolist()):
            far = [(float((cloud[i] - other).norm()), j) for j, other in enumerate(cloud)]
            assert row == [j for _, j in sorted(far)[:7]]


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    count=st.integers(1, 150),
    share=st.floats(0, 1),
    channels=st.sampled_from([2, 3, 11]),
    kind=st.sampled_from(["cloud", "repeated", "line", "one place"]),
    dtype=DTYPES,
    seed=st.integers(0, 2**16),
)
def test_plain_and_fused_neighbors_are_equally_far_and_different(batch, count, share, channels, kind, dtype, seed):
    points = random(batch, count, channels, seed=seed, dtype=dtype)
    if kind == "repeated":
        points = points[:, torch.arange(count) // 4]
    elif kind == "line":
        points[..., 1:] = 0
    elif kind == "one place":
        points[:] = 0.5
    k = 1 + int(share * (count - 1))
    both = [nearest(points, k, backend=form) for form in FORMS]
    plain, fused = (distances(points.double(), index) for index in both)
    # In many dimensions the fused form multiplies; its rounding is that of the squared distance.
    torch.testing.assert_close(plain.square(), fused.square(), rtol=1e-5, atol=1e-5)
    assert all(index.sort(2).values.diff(dim=2).ne(0).all() for index in both)


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbors_than_points_are_refused(k):
    points = random(1, 5, 3)
    for search in (lambda: nearest(points, k), lambda: nearest_of(points, points, k)):
        with pytest.raises(InputError, match=f"expected 1 to 5 .* got {k}"):
            search()


def test_neighbors_of_a_point_that_is_not_finite_are_refused():
    points = random(1, 5, 3)
    points[0, 2, 1] = torch.nan
    for search in (lambda: nearest(points, 2), lambda: ball(points, points[:, :1], 0.1, 2)):
        with pytest.raises(InputError, match="point 2"):
            search()


def ball_by_loops(points, center, radius, count):
    near = [sum((a - b) ** 2 for a, b in zip(p, center, strict=True)) for p in points.tolist()]
    hits = [j for j, square in enumerate(near) if square < radius**2] or [0]
    return (hits + [hits[0]] * count)[:count]


@pytest.mark.parametrize("backend", FORMS)
@pytest.mark.parametrize("radius", [0.05, 0.5, 5.0])
def test_a_ball_holds_the_first_hits_in_index_order_padded_with_the_first(backend, radius):
    points = random(2, 90, 3, seed=4)
    centers = torch.cat([points[:, :10], points[:, :3] + 100], 1)
    index = ball(points, centers, radius, 8, backend=backend)
    for b in range(2):
        assert index[b].tolist() == [ball_by_loops(points[b], center, radius, 8) for center in centers[b].tolist()]
    assert index[:, 10:].eq(0).all(), "a ball without any point names index 0"


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    count=st.integers(1, 200),
    centers=st.integers(1, 20),
    samples=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    dtype=DTYPES,
    seed=st.integers(0, 2**16),
)
def test_plain_and_fused_balls_hold_the_same_points(batch, count, centers, samples, dtype, seed):
    points = random(batch, count, 3, seed=seed, dtype=dtype)
    around = points[:, torch.arange(centers) % count]
    radii = [0.2 * 1.7**i for i in range(len(samples))]
    plain, fused = (balls(points, around, radii, samples, backend=form) for form in FORMS)
    assert [index.shape[2] for index in fused] == samples
    assert all(torch.equal(a, b) for a, b in zip(plain, fused, strict=True))


@pytest.mark.parametrize("backend", FORMS)
def test_a_point_on_the_radius_is_outside(backend):
    points = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [0.25, 0, 0]]])
    assert ball(points, points[:, :1], 0.5, 3, backend=backend).tolist() == [[[0, 2, 0]]]


@pytest.mark.parametrize(("radius", "count"), [(0.0, 4), (-1.0, 4), (0.1, 0)])
def test_a_ball_without_extent_or_samples_is_refused(radius, count):
    points = random(1, 5, 3)
    with pytest.raises(InputError, match="positive"):
        ball(points, points, radius, count)


def test_an_unknown_backend_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean fused"):
        nearest(random(1, 5, 3), 2, backend="fusd")
