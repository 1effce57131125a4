"""Compiled loops over points: farthest points, k nearest, ball query. One cloud, or a run of its rows, a call."""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

__all__ = ["balls_of_cloud", "farthest_of_cloud", "nearest_of_cloud", "smallest_of_rows"]

BLOCK = 32
"""Points looked at together: a block whose best cannot matter is passed over without a branch for each point."""

# Distances keep the plain form's order of additions (no reassociation, no fused multiply-add), so that both forms agree
# on which side of a radius a point lies. `nnan` and `nsz` let the maximum of a block be vectorised.
_jit = njit(nogil=True, cache=True, fastmath={"nnan", "nsz"}, error_model="numpy")


@_jit
def farthest_of_cloud(x, y, z, distance, kept):
    """Fill ``kept`` (count,) with farthest points from index 0; ``distance`` (N,) is inf, or -1 where never to be kept."""
    points = len(x)
    blocks = (points + BLOCK - 1) // BLOCK
    tops = np.empty(blocks, x.dtype)
    last = 0
    kept[0] = 0
    for step in range(1, len(kept)):
        px, py, pz = x[last], y[last], z[last]
        for block in range(blocks):
            # Slices, because an index that starts at 0 is known to be no negative one: then the loop is vectorised.
            here = slice(block * BLOCK, min(block * BLOCK + BLOCK, points))
            bx, by, bz, nearest = x[here], y[here], z[here], distance[here]
            top = x.dtype.type(-2.0)
            for i in range(len(bx)):
                dx, dy, dz = bx[i] - px, by[i] - py, bz[i] - pz
                new = dx * dx + dy * dy + dz * dz
                near = min(new, nearest[i])
                nearest[i] = near
                top = max(near, top)
            tops[block] = top
        best = 0
        for block in range(1, blocks):
            if tops[block] > tops[best]:
                best = block
        last = best * BLOCK
        while distance[last] != tops[best]:
            last += 1
        kept[step] = last


@_jit
def _distances(x, y, z, px, py, pz, near):
    """Squared distances of a block to one point into ``near``; the smallest of them."""
    lowest = x.dtype.type(np.inf)
    for i in range(len(x)):
        dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
        d = dx * dx + dy * dy + dz * dz
        near[i] = d
        lowest = min(d, lowest)
    return lowest


@_jit
def _insert(value, index, values, indices, count):
    """Put one into a sorted list of at most ``len(values)``; equal values keep their order of arrival."""
    place = min(count, len(values) - 1)
    while place > 0 and values[place - 1] > value:
        values[place] = values[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    values[place] = value
    indices[place] = index


@_jit
def nearest_of_cloud(x, y, z, order, start, stop, out):
    """K nearest of the sorted points ``start`` to ``stop``; ``x`` (N,) ascends, ``order`` (N,) has the original numbers.

    Sweeps outward from the point along x, block by block, until x alone is farther than the k-th nearest so far.
    """
    points, k = len(x), out.shape[1]
    values = np.empty(k, x.dtype)
    indices = np.empty(k, np.int64)
    near = np.empty(BLOCK, x.dtype)
    for i in range(start, stop):
        px, py, pz = x[i], y[i], z[i]
        count = 0
        low, high = i, i
        limit = x.dtype.type(np.inf)
        while True:
            below = px - x[low - 1] if low > 0 else x.dtype.type(np.inf)
            above = x[high] - px if high < points else x.dtype.type(np.inf)
            if low == 0 and high == points:
                break
            gap = below if below < above else above
            if gap * gap > limit:
                break
            if above <= below:
                first, last = high, min(high + BLOCK, points)
                high = last
            else:
                first, last = max(low - BLOCK, 0), low
                low = first
            lowest = _distances(x[first:last], y[first:last], z[first:last], px, py, pz, near)
            if lowest < limit:
                for j in range(last - first):
                    if near[j] < limit:
                        _insert(near[j], order[first + j], values, indices, count)
                        count = min(count + 1, k)
                        if count == k:
                            limit = values[k - 1]
        for place in range(k):
            out[order[i], place] = indices[place]


@_jit
def smallest_of_rows(rows, start, stop, out):
    """Columns of the k smallest values of the rows ``start`` to ``stop`` of (R, N), smallest first."""
    width, k = rows.shape[1], out.shape[1]
    values = np.empty(k, rows.dtype)
    for row in range(start, stop):
        line = rows[row]
        for j in range(k):
            _insert(line[j], j, values, out[row], j)
        limit = values[k - 1]
        for here in range(k, width, BLOCK):
            part = line[here : min(here + BLOCK, width)]
            lowest = limit
            for j in range(len(part)):
                lowest = min(part[j], lowest)
            if lowest < limit:
                for j in range(len(part)):
                    if part[j] < limit:
                        _insert(part[j], here + j, values, out[row], k)
                        limit = values[k - 1]


@_jit
def balls_of_cloud(x, y, z, centres, squares, first, start, stop, out):
    """Members of every ball around the centres ``start`` to ``stop``, in one scan that ends when all balls are full.

    ``out`` (M, sum of counts) holds the radii side by side, radius r in the columns ``first[r]`` to ``first[r + 1]``;
    ``squares`` are the squared radii.
    """
    points, radii = len(x), len(squares)
    near = np.empty(BLOCK, x.dtype)
    filled = np.empty(radii, np.int64)
    for m in range(start, stop):
        px, py, pz = centres[m, 0], centres[m, 1], centres[m, 2]
        filled[:] = first[:radii]
        open_balls = radii
        block = 0
        while open_balls > 0 and block < points:
            last = min(block + BLOCK, points)
            widest = x.dtype.type(0)
            for r in range(radii):
                if filled[r] < first[r + 1] and squares[r] > widest:
                    widest = squares[r]
            if _distances(x[block:last], y[block:last], z[block:last], px, py, pz, near) < widest:
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
