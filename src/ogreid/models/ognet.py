"""OG-Net: a graph network on colored point clouds for person re-identification.

Zheng et al., "Parameter-Efficient Person Re-identification in the 3D Space", TNNLS 2022, Figures 3 and 4. Colors are
the input features; positions define neighbors and groups. Axes: B batch, N points, M kept points, C channels.

Differs from the paper's text where the released code does (the code made the numbers): edges are (x_j - x_i, x_i) with
the point itself among its neighbors, groups are balls in index order, the gate pools nothing, the first reduction
keeps 768 points. The text's variants are options of :class:`OGNet`.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.models import Network, record_options
from ogreid.models.layers import MaxMeanPooling, initialize
from ogreid.models.layers.abstraction import GROUPINGS, GroupBranch, SetAbstraction
from ogreid.models.layers.convolutions import BLENDS, AttentionConv, EdgeConv, PointConv, SageConv, SumConv
from ogreid.ops import farthest_points, gather_points, nearest

SLOPE = 0.2  # of every LeakyReLU
Points = Float[Tensor, "B N 3"]
Features = Float[Tensor, "B N C"]
Graph = Int[Tensor, "B N k"]
Index = Int[Tensor, "B M"]


class Level:
    """The points of one resolution: xyz (B, N, 3), and index (B, M) of those that the next reduction keeps."""

    def __init__(self, xyz: Points, index: Index, k: int, backend: str) -> None:
        self.xyz, self.index, self.k, self.backend = xyz, index, k, backend

    @cached_property
    def graph(self) -> Graph:
        """Neighbors by position, computed once."""
        return nearest(self.xyz, self.k, backend=self.backend)

    @cached_property
    def centers(self) -> Points:
        """Positions of the kept points."""
        return gather_points(self.xyz, self.index)

    def reduced(self, count: int) -> "Level":
        """The kept points as a level of their own, whose next reduction keeps ``count``."""
        # Farthest points of the kept points are their first ones in order, so the cloud is sampled once.
        prefix = torch.arange(count, device=self.index.device).expand(self.index.shape[0], count)
        return Level(self.centers, prefix, self.k, self.backend)


def position_graph(level: Level, features: Features) -> Graph:
    """Neighbors by position."""
    return level.graph


def appearance_graph(level: Level, features: Features) -> Graph:
    """Neighbors by position and appearance together ("non-local": they may be far apart on the body)."""
    return nearest(torch.cat([level.xyz, features], 2), level.k, backend=level.backend)


def no_graph(level: Level, features: Features) -> Graph:
    """Each point its own only neighbor (k = 1)."""
    batch, points, _ = level.xyz.shape
    return torch.arange(points, device=level.xyz.device).expand(batch, points).unsqueeze(2)


class Residual(nn.Module):
    """``w * before + (1 - w) * after`` with a learned ``w``; ``before`` is projected where the width changes."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project: nn.Module = nn.Identity()
        if channels != width:
            self.project = nn.Sequential(nn.Linear(channels, width), nn.LeakyReLU(SLOPE))
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self, before: Features, after: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return torch.lerp(after, self.project(before), self.logit.sigmoid())


class GraphModule(nn.Module):
    """One module of Figure 3: graph convolutions, each on its graph, then fewer points where the module reduces.

    Shapes: a level of N points, features (B, N, C) -> (B, M, C'), or (B, N, C') without reduction.
    ``near`` is a residual connection around the convolutions, ``far`` one around the whole module.
    """

    def __init__(
        self,
        graph: Callable[[Level, Tensor], Tensor],
        convolutions: Sequence[nn.Module],
        reduction: SetAbstraction | None,
        near: Residual | None,
        far: Residual | None,
    ) -> None:
        super().__init__()
        self.graph, self.convolutions = graph, nn.ModuleList(convolutions)
        self.reduction, self.near, self.far = reduction, near, far

    def forward(self, level: Level, features: Features) -> Float[Tensor, "B M D"]:
        before = features
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features, self.graph(level, features)), SLOPE)
        if self.near is not None:
            features = self.near(before, features)  # (B, N, C')
        if self.reduction is not None:
            before = gather_points(before, level.index)
            features = self.reduction(level.xyz, level.centers, features)  # (B, M, C')
        return features if self.far is None else self.far(before, features)


