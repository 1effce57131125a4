"""BatchNorm as plain tensors: what an operation that normalises many rows takes and gives back."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moments", "Norm", "Normalised"]


class Moments(NamedTuple):
    """Mean and biased variance of each channel: ``mean`` (C,), ``variance`` (C,)."""

    mean: Tensor
    variance: Tensor


class Norm(NamedTuple):
    """A BatchNorm as plain tensors: ``scale`` and ``shift`` (C,), and what to normalise by.

    ``moments`` is None in training: then the moments of the batch count, and the gradient flows through them.
    """

    scale: Tensor
    shift: Tensor
    moments: Moments | None = None
    eps: float = 1e-5

    def rows(self, rows: Tensor) -> "Normalised":
        """Normalise (..., C) over every axis but the last."""
        if self.moments is None:
            variance, mean = torch.var_mean(rows, tuple(range(rows.dim() - 1)), correction=0)
        else:
            mean, variance = self.moments
        value = (rows - mean) * (self.scale * torch.rsqrt(variance + self.eps)) + self.shift
        return Normalised(value, Moments(mean.detach(), variance.detach()))


class Normalised(NamedTuple):
    """``value``, and the ``moments`` it was normalised by (detached)."""

    value: Tensor
    moments: Moments
