"""A perceptron over the members of groups, without the tensors that need not exist."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ogreid.ops.backends import choose_backend
from ogreid.ops.edges import Moments
from ogreid.ops.sampling import gather_points

__all__ = ["Grouped", "group_max", "group_members"]


class Grouped(NamedTuple):
    """``value`` and the ``moments`` it was normalised by (detached)."""

    value: Tensor
    moments: Moments


def group_members(
    points: Float[Tensor, "B N C"],
    centres: Float[Tensor, "B M C"],
    index: Int[Tensor, "B M S"],
    scale: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    *,
    moments: Moments | None = None,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Grouped:
    """The members of each group, relative to its centre and normalised: BatchNorm of ``points_j - centres_i``.

    Args:
        points: a linear map of each point.
        centres: the same map of each centre, where only its position counts.
        index: the S members of each of the M groups.
        scale: BatchNorm's scale.
        shift: BatchNorm's shift.
        moments: what to normalise by (evaluation); without them, the moments of these members (training).
        eps: added to the variance.
        backend: ``plain`` (the definition), ``fused`` or ``auto``.

    Returns:
        ``value`` (B, M, S, C).
    """
    choose_backend("group members", backend, points, ("plain",))
    return _group_members_plain(points, centres, index, scale, shift, moments, eps)


def group_max(
    members: Float[Tensor, "B M S C"],
    weight: Float[Tensor, "D C"],
    scale: Float[Tensor, " D"],
    shift: Float[Tensor, " D"],
    *,
    moments: Moments | None = None,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Grouped:
    """One row for each group: ``relu(max_s BatchNorm(weight members_s))``.

    Args:
        members: of each group.
        weight: a linear map without bias.
        scale: BatchNorm's scale, of either sign.
        shift: BatchNorm's shift.
        moments: what to normalise by (evaluation); without them, the moments of the mapped members (training).
        eps: added to the variance.
        backend: ``plain`` (the definition), ``fused`` or ``auto``.

    Returns:
        ``value`` (B, M, D).
    """
    choose_backend("group maximum", backend, members, ("plain",))
    return _group_max_plain(members, weight, scale, shift, moments, eps)


def _group_members_plain(
    points: Tensor,
    centres: Tensor,
    index: Tensor,
    scale: Tensor,
    shift: Tensor,
    moments: Moments | None,
    eps: float,
) -> Grouped:
    members = gather_points(points, index) - centres.unsqueeze(2)  # (B, M, S, C)
    return _normalise(members, scale, shift, moments, eps)


def _group_max_plain(
    members: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, moments: Moments | None, eps: float
) -> Grouped:
    mapped = torch.nn.functional.linear(members, weight)  # (B, M, S, D)
    normal = _normalise(mapped, scale, shift, moments, eps)
    return Grouped(normal.value.amax(2).relu(), normal.moments)


def _normalise(rows: Tensor, scale: Tensor, shift: Tensor, moments: Moments | None, eps: float) -> Grouped:
    if moments is None:
        variance, mean = torch.var_mean(rows, tuple(range(rows.dim() - 1)), correction=0)
    else:
        mean, variance = moments
    factor = scale * torch.rsqrt(variance + eps)
    return Grouped((rows - mean) * factor + shift, Moments(mean.detach(), variance.detach()))
