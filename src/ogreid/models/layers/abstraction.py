"""Set abstraction: fewer points, each with the features of its surroundings at several scales."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import GateWeights, balls, group_perceptron, nearest_of

Points = Float[Tensor, "B N 3"]
Centers = Float[Tensor, "B M 3"]
Groups = tuple[Int[Tensor, "B M _"], ...]


class Gate(nn.Module):
    """Point-wise gate ``x * sigmoid(expand(swish(reduce(x))))``; the paper calls it squeeze-and-excitation.

    Differs from squeeze-and-excitation (Hu et al. 2018): nothing is pooled, each row has its own gate. The hidden width
    is ``max(1, floor(width / 24))``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // 24)
        self.reduce = nn.Linear(width, hidden)
        self.expand = nn.Linear(hidden, width)

    def weights(self) -> GateWeights:
        return GateWeights(self.reduce.weight, self.reduce.bias, self.expand.weight, self.expand.bias)


class GroupBranch(nn.Module):
    """One scale: each member of a group through two linear layers, then the maximum over the group.

    Both layers, ``hidden`` and ``width`` wide, are without bias and followed by BatchNorm over all members; a gate may
    stand between them. The only activation is the last ReLU, as in the published code. The first layer is applied to
    points, not to members: ``W (x_j - x_i, f_j) = W (x_j, f_j) - W (x_i, 0)``.

    Shapes: points (B, N, 3 + C), position first, centers (B, M, 3), index (B, M, S) -> (B, M, ``width``).
    """

    def __init__(self, channels: int, hidden: int, width: int, *, gate: bool, backend: str = "auto") -> None:
        super().__init__()
        self.inner = nn.Linear(channels + 3, hidden, bias=False)
        self.inner_norm = nn.BatchNorm1d(hidden)
        self.gate = Gate(hidden) if gate else None
        self.outer = nn.Linear(hidden, width, bias=False)
        self.outer_norm = nn.BatchNorm1d(width)
        self.backend = backend

    def forward(
        self, points: Float[Tensor, "B N C"], centers: Centers, index: Int[Tensor, "B M S"]
    ) -> Float[Tensor, "B M D"]:
        rows = group_perceptron(
            functional.linear(points, self.inner.weight),
            functional.linear(centers, self.inner.weight[:, :3]),
            index,
            norm_of(self.inner_norm),
            None if self.gate is None else self.gate.weights(),
            self.outer.weight,
            norm_of(self.outer_norm),
            backend=self.backend,
        )
        track_moments(self.inner_norm, rows.inner, index.numel())
        track_moments(self.outer_norm, rows.outer, index.numel())
        return rows.value


def nearest_groups(
    xyz: Points, centers: Centers, radii: Sequence[float], num_samples: Sequence[int], *, backend: str = "auto"
) -> Groups:
    """Indices of the ``num_samples`` nearest points of each center; ``radii`` are not used."""
    widest = nearest_of(xyz, centers, max(num_samples))  # nearest first, so the smaller groups are prefixes
    return tuple(widest[..., :count] for count in num_samples)


GROUPINGS: dict[str, Callable[..., Groups]] = {"ball": balls, "nearest": nearest_groups}
"""By the name in the configuration, ``model.grouping``: the released code, and the paper's text."""


class SetAbstraction(nn.Module):
    """Groups around the kept points at several scales, one branch per scale, their results added.

    Shapes: xyz (B, N, 3), centers (B, M, 3), features (B, N, C) -> (B, M, C).

    Args:
        group: one of :data:`GROUPINGS`; ``radii`` (meters), ``num_samples`` and ``backend`` are its arguments.
        branches: one per scale.

    Source: Qi et al., PointNet++, NeurIPS 2017 (multi-scale grouping); Zheng et al. 2022, section III-C.
    """

    def __init__(
        self,
        branches: Sequence[GroupBranch],
        group: Callable[..., Groups],
        radii: Sequence[float],
        num_samples: Sequence[int],
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.branches, self.group = nn.ModuleList(branches), group
        self.radii, self.num_samples, self.backend = tuple(radii), tuple(num_samples), backend

    def forward(self, xyz: Points, centers: Centers, features: Float[Tensor, "B N C"]) -> Float[Tensor, "B M D"]:
        groups = self.group(xyz, centers, self.radii, self.num_samples, backend=self.backend)
        points = torch.cat([xyz, features], 2)
        scales = [branch(points, centers, index) for branch, index in zip(self.branches, groups, strict=True)]
        return torch.stack(scales).sum(0)
