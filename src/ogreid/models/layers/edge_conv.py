"""EdgeConv, without a tensor of edges."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.models.layers.pooling import LearnedBlend
from ogreid.models.layers.statistics import norm_of, track_moments
from ogreid.ops import edge_blend

__all__ = ["EdgeConv"]


class EdgeConv(nn.Module):
    """One linear map of ``(x_j - x_i, x_i)`` for each edge, BatchNorm over all edges, a blend over the neighbors.

    With the weight cut into ``[U V]``, an edge is ``U x_j + (V - U) x_i + b``: two products for each point instead of
    one for each edge. The bias cancels in training but moves the running mean, as in the published network.

    Shapes: features (B, N, C), graph (B, N, k) -> (B, N, C').

    Args:
        channels: C.
        width: C'.
        blend: gives the share of the maximum.
        backend: of the operation on edges.

    Source: Wang et al., Dynamic graph CNN, TOG 2019; Zheng et al. 2022, section III-B.
    """

    def __init__(self, channels: int, width: int, *, blend: nn.Module | None = None, backend: str = "auto") -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, width)
        self.norm = nn.BatchNorm1d(width)
        self.blend = LearnedBlend() if blend is None else blend
        self.backend = backend

    def forward(self, features: Float[Tensor, "B N C"], graph: Int[Tensor, "B N k"]) -> Float[Tensor, "B N D"]:
        """Convolve and blend."""
        offset, position = self.linear.weight.chunk(2, 1)
        source = functional.linear(features, offset)  # (B, N, D)
        center = functional.linear(features, position - offset, self.linear.bias)
        blended = edge_blend(
            source,
            center,
            graph,
            norm_of(self.norm),
            self.blend(),
            backend=self.backend,
        )
        track_moments(self.norm, blended.moments, graph.numel())
        return blended.value
