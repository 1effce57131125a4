"""Triton kernels over the members of groups, for CUDA. Run so far by Triton's interpreter only, never on a GPU.

Letters: R = B M S rows (members), S members of a group, C channels, H hidden channels of the gate, D channels of the
result. No row is ever D wide in memory: the second map is reduced to its maximum where it is made. Nothing adds
atomically: what adds up over programs is kept for each and added afterwards.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - what Triton compiles is typed by Triton
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

import triton
import triton.language as tl

__all__ = [
    "close_kernel",
    "collect_kernel",
    "largest_kernel",
    "open_kernel",
    "sum_kernel",
    "to_largest_kernel",
    "to_weight_kernel",
]


@triton.jit
def _raw_members(points, centers, index, row, column, rows, channels, total, members, groups):
    """Members minus their centers: (ROWS, CHANNELS), 0 outside."""
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    near = tl.load(index + row, mask=row < rows, other=0)
    group = row // members
    point = (group // groups) * total + near
    value = tl.load(points + point[:, None] * channels + column[None, :], mask=inside, other=0.0)
    return value - tl.load(centers + group[:, None] * channels + column[None, :], mask=inside, other=0.0)


@triton.jit
def _normal_members(raw, affine, column, channels):
    factor = tl.load(affine + column, mask=column < channels, other=0.0)
    shift = tl.load(affine + channels + column, mask=column < channels, other=0.0)
    return factor[None, :] * raw + shift[None, :]


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _hidden(normal, reduce, reduce_bias, column, channels, h):
    """The gate's first layer: one hidden channel of every row, before the swish."""
    weight = tl.load(reduce + h * channels + column, mask=column < channels, other=0.0)
    return tl.sum(normal * weight[None, :], 1) + tl.load(reduce_bias + h)


@triton.jit
def _door(normal, reduce, reduce_bias, expand, column, channels, hidden):
    """The gate's opening, in (0, 1); the last row of ``expand`` (H + 1, C) is its bias."""
    opened = tl.zeros_like(normal)
    opened += tl.load(expand + hidden * channels + column, mask=column < channels, other=0.0)[None, :]
    for h in range(hidden):
        value = _hidden(normal, reduce, reduce_bias, column, channels, h)
        swish = value * _sigmoid(value)
        opened += swish[:, None] * tl.load(expand + h * channels + column, mask=column < channels, other=0.0)[None, :]
    return _sigmoid(opened)


