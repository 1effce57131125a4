"""BatchNorm over many rows: exact moments, and running statistics of moments computed elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ogreid.ops.edges import Moments

__all__ = ["RowNorm", "evaluation_moments", "track_moments"]


class RowNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` of (R, C) rows with pairwise-summed moments.

    torch's own kernel adds up a channel of channels-last rows one by one in float32; over the 10^5 rows of a set
    abstraction that loses two digits: OG-Net-Deep's embedding moves by 1.5e-4 of its range, 6e-5 with this form
    (against float64, on the golden batch).
    """

    def forward(self, input: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
        """Normalise each channel over the rows."""
        moments = evaluation_moments(self)
        if moments is None:
            moments = Moments(*reversed(torch.var_mean(input, 0, correction=0)))
            track_moments(self, moments, len(input))
        scale = self.weight * torch.rsqrt(moments.variance + self.eps)
        return torch.addcmul(self.bias - moments.mean * scale, input, scale)


def evaluation_moments(norm: nn.BatchNorm1d) -> Moments | None:
    """The running moments where ``norm`` normalises by them; None in training, where the batch's own count."""
    if norm.training or norm.running_mean is None or norm.running_var is None:
        return None
    return Moments(norm.running_mean, norm.running_var)


@torch.no_grad()
def track_moments(norm: nn.BatchNorm1d, moments: Moments, count: int) -> None:
    """Update the running statistics as ``nn.BatchNorm1d`` does: exponential, or cumulative where momentum is None.

    Args:
        norm: in training; else nothing happens.
        moments: mean and *biased* variance of the batch.
        count: how many values each moment was taken over; the running variance is the unbiased one.
    """
    if not norm.training or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(moments.mean.to(norm.running_mean.dtype), share)
    unbiased = moments.variance.to(norm.running_var.dtype) * (count / max(count - 1, 1))
    norm.running_var.lerp_(unbiased, share)
