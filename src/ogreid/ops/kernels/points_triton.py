"""Triton kernels over points, for CUDA: farthest points, k nearest and ball query.

Nothing synchronizes with the host. Run so far by Triton's interpreter only, never on a GPU.
"""

# ruff: noqa: ANN001, ANN202 - what Triton compiles is typed by Triton
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["balls", "farthest", "nearest"]

EXACT = {"enable_fp_fusion": False}
"""Distances are rounded as the plain form rounds them, so that both agree on which side of a radius a point lies."""


@triton.jit
def _farthest_kernel(axes, distance, kept, points, count, BLOCK: tl.constexpr):
    cloud = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    inside = place < points
    x = tl.load(axes + cloud * 3 * points + place, mask=inside, other=0.0)
    y = tl.load(axes + cloud * 3 * points + points + place, mask=inside, other=0.0)
    z = tl.load(axes + cloud * 3 * points + 2 * points + place, mask=inside, other=0.0)
    near = tl.load(distance + cloud * points + place, mask=inside, other=-2.0)
    last = 0
    for step in range(count):
        tl.store(kept + cloud * count + step, last)
        here = axes + cloud * 3 * points + last
        dx, dy, dz = x - tl.load(here), y - tl.load(here + points), z - tl.load(here + 2 * points)
        near = tl.minimum(near, dx * dx + dy * dy + dz * dz)
        last = tl.min(tl.where(near == tl.max(near, 0), place, BLOCK), 0)


@triton.jit
def _nearest_kernel(axes, found, points, k, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    inside = place < points
    base = axes + (row // points) * 3 * points
    here = base + row % points
    dx = tl.load(base + place, mask=inside, other=0.0) - tl.load(here)
    dy = tl.load(base + points + place, mask=inside, other=0.0) - tl.load(here + points)
    dz = tl.load(base + 2 * points + place, mask=inside, other=0.0) - tl.load(here + 2 * points)
    near = tl.where(inside, dx * dx + dy * dy + dz * dz, float("inf"))
    for step in range(k):
        chosen = tl.min(tl.where(near == tl.min(near, 0), place, BLOCK), 0)
        tl.store(found + row * k + step, chosen.to(tl.int64))
        near = tl.where(place == chosen, float("inf"), near)


@triton.jit
def _ball_kernel(axes, centers, square, found, points, groups, count, BLOCK: tl.constexpr, COUNT: tl.constexpr):
    group = tl.program_id(0)
    cloud = group // groups
    px, py, pz = tl.load(centers + group * 3), tl.load(centers + group * 3 + 1), tl.load(centers + group * 3 + 2)
    radius = tl.load(square)
    base = axes + cloud * 3 * points
    filled, first, start = 0, points, 0
    while (start < points) & (filled < count):
        place = start + tl.arange(0, BLOCK)
        inside = place < points
        dx = px - tl.load(base + place, mask=inside, other=0.0)
        dy = py - tl.load(base + points + place, mask=inside, other=0.0)
        dz = pz - tl.load(base + 2 * points + place, mask=inside, other=0.0)
        hit = inside & (dx * dx + dy * dy + dz * dz < radius)
        order = filled + tl.cumsum(hit.to(tl.int32), 0) - 1
        tl.store(found + group * count + order, place.to(tl.int64), mask=hit & (order < count))
        first = tl.minimum(first, tl.min(tl.where(hit, place, points), 0))
        filled += tl.sum(hit.to(tl.int32), 0)
        start += BLOCK
    rest = tl.arange(0, COUNT)
    pad = tl.where(first < points, first, 0) + tl.zeros((COUNT,), tl.int64)
    tl.store(found + group * count + rest, pad, mask=(rest >= filled) & (rest < count))


def farthest(xyz: Tensor, distance: Tensor, count: int) -> Tensor:
    """(B, count) from index 0; ``distance`` (B, N) is inf, or -1 where a point is never to be kept."""
    batch, points, _ = xyz.shape
    kept = torch.empty(batch, count, dtype=torch.int64, device=xyz.device)
    block = triton.next_power_of_2(points)
    warps = min(16, max(1, block // 256))
    axes = xyz.transpose(1, 2).contiguous()
    _farthest_kernel[(batch,)](axes, distance.contiguous(), kept, points, count, BLOCK=block, num_warps=warps, **EXACT)
    return kept


def nearest(points: Tensor, k: int) -> Tensor:
    """(B, N, k), nearest first: all distances of a point stay in registers, and k times the least is taken."""
    batch, total, _ = points.shape
    found = torch.empty(batch, total, k, dtype=torch.int64, device=points.device)
    block = triton.next_power_of_2(total)
    axes = points.transpose(1, 2).contiguous()
    _nearest_kernel[(batch * total,)](axes, found, total, k, BLOCK=block, num_warps=min(16, max(1, block // 1024)))
    return found


def balls(points: Tensor, centers: Tensor, squares: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """First members in index order below each squared radius, padded with the first."""
    batch, total, _ = points.shape
    groups = centers.shape[1]
    axes, around = points.transpose(1, 2).contiguous(), centers.contiguous()
    results = []
    for square, count in zip(squares, counts, strict=True):
        found = torch.empty(batch, groups, count, dtype=torch.int64, device=points.device)
        below = torch.full((1,), square, dtype=points.dtype, device=points.device)  # made there, not copied there
        _ball_kernel[(batch * groups,)](
            axes, around, below, found, total, groups, count,
            BLOCK=128, COUNT=triton.next_power_of_2(count), num_warps=1, **EXACT,
        )  # fmt: skip
        results.append(found)
    return tuple(results)
