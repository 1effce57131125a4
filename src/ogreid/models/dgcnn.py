"""DGCNN as the paper's Table II trains it: one graph by position, four EdgeConvs, all levels together."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.models import Network, record_options
from ogreid.models.layers import MaxMeanPooling, initialize
from ogreid.models.layers.convolutions import FixedBlend
from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import edge_blend, nearest

SLOPE = 0.2


class TwoMapEdgeConv(nn.Module):
    """``max_j BatchNorm(theta(x_j - x_i) + phi(x_i))``: EdgeConv with a bias in each map, as DGL's is.

    Shapes: features (B, N, C), graph (B, N, k) -> (B, N, C').
    """

    def __init__(self, channels: int, width: int, *, backend: str = "auto") -> None:
        super().__init__()
        self.theta = nn.Linear(channels, width)
        self.phi = nn.Linear(channels, width)
        self.norm = nn.BatchNorm1d(width)
        self.blend = FixedBlend(1.0)
        self.backend = backend

    def forward(self, features: Float[Tensor, "B N C"], graph: Int[Tensor, "B N k"]) -> Float[Tensor, "B N D"]:
        source = functional.linear(features, self.theta.weight)  # (B, N, D)
        center = functional.linear(features, self.phi.weight - self.theta.weight, self.phi.bias + self.theta.bias)
        blended = edge_blend(source, center, graph, norm_of(self.norm), self.blend(), backend=self.backend)
        track_moments(self.norm, blended.moments, graph.numel())
        return blended.value


class DGCNN(Network):
    """A graph network without down-sampling: 1 366 144 parameters.

    Shapes: xyz (B, N, 3), rgb (B, N, 3) minus 0.5 -> embedding (B, ``embedding``).

    Args:
        channels: of the EdgeConvs.
        k: neighbors, the point itself among them.
        embedding: its width, and that of the map before pooling.
        backend: of every operation on points.

    Differs from Wang et al. (TOG 2019) as the released re-identification code does: the graph is built once, by
    position, and colors are the only features.
    """

    @record_options
    def __init__(
        self, channels: Sequence[int] = (64, 128, 256, 512), *, k: int = 20, embedding: int = 512, backend: str = "auto"
    ) -> None:
        super().__init__()
        self.k, self.width, self.backend = k, embedding, backend
        self.convolutions = nn.ModuleList(TwoMapEdgeConv(a, b, backend=backend) for a, b in pairwise((3, *channels)))
        self.gather = nn.Linear(sum(channels), embedding)
        self.pooling = MaxMeanPooling()
        self.project = nn.Linear(2 * embedding, embedding)
        self.norm = nn.BatchNorm1d(embedding)
        initialize(self, "fan_out")

    def forward(self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D"]:
        graph = nearest(xyz, self.k, backend=self.backend)
        features, levels = rgb, []
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features, graph), SLOPE)
            levels.append(features)
        pooled = self.pooling(self.gather(torch.cat(levels, 2)))  # (B, 2 D)
        return functional.leaky_relu(self.norm(self.project(pooled)), SLOPE)
