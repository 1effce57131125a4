"""A BatchNorm module as the operations take it, and its running statistics."""

import torch
from torch import nn

from ogreid.ops import Moments, Norm

__all__ = ["norm_of", "track_moments"]


def norm_of(norm: nn.BatchNorm1d) -> Norm:
    """``norm`` as plain tensors: with its running moments in evaluation, with none (the batch's own) in training."""
    if norm.training or norm.running_mean is None or norm.running_var is None:
        return Norm(norm.weight, norm.bias, None, norm.eps)
    return Norm(norm.weight, norm.bias, Moments(norm.running_mean, norm.running_var), norm.eps)


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
