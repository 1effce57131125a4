"""The perceptron over groups: textbook layers, and the form that never stores a member."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ogreid.ops import GateWeights, Moments, Norm, group_members, group_perceptron


def case(sizes, seed, *, gated=True, running=False, dtype=torch.float64):
    """``sizes``: batch, points, groups, members, channels, results, hidden."""
    batch, points, groups, members, channels, results, hidden = sizes
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    index = torch.randint(points, (batch, groups, members), generator=generator)
    gate = [random(hidden, channels) / 4, random(hidden), random(channels, hidden), random(channels)] if gated else []
    leaves = [random(batch, points, channels), random(batch, groups, channels), random(channels), random(channels)]
    leaves += [*gate, random(results, channels), random(results), random(results)]
    moments = [Moments(random(c), random(c).abs() + 0.1) if running else None for c in (channels, results)]
    return leaves, index, moments


def perceive(backend, leaves, index, moments):
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = leaves
    inner, outer = Norm(scale, shift, moments[0]), Norm(outer_scale, outer_shift, moments[1])
    return group_perceptron(
        points, centers, index, inner, GateWeights(*gate) if gate else None, weight, outer, backend=backend
    )


def outcome(backend, leaves, index, moments, mask=1):
    """Value, moments, and the gradients of an arbitrary scalar of the values, weighted by ``mask``."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    result = perceive(backend, leaves, index, moments)
    probe = torch.linspace(-1, 2, result.value.numel(), dtype=torch.float64).sin().view_as(result.value) * mask
    gradients = torch.autograd.grad((result.value.double() * probe).sum(), leaves)
    return [result.value.detach(), *result.inner, *result.outer, *gradients]


@pytest.mark.parametrize("gated", [False, True])
def test_the_plain_form_is_a_stack_of_textbook_layers(gated):
    leaves, index, moments = case((2, 20, 5, 4, 6, 7, 2), 0, gated=gated)
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = leaves
    members = torch.stack([points[b][index[b]] - centers[b].unsqueeze(1) for b in range(2)]).permute(0, 3, 1, 2)
    first, second = nn.BatchNorm2d(6).double(), nn.BatchNorm2d(7).double()
    for norm, (a, b) in zip((first, second), ((scale, shift), (outer_scale, outer_shift)), strict=True):
        norm.load_state_dict({**norm.state_dict(), "weight": a, "bias": b})
    rows = first(members)  # (B, C, M, S), as the released code lays it out
    if gated:
        reduce, reduce_bias, expand, expand_bias = gate
        hidden = nn.functional.conv2d(rows, reduce[:, :, None, None], reduce_bias)
        logits = nn.functional.conv2d(hidden * hidden.sigmoid(), expand[:, :, None, None], expand_bias)
        rows = rows * logits.sigmoid()
    expected = second(nn.functional.conv2d(rows, weight[:, :, None, None])).relu().amax(3).transpose(1, 2)
    torch.testing.assert_close(perceive("plain", leaves, index, moments).value, expected)


SHAPES = st.tuples(
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 19),
    st.integers(1, 37),
    st.integers(1, 45),
    st.integers(1, 5),
)


@settings(max_examples=40, deadline=None)
@given(sizes=SHAPES, gated=st.booleans(), running=st.booleans(), seed=st.integers(0, 2**16))
def test_both_forms_agree_in_double_precision(sizes, gated, running, seed):
    inputs = case(sizes, seed, gated=gated, running=running)
    few = sizes[0] * sizes[2] * sizes[3] < 30  # then the moments of the outer map divide rounding by rounding
    for fused, plain in zip(outcome("fused", *inputs), outcome("plain", *inputs), strict=True):
        bound = 1e-6 if few else 1e-10
        torch.testing.assert_close(fused, plain, rtol=bound, atol=bound * (1 + float(plain.abs().max())))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_both_forms_agree_in_single_precision(gated, running):
    inputs = case((4, 120, 40, 16, 48, 96, 2), 1, gated=gated, running=running, dtype=torch.float32)
    largest = max(float(plain.abs().max()) for plain in outcome("plain", *inputs)[5:])
    for fused, plain in zip(outcome("fused", *inputs), outcome("plain", *inputs), strict=True):
        # The inner shift cancels without a gate: its gradient is rounding, measured against the others.
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5 * (float(plain.abs().max()) + largest / 10))


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(*ends) for ends in ((2, 3), (8, 40), (10, 20), (8, 19), (8, 37), (8, 45), (1, 5)))),
    seed=st.integers(0, 2**16),
)
def test_values_and_moments_agree_in_single_precision_over_random_shapes(sizes, seed):
    inputs = case(sizes, seed, dtype=torch.float32)
    for fused, plain in zip(outcome("fused", *inputs)[:5], outcome("plain", *inputs)[:5], strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5 * (1 + float(plain.abs().max())))


