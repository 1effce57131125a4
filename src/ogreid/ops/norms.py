"""BatchNorm as plain tensors: what an operation that normalizes many rows takes and returns."""

from typing import NamedTuple

import torch
from torch import Tensor

from ogreid.ops.collectives import all_reduce


class Moments(NamedTuple):
    """Mean and biased variance of each channel: ``mean`` (C,), ``variance`` (C,)."""

    mean: Tensor
    variance: Tensor


class Normalized(NamedTuple):
    """``value``, and the ``moments`` it was normalized by (detached)."""

    value: Tensor
    moments: Moments


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

    def rows(self, rows: Tensor) -> Normalized:
        """Normalize (..., C) over every axis but the last; half precision is computed in float32."""
        wide = rows if rows.dtype == torch.float64 else rows.float()
        mean, variance = self.moments or self._moments(wide, tuple(range(rows.dim() - 1)))
        value = (wide - mean) * (self.scale * torch.rsqrt(variance + self.eps)) + self.shift
        return Normalized(value.to(rows.dtype), Moments(mean.detach(), variance.detach()))

    def _moments(self, rows: Tensor, axes: tuple[int, ...]) -> Moments:
        if not self.shared:
            return Moments(*torch.var_mean(rows, axes, correction=0)[::-1])
        wide = rows.double()
        sums, count = self._pooled(wide.sum(axes), rows.shape[:-1].numel())
        squares, _ = self._pooled((wide - sums / count).square().sum(axes), 0)
        return Moments((sums / count).to(rows.dtype), (squares / count).to(rows.dtype))

    def _pooled(self, sums: Tensor, rows: int) -> tuple[Tensor, Tensor | int]:
        """Sums (..., C) in double precision over ``rows`` rows, and their number: of all processes where shared."""
        if not self.shared:
            return sums, rows
        everything = all_reduce(torch.cat([sums.flatten(), sums.new_tensor([rows])]))
        return everything[:-1].view_as(sums), everything[-1]

    def detached_moments(self) -> Moments | None:
        """Those to normalize by where they do not depend on the rows."""
        return self.moments and Moments(*(moment.detach() for moment in self.moments))

    def moments_of(self, sums: Tensor, rows: int, dtype: torch.dtype) -> Moments:
        """Of ``rows`` rows with these sums and sums of squares, (2, C) in double precision."""
        sums, count = self._pooled(sums, rows)
        mean = sums[0] / count
        return Moments(mean.to(dtype), (sums[1] / count - mean.square()).clamp_min(0).to(dtype))

    def factor(self, scale: Tensor, moments: Moments) -> Tensor:
        """``scale / sqrt(variance + eps)``, by which a row is multiplied, in double precision."""
        return scale.double() * torch.rsqrt(moments.variance.double() + self.eps)

    def backward(
        self, scale: Tensor, moments: Moments, alone: Tensor, spread: Tensor, rows: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the scale, and what each row ``y`` gets through the moments: ``constant + slope y``.

        From ``alone``, the gradient ``d`` of the normalized rows summed, and ``spread``, ``sum d (y - mean)``: both
        (C,) in double precision over the ``rows`` of this process.
        """
        inverse = torch.rsqrt(moments.variance.double() + self.eps)
        to_scale = inverse * spread
        if self.moments is not None:
            return to_scale, torch.zeros_like(inverse), torch.zeros_like(inverse)
        (alone, spread), count = self._pooled(torch.stack([alone, spread]), rows)
        factor = scale.double() * inverse
        slope = -factor * inverse.square() * spread / count
        return to_scale, -factor * alone / count - slope * moments.mean, slope
