"""Unit vectors as a common centre and what each adds to it.

The embeddings of a network that has not learned yet lie in a narrow cone (cosines of an untrained OG-Net: 0.993, spread
0.004), where the rounding of a matrix product hides which of two scores is the larger. Products of the *rests* are
rounded by as much less as the rests are shorter:

    q . g = (q - c) . (g - c) + c . (g - c) + q . c
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["Centred"]

_GRID = 2.0**24
_SAMPLED = 4096


class Centred(NamedTuple):
    """G rows of `directions`; row g is exactly ``centre + rest[g]``.

    Attributes:
        centre: (D,) float32 on the grid of `directions`: about the mean, or zero where a row lies so far from that.
        rest: (G, D) float32.
        offset: (G,) float32, ``rest @ centre``.
        reach: length of the longest rest, 1 or less (up to rounding).
    """

    centre: np.ndarray
    rest: np.ndarray
    offset: np.ndarray
    reach: float

    @classmethod
    def take(cls, rows: np.ndarray) -> "Centred":
        """Centre ``rows`` (G, D) in place."""
        sample = rows[:: max(1, len(rows) // _SAMPLED)]
        mean = sample.sum(axis=0, dtype=np.float64) / max(1, len(sample))
        centre = (np.rint(mean * _GRID) / _GRID).astype(np.float32)
        offset = np.empty(len(rows), dtype=np.float32)
        reach = _rests(rows, centre, offset)
        if reach > 1:  # longer rests might need a 25th bit, and there would be nothing to gain
            centre = np.zeros_like(centre)
            reach = _rests(rows, centre, offset)
        else:
            rows -= centre
        return cls(centre, rows, offset, reach)

    def tile(self, first: int, length: int) -> "Centred":
        """Up to ``length`` rows from ``first`` on."""
        part = slice(first, first + length)
        return self._replace(rest=self.rest[part], offset=self.offset[part])


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _rests(rows: np.ndarray, centre: np.ndarray, offset: np.ndarray) -> float:
    """Write the offsets; the length of the longest rest."""
    longest = 0.0
    for g in range(len(rows)):
        square, along = 0.0, 0.0
        for d in range(len(centre)):
            rest = np.float64(rows[g, d]) - np.float64(centre[d])
            square += rest * rest
            along += rest * np.float64(centre[d])
        offset[g] = along
        longest = max(longest, square)
    return float(np.sqrt(longest))
