"""The values a parameter of a sweep takes: all of them in a grid, a seeded draw in a random search.

The distributions are those of W&B's sweep files, by their names there; source: docs.wandb.ai, "Sweep configuration
options", and W&B's own engine (the package ``sweeps``), with which the tests compare.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ogreid.errors import InputError, nearest_names

__all__ = ["check_parameter", "draw", "grid_values"]

Spec = Mapping[str, Any]
Draw = Callable[[Spec, np.random.Generator], float]

DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], Draw]] = {
    "uniform": (("min", "max"), lambda spec, rng: rng.uniform(spec["min"], spec["max"])),
    "int_uniform": (("min", "max"), lambda spec, rng: int(rng.integers(spec["min"], spec["max"], endpoint=True))),
    # min and max of the older form are exponents.
    "log_uniform": (("min", "max"), lambda spec, rng: math.exp(rng.uniform(spec["min"], spec["max"]))),
    "log_uniform_values": (("min", "max"), lambda spec, rng: _log_uniform(spec, rng)),
    "inv_log_uniform_values": (("min", "max"), lambda spec, rng: _log_uniform(spec, rng)),
    "normal": ((), lambda spec, rng: rng.normal(spec.get("mu", 0), spec.get("sigma", 1))),
    "log_normal": ((), lambda spec, rng: rng.lognormal(spec.get("mu", 0), spec.get("sigma", 1))),
    "beta": ((), lambda spec, rng: rng.beta(spec.get("a", 1), spec.get("b", 1))),
}
"""Name -> (keys it needs, how it is drawn); every one but ``int_uniform`` also as ``q_<name>``, in steps of ``q``."""

MOST = 100_000  # values of a parameter in a grid, and runs that nobody counted
LISTED = ("categorical", "categorical_w_probabilities", "constant")
NUMBERS = ("min", "max", "mu", "sigma", "q", "a", "b")
KEYS = ("value", "values", "probabilities", "distribution", *NUMBERS)


def check_parameter(name: str, spec: Spec, where: str) -> None:
    """Refuse a parameter that could not be drawn, or not be handed to an experiment.

    Args:
        name: dotted key of a setting.
        spec: what the sweep file says of it.
        where: the file, for the message.

    Raises:
        InputError: nested parameters, null, an empty list, an unknown distribution, or one without its limits.
    """
    here = f"{where}: parameters.{name}"
    if "parameters" in spec:
        raise InputError(f"{here}: nested parameters are not settings; write {name}.KEY: {{values: [...]}}")
    for key, value in spec.items():
        if key not in KEYS:
            raise InputError(f"{here}: unknown key '{key}'; {nearest_names(str(key), KEYS)}")
        if key in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"{here}: {key} {value!r}: expected a number")
    held = [spec["value"]] if "value" in spec else spec.get("values", [True])
    if not isinstance(held, list) or not held:
        raise InputError(f"{here}: values must be a list with at least one value")
    if any(value is None for value in held):
        raise InputError(f"{here}: null cannot be handed to an experiment; leave the key out, or name a value")
    if "value" in spec or "values" in spec:
        _check_probabilities(spec, here)
        return
    kind = _kind(spec, here)
    missing = [key for key in DISTRIBUTIONS[kind.removeprefix("q_")][0] if key not in spec]
    if missing:
        raise InputError(f"{here}: {kind} needs {' and '.join(missing)}")
    if "min" in spec and "max" in spec and not spec["min"] < spec["max"]:
        raise InputError(f"{here}: min {spec['min']} is not below max {spec['max']}")
    if kind.endswith("_values") and spec["min"] <= 0:
        raise InputError(f"{here}: min {spec['min']}: a logarithm needs limits above 0")


def grid_values(name: str, spec: Spec, where: str) -> list[Any]:
    """Every value of a parameter, in the order of the file.

    Raises:
        InputError: a distribution without end.
    """
    if "value" in spec:
        return [spec["value"]]
    if "values" in spec:
        return list(spec["values"])
    kind = _kind(spec, where)
    if {"min", "max"} <= spec.keys() and not 0 <= (spec["max"] - spec["min"]) / spec.get("q", 1) < MOST:
        raise InputError(f"{where}: parameters.{name}: {spec['min']} to {spec['max']} makes more than {MOST} values")
    if kind == "int_uniform":
        return list(range(spec["min"], spec["max"] + 1))
    if kind == "q_uniform":
        values: list[Any] = np.arange(spec["min"], spec["max"], spec.get("q", 1)).tolist()
        return values
    raise InputError(f"{where}: parameters.{name}: a grid cannot hold {kind}; list its values, or take method: random")


def draw(spec: Spec, rng: np.random.Generator) -> Any:  # noqa: ANN401 - whatever the file lists
    """One value of a checked parameter."""
    if "value" in spec:
        return spec["value"]
    if "values" in spec:
        return spec["values"][int(rng.choice(len(spec["values"]), p=spec.get("probabilities")))]
    kind = _kind(spec, "")
    drawn = DISTRIBUTIONS[kind.removeprefix("q_")][1](spec, rng)
    if not kind.startswith("q_"):
        return drawn
    step = spec.get("q", 1)
    return type(step)(round(drawn / step) * step)


def _kind(spec: Spec, here: str) -> str:
    """The distribution's name; where none is given, whole limits mean whole numbers, as in W&B."""
    if "distribution" not in spec:
        if not {"min", "max"} <= spec.keys():
            raise InputError(f"{here}: give value, values, min and max, or a distribution")
        return "int_uniform" if isinstance(spec["min"], int) and isinstance(spec["max"], int) else "uniform"
    kind = str(spec["distribution"])
    known = [*DISTRIBUTIONS, *(f"q_{name}" for name in DISTRIBUTIONS if name != "int_uniform")]
    if kind not in known:
        hint = "needs values" if kind in LISTED else nearest_names(kind, [*known, *LISTED])
        raise InputError(f"{here}: distribution {kind}: {hint}")
    return kind


def _check_probabilities(spec: Spec, here: str) -> None:
    shares = spec.get("probabilities")
    if shares is None:
        return
    if not isinstance(shares, list) or len(shares) != len(spec.get("values", [])) or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"{here}: probabilities must be one per value and sum to 1")


def _log_uniform(spec: Spec, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(spec["min"]), math.log(spec["max"])))
