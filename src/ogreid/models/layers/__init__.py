"""Layers and initial weights of two or more networks."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MaxMeanPooling", "initialize"]


class MaxMeanPooling(nn.Module):
    """Maximum and mean over the points of a cloud, side by side: (B, N, C) -> (B, 2 C)."""

    def forward(self, features: Float[Tensor, "B N C"]) -> Float[Tensor, "B D"]:
        return torch.cat([features.amax(1), features.mean(1)], 1)


def initialize(module: nn.Module, mode: Literal["fan_in", "fan_out"]) -> None:
    """Set the published initial weights in place: Kaiming normal, biases 0, BatchNorm weights N(1, 0.02).

    ``mode`` is ``fan_in`` for what the published code writes as 1x1 convolutions, ``fan_out`` for its linear layers.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode=mode)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
