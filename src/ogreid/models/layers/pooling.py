"""How several values become one: over neighbors, and over the points of a cloud."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BLENDS", "LearnedBlend", "MaxBlend", "MaxMeanPooling", "MeanBlend"]


class LearnedBlend(nn.Module):
    """The share of the maximum against the mean, ``sigmoid(logit)``, learned; one half at first ("GeM")."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self) -> Float[Tensor, ""]:
        """The share, in (0, 1)."""
        return self.logit.sigmoid()


class MaxBlend(nn.Module):
    """The maximum alone (the released code without ``--gem``)."""

    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.ones(()), persistent=False)

    def forward(self) -> Float[Tensor, ""]:
        """The share of the maximum: one."""
        return self.share


class MeanBlend(nn.Module):
    """The mean alone."""

    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(()), persistent=False)

    def forward(self) -> Float[Tensor, ""]:
        """The share of the maximum: nothing."""
        return self.share


BLENDS: dict[str, type[nn.Module]] = {"learned": LearnedBlend, "max": MaxBlend, "mean": MeanBlend}
"""How the neighbors of a point are blended, by the name that a configuration gives."""


class MaxMeanPooling(nn.Module):
    """Maximum and mean over the points of a cloud, side by side."""

    def forward(self, features: Float[Tensor, "B N C"]) -> Float[Tensor, "B D"]:
        """(B, N, C) -> (B, 2 C)."""
        return torch.cat([features.amax(1), features.mean(1)], 1)
