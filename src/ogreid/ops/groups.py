"""A perceptron over the members of groups, without the tensors that need not exist."""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ogreid.ops.backends import choose_backend, outside_graphs
from ogreid.ops.norms import Moments, Norm, Normalized
from ogreid.ops.sampling import gather_points

__all__ = ["GateWeights", "Perceived", "group_max", "group_members", "group_perceptron"]


class GateWeights(NamedTuple):
    """A point-wise gate ``x * sigmoid(expand(swish(reduce(x))))``: (H, C), (H,), (C, H), (C,)."""

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor


class Perceived(NamedTuple):
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
) -> Perceived:
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
    form = choose_backend("group perceptron", backend, points, ("plain", "fused"), triton=points.dtype != torch.float64)
    if form == "fused":
        return _group_perceptron_fused(points, centers, index, inner, gate, weight, outer)
    members = group_members(points, centers, index, inner)
    passed = members.value if gate is None else _pass_gate(members.value, gate)
    result = group_max(passed, weight, outer)
    return Perceived(result.value, members.moments, result.moments)


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
    points: Tensor,
    centers: Tensor,
    index: Tensor,
    inner: Norm,
    gate: GateWeights | None,
    weight: Tensor,
    outer: Norm,
) -> Perceived:
    """Half precision is computed in float32 and given back as it came."""
    kind = points.dtype
    wide = torch.float64 if kind == torch.float64 else torch.float32
    given = (points, centers, inner.scale, inner.shift, *(gate or ()), weight, outer.scale, outer.shift)
    tensors = [tensor.to(wide).contiguous() for tensor in given]
    function: Any = _GroupPerceptron.apply  # untyped in torch
    value, *found = function(index.contiguous(), inner, outer, *tensors)
    return Perceived(value.to(kind), Moments(*found[:2]), Moments(*found[2:]))


def _batch_moments(norm: Norm, sums: Tensor, squares: Tensor, rows: int, kind: torch.dtype) -> Moments:
    (sums, squares), count = norm.pooled(torch.stack([sums, squares]), rows)
    mean = sums / count
    return Moments(mean.to(kind), (squares / count - mean.square()).clamp_min(0).to(kind))


def _fixed(norm: Norm) -> Moments | None:
    return norm.moments and Moments(*(moment.detach() for moment in norm.moments))


def _factor(scale: Tensor, variance: Tensor, eps: float) -> Tensor:
    return scale.double() * torch.rsqrt(variance.double() + eps)


def _engine(tensor: Tensor) -> ModuleType:
    """The passes of the device: numba's on the CPU, Triton's on CUDA."""
    if tensor.is_cuda:
        from ogreid.ops.kernels import groups_triton

        return groups_triton
    from ogreid.ops.kernels import groups_numba

    return groups_numba


