"""Embeddings as unit vectors on a grid on which their dot products are exact, and about a common center."""

from typing import NamedTuple

import numpy as np
from numba import njit

from ogreid.errors import InputError

_GRID = 2.0**24
_SAMPLED = 4096


def unit_vectors(rows: np.ndarray, name: str, order: np.ndarray | None = None) -> np.ndarray:
    """``rows[order]`` (all rows by default) normalized and rounded to multiples of 2^-24, (R, D) float32.

    A row that is zero or not finite is refused; ``name`` is what the message calls a row.
    """
    order = np.arange(len(rows)) if order is None else order
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float32)
    unit = np.empty((len(order), rows.shape[1]), dtype=np.float32)
    bad = _unit_rows(np.ascontiguousarray(rows), order, unit)
    if bad >= 0:
        problem = "holds a value that is not finite" if rows[bad].any() else "is all zeros"
        raise InputError(f"{name} {bad} {problem}, expected a vector that can be normalized: look at the network")
    return unit


def check_embeddings(query: np.ndarray, gallery: np.ndarray) -> None:
    """Refuse what cannot be (Q, D) and (G, D) embeddings of one network."""
    for side, rows in (("query", query), ("gallery", gallery)):
        if rows.dtype.kind not in "fiu":
            raise InputError(f"{side} embeddings are {rows.dtype}, expected real numbers")
        if rows.ndim != 2 or rows.size == 0:
            raise InputError(f"{side} embeddings: expected the shape (rows, width), none of them 0, got {rows.shape}")
    if query.shape[1] != gallery.shape[1]:
        widths = f"query embeddings are {query.shape[1]} wide, gallery embeddings {gallery.shape[1]}"
        raise InputError(f"{widths}: both must come from the same network")


@njit(nogil=True, cache=True)
def _unit_rows(rows: np.ndarray, order: np.ndarray, out: np.ndarray) -> int:
    """Returns -1, or the number of the first row of ``rows[order]`` that cannot be normalized.

    Sums run in index order in float64, so the same row gives the same bits on every machine.
    """
    for r in range(len(order)):
        source = rows[order[r]]
        square, unit = 0.0, 1.0
        for d in range(source.shape[0]):
            square += float(source[d]) * float(source[d])
        if not (0.0 < square < np.inf):  # float64 whose squares leave its range, or what cannot be normalized
            unit, square = float(np.max(np.abs(source))), 0.0
            if not 0.0 < unit < np.inf:
                return int(order[r])
            for d in range(source.shape[0]):
                square += (float(source[d]) / unit) ** 2
            if not square < np.inf:
                return int(order[r])
        scale = _GRID / np.sqrt(square)
        for d in range(source.shape[0]):
            out[r, d] = np.rint(float(source[d]) / unit * scale) / _GRID
    return -1


class CenteredRows(NamedTuple):
    """G rows of `unit_vectors` as a common center and residuals; row g is exactly ``center + residual[g]``.

    The embeddings of an untrained network lie in a narrow cone (cosines of an untrained OG-Net: 0.993, spread 0.004),
    where the rounding of a matrix product hides which of two scores is the larger. Products of the *residuals* are
    rounded by as much less as the residuals are shorter: q . g = (q - c) . (g - c) + c . (g - c) + q . c.
    """

    center: np.ndarray  # (D,) float32 on the grid: about the mean, or zero where a row lies far from that
    residual: np.ndarray  # (G, D) float32
    offset: np.ndarray  # (G,) float32, residual @ center
    radius: float  # length of the longest residual, 1 or less (up to rounding)
    first: int = 0  # number in the gallery of the first row

    @classmethod
    def build(cls, rows: np.ndarray) -> "CenteredRows":
        """Center ``rows`` (G, D) in place."""
        sample = rows[:: max(1, len(rows) // _SAMPLED)]
        mean = sample.sum(axis=0, dtype=np.float64) / max(1, len(sample))
        center = (np.rint(mean * _GRID) / _GRID).astype(np.float32)
        offset = np.empty(len(rows), dtype=np.float32)
        radius = _project_residuals(rows, center, offset)
        if radius > 1:  # longer residuals might need a 25th bit, and there would be nothing to gain
            center = np.zeros_like(center)
            radius = _project_residuals(rows, center, offset)
        else:
            rows -= center
        return cls(center, rows, offset, radius)

    def tile(self, first: int, length: int) -> "CenteredRows":
        """Up to ``length`` rows from ``first`` on."""
        part = slice(first, first + length)
        return self._replace(residual=self.residual[part], offset=self.offset[part], first=first)


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _project_residuals(rows: np.ndarray, center: np.ndarray, offset: np.ndarray) -> float:
    """Write the offsets; returns the length of the longest residual."""
    longest = 0.0
    for g in range(len(rows)):
        square, along = 0.0, 0.0
        for d in range(len(center)):
            residual = np.float64(rows[g, d]) - np.float64(center[d])
            square += residual * residual
            along += residual * np.float64(center[d])
        offset[g] = along
        longest = max(longest, square)
    return float(np.sqrt(longest))
