"""What training on several processes adds to Lightning's."""

import lightning as L
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ogreid.nn.statistics import share_batch_norms
from ogreid.processes import connected, share_buffers

__all__ = ["SameNetwork", "SharedNorms"]


class SharedNorms(TorchSyncBatchNorm):
    """``trainer.sync_batchnorm`` by torch's own module on a GPU, by ours on a CPU, where torch's refuses.

    The fused blocks never call either, but read from it that moments are shared.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Called by Lightning before the module goes to its device."""
        assert isinstance(model, L.LightningModule)
        on_cpu = model.trainer.strategy.root_device.type == "cpu"
        return share_batch_norms(model) if on_cpu else super().apply(model)


class SameNetwork(L.Callback):
    """All processes judge one network: the first one's running statistics, which is also what a checkpoint holds.

    DDP would hand them over in the first forward of a validation, and a process whose shard is empty has no forward:
    the others would wait for it, or take the next thing that it says for statistics.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning on every process."""
        if connected():
            share_buffers(pl_module)
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            trainer.strategy.model.require_forward_param_sync = False  # it sets this itself, after a training forward