@triton.jit
def sum_kernel(
    points, centers, index, sums, squares, rows, channels, total, members, groups,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Of one group: the sum of its raw members, and of their squares; both (B M, C)."""
    group = tl.program_id(0)
    place, column = tl.arange(0, MEMBERS), tl.arange(0, CHANNELS)
    row = tl.where(place < members, group * members + place, rows)
    raw = _raw_members(points, centers, index, row, column, rows, channels, total, members, groups)
    raw = tl.where((place < members)[:, None], raw, 0.0)
    tl.store(sums + group * channels + column, tl.sum(raw, 0), mask=column < channels)
    tl.store(squares + group * channels + column, tl.sum(raw * raw, 0), mask=column < channels)


@triton.jit
def open_kernel(
    points, centers, index, affine, reduce, reduce_bias, expand, passed, rows, channels, total, members, groups, hidden,
    GATED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """What passes the gate: (R, C)."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, CHANNELS)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    raw = _raw_members(points, centers, index, row, column, rows, channels, total, members, groups)
    normal = _normal_members(raw, affine, column, channels)
    if GATED:
        normal *= _door(normal, reduce, reduce_bias, expand, column, channels, hidden)
    tl.store(passed + row[:, None] * channels + column[None, :], normal, mask=inside)


@triton.jit
def largest_kernel(
    passed, weight, most, slot, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of one group and some results: the largest of ``weight`` (C, D) times each member, and which member has it."""
    group = tl.program_id(0)
    place, result = tl.arange(0, MEMBERS), tl.program_id(1) * RESULTS + tl.arange(0, RESULTS)
    mapped = tl.zeros((MEMBERS, RESULTS), passed.dtype.element_ty)
    for start in range(0, channels, CHANNELS):
        column = start + tl.arange(0, CHANNELS)
        here = (place < members)[:, None] & (column < channels)[None, :]
        rows = tl.load(passed + (group * members + place)[:, None] * channels + column[None, :], mask=here, other=0.0)
        there = (column < channels)[:, None] & (result < results)[None, :]
        maps = tl.load(weight + column[:, None] * results + result[None, :], mask=there, other=0.0)
        mapped += tl.dot(rows, maps, input_precision=PRECISION)
    mapped = tl.where((place < members)[:, None], mapped, -float("inf"))
    best = tl.max(mapped, 0)
    where = tl.min(tl.where(mapped == best[None, :], place[:, None], MEMBERS), 0)
    tl.store(most + group * results + result, best, mask=result < results)
    tl.store(slot + group * results + result, where.to(slot.dtype.element_ty), mask=result < results)


@triton.jit
def to_largest_kernel(
    gradient, slot, weight, back, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of one group and some channels: ``back`` (R, C) gets what goes through ``weight`` (D, C) to the largest."""
    group = tl.program_id(0)
    place, column = tl.arange(0, MEMBERS), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    here = (place < members)[:, None] & (column < channels)[None, :]
    rows = back + (group * members + place)[:, None] * channels + column[None, :]
    added = tl.load(rows, mask=here, other=0.0)
    for start in range(0, results, RESULTS):
        result = start + tl.arange(0, RESULTS)
        value = tl.load(gradient + group * results + result, mask=result < results, other=0.0)
        chosen = tl.load(slot + group * results + result, mask=result < results, other=0).to(tl.int32)
        sent = tl.where(chosen[None, :] == place[:, None], value[None, :], 0.0)
        there = (result < results)[:, None] & (column < channels)[None, :]
        maps = tl.load(weight + result[:, None] * channels + column[None, :], mask=there, other=0.0)
        added += tl.dot(sent, maps, input_precision=PRECISION)
    tl.store(rows, added, mask=here)


@triton.jit
def to_weight_kernel(
    gradient, slot, passed, parts, total, length, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of ``length`` groups: the gradient of some results and channels of ``weight``; ``parts`` (runs, D, C)."""
    run = tl.program_id(0)
    result = tl.program_id(1) * RESULTS + tl.arange(0, RESULTS)
    column = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    place = tl.arange(0, MEMBERS)
    here = (place < members)[:, None] & (column < channels)[None, :]
    added = tl.zeros((RESULTS, CHANNELS), passed.dtype.element_ty)
    for group in range(run * length, tl.minimum(run * length + length, total)):
        value = tl.load(gradient + group * results + result, mask=result < results, other=0.0)
        chosen = tl.load(slot + group * results + result, mask=result < results, other=0).to(tl.int32)
        sent = tl.where(chosen[:, None] == place[None, :], value[:, None], 0.0)
        rows = tl.load(passed + (group * members + place)[:, None] * channels + column[None, :], mask=here, other=0.0)
        added += tl.dot(sent, rows, input_precision=PRECISION)
    out = parts + run * results * channels + result[:, None] * channels + column[None, :]
    tl.store(out, added, mask=(result < results)[:, None] & (column < channels)[None, :])


@triton.jit
def close_kernel(
    points, centers, index, affine, reduce, reduce_bias, expand, back, parts, biases,
    rows, channels, total, members, groups, hidden,
    GATED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Turn ``back`` (R, C), the gradient of what passed the gate, into that of the normal members.

    ``parts`` (programs, 2 H + 3, C) get what this program's rows add to: the gradient of the normal members, alone and
    times the raw member; the gate's ``reduce`` (H rows) and ``expand`` (H rows, and its bias); ``biases`` (programs, H)
    get the bias of ``reduce``.
    """
    program = tl.program_id(0)
    row, column = program * ROWS + tl.arange(0, ROWS), tl.arange(0, CHANNELS)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    raw = _raw_members(points, centers, index, row, column, rows, channels, total, members, groups)
    place = back + row[:, None] * channels + column[None, :]
    value = tl.load(place, mask=inside, other=0.0)  # 0 outside: those rows add nothing
    part = parts + program * (2 * hidden + 3) * channels + column
    if GATED:
        normal = _normal_members(raw, affine, column, channels)
        share = _door(normal, reduce, reduce_bias, expand, column, channels, hidden)
        value *= share
        turned = value * normal * (1.0 - share)
        for h in range(hidden):
            before = _hidden(normal, reduce, reduce_bias, column, channels, h)
            opened = _sigmoid(before)
            weight = tl.load(expand + h * channels + column, mask=column < channels, other=0.0)
            arrived = tl.sum(turned * weight[None, :], 1) * opened * (1.0 + before * (1.0 - opened))
            swish = before * opened
            to_reduce, to_expand = tl.sum(arrived[:, None] * normal, 0), tl.sum(swish[:, None] * turned, 0)
            tl.store(part + (2 + h) * channels, to_reduce, mask=column < channels)
            tl.store(part + (2 + hidden + h) * channels, to_expand, mask=column < channels)
            tl.store(biases + program * hidden + h, tl.sum(arrived, 0))
            through = tl.load(reduce + h * channels + column, mask=column < channels, other=0.0)
            value += arrived[:, None] * through[None, :]
        tl.store(part + (2 + 2 * hidden) * channels, tl.sum(turned, 0), mask=column < channels)
    tl.store(part, tl.sum(value, 0), mask=column < channels)
    tl.store(part + channels, tl.sum(value * raw, 0), mask=column < channels)
    tl.store(place, value, mask=inside)


@triton.jit
def collect_kernel(
    values, edges, first, degree, out, total, incoming, divisor, channels, CHANNELS: tl.constexpr
):  # fmt: skip
    """Of one point: the sum of the rows of ``values`` that name it, row ``edge // divisor`` for each edge."""
    point, column = tl.program_id(0), tl.arange(0, CHANNELS)
    cloud = point // total
    start = tl.load(first + point)
    added = tl.zeros((CHANNELS,), values.dtype.element_ty)
    for place in range(start, start + tl.load(degree + point)):
        edge = tl.load(edges + cloud * incoming + place)
        row = (cloud * incoming + edge) // divisor
        added += tl.load(values + row * channels + column, mask=column < channels, other=0.0)
    tl.store(out + point * channels + column, added, mask=column < channels)
