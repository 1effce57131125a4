"""A loss or a gradient that is not finite stops the run before the step, and says where it came from."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from ogreid.data.batch import CloudBatch
from ogreid.training.callbacks.seeding import seed_step
from ogreid.data.module import ReIDDataModule
from ogreid.errors import NotFinite, collect_refusals
from ogreid.ops.collectives import all_rows, everyone, largest

__all__ = ["BadStep", "WatchNumbers", "first_not_finite"]

log = logging.getLogger(__name__)

_SHOWN = 4
_OWN, _NOTHING = "of the clouds themselves", "nothing, when it is repeated alone"


class BadStep(NotFinite):
    """Training met a loss or a gradient that is not finite. Every process raises it at the same step."""


class WatchNumbers(L.Callback):
    """Looks at each loss and at the norm of the gradient, when the gradient is complete and nothing was changed by it.

    The device is asked once for each step of the optimizer, after the whole step was handed to it. Where a step is bad,
    its batch and the network that met it are kept as ``bad-step-N.ckpt``, and the forward is repeated to find the first
    module whose output is not finite. With 16-bit floats (``precision=16-mixed``) the loss alone is looked at: there,
    gradients overflow as a matter of course, and Lightning's scaler leaves those steps out.

    Args:
        folder: where the file goes.
        seed: of the run.
        skip: bad steps that are left out before one stops the run. The network, its running statistics and the
            optimizer stay as they were before such a step.
        people: whether the clouds may be kept, which are pictures of people.
    """

    def __init__(self, folder: Path, seed: int, skip: int = 0, *, people: bool = True) -> None:
        self.folder, self.seed, self.skip, self.people = folder, seed, skip, people
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
        """Called by Lightning with the loss of one batch."""
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
        if not largest(int(~torch.stack(numbers).isfinite().all()), pl_module.device):
            return
        told = self._describe(trainer, pl_module)
        if self.skipped == self.skip:
            raise self._kept(trainer, told)
        self.skipped += 1
        if trainer.is_global_zero:
            log.warning("left out (%d of at most %d): %s", self.skipped, self.skip, told)
        optimizer.zero_grad(set_to_none=True)  # Adam passes over parameters without a gradient, its counts included
        for buffer, before in zip(pl_module.buffers(), self._statistics, strict=True):
            buffer.copy_(before)
        self._bad = None

    def _describe(self, trainer: L.Trainer, module: L.LightningModule) -> str:
        """The step, what it met first, and the clouds, of the first process that met it; the batch is remembered."""
        bad = [not loss.isfinite().all() for loss in self._losses]
        worst = bad.index(True) if True in bad else len(bad) - 1
        number, batch = self._seen[worst]
        clouds = _names(trainer, batch)
        seed_step(self.seed, trainer.current_epoch, number, trainer.global_rank)
        first = first_not_finite(module, batch)
        what = f"the loss is {float(self._losses[worst])}" if bad[worst] else "the gradient is not finite"
        more = f" and {len(clouds) - _SHOWN} more" if len(clouds) > _SHOWN else ""
        told = f"{what}; first: {first}; clouds: {', '.join(clouds[:_SHOWN])}{more}"
        everyones = everyone((not bad[worst], not first.endswith(_OWN), told, clouds))
        where = {"epoch": trainer.current_epoch, "batch": number, "seed": self.seed, "processes": len(everyones)}
        # Of all processes, in the order of their ranks.
        kept = {name: value for name, value in batch._asdict().items() if self.people or name not in ("xyz", "rgb")}
        tensors = {name: all_rows(value.detach()).cpu() for name, value in kept.items()}
        self._bad = {"clouds": [name for *_, names in everyones for name in names], **where, **tensors}
        place = f"step {trainer.global_step} (epoch {trainer.current_epoch}, batch {number})"
        return f"{place}: {min(everyones, key=lambda one: one[:2])[2]}"

    def _kept(self, trainer: L.Trainer, told: str) -> BadStep:
        path = self.folder / f"bad-step-{trainer.global_step}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if not self.people:
            again = f"python -m ogreid.fit --resume {self.folder.parent} runs.pictures=true"
            return BadStep(f"{told}; kept in {path} without its clouds (runs.pictures=false); to keep them: {again}")
        return BadStep(f"{told}; kept with its batch, repeat it: python -m ogreid.training.reproduce {path}")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """The batch goes into the file of a bad step, and of no other."""
        if self._bad is not None:
            checkpoint["bad"] = self._bad

    def state_dict(self) -> dict[str, int]:
        """A resumed run goes on counting."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Called by Lightning when a run goes on."""
        self.skipped = state_dict["skipped"]


def first_not_finite(module: L.LightningModule, batch: CloudBatch) -> str:
    """Where a number that is not finite first appears when a batch is embedded, its loss computed and differentiated.

    All processes call it, and each goes as far as every other one, because with shared statistics they talk on the way.

    Args:
        module: with a loss, in training mode; its running statistics are updated once more.
        batch: on the module's device.

    Returns:
        For people: ``output of network.stem (Linear)``, ``gradient of ...``, ``parameter ...``, or that all is finite.
    """
    found = [f"{name} {_OWN}" for name in ("xyz", "rgb") if not getattr(batch, name).isfinite().all()]
    found += [f"parameter {name}" for name, value in module.named_parameters() if not value.isfinite().all()]

    def watch(name: str, part: nn.Module) -> Any:  # noqa: ANN401 - torch's handle
        def look(_: nn.Module, given: Any, output: Any) -> None:  # noqa: ANN401 - whatever a module takes and gives
            if not found and not _finite(output) and _finite(given):
                found.append(f"output of {name} ({type(part).__name__})")

        return part.register_forward_hook(look)

    handles = [watch(name, part) for name, part in module.named_modules() if name]
    try:
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"), collect_refusals(found):
            terms = module.loss(module(batch.xyz, batch.rgb), batch.identity)  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    if largest(int(bool(found)), batch.xyz.device):
        return found[0] if found else _NOTHING
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    # Not backward(): its hooks would set DDP talking.
    gradients = torch.autograd.grad(sum(terms.values()), [p for _, p in named], allow_unused=True)
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


def _names(trainer: L.Trainer, batch: CloudBatch) -> list[str]:
    """``store row N (source)`` of each cloud of this process's batch."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
    assert isinstance(data, ReIDDataModule) and data.train_set is not None
    clouds, named = data.train_set, []
    for index in batch.index.tolist():
        store, row = clouds.stores[clouds.store[index]], int(clouds.row[index])
        named.append(f"{store.path.name} row {row} ({store.rows['source'][row]})")
    return named
