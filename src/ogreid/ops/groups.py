"""A perceptron over the members of groups, without the tensors that need not exist."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ogreid.ops.backends import choose_backend, outside_graphs
from ogreid.ops.kernels import Members, kernels_of
from ogreid.ops.norms import Moments, Norm, Normalized
from ogreid.ops.points import gather_points


class GateWeights(NamedTuple):
    """A point-wise gate ``x * sigmoid(expand(swish(reduce(x))))``: (H, C), (H,), (C, H), (C,)."""

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor


class PerceptronOutput(NamedTuple):
    """``value`` (B, M, D), and the moments of both normalizations (detached)."""

    value: Tensor
    inner: Moments
    outer: Moments


def group_perceptron(
    points: Float[Tensor, "B N C"],
    centers: Float[Tensor, "B M C"],
    index: Int[Tensor, "B M S"],
    inner: Norm,
    gate: GateWeights | None,
    weight: Float[Tensor, "D C"],
    outer: Norm,
    *,
    backend: str = "auto",
) -> PerceptronOutput:
    """A two-layer perceptron over the members of each group, then the maximum and a ReLU.

    :func:`group_members`, the gate, :func:`group_max`, one after another: that is the definition. The first layer was
    applied to points and centers before. The fused form keeps a few groups at a time in the cache: no tensor of members
    exists in either direction; and a member that only fills up a ball is worked out once.

    Args:
        points: the first layer's map of each point.
        centers: the same map of each center, where only its position counts.
        index: the S members of each of the M groups.
        inner: normalizes the first layer.
        gate: between the layers, or None.
        weight: of the second layer.
        outer: normalizes the second layer.
        backend: ``plain``, ``fused`` or ``auto``.
    """
    form = choose_backend("group perceptron", backend, points, triton=points.dtype != torch.float64)
    if form == "fused":
        return _group_perceptron_fused(points, centers, index, inner, gate, weight, outer)
    members = group_members(points, centers, index, inner)
    passed = members.value if gate is None else _pass_gate(members.value, gate)
    result = group_max(passed, weight, outer)
    return PerceptronOutput(result.value, members.moments, result.moments)


def group_members(
    points: Float[Tensor, "B N C"], centers: Float[Tensor, "B M C"], index: Int[Tensor, "B M S"], norm: Norm
) -> Normalized:
    """The members of each group, relative to its center and normalized: (B, M, S, C)."""
    return norm.rows(gather_points(points, index) - centers.unsqueeze(2))


def group_max(members: Float[Tensor, "B M S C"], weight: Float[Tensor, "D C"], norm: Norm) -> Normalized:
    """One row for each group, ``relu(max_s norm(weight members_s))``: (B, M, D)."""
    normal = norm.rows(functional.linear(members, weight))
    return Normalized(normal.value.max(2).values.relu(), normal.moments)


def _pass_gate(rows: Tensor, gate: GateWeights) -> Tensor:
    hidden = functional.silu(functional.linear(rows, gate.reduce, gate.reduce_bias))
    return rows * functional.linear(hidden, gate.expand, gate.expand_bias).sigmoid()


@outside_graphs
def _group_perceptron_fused(
    points: Tensor, centers: Tensor, index: Tensor, inner: Norm, gate: GateWeights | None, weight: Tensor, outer: Norm
) -> PerceptronOutput:
    """Half precision is computed in float32 and returned as half."""
    wide = torch.float64 if points.dtype == torch.float64 else torch.float32
    inputs = (points, centers, inner.scale, inner.shift, *(gate or ()), weight, outer.scale, outer.shift)
    function: Any = _GroupPerceptron.apply  # untyped in torch
    value, *moments = function(index.contiguous(), inner, outer, *(tensor.to(wide).contiguous() for tensor in inputs))
    return PerceptronOutput(value.to(points.dtype), Moments(*moments[:2]), Moments(*moments[2:]))


class _GroupPerceptron(torch.autograd.Function):
    """The fused form with its backward written out.

    Forward: the maximum is taken before the outer normalization (the smallest where its scale is negative: the sign is
    folded into ``weight``); the outer moments follow from the second moment ``X2`` of what passed the gate, since
    ``v = W x`` has the mean ``W mean(x)`` and the second moment ``diag(W X2 W^T)``.

    Backward: with ``g = scale / sqrt(variance + eps)`` and ``h = g d`` the gradient of the largest ``v``, that of any
    ``v`` is ``[largest] h + A + B (v - mean)``. So that of ``x`` is the sum of ``h W`` over the results where x is the
    largest (one member for each result, not S), plus ``x (W^T B W) + (A - B mean) W``: one product of width C, not D;
    and that of ``W`` needs ``X2`` and the largest members only. Members are computed again, not stored.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        index, inner_norm, outer_norm, points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = inputs
        kernels, kind, rows = kernels_of("groups", points), points.dtype, index.numel()
        inner, outer = inner_norm.detached_moments(), outer_norm.detached_moments()
        inner = inner or inner_norm.moments_of(kernels.sum_of_members(points, centers, index), rows, kind)
        factor = inner_norm.factor(scale, inner)
        affine = torch.stack([factor, shift - factor * inner.mean]).to(kind)
        sign = torch.where(outer_scale < 0, -1.0, 1.0).to(kind)
        members, signed = Members(points, centers, index, affine, gate), (weight * sign.unsqueeze(1)).T
        most, slot, second, first = kernels.forward(members, signed, outer is None)
        mapped = wide = weight.double()
        if outer is None:
            mapped = wide @ second  # W X2, for the variance and the gradient of W
            outer = outer_norm.moments_of(torch.stack([wide @ first, (mapped * wide).sum(1)]), rows, kind)
        factor = outer_norm.factor(outer_scale, outer)
        value = torch.addcmul(outer_shift - factor * outer.mean, most, factor * sign).to(kind).relu_()
        ctx.norms = inner_norm, outer_norm
        saved = most, slot, mapped, first, value, *inner, *outer
        ctx.save_for_backward(*saved, index, points, centers, scale, weight, outer_scale, affine, *gate)
        ctx.mark_non_differentiable(*inner, *outer)
        return value, *inner, *outer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: object) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        most, slot, mapped, first, value, *moments = ctx.saved_tensors[:9]
        index, points, centers, scale, weight, outer_scale, affine, *gate = ctx.saved_tensors[9:]
        kernels, kind, rows = kernels_of("groups", points), points.dtype, index.numel()
        (inner_norm, outer_norm), inner, outer = ctx.norms, Moments(*moments[:2]), Moments(*moments[2:])

        arriving = (gradient * (value > 0)).flatten(0, 1)  # (B M, D), of the outer normalization's output
        sign = torch.where(outer_scale < 0, -1.0, 1.0)
        alone = arriving.sum(0, dtype=torch.float64)
        spread = sign * (arriving * most.flatten(0, 1)).sum(0, dtype=torch.float64) - outer.mean * alone
        to_outer_scale, constant, slope = outer_norm.backward(outer_scale, outer, alone, spread, rows)
        kernel = weight.T @ (slope.to(kind).unsqueeze(1) * weight)
        to_largest = (arriving * outer_norm.factor(outer_scale, outer).to(kind)).view_as(most)
        members, sent = Members(points, centers, index, affine, gate), (constant @ weight.double()).to(kind)
        gradients = kernels.backward(members, weight, kernel, sent, to_largest, slot)
        to_weight = gradients.weight
        if outer_norm.moments is None:
            to_weight = to_weight + torch.outer(constant, first) + slope.unsqueeze(1) * mapped

        spread = gradients.sums[1] - inner.mean * gradients.sums[0]
        to_scale, constant, slope = inner_norm.backward(scale, inner, gradients.sums[0], spread, rows)
        if inner_norm.moments is None:
            kernels.spread(points, index, gradients, torch.stack([constant, slope]).to(kind))
        parameters = to_scale, gradients.sums[0], *gradients.gate, to_weight, to_outer_scale, alone
        return None, None, None, gradients.points, gradients.centers, *(part.to(kind) for part in parameters)
