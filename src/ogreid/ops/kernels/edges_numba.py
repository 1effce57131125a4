"""Compiled loops over the edges of a graph: gather-and-blend and its backward, a run of rows or of channels a call."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of what it compiles
# mypy: allow-untyped-defs

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ogreid.ops.kernels.gathered import Gathered
from ogreid.ops.kernels.threads import runs_of_rows, share

__all__ = [
    "add_gradients",
    "blend",
    "blend_rows",
    "degrees",
    "gather",
    "gather_extremes",
    "scatter",
    "scatter_edges",
    "sum_gradients",
]

# Rows are sliced out before each loop over channels: an index that starts at 0 is known to be no negative one, and only
# then is the loop vectorised.
_jit = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"}, error_model="numpy")


@_jit
def degrees(graph, out):
    """How often each point is a neighbor: ``out`` (N,) from ``graph`` (N, k)."""
    out[:] = 0
    for i in range(len(graph)):
        for e in range(graph.shape[1]):
            out[graph[i, e]] += 1


@_jit
def gather_extremes(source, center, graph, degree, sign, start, stop, most, slot, total, sums):
    """Over the neighbors of the rows ``start`` to ``stop``: the largest ``sign * source``, where, and the sum.

    ``sums`` (2, C) becomes, in double precision, the sum and the sum of squares of the edges ``source_j + center_i``.
    """
    k, channels = graph.shape[1], source.shape[1]
    best = np.empty(channels, source.dtype)
    where = np.empty(channels, np.int32)
    sums[:] = 0
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


@_jit
def blend_rows(most, total, center, terms, start, stop, out):
    """``terms[0] most + terms[1] total + terms[2] center + terms[3]``, the rows ``start`` to ``stop``; terms (4, C)."""
    of_most, of_total, of_center, constant = terms[0], terms[1], terms[2], terms[3]
    for i in range(start, stop):
        m, t, b, row = most[i], total[i], center[i], out[i]
        for c in range(len(row)):
            row[c] = of_most[c] * m[c] + of_total[c] * t[c] + of_center[c] * b[c] + constant[c]


@_jit
def add_gradients(gradient, most, total, center, start, stop, sums):
    """``sums`` (4, C) becomes the sum of the gradient, alone and times each of ``most``, ``total``, ``center``."""
    sums[:] = 0
    alone, of_most, of_total, of_center = sums[0], sums[1], sums[2], sums[3]
    for i in range(start, stop):
        g, m, t, b = gradient[i], most[i], total[i], center[i]
        for c in range(len(g)):
            d = np.float64(g[c])
            alone[c] += d
            of_most[c] += d * m[c]
            of_total[c] += d * t[c]
            of_center[c] += d * b[c]


@_jit
def scatter_edges(gradient, source, center, total, graph, slot, degree, terms, first, last, to_source, to_center):
    """Backward of one cloud for the channels ``first`` to ``last``: fills ``to_source`` and ``to_center`` (N, C).

    ``terms`` (5, C): what the largest edge gets of a row's gradient, what every edge gets, what the center gets; and
    what the moments send to each edge: a constant, and a factor of its value.
    """
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


def gather(source: Tensor, center: Tensor, graph: Tensor, sign: Tensor) -> tuple[Gathered, Tensor]:
    """Extremes of every point's edges; and (2, C) in double precision: sum and sum of squares of all edges."""
    batch, points, channels = source.shape
    slots = torch.uint8 if graph.shape[2] <= 256 else torch.int32
    degree = torch.empty(batch, points, dtype=torch.int32)
    saved = Gathered(torch.empty_like(source), torch.empty_like(source), torch.empty_like(source, dtype=slots), degree)
    runs = runs_of_rows(batch, points)
    sums = torch.empty(len(runs), 2, channels, dtype=torch.float64)
    a, b, near, signs = source.numpy(), center.numpy(), graph.numpy(), sign.numpy()
    most, total, slot, times, parts = *(tensor.numpy() for tensor in saved), sums.numpy()
    share(lambda cloud: degrees(near[cloud], times[cloud]), batch)

    def run_of_rows(run: int) -> None:
        cloud, start, stop = runs[run]
        inputs = (a[cloud], b[cloud], near[cloud], times[cloud], signs, start, stop)
        gather_extremes(*inputs, most[cloud], slot[cloud], total[cloud], parts[run])

    share(run_of_rows, len(runs))
    return saved, sums.sum(0)


def blend(saved: Gathered, center: Tensor, terms: Tensor) -> Tensor:
    """``terms`` (4, C): factors of the largest, the sum and the center, and what is added."""
    out = torch.empty_like(center)
    runs = runs_of_rows(1, out.shape[:2].numel())
    m, t, b, rows = (tensor.flatten(0, 1).numpy() for tensor in (saved.most, saved.total, center, out))
    factors = terms.numpy()
    share(lambda run: blend_rows(m, t, b, factors, *runs[run][1:], rows), len(runs))
    return out


def sum_gradients(gradient: Tensor, saved: Gathered, center: Tensor) -> Tensor:
    """(4, C) in double precision: the gradient summed alone, and times the largest, the sum, the center."""
    runs = runs_of_rows(1, gradient.shape[:2].numel())
    sums = torch.empty(len(runs), 4, gradient.shape[2], dtype=torch.float64)
    g, m, t, b = (tensor.flatten(0, 1).numpy() for tensor in (gradient, saved.most, saved.total, center))
    parts = sums.numpy()
    share(lambda run: add_gradients(g, m, t, b, *runs[run][1:], parts[run]), len(runs))
    return sums.sum(0)


def scatter(
    gradient: Tensor, source: Tensor, center: Tensor, graph: Tensor, saved: Gathered, terms: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of source and center; ``terms`` (5, C) as :func:`scatter_edges` takes them."""
    batch, _, channels = source.shape
    to_source, to_center = torch.empty_like(source), torch.empty_like(source)
    # Two clouds may not be shared by rows (they add to the same points), but by channels they may.
    cuts = max(1, min(torch.get_num_threads() // batch, channels // 16))
    borders = [channels * cut // cuts for cut in range(cuts + 1)]
    arrays = [tensor.numpy() for tensor in (gradient, source, center, saved.total, graph, saved.slot, saved.degree)]
    factors, a, c = terms.numpy(), to_source.numpy(), to_center.numpy()

    def piece_of_channels(piece: int) -> None:
        cloud, cut = divmod(piece, cuts)
        inputs = [array[cloud] for array in arrays]
        scatter_edges(*inputs, factors, *borders[cut : cut + 2], a[cloud], c[cloud])

    share(piece_of_channels, batch * cuts)
    return to_source, to_center
