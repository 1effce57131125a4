"""A color histogram: the baseline without learning."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ogreid.models import Network, record_options


class Histogram(Network):
    """The L2-normalized joint RGB histogram of a cloud or crop, with ``bins`` per color. Nothing is learned.

    Shapes: xyz (B, N, 3) unused, rgb (B, N, 3) in [-0.5, 0.5] -> (B, ``bins``^3).

    Source: Swain and Ballard, Color indexing, IJCV 1991.
    """

    inputs = None

    @record_options
    def __init__(self, bins: int = 8) -> None:
        super().__init__()
        self.bins = bins
        self.width = bins**3

    def forward(self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D"]:
        cell = ((rgb + 0.5) * self.bins).long().clamp(0, self.bins - 1)  # (B, N, 3)
        index = (cell[..., 0] * self.bins + cell[..., 1]) * self.bins + cell[..., 2]  # (B, N)
        count = rgb.new_zeros(rgb.shape[0], self.width)
        count.scatter_add_(1, index, torch.ones_like(index, dtype=rgb.dtype))
        return functional.normalize(count, dim=1)
