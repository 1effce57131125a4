"""Unit vectors as a common center and what each adds to it.

The embeddings of a network that has not learned yet lie in a narrow cone (cosines of an untrained OG-Net: 0.993, spread
0.004), where the rounding of a matrix product hides which of two scores is the larger. Products of the *rests* are
rounded by as much less as the rests are shorter:

    q . g = (q - c) . (g - c) + c . (g - c) + q . c
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["Centered"]

_GRID = 2.0**24
_SAMPLED = 4096


class Centered(NamedTuple):
    """G rows of `directions`; row g is exactly ``center + rest[g]``.

    Attributes:
        center: (D,) float32 on the grid of `directions`: about the mean, or zero where a row lies so far from that.
        rest: (G, D) float32.
        offset: (G,) float32, ``rest @ center``.
        reach: length of the longest rest, 1 or less (up to rounding).
    """

    center: np.ndarray
    rest: np.ndarray
    offset: np.ndarray
    reach: float

    @classmethod
    def take(cls, rows: np.ndarray) -> "Centered":
        """Center ``rows`` (G, D) in place."""
        sample = rows[:: max(1, len(rows) // _SAMPLED)]
        mean = sample.sum(axis=0, dtype=np.float64) / max(1, len(sample))
        center = (np.rint(mean * _GRID) / _GRID).astype(np.float32)
        offset = np.empty(len(rows), dtype=np.float32)
        reach = _rests(rows, center, offset)
        if reach > 1:  # longer rests might need a 25th bit, and there would be nothing to gain
            center = np.zeros_like(center)
            reach = _rests(rows, center, offset)
        else:
            rows -= center
        return cls(center, rows, offset, reach)

    def tile(self, first: int, length: int) -> "Centered":
        """Up to ``length`` rows from ``first`` on."""
        part = slice(first, first + length)
        return self._replace(rest=self.rest[part], offset=self.offset[part])


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _rests(rows: np.ndarray, center: np.ndarray, offset: np.ndarray) -> float:
    """Write the offsets; the length of the longest rest."""
    longest = 0.0
    for g in range(len(rows)):
        square, along = 0.0, 0.0
        for d in range(len(center)):
            rest = np.float64(rows[g, d]) - np.float64(center[d])
            square += rest * rest
            along += rest * np.float64(center[d])
        offset[g] = along
        longest = max(longest, square)
    return float(np.sqrt(longest))
