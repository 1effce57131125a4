"""Compiled loops over groups: members, gate, second map and maximum while a few groups' rows are in the cache.

Letters: S members of a group, C channels of a member, H hidden channels of the gate, D channels of the result.
"""

# ruff: noqa: ANN001, ANN002, ANN201, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs, allow-untyped-calls

from collections import namedtuple

import numpy as np
from numba import njit

from ogreid.ops.kernels.products import FAST, add_moments, add_product, dots, jit_inner, sigmoid

ROWS = 64
"""Rows of a tile: members of one or of several groups, few enough to stay in the cache."""

Tile = namedtuple("Tile", "points times begins")
"""Of each row, its point and how often it is in its group; and the first row of each group, the end behind them."""

Buffers = namedtuple("Buffers", "raw normal hidden slope opening passed bits")
"""Of each row: raw and normalized member, hidden swish with a column of ones, its slope, the factor of the gate, what
passed it; and room for :func:`sigmoid`. The ones make the bias of the gate's second layer one more row of its weight.
"""

_jit = njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy", no_cfunc_wrapper=True)


@_jit
def sum_members(start, stop, points, centers, index, sums):
    """Add to ``sums`` (2, C), in double precision, the sum and the sum of squares of ``points_j - centers_m``."""
    channels = points.shape[1]
    plain, squared = np.empty(channels, points.dtype), np.empty(channels, points.dtype)
    first, second = sums[0], sums[1]
    for m in range(start, stop):
        middle = centers[m]
        plain[:] = 0
        squared[:] = 0
        for s in range(index.shape[1]):
            row = points[index[m, s]]
            for c in range(channels):
                value = row[c] - middle[c]
                plain[c] += value
                squared[c] += value * value
        for c in range(channels):
            first[c] += plain[c]
            second[c] += squared[c]


@jit_inner
def _room(members, channels, hidden, kind):
    """A tile and its buffers, for groups of so many members."""
    rows = max(ROWS, members)
    tile = Tile(np.empty(rows, np.int64), np.empty(rows, kind), np.empty(rows + 1, np.int64))
    shape = (rows, channels)
    raw, normal = np.empty(shape, kind), np.empty(shape, kind)
    opening, passed = np.empty(shape, kind), np.empty(shape, kind)
    swish, slope = np.ones((rows, hidden + 1), kind), np.empty((rows, hidden), kind)
    return tile, Buffers(raw, normal, swish, slope, opening, passed, np.empty(rows * max(channels, hidden), np.int32))


@jit_inner
def _fill_tile(index, group, tile):
    """Take the members of whole groups from ``group`` on, each once; the group behind them, and how many rows.

    A ball that is not full repeats its first member, so what ends a group and equals its first member is that member
    once more.
    """
    rows, taken = 0, 0
    while group + taken < len(index):
        near = index[group + taken]
        distinct = len(near)
        while distinct > 1 and near[distinct - 1] == near[0]:
            distinct -= 1
        if rows > 0 and rows + distinct > len(tile.points):
            break
        for s in range(distinct):
            tile.points[rows + s] = near[s]
            tile.times[rows + s] = 1
        tile.times[rows] = len(near) - distinct + 1
        tile.begins[taken] = rows
        rows += distinct
        taken += 1
    tile.begins[taken] = rows
    return group + taken, rows


@jit_inner
def _open(points, centers, tile, rows, factor, shift, gate, room):
    """One tile as far as what passes the gate: its ``rows`` of the buffers; ``centers`` are the tile's own."""
    raw, normal, hidden, slope = room.raw[:rows], room.normal[:rows], room.hidden[:rows], room.slope[:rows]
    opening, passed = room.opening[:rows], room.passed[:rows]
    reduce, reduce_bias, expand = gate
    for m in range(len(centers)):
        middle = centers[m]
        for s in range(tile.begins[m], tile.begins[m + 1]):
            row, y, x = points[tile.points[s]], raw[s], normal[s]
            for c in range(len(middle)):
                y[c] = row[c] - middle[c]
                x[c] = factor[c] * y[c] + shift[c]
    # Loops over all members at once, where the order allows: a few channels are too short to be vectorized well.
    x, out = normal.ravel(), passed.ravel()
    if len(reduce) == 0:
        for i in range(len(x)):
            out[i] = x[i]
    else:
        dots(normal, reduce, slope)
        for s in range(rows):
            for h in range(len(reduce)):
                slope[s, h] += reduce_bias[h]
                hidden[s, h] = slope[s, h]
        sigmoid(slope.ravel(), room.bits)
        for s in range(rows):
            for h in range(len(reduce)):
                value, share = hidden[s, h], slope[s, h]
                hidden[s, h] = value * share
                slope[s, h] = share * (1 + value * (1 - share))
        opened = opening.ravel()
        opened[:] = 0
        add_product(hidden, expand, opening)
        sigmoid(opened, room.bits)
        for i in range(len(x)):
            out[i] = x[i] * opened[i]
    return Buffers(raw, normal, hidden, slope, opening, passed, room.bits)


