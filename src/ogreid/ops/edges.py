"""Gather-and-blend over the edges of a graph: BatchNorm over all edges, then max and mean over the neighbors."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ogreid.ops.backends import choose_backend, outside_graphs
from ogreid.ops.kernels import EdgeExtremes, kernels_of
from ogreid.ops.norms import Moments, Norm, Normalized
from ogreid.ops.points import gather_points


def edge_blend(
    source: Float[Tensor, "B N C"],
    center: Float[Tensor, "B N C"],
    graph: Int[Tensor, "B N k"],
    norm: Norm,
    weight: Float[Tensor, ""],
    *,
    backend: str = "auto",
) -> Normalized:
    """Normalize the edges ``y_ij = source_j + center_i`` and blend each point's k edges into one row (B, N, C).

    ``out_i = weight * max_j z_ij + (1 - weight) * mean_j z_ij`` with
    ``z = scale * (y - mean) / sqrt(variance + eps) + shift``.

    Args:
        source: what a point sends along its outgoing edges.
        center: what a point adds to each of its incoming edges.
        graph: the k neighbors of each point.
        norm: BatchNorm over all edges; its scale may have either sign.
        weight: the share of the maximum, in [0, 1].
        backend: ``plain`` (edge tensors, the definition), ``fused`` or ``auto``.

    Source: Wang et al., Dynamic graph CNN, TOG 2019, equation 8; the edge-free form follows from the linearity of the
    convolution that made ``source`` and ``center``.
    """
    form = choose_backend("edge blend", backend, source)
    blend = _edge_blend_fused if form == "fused" else _edge_blend_plain
    return blend(source, center, graph, norm, weight)


def _edge_blend_plain(source: Tensor, center: Tensor, graph: Tensor, norm: Norm, weight: Tensor) -> Normalized:
    edges = gather_points(source, graph) + center.unsqueeze(2)  # (B, N, k, C)
    rows, moments = norm.rows(edges)
    # Not `amax`, which shares a gradient among equals: the published code gives it to the first of them.
    return Normalized(torch.lerp(rows.mean(2), rows.max(2).values, weight), moments)


@outside_graphs
def _edge_blend_fused(source: Tensor, center: Tensor, graph: Tensor, norm: Norm, weight: Tensor) -> Normalized:
    """Half precision is computed in float32 and returned as half."""
    wide = torch.float64 if source.dtype == torch.float64 else torch.float32
    tensors = [tensor.to(wide).contiguous() for tensor in (source, center, norm.scale, norm.shift, weight)]
    function: Any = _EdgeBlend.apply  # untyped in torch
    value, *moments = function(*tensors, graph.contiguous(), norm)
    return Normalized(value.to(source.dtype), Moments(*moments))


class _EdgeBlend(torch.autograd.Function):
    """The edge-free form with its backward written out.

    With ``g = scale / sqrt(variance + eps)`` and ``u_i`` the blend of the edges ``y_ij = a_j + c_i`` before they are
    normalized, so that ``z = g (u - mean) + shift``, a gradient ``d`` of ``z`` reaches the edge ij of n as

        ``g d_i (w [j is the largest] + (1 - w) / k)``
        ``- g / n (sum d + (y_ij - mean) / (variance + eps) sum d (u - mean))``

    Summed over the edges of a point the second part needs the point's own values, its in-degree, and the sum of its
    neighbors; only the first part is scattered along edges.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        source, center, scale, shift, weight, graph, norm = inputs
        kernels, kind = kernels_of("edges", source), source.dtype
        extremes, sums = kernels.gather(source, center, graph, _sign(scale).to(kind))
        moments = norm.detached_moments() or norm.moments_of(sums, graph.numel(), kind)
        ctx.norm = norm
        ctx.save_for_backward(source, center, scale, weight, graph, *moments, *extremes)
        ctx.mark_non_differentiable(*moments)
        factor = norm.factor(scale, moments)
        share_most, share_mean = _shares(scale, weight, graph.shape[2])
        terms = torch.stack([factor * share_most, factor * share_mean, factor, shift - factor * moments.mean])
        return kernels.blend(extremes, center, terms.to(kind)), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: object) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source, center, scale, weight, graph, mean, variance, *rest = ctx.saved_tensors
        norm, moments, extremes = ctx.norm, Moments(mean, variance), EdgeExtremes(*rest)
        kernels, kind, gradient = kernels_of("edges", source), source.dtype, gradient.contiguous()
        sums = kernels.sum_gradients(gradient, extremes, center)
        factor = norm.factor(scale, moments)
        share_most, share_mean = _shares(scale, weight, graph.shape[2])
        spread = share_most * sums[1] + share_mean * sums[2] + sums[3] - mean * sums[0]  # sum d (u - mean)
        to_weight = (factor * (_sign(scale) * sums[1] - sums[2] / graph.shape[2])).sum()
        to_scale, constant, slope = norm.backward(scale, moments, sums[0], spread, graph.numel())
        terms = torch.stack([factor * weight, factor * share_mean, factor, constant, slope]).to(kind)
        to_source, to_center = kernels.scatter(gradient, source, center, graph, extremes, terms)
        return to_source, to_center, to_scale.to(kind), sums[0].to(kind), to_weight.to(kind), None, None


def _sign(scale: Tensor) -> Tensor:
    """BatchNorm with a negative scale turns the largest into the smallest."""
    return torch.where(scale < 0, -1.0, 1.0).double()


def _shares(scale: Tensor, weight: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What the blend takes of the signed maximum, and of the sum: both (C,)."""
    return _sign(scale) * weight, ((1 - weight.double()) / k).expand(len(scale))