class OGNet(Network):
    """The whole network, from points to embedding.

    Shapes: xyz (B, N, 3) meters, centered; rgb (B, N, 3) minus 0.5 -> embedding (B, ``embedding``).

    Args:
        channels: of each module; a module reduces the points where it is wider than the one before.
        k: neighbors, the point itself among them; 1 means no graph, each convolution one linear map.
        convolutions: graph convolutions in each module.
        num_kept: points left by each reduction. A smaller cloud is kept whole: networks are tested at low densities.
            Differs from the reference: its operator repeats points until there are enough.
        radii: of the groups around a kept point, in meters.
        num_samples: members of the groups, one number per radius.
        gate: whether a point-wise gate follows the first layer of each group's branch.
        residual: ``none``, ``after`` the reduction (OG-Net-Deep) or ``before`` it.
        convolution: ``edge`` (the released code), ``sum`` (Equation 1 of the text), ``sage`` or ``gat``.
        blend: of the neighbors in ``edge``: ``learned`` between maximum and mean, ``max``, ``mean``.
        last_graph: ``appearance`` (with position) or ``position``, for the last module.
        grouping: ``ball`` (the released code) or ``nearest`` (the paper's text).
        embedding: its width.
        backend: of every operation on points: ``auto``, ``plain``, ``fused`` or ``cluster``.

    Raises:
        InputError: a value that is not one of these; numbers that do not fit together.
    """

    @record_options
    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 512),
        *,
        k: int = 20,
        convolutions: int = 1,
        num_kept: Sequence[int] = (768, 384, 192, 96),
        radii: Sequence[float] = (0.1, 0.2, 0.4),
        num_samples: Sequence[int] = (8, 16, 32),
        gate: bool = True,
        residual: Literal["none", "before", "after"] = "none",
        convolution: Literal["edge", "sum", "sage", "gat"] = "edge",
        blend: Literal["learned", "max", "mean"] = "learned",
        last_graph: Literal["appearance", "position"] = "appearance",
        grouping: Literal["ball", "nearest"] = "ball",
        embedding: int = 512,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        _check_reductions(channels, num_kept)
        if convolutions < 1 or (grouping == "ball" and len(radii) != len(num_samples)):
            raise InputError(
                f"OG-Net: expected 1 or more convolutions and one of num_samples per radius, got {convolutions}, "
                f"{list(num_samples)} and {list(radii)}"
            )
        self.k, self.num_kept, self.width, self.backend = k, tuple(num_kept), embedding, backend
        edge: Callable[[int, int], nn.Module] = partial(EdgeConv, blend=BLENDS[blend], backend=backend)
        kinds = {"edge": edge, "sum": SumConv, "sage": SageConv, "gat": AttentionConv}
        convolve = PointConv if k == 1 else kinds[convolution]

        self.stages = nn.ModuleList()
        for previous, width in pairwise((3, *channels)):
            last = len(self.stages) == len(channels) - 1
            graph = appearance_graph if last and last_graph == "appearance" else position_graph
            inputs = [previous] + [width] * (convolutions - 1)
            branches = [GroupBranch(width, width // 2, width, gate=gate, backend=backend) for _ in num_samples]
            reduction = SetAbstraction(branches, GROUPINGS[grouping], radii, num_samples, backend=backend)
            self.stages.append(
                GraphModule(
                    no_graph if k == 1 else graph,
                    [convolve(one, width) for one in inputs],
                    reduction if width != previous else None,
                    Residual(previous, width) if residual == "before" else None,
                    Residual(previous, width) if residual == "after" else None,
                )
            )
        self.pooling = MaxMeanPooling()
        self.project = nn.Linear(2 * channels[-1], embedding, bias=False)
        self.norm = nn.BatchNorm1d(embedding)
        initialize(self, "fan_in")
        for part in self.modules():
            if isinstance(part, Residual):
                initialize(part, "fan_out")
        initialize(self.project, "fan_out")

    def forward(self, xyz: Points, rgb: Points) -> Float[Tensor, "B D"]:
        counts = [min(count, xyz.shape[1]) for count in self.num_kept]
        index = farthest_points(xyz, counts[0], skip_origin=True, backend=self.backend)
        level = Level(xyz, index, self.k, self.backend)
        following = iter((*counts[1:], 1))
        features = rgb
        for stage in self.stages:
            features = stage(level, features)
            if stage.reduction is not None:
                level = level.reduced(next(following))
        embedding: Tensor = self.norm(self.project(self.pooling(features)))
        return embedding


def _check_reductions(channels: Sequence[int], num_kept: Sequence[int]) -> None:
    """One number of kept points for each module that is wider than the one before."""
    steps = [after - before for before, after in pairwise((3, *channels))]
    reductions = sum(step > 0 for step in steps)
    if min(steps, default=-1) < 0 or reductions < len({*channels}):
        raise InputError(f"OG-Net: expected channels that do not shrink, the first more than 3, got {list(channels)}")
    if len(num_kept) != reductions or any(before < after for before, after in pairwise(num_kept)):
        whose = f"for channels = {list(channels)}"
        raise InputError(f"OG-Net: expected {reductions} num_kept, largest first, {whose}, got {list(num_kept)}")


ognet_small = partial(OGNet, channels=(48, 96, 192, 384))
"""OG-Net-Small as published: 1 200 833 parameters."""

ognet_deep = partial(OGNet, channels=(48, 96, 96, 192, 192, 384, 384), k=9, convolutions=2, residual="after")
"""OG-Net-Deep as published: 2 470 498 parameters; two convolutions per module, residual connections."""
