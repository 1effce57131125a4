"""Graph convolutions that the paper compares with EdgeConv, each in the per-point form.

All take features (B, N, C) and a graph (B, N, k), the point itself among its k neighbors, and give (B, N, D) after a
BatchNorm over points.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AttentionConv", "SageConv", "SumConv"]

Features = Float[Tensor, "B N C"]
Graph = Int[Tensor, "B N k"]
Convolved = Float[Tensor, "B N D"]


class _OwnAndOthers(nn.Module):
    """One linear map for the point itself, one for those it is blended with."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(channels, width)
        self.other = nn.Linear(channels, width, bias=False)
        self.norm = nn.BatchNorm1d(width)


class SumConv(_OwnAndOthers):
    """``sum over j != i of (theta_i x_i + theta_j x_j)``: Equation 1 of the paper, which the released code replaces.

    Source: Zheng et al. 2022, Equation 1.

    Args:
        channels: C.
        width: D.
    """

    def forward(self, features: Features, graph: Graph) -> Convolved:
        """Sum over the others."""
        sent = self.other(features)
        others = _gathered(sent, graph, "sum") - sent  # without the point itself
        return _normalized(self.norm, (graph.shape[2] - 1) * self.own(features) + others)


class SageConv(_OwnAndOthers):
    """``W x_i + V mean_j x_j`` over the neighbors.

    Source: Hamilton et al., Inductive representation learning on large graphs, NeurIPS 2017, mean aggregator.

    Args:
        channels: C.
        width: D.
    """

    def forward(self, features: Features, graph: Graph) -> Convolved:
        """Average the neighbors."""
        return _normalized(self.norm, self.own(features) + _gathered(self.other(features), graph, "mean"))


class AttentionConv(nn.Module):
    """``sum_j a_ij W x_j`` with ``a_ij`` the softmax over j of ``LeakyReLU(u W x_i + v W x_j)``, one head.

    Source: Velickovic et al., Graph attention networks, ICLR 2018.

    Args:
        channels: C.
        width: D.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.receiver = nn.Linear(width, 1, bias=False)
        self.sender = nn.Linear(width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Features, graph: Graph) -> Convolved:
        """Attend to the neighbors."""
        mapped = self.linear(features)  # (B, N, D)
        sent = self.sender(mapped).squeeze(2).gather(1, graph.flatten(1)).view_as(graph)
        attention = functional.leaky_relu(self.receiver(mapped) + sent, 0.2).softmax(dim=2)  # (B, N, k)
        return _normalized(self.norm, _gathered(mapped, graph, "sum", attention))


def _gathered(values: Convolved, graph: Graph, mode: str, weight: Tensor | None = None) -> Convolved:
    """Sum or mean of the neighbors' rows, without a tensor of edges."""
    clouds, points, _ = values.shape
    first = points * graph.new_ones(clouds).cumsum(0)[:, None, None] - points
    rows = (graph + first).flatten(0, 1)  # (B N, k)
    weights = None if weight is None else weight.flatten(0, 1)
    return functional.embedding_bag(rows, values.flatten(0, 1), mode=mode, per_sample_weights=weights).view_as(values)


def _normalized(norm: nn.BatchNorm1d, values: Convolved) -> Convolved:
    rows: Tensor = norm(values.flatten(0, 1))
    return rows.view_as(values)
