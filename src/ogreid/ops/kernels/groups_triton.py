"""Passes over every group of a batch, for CUDA; the same functions as `groups_numba`.

Letters: R = B M S rows (members), S members of a group, C channels, H hidden channels of the gate, D channels of the
result. No row is ever D wide in memory: the second map is reduced to its maximum where it is made. Nothing synchronizes
with the host, and nothing adds atomically: what adds up over programs is stored for each and added afterwards. Run so
far by Triton's interpreter only, never on a GPU.
"""

# ruff: noqa: ANN001, ANN202 - what Triton compiles is typed by Triton
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

import torch
import triton
import triton.language as tl
from torch import Tensor

from ogreid.ops.kernels import MemberGradients, Members, degrees, empty_slots
from ogreid.ops.kernels.edges_triton import incoming

ROWS = 32
"""Members handled by one program."""

LENGTH = 64
"""Groups over which one program adds up the gradient of the second map."""


@triton.jit
def _block(matrix, row, here, column, columns):
    """Some rows and columns of a matrix with ``columns`` columns, 0 where not ``here``."""
    inside = here[:, None] & (column < columns)[None, :]
    return tl.load(matrix + row[:, None] * columns + column[None, :], mask=inside, other=0.0)


@triton.jit
def _row(matrix, row, column, columns):
    return tl.load(matrix + row * columns + column, mask=column < columns, other=0.0)