class _GroupPerceptron(torch.autograd.Function):
    """The fused form with its backward written out.

    Forward: the maximum is taken before the outer normalization (the smallest where its scale is negative: the sign is
    folded into ``weight``); the outer moments follow from the second moment ``X2`` of what passed the gate, since
    ``v = W x`` has the mean ``W mean(x)`` and the second moment ``diag(W X2 W^T)``.

    Backward: with ``g = scale / sqrt(variance + eps)`` and ``h = g d`` the gradient of the largest ``v``, that of any
    ``v`` is ``[largest] h + A + B (v - mean)``. So that of ``x`` is the sum of ``h W`` over the results where x is the
    largest (one member for each result, not S), plus ``x (W^T B W) + (A - B mean) W``: one product of width C, not D;
    and that of ``W`` needs ``X2`` and the largest members only. Members are worked out again, not stored.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        index: Tensor,
        inner_norm: Norm,
        outer_norm: Norm,
        points: Tensor,
        centers: Tensor,
        scale: Tensor,
        shift: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        passes = _engine(points)
        *gate, weight, outer_scale, outer_shift = rest
        kind, rows = points.dtype, index.numel()
        ctx.norms = inner_norm, outer_norm
        inner = _fixed(inner_norm)
        if inner is None:
            sums, squares = passes.sum_of_members(points, centers, index)
            inner = _batch_moments(inner_norm, sums, squares, rows, kind)
        factor = _factor(scale, inner.variance, inner_norm.eps)
        affine = torch.stack([factor, shift - factor * inner.mean]).to(kind)
        sign = torch.where(outer_scale < 0, -1.0, 1.0).to(kind)
        signed = (weight * sign.unsqueeze(1)).T
        most, slot, second, first = passes.forward(
            points, centers, index, affine, gate, signed, outer_norm.moments is None
        )
        wide, outer = weight.double(), _fixed(outer_norm)
        mapped = wide @ second if outer is None else torch.zeros_like(wide)  # W X2, for the variance and W's gradient
        outer = outer or _batch_moments(outer_norm, wide @ first, (mapped * wide).sum(1), rows, kind)
        factor = _factor(outer_scale, outer.variance, outer_norm.eps)
        value = torch.addcmul(outer_shift - factor * outer.mean, most, factor * sign).to(kind).relu_()
        ctx.save_for_backward(
            index,
            points,
            centers,
            scale,
            *gate,
            weight,
            outer_scale,
            affine,
            *inner,
            *outer,
            most,
            slot,
            mapped,
            first,
            value,
        )
        ctx.mark_non_differentiable(*inner, *outer)
        return value, *inner, *outer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: object) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        index, points, centers, scale, *gate, weight, outer_scale, affine = ctx.saved_tensors[:-9]
        passes = _engine(points)
        inner, outer = Moments(*ctx.saved_tensors[-9:-7]), Moments(*ctx.saved_tensors[-7:-5])
        most, slot, mapped, first, value = ctx.saved_tensors[-5:]
        kind, rows, wide = points.dtype, index.numel(), weight.double()
        inner_norm, outer_norm = ctx.norms

        arriving = (gradient * (value > 0)).flatten(0, 1)  # (B M, D), of the outer normalization's output
        sign = torch.where(outer_scale < 0, -1.0, 1.0)
        alone = arriving.sum(0, dtype=torch.float64)
        spread = sign * (arriving * most.flatten(0, 1)).sum(0, dtype=torch.float64) - outer.mean * alone
        inverse = torch.rsqrt(outer.variance.double() + outer_norm.eps)
        factor = outer_scale.double() * inverse
        slope = constant = torch.zeros_like(factor)
        if outer_norm.moments is None:
            (everyone, leaning), count = outer_norm.pooled(torch.stack([alone, spread]), rows)
            slope = -factor * inverse.square() * leaning / count
            constant = -factor * everyone / count - slope * outer.mean
        to_largest = (arriving * factor.to(kind)).view_as(most)
        found = passes.backward(
            (points, centers, index, affine, gate),
            weight,
            weight.T @ (slope.to(kind).unsqueeze(1) * weight),
            (constant @ wide).to(kind),
            (to_largest, slot),
        )
        to_weight = found.weight + torch.outer(constant, first) + slope.unsqueeze(1) * mapped

        inner_inverse = torch.rsqrt(inner.variance.double() + inner_norm.eps)
        inner_factor = scale.double() * inner_inverse
        inner_spread = found.sums[1] - inner.mean * found.sums[0]
        if inner_norm.moments is None:
            (everyone, leaning), count = inner_norm.pooled(torch.stack([found.sums[0], inner_spread]), rows)
            slope = -inner_factor * inner_inverse.square() * leaning / count
            constant = -inner_factor * everyone / count - slope * inner.mean
            passes.spread(points, index, found, torch.stack([constant, slope]).to(kind))
        return (
            *(None, None, None),
            *(found.points, found.centers, (inner_inverse * inner_spread).to(kind), found.sums[0].to(kind)),
            *(part.to(kind) for part in found.gate),
            *(to_weight.to(kind), (inverse * spread).to(kind), alone.to(kind)),
        )
