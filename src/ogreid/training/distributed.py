"""What training on several processes adds to Lightning's: rank before there is a process group, shared BatchNorm."""

import os
import time
from collections.abc import Callable

import lightning as L
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.distributed.rendezvous import rendezvous

from ogreid.config import Experiment
from ogreid.config.slurm import srun_tasks
from ogreid.errors import InputError
from ogreid.models.layers.statistics import share_batch_norms
from ogreid.runs import STAMP, Run


def rank() -> int:
    """Of this process in its run, before there is a process group: torchrun's number, SLURM's or Lightning's."""
    for name in ("RANK", *(["SLURM_PROCID"] if srun_tasks() else [])):
        if name in os.environ:
            return int(os.environ[name])
    nodes_before = int(os.environ.get("NODE_RANK", 0)) * int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return nodes_before + int(os.environ.get("LOCAL_RANK", 0))


_MET_AT: list[object] = []


def agree(make: Callable[[], str]) -> str:
    """One text for all processes that torchrun (or anything that sets its variables) started: the first one makes it.

    It travels through the store at ``MASTER_ADDR:MASTER_PORT`` where the processes will meet anyway, so nothing has to
    be handed over by hand. The first process stays until all have read it, because it may be the one that serves them.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return make()
    store, number, world = next(rendezvous("env://"))
    # Kept open: the process group meets at the same place a moment later (torch shares the server within a process),
    # and a process that comes early must not find one that is about to close.
    _MET_AT.append(store)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives a restart
    text, readers = f"ogreid/text/{attempt}", f"ogreid/readers/{attempt}"
    if number == 0:
        store.set(text, make())
    agreed: str = store.get(text).decode()  # waits
    store.add(readers, 1)
    while number == 0 and store.add(readers, 0) < world:
        time.sleep(0.01)
    return agreed


def run_stamp(experiment: Experiment) -> str:
    """A stamp whose folder does not exist yet, the same on every process of the run.

    Lightning's own launcher hands it over by the environment; processes that torchrun started agree on it.
    """
    if STAMP in os.environ:
        return os.environ[STAMP]
    if int(os.environ.get("NODE_RANK", 0)) and "RANK" not in os.environ:
        raise InputError(f"node {os.environ['NODE_RANK']} cannot know the run's folder: set {STAMP}, or use torchrun")
    if srun_tasks():
        step = os.environ.get("SLURM_STEP_ID", "0")  # of the job: the same on every task, and after a re-queue
        stamp = f"job{os.environ['SLURM_JOB_ID']}" + (f".{step}" if step != "0" else "")
    else:
        stamp = agree(lambda: Run.new_stamp(experiment))
    os.environ[STAMP] = stamp
    return stamp


def cluster_environment(*, alone: bool = False) -> list[ClusterEnvironment]:
    """Lightning's plugin inside a job of SLURM; elsewhere none, because Lightning chooses well.

    Only ``srun`` starts several processes of a run: Lightning believes so of every job with a number of tasks, and
    waits for processes that nobody starts. Its re-queueing is off, see :mod:`ogreid.config.slurm`.

    Args:
        alone: for a Trainer of this process only.
    """
    if "SLURM_JOB_ID" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return []
    return [LightningEnvironment() if alone or not srun_tasks() else SLURMEnvironment(auto_requeue=False)]


class SharedNorms(TorchSyncBatchNorm):
    """``trainer.sync_batchnorm`` by torch's own module on a GPU, by ours on a CPU, where torch's refuses.

    The fused blocks never call either, but read from it that moments are shared.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Called by Lightning before the module goes to its device."""
        assert isinstance(model, L.LightningModule)
        on_cpu = model.trainer.strategy.root_device.type == "cpu"
        return share_batch_norms(model) if on_cpu else super().apply(model)
