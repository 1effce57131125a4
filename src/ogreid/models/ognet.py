"""OG-Net: a graph network on colored point clouds for person re-identification.

Zheng et al., "Parameter-Efficient Person Re-identification in the 3D Space", TNNLS 2022, Figures 3 and 4. Appearance is
what is learned from; position only says who is near whom. Axes: B batch, N points, M kept points, C channels.

Differs from the paper's text where the released code does (the code made the numbers): edges are (x_j - x_i, x_i) with
the point itself among its neighbors, groups are balls in index order, the gate pools nothing, the first reduction
keeps 768 points. The text's variants are options of :class:`OGNet`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError, nearest_names
from ogreid.models.layers.abstraction import GROUPINGS, GroupBranch, SetAbstraction
from ogreid.models.layers.edge_conv import EdgeConv
from ogreid.models.layers.initialization import initialize_maps, initialize_projections
from ogreid.models.layers.neighbor_convs import AttentionConv, SageConv, SumConv
from ogreid.models.layers.pooling import BLENDS, MaxMeanPooling
from ogreid.ops import farthest_points, gather_points, nearest

__all__ = ["OGNet", "ognet", "ognet_deep", "ognet_small"]

T = TypeVar("T")

SLOPE = 0.2
"""Of every LeakyReLU."""

Points = Float[Tensor, "B N 3"]
Features = Float[Tensor, "B N C"]
Graph = Int[Tensor, "B N k"]
Kept = Int[Tensor, "B M"]


class Level:
    """The points of one resolution: where they are, which of them are kept next, and who is near whom.

    Neighbors are found when they are first asked for, once for every convolution of the level.

    Attributes:
        xyz: (B, N, 3).
        kept: (B, M), what the next reduction keeps.
    """

    def __init__(self, xyz: Tensor, kept: Tensor, k: int, backend: str) -> None:
        self.xyz, self.kept, self.k, self.backend = xyz, kept, k, backend

    @cached_property
    def graph(self) -> Graph:
        """Neighbors by position."""
        return nearest(self.xyz, self.k, backend=self.backend)

    @cached_property
    def centers(self) -> Points:
        """Positions of the kept points."""
        return gather_points(self.xyz, self.kept)

    def reduced(self, count: int) -> "Level":
        """The kept points as a level of their own, whose next reduction keeps ``count``.

        Farthest points of the kept points are their first ones in order, so the cloud is sampled once.
        """
        prefix = torch.arange(count, device=self.kept.device).expand(len(self.kept), count)
        return Level(self.centers, prefix, self.k, self.backend)


class PositionGraph(nn.Module):
    """Neighbors by position."""

    def forward(self, level: Level, features: Features) -> Graph:
        """The level's own graph."""
        return level.graph


class AppearanceGraph(nn.Module):
    """Neighbors by position and appearance together ("non-local": they may be far apart on the body)."""

    def forward(self, level: Level, features: Features) -> Graph:
        """A new graph on ``concat(xyz, features)``."""
        return nearest(torch.cat([level.xyz, features], 2), level.k, backend=level.backend)


class NoGraph(nn.Module):
    """Each point its own only neighbor (k = 1)."""

    def forward(self, level: Level, features: Features) -> Graph:
        """(B, N, 1)."""
        batch, points, _ = level.xyz.shape
        return torch.arange(points, device=level.xyz.device).expand(batch, points).unsqueeze(2)


