"""Gather-and-blend over the edges of a graph, and its backward: compiled loops over a run of rows or of channels."""

# ruff: noqa: ANN001, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ogreid.ops.kernels import EdgeExtremes, degrees, empty_slots
from ogreid.ops.kernels.threads import share, share_rows

# Rows are sliced out before each loop over channels: an index that starts at 0 is known to be no negative one, and only
# then is the loop vectorized.
_jit = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"}, error_model="numpy")


def gather(source: Tensor, center: Tensor, graph: Tensor, sign: Tensor) -> tuple[EdgeExtremes, Tensor]:
    """Extremes of every point's edges; and (2, C) in double precision: sum and sum of squares of all edges."""
    batch, points, channels = source.shape
    slot, degree = empty_slots(source, graph.shape[2]), degrees(graph, points)
    extremes = EdgeExtremes(torch.empty_like(source), torch.empty_like(source), slot, degree)
    tensors = (source, center, graph, *extremes)
    return extremes, share_rows(_gather_rows, (batch, points), tensors, sign.numpy(), sums=(2, channels))


@_jit
def _gather_rows(sign, start, stop, source, center, graph, most, total, slot, degree, sums):
    k, channels = graph.shape[1], source.shape[1]
    best = np.empty(channels, source.dtype)
    where = np.empty(channels, np.int32)
    plain, squared = sums[0], sums[1]
    for i in range(start, stop):
        row, added = source[graph[i, 0]], total[i]
        for c in range(channels):
            best[c] = sign[c] * row[c]
            added[c] = row[c]
            where[c] = 0
        for e in range(1, k):
            row = source[graph[i, e]]
            for c in range(channels):
                added[c] += row[c]
                signed = sign[c] * row[c]
                where[c] = e if signed > best[c] else where[c]
                best[c] = max(signed, best[c])
        own, here, most_row, slot_row = source[i], center[i], most[i], slot[i]
        times = np.float64(degree[i])
        for c in range(channels):
            most_row[c] = best[c]
            slot_row[c] = where[c]
            a, b, s = np.float64(own[c]), np.float64(here[c]), np.float64(added[c])
            plain[c] += s + k * b
            squared[c] += times * a * a + b * (k * b + 2 * s)


def blend(extremes: EdgeExtremes, center: Tensor, terms: Tensor) -> Tensor:
    """``terms`` (4, C): factors of the largest, the sum and the center, and what is added."""
    out = torch.empty_like(center)
    rows = [tensor.view(1, -1, out.shape[2]) for tensor in (extremes.most, extremes.total, center, out)]
    share_rows(_blend_rows, rows[0].shape, rows, terms.numpy())
    return out


@_jit
def _blend_rows(terms, start, stop, most, total, center, out):
    of_most, of_total, of_center, constant = terms[0], terms[1], terms[2], terms[3]
    for i in range(start, stop):
        m, t, b, row = most[i], total[i], center[i], out[i]
        for c in range(len(row)):
            row[c] = of_most[c] * m[c] + of_total[c] * t[c] + of_center[c] * b[c] + constant[c]


def sum_gradients(gradient: Tensor, extremes: EdgeExtremes, center: Tensor) -> Tensor:
    """(4, C) in double precision: the gradient summed alone, and times the largest, the sum, the center."""
    channels = gradient.shape[2]
    rows = [tensor.view(1, -1, channels) for tensor in (gradient, extremes.most, extremes.total, center)]
    return share_rows(_sum_rows, rows[0].shape, rows, sums=(4, channels))


@_jit
def _sum_rows(start, stop, gradient, most, total, center, sums):
    alone, of_most, of_total, of_center = sums[0], sums[1], sums[2], sums[3]
    for i in range(start, stop):
        g, m, t, b = gradient[i], most[i], total[i], center[i]
        for c in range(len(g)):
            d = np.float64(g[c])
            alone[c] += d
            of_most[c] += d * m[c]
            of_total[c] += d * t[c]
            of_center[c] += d * b[c]


def scatter(
    gradient: Tensor, source: Tensor, center: Tensor, graph: Tensor, extremes: EdgeExtremes, terms: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of source and center.

    ``terms`` (5, C): what the largest edge gets of a row's gradient, what every edge gets, what the center gets; and
    what the moments send to each edge: a constant, and a factor of its value.
    """
    batch, _, channels = source.shape
    to_source, to_center = torch.empty_like(source), torch.empty_like(source)
    # Two threads may not share the rows of a cloud (they add to the same points), but its channels they may.
    cuts = max(1, min(torch.get_num_threads() // batch, channels // 16))
    borders = [channels * cut // cuts for cut in range(cuts + 1)]
    tensors = (gradient, source, center, graph, extremes.total, extremes.slot, extremes.degree, to_source, to_center)
    factors, arrays = terms.numpy(), [tensor.numpy() for tensor in tensors]

    def scatter_channels(piece: int) -> None:
        cloud, cut = divmod(piece, cuts)
        _scatter_channels(factors, *borders[cut : cut + 2], *(array[cloud] for array in arrays))

    share(scatter_channels, batch * cuts)
    return to_source, to_center


@_jit
def _scatter_channels(
    terms, first, last, gradient, source, center, graph, total, slot, degree, to_source, to_center
):  # fmt: skip
    points, k = graph.shape
    width = last - first
    largest, every, whole = terms[0, first:last], terms[1, first:last], terms[2, first:last]
    constant, slope = terms[3, first:last], terms[4, first:last]
    for j in range(points):
        out, a = to_source[j, first:last], source[j, first:last]
        times = degree[j]
        for c in range(width):
            out[c] = times * (constant[c] + slope[c] * a[c])
    spread = np.empty(width, source.dtype)
    for i in range(points):
        g, b, s = gradient[i, first:last], center[i, first:last], total[i, first:last]
        out, picked = to_center[i, first:last], slot[i, first:last]
        for c in range(width):
            spread[c] = every[c] * g[c] + slope[c] * b[c]
            out[c] = whole[c] * g[c] + k * (constant[c] + slope[c] * b[c]) + slope[c] * s[c]
        for e in range(k):
            row = to_source[graph[i, e], first:last]
            for c in range(width):
                row[c] += spread[c]
        for c in range(width):
            to_source[graph[i, picked[c]], first + c] += largest[c] * g[c]
