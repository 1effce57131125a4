"""PointNet++ with one scale or several, as the paper's Table II trains it.

Differs from Qi et al. (NeurIPS 2017) as the released code does: there is no activation between the layers inside a
block, only BatchNorm; one ReLU stands at its end. Parity needs that.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.models.layers.initialization import initialize_maps, initialize_projections
from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import balls, farthest_points, gather_points, group_max, group_members

__all__ = ["PointNet2", "pointnet2_msg", "pointnet2_ssg"]

Scale = tuple[float, int, Sequence[int]]
"""Radius, samples, widths of the layers."""
LevelPlan = tuple[int, Sequence[Scale]]
"""Kept points, and the scales of the groups around them."""

SSG: tuple[LevelPlan, ...] = (
    (512, ((0.2, 64, (64, 64, 128)),)),
    (128, ((0.4, 64, (128, 128, 256)),)),
)
MSG: tuple[LevelPlan, ...] = (
    (512, ((0.1, 16, (32, 32, 64)), (0.2, 32, (64, 64, 128)), (0.4, 128, (64, 96, 128)))),
    (128, ((0.2, 32, (64, 64, 128)), (0.4, 64, (128, 128, 256)), (0.8, 128, (128, 128, 256)))),
)


class Layer(nn.Module):
    """A linear map without bias, and BatchNorm over all rows. Shapes: (..., C) -> (..., C')."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, rows: Float[Tensor, "*R C"]) -> Float[Tensor, "*R D"]:
        """Map and normalize."""
        normal = norm_of(self.norm).rows(self.linear(rows))
        track_moments(self.norm, normal.moments, rows.shape[:-1].numel())
        return normal.value


class Block(nn.Module):
    """Each member of a group through linear layers and BatchNorm, then the maximum over the group and a ReLU.

    Shapes: points (B, N, 3 + C), position first, centers (B, M, 3), index (B, M, S) -> (B, M, widths[-1]).
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        first, *middle, last = (Layer(a, b) for a, b in pairwise((channels + 3, *widths)))
        self.first, self.middle, self.last = first, nn.Sequential(*middle), last

    def forward(
        self,
        points: Float[Tensor, "B N C"],
        centers: Float[Tensor, "B M 3"],
        index: Int[Tensor, "B M S"],
    ) -> Float[Tensor, "B M D"]:
        """One row for each center."""
        around = functional.linear(centers, self.first.linear.weight[:, :3])
        members = group_members(self.first.linear(points), around, index, norm_of(self.first.norm))  # (B, M, S, C)
        track_moments(self.first.norm, members.moments, index.numel())
        found = group_max(self.middle(members.value), self.last.linear.weight, norm_of(self.last.norm))
        track_moments(self.last.norm, found.moments, index.numel())
        return found.value


class Level(nn.Module):
    """Farthest points, and blocks at several scales around them, side by side."""

    def __init__(self, channels: int, kept: int, scales: Sequence[Scale], *, backend: str) -> None:
        super().__init__()
        self.kept, self.backend = kept, backend
        self.radii, self.samples = [scale[0] for scale in scales], [scale[1] for scale in scales]
        self.blocks = nn.ModuleList(Block(channels, scale[2]) for scale in scales)
        self.width = sum(scale[2][-1] for scale in scales)

    def forward(
        self, xyz: Float[Tensor, "B N 3"], features: Float[Tensor, "B N C"]
    ) -> tuple[Float[Tensor, "B M 3"], Float[Tensor, "B M D"]]:
        """Positions and features of the kept points."""
        kept = farthest_points(xyz, self.kept, skip_origin=True, backend=self.backend)
        centers, points = gather_points(xyz, kept), torch.cat([xyz, features], 2)
        groups = balls(xyz, centers, self.radii, self.samples, backend=self.backend)
        scales = [block(points, centers, index) for block, index in zip(self.blocks, groups, strict=True)]
        return centers, torch.cat(scales, 2)


class PointNet2(nn.Module):
    """PointNet++: 1 594 880 parameters with one scale, 1 865 664 with several.

    Shapes: xyz (B, N, 3), rgb (B, N, 3) minus 0.5 -> embedding (B, ``embedding``).

    Args:
        levels: for each, the kept points and its scales as (radius, samples, widths).
        final: widths of the block over all points that are left.
        kept: points kept by each level, instead of those in ``levels``.
        narrow: divides every width and the members of every group; 1 is the published network.
        embedding: its width.
        backend: of every operation on points.

    Raises:
        InputError: ``kept`` has not one number for each level.
    """

    def __init__(
        self,
        levels: Sequence[LevelPlan] = SSG,
        *,
        final: Sequence[int] = (256, 512, 1024),
        kept: Sequence[int] | None = None,
        narrow: int = 1,
        embedding: int = 512,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.width = embedding
        self.levels = nn.ModuleList()
        channels, final = 3, [width // narrow for width in final]
        for count, scales in _sized(levels, kept, narrow):
            self.levels.append(Level(channels, count, scales, backend=backend))
            channels = sum(scale[2][-1] for scale in scales)
        self.final = Block(channels, final)
        initialize_maps(self)
        self.project = nn.Sequential(
            nn.Linear(final[-1], embedding),
            nn.BatchNorm1d(embedding),
            nn.LeakyReLU(0.2),
            nn.Linear(embedding, embedding),
            nn.BatchNorm1d(embedding),
        )
        initialize_projections(self.project)

    def forward(self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D"]:
        """Embed a batch of clouds."""
        features = rgb
        for level in self.levels:
            xyz, features = level(xyz, features)
        batch, points, _ = xyz.shape
        everyone = torch.arange(points, device=xyz.device).expand(batch, 1, points)
        whole = self.final(torch.cat([xyz, features], 2), torch.zeros_like(xyz[:, :1]), everyone)  # (B, 1, 1024)
        embedding: Tensor = self.project(whole.squeeze(1))
        return embedding


def _sized(levels: Sequence[LevelPlan], kept: Sequence[int] | None, narrow: int) -> list[LevelPlan]:
    """The levels with other numbers of points, and a part of the widths and members."""
    kept = [level[0] for level in levels] if kept is None else kept
    if len(kept) != len(levels):
        raise InputError(f"PointNet++: kept = {list(kept)}; expected {len(levels)} numbers, one for each level")
    return [
        (
            count,
            [(radius, samples // narrow, [width // narrow for width in widths]) for radius, samples, widths in scales],
        )
        for count, (_, scales) in zip(kept, levels, strict=True)
    ]


pointnet2_ssg = partial(PointNet2, levels=SSG)
"""One scale at each level: 1 594 880 parameters."""

pointnet2_msg = partial(PointNet2, levels=MSG)
"""Three scales at each level: 1 865 664 parameters."""
