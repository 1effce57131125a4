"""Parameters of a sweep file as Optuna's distributions; names as in W&B's "Sweep configuration options"."""

import json
import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.special import betaincinv

from ogreid.errors import InputError, nearest_names

__all__ = ["MAX_POINTS", "Parameter", "parse_parameter"]

Spec = Mapping[str, Any]
MAX_POINTS = 100_000  # values of a parameter in a grid, and runs of a grid without --count
RANGES: dict[str, Callable[[Spec], BaseDistribution]] = {
    "uniform": lambda spec: FloatDistribution(spec["min"], spec["max"]),
    "int_uniform": lambda spec: IntDistribution(spec["min"], spec["max"]),
    # Limits of the older form are exponents.
    "log_uniform": lambda spec: FloatDistribution(math.exp(spec["min"]), math.exp(spec["max"]), log=True),
    "log_uniform_values": lambda spec: FloatDistribution(spec["min"], spec["max"], log=True),
    "inv_log_uniform_values": lambda spec: FloatDistribution(spec["min"], spec["max"], log=True),
}
QUANTILES: dict[str, Callable[[Spec, float], float]] = {
    "normal": lambda spec, p: NormalDist(spec.get("mu", 0), spec.get("sigma", 1)).inv_cdf(p),
    "log_normal": lambda spec, p: math.exp(QUANTILES["normal"](spec, p)),
    "beta": lambda spec, p: float(betaincinv(spec.get("a", 1), spec.get("b", 1), p)),
}
PROBABILITY = FloatDistribution(1e-9, 1 - 1e-9)  # what Optuna has no distribution for is searched by its quantile
NAMES = (*RANGES, *QUANTILES)
NUMBERS = ("min", "max", "mu", "sigma", "q", "a", "b")
KEYS = ("value", "values", "probabilities", "distribution", *NUMBERS)


@dataclass(frozen=True)
class Parameter:
    """What Optuna draws from, the setting for what was drawn, and all that can be drawn where the values are listed."""

    distribution: BaseDistribution
    value: Callable[[Any], Any]
    labels: tuple[str, ...] = ()


def parse_parameter(spec: Spec, *, grid: bool = False) -> Parameter:
    """A parameter from what a sweep file says of it.

    Args:
        spec: W&B's configuration of a parameter.
        grid: list all of its values.

    Raises:
        ValueError: null, an empty list, an unknown key or distribution, limits that do not fit it, a grid without end.
        KeyError: a limit is missing.
    """
    if not isinstance(spec, Mapping):
        raise InputError(f"expected {{values: [...]}} or {{value: ...}}, got {spec!r}")
    if unknown := [key for key in spec if key not in KEYS]:
        raise InputError(f"unknown key '{unknown[0]}'; {nearest_names(unknown[0], KEYS)}")
    if wrong := [key for key in NUMBERS if not isinstance(spec.get(key, 0), int | float)]:
        raise InputError(f"{wrong[0]}: expected a number, got {spec[wrong[0]]!r}")
    if "value" in spec or "values" in spec:
        values = [spec["value"]] if "value" in spec else spec["values"]
        return _listed(values, None if grid else spec.get("probabilities"))
    whole = isinstance(spec.get("min"), int) and isinstance(spec.get("max"), int)
    name = str(spec.get("distribution", "int_uniform" if whole else "uniform"))
    kind, step = name.removeprefix("q_"), spec.get("q", 1) if name.startswith("q_") else None
    if kind not in NAMES:
        raise InputError(f"distribution {name}: give values, or another distribution; {nearest_names(kind, NAMES)}")
    distribution = RANGES[kind](spec) if kind in RANGES else PROBABILITY
    if grid:
        return _listed(_enumerated(spec, kind, step), None)

    def value(drawn: float) -> float:
        exact = QUANTILES[kind](spec, drawn) if kind in QUANTILES else drawn
        return exact if step is None else type(step)(round(exact / step) * step)

    return Parameter(distribution, value)


def _listed(values: Sequence[Any], shares: Sequence[float] | None) -> Parameter:
    if not isinstance(values, list) or not values or None in values:
        raise InputError("values: expected a list with at least one value and without null")
    choices = {json.dumps(value): value for value in values}
    if shares is None:
        return Parameter(CategoricalDistribution(list(choices)), choices.__getitem__, tuple(choices))
    if len(shares) != len(values) or abs(sum(shares) - 1) > 1e-6:
        raise InputError("probabilities: expected one per value, with the sum 1")
    return Parameter(PROBABILITY, lambda drawn: values[bisect(list(accumulate(shares[:-1])), drawn)])


def _enumerated(spec: Spec, kind: str, step: float | None) -> list[Any]:
    """As W&B's grids do: without the upper limit where there are steps."""
    if kind not in ("int_uniform", "uniform") or (kind == "uniform" and step is None):
        raise InputError(f"a grid cannot hold {kind}; list its values, or take method: random")
    low, high, by = spec["min"], spec["max"], step or 1
    if (high - low) / by > MAX_POINTS:
        raise InputError(f"{low} to {high} makes more than {MAX_POINTS} values")
    values: list[Any] = np.arange(low, high + (step is None), by).tolist()
    return values
