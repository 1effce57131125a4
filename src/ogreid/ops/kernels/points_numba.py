"""Farthest points, k nearest and ball query: compiled loops over one cloud, or over a run of its rows."""

# ruff: noqa: ANN001, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional

from ogreid.ops.kernels.threads import share_clouds, share_rows

BLOCK = 32
"""Points looked at together: a block whose best cannot matter is passed over without a branch for each point."""

LEAF = 16
"""Points of a leaf: searched together, and the least that is looked into."""

LANES = 128
"""Running maxima side by side: one maximum alone is a chain of comparisons, each waiting for the last."""

FAR = 1e18
"""Where padding lies: its square is still a single-precision number."""

# Distances keep the plain form's order of additions (no reassociation, no fused multiply-add), so that both forms agree
# on which side of a radius a point lies. Slices come before each inner loop: an index that starts at 0 is known to be
# no negative one, and only then is the loop vectorized.
EXACT = {"nnan", "nsz"}
_jit = njit(nogil=True, cache=True, fastmath=EXACT, error_model="numpy", no_cfunc_wrapper=True)
# Inlined before any optimization, or slices that are handed over cost more than the loops.
_inner = njit(inline="always", fastmath=EXACT, error_model="numpy")


def farthest(xyz: Tensor, distance: Tensor, count: int) -> Tensor:
    """(B, count) from index 0; ``distance`` (B, N), which is overwritten, is inf, or -1 for a point never to select."""
    index = torch.empty(len(xyz), count, dtype=torch.int64)
    share_clouds(_farthest_of_cloud, (xyz.transpose(1, 2).contiguous(), distance, index))
    return index


@_jit
def _farthest_of_cloud(axes, distance, index):
    x, y, z = axes[0], axes[1], axes[2]
    points = len(x)
    tops = np.empty(LANES, x.dtype)
    last = 0
    index[0] = 0
    for step in range(1, len(index)):
        px, py, pz = x[last], y[last], z[last]
        tops[:] = -2
        for start in range(0, points, LANES):
            stop = min(start + LANES, points)
            bx, by, bz, nearest = x[start:stop], y[start:stop], z[start:stop], distance[start:stop]
            for i in range(len(nearest)):
                dx, dy, dz = bx[i] - px, by[i] - py, bz[i] - pz
                new, old, top = dx * dx + dy * dy + dz * dz, nearest[i], tops[i]
                near = new if new < old else old
                nearest[i] = near
                tops[i] = near if near > top else top
        top = tops[0]
        for i in range(1, LANES):
            top = tops[i] if tops[i] > top else top
        last = points
        for i in range(LANES):
            if tops[i] == top:
                place = i
                while distance[place] != top:
                    place += LANES
                last = min(last, place)
        index[step] = last


def nearest(points: Tensor, k: int) -> Tensor:
    """(B, N, k), nearest first."""
    out = torch.empty(*points.shape[:2], k, dtype=torch.int64)
    (_nearest_in_space if points.shape[2] == 3 else _nearest_by_product)(points, out)
    return out


def _nearest_in_space(points: Tensor, out: Tensor) -> None:
    """Boxes of a few points each, sorted into slabs along the widest axis and cut along the next one."""
    batch, count, _ = points.shape
    widest, next_widest = points.std(1, correction=0).sum(0).argsort(descending=True)[:2].tolist()
    slab = LEAF * math.ceil(math.sqrt(count / LEAF))
    slabs = math.ceil(count / slab)
    padded = functional.pad(points, (0, 0, 0, slabs * slab - count), value=FAR)
    order = padded[..., widest].argsort(1).view(batch, slabs, slab)
    across = padded[..., next_widest].gather(1, order.flatten(1)).view_as(order).argsort(2)
    order = order.gather(2, across).flatten(1)  # (B, slabs * slab)
    leaves = padded.gather(1, order.unsqueeze(2).expand_as(padded)).view(batch, -1, LEAF, 3)
    axes = leaves.permute(0, 3, 1, 2).contiguous()  # (B, 3, leaves, LEAF)
    tensors = (axes, axes.amin(3), axes.amax(3), order.view(batch, -1, LEAF), out)
    share_rows(_nearest_of_leaves, leaves.shape, tensors, count, length=32)


