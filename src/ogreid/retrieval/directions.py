"""Embeddings as directions: unit vectors on a grid on which their dot products are exact."""

import numpy as np
from numba import njit

from ogreid.errors import InputError

__all__ = ["check_rows", "directions", "same_width"]

_GRID = 2.0**24


def directions(rows: np.ndarray, what: str, order: np.ndarray | None = None) -> np.ndarray:
    """``rows[order]`` (all rows where no order is given) as unit vectors on the grid, (R, D) float32.

    Raises:
        InputError: a row that is zero or not finite; ``what`` it is called.
    """
    order = np.arange(len(rows)) if order is None else order
    unit = np.empty((len(order), rows.shape[1]), dtype=np.float32)
    bad = _unit_rows(np.ascontiguousarray(rows), order, unit)
    if bad >= 0:
        came = "holds a value that is not finite" if rows[bad].any() else "is all zeros"
        raise InputError(f"{what} {bad} {came}, so it has no direction to compare: look at the network")
    return unit


def check_rows(side: str, rows: np.ndarray) -> None:
    """Embeddings of one side are (rows, width) and real.

    Raises:
        InputError: they are not.
    """
    if rows.dtype.kind not in "fiu":
        raise InputError(f"{side} embeddings are {rows.dtype}, expected real numbers")
    if rows.ndim != 2 or rows.size == 0:
        raise InputError(f"{side} embeddings have the shape {rows.shape}, expected (rows, width) with at least one row")


def same_width(query: np.ndarray, gallery: np.ndarray) -> None:
    """Both sides are embeddings of one width.

    Raises:
        InputError: they are not.
    """
    check_rows("query", query)
    check_rows("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query embeddings are {query.shape[1]} wide, gallery embeddings {gallery.shape[1]}: both must come from "
            "the same network"
        )


@njit(nogil=True, cache=True)
def _unit_rows(rows: np.ndarray, order: np.ndarray, out: np.ndarray) -> int:
    """Write ``rows[order]`` (R, D), normalized and rounded to multiples of 2^-24, into ``out`` (R, D) float32.

    Sums run in index order in float64, so the same row gives the same bits on every machine.

    Returns:
        -1, or the number (before ``order``) of the first row that has no direction: zero or not finite.
    """
    for r in range(len(order)):
        source = rows[order[r]]
        square = 0.0
        for d in range(source.shape[0]):
            square += float(source[d]) * float(source[d])
        if not (0.0 < square < np.inf):
            return int(order[r])
        scale = _GRID / np.sqrt(square)
        for d in range(source.shape[0]):
            out[r, d] = np.rint(float(source[d]) * scale) / _GRID
    return -1
