"""Set abstraction: fewer points, each speaking for its neighbourhood at several scales."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.nn.statistics import RowNorm, evaluation_moments, track_moments
from ogreid.ops import balls, group_max, group_members, nearest_of

__all__ = ["GROUPINGS", "BallGrouping", "Gate", "GroupBranch", "NearestGrouping", "SetAbstraction"]


class Gate(nn.Module):
    """Point-wise gate ``x * sigmoid(expand(swish(reduce(x))))``; the paper calls it squeeze-and-excitation.

    Differs from squeeze-and-excitation (Hu et al. 2018): nothing is pooled, each row opens its own gate. The hidden
    width is ``max(1, floor(width / 24))``. Shapes: (..., C) -> (..., C).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // 24)
        self.reduce = nn.Linear(width, hidden)
        self.expand = nn.Linear(hidden, width)

    def forward(self, rows: Float[Tensor, "*R C"]) -> Float[Tensor, "*R C"]:
        """Let each row through as far as it opens its gate."""
        opened: Tensor = self.expand(functional.silu(self.reduce(rows))).sigmoid()
        return rows * opened


class GroupBranch(nn.Module):
    """One scale: each member of a group through a small perceptron, then the maximum over the group.

    Layers are linear without bias, each followed by BatchNorm over all members; a gate may follow the first. There is
    no activation but the last ReLU: the published code has none between, and parity needs that. The first layer is
    applied to points, not to members: ``W (x_j - x_i, f_j) = W (x_j, f_j) - W (x_i, 0)``.

    Shapes: xyz (B, N, 3), centres (B, M, 3), features (B, N, C), index (B, M, S) -> (B, M, widths[-1]).

    Args:
        channels: C.
        widths: of the layers.
        gate: whether one follows the first layer.
        backend: of the operations on groups.
    """

    def __init__(self, channels: int, widths: Sequence[int], *, gate: bool, backend: str = "auto") -> None:
        super().__init__()
        assert len(widths) >= 2
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise((channels + 3, *widths)))
        self.norms = nn.ModuleList(RowNorm(width) for width in widths)
        self.gate: nn.Module = Gate(widths[0]) if gate else nn.Identity()
        self.backend = backend

    def forward(
        self,
        xyz: Float[Tensor, "B N 3"],
        centres: Float[Tensor, "B M 3"],
        features: Float[Tensor, "B N C"],
        index: Int[Tensor, "B M S"],
    ) -> Float[Tensor, "B M D"]:
        """One row for each centre."""
        rows = self.gate(self._first(xyz, centres, features, index))  # (B, M, S, widths[0])
        for linear, norm in zip(self.linears[1:-1], self.norms[1:-1], strict=True):
            rows = norm(linear(rows).flatten(0, 2)).view(*index.shape, -1)
        return self._last(rows)

    def _first(self, xyz: Tensor, centres: Tensor, features: Tensor, index: Tensor) -> Tensor:
        linear, norm = self.linears[0], self.norms[0]
        assert isinstance(linear, nn.Linear) and isinstance(norm, RowNorm)
        position, appearance = linear.weight[:, :3], linear.weight[:, 3:]
        points = functional.linear(xyz, position) + functional.linear(features, appearance)
        grouped = group_members(
            points,
            functional.linear(centres, position),
            index,
            norm.weight,
            norm.bias,
            moments=evaluation_moments(norm),
            eps=norm.eps,
            backend=self.backend,
        )
        track_moments(norm, grouped.moments, index.numel())
        return grouped.value

    def _last(self, rows: Tensor) -> Tensor:
        linear, norm = self.linears[-1], self.norms[-1]
        assert isinstance(linear, nn.Linear) and isinstance(norm, RowNorm)
        grouped = group_max(
            rows,
            linear.weight,
            norm.weight,
            norm.bias,
            moments=evaluation_moments(norm),
            eps=norm.eps,
            backend=self.backend,
        )
        track_moments(norm, grouped.moments, rows.shape[:3].numel())
        return grouped.value


class BallGrouping(nn.Module):
    """The first samples in index order within each radius (the released code)."""

    def __init__(self, radii: Sequence[float], samples: Sequence[int], *, backend: str = "auto") -> None:
        super().__init__()
        self.radii, self.samples, self.backend = tuple(radii), tuple(samples), backend

    def forward(self, xyz: Float[Tensor, "B N 3"], centres: Float[Tensor, "B M 3"]) -> tuple[Int[Tensor, "B M _"], ...]:
        """The members of each group, for each radius."""
        return balls(xyz, centres, self.radii, self.samples, backend=self.backend)


class NearestGrouping(nn.Module):
    """The nearest samples of each centre (the paper's text); radii play no part."""

    def __init__(self, radii: Sequence[float], samples: Sequence[int], *, backend: str = "auto") -> None:
        super().__init__()
        self.samples = tuple(samples)

    def forward(self, xyz: Float[Tensor, "B N 3"], centres: Float[Tensor, "B M 3"]) -> tuple[Int[Tensor, "B M _"], ...]:
        """The members of each group, for each number of samples; nearest first, so the smaller are prefixes."""
        widest = nearest_of(xyz, centres, max(self.samples))
        return tuple(widest[..., :count] for count in self.samples)


GROUPINGS: dict[str, type[BallGrouping] | type[NearestGrouping]] = {"ball": BallGrouping, "nearest": NearestGrouping}
"""How the members of a group are found, by the name that a configuration gives."""


class SetAbstraction(nn.Module):
    """Groups around the kept points at several scales, one branch for each, their results added.

    Shapes: xyz (B, N, 3), centres (B, M, 3), features (B, N, C) -> (B, M, C).

    Source: Qi et al., PointNet++, NeurIPS 2017 (multi-scale grouping); Zheng et al. 2022, section III-C.
    """

    def __init__(self, grouping: nn.Module, branches: Sequence[GroupBranch]) -> None:
        super().__init__()
        self.grouping = grouping
        self.branches = nn.ModuleList(branches)

    def forward(
        self, xyz: Float[Tensor, "B N 3"], centres: Float[Tensor, "B M 3"], features: Float[Tensor, "B N C"]
    ) -> Float[Tensor, "B M D"]:
        """One row for each centre."""
        groups = self.grouping(xyz, centres)
        scales = [branch(xyz, centres, features, index) for branch, index in zip(self.branches, groups, strict=True)]
        return torch.stack(scales).sum(0)
