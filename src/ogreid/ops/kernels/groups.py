"""Compiled loops over groups: members, gate, second map and maximum while a group's few rows are in the cache.

Letters: S members of a group, C channels of a member, H hidden channels of the gate, D channels of the result.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

from ogreid.ops.kernels.products import FAST, add_moments, add_product, dots, sigmoid

__all__ = ["group_backward", "group_forward", "spread_moments", "sum_members"]

# Arrays are copied in loops: `a[:] = b` compiles numba's error message for unequal shapes, seconds for each place.
_jit = njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")


@_jit
def sum_members(points, centres, index, start, stop, sums):
    """``sums`` (2, C) becomes, in double precision, the sum and the sum of squares of ``points_j - centres_m``."""
    channels = points.shape[1]
    plain, squared = np.empty(channels, points.dtype), np.empty(channels, points.dtype)
    sums[:] = 0
    first, second = sums[0], sums[1]
    for m in range(start, stop):
        middle = centres[m]
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


@_jit
def _workspace(members, channels, inner, kind):
    """Buffers of one group: raw and normal members, hidden swish with a column of ones, its slope, door, passed, bits.

    The ones make the bias of the gate's second layer one more row of its weight.
    """
    rows = (members, channels)
    raw, normal = np.empty(rows, kind), np.empty(rows, kind)
    door, passed = np.empty(rows, kind), np.empty(rows, kind)
    hidden, slope = np.ones((members, inner + 1), kind), np.empty((members, inner), kind)
    return raw, normal, hidden, slope, door, passed, np.empty(members * max(channels, inner), np.int32)


@_jit
def _open(points, middle, members, factor, shift, gate, space):
    """One group as far as what passes the gate: fills ``space`` (see :func:`_workspace`)."""
    raw, normal, hidden, slope, door, passed, bits = space
    reduce, reduce_bias, expand = gate
    for s in range(len(members)):
        row, y, x = points[members[s]], raw[s], normal[s]
        for c in range(len(middle)):
            y[c] = row[c] - middle[c]
            x[c] = factor[c] * y[c] + shift[c]
    # Loops over all members at once, where the order allows: a few channels are too short to be vectorised well.
    x, out = normal.ravel(), passed.ravel()
    if len(reduce) == 0:
        for i in range(len(x)):
            out[i] = x[i]
        return
    dots(normal, reduce, slope)
    for s in range(len(members)):
        for h in range(len(reduce)):
            slope[s, h] += reduce_bias[h]
            hidden[s, h] = slope[s, h]
    sigmoid(slope.ravel(), bits)
    for s in range(len(members)):
        for h in range(len(reduce)):
            value, share = hidden[s, h], slope[s, h]
            hidden[s, h] = value * share
            slope[s, h] = share * (1 + value * (1 - share))
    opened = door.ravel()
    opened[:] = 0
    add_product(hidden, expand, door)
    sigmoid(opened, bits)
    for i in range(len(x)):
        out[i] = x[i] * opened[i]


@_jit
def group_forward(points, centres, index, factor, shift, gate, weight, counted, start, stop, most, slot, second, first):
    """The groups ``start`` to ``stop``: the largest of ``weight`` (C, D) times each member, and which member has it.

    ``gate`` is (reduce (H, C), its bias (H,), expand (H + 1, C) with its bias below), H = 0 without one. ``second``
    (C, C) and ``first`` (C,) become, in double precision, the moments of what passed the gate; the moments of
    ``weight`` times it follow from them; they stay 0 unless ``counted``, and of ``second`` the upper triangle counts.
    """
    members, channels, results = index.shape[1], points.shape[1], weight.shape[1]
    space = _workspace(members, channels, len(gate[0]), points.dtype)
    passed = space[5]
    mapped = np.empty((members, results), points.dtype)
    squares = np.zeros((channels, channels), points.dtype)
    sums = np.zeros(channels, points.dtype)
    where = np.empty(results, np.int32)
    second[:] = 0
    first[:] = 0
    for m in range(start, stop):
        _open(points, centres[m], index[m], factor, shift, gate, space)
        if counted:
            for s in range(members):
                row = passed[s]
                for c in range(channels):
                    sums[c] += row[c]
            add_moments(passed, squares)
        mapped.ravel()[:] = 0
        add_product(passed, weight, mapped)
        best, chosen, row = most[m], slot[m], mapped[0]
        for d in range(results):
            best[d] = row[d]
            where[d] = 0
        for s in range(1, members):
            row = mapped[s]
            for d in range(results):
                where[d] = s if row[d] > best[d] else where[d]
                best[d] = max(row[d], best[d])
        for d in range(results):
            chosen[d] = where[d]
        if m % 8 == 7 or m == stop - 1:  # in single precision for the rows of eight groups only
            for c in range(channels):
                first[c] += sums[c]
                into, row = second[c], squares[c]
                for d in range(channels):
                    into[d] += row[d]
            sums[:] = 0
            squares[:] = 0


@_jit
def group_backward(points, centres, index, factor, shift, gate, weight, kernel, constant, gradient, slot, outputs):
    """Backward of one cloud, without what the moments of the members send (see :func:`spread_moments`).

    ``gradient`` (M, D) goes to the member ``slot`` says, through ``weight`` (D, C); every member gets ``constant`` (C,)
    and ``kernel`` (C, C) times itself. ``outputs`` are filled:

    - of the points (N, C), and the sum of each point's centres (N, C); of the centres (M, C), and the sum of each
      group's members (M, C); of ``weight`` (D, C);
    - of the gate, as ``gate`` is; the gradient of the normal members summed (2, C), alone and times the raw member.
    """
    to_points, around, to_centres, summed, to_weight, to_reduce, to_reduce_bias, to_expand, sums = outputs
    for output in (to_points, around, to_centres, summed, to_weight, to_reduce, to_expand, sums):
        output[:] = 0
    to_reduce_bias[:] = 0
    (groups, members), channels = index.shape, points.shape[1]
    space = _workspace(members, channels, len(gate[0]), points.dtype)
    raw, passed = space[0], space[5]
    back, turned = np.empty((members, channels), points.dtype), np.empty((members, channels), points.dtype)
    arrived = np.empty((members, len(gate[0])), points.dtype)
    alone, times = sums[0], sums[1]
    for m in range(groups):
        middle = centres[m]
        _open(points, middle, index[m], factor, shift, gate, space)
        for s in range(members):
            row = back[s]
            for c in range(channels):
                row[c] = constant[c]
        add_product(passed, kernel, back)
        _to_largest(gradient[m], slot[m], weight, passed, back, to_weight)
        if len(arrived[0]) > 0:
            _through_gate(back, space, gate, turned, arrived, to_reduce, to_reduce_bias, to_expand)
        to_centre, total = to_centres[m], summed[m]
        for s in range(members):
            row, y, out, near = back[s], raw[s], to_points[index[m, s]], around[index[m, s]]
            for c in range(channels):
                value = row[c]
                to_centre[c] += value
                times[c] += value * y[c]
                total[c] += y[c]
                out[c] += factor[c] * value
                near[c] += middle[c]
        for c in range(channels):
            alone[c] += to_centre[c]
            to_centre[c] *= -factor[c]


@_jit
def _to_largest(gradient, slot, weight, passed, back, to_weight):
    """The gradient of a maximum goes to one member for each result, and so does the weight's."""
    for d in range(len(gradient)):
        value = gradient[d]
        if value != 0:
            row, out, w, x = back[slot[d]], to_weight[d], weight[d], passed[slot[d]]
            for c in range(len(w)):
                row[c] += value * w[c]
                out[c] += value * x[c]