def _nearest_by_product(points: Tensor, out: Tensor) -> None:
    """A product for all distances, then the smallest of each row."""
    # Around the mean: |p|^2 - 2 p q cancels less. |q|^2 is the same along a row and is left out.
    centered = points - points.mean(1, keepdim=True)
    with torch.autocast("cpu", enabled=False):  # which would round the product to half precision
        rank = torch.baddbmm(centered.square().sum(2).unsqueeze(1), centered, centered.mT, alpha=-2)  # (B, N, N)
    rows = [tensor.flatten(0, 1).unsqueeze(0) for tensor in (rank, out)]
    share_rows(_smallest_of_rows, rows[0].shape, rows)


@_inner
def _distances(x, y, z, px, py, pz, limit, near):
    """Squared distances of a block to one point into ``near``; how many are below ``limit``."""
    below = 0
    for i in range(len(x)):
        dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
        near[i] = dx * dx + dy * dy + dz * dz
    for i in range(len(x)):
        below += near[i] < limit
    return below


@_inner
def _insert(value, index, values, indices, count):
    """Put one into a sorted list of at most ``len(values)``; equal values stay in their order of arrival."""
    place = min(count, len(values) - 1)
    while place > 0 and values[place - 1] > value:
        values[place] = values[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    values[place] = value
    indices[place] = index


@_jit
def _nearest_of_leaves(real, start, stop, axes, low, high, order, out):
    """K nearest of the points in the leaves ``start`` to ``stop``.

    ``axes`` (3, leaves, LEAF) holds the points of one cloud so sorted that a leaf is compact, ``low`` and ``high``
    (3, leaves) are the leaves' boxes, ``order`` (leaves, LEAF) numbers the points; from ``real`` on it is padding.

    A leaf's own neighborhood in the order bounds how far its points have to look; only leaves whose box is nearer are
    looked into, and for each point only while the box is nearer than its k-th nearest so far.
    """
    leaves, k = axes.shape[1], out.shape[1]
    reach = (k // LEAF + 2) // 2  # leaves on either side that certainly hold k points
    values, indices = np.empty((LEAF, k), axes.dtype), np.empty((LEAF, k), np.int64)
    counts = np.empty(LEAF, np.int64)
    near, gaps = np.empty(LEAF, axes.dtype), np.empty(leaves, axes.dtype)
    candidates = np.empty(leaves, np.int64)
    nothing = axes.dtype.type(0)
    for leaf in range(start, stop):
        first = max(0, min(leaf - reach, leaves - 2 * reach - 1))
        last = min(leaves, first + 2 * reach + 1)
        bound = nothing
        for i in range(LEAF):
            counts[i] = 0
            if order[leaf, i] < real:
                x, y, z = axes[0, leaf, i], axes[1, leaf, i], axes[2, leaf, i]
                counts[i] = _look(axes, leaf, order, x, y, z, values[i], indices[i], counts[i], near)
                for other in range(first, last):
                    if other != leaf:
                        counts[i] = _look(axes, other, order, x, y, z, values[i], indices[i], counts[i], near)
                bound = max(bound, _limit(values[i], counts[i]))
        gaps[:] = 0
        for axis in range(3):
            bottom, top, lowest, highest = low[axis], high[axis], low[axis, leaf], high[axis, leaf]
            for other in range(leaves):
                gap = max(max(bottom[other] - highest, lowest - top[other]), nothing)
                gaps[other] += gap * gap
        nearer = 0
        for other in range(leaves):
            if gaps[other] < bound and (other < first or other >= last):
                candidates[nearer] = other
                nearer += 1
        for i in range(LEAF):
            number = order[leaf, i]
            if number >= real:
                continue
            x, y, z = axes[0, leaf, i], axes[1, leaf, i], axes[2, leaf, i]
            for place in range(nearer):
                other = candidates[place]
                dx = max(max(low[0, other] - x, x - high[0, other]), nothing)
                dy = max(max(low[1, other] - y, y - high[1, other]), nothing)
                dz = max(max(low[2, other] - z, z - high[2, other]), nothing)
                if dx * dx + dy * dy + dz * dz < _limit(values[i], counts[i]):
                    counts[i] = _look(axes, other, order, x, y, z, values[i], indices[i], counts[i], near)
            for place in range(k):
                out[number, place] = indices[i, place]


@_inner
def _limit(values, count):
    """Squared distance below which a point is among the nearest so far."""
    return values[-1] if count == len(values) else values.dtype.type(np.inf)


@_inner
def _look(axes, leaf, order, x, y, z, values, indices, count, near):
    """Insert what is near enough of one leaf; how many neighbors there are now."""
    limit = _limit(values, count)
    if _distances(axes[0, leaf], axes[1, leaf], axes[2, leaf], x, y, z, limit, near) == 0:
        return count
    for j in range(LEAF):
        if near[j] < limit:
            _insert(near[j], order[leaf, j], values, indices, count)
            count = min(count + 1, len(values))
            limit = _limit(values, count)
    return count


@_jit
def _smallest_of_rows(start, stop, rows, out):
    """Columns of the k smallest values of each row, smallest first."""
    width, k = rows.shape[1], out.shape[1]
    values = np.empty(k, rows.dtype)
    for row in range(start, stop):
        line = rows[row]
        for j in range(k):
            _insert(line[j], j, values, out[row], j)
        limit = values[k - 1]
        for here in range(k, width, BLOCK):
            part = line[here : min(here + BLOCK, width)]
            below = 0
            for j in range(len(part)):
                below += part[j] < limit
            if below > 0:
                for j in range(len(part)):
                    if part[j] < limit:
                        _insert(part[j], here + j, values, out[row], k)
                        limit = values[k - 1]


def balls(points: Tensor, centers: Tensor, squares: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """First members in index order below each squared radius, padded with the first."""
    axes, around = points.transpose(1, 2).contiguous(), centers.contiguous()
    limits, first = np.array(squares, dtype=around.numpy().dtype), np.concatenate([[0], np.cumsum(counts)])
    out = torch.empty(*centers.shape[:2], int(first[-1]), dtype=torch.int64)
    share_rows(_balls_of_rows, centers.shape, (axes, around, out), limits, first)
    return torch.split(out, list(counts), 2)


@_jit
def _balls_of_rows(squares, first, start, stop, axes, centers, out):
    """One scan for all balls around a center, which ends when all are full.

    ``out`` (M, sum of counts) holds the radii side by side, radius r in the columns ``first[r]`` to ``first[r + 1]``.
    """
    x, y, z = axes[0], axes[1], axes[2]
    points, radii = len(x), len(squares)
    near = np.empty(BLOCK, x.dtype)
    filled = np.empty(radii, np.int64)
    for m in range(start, stop):
        px, py, pz = centers[m, 0], centers[m, 1], centers[m, 2]
        for r in range(radii):
            filled[r] = first[r]
        open_balls = radii
        block = 0
        while open_balls > 0 and block < points:
            last = min(block + BLOCK, points)
            widest = x.dtype.type(0)
            for r in range(radii):
                if filled[r] < first[r + 1] and squares[r] > widest:
                    widest = squares[r]
            if _distances(x[block:last], y[block:last], z[block:last], px, py, pz, widest, near) > 0:
                for j in range(last - block):
                    if near[j] < widest:
                        for r in range(radii):
                            if near[j] < squares[r] and filled[r] < first[r + 1]:
                                out[m, filled[r]] = block + j
                                filled[r] += 1
                                if filled[r] == first[r + 1]:
                                    open_balls -= 1
            block = last
        for r in range(radii):
            pad = out[m, first[r]] if filled[r] > first[r] else 0
            for place in range(filled[r], first[r + 1]):
                out[m, place] = pad
