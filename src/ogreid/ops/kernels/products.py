"""Compiled products of small matrices, and a sigmoid that is vectorized: what fits into the cache with one tile.

Letters: I, J, K axes of a product; S members of a group, C and H channels.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of what it compiles
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit, types
from numba.extending import overload

# `reassoc` lets sums over channels be vectorized; their order is fixed when the loop is compiled, so results repeat.
FAST = {"nnan", "nsz", "contract", "reassoc"}
# For what only compiled code calls: no entry from Python is compiled, which takes a tenth off the first compilation.
# Arrays are copied in loops: `a[:] = b` compiles numba's error message for unequal shapes, seconds for each place.
jit_inner = njit(
    nogil=True, cache=True, fastmath=FAST, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
# Inlined before any optimization: only then are the loops vectorized as if they were written where they are called.
_inlined = njit(inline="always", fastmath=FAST, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

_LOG2E = np.float32(1.4426950408889634)
# 2^f for |f| <= 1/2, Taylor with f ln 2: relative error below 1e-7.
_P1, _P2, _P3 = np.float32(0.6931471805599453), np.float32(0.2402265069591007), np.float32(0.05550410866482158)
_P4, _P5, _P6 = np.float32(0.009618129107628477), np.float32(0.0013333558146428443), np.float32(0.000154035303933816)


def sigmoid(row, bits):
    """In place over a flat array, with room for as many int32 ``bits``; for compiled callers only."""
    raise NotImplementedError("compiled only")


@overload(sigmoid, jit_options={"fastmath": FAST, "error_model": "numpy"})
def _sigmoid_for(row, bits):
    """In place. float32: an exponential of additions and multiplications, which is vectorized where libm's is not."""
    if row.dtype == types.float32:
        return _sigmoid_single
    return _sigmoid_double


def _sigmoid_single(row, bits):
    for c in range(len(row)):
        t = min(max(-row[c] * _LOG2E, np.float32(-126)), np.float32(126))
        whole = np.floor(t + np.float32(0.5))
        f = t - whole
        bits[c] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        row[c] = np.float32(1) + f * (_P1 + f * (_P2 + f * (_P3 + f * (_P4 + f * (_P5 + f * _P6)))))
    power = bits.view(np.float32)
    for c in range(len(row)):
        row[c] = np.float32(1) / (np.float32(1) + row[c] * power[c])


def _sigmoid_double(row, bits):
    for c in range(len(row)):
        row[c] = 1.0 / (1.0 + np.exp(-row[c]))


@_inlined
def _add_one(factor, row, out):
    for j in range(len(out)):
        out[j] += factor * row[j]


@_inlined
def _add_four(factors, r0, r1, r2, r3, out):
    a0, a1, a2, a3 = factors[0], factors[1], factors[2], factors[3]
    for j in range(len(out)):
        out[j] += a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]


@_inlined
def _add_four_to_four(factors, r0, r1, r2, r3, o0, o1, o2, o3):
    """Factors (4, 4) times four rows, added to four rows: as many multiplications as loads and stores."""
    a0, a1, a2, a3 = factors[0, 0], factors[0, 1], factors[0, 2], factors[0, 3]
    b0, b1, b2, b3 = factors[1, 0], factors[1, 1], factors[1, 2], factors[1, 3]
    c0, c1, c2, c3 = factors[2, 0], factors[2, 1], factors[2, 2], factors[2, 3]
    d0, d1, d2, d3 = factors[3, 0], factors[3, 1], factors[3, 2], factors[3, 3]
    for j in range(len(o0)):
        v0, v1, v2, v3 = r0[j], r1[j], r2[j], r3[j]
        o0[j] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
        o1[j] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
        o2[j] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
        o3[j] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3


@jit_inner
def add_product(left, right, out):
    """``out += left @ right`` for (I, K), (K, J), four by four where the sizes allow."""
    rows, inner = left.shape
    whole_rows, whole_inner = rows - rows % 4, inner - inner % 4
    for i in range(0, whole_rows, 4):
        o0, o1, o2, o3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        for k in range(0, whole_inner, 4):
            r0, r1, r2, r3 = right[k], right[k + 1], right[k + 2], right[k + 3]
            _add_four_to_four(left[i : i + 4, k : k + 4], r0, r1, r2, r3, o0, o1, o2, o3)
    for i in range(whole_rows, rows):
        for k in range(0, whole_inner, 4):
            _add_four(left[i, k : k + 4], right[k], right[k + 1], right[k + 2], right[k + 3], out[i])
    for i in range(rows):
        for k in range(whole_inner, inner):
            _add_one(left[i, k], right[k], out[i])


@jit_inner
def add_moments(rows, times, out):
    """The upper triangle of ``out += rows.T @ (times * rows)`` for (S, C) and (S,); the rest is left undefined."""
    members, channels = rows.shape
    whole, whole_channels = members - members % 4, channels - channels % 4
    factors = np.empty((4, 4), rows.dtype)
    for i in range(0, whole_channels, 4):
        o0, o1, o2, o3 = out[i, i:], out[i + 1, i:], out[i + 2, i:], out[i + 3, i:]
        for s in range(0, whole, 4):
            for c in range(4):
                for k in range(4):
                    factors[c, k] = times[s + k] * rows[s + k, i + c]
            r0, r1, r2, r3 = rows[s, i:], rows[s + 1, i:], rows[s + 2, i:], rows[s + 3, i:]
            _add_four_to_four(factors, r0, r1, r2, r3, o0, o1, o2, o3)
        for s in range(whole, members):
            for c in range(4):
                _add_one(times[s] * rows[s, i + c], rows[s, i:], out[i + c, i:])
    for i in range(whole_channels, channels):
        for s in range(members):
            _add_one(times[s] * rows[s, i], rows[s, i:], out[i, i:])


@jit_inner
def dots(rows, weights, out):
    """``out = rows @ weights.T`` for (S, C), (H, C) with few H: sums over channels, four rows at a time."""
    whole = len(rows) - len(rows) % 4
    for h in range(out.shape[1]):
        w = weights[h]
        for s in range(0, whole, 4):
            r0, r1, r2, r3 = rows[s], rows[s + 1], rows[s + 2], rows[s + 3]
            d0 = d1 = d2 = d3 = w[0] * 0
            for c in range(len(w)):
                d0 += w[c] * r0[c]
                d1 += w[c] * r1[c]
                d2 += w[c] * r2[c]
                d3 += w[c] * r3[c]
            out[s, h], out[s + 1, h], out[s + 2, h], out[s + 3, h] = d0, d1, d2, d3
        for s in range(whole, len(rows)):
            r0 = rows[s]
            d0 = w[0] * 0
            for c in range(len(w)):
                d0 += w[c] * r0[c]
            out[s, h] = d0
