"""Gather-and-blend over the edges of a graph: BatchNorm over all edges, then max and mean over the neighbours."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ogreid.ops.backends import choose_backend
from ogreid.ops.sampling import gather_points

__all__ = ["Blended", "Moments", "edge_blend"]


class Moments(NamedTuple):
    """Mean and biased variance of each channel: ``mean`` (C,), ``variance`` (C,)."""

    mean: Tensor
    variance: Tensor


class Blended(NamedTuple):
    """``value`` (B, N, C) and the ``moments`` it was normalised by (detached)."""

    value: Tensor
    moments: Moments


def edge_blend(
    source: Float[Tensor, "B N C"],
    centre: Float[Tensor, "B N C"],
    graph: Int[Tensor, "B N k"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    weight: Float[Tensor, ""],
    *,
    moments: Moments | None = None,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Blended:
    """Normalise the edges ``y_ij = source_j + centre_i`` and blend each point's k edges into one row.

    ``out_i = weight * max_j z_ij + (1 - weight) * mean_j z_ij`` with
    ``z = scale * (y - mean) / sqrt(variance + eps) + shift``.

    Args:
        source: what a point sends along its outgoing edges.
        centre: what a point adds to each of its incoming edges.
        graph: the k neighbours of each point.
        scale: BatchNorm's scale, of either sign.
        shift: BatchNorm's shift.
        weight: the share of the maximum, in [0, 1].
        moments: what to normalise by (evaluation); without them, the moments of these edges (training), through which
            the gradient flows.
        eps: added to the variance.
        backend: ``plain`` (edge tensors, the definition), ``fused`` or ``auto``.

    Source: Wang et al., Dynamic graph CNN, TOG 2019, equation 8; the edge-free form follows from the linearity of the
    convolution that made ``source`` and ``centre``.
    """
    form = choose_backend("edge blend", backend, source, ("plain",))
    return _edge_blend_plain(source, centre, graph, scale, shift, weight, moments, eps)


def _edge_blend_plain(
    source: Tensor,
    centre: Tensor,
    graph: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    moments: Moments | None,
    eps: float,
) -> Blended:
    edges = gather_points(source, graph) + centre.unsqueeze(2)  # (B, N, k, C)
    if moments is None:
        variance, mean = torch.var_mean(edges, (0, 1, 2), correction=0)
    else:
        mean, variance = moments
    normal = (edges - mean) * (scale * torch.rsqrt(variance + eps)) + shift
    value = torch.lerp(normal.mean(2), normal.amax(2), weight)
    return Blended(value, Moments(mean.detach(), variance.detach()))