@_jit
def group_forward(factor, shift, gate, weight, counted, start, stop, points, centers, index, most, slot, moments):
    """The groups ``start`` to ``stop``: the largest of ``weight`` (C, D) times each member, and which member has it.

    ``gate`` is (reduce (H, C), its bias (H,), expand (H + 1, C) with its bias below), H = 0 without one. If
    ``counted``, add to ``moments`` (C + 1, C), in double precision, the second moments of what passed the gate (the
    upper triangle), and in the last row the first; the moments of ``weight`` times it follow from them.
    """
    channels, results = weight.shape
    second, first = moments[:channels], moments[channels]
    tile, room = _room(index.shape[1], channels, len(gate[0]), points.dtype)
    mapped = np.empty((len(tile.times), results), points.dtype)
    squares = np.zeros((channels, channels), points.dtype)
    sums = np.zeros(channels, points.dtype)
    where = np.empty(results, np.int32)
    m, tiles = start, 0
    while m < stop:
        last, rows = _fill_tile(index[:stop], m, tile)
        passed, result = _open(points, centers[m:last], tile, rows, factor, shift, gate, room).passed, mapped[:rows]
        result.ravel()[:] = 0
        add_product(passed, weight, result)
        _largest_of_groups(result, tile.begins, where, most[m:last], slot[m:last])
        m = last
        if not counted:
            continue
        for s in range(rows):
            row, often = passed[s], tile.times[s]
            for c in range(channels):
                sums[c] += often * row[c]
        add_moments(passed, tile.times, squares)
        tiles += 1
        if tiles % 4 == 0 or m == stop:  # in single precision for the rows of four tiles only
            for c in range(channels):
                first[c] += sums[c]
                into, row = second[c], squares[c]
                for d in range(channels):
                    into[d] += row[d]
            sums[:] = 0
            squares[:] = 0


@jit_inner
def _largest_of_groups(mapped, begins, where, most, slot):
    """The largest row of each group of a tile, channel by channel, and which of the group's members it is."""
    for m in range(len(most)):
        begin = begins[m]
        best, chosen, row = most[m], slot[m], mapped[begin]
        for d in range(len(best)):
            best[d] = row[d]
            where[d] = 0
        for s in range(begin + 1, begins[m + 1]):
            row, number = mapped[s], s - begin
            for d in range(len(best)):
                where[d] = number if row[d] > best[d] else where[d]
                best[d] = max(row[d], best[d])
        for d in range(len(best)):
            chosen[d] = where[d]


@_jit
def group_backward(factor, shift, gate, weight, kernel, constant, points, centers, index, gradient, slot, *outputs):
    """Backward of one cloud, without what the moments of the members send (see :func:`spread_moments`).

    ``gradient`` (M, D) goes to the member ``slot`` says, through ``weight`` (D, C); every member gets ``constant`` (C,)
    and ``kernel`` (C, C) times itself. Added to ``outputs``, which are zero before:

    - of the points (N, C), and the sum of each point's centers (N, C); of the centers (M, C), and the sum of each
      group's members (M, C); of ``weight`` (D, C);
    - of the gate, as ``gate`` is; the gradient of the normalized members summed (2, C), alone and times the raw member.
    """
    to_points, around, to_centers, summed, to_weight, to_reduce, to_reduce_bias, to_expand, sums = outputs
    tile, room = _room(index.shape[1], points.shape[1], len(gate[0]), points.dtype)
    all_back, all_turned, all_arrived = np.empty_like(room.raw), np.empty_like(room.raw), np.empty_like(room.slope)
    m = np.int64(0)  # typed, or `_fill_tile` would be compiled for the constant too
    while m < len(index):
        last, rows = _fill_tile(index, m, tile)
        buffers, back = _open(points, centers[m:last], tile, rows, factor, shift, gate, room), all_back[:rows]
        _to_all(buffers.passed, tile.times, kernel, constant, back)
        _to_largest(gradient[m:last], slot[m:last], tile.begins, weight, buffers.passed, back, to_weight)
        if len(to_reduce) > 0:
            turned, arrived = all_turned[:rows], all_arrived[:rows]
            _through_gate(back, buffers, gate, turned, arrived, to_reduce, to_reduce_bias, to_expand)
        _deal_out(back, buffers.raw, centers[m:last], tile, factor, to_points, around, to_centers[m:], summed[m:], sums)
        m = last