def clearly_decided(leaves, index, moments):
    """Which results (B, M, D) rounding cannot move to another member, nor over the ReLU's edge; in double precision."""
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = [leaf.double() for leaf in leaves]
    inner, outer = (moment and Moments(*(part.double() for part in moment)) for moment in moments)
    rows = group_members(points, centers, index, Norm(scale, shift, inner)).value
    if gate:
        reduce, reduce_bias, expand, expand_bias = gate
        hidden = nn.functional.silu(rows @ reduce.T + reduce_bias)
        rows = rows * (hidden @ expand.T + expand_bias).sigmoid()
    first, second = Norm(outer_scale, outer_shift, outer).rows(rows @ weight.T).value.topk(2, 2).values.unbind(2)
    return (first - second > 1e-3) & (first.abs() > 1e-3)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(*ends) for ends in ((2, 3), (20, 60), (10, 20), (2, 19), (8, 37), (8, 45), (1, 5)))),
    gated=st.booleans(),
    running=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_gradients_agree_in_single_precision_over_random_shapes(sizes, gated, running, seed):
    """Of the results whose member is beyond doubt: where rounding decides which is the largest, a gradient jumps."""
    leaves, index, moments = case(sizes, seed, gated=gated, running=running, dtype=torch.float32)
    batch, points, groups, members = sizes[:4]
    generator = torch.Generator().manual_seed(seed)
    index = torch.rand(batch, groups, points, generator=generator).argsort(2)[..., :members]  # nobody twice
    mask = clearly_decided(leaves, index, moments)
    assert mask.double().mean() > 0.5
    result = zip(*(outcome(form, leaves, index, moments, mask)[5:] for form in ("fused", "plain")), strict=True)
    pairs = list(result)
    largest = max(float(plain.abs().max()) for _, plain in pairs)
    for fused, plain in pairs:
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5 * (float(plain.abs().max()) + largest))


def test_a_scale_of_zero_leaves_the_shift():
    leaves, index, moments = case((2, 20, 5, 4, 6, 7, 2), 2)
    leaves[2], leaves[-2] = torch.zeros_like(leaves[2]), torch.zeros_like(leaves[-2])
    for fused, plain in zip(
        outcome("fused", leaves, index, moments), outcome("plain", leaves, index, moments), strict=True
    ):
        torch.testing.assert_close(fused, plain)


def test_a_group_that_repeats_one_member_gives_that_member_all_of_the_gradient():
    leaves, index, moments = case((2, 20, 5, 4, 6, 7, 2), 3, running=True)
    index[:, :, 1:] = index[:, :, :1]
    for fused, plain in zip(
        outcome("fused", leaves, index, moments), outcome("plain", leaves, index, moments), strict=True
    ):
        torch.testing.assert_close(fused, plain)


@settings(max_examples=25, deadline=None)
@given(sizes=SHAPES, gated=st.booleans(), running=st.booleans(), seed=st.integers(0, 2**16))
def test_balls_that_are_not_full_count_their_first_member_as_often_as_it_is_repeated(sizes, gated, running, seed):
    leaves, index, moments = case(sizes, seed, gated=gated, running=running)
    full = torch.randint(1, sizes[3] + 1, index.shape[:2], generator=torch.Generator().manual_seed(seed))
    index = torch.where(torch.arange(sizes[3]) < full.unsqueeze(2), index, index[..., :1])  # as a ball query pads
    few = sizes[0] * sizes[2] * sizes[3] < 60
    for fused, plain in zip(
        outcome("fused", leaves, index, moments), outcome("plain", leaves, index, moments), strict=True
    ):
        bound = 1e-6 if few else 1e-10
        torch.testing.assert_close(fused, plain, rtol=bound, atol=bound * (1 + float(plain.abs().max())))


@pytest.mark.parametrize("running", [False, True])
def test_the_written_out_backward_passes_a_numerical_check(running):
    leaves, index, moments = case((2, 7, 4, 3, 4, 5, 2), 4, running=running)

    def value(*leaves):
        return perceive("fused", leaves, index, moments).value

    assert torch.autograd.gradcheck(value, [leaf.requires_grad_() for leaf in leaves])