class PointConv(nn.Module):
    """One linear map of each point and BatchNorm: what is left of a graph convolution at k = 1."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Features, graph: Graph) -> Float[Tensor, "B N D"]:
        """Look at no neighbor."""
        rows: Tensor = self.norm(self.linear(features).flatten(0, 1))
        return rows.view(*features.shape[:2], -1)


class ShortCut(nn.Module):
    """``w * before + (1 - w) * after`` with a learned ``w``; ``before`` is projected where the width changes.

    Shapes: before (B, M, C), after (B, M, C') -> (B, M, C').
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project: nn.Module = nn.Identity()
        if channels != width:
            self.project = nn.Sequential(nn.Linear(channels, width), nn.LeakyReLU(SLOPE))
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self, before: Features, after: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Mix."""
        return torch.lerp(after, self.project(before), self.logit.sigmoid())


class NoShortCut(nn.Module):
    """What was made, alone."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()

    def forward(self, before: Features, after: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Forget ``before``."""
        return after


SHORT_CUTS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "none": (NoShortCut, NoShortCut),
    "before": (ShortCut, NoShortCut),
    "after": (NoShortCut, ShortCut),
}
"""What joins a module's input to its features before and after the reduction, by the name in a configuration."""


class GraphModule(nn.Module):
    """One module of Figure 3: graph convolutions, each on its graph, then fewer points where the module reduces.

    Shapes: a level of N points, features (B, N, C) -> (B, M, C'), or (B, N, C') without reduction.
    """

    def __init__(
        self,
        graph: nn.Module,
        convolutions: Sequence[nn.Module],
        reduction: SetAbstraction | None,
        near: nn.Module,
        far: nn.Module,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.convolutions = nn.ModuleList(convolutions)
        self.reduction = reduction
        self.near, self.far = near, far

    def forward(self, level: Level, features: Features) -> Float[Tensor, "B M D"]:
        """One module."""
        before = features
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features, self.graph(level, features)), SLOPE)
        features = self.near(before, features)  # (B, N, C')
        if self.reduction is None:
            joined: Tensor = self.far(before, features)
            return joined
        features = self.reduction(level.xyz, level.centers, features)  # (B, M, C')
        joined = self.far(gather_points(before, level.kept), features)
        return joined


