"""BatchNorm as plain tensors: what an operation that normalizes many rows takes and gives back."""

from typing import NamedTuple

import torch
from torch import Tensor

from ogreid.ops.collectives import total

__all__ = ["Moments", "Norm", "Normalized"]


class Moments(NamedTuple):
    """Mean and biased variance of each channel: ``mean`` (C,), ``variance`` (C,)."""

    mean: Tensor
    variance: Tensor


class Norm(NamedTuple):
    """A BatchNorm as plain tensors: ``scale`` and ``shift`` (C,), and what to normalize by.

    ``moments`` is None in training: then the moments of the batch count, and the gradient flows through them; of the
    batches of all processes together where the norm is ``shared``.
    """

    scale: Tensor
    shift: Tensor
    moments: Moments | None = None
    eps: float = 1e-5
    shared: bool = False

    def rows(self, rows: Tensor) -> "Normalized":
        """Normalize (..., C) over every axis but the last; half precision in float32, given back as it came."""
        wide = rows if rows.dtype == torch.float64 else rows.float()
        mean, variance = self.moments or self._moments(wide, tuple(range(rows.dim() - 1)))
        value = (wide - mean) * (self.scale * torch.rsqrt(variance + self.eps)) + self.shift
        return Normalized(value.to(rows.dtype), Moments(mean.detach(), variance.detach()))

    def pooled(self, sums: Tensor, rows: int) -> tuple[Tensor, Tensor | int]:
        """Sums (..., C) in double precision over ``rows`` rows, and their number: of all processes where shared."""
        if not self.shared:
            return sums, rows
        everything = total(torch.cat([sums.flatten(), sums.new_tensor([rows])]))
        return everything[:-1].view_as(sums), everything[-1]

    def _moments(self, rows: Tensor, axes: tuple[int, ...]) -> Moments:
        if not self.shared:
            variance, mean = torch.var_mean(rows, axes, correction=0)
            return Moments(mean, variance)
        wide = rows.double()
        sums, count = self.pooled(wide.sum(axes), rows.shape[:-1].numel())
        squares, _ = self.pooled((wide - sums / count).square().sum(axes), 0)
        return Moments((sums / count).to(rows.dtype), (squares / count).to(rows.dtype))


class Normalized(NamedTuple):
    """``value``, and the ``moments`` it was normalized by (detached)."""

    value: Tensor
    moments: Moments
