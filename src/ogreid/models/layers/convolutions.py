"""Graph convolutions: features (B, N, C) and a graph (B, N, k) to (B, N, D), without a tensor of edges.

Each is constructed from ``channels`` (C) and ``width`` (D). The point itself is one of its k neighbors. A BatchNorm is
part of each convolution, the activation is not.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import edge_blend

Features = Float[Tensor, "B N C"]
Graph = Int[Tensor, "B N k"]
Convolved = Float[Tensor, "B N D"]


class LearnedBlend(nn.Module):
    """Weight of the maximum against the mean, ``sigmoid(logit)`` in (0, 1), learned; initially one half ("GeM")."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self) -> Float[Tensor, ""]:
        return self.logit.sigmoid()


class FixedBlend(nn.Module):
    """Constant weight of the maximum against the mean: 1 is the maximum (the released code without ``--gem``)."""

    weight: Tensor

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight), persistent=False)

    def forward(self) -> Float[Tensor, ""]:
        return self.weight


BLENDS: dict[str, Callable[[], nn.Module]] = {
    "learned": LearnedBlend,
    "max": partial(FixedBlend, 1.0),
    "mean": partial(FixedBlend, 0.0),
}
"""Of the neighbors, by the name in the configuration, ``model.blend``."""


class EdgeConv(nn.Module):
    """One linear map of ``(x_j - x_i, x_i)`` per edge, BatchNorm over all edges, a blend over the neighbors.

    With the weight cut into ``[U V]``, an edge is ``U x_j + (V - U) x_i + b``: two products per point instead of one
    per edge. The bias cancels in training but moves the running mean, as in the published network.

    ``blend`` makes the module that gives the weight of the maximum against the mean.

    Source: Wang et al., Dynamic graph CNN, TOG 2019; Zheng et al. 2022, section III-B.
    """

    def __init__(
        self, channels: int, width: int, *, blend: Callable[[], nn.Module] = LearnedBlend, backend: str = "auto"
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, width)
        self.norm = nn.BatchNorm1d(width)
        self.blend = blend()
        self.backend = backend

    def forward(self, features: Features, graph: Graph) -> Convolved:
        offset, position = self.linear.weight.chunk(2, 1)
        source = functional.linear(features, offset)  # (B, N, D)
        center = functional.linear(features, position - offset, self.linear.bias)
        blended = edge_blend(source, center, graph, norm_of(self.norm), self.blend(), backend=self.backend)
        track_moments(self.norm, blended.moments, graph.numel())
        return blended.value


class PointConv(nn.Module):
    """One linear map per point: what is left of a graph convolution at k = 1."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Features, graph: Graph) -> Convolved:
        return _normalize(self.norm, self.linear(features))


class SumConv(nn.Module):
    """``sum_{j != i} (theta_i x_i + theta_j x_j)``: Zheng et al. 2022, Equation 1. The released code has EdgeConv."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(channels, width)
        self.other = nn.Linear(channels, width, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Features, graph: Graph) -> Convolved:
        mapped = self.other(features)
        others = _aggregate(mapped, graph, "sum") - mapped  # without the point itself
        return _normalize(self.norm, (graph.shape[2] - 1) * self.own(features) + others)


class SageConv(SumConv):
    """``W x_i + V mean_j x_j``: Hamilton et al., Inductive representation learning on large graphs, NeurIPS 2017."""

    def forward(self, features: Features, graph: Graph) -> Convolved:
        return _normalize(self.norm, self.own(features) + _aggregate(self.other(features), graph, "mean"))


class AttentionConv(nn.Module):
    """``sum_j a_ij W x_j`` with ``a_ij`` the softmax over j of ``LeakyReLU(u W x_i + v W x_j)``, one head.

    Source: Velickovic et al., Graph attention networks, ICLR 2018.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.receiver = nn.Linear(width, 1, bias=False)
        self.sender = nn.Linear(width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Features, graph: Graph) -> Convolved:
        mapped = self.linear(features)  # (B, N, D)
        sender = self.sender(mapped).squeeze(2).gather(1, graph.flatten(1)).view_as(graph)
        attention = functional.leaky_relu(self.receiver(mapped) + sender, 0.2).softmax(dim=2)  # (B, N, k)
        return _normalize(self.norm, _aggregate(mapped, graph, "sum", attention))


def _aggregate(values: Convolved, graph: Graph, mode: str, weight: Tensor | None = None) -> Convolved:
    """Sum or mean of the neighbors' rows."""
    clouds, points, _ = values.shape
    first = points * graph.new_ones(clouds).cumsum(0)[:, None, None] - points
    rows = (graph + first).flatten(0, 1)  # (B N, k)
    weights = None if weight is None else weight.flatten(0, 1)
    return functional.embedding_bag(rows, values.flatten(0, 1), mode=mode, per_sample_weights=weights).view_as(values)


def _normalize(norm: nn.BatchNorm1d, values: Convolved) -> Convolved:
    rows: Tensor = norm(values.flatten(0, 1))
    return rows.view_as(values)
