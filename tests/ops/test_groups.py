"""The perceptron over groups: textbook layers, and the form that never stores a member."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import one_hot

from ogreid.ops import Moments, Norm, group_members
from operation_cases import assert_forms_agree, group_case, outcome, perceive

SMALL = (2, 20, 5, 4, 6, 7, 2)


def sizes_between(*ends):
    return st.tuples(*(st.integers(*pair) for pair in ends))


ANY = sizes_between((1, 3), (1, 40), (1, 20), (1, 19), (1, 37), (1, 45), (1, 5))
SEEDS = st.integers(0, 2**16)


def bound_of(sizes, few):
    """Moments of few rows divide rounding by rounding."""
    return 1e-6 if sizes[0] * sizes[2] * sizes[3] < few else 1e-10


@pytest.mark.parametrize("gated", [False, True])
def test_the_plain_form_is_a_stack_of_textbook_layers(gated):
    leaves, index, moments = group_case(SMALL, gated=gated)
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = leaves
    members = torch.stack([points[b][index[b]] - centers[b].unsqueeze(1) for b in range(2)]).permute(0, 3, 1, 2)
    first, second = nn.BatchNorm2d(6).double(), nn.BatchNorm2d(7).double()
    for norm, (a, b) in zip((first, second), ((scale, shift), (outer_scale, outer_shift)), strict=True):
        norm.load_state_dict({**norm.state_dict(), "weight": a, "bias": b})
    rows = first(members)  # (B, C, M, S), as the released code lays it out
    if gated:
        reduce, reduce_bias, expand, expand_bias = gate
        hidden = nn.functional.conv2d(rows, reduce[:, :, None, None], reduce_bias)
        rows = rows * nn.functional.conv2d(nn.functional.silu(hidden), expand[:, :, None, None], expand_bias).sigmoid()
    expected = second(nn.functional.conv2d(rows, weight[:, :, None, None])).relu().amax(3).transpose(1, 2)
    torch.testing.assert_close(perceive("plain", leaves, index, moments).value, expected)


@settings(max_examples=40, deadline=None)
@given(sizes=ANY, gated=st.booleans(), running=st.booleans(), seed=SEEDS)
def test_both_forms_agree_in_double_precision(sizes, gated, running, seed):
    assert_forms_agree(perceive, group_case(sizes, seed, gated=gated, running=running), bound_of(sizes, 30))


@settings(max_examples=25, deadline=None)
@given(sizes=ANY, gated=st.booleans(), running=st.booleans(), seed=SEEDS)
def test_balls_that_are_not_full_count_their_first_member_as_often_as_it_is_repeated(sizes, gated, running, seed):
    leaves, index, moments = group_case(sizes, seed, gated=gated, running=running)
    full = torch.randint(1, sizes[3] + 1, index.shape[:2], generator=torch.Generator().manual_seed(seed))
    index = torch.where(torch.arange(sizes[3]) < full.unsqueeze(2), index, index[..., :1])  # as a ball query pads
    assert_forms_agree(perceive, (leaves, index, moments), bound_of(sizes, 60))


@settings(max_examples=10, deadline=None)
@given(sizes=sizes_between((2, 3), (8, 40), (10, 20), (8, 19), (8, 37), (8, 45), (1, 5)), seed=SEEDS)
def test_values_and_moments_agree_in_single_precision_over_random_shapes(sizes, seed):
    assert_forms_agree(perceive, group_case(sizes, seed, dtype=torch.float32), 1e-5, part=slice(5))


def clearly_decided(leaves, index, moments):
    """Which results (B, M, D) rounding cannot move to another member, nor over the ReLU's edge; in double precision."""
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = [leaf.double() for leaf in leaves]
    inner, outer = (moment and Moments(*(part.double() for part in moment)) for moment in moments)
    rows = group_members(points, centers, index, Norm(scale, shift, inner)).value
    if gate:
        reduce, reduce_bias, expand, expand_bias = gate
        rows = rows * (nn.functional.silu(rows @ reduce.T + reduce_bias) @ expand.T + expand_bias).sigmoid()
    first, second = Norm(outer_scale, outer_shift, outer).rows(rows @ weight.T).value.topk(2, 2).values.unbind(2)
    return (first - second > 1e-3) & (first.abs() > 1e-3)


@settings(max_examples=20, deadline=None)
@given(
    sizes=sizes_between((2, 3), (20, 60), (10, 20), (2, 19), (8, 37), (8, 45), (1, 5)),
    gated=st.booleans(),
    running=st.booleans(),
    seed=SEEDS,
)
def test_gradients_agree_in_single_precision_over_random_shapes(sizes, gated, running, seed):
    """Of the results whose member is beyond doubt: where rounding decides which is the largest, a gradient jumps."""
    leaves, _, moments = group_case(sizes, seed, gated=gated, running=running, dtype=torch.float32)
    batch, points, groups, members = sizes[:4]
    order = torch.rand(batch, groups, points, generator=torch.Generator().manual_seed(seed))
    inputs = leaves, order.argsort(2)[..., :members], moments  # nobody twice
    mask = clearly_decided(*inputs)
    assert mask.double().mean() > 0.5
    largest = max(float(one.abs().max()) for one in outcome(perceive, "plain", *inputs, mask=mask)[5:])
    assert_forms_agree(perceive, inputs, 1e-5, largest, mask, slice(5, None))


def test_a_scale_of_zero_leaves_the_shift():
    leaves, index, moments = group_case(SMALL, 2)
    leaves[2], leaves[-2] = torch.zeros_like(leaves[2]), torch.zeros_like(leaves[-2])
    assert_forms_agree(perceive, (leaves, index, moments), 1e-7)


@pytest.mark.parametrize("running", [False, True])
def test_the_written_out_backward_passes_a_numerical_check(running):
    leaves, index, moments = group_case((2, 7, 4, 3, 4, 5, 2), 4, running=running)
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *leaves: perceive("fused", leaves, index, moments).value, leaves)


@settings(max_examples=40, deadline=None)
@given(copies=st.integers(2, 5), kinds=st.integers(3, 9), members=st.integers(2, 9), seed=SEEDS)
def test_among_equal_members_both_forms_send_the_gradient_to_the_first(copies, kinds, members, seed):
    """In numbers that no sum or product rounds: else equal rows may come out of a form unequal."""
    points = copies * kinds
    leaves, index, _ = group_case((2, points, 11, members, 6, 7, 2), seed, gated=False)
    leaves = [(4 * leaf).round() / 4 for leaf in leaves]
    leaves[0] = leaves[0][:, torch.arange(points) % kinds]
    scale = torch.tensor([2.0, -2.0, 1.0, 0.5, -1.0, 4.0, -0.5], dtype=torch.float64)
    leaves[2], leaves[5] = scale[:6], scale  # of both norms
    leaves[4] = one_hot(torch.arange(7) % 6, 6).double()  # the weight
    ones = torch.ones(7, dtype=torch.float64) - 1e-5  # plus the norm's epsilon
    moments = [Moments(0 * ones[:count], ones[:count]) for count in (6, 7)]
    assert_forms_agree(perceive, (leaves, index, moments), 1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_and_is_computed_in_single_precision(dtype):
    leaves, index, moments = group_case((2, 40, 8, 6, 9, 7, 2), dtype=torch.float32)
    half = [leaf.to(dtype) for leaf in leaves[:2]]
    narrow = perceive("fused", [*half, *leaves[2:]], index, moments).value
    wide = perceive("fused", [*(leaf.float() for leaf in half), *leaves[2:]], index, moments).value
    assert narrow.dtype == dtype
    torch.testing.assert_close(narrow, wide.to(dtype))