class OGNet(nn.Module):
    """The whole network, from points to embedding.

    Shapes: xyz (B, N, 3) meters, centered; rgb (B, N, 3) minus 0.5 -> embedding (B, ``embedding``).

    Args:
        widths: channels of each module; a module reduces the points where it is wider than the one before.
        k: neighbors, the point itself among them; 1 means no graph, each convolution one linear map.
        convolutions: graph convolutions in each module.
        kept: points left by each reduction. A cloud that has fewer is kept whole: networks are tested at low densities.
            Differs from the reference: its operator repeats points until there are enough.
        radii: of the three groups around a kept point, in meters.
        samples: members of the three groups.
        gate: whether a point-wise gate follows the first layer of each group's branch.
        short_cut: ``none``, ``after`` the reduction (OG-Net-Deep) or ``before`` it.
        convolution: ``edge`` (the released code), ``sum`` (Equation 1 of the text), ``sage`` or ``gat``.
        blend: of the neighbors in ``edge``: ``learned`` between maximum and mean, ``max``, ``mean``.
        last_graph: ``appearance`` (with position) or ``position``, for the last module.
        grouping: ``ball`` (the released code) or ``nearest`` (the paper's text).
        embedding: its width.
        backend: of every operation on points: ``auto``, ``plain``, ``fused`` or ``cluster``.

    Raises:
        InputError: a value that is not one of these; numbers that do not fit together.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        *,
        k: int = 20,
        convolutions: int = 1,
        kept: Sequence[int] = (768, 384, 192, 96),
        radii: Sequence[float] = (0.1, 0.2, 0.4),
        samples: Sequence[int] = (8, 16, 32),
        gate: bool = True,
        short_cut: str = "none",
        convolution: str = "edge",
        blend: str = "learned",
        last_graph: str = "appearance",
        grouping: str = "ball",
        embedding: int = 512,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.k, self.kept, self.width, self.backend = k, _check_levels(widths, kept), embedding, backend
        near, far = _choose("short_cut", short_cut, SHORT_CUTS)
        convolve = _convolution(convolution, k, _choose("blend", blend, BLENDS), backend)
        appearance = _choose("last_graph", last_graph, {"appearance": True, "position": False})
        group = _choose("grouping", grouping, GROUPINGS)

        self.stages = nn.ModuleList()
        for channels, width in pairwise((3, *widths)):
            last = len(self.stages) == len(widths) - 1
            branches = [GroupBranch(width, width // 2, width, gate=gate, backend=backend) for _ in samples]
            self.stages.append(
                GraphModule(
                    _graph(k, last and appearance),
                    [convolve(channels if first else width, width) for first in [True] + [False] * (convolutions - 1)],
                    SetAbstraction(group(radii, samples, backend=backend), branches) if width != channels else None,
                    near(channels, width),
                    far(channels, width),
                )
            )
        self.pooling = MaxMeanPooling()
        self.project = nn.Linear(2 * widths[-1], embedding, bias=False)
        self.norm = nn.BatchNorm1d(embedding)
        self._initialize()

    def _initialize(self) -> None:
        initialize_maps(self)
        for part in self.modules():
            if isinstance(part, ShortCut):
                initialize_projections(part)
        initialize_projections(self.project)

    def forward(self, xyz: Points, rgb: Points) -> Float[Tensor, "B D"]:
        """Embed a batch of clouds."""
        kept = [min(count, xyz.shape[1]) for count in self.kept]
        sampled = farthest_points(xyz, kept[0], skip_origin=True, backend=self.backend)
        level = Level(xyz, sampled, self.k, self.backend)
        counts = iter((*kept[1:], 1))
        features = rgb
        for stage in self.stages:
            features = stage(level, features)
            if stage.reduction is not None:
                level = level.reduced(next(counts))
        embedding: Tensor = self.norm(self.project(self.pooling(features)))
        return embedding


def _graph(k: int, appearance: bool) -> nn.Module:
    if k == 1:
        return NoGraph()
    return AppearanceGraph() if appearance else PositionGraph()


def _convolution(name: str, k: int, blend: Callable[[], nn.Module], backend: str) -> Callable[[int, int], nn.Module]:
    """What makes one graph convolution from C and C'."""
    kinds: dict[str, Callable[[int, int], nn.Module]] = {
        "edge": lambda channels, width: EdgeConv(channels, width, blend=blend(), backend=backend),
        "sum": SumConv,
        "sage": SageConv,
        "gat": AttentionConv,
    }
    chosen = _choose("convolution", name, kinds)
    return PointConv if k == 1 else chosen


def _choose(option: str, value: str, known: Mapping[str, T]) -> T:
    if value not in known:
        raise InputError(f"OG-Net: {option} = {value!r} is unknown; {nearest_names(value, known)}")
    return known[value]


def _check_levels(widths: Sequence[int], kept: Sequence[int]) -> tuple[int, ...]:
    """One number of kept points for each module that is wider than the one before."""
    steps = [after - before for before, after in pairwise((3, *widths))]
    reductions = sum(step > 0 for step in steps)
    if min(steps, default=-1) < 0 or reductions < len({*widths}):
        raise InputError(f"OG-Net: widths = {list(widths)} must not shrink, and the first must be more than 3")
    if len(kept) != reductions or any(before < after for before, after in pairwise(kept)):
        raise InputError(
            f"OG-Net: kept = {list(kept)} does not fit widths = {list(widths)}; "
            f"give {reductions} numbers, largest first"
        )
    return tuple(kept)


ognet = OGNet
"""OG-Net as published: 1 951 738 parameters."""

ognet_small = partial(OGNet, widths=(48, 96, 192, 384))
"""OG-Net-Small as published: 1 200 833 parameters."""

ognet_deep = partial(OGNet, widths=(48, 96, 96, 192, 192, 384, 384), k=9, convolutions=2, short_cut="after")
"""OG-Net-Deep as published: 2 470 498 parameters; two convolutions a module, short-cuts."""