@triton.jit
def _raw_members(points, centers, index, row, here, column, channels, size, members, groups):
    """Members minus their centers: (ROWS, CHANNELS)."""
    near, group = tl.load(index + row, mask=here, other=0), row // members
    value = _block(points, (group // groups) * size + near, here, column, channels)
    return value - _block(centers, group, here, column, channels)


@triton.jit
def _normal_members(raw, affine, column, channels):
    return _row(affine, 0, column, channels)[None, :] * raw + _row(affine, 1, column, channels)[None, :]


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _hidden(normal, reduce, reduce_bias, column, channels, h):
    """The gate's first layer: one hidden channel of every row, before the swish."""
    return tl.sum(normal * _row(reduce, h, column, channels)[None, :], 1) + tl.load(reduce_bias + h)


@triton.jit
def _opening(normal, reduce, reduce_bias, expand, column, channels, hidden):
    """The factor of the gate, in (0, 1); the last row of ``expand`` (H + 1, C) is its bias."""
    opened = tl.zeros_like(normal)
    opened += _row(expand, hidden, column, channels)[None, :]
    for h in range(hidden):
        value = _hidden(normal, reduce, reduce_bias, column, channels, h)
        opened += (value * _sigmoid(value))[:, None] * _row(expand, h, column, channels)[None, :]
    return _sigmoid(opened)


@triton.jit
def _sum_kernel(
    points, centers, index, sums, squares, channels, size, members, groups,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Of one group: the sum of its raw members, and of their squares; both (B M, C)."""
    group, place, column = tl.program_id(0), tl.arange(0, MEMBERS), tl.arange(0, CHANNELS)
    row, here = group * members + place, place < members
    raw = _raw_members(points, centers, index, row, here, column, channels, size, members, groups)
    tl.store(sums + group * channels + column, tl.sum(raw, 0), mask=column < channels)
    tl.store(squares + group * channels + column, tl.sum(raw * raw, 0), mask=column < channels)


@triton.jit
def _open_kernel(
    points, centers, index, affine, reduce, reduce_bias, expand, passed, rows, channels, size, members, groups, hidden,
    GATED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """What passes the gate: (R, C)."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, CHANNELS)
    raw = _raw_members(points, centers, index, row, row < rows, column, channels, size, members, groups)
    normal = _normal_members(raw, affine, column, channels)
    if GATED:
        normal *= _opening(normal, reduce, reduce_bias, expand, column, channels, hidden)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    tl.store(passed + row[:, None] * channels + column[None, :], normal, mask=inside)


@triton.jit
def _largest_kernel(
    passed, weight, most, slot, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of one group and some results: the largest of ``weight`` (C, D) times each member, and which member has it."""
    group, place = tl.program_id(0), tl.arange(0, MEMBERS)
    result = tl.program_id(1) * RESULTS + tl.arange(0, RESULTS)
    mapped = tl.zeros((MEMBERS, RESULTS), passed.dtype.element_ty)
    for start in range(0, channels, CHANNELS):
        column = start + tl.arange(0, CHANNELS)
        rows = _block(passed, group * members + place, place < members, column, channels)
        maps = _block(weight, column, column < channels, result, results)
        mapped += tl.dot(rows, maps, input_precision=PRECISION)
    mapped = tl.where((place < members)[:, None], mapped, -float("inf"))
    best = tl.max(mapped, 0)
    where = tl.min(tl.where(mapped == best[None, :], place[:, None], MEMBERS), 0)
    tl.store(most + group * results + result, best, mask=result < results)
    tl.store(slot + group * results + result, where.to(slot.dtype.element_ty), mask=result < results)


@triton.jit
def _to_largest_kernel(
    gradient, slot, weight, back, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of one group and some channels: add to ``back`` (R, C) what goes through ``weight`` (D, C) to the largest."""
    group, place = tl.program_id(0), tl.arange(0, MEMBERS)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row, here = group * members + place, place < members
    added = _block(back, row, here, column, channels)
    for start in range(0, results, RESULTS):
        result = start + tl.arange(0, RESULTS)
        chosen = tl.load(slot + group * results + result, mask=result < results, other=0).to(tl.int32)
        sent = tl.where(chosen[None, :] == place[:, None], _row(gradient, group, result, results)[None, :], 0.0)
        maps = _block(weight, result, result < results, column, channels)
        added += tl.dot(sent, maps, input_precision=PRECISION)
    inside = here[:, None] & (column < channels)[None, :]
    tl.store(back + row[:, None] * channels + column[None, :], added, mask=inside)


@triton.jit
def _to_weight_kernel(
    gradient, slot, passed, parts, groups, length, channels, results, members,
    MEMBERS: tl.constexpr, CHANNELS: tl.constexpr, RESULTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of ``length`` groups: the gradient of some results and channels of ``weight``; ``parts`` (runs, D, C)."""
    run, place = tl.program_id(0), tl.arange(0, MEMBERS)
    result = tl.program_id(1) * RESULTS + tl.arange(0, RESULTS)
    column = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    added = tl.zeros((RESULTS, CHANNELS), passed.dtype.element_ty)
    for group in range(run * length, tl.minimum(run * length + length, groups)):
        chosen = tl.load(slot + group * results + result, mask=result < results, other=0).to(tl.int32)
        sent = tl.where(chosen[:, None] == place[None, :], _row(gradient, group, result, results)[:, None], 0.0)
        rows = _block(passed, group * members + place, place < members, column, channels)
        added += tl.dot(sent, rows, input_precision=PRECISION)
    out = parts + run * results * channels + result[:, None] * channels + column[None, :]
    tl.store(out, added, mask=(result < results)[:, None] & (column < channels)[None, :])


@triton.jit
def _close_kernel(
    points, centers, index, affine, reduce, reduce_bias, expand, back, parts, biases,
    rows, channels, size, members, groups, hidden,
    GATED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Turn ``back`` (R, C), the gradient of what passed the gate, into that of the normalized members.

    ``parts`` (programs, 2 H + 3, C) get what this program's rows add to: the gradient of the normalized members, alone
    and times the raw member; the gate's ``reduce`` (H rows) and ``expand`` (H rows, and its bias); ``biases``
    (programs, H) get the bias of ``reduce``.
    """
    program = tl.program_id(0)
    row, column = program * ROWS + tl.arange(0, ROWS), tl.arange(0, CHANNELS)
    raw = _raw_members(points, centers, index, row, row < rows, column, channels, size, members, groups)
    value = _block(back, row, row < rows, column, channels)  # 0 outside: those rows add nothing
    part = parts + program * (2 * hidden + 3) * channels + column
    if GATED:
        normal = _normal_members(raw, affine, column, channels)
        share = _opening(normal, reduce, reduce_bias, expand, column, channels, hidden)
        value *= share
        to_opening = value * normal * (1.0 - share)
        for h in range(hidden):
            before = _hidden(normal, reduce, reduce_bias, column, channels, h)
            opened = _sigmoid(before)
            arrived = tl.sum(to_opening * _row(expand, h, column, channels)[None, :], 1)
            arrived = arrived * opened * (1.0 + before * (1.0 - opened))
            to_reduce, to_expand = arrived[:, None] * normal, (before * opened)[:, None] * to_opening
            tl.store(part + (2 + h) * channels, tl.sum(to_reduce, 0), mask=column < channels)
            tl.store(part + (2 + hidden + h) * channels, tl.sum(to_expand, 0), mask=column < channels)
            tl.store(biases + program * hidden + h, tl.sum(arrived, 0))
            value += arrived[:, None] * _row(reduce, h, column, channels)[None, :]
        tl.store(part + (2 + 2 * hidden) * channels, tl.sum(to_opening, 0), mask=column < channels)
    tl.store(part, tl.sum(value, 0), mask=column < channels)
    tl.store(part + channels, tl.sum(value * raw, 0), mask=column < channels)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    tl.store(back + row[:, None] * channels + column[None, :], value, mask=inside)


@triton.jit
def _collect_kernel(values, edges, first, degree, out, size, count, divisor, channels, CHANNELS: tl.constexpr):
    """Of one point: the sum of the rows of ``values`` that name it, row ``edge // divisor`` for each edge."""
    point, column = tl.program_id(0), tl.arange(0, CHANNELS)
    cloud, start = point // size, tl.load(first + point)
    added = tl.zeros((CHANNELS,), values.dtype.element_ty)
    for place in range(start, start + tl.load(degree + point)):
        edge = tl.load(edges + cloud * count + place)
        added += _row(values, (cloud * count + edge) // divisor, column, channels)
    tl.store(out + point * channels + column, added, mask=column < channels)


def _power(count: int, least: int = 1, most: int = 1 << 20) -> int:
    """The power of two that holds ``count``; at least 16 is what a product on tensor cores needs."""
    return max(least, min(most, int(triton.next_power_of_2(count))))


def _precision() -> str:
    """Products follow torch's own setting: exact float32, or tf32 where that is allowed."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _inputs(members: Members) -> tuple[list[Tensor], list[int]]:
    """As kernels read them: tensors, of the gate ``expand`` with channels last and its bias below; R C N S M H."""
    points, centers, index, affine, gate = members
    sizes = [index.numel(), points.shape[2], points.shape[1], index.shape[2], index.shape[1]]
    if not gate:
        return [points, centers, index, affine, *3 * [points]], [*sizes, 0]  # the last three are never read
    reduce, reduce_bias, expand, expand_bias = gate
    expand = torch.cat([expand.T, expand_bias.unsqueeze(0)])
    return [points, centers, index, affine, reduce, reduce_bias, expand], [*sizes, len(reduce)]


def _sums(points: Tensor, centers: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the raw members of each group, and of their squares: (B, M, C)."""
    batch, groups, members = index.shape
    channels, size = points.shape[2], points.shape[1]
    sums, squares = torch.empty_like(centers), torch.empty_like(centers)
    _sum_kernel[(batch * groups,)](
        points, centers, index, sums, squares, channels, size, members, groups,
        MEMBERS=_power(members), CHANNELS=_power(channels),
    )  # fmt: skip
    return sums, squares


def sum_of_members(points: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    """Sum and sum of squares of all raw members, (2, C) in double precision."""
    return torch.stack([part.sum((0, 1), dtype=torch.float64) for part in _sums(points, centers, index)])


def _open(tensors: list[Tensor], sizes: list[int]) -> Tensor:
    """What passes the gate: (R, C)."""
    rows, channels, *_, hidden = sizes
    passed = tensors[0].new_empty(rows, channels)
    blocks = {"GATED": hidden > 0, "ROWS": ROWS, "CHANNELS": _power(channels)}
    _open_kernel[(triton.cdiv(rows, ROWS),)](*tensors, passed, *sizes, **blocks)
    return passed


def forward(members: Members, weight: Tensor, counted: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Largest results and their members (B, M, D); second (C, C) and first (C,) moments of what passed the gate.

    ``weight`` (C, D) is signed; moments are 0 unless ``counted``.
    """
    (channels, results), (batch, groups, size) = weight.shape, members.indices.shape
    passed = _open(*_inputs(members))
    most = passed.new_empty(batch, groups, results)
    slot = empty_slots(most, size)
    blocks = {"MEMBERS": _power(size, 16), "CHANNELS": _power(channels, 16, 32), "RESULTS": _power(results, 16, 64)}
    _largest_kernel[(batch * groups, triton.cdiv(results, blocks["RESULTS"]))](
        passed, weight.contiguous(), most, slot, channels, results, size, **blocks, PRECISION=_precision()
    )
    second = torch.zeros(channels, channels, dtype=torch.float64, device=most.device)
    first = second[0]
    if counted:  # cloud by cloud in single precision, all clouds in double
        clouds = passed.view(batch, -1, channels)
        second, first = (clouds.mT @ clouds).sum(0, dtype=torch.float64), clouds.sum(1).sum(0, dtype=torch.float64)
    return most, slot, second, first


def backward(
    members: Members, weight: Tensor, kernel: Tensor, constant: Tensor, gradient: Tensor, slot: Tensor
) -> MemberGradients:
    """Every gradient but what the inner moments send; see :func:`ogreid.ops.kernels.group_loops.group_backward`."""
    points, centers, index, affine, _ = members
    tensors, sizes = _inputs(members)
    passed = _open(tensors, sizes)
    back = torch.addmm(constant, passed, kernel)
    to_weight = _through_largest(gradient.contiguous(), slot.contiguous(), weight, passed, back, index.shape[2])
    sums, to_gate = _through_gate(tensors, sizes, back)
    to_members = affine[0] * back
    degree = degrees(index, points.shape[1])
    reached = degree, *incoming(index, degree)
    to_points, around = _collect(to_members, *reached, 1), _collect(centers.flatten(0, 1), *reached, index.shape[2])
    to_centers, summed = -to_members.view(*index.shape, -1).sum(2), _sums(points, centers, index)[0]
    return MemberGradients(to_points, to_centers, to_weight, to_gate, sums, around, summed)


def _through_largest(
    gradient: Tensor, slot: Tensor, weight: Tensor, passed: Tensor, back: Tensor, members: int
) -> Tensor:
    """Add to ``back`` what the largest members get; the gradient of ``weight`` (D, C), in double precision."""
    (results, channels), groups = weight.shape, gradient.shape[:2].numel()
    blocks = {"MEMBERS": _power(members, 16), "CHANNELS": _power(channels, 16, 64), "RESULTS": _power(results, 16, 32)}
    sizes, options = (channels, results, members), {**blocks, "PRECISION": _precision()}
    columns, runs = triton.cdiv(channels, blocks["CHANNELS"]), triton.cdiv(groups, LENGTH)
    _to_largest_kernel[(groups, columns)](gradient, slot, weight.contiguous(), back, *sizes, **options)
    parts = weight.new_empty(runs, results, channels)
    grid = (runs, triton.cdiv(results, blocks["RESULTS"]), columns)
    _to_weight_kernel[grid](gradient, slot, passed, parts, groups, LENGTH, *sizes, **options)
    return parts.sum(0, dtype=torch.float64)


def _through_gate(tensors: list[Tensor], sizes: list[int], back: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Turn ``back`` into the gradient of the normalized members: its sums (2, C); and the gate's own gradients."""
    rows, channels, *_, hidden = sizes
    programs = triton.cdiv(rows, ROWS)
    parts, biases = back.new_empty(programs, 2 * hidden + 3, channels), back.new_empty(programs, hidden)
    blocks = {"GATED": hidden > 0, "ROWS": ROWS, "CHANNELS": _power(channels)}
    _close_kernel[(programs,)](*tensors, back, parts, biases, *sizes, **blocks)
    if not hidden:
        return parts[:, :2].sum(0, dtype=torch.float64), ()
    sums, reduce, expand, expand_bias = parts.sum(0, dtype=torch.float64).split([2, hidden, hidden, 1])
    # Copied, because a transposed column counts as contiguous, and DDP warns of strides other than the parameter's.
    transposed = expand.T.clone(memory_format=torch.contiguous_format)
    return sums, (reduce, biases.sum(0, dtype=torch.float64), transposed, expand_bias[0])


def _collect(values: Tensor, degree: Tensor, edges: Tensor, first: Tensor, divisor: int) -> Tensor:
    """(B, N, C): the sum of the rows of ``values`` that reach each point."""
    (batch, size), channels = degree.shape, values.shape[1]
    out = values.new_empty(batch, size, channels)
    _collect_kernel[(batch * size,)](
        values, edges, first, degree, out, size, edges.shape[1], divisor, channels, CHANNELS=_power(channels)
    )
    return out


def spread(points: Tensor, index: Tensor, gradients: MemberGradients, terms: Tensor) -> None:
    """Add to the gradients of points and centers what the inner moments send; ``terms`` (2, C)."""
    constant, slope = terms
    degree = degrees(index, points.shape[1]).unsqueeze(2)
    gradients.points.add_(degree * torch.addcmul(constant, slope, points) - slope * gradients.around)
    gradients.centers.sub_(index.shape[2] * constant + slope * gradients.summed)
