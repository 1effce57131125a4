"""Gather-and-blend over the edges of a graph, and its backward, for CUDA.

Nothing synchronizes with the host, and nothing adds atomically: the backward walks the incoming edges of each point,
sorted once, so gradients are the same run to run. Run so far by Triton's interpreter only, never on a GPU.
"""

# ruff: noqa: ANN001, ANN202 - what Triton compiles is typed by Triton
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

import torch
import triton
import triton.language as tl
from torch import Tensor

from ogreid.ops.kernels import EdgeExtremes, degrees, empty_slots

ROWS = 8
"""Points handled by one program."""


def _columns(channels: int) -> int:
    """Channels handled by one program."""
    return min(128, int(triton.next_power_of_2(channels)))


@triton.jit
def _gather_kernel(
    source, graph, sign, most, total, slot, rows, size, channels, k, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    signs = tl.load(sign + column, mask=column < channels, other=1.0)[None, :]
    cloud = (row // size) * size
    best = tl.full((ROWS, COLUMNS), -float("inf"), source.dtype.element_ty)
    where = tl.zeros((ROWS, COLUMNS), tl.int32)
    added = tl.zeros((ROWS, COLUMNS), source.dtype.element_ty)
    for edge in range(k):
        near = tl.load(graph + row * k + edge, mask=row < rows, other=0)
        value = tl.load(source + (cloud + near)[:, None] * channels + column[None, :], mask=inside, other=0.0)
        signed = signs * value
        where = tl.where(signed > best, edge, where)
        best = tl.maximum(best, signed)
        added += value
    place = row[:, None] * channels + column[None, :]
    tl.store(most + place, best, mask=inside)
    tl.store(total + place, added, mask=inside)
    tl.store(slot + place, where.to(slot.dtype.element_ty), mask=inside)


@triton.jit
def _scatter_kernel(
    every, largest, slot, edges, first, degree, out, size, channels, k, COLUMNS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    cloud = (row // size) * size
    start = tl.load(first + row)
    added = tl.zeros((COLUMNS,), every.dtype.element_ty)
    for place in range(start, start + tl.load(degree + row)):
        edge = tl.load(edges + cloud * k + place)
        sender = (cloud + edge // k) * channels + column
        added += tl.load(every + sender, mask=inside, other=0.0)
        chosen = tl.load(slot + sender, mask=inside, other=0).to(tl.int64) == edge % k
        added += tl.where(chosen, tl.load(largest + sender, mask=inside, other=0.0), 0.0)
    tl.store(out + row * channels + column, added, mask=inside)


def gather(source: Tensor, center: Tensor, graph: Tensor, sign: Tensor) -> tuple[EdgeExtremes, Tensor]:
    """Extremes of every point's edges; and (2, C) in double precision: sum and sum of squares of all edges."""
    batch, points, channels = source.shape
    rows, k, columns = batch * points, graph.shape[2], _columns(channels)
    most, total, slot = torch.empty_like(source), torch.empty_like(source), empty_slots(source, k)
    _gather_kernel[(triton.cdiv(rows, ROWS), triton.cdiv(channels, columns))](
        source, graph, sign, most, total, slot, rows, points, channels, k, ROWS=ROWS, COLUMNS=columns
    )
    degree = degrees(graph, points)
    squares = degree.unsqueeze(2) * source.square() + center * (k * center + 2 * total)
    sums = torch.stack([part.sum((0, 1), dtype=torch.float64) for part in (total + k * center, squares)])
    return EdgeExtremes(most, total, slot, degree), sums


def blend(extremes: EdgeExtremes, center: Tensor, terms: Tensor) -> Tensor:
    """``terms`` (4, C): factors of the largest, the sum and the center, and what is added."""
    rows = torch.addcmul(terms[3] + terms[0] * extremes.most, terms[1], extremes.total)
    return torch.addcmul(rows, terms[2], center)


def sum_gradients(gradient: Tensor, extremes: EdgeExtremes, center: Tensor) -> Tensor:
    """(4, C) in double precision: the gradient summed alone, and times the largest, the sum, the center."""
    others = (gradient * other for other in (extremes.most, extremes.total, center))
    return torch.stack([part.sum((0, 1), dtype=torch.float64) for part in (gradient, *others)])


def scatter(
    gradient: Tensor, source: Tensor, center: Tensor, graph: Tensor, extremes: EdgeExtremes, terms: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of source and center; ``terms`` (5, C): see :func:`ogreid.ops.kernels.edges_numba.scatter`."""
    batch, points, channels = source.shape
    k, columns, degree = graph.shape[2], _columns(channels), extremes.degree
    of_largest, of_every, of_center, constant, slope = terms
    every, largest = torch.addcmul(slope * center, of_every, gradient), of_largest * gradient
    received = torch.empty_like(source)
    _scatter_kernel[(batch * points, triton.cdiv(channels, columns))](
        every, largest, extremes.slot, *incoming(graph, degree), degree, received, points, channels, k, COLUMNS=columns
    )
    to_source = received + degree.unsqueeze(2) * torch.addcmul(constant, slope, source)
    to_center = of_center * gradient + k * torch.addcmul(constant, slope, center) + slope * extremes.total
    return to_source, to_center


def incoming(index: Tensor, degree: Tensor) -> tuple[Tensor, Tensor]:
    """Of each cloud, its edges sorted by the point they come from, and where each point's begin."""
    return index.flatten(1).argsort(dim=1, stable=True), degree.cumsum(1) - degree
