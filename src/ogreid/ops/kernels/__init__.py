"""Kernels of the fused forms, nothing else: ``*_numba`` for a CPU, ``*_triton`` for CUDA, with the same functions."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor


class EdgeExtremes(NamedTuple):
    """Of each point's k edges, what normalization and the backward need; (B, N, C) unless said."""

    most: Tensor  # sign * the largest edge's source
    total: Tensor  # sum of the sources
    slot: Tensor  # which of the k edges is the largest
    degree: Tensor  # (B, N) int32, how often a point is a neighbor


class Members(NamedTuple):
    """Members of groups: ``affine[0] (points_j - centers_m) + affine[1]``, through the gate where there is one."""

    points: Tensor  # (B, N, C)
    centers: Tensor  # (B, M, C)
    indices: Tensor  # (B, M, S)
    affine: Tensor  # (2, C)
    gate: Sequence[Tensor]  # empty, or the four of `GateWeights`


class MemberGradients(NamedTuple):
    """Gradients of one backward pass; of parameters in double precision."""

    points: Tensor
    centers: Tensor
    weight: Tensor
    gate: tuple[Tensor, ...]
    sums: Tensor  # (2, C), of the normalized members, alone and times the raw member
    around: Tensor  # (B, N, C), sum of the centers of each point
    summed: Tensor  # (B, M, C), sum of the raw members of each group


def kernels_of(family: str, tensor: Tensor) -> ModuleType:
    """The kernels ``edges``, ``groups`` or ``points`` for the tensor's device."""
    return import_module(f"{__name__}.{family}_{'triton' if tensor.is_cuda else 'numba'}")


def degrees(index: Tensor, points: int) -> Tensor:
    """How often each of the ``points`` occurs in each cloud of ``index`` (B, ...): (B, N) int32."""
    flat = index.flatten(1)
    none = torch.zeros(len(flat), points, dtype=torch.int32, device=flat.device)
    return none.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.int32))


def empty_slots(like: Tensor, members: int) -> Tensor:
    """For each value of ``like``, which of so many members."""
    return torch.empty_like(like, dtype=torch.uint8 if members <= 256 else torch.int32)
