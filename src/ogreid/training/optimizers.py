"""The optimizer and the schedule of its learning rate."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ogreid import config
from ogreid.errors import InputError, nearest_names
from ogreid.registry import OPTIMIZERS, resolve


def build_optimizer(module: nn.Module, settings: config.Optimizer) -> Optimizer:
    """An optimizer over the parameters that need gradients, in one group for each learning rate.

    Args:
        module: its parts may have learning rates of their own (``settings.lr_factors``).
        settings: name and numbers; a number that this optimizer does not know is left out.

    Raises:
        InputError: a part that the module does not have, or a factor that is no number of 0 or more.
    """
    make = resolve("optimizer", OPTIMIZERS, settings.name)
    numbers = {"weight_decay": settings.weight_decay, "amsgrad": settings.amsgrad, "foreach": True}
    numbers |= {"momentum": settings.momentum, "nesterov": settings.momentum > 0}
    known = inspect.signature(make).parameters
    groups = [
        {"params": parameters, "lr": settings.lr * factor}
        for factor, parameters in _groups(module, settings.lr_factors).items()
    ]
    optimizer: Optimizer = make(groups, lr=settings.lr, **{key: numbers[key] for key in numbers if key in known})
    return optimizer


def _groups(module: nn.Module, factors: Mapping[str, Any]) -> dict[float, list[nn.Parameter]]:
    """Parameters by the factor of the longest part that names them."""
    factors = check_factors(factors, [name for name, _ in module.named_parameters()])
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parts = [part for part in factors if _is_part(name, part)]
            groups.setdefault(factors[max(parts, key=len)] if parts else 1.0, []).append(parameter)
    return groups


def check_factors(factors: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    """Factors of the learning rate under dotted names of parts.

    Args:
        factors: as settings have them; nested where a command line named a part by its dots.
        names: of all parameters.

    Raises:
        InputError: a part that holds none of them, with the nearest parts; a factor that is no number of 0 or more.
    """
    flat = _flat(factors)
    for part, factor in flat.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            raise InputError(f"optimizer.lr_factors: expected a number of 0 or more for {part}, got {factor}")
        if not any(_is_part(name, part) for name in names):
            depth = part.count(".") + 1
            parts = dict.fromkeys(".".join(name.split(".")[:depth]) for name in names)
            raise InputError(f"optimizer.lr_factors: there is no part {part!r}; {nearest_names(part, parts)}")
    return flat


def _flat(factors: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups, as settings of a command line are, under their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in factors.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _is_part(name: str, part: str) -> bool:
    """``network.stages.0`` holds ``network.stages.0.graph.weight``."""
    return name == part or name.startswith(f"{part}.")


def lr_factor(settings: config.Optimizer, epochs: int) -> Callable[[float], float]:
    """The learning rate as a fraction of ``lr``: a cosine, risen to from a hundredth over the warm-up.

    Args:
        settings: ``min_lr_ratio`` and ``lr_warmup``.
        epochs: of the training.

    Returns:
        A function of the epoch, which need not be whole.
    """

    def factor(epoch: float) -> float:
        part = min(epoch / epochs, 1.0)
        cosine = settings.min_lr_ratio + (1 - settings.min_lr_ratio) * (1 + math.cos(math.pi * part)) / 2
        rise = min(1.0, 0.01 + 0.99 * epoch / settings.lr_warmup) if settings.lr_warmup else 1.0
        return cosine * rise

    return factor


def build_schedule(
    optimizer: Optimizer, settings: config.Optimizer, epochs: int, steps_per_epoch: Callable[[], float]
) -> LambdaLR:
    """The schedule of :func:`lr_factor`, per step with a warm-up and per epoch without.

    Args:
        optimizer: whose rates it sets.
        settings: see :func:`lr_factor`.
        epochs: of the training.
        steps_per_epoch: of the optimizer; called at each step, because Lightning knows it only when training starts.
    """
    factor = lr_factor(settings, epochs)
    if not settings.lr_warmup:
        return LambdaLR(optimizer, factor)
    return LambdaLR(optimizer, lambda step: factor(step / steps_per_epoch()) if step else factor(0))