@_jit
def _through_gate(back, space, gate, turned, arrived, to_reduce, to_reduce_bias, to_expand):
    """Turn the gradient ``back`` of what passed into the gradient of the normal members; add up the gate's own."""
    _, normal, hidden, slope, door, _, _ = space
    reduce, _, expand = gate
    flat, x, share, around = back.ravel(), normal.ravel(), door.ravel(), turned.ravel()
    for i in range(len(flat)):
        passed = flat[i] * share[i]
        around[i] = passed * x[i] * (1 - share[i])
        flat[i] = passed
    add_product(hidden.T, turned, to_expand)
    dots(turned, expand, arrived)
    for s in range(len(arrived)):
        for h in range(len(reduce)):
            arrived[s, h] *= slope[s, h]
            to_reduce_bias[h] += arrived[s, h]
    add_product(arrived.T, normal, to_reduce)
    add_product(arrived, reduce, back)


@_jit
def spread_moments(points, degree, around, summed, constant, slope, members, to_points, to_centres):
    """Add what the moments of the members send: ``constant + slope (points_j - centres_m)`` to each member."""
    channels = points.shape[1]
    for j in range(len(points)):
        row, out, near, times = points[j], to_points[j], around[j], degree[j]
        for c in range(channels):
            out[c] += times * (constant[c] + slope[c] * row[c]) - slope[c] * near[c]
    for m in range(len(summed)):
        out, total = to_centres[m], summed[m]
        for c in range(channels):
            out[c] -= members * constant[c] + slope[c] * total[c]
