"""The NaN guard: a loss or a gradient that is not finite stops the run before the step, and its origin is named."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from ogreid.data.batch import CloudBatch
from ogreid.errors import NotFinite, collect_refusals
from ogreid.ops.collectives import all_gather, all_gather_object, all_reduce_max
from ogreid.training.callbacks.seeding import seed_step
from ogreid.training.module import ReIDModule

log = logging.getLogger(__name__)

_SHOWN = 4
_OWN, _NOTHING = "of the clouds themselves", "nothing, when the step is repeated alone"


class BadStep(NotFinite):
    """Training met a loss or a gradient that is not finite. Every process raises it at the same step."""


class NaNGuard(L.Callback):
    """Looks at each loss and at the norm of the gradient, when the gradient is complete and nothing was changed by it.

    The device is read once for each step of the optimizer, after the whole step was handed to it. Where a step is bad,
    its batch and the network that met it are kept as ``bad-step-N.ckpt``, and the forward is repeated to find the first
    module whose output is not finite. With 16-bit floats (``precision=16-mixed``) the loss alone is looked at: there,
    gradients overflow as a matter of course, and Lightning's scaler leaves those steps out.

    Args:
        folder: where the file goes.
        seed: of the run.
        skip: bad steps that are left out before one stops the run. The network, its running statistics and the
            optimizer stay as they were before such a step.
        keep_clouds: whether the clouds may be kept, which are pictures of people.
    """

    def __init__(self, folder: Path, seed: int, skip: int = 0, *, keep_clouds: bool = True) -> None:
        self.folder, self.seed, self.skip, self.keep_clouds = folder, seed, skip, keep_clouds
        self.skipped = 0
        self._seen: list[tuple[int, CloudBatch]] = []
        self._losses: list[Tensor] = []
        self._statistics: list[Tensor] = []
        self._bad: dict[str, Any] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: CloudBatch, batch_idx: int
    ) -> None:
        """Remember what the next step of the optimizer will have been made from."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._seen, self._losses = [], []
            self._statistics = [buffer.clone() for buffer in pl_module.buffers()] if self.skip else []
        self._seen.append((batch_idx, batch))

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Called by Lightning before the gradient is clipped and used.

        Raises:
            BadStep: a bad step, and no more may be skipped.
        """
        numbers = [loss.float() for loss in self._losses]
        if trainer.precision != "16-mixed":
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            numbers.append(get_total_norm(gradients).float())
        if not all_reduce_max(int(~torch.stack(numbers).isfinite().all()), pl_module.device):
            return
        assert isinstance(pl_module, ReIDModule)
        description = self._describe(trainer, pl_module)
        if self.skipped == self.skip:
            raise self._save(trainer, description)
        self.skipped += 1
        if trainer.is_global_zero:
            log.warning("skipped (%d of at most %d): %s", self.skipped, self.skip, description)
        optimizer.zero_grad(set_to_none=True)  # Adam passes over parameters without a gradient, its counts included
        for buffer, before in zip(pl_module.buffers(), self._statistics, strict=True):
            buffer.copy_(before)
        self._bad = None

    def _describe(self, trainer: L.Trainer, module: ReIDModule) -> str:
        """The step, what it met first, and the clouds, of the first process that met it; the batch is remembered."""
        bad = [not loss.isfinite().all() for loss in self._losses]
        worst = bad.index(True) if True in bad else len(bad) - 1
        number, batch = self._seen[worst]
        clouds = _sources(trainer, batch)
        seed_step(self.seed, trainer.current_epoch, number, trainer.global_rank)
        first = first_not_finite(module, batch)
        what = f"the loss is {float(self._losses[worst])}" if bad[worst] else "the gradient is not finite"
        more = f" and {len(clouds) - _SHOWN} more" if len(clouds) > _SHOWN else ""
        description = f"{what}; first: {first}; clouds: {', '.join(clouds[:_SHOWN])}{more}"
        everyones = all_gather_object((not bad[worst], not first.endswith(_OWN), description, clouds))
        where = {"epoch": trainer.current_epoch, "batch": number, "seed": self.seed, "processes": len(everyones)}
        # Of all processes, in the order of their ranks.
        fields = [name for name in batch._fields[:5] if self.keep_clouds or name not in ("xyz", "rgb")]
        tensors = {name: all_gather(getattr(batch, name).detach()).cpu() for name in fields}
        self._bad = {"clouds": [name for *_, names in everyones for name in names], **where, **tensors}
        place = f"step {trainer.global_step} (epoch {trainer.current_epoch}, batch {number})"
        return f"{place}: {min(everyones, key=lambda one: one[:2])[2]}"

    def _save(self, trainer: L.Trainer, description: str) -> BadStep:
        path = self.folder / f"bad-step-{trainer.global_step}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if not self.keep_clouds:
            again = f"python -m ogreid.fit --resume {self.folder.parent} runs.pictures=true"
            return BadStep(
                f"{description}; saved in {path} without its clouds (runs.pictures=false); to save them: {again}"
            )
        return BadStep(f"{description}; saved with its batch; to reproduce it: python -m ogreid.fit --reproduce {path}")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """The batch goes into the file of a bad step, and of no other."""
        if self._bad is not None:
            checkpoint["failing_step"] = self._bad

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.skipped = state_dict["skipped"]


def first_not_finite(module: ReIDModule, batch: CloudBatch) -> str:
    """Where a number that is not finite first appears when a batch is embedded, its loss computed and differentiated.

    All processes call it, and each goes as far as every other one, because with shared statistics they talk on the way.

    Args:
        module: with a loss, in training mode; its running statistics are updated once more.
        batch: on the module's device.

    Returns:
        For people: ``output of network.stem (Linear)``, ``gradient of ...``, ``parameter ...``, or that all is finite.
    """
    origins = [f"{name} {_OWN}" for name in ("xyz", "rgb") if not getattr(batch, name).isfinite().all()]
    origins += [f"parameter {name}" for name, value in module.named_parameters() if not value.isfinite().all()]

    def watch(name: str, part: nn.Module) -> Any:  # noqa: ANN401 - torch's handle
        def look(_: nn.Module, given: Any, output: Any) -> None:  # noqa: ANN401 - whatever a module takes and gives
            if not origins and not _finite(output) and _finite(given):
                origins.append(f"output of {name} ({type(part).__name__})")

        return part.register_forward_hook(look)

    handles = [watch(name, part) for name, part in module.named_modules() if name]
    try:
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"), collect_refusals(origins):
            terms = module.losses(batch)
    finally:
        for handle in handles:
            handle.remove()
    if all_reduce_max(int(bool(origins)), batch.xyz.device):
        return origins[0] if origins else _NOTHING
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    # Not backward(): its hooks would set DDP talking.
    gradients = torch.autograd.grad(torch.stack(list(terms.values())).sum(), [p for _, p in named], allow_unused=True)
    for (name, _), gradient in reversed(list(zip(named, gradients, strict=True))):
        if gradient is not None and not gradient.isfinite().all():
            return f"gradient of {name}"
    return _NOTHING


def _finite(value: Any) -> bool:  # noqa: ANN401 - whatever a module takes and gives
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def _sources(trainer: L.Trainer, batch: CloudBatch) -> list[str]:
    """The crops of this process's batch."""
    clouds = getattr(getattr(trainer, "datamodule", None), "train_set", None)
    return [clouds.describe(index) if clouds is not None else f"row {index}" for index in batch.index.tolist()]
