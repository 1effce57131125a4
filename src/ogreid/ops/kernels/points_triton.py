"""Farthest points, k nearest and ball query, for CUDA.

Nothing synchronizes with the host. Run so far by Triton's interpreter only, never on a GPU.
"""

# ruff: noqa: ANN001, ANN202 - what Triton compiles is typed by Triton
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

EXACT = {"enable_fp_fusion": False}
"""Distances are rounded as the plain form rounds them, so that both agree on which side of a radius a point lies."""


@triton.jit
def _squared_distances(axes, place, size, px, py, pz):
    """Of the points at ``place``, and whether there is one; ``axes`` (3, N) is one cloud."""
    inside = place < size
    dx = tl.load(axes + place, mask=inside, other=0.0) - px
    dy = tl.load(axes + size + place, mask=inside, other=0.0) - py
    dz = tl.load(axes + 2 * size + place, mask=inside, other=0.0) - pz
    return dx * dx + dy * dy + dz * dz, inside


@triton.jit
def _farthest_kernel(axes, distance, out, size, count, BLOCK: tl.constexpr):
    cloud, place = tl.program_id(0), tl.arange(0, BLOCK)
    inside = place < size
    x = tl.load(axes + cloud * 3 * size + place, mask=inside, other=0.0)
    y = tl.load(axes + cloud * 3 * size + size + place, mask=inside, other=0.0)
    z = tl.load(axes + cloud * 3 * size + 2 * size + place, mask=inside, other=0.0)
    near = tl.load(distance + cloud * size + place, mask=inside, other=-2.0)
    last = 0
    for step in range(count):
        tl.store(out + cloud * count + step, last)
        here = axes + cloud * 3 * size + last
        dx, dy, dz = x - tl.load(here), y - tl.load(here + size), z - tl.load(here + 2 * size)
        near = tl.minimum(near, dx * dx + dy * dy + dz * dz)
        last = tl.min(tl.where(near == tl.max(near, 0), place, BLOCK), 0)


@triton.jit
def _nearest_kernel(axes, out, size, k, BLOCK: tl.constexpr):
    row, place = tl.program_id(0), tl.arange(0, BLOCK)
    cloud = axes + (row // size) * 3 * size
    here = cloud + row % size
    px, py, pz = tl.load(here), tl.load(here + size), tl.load(here + 2 * size)
    near, inside = _squared_distances(cloud, place, size, px, py, pz)
    near = tl.where(inside, near, float("inf"))
    for step in range(k):
        chosen = tl.min(tl.where(near == tl.min(near, 0), place, BLOCK), 0)
        tl.store(out + row * k + step, chosen.to(tl.int64))
        near = tl.where(place == chosen, float("inf"), near)


@triton.jit
def _ball_kernel(axes, centers, square, out, size, groups, count, BLOCK: tl.constexpr, COUNT: tl.constexpr):
    group = tl.program_id(0)
    px, py, pz = tl.load(centers + group * 3), tl.load(centers + group * 3 + 1), tl.load(centers + group * 3 + 2)
    radius, cloud = tl.load(square), axes + (group // groups) * 3 * size
    filled, first, start = 0, size, 0
    while (start < size) & (filled < count):
        place = start + tl.arange(0, BLOCK)
        near, inside = _squared_distances(cloud, place, size, px, py, pz)
        hit = inside & (near < radius)
        order = filled + tl.cumsum(hit.to(tl.int32), 0) - 1
        tl.store(out + group * count + order, place.to(tl.int64), mask=hit & (order < count))
        first = tl.minimum(first, tl.min(tl.where(hit, place, size), 0))
        filled += tl.sum(hit.to(tl.int32), 0)
        start += BLOCK
    rest = tl.arange(0, COUNT)
    pad = tl.where(first < size, first, 0) + tl.zeros((COUNT,), tl.int64)
    tl.store(out + group * count + rest, pad, mask=(rest >= filled) & (rest < count))


def farthest(xyz: Tensor, distance: Tensor, count: int) -> Tensor:
    """(B, count) from index 0; ``distance`` (B, N) is inf, or -1 for a point never to select."""
    batch, size, _ = xyz.shape
    out = torch.empty(batch, count, dtype=torch.int64, device=xyz.device)
    block = triton.next_power_of_2(size)
    axes, warps = xyz.transpose(1, 2).contiguous(), min(16, max(1, block // 256))
    _farthest_kernel[(batch,)](axes, distance.contiguous(), out, size, count, BLOCK=block, num_warps=warps, **EXACT)
    return out


def nearest(points: Tensor, k: int) -> Tensor:
    """(B, N, k), nearest first: all distances of a point stay in registers, and k times the least is taken."""
    batch, size, _ = points.shape
    out = torch.empty(batch, size, k, dtype=torch.int64, device=points.device)
    block = triton.next_power_of_2(size)
    axes, warps = points.transpose(1, 2).contiguous(), min(16, max(1, block // 1024))
    _nearest_kernel[(batch * size,)](axes, out, size, k, BLOCK=block, num_warps=warps)
    return out


def balls(points: Tensor, centers: Tensor, squares: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """First members in index order below each squared radius, padded with the first."""
    (batch, groups, _), size = centers.shape, points.shape[1]
    axes, around = points.transpose(1, 2).contiguous(), centers.contiguous()
    results = []
    for square, count in zip(squares, counts, strict=True):
        out = torch.empty(batch, groups, count, dtype=torch.int64, device=points.device)
        below = torch.full((1,), square, dtype=points.dtype, device=points.device)  # made there, not copied there
        blocks = {"BLOCK": 128, "COUNT": triton.next_power_of_2(count), "num_warps": 1}
        _ball_kernel[(batch * groups,)](axes, around, below, out, size, groups, count, **blocks, **EXACT)
        results.append(out)
    return tuple(results)
