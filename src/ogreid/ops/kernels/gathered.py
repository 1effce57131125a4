"""What the gather over edges hands on, whichever device did it."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Gathered"]


class Gathered(NamedTuple):
    """What is needed to normalize, and for the backward; (B, N, C) unless said."""

    most: Tensor  # sign * the largest edge's source
    total: Tensor  # sum of the sources
    slot: Tensor  # which of the k edges is the largest
    degree: Tensor  # (B, N) int32, how often a point is a neighbor
