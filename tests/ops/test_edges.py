"""Gather-and-blend: the definition by loops, and the edge-free form with its written-out backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogreid.ops import Moments, Norm, edge_blend, nearest


def case(batch, points, k, channels, seed, dtype=torch.float64, running=False):
    """Inputs with BatchNorm scales of both signs."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    graph = nearest(random(batch, points, 3), k, backend="plain")
    moments = Moments(random(channels), random(channels).abs() + 0.1) if running else None
    leaves = [random(batch, points, channels), random(batch, points, channels), random(channels), random(channels)]
    return [*leaves, random(()).sigmoid()], graph, moments


def outcome(backend, leaves, graph, moments):
    """Value, moments, and the gradients of an arbitrary scalar of the value."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    source, center, scale, shift, weight = leaves
    blended = edge_blend(source, center, graph, Norm(scale, shift, moments), weight, backend=backend)
    probe = torch.linspace(-1, 2, blended.value.numel(), dtype=torch.float64).sin().view_as(blended.value)
    gradients = torch.autograd.grad((blended.value.double() * probe).sum(), leaves)
    return [blended.value.detach(), *blended.moments, *gradients]


def test_the_plain_form_is_the_definition():
    (source, center, scale, shift, weight), graph, _ = case(2, 12, 4, 3, 0)
    edges = torch.zeros(2, 12, 4, 3, dtype=torch.float64)
    for b in range(2):
        for i in range(12):
            for e, j in enumerate(graph[b, i].tolist()):
                edges[b, i, e] = source[b, j] + center[b, i]
    rows = edges.view(-1, 3)
    normal = (edges - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt() * scale + shift
    expected = weight * normal.max(2).values + (1 - weight) * normal.mean(2)
    result = edge_blend(source, center, graph, Norm(scale, shift), weight, backend="plain")
    torch.testing.assert_close(result.value, expected)
    torch.testing.assert_close(result.moments.variance, rows.var(0, correction=0))


SHAPES = {
    "batch": st.integers(1, 4),
    "points": st.integers(1, 70),
    "share": st.floats(0, 1),
    "channels": st.integers(1, 70),
    "running": st.booleans(),
    "seed": st.integers(0, 2**16),
}


@settings(max_examples=30, deadline=None)
@given(**SHAPES)
def test_both_forms_agree_in_double_precision(batch, points, share, channels, running, seed):
    inputs = case(batch, points, 1 + int(share * (points - 1)), channels, seed, running=running)
    for fused, plain in zip(outcome("fused", *inputs), outcome("plain", *inputs), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10 * (1 + float(plain.abs().max())))


@settings(max_examples=15, deadline=None)
@given(**SHAPES)
def test_both_forms_agree_in_single_precision(batch, points, share, channels, running, seed):
    inputs = case(batch, points, 1 + int(share * (points - 1)), channels, seed, torch.float32, running)
    for fused, plain in zip(outcome("fused", *inputs), outcome("plain", *inputs), strict=True):
        # One or two edges normalized by their own moments are a division of rounding by rounding.
        bound = 1e-5 if batch * points > 8 else 1e-2
        torch.testing.assert_close(fused, plain, rtol=bound, atol=bound * (1 + float(plain.abs().max())))


def test_more_than_256_neighbors_are_told_apart():
    inputs = case(1, 300, 290, 2, 1)
    for fused, plain in zip(outcome("fused", *inputs), outcome("plain", *inputs), strict=True):
        torch.testing.assert_close(fused, plain)


def test_a_large_common_offset_does_not_spoil_the_variance():
    (source, center, scale, shift, weight), graph, _ = case(4, 60, 5, 8, 2)
    far = edge_blend(source + 1e3, center - 700, graph, Norm(scale, shift), weight, backend="fused")
    near = edge_blend(source, center, graph, Norm(scale, shift), weight, backend="fused")
    torch.testing.assert_close(far.value, near.value, rtol=1e-8, atol=1e-8)


def test_half_precision_comes_back_as_half_precision():
    (source, center, scale, shift, weight), graph, _ = case(2, 30, 4, 8, 3, torch.float32)
    norm = Norm(scale, shift)
    half = edge_blend(source.bfloat16(), center.bfloat16(), graph, norm, weight, backend="fused")
    full = edge_blend(source.bfloat16().float(), center.bfloat16().float(), graph, norm, weight, backend="fused")
    assert half.value.dtype == torch.bfloat16
    torch.testing.assert_close(half.value, full.value.bfloat16())


def test_views_that_are_not_contiguous_are_read_as_their_copies():
    (source, center, scale, shift, weight), graph, _ = case(2, 30, 4, 8, 4)
    both = torch.cat([source, center], 2)
    result = edge_blend(both[..., :8], both[..., 8:], graph, Norm(scale, shift), weight, backend="fused")
    expected = edge_blend(source, center, graph, Norm(scale, shift), weight, backend="fused")
    assert torch.equal(result.value, expected.value)


@pytest.mark.parametrize("running", [False, True])
def test_the_written_out_backward_passes_a_numerical_check(running):
    leaves, graph, moments = case(2, 9, 3, 4, 5, running=running)

    def value(source, center, scale, shift, weight):
        return edge_blend(source, center, graph, Norm(scale, shift, moments), weight, backend="fused").value

    assert torch.autograd.gradcheck(value, [leaf.requires_grad_() for leaf in leaves])
