"""Passes over every group of a batch: the compiled loops of `group_loops`, shared over threads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ogreid.ops.kernels import MemberGradients, Members, degrees, empty_slots
from ogreid.ops.kernels.group_loops import group_backward, group_forward, spread_moments, sum_members
from ogreid.ops.kernels.threads import share_clouds, share_rows


def sum_of_members(points: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    """Sum and sum of squares of all raw members, (2, C) in double precision."""
    return share_rows(sum_members, index.shape, (points, centers, index), sums=(2, points.shape[2]), length=128)


def forward(members: Members, weight: Tensor, counted: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Largest results and their members (B, M, D); second (C, C) and first (C,) moments of what passed the gate.

    ``weight`` (C, D) is signed; moments are 0 unless ``counted``.
    """
    points, centers, index, affine, gate = members
    channels, results = weight.shape
    most = points.new_empty(*index.shape[:2], results)
    slot = empty_slots(most, index.shape[2])
    constants = *affine.numpy(), _gate_arrays(gate, affine), weight.contiguous().numpy(), counted
    tensors = points, centers, index, most, slot
    sums = share_rows(group_forward, index.shape, tensors, *constants, sums=(channels + 1, channels), length=128)
    upper = sums[:-1].triu()
    return most, slot, upper + upper.triu(1).T, sums[-1]


def backward(
    members: Members, weight: Tensor, kernel: Tensor, constant: Tensor, gradient: Tensor, slot: Tensor
) -> MemberGradients:
    """Every gradient but what the inner moments send; see :func:`ogreid.ops.kernels.group_loops.group_backward`."""
    points, centers, index, affine, gate = members
    arrays = _gate_arrays(gate, affine)
    shapes: list[Any] = [*2 * [points.shape[1:]], *2 * [centers.shape[1:]], weight.shape]
    shapes += [*(array.shape for array in arrays), affine.shape]
    outputs = [points.new_zeros(len(points), *shape) for shape in shapes]
    constants = *affine.numpy(), arrays, weight.numpy(), kernel.numpy(), constant.numpy()
    share_clouds(group_backward, (points, centers, index, gradient, slot, *outputs), *constants)
    to_points, around, to_centers, summed = outputs[:4]
    to_weight, reduce, reduce_bias, expand, sums = (part.sum(0).double() for part in outputs[4:])
    # Copied, because a transposed column counts as contiguous, and DDP warns of strides other than the parameter's.
    transposed = expand[:-1].T.clone(memory_format=torch.contiguous_format)
    to_gate = (reduce, reduce_bias, transposed, expand[-1]) if gate else ()
    return MemberGradients(to_points, to_centers, to_weight, to_gate, sums, around, summed)


def spread(points: Tensor, index: Tensor, gradients: MemberGradients, terms: Tensor) -> None:
    """Add to the gradients of points and centers what the inner moments send; ``terms`` (2, C)."""
    outputs = gradients.around, gradients.summed, gradients.points, gradients.centers
    share_clouds(spread_moments, (points, degrees(index, points.shape[1]), *outputs), *terms.numpy(), index.shape[2])


def _gate_arrays(gate: Sequence[Tensor], affine: Tensor) -> tuple[np.ndarray, ...]:
    """The gate as the loops take it: ``expand`` with channels last and its bias below; empty without a gate."""
    if not gate:
        none = affine[:0].numpy()
        return none, none[:, 0].copy(), none
    reduce, reduce_bias, expand, expand_bias = gate
    return reduce.numpy(), reduce_bias.numpy(), torch.cat([expand.T, expand_bias.unsqueeze(0)]).numpy()
