"""Passes over every group of a batch: the compiled loops of `group_loops`, shared over threads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ogreid.ops.kernels.edges_numba import degrees
from ogreid.ops.kernels.group_loops import group_backward, group_forward, spread_moments, sum_members
from ogreid.ops.kernels.threads import runs_of_rows, share

__all__ = ["Found", "backward", "forward", "spread", "sum_of_members"]


class Found(NamedTuple):
    """Gradients of one backward pass; parameters in double precision."""

    points: Tensor
    centers: Tensor
    weight: Tensor
    gate: tuple[Tensor, ...]
    sums: Tensor  # (2, C), of the normal members, alone and times the raw member
    around: Tensor  # (B, N, C), sum of the centers of each point
    summed: Tensor  # (B, M, C), sum of the raw members of each group


def _gate_arrays(gate: Sequence[Tensor], channels: int, kind: torch.dtype) -> tuple[np.ndarray, ...]:
    """The gate as the kernels take it: ``expand`` with channels last and its bias below; empty without a gate."""
    if not gate:
        none = np.empty((0, channels), torch.empty(0, dtype=kind).numpy().dtype)
        return none, none[:, 0].copy(), none
    reduce, reduce_bias, expand, expand_bias = gate
    return reduce.numpy(), reduce_bias.numpy(), torch.cat([expand.T, expand_bias.unsqueeze(0)]).numpy()


def sum_of_members(points: Tensor, centers: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and sum of squares (C,) of all raw members, in double precision."""
    runs = runs_of_rows(len(index), index.shape[1], length=128)
    sums = torch.empty(len(runs), 2, points.shape[2], dtype=torch.float64)
    p, q, members, parts = points.numpy(), centers.numpy(), index.numpy(), sums.numpy()

    def add(run: int) -> None:
        cloud, start, stop = runs[run]
        sum_members(p[cloud], q[cloud], members[cloud], start, stop, parts[run])

    share(add, len(runs))
    first, second = sums.sum(0)
    return first, second


def forward(
    points: Tensor,
    centers: Tensor,
    index: Tensor,
    affine: Tensor,
    gate: Sequence[Tensor],
    weight: Tensor,
    counted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Largest results and their members (B, M, D); second (C, C) and first (C,) moments of what passed the gate.

    ``affine`` (2, C) normalizes the members; ``weight`` (C, D) is signed; moments are 0 unless ``counted``.
    """
    channels, results = weight.shape
    runs = runs_of_rows(len(index), index.shape[1], length=128)
    most = points.new_empty(*index.shape[:2], results)
    slot = torch.empty_like(most, dtype=torch.uint8 if index.shape[2] <= 256 else torch.int32)
    second = torch.empty(len(runs), channels, channels, dtype=torch.float64)
    first = torch.empty(len(runs), channels, dtype=torch.float64)
    p, q, members, best, where = (tensor.numpy() for tensor in (points, centers, index, most, slot))
    doors, maps, squares, sums = (
        _gate_arrays(gate, channels, points.dtype),
        weight.contiguous().numpy(),
        second.numpy(),
        first.numpy(),
    )
    factor, shift = affine.numpy()

    def group(run: int) -> None:
        cloud, start, stop = runs[run]
        inputs = (p[cloud], q[cloud], members[cloud], factor, shift, doors, maps, counted, start, stop)
        group_forward(*inputs, best[cloud], where[cloud], squares[run], sums[run])

    share(group, len(runs))
    upper = second.sum(0).triu()
    return most, slot, upper + upper.triu(1).T, first.sum(0)


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Sequence[Tensor]],
    weight: Tensor,
    kernel: Tensor,
    constant: Tensor,
    arriving: tuple[Tensor, Tensor],
) -> Found:
    """Every gradient but what the inner moments send; see :func:`ogreid.ops.kernels.group_loops.group_backward`."""
    points, centers, index, affine, gate = inputs
    batch, channels = len(points), points.shape[2]
    doors = _gate_arrays(gate, channels, points.dtype)
    shapes = [points.shape[1:], points.shape[1:], centers.shape[1:], centers.shape[1:], weight.shape]
    shapes += [torch.Size(door.shape) for door in doors] + [torch.Size((2, channels))]
    outputs = [points.new_empty(batch, *shape) for shape in shapes]
    p, q, members, h, where = (tensor.numpy() for tensor in (points, centers, index, *arriving))
    w, k, c, filled = weight.numpy(), kernel.numpy(), constant.numpy(), [output.numpy() for output in outputs]
    factor, shift = affine.numpy()

    def cloud(b: int) -> None:
        given = (p[b], q[b], members[b], factor, shift, doors, w, k, c, h[b], where[b])
        group_backward(*given, tuple(array[b] for array in filled))

    share(cloud, batch)
    to_points, around, to_centers, summed = outputs[:4]
    to_weight, reduce, reduce_bias, expand, sums = (part.sum(0).double() for part in outputs[4:])
    # Copied, because a column turned over counts as contiguous, and DDP warns of strides other than the parameter's.
    turned = expand[:-1].T.clone(memory_format=torch.contiguous_format)
    to_gate = (reduce, reduce_bias, turned, expand[-1]) if gate else ()
    return Found(to_points, to_centers, to_weight, to_gate, sums, around, summed)


def spread(points: Tensor, index: Tensor, found: Found, terms: Tensor) -> None:
    """Add to the gradients of points and centers what the inner moments send; ``terms`` (2, C)."""
    degree = torch.empty(points.shape[:2], dtype=torch.int32)
    arrays = (points, degree, found.around, found.summed, found.points, found.centers, index)
    p, times, around, summed, to_points, to_centers, members = (tensor.numpy() for tensor in arrays)
    constant, slope = terms.numpy()

    def cloud(b: int) -> None:
        degrees(members[b], times[b])
        given = (p[b], times[b], around[b], summed[b], constant, slope, index.shape[2])
        spread_moments(*given, to_points[b], to_centers[b])

    share(cloud, len(points))
