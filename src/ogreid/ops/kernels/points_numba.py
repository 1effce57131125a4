"""Compiled loops over points: farthest points, k nearest, ball query. One cloud, or a run of its rows, a call."""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

__all__ = ["LEAF", "balls_of_cloud", "farthest_of_cloud", "nearest_of_leaves", "smallest_of_rows"]

BLOCK = 32
"""Points looked at together: a block whose best cannot matter is passed over without a branch for each point."""

LEAF = 16
"""Points of a leaf: searched together, and the least that is looked into."""

LANES = 128
"""Running maxima kept side by side: one maximum alone is a chain of comparisons, each waiting for the last."""

# Distances keep the plain form's order of additions (no reassociation, no fused multiply-add), so that both forms agree
# on which side of a radius a point lies. Slices come before each inner loop: an index that starts at 0 is known to be
# no negative one, and only then is the loop vectorised.
_jit = njit(nogil=True, cache=True, fastmath={"nnan", "nsz"}, error_model="numpy", no_cfunc_wrapper=True)
# For what only compiled code calls: no entry from Python is compiled, which takes a tenth off the first compilation.
_inner = njit(
    nogil=True,
    cache=True,
    fastmath={"nnan", "nsz"},
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)


@_jit
def farthest_of_cloud(x, y, z, distance, kept):
    """Fill ``kept`` (count,) with farthest points from index 0; ``distance`` (N,) is inf, or -1 for never."""
    points = len(x)
    tops = np.empty(LANES, x.dtype)
    last = 0
    kept[0] = 0
    for step in range(1, len(kept)):
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
        kept[step] = last


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
    """Put one into a sorted list of at most ``len(values)``; equal values keep their order of arrival."""
    place = min(count, len(values) - 1)
    while place > 0 and values[place - 1] > value:
        values[place] = values[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    values[place] = value
    indices[place] = index


@_jit
def nearest_of_leaves(axes, low, high, order, real, start, stop, out):
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
    wanted = np.empty(leaves, np.int64)
    nothing = axes.dtype.type(0)
    for leaf in range(start, stop):
        first = max(0, min(leaf - reach, leaves - 2 * reach - 1))
        last = min(leaves, first + 2 * reach + 1)
        bound = nothing
        for i in range(LEAF):
            counts[i] = 0
            if order[leaf, i] < real:
                x, y, z = axes[0, leaf, i], axes[1, leaf, i], axes[2, leaf, i]
                counts[i] = _look(axes, leaf, order, x, y, z, values, indices, i, counts[i], near)
                for other in range(first, last):
                    if other != leaf:
                        counts[i] = _look(axes, other, order, x, y, z, values, indices, i, counts[i], near)
                bound = max(bound, _limit(values, i, counts[i]))
        gaps[:] = 0
        for axis in range(3):
            bottom, top, lowest, highest = low[axis], high[axis], low[axis, leaf], high[axis, leaf]
            for other in range(leaves):
                gap = max(max(bottom[other] - highest, lowest - top[other]), nothing)
                gaps[other] += gap * gap
        found = 0
        for other in range(leaves):
            if gaps[other] < bound and (other < first or other >= last):
                wanted[found] = other
                found += 1
        for i in range(LEAF):
            number = order[leaf, i]
            if number >= real:
                continue
            x, y, z = axes[0, leaf, i], axes[1, leaf, i], axes[2, leaf, i]
            for place in range(found):
                other = wanted[place]
                dx = max(max(low[0, other] - x, x - high[0, other]), nothing)
                dy = max(max(low[1, other] - y, y - high[1, other]), nothing)
                dz = max(max(low[2, other] - z, z - high[2, other]), nothing)
                if dx * dx + dy * dy + dz * dz < _limit(values, i, counts[i]):
                    counts[i] = _look(axes, other, order, x, y, z, values, indices, i, counts[i], near)
            for place in range(k):
                out[number, place] = indices[i, place]


@_inner
def _limit(values, i, count):
    """Squared distance below which a point is still wanted."""
    k = values.shape[1]
    return values[i, k - 1] if count == k else values.dtype.type(np.inf)


@_inner
def _look(axes, leaf, order, x, y, z, values, indices, i, count, near):
    """Take what is near enough from one leaf into row ``i``, kept in order; how many neighbors there are now."""
    k = values.shape[1]
    for j in range(LEAF):
        dx, dy, dz = axes[0, leaf, j] - x, axes[1, leaf, j] - y, axes[2, leaf, j] - z
        near[j] = dx * dx + dy * dy + dz * dz
    limit = _limit(values, i, count)
    below = 0
    for j in range(LEAF):
        below += near[j] < limit
    if below == 0:
        return count
    for j in range(LEAF):
        value = near[j]
        if value < limit:
            place = min(count, k - 1)
            while place > 0 and values[i, place - 1] > value:
                values[i, place] = values[i, place - 1]
                indices[i, place] = indices[i, place - 1]
                place -= 1
            values[i, place] = value
            indices[i, place] = order[leaf, j]
            count = min(count + 1, k)
            limit = _limit(values, i, count)
    return count


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
            below = 0
            for j in range(len(part)):
                below += part[j] < limit
            if below > 0:
                for j in range(len(part)):
                    if part[j] < limit:
                        _insert(part[j], here + j, values, out[row], k)
                        limit = values[k - 1]


@_jit
def balls_of_cloud(x, y, z, centers, squares, first, start, stop, out):
    """Members of every ball around the centers ``start`` to ``stop``, in one scan that ends when all balls are full.

    ``out`` (M, sum of counts) holds the radii side by side, radius r in the columns ``first[r]`` to ``first[r + 1]``;
    ``squares`` are the squared radii.
    """
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