@jit_inner
def _to_all(passed, times, kernel, constant, back):
    """What every member gets, as often as it is there."""
    for s in range(len(back)):
        row = back[s]
        for c in range(len(row)):
            row[c] = constant[c]
    add_product(passed, kernel, back)
    for s in range(len(back)):
        if times[s] != 1:
            row = back[s]
            for c in range(len(row)):
                row[c] *= times[s]


@jit_inner
def _to_largest(gradient, slot, begins, weight, passed, back, to_weight):
    """The gradient of a maximum goes to one member for each result, and so does the weight's.

    Result by result, so that all groups of a tile use one row of the weights while it is in the cache.
    """
    for d in range(len(weight)):
        w, out = weight[d], to_weight[d]
        for m in range(len(gradient)):
            value = gradient[m, d]
            if value != 0:
                place = begins[m] + slot[m, d]
                row, x = back[place], passed[place]
                for c in range(len(w)):
                    row[c] += value * w[c]
                    out[c] += value * x[c]


@jit_inner
def _deal_out(back, raw, centers, tile, factor, to_points, around, to_centers, summed, sums):
    """A tile's gradients, and its members as often as they are there, to all that they reach."""
    alone, weighted = sums[0], sums[1]
    for m in range(len(centers)):
        middle, to_center, total = centers[m], to_centers[m], summed[m]
        for s in range(tile.begins[m], tile.begins[m + 1]):
            row, y, often = back[s], raw[s], tile.times[s]
            out, beside = to_points[tile.points[s]], around[tile.points[s]]
            for c in range(len(middle)):
                value = row[c]
                to_center[c] += value
                weighted[c] += value * y[c]
                out[c] += factor[c] * value
            for c in range(len(middle)):
                total[c] += often * y[c]
                beside[c] += often * middle[c]
        for c in range(len(middle)):
            alone[c] += to_center[c]
            to_center[c] *= -factor[c]


@jit_inner
def _through_gate(back, buffers, gate, turned, arrived, to_reduce, to_reduce_bias, to_expand):
    """Turn the gradient ``back`` of what passed into that of the normalized members; add up the gate's own."""
    reduce, _, expand = gate
    flat, x, share, around = back.ravel(), buffers.normal.ravel(), buffers.opening.ravel(), turned.ravel()
    for i in range(len(flat)):
        passed = flat[i] * share[i]
        around[i] = passed * x[i] * (1 - share[i])
        flat[i] = passed
    add_product(buffers.hidden.T, turned, to_expand)
    dots(turned, expand, arrived)
    for s in range(len(arrived)):
        for h in range(len(reduce)):
            arrived[s, h] *= buffers.slope[s, h]
            to_reduce_bias[h] += arrived[s, h]
    add_product(arrived.T, buffers.normal, to_reduce)
    add_product(arrived, reduce, back)


@_jit
def spread_moments(constant, slope, members, points, degree, around, summed, to_points, to_centers):
    """Add what the moments of the members send: ``constant + slope (points_j - centers_m)`` to each member."""
    channels = points.shape[1]
    for j in range(len(points)):
        row, out, near, times = points[j], to_points[j], around[j], degree[j]
        for c in range(channels):
            out[c] += times * (constant[c] + slope[c] * row[c]) - slope[c] * near[c]
    for m in range(len(summed)):
        out, total = to_centers[m], summed[m]
        for c in range(channels):
            out[c] -= members * constant[c] + slope[c] * total[c]
