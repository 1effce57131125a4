"""PointNet++ with one scale or several, as the paper's Table II trains it.

Differs from Qi et al. (NeurIPS 2017) as the released code does: there is no activation between the layers inside a
block, only BatchNorm, and one ReLU at its end.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.models import Network, record_options
from ogreid.models.layers import initialize
from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import balls, farthest_points, gather_points, group_max, group_members

Points = Float[Tensor, "B N 3"]
Features = Float[Tensor, "B N C"]
Scale = tuple[float, int, list[int]]

# For each level the number of kept points and its scales: radius in meters, number of samples, channels of the layers.
SSG = (512, ((0.2, 64, (64, 64, 128)),)), (128, ((0.4, 64, (128, 128, 256)),))
MSG = (
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
        normal = norm_of(self.norm).rows(self.linear(rows))
        track_moments(self.norm, normal.moments, rows[..., 0].numel())
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
        self, points: Features, centers: Float[Tensor, "B M 3"], index: Int[Tensor, "B M S"]
    ) -> Float[Tensor, "B M D"]:
        offset = functional.linear(centers, self.first.linear.weight[:, :3])
        members = group_members(self.first.linear(points), offset, index, norm_of(self.first.norm))  # (B, M, S, C)
        track_moments(self.first.norm, members.moments, index.numel())
        maximum = group_max(self.middle(members.value), self.last.linear.weight, norm_of(self.last.norm))
        track_moments(self.last.norm, maximum.moments, index.numel())
        return maximum.value


class Level(nn.Module):
    """Farthest points, and blocks at several scales around them, side by side: their positions and features."""

    def __init__(self, channels: int, num_kept: int, scales: Sequence[Scale], backend: str) -> None:
        super().__init__()
        self.num_kept, self.backend = num_kept, backend
        self.radii, self.num_samples, widths = zip(*scales, strict=True)
        self.blocks = nn.ModuleList(Block(channels, layers) for layers in widths)
        self.width = sum(layers[-1] for layers in widths)

    def forward(self, xyz: Points, features: Features) -> tuple[Float[Tensor, "B M 3"], Float[Tensor, "B M D"]]:
        index = farthest_points(xyz, self.num_kept, skip_origin=True, backend=self.backend)
        centers, points = gather_points(xyz, index), torch.cat([xyz, features], 2)
        groups = balls(xyz, centers, self.radii, self.num_samples, backend=self.backend)
        scales = [block(points, centers, members) for block, members in zip(self.blocks, groups, strict=True)]
        return centers, torch.cat(scales, 2)


class PointNet2(Network):
    """PointNet++: 1 594 880 parameters with one scale per level, 1 865 664 with three (:data:`pointnet2_msg`).

    Shapes: xyz (B, N, 3), rgb (B, N, 3) minus 0.5 -> embedding (B, ``embedding``).

    Args:
        levels: for each, the number of kept points and its scales as (radius, samples, channels of the layers).
        final: channels of the block over all points that are left.
        num_kept: points kept by each level, instead of those in ``levels``.
        width_mult: multiplies all channels and the members of every group, more than 0; 1 is the published network.
        embedding: its width.
        backend: of every operation on points.

    Raises:
        InputError: not one ``num_kept`` per level; ``width_mult`` not above 0.
    """

    @record_options
    def __init__(
        self,
        levels: Sequence[Sequence[Any]] = SSG,
        *,
        final: Sequence[int] = (256, 512, 1024),
        num_kept: Sequence[int] | None = None,
        width_mult: float = 1.0,
        embedding: int = 512,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        num_kept = [level[0] for level in levels] if num_kept is None else num_kept
        if len(num_kept) != len(levels):
            raise InputError(f"PointNet++: expected {len(levels)} num_kept, one per level, got {list(num_kept)}")
        if width_mult <= 0:
            raise InputError(f"PointNet++: expected width_mult > 0, got {width_mult}")

        def scaled(number: int) -> int:
            return max(1, int(number * width_mult))

        self.width, channels = embedding, 3
        self.levels = nn.ModuleList()
        for count, (_, scales) in zip(num_kept, levels, strict=True):
            plan = [(radius, scaled(samples), [*map(scaled, widths)]) for radius, samples, widths in scales]
            self.levels.append(level := Level(channels, count, plan, backend))
            channels = level.width
        self.final = Block(channels, widths := [*map(scaled, final)])
        initialize(self, "fan_in")
        first = nn.Linear(widths[-1], embedding), nn.BatchNorm1d(embedding), nn.LeakyReLU(0.2)
        self.project = nn.Sequential(*first, nn.Linear(embedding, embedding), nn.BatchNorm1d(embedding))
        initialize(self.project, "fan_out")

    def forward(self, xyz: Points, rgb: Points) -> Float[Tensor, "B D"]:
        features = rgb
        for level in self.levels:
            xyz, features = level(xyz, features)
        batch, points, _ = xyz.shape
        everything = torch.arange(points, device=xyz.device).expand(batch, 1, points)
        whole = self.final(torch.cat([xyz, features], 2), torch.zeros_like(xyz[:, :1]), everything)  # (B, 1, 1024)
        embedding: Tensor = self.project(whole.squeeze(1))
        return embedding


pointnet2_msg = partial(PointNet2, levels=MSG)
"""Three scales per level: 1 865 664 parameters."""
