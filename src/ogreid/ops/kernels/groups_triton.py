"""Passes over every group of a batch, for CUDA; the same functions as :mod:`ogreid.ops.kernels.groups_numba`.

Nothing synchronizes with the host. Run so far by Triton's interpreter only, never on a GPU.
"""

# mypy: allow-untyped-calls

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from ogreid.ops.kernels import group_kernels_triton as kernels
from ogreid.ops.kernels.groups_numba import Found

__all__ = ["backward", "forward", "spread", "sum_of_members"]

ROWS = 32
"""Members handled by one program."""

LENGTH = 64
"""Groups over which one program adds up the gradient of the second map."""


def _power(count: int, least: int, most: int) -> int:
    """The power of two that holds ``count``, at least what a product on tensor cores needs."""
    return max(least, min(most, int(triton.next_power_of_2(count))))


def _precision() -> str:
    """Products follow torch's own setting: exact float32, or tf32 where that is allowed."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _shape(points: Tensor, index: Tensor) -> tuple[int, int, int, int, int]:
    """Rows, channels, points of a cloud, members of a group, groups of a cloud."""
    return index.numel(), points.shape[2], points.shape[1], index.shape[2], index.shape[1]


def _gate_tensors(gate: Sequence[Tensor], points: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """The gate as the kernels take it, ``expand`` with channels last and its bias below; and H, 0 without a gate."""
    if not gate:
        return points, points, points, 0  # never read
    reduce, reduce_bias, expand, expand_bias = gate
    return reduce, reduce_bias, torch.cat([expand.T, expand_bias.unsqueeze(0)]), len(reduce)


def _sums(points: Tensor, centers: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the raw members of each group, and of their squares: (B, M, C)."""
    shape = _shape(points, index)
    sums, squares = torch.empty_like(centers), torch.empty_like(centers)
    blocks = {"MEMBERS": _power(shape[3], 1, 1 << 20), "CHANNELS": _power(shape[1], 1, 1 << 20)}
    kernels.sum_kernel[(shape[0] // shape[3],)](points, centers, index, sums, squares, *shape, **blocks)
    return sums, squares


def sum_of_members(points: Tensor, centers: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and sum of squares (C,) of all raw members, in double precision."""
    first, second = (part.sum((0, 1), dtype=torch.float64) for part in _sums(points, centers, index))
    return first, second


def _open(
    points: Tensor, centers: Tensor, index: Tensor, affine: Tensor, gate: tuple[Tensor, Tensor, Tensor, int]
) -> Tensor:
    """What passes the gate: (R, C)."""
    shape, (*doors, hidden) = _shape(points, index), gate
    passed = points.new_empty(shape[0], shape[1])
    blocks = {"GATED": hidden > 0, "ROWS": ROWS, "CHANNELS": _power(shape[1], 1, 1 << 20)}
    kernels.open_kernel[(triton.cdiv(shape[0], ROWS),)](
        points, centers, index, affine, *doors, passed, *shape, hidden, **blocks
    )
    return passed


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
    members = index.shape[2]
    passed = _open(points, centers, index, affine, _gate_tensors(gate, points))
    most = points.new_empty(*index.shape[:2], results)
    slot = torch.empty_like(most, dtype=torch.uint8 if members <= 256 else torch.int32)
    blocks = {
        "MEMBERS": _power(members, 16, 1 << 20),
        "CHANNELS": _power(channels, 16, 32),
        "RESULTS": _power(results, 16, 64),
    }
    grid = (index.shape[:2].numel(), triton.cdiv(results, blocks["RESULTS"]))
    kernels.largest_kernel[grid](
        passed, weight.contiguous(), most, slot, channels, results, members, **blocks, PRECISION=_precision()
    )
    second = torch.zeros(channels, channels, dtype=torch.float64, device=points.device)
    first = second[0]
    if counted:  # cloud by cloud in single precision, all clouds in double
        clouds = passed.view(len(points), -1, channels)
        second, first = (clouds.mT @ clouds).sum(0, dtype=torch.float64), clouds.sum(1).sum(0, dtype=torch.float64)
    return most, slot, second, first


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Sequence[Tensor]],
    weight: Tensor,
    kernel: Tensor,
    constant: Tensor,
    arriving: tuple[Tensor, Tensor],
) -> Found:
    """Every gradient but what the inner moments send; see :func:`ogreid.ops.kernels.group_loops.group_backward`."""
    points, centers, index, affine, gate = inputs
    doors = _gate_tensors(gate, points)
    passed = _open(points, centers, index, affine, doors)
    back = torch.addmm(constant, passed, kernel)
    to_weight = _through_largest(index.shape[2], weight, arriving, passed, back)
    sums, to_gate = _through_gate(points, centers, index, affine, doors, back)
    to_members = affine[0] * back
    degree, first, edges = _incoming(points, index)
    to_points = _collect(to_members, edges, first, degree, 1)
    around = _collect(centers.flatten(0, 1), edges, first, degree, index.shape[2])
    to_centers = -to_members.view(*index.shape, -1).sum(2)
    return Found(to_points, to_centers, to_weight, to_gate, sums, around, _sums(points, centers, index)[0])


def _through_largest(
    members: int, weight: Tensor, arriving: tuple[Tensor, Tensor], passed: Tensor, back: Tensor
) -> Tensor:
    """Add to ``back`` what the largest members get; the gradient of ``weight`` (D, C), in double precision."""
    gradient, slot = (tensor.contiguous() for tensor in arriving)
    results, channels = weight.shape
    groups, precision = gradient.shape[:2].numel(), _precision()
    blocks = {
        "MEMBERS": _power(members, 16, 1 << 20),
        "CHANNELS": _power(channels, 16, 64),
        "RESULTS": _power(results, 16, 32),
    }
    columns, runs = triton.cdiv(channels, blocks["CHANNELS"]), triton.cdiv(groups, LENGTH)
    kernels.to_largest_kernel[(groups, columns)](
        gradient, slot, weight.contiguous(), back, channels, results, members, **blocks, PRECISION=precision
    )
    parts = weight.new_empty(runs, results, channels)
    kernels.to_weight_kernel[(runs, triton.cdiv(results, blocks["RESULTS"]), columns)](
        gradient, slot, passed, parts, groups, LENGTH, channels, results, members, **blocks, PRECISION=precision
    )
    return parts.sum(0, dtype=torch.float64)


def _through_gate(
    points: Tensor,
    centers: Tensor,
    index: Tensor,
    affine: Tensor,
    gate: tuple[Tensor, Tensor, Tensor, int],
    back: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Turn ``back`` into the gradient of the normal members: its sums (2, C); and the gate's own gradients."""
    shape, (*doors, hidden) = _shape(points, index), gate
    programs = triton.cdiv(shape[0], ROWS)
    parts, biases = points.new_empty(programs, 2 * hidden + 3, shape[1]), points.new_empty(programs, hidden)
    blocks = {"GATED": hidden > 0, "ROWS": ROWS, "CHANNELS": _power(shape[1], 1, 1 << 20)}
    kernels.close_kernel[(programs,)](
        points, centers, index, affine, *doors, back, parts, biases, *shape, hidden, **blocks
    )
    if not hidden:
        return parts[:, :2].sum(0, dtype=torch.float64), ()
    sums, reduce, expand, expand_bias = parts.sum(0, dtype=torch.float64).split([2, hidden, hidden, 1])
    # Copied, because a column turned over counts as contiguous, and DDP warns of strides other than the parameter's.
    turned = expand.T.clone(memory_format=torch.contiguous_format)
    return sums, (reduce, biases.sum(0, dtype=torch.float64), turned, expand_bias[0])


def _incoming(points: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often each point is a member; where its edges begin among all of its cloud, sorted by point; and these."""
    flat = index.flatten(1)
    degree = torch.zeros(points.shape[:2], dtype=torch.int32, device=points.device)
    degree.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.int32))
    return degree, degree.cumsum(1) - degree, flat.argsort(dim=1, stable=True)


def _collect(values: Tensor, edges: Tensor, first: Tensor, degree: Tensor, divisor: int) -> Tensor:
    """(B, N, C): the sum of the rows of ``values`` that reach each point."""
    out = values.new_empty(*degree.shape, values.shape[1])
    kernels.collect_kernel[(degree.numel(),)](
        values,
        edges,
        first,
        degree,
        out,
        degree.shape[1],
        edges.shape[1],
        divisor,
        values.shape[1],
        CHANNELS=_power(values.shape[1], 1, 1 << 20),
    )
    return out


def spread(points: Tensor, index: Tensor, found: Found, terms: Tensor) -> None:
    """Add to the gradients of points and centers what the inner moments send; ``terms`` (2, C)."""
    constant, slope = terms
    degree = _incoming(points, index)[0].unsqueeze(2)
    found.points.add_(degree * torch.addcmul(constant, slope, points) - slope * found.around)
    found.centers.sub_(index.shape[2] * constant + slope * found.summed)
