"""A BatchNorm module as the operations take it, its running statistics, and its form for several processes."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ogreid.ops import Moments, Norm
from ogreid.ops.collectives import connected, world_size


class SharedBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all processes where torch's own refuses: on a CPU.

    Each process must bring a batch of the same size, as the loaders of this project do. It is no subclass of
    ``nn.SyncBatchNorm``, because DDP refuses any such module on a CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C) or (B, C, ...), as ``nn.SyncBatchNorm``."""
        if not self.training or not connected():
            return super().forward(input)
        normal = norm_of(self).rows(input.movedim(1, -1))
        track_moments(self, normal.moments, input[:, 0].numel())
        return normal.value.movedim(-1, 1)


SHARED = (SharedBatchNorm, nn.SyncBatchNorm)  # their moments are those of all processes


def share_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm in ``module`` by a :class:`SharedBatchNorm` with the same parameters and buffers."""
    if isinstance(module, _BatchNorm):
        size = module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        shared = SharedBatchNorm(*size)
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            setattr(shared, name, value)
        return shared.train(module.training)
    for name, child in module.named_children():
        module.register_module(name, share_batch_norms(child))
    return module


def norm_of(norm: _BatchNorm) -> Norm:
    """``norm`` as plain tensors: with its running moments in evaluation, with none (the batch's own) in training."""
    if norm.training or norm.running_mean is None or norm.running_var is None:
        return Norm(norm.weight, norm.bias, None, norm.eps, isinstance(norm, SHARED) and connected())
    return Norm(norm.weight, norm.bias, Moments(norm.running_mean, norm.running_var), norm.eps)


@torch.no_grad()
def track_moments(norm: _BatchNorm, moments: Moments, count: int | torch.SymInt) -> None:
    """Update the running statistics of a ``norm`` in training mode as ``nn.BatchNorm1d`` does.

    ``moments`` has the *biased* variance of the batch; ``count`` values of this process stand behind each moment.
    """
    if not norm.training or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    if isinstance(norm, SHARED):
        count *= world_size()
    norm.num_batches_tracked.add_(1)
    share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(moments.mean.to(norm.running_mean.dtype), share)
    unbiased = moments.variance.to(norm.running_var.dtype) * (count / max(count - 1, 1))
    norm.running_var.lerp_(unbiased, share)
