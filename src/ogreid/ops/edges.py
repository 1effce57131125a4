"""Gather-and-blend over the edges of a graph: BatchNorm over all edges, then max and mean over the neighbors."""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ogreid.ops.backends import choose_backend, outside_graphs
from ogreid.ops.kernels.gathered import Gathered
from ogreid.ops.norms import Moments, Norm
from ogreid.ops.sampling import gather_points

__all__ = ["Blended", "edge_blend"]


class Blended(NamedTuple):
    """``value`` (B, N, C) and the ``moments`` it was normalized by (detached)."""

    value: Tensor
    moments: Moments


def edge_blend(
    source: Float[Tensor, "B N C"],
    center: Float[Tensor, "B N C"],
    graph: Int[Tensor, "B N k"],
    norm: Norm,
    weight: Float[Tensor, ""],
    *,
    backend: str = "auto",
) -> Blended:
    """Normalize the edges ``y_ij = source_j + center_i`` and blend each point's k edges into one row.

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
    form = choose_backend("edge blend", backend, source, ("plain", "fused"), triton=True)
    blend = _edge_blend_fused if form == "fused" else _edge_blend_plain
    return blend(source, center, graph, norm, weight)


def _edge_blend_plain(source: Tensor, center: Tensor, graph: Tensor, norm: Norm, weight: Tensor) -> Blended:
    edges = gather_points(source, graph) + center.unsqueeze(2)  # (B, N, k, C)
    normal = norm.rows(edges)
    # Not `amax`, which shares a gradient among equals: the published code gives it to the first of them.
    return Blended(torch.lerp(normal.value.mean(2), normal.value.max(2).values, weight), normal.moments)


@outside_graphs
def _edge_blend_fused(source: Tensor, center: Tensor, graph: Tensor, norm: Norm, weight: Tensor) -> Blended:
    """Half precision is computed in float32 and given back as it came."""
    kind = source.dtype
    wide = torch.float64 if kind == torch.float64 else torch.float32
    tensors = [tensor.to(wide).contiguous() for tensor in (source, center, norm.scale, norm.shift, weight)]
    function: Any = _EdgeBlend.apply  # untyped in torch
    value, mean, variance = function(*tensors, graph.contiguous(), norm)
    return Blended(value.to(kind), Moments(mean, variance))


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
    def forward(
        ctx: Any,  # noqa: ANN401
        source: Tensor,
        center: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        graph: Tensor,
        norm: Norm,
    ) -> tuple[Tensor, Tensor, Tensor]:
        saved, sums = _engine(source).gather(source, center, graph, _sign(scale).to(source.dtype))
        ctx.norm = norm
        if norm.moments is None:
            sums, edges = norm.pooled(sums, graph.numel())
            middle = sums[0] / edges
            mean = middle.to(source.dtype)
            variance = (sums[1] / edges - middle.square()).clamp_min(0).to(source.dtype)
        else:
            mean, variance = (moment.detach() for moment in norm.moments)
        ctx.save_for_backward(source, center, scale, weight, graph, mean, variance, *saved)
        ctx.mark_non_differentiable(mean, variance)
        factor = scale.double() * torch.rsqrt(variance.double() + norm.eps)
        share_most, share_mean = _shares(scale, weight, graph.shape[2])
        terms = torch.stack([factor * share_most, factor * share_mean, factor, shift - factor * mean])
        return _engine(source).blend(saved, center, terms.to(source.dtype)), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: object) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        source, center, scale, weight, graph, mean, variance, *rest = ctx.saved_tensors
        saved, gradient, engine = Gathered(*rest), gradient.contiguous(), _engine(gradient)
        sums = engine.sum_gradients(gradient, saved, center)
        inverse = torch.rsqrt(variance.double() + ctx.norm.eps)
        factor = scale.double() * inverse
        share_most, share_mean = _shares(scale, weight, graph.shape[2])
        spread = share_most * sums[1] + share_mean * sums[2] + sums[3] - mean * sums[0]  # sum d (u - mean)
        to_weight = (factor * (_sign(scale) * sums[1] - sums[2] / graph.shape[2])).sum()
        slope = constant = torch.zeros_like(factor)
        if ctx.norm.moments is None:
            (alone, leaning), edges = ctx.norm.pooled(torch.stack([sums[0], spread]), graph.numel())
            slope = -factor * inverse.square() * leaning / edges
            constant = -factor * alone / edges - slope * mean
        terms = torch.stack([factor * weight, factor * share_mean, factor, constant, slope]).to(source.dtype)
        to_source, to_center = engine.scatter(gradient, source, center, graph, saved, terms)
        to_scale, to_shift = (inverse * spread).to(scale.dtype), sums[0].to(scale.dtype)
        return to_source, to_center, to_scale, to_shift, to_weight.to(weight.dtype), None, None


def _sign(scale: Tensor) -> Tensor:
    """BatchNorm with a negative scale turns the largest into the smallest."""
    return torch.where(scale < 0, -1.0, 1.0).double()


def _shares(scale: Tensor, weight: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What the blend takes of the signed maximum (C,), and of the sum."""
    share_mean = (1 - weight.double()) / k
    return _sign(scale) * weight, share_mean.expand(len(scale))


def _engine(tensor: Tensor) -> ModuleType:
    """The kernels of the device: numba's on the CPU, Triton's on CUDA."""
    if tensor.is_cuda:
        from ogreid.ops.kernels import edges_triton

        return edges_triton
    from ogreid.ops.kernels import edges_numba

    return edges_numba
