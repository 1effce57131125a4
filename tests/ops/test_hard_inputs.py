"""What an operation may meet besides ordinary clouds: equals, views, half precision, everything in one place, NaN."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.ops import (
    GateWeights,
    Norm,
    balls,
    edge_blend,
    farthest_points,
    gather_points,
    group_perceptron,
    nearest,
    nearest_of,
)

DOUBLE = torch.float64


def random(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def blend(backend, source, center, graph, scale, shift):
    return edge_blend(source, center, graph, Norm(scale, shift), torch.tensor(0.4, dtype=DOUBLE), backend=backend)


def perceive(backend, points, centers, index, *rest):
    scale, shift, reduce, reduce_bias, expand, expand_bias, weight, outer_scale, outer_shift = rest
    gate = GateWeights(reduce, reduce_bias, expand, expand_bias)
    inner, outer = Norm(scale, shift), Norm(outer_scale, outer_shift)
    return group_perceptron(points, centers, index, inner, gate, weight, outer, backend=backend)


def parameters(channels, results, hidden=2, dtype=DOUBLE):
    shapes = [(channels,), (channels,), (hidden, channels), (hidden,), (channels, hidden), (channels,)]
    shapes += [(results, channels), (results,), (results,)]
    return [random(*shape, seed=10 + number, dtype=dtype) for number, shape in enumerate(shapes)]


def gradients(run, leaves):
    """Value and gradients of an arbitrary scalar of it."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = run(*leaves).value
    probe = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).sin().view_as(value)
    return [value.detach(), *torch.autograd.grad((value * probe).sum(), leaves)]


@settings(max_examples=15, deadline=None)
@given(copies=st.integers(2, 5), kinds=st.integers(2, 9), k=st.integers(2, 8), seed=st.integers(0, 2**16))
def test_among_equal_edges_both_forms_send_the_gradient_to_the_first(copies, kinds, k, seed):
    """Duplicated points send along equal edges; which of them is the largest must not depend on the form."""
    points = copies * kinds
    twins = torch.arange(points) % kinds
    source, center = (random(2, kinds, 5, seed=seed + i)[:, twins] for i in range(2))
    graph = torch.randint(points, (2, points, k), generator=torch.Generator().manual_seed(seed))
    leaves = [source, center, random(5, seed=3), random(5, seed=4)]
    plain, fused = (
        gradients(lambda a, c, *norm, form=form: blend(form, a, c, graph, *norm), leaves) for form in ("plain", "fused")
    )
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(copies=st.integers(2, 5), kinds=st.integers(3, 9), members=st.integers(2, 9), seed=st.integers(0, 2**16))
def test_among_equal_members_both_forms_send_the_gradient_to_the_first(copies, kinds, members, seed):
    points = copies * kinds
    twins = torch.arange(points) % kinds
    index = torch.randint(points, (2, 11, members), generator=torch.Generator().manual_seed(seed))
    leaves = [random(2, kinds, 6, seed=seed)[:, twins], random(2, 11, 6, seed=seed + 1), *parameters(6, 7)]
    plain, fused = (
        gradients(lambda p, c, *rest, form=form: perceive(form, p, c, index, *rest), leaves)
        for form in ("plain", "fused")
    )
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def strided(tensor):
    """The same values, every second number of a larger tensor, dimensions stored the other way round."""
    room = torch.zeros(*reversed([2 * size for size in tensor.shape]), dtype=tensor.dtype)
    view = room.permute(*reversed(range(tensor.dim())))[tuple(slice(None, None, 2) for _ in tensor.shape)]
    view.copy_(tensor)
    assert not view.is_contiguous()
    return view


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_views_that_are_not_contiguous_are_read_as_their_copies(backend):
    xyz, features = random(2, 40, 3), random(2, 40, 9, seed=1)
    graph, members = nearest(xyz, 5), balls(xyz, xyz[:, :8], [0.9], [6])[0]
    rest, norm = parameters(9, 7), (random(9, seed=4), random(9, seed=5))
    for run, inputs in (
        (lambda x: farthest_points(x, 9, backend=backend), [xyz]),
        (lambda x: nearest(x, 5, backend=backend), [xyz]),
        (lambda x: nearest(x, 5, backend=backend), [features]),
        (lambda x, c: nearest_of(x, c, 5), [xyz, xyz[:, :8]]),
        (lambda x, c: balls(x, c, [0.9], [6], backend=backend)[0], [xyz, xyz[:, :8]]),
        (gather_points, [features, graph]),
        (lambda *given: blend(backend, *given).value, [features, features, graph, *norm]),
        (lambda *given: perceive(backend, *given).value, [features, random(2, 8, 9, seed=2), members, *rest]),
    ):
        # Sums over other strides may round differently; choices may not differ.
        torch.testing.assert_close(run(*map(strided, inputs)), run(*inputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_members_come_back_as_they_came_and_are_computed_in_single_precision(dtype):
    points, centers = random(2, 40, 9, dtype=dtype), random(2, 8, 9, seed=2, dtype=dtype)
    index = torch.randint(40, (2, 8, 6), generator=torch.Generator().manual_seed(0))
    rest = parameters(9, 7, dtype=torch.float32)
    half = perceive("fused", points, centers, index, *rest)
    full = perceive("fused", points.float(), centers.float(), index, *rest)
    assert half.value.dtype == dtype
    torch.testing.assert_close(half.value, full.value.to(dtype))


@settings(max_examples=12, deadline=None)
@given(
    points=st.integers(24, 60),
    kind=st.sampled_from(["cloud", "duplicated", "at the origin", "line"]),
    k=st.integers(1, 24),
    training=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_whole_networks_of_both_forms_embed_alike(points, kind, k, training, seed):
    xyz, rgb = 0.3 * random(3, points, 3, seed=seed), random(3, points, 3, seed=seed + 1)
    if kind == "duplicated":
        twins = torch.arange(points) // 2
        xyz, rgb = xyz[:, twins], rgb[:, twins]
    elif kind == "at the origin":
        xyz = torch.zeros_like(xyz)
    elif kind == "line":
        xyz[..., 1:] = 0
    torch.manual_seed(seed)
    networks = [
        build_model(
            "ognet", channels=[8, 16], num_kept=[24, 24], k=k, embedding=12, last_graph="position", backend=form
        )
        for form in ("plain", "fused")
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    plain, fused = (network.double().train(training)(xyz, rgb) for network in networks)
    assert fused.isfinite().all()
    if kind in ("cloud", "line"):  # elsewhere the k nearest are not unique
        torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_network_says_that_a_cloud_is_too_small_for_its_neighbors(backend):
    network = build_model("ognet", channels=[8, 16], num_kept=[24, 12], k=31, embedding=12, backend=backend)
    with pytest.raises(InputError, match=r"expected 1 to 30 .* got 31"):
        network(torch.rand(2, 30, 3), torch.zeros(2, 30, 3))


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_network_refuses_a_cloud_that_is_not_finite(backend):
    network = build_model("ognet", channels=[8, 16], num_kept=[24, 12], k=4, embedding=12, backend=backend)
    xyz = torch.rand(2, 30, 3)
    xyz[1, 4, 0] = torch.nan
    with pytest.raises(InputError, match="cloud 1, point 4"):
        network(xyz, torch.zeros(2, 30, 3))
