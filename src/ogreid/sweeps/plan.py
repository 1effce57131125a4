"""A sweep file in W&B's own schema, read and checked, and the runs it stands for, composed before the first starts.

Parameters become Optuna's distributions; names are those of W&B's "Sweep configuration options".
"""

import hashlib
import itertools
import json
import math
import re
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from scipy.special import betaincinv

from ogreid import config, files
from ogreid.config import Experiment
from ogreid.errors import InputError, nearest_names
from ogreid.runs import Run

Spec = Mapping[str, Any]
MOST_VALUES = 100_000  # of a parameter in a grid, and runs of a grid without --count
RANGES: dict[str, Callable[[Any, Any], BaseDistribution]] = {
    "uniform": FloatDistribution,
    "int_uniform": IntDistribution,
    "log_uniform": lambda low, high: FloatDistribution(math.exp(low), math.exp(high), log=True),  # limits are exponents
    **dict.fromkeys(("log_uniform_values", "inv_log_uniform_values"), partial(FloatDistribution, log=True)),
}
QUANTILES: dict[str, Callable[[Spec, float], float]] = {
    "normal": lambda spec, p: NormalDist(spec.get("mu", 0), spec.get("sigma", 1)).inv_cdf(p),
    "log_normal": lambda spec, p: math.exp(QUANTILES["normal"](spec, p)),
    "beta": lambda spec, p: float(betaincinv(spec.get("a", 1), spec.get("b", 1), p)),
}
PROBABILITY = FloatDistribution(1e-9, 1 - 1e-9)  # what Optuna has no distribution for is searched by its quantile
LIMITS = ("min", "max", "mu", "sigma", "q", "a", "b")
SPEC_KEYS = ("value", "values", "probabilities", "distribution", *LIMITS)
SERVER = ("program", "project", "entity", "controller", "apiVersion", "kind")  # what W&B's server alone reads
KEYS = ("command", "method", "metric", "parameters", "name", "description", "run_cap", "early_terminate", *SERVER)
METHODS = ("grid", "random", "bayes")
STOPPING = "{type: hyperband, min_iter: 3, eta: 3}, {type: hyperband, max_iter: 27, s: 2} or {type: median}"
SHAPE = (
    '["${env}", "python", "-m", "ogreid.fit", "--experiment", "NAME", "${args_no_hyphens}"], settings before the last '
    "word, and --experiment left out where a parameter is called experiment"
)


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    experiment: Experiment  # resolved
    words: tuple[str, ...]  # of the command line, after ``--experiment``
    drawn: Mapping[str, Any]  # what Optuna drew for it
    parameters: Mapping[str, Any]  # the same, as settings
    run: Run  # in ``<hash>-<seed>`` where other runs have the time, so that equal settings are one run

    @property
    def finished(self) -> bool:
        return (self.run.folder / "summary.json").is_file()

    def label(self, keys: Iterable[str]) -> str:
        """The parameters by which it differs, as on a command line."""
        return " ".join(f"{key}={self.parameters[key]}" for key in keys if key in self.parameters)


@dataclass(frozen=True)
class Parameter:
    """What Optuna draws from, the setting for what was drawn, and all that can be drawn where the values are listed."""

    distribution: BaseDistribution
    value: Callable[[Any], Any]
    labels: tuple[str, ...] = ()


def parse_parameter(spec: Spec, *, grid: bool = False) -> Parameter:
    """A parameter of a sweep file, W&B's ``spec``; for a ``grid`` with all of its values.

    Raises:
        ValueError: null, an empty list, an unknown key or distribution, limits that do not fit it, a grid without end.
        KeyError: a limit is missing.
    """
    if not isinstance(spec, Mapping):
        raise InputError(f"expected {{values: [...]}} or {{value: ...}}, got {spec!r}")
    if unknown := [key for key in spec if key not in SPEC_KEYS]:
        raise InputError(f"unknown key '{unknown[0]}'; {nearest_names(unknown[0], SPEC_KEYS)}")
    if wrong := [key for key in LIMITS if not isinstance(spec.get(key, 0), int | float)]:
        raise InputError(f"{wrong[0]}: expected a number, got {spec[wrong[0]]!r}")
    if "value" in spec or "values" in spec:
        values = [spec["value"]] if "value" in spec else spec["values"]
        return _listed(values, None if grid else spec.get("probabilities"))
    whole = isinstance(spec.get("min"), int) and isinstance(spec.get("max"), int)
    name = str(spec.get("distribution", "int_uniform" if whole else "uniform"))
    kind, step = name.removeprefix("q_"), spec.get("q", 1) if name.startswith("q_") else None
    if kind not in (known := (*RANGES, *QUANTILES)):
        raise InputError(f"distribution {name}: give values, or another distribution; {nearest_names(kind, known)}")
    distribution = RANGES[kind](spec["min"], spec["max"]) if kind in RANGES else PROBABILITY
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
    return Parameter(PROBABILITY, lambda drawn: values[bisect(list(itertools.accumulate(shares[:-1])), drawn)])


def _enumerated(spec: Spec, kind: str, step: float | None) -> list[Any]:
    """As W&B's grids do: without the upper limit where there are steps."""
    if kind not in ("int_uniform", "uniform") or (kind == "uniform" and step is None):
        raise InputError(f"a grid cannot hold {kind}; list its values, or take method: random")
    low, high, by = spec["min"], spec["max"], step or 1
    if (high - low) / by > MOST_VALUES:
        raise InputError(f"{low} to {high} makes more than {MOST_VALUES} values")
    return list(np.arange(low, high + (step is None), by).tolist())


class Plan:
    """A sweep file with the settings of a command line.

    Args:
        file: path of the sweep file, or its name in ``experiments/sweeps``.
        experiment: instead of the file's.
        overrides: settings of every run; they take the place of the file's parameters.
        name: of the sweep, instead of the file's.
        limit: number of runs, instead of the file's ``run_cap``.
        seed: of a random or Bayesian search; the n-th random draw depends on it and n alone.

    Raises:
        InputError: whatever would fail later.
    """

    def __init__(
        self,
        file: str | Path,
        experiment: str | None = None,
        overrides: Sequence[str] = (),
        name: str | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.path, self.overrides, self.seed, self._jobs = find_sweep(str(file)), overrides, seed, dict[str, Job]()
        try:
            content = _read(self.path)
            self.name, self.description = name or str(content.get("name", self.path.stem)), content.get("description")
            self.method, self.limit = content["method"], limit or content.get("run_cap")
            self.metric = {"name": "val/mAP", "goal": "maximize"} | (content.get("metric") or {})
            self.pruner = _pruner(content.get("early_terminate"))
            parameters = {key: self._parameter(key, spec) for key, spec in sorted(content["parameters"].items())}
            self.command, self.experiment = _command(content.get("command") or (), "experiment" in parameters)
            self.experiment = experiment or self.experiment
            pinned = {override.partition("=")[0] for override in overrides} | ({"experiment"} if experiment else set())
            self.parameters = {key: parameter for key, parameter in parameters.items() if key not in pinned}
            self.space = {key: parameter.distribution for key, parameter in self.parameters.items()}
            jobs = {job.run.folder: job for job in map(self.job, self._points())}
        except (OSError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            raise InputError(f"{self.path}: {' '.join(str(error).split())}") from error
        self.jobs = list(jobs.values())  # equal ones once; of a Bayesian search, which draws as it runs, one example
        self.folder = Path(self.jobs[0].experiment.runs.root) / "sweeps" / self.name
        # Processes with an equal one share the runs.
        self.identity = _digest([str(self.space), self.metric, seed, [str(folder) for folder in jobs]])

    def _parameter(self, key: str, spec: Spec) -> Parameter:
        try:
            return parse_parameter(spec, grid=self.method == "grid")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"needs {error}, or values" if isinstance(error, KeyError) else error
            raise InputError(f"parameters.{key}: {reason}") from error

    def _points(self) -> list[dict[str, Any]]:
        """What is drawn for every run: a grid with the last key fastest, or ``limit`` random draws."""
        if self.method == "grid":
            labels = [parameter.labels for parameter in self.parameters.values()]
            if self.limit is None and (size := math.prod(map(len, labels))) > MOST_VALUES:
                raise InputError(f"a grid of {size} runs; say how many of them: --count N")
            points = itertools.islice(itertools.product(*labels), self.limit)
            return [dict(zip(self.parameters, point, strict=True)) for point in points]
        if self.limit is None:
            raise InputError(f"a {self.method} search has no end; say how many runs: --count N")
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self.seed))
        return [study.ask(self.space).params for _ in range(self.limit if self.method == "random" else 1)]

    def describe(self) -> str:
        """Every run in a line, and which ones are finished."""
        bayes, keys = self.method == "bayes", varying(self.jobs)
        lines = [f"{self.limit} runs, each proposed from the results before it" if bayes else f"{len(self.jobs)} runs"]
        for number, job in enumerate(() if bayes else self.jobs, start=1):
            state = "finished" if job.finished else "half-finished" if job.run.last.is_file() else ""
            lines.insert(-1, f"{number:>4}  {job.label(keys)}  {job.run.folder}  {state}".rstrip())
        return "\n".join(lines) + f"; without --dry-run: {self.folder}\n"

    def job(self, drawn: Mapping[str, Any]) -> Job:
        """The run for what Optuna drew, composed."""
        key = json.dumps(drawn, sort_keys=True)
        if key in self._jobs:
            return self._jobs[key]
        parameters = {key: parameter.value(drawn[key]) for key, parameter in self.parameters.items()}
        name = str(parameters.get("experiment", self.experiment))
        # As W&B's agent hands them over: Python's own spelling, which YAML reads alike for all that is not null.
        swept = [f"{key}={value}" for key, value in parameters.items() if key != "experiment"]
        own = (f"wandb.group={self.name}", "trainer.enable_progress_bar=false")
        settings = (*own, *self.command, *swept, *self.overrides)
        experiment = config.load(name, settings)
        if experiment.trainer.get("num_nodes", 1) != 1:
            raise InputError("trainer.num_nodes: expected 1, for each run of a sweep stays on one machine")
        folder = Path(experiment.runs.root) / experiment.name / f"{fingerprint(experiment)}-{experiment.seed}"
        if (folder / "experiment.yaml").is_file() and config.changed_settings(Run(folder).experiment(), experiment):
            raise InputError(f"{folder}: a run from before a default was changed; move it away")
        return self._jobs.setdefault(key, Job(experiment, (name, *settings), dict(drawn), parameters, Run(folder)))


def varying(jobs: Sequence[Job]) -> list[str]:
    """The parameters that are not the same in every run, in alphabetical order; all of them of a single run."""
    keys = sorted({key for job in jobs for key in job.parameters})
    return [key for key in keys if len(jobs) == 1 or len({repr(job.parameters.get(key)) for job in jobs}) > 1]


def find_sweep(name: str) -> Path:
    """The file that a path or a name in ``experiments/sweeps`` means; the nearest folder comes first."""
    paths = [path for folder in config.find_experiments() for path in sorted((folder / "sweeps").glob("*.yaml"))]
    names = {path.stem: path for path in reversed(paths)} | ({name: Path(name)} if Path(name).is_file() else {})
    if name not in names:
        raise InputError(f"no sweep file {name}; give a .yaml file, or a name: {nearest_names(Path(name).stem, names)}")
    return names[name].relative_to(Path.cwd()) if names[name].is_relative_to(Path.cwd()) else names[name]


def fingerprint(experiment: Experiment) -> str:
    """Ten hexadecimal digits of the settings that are no defaults and not free: a new setting leaves them alone."""
    return _digest({key: new for key, (_, new, _) in config.changed_settings(Experiment(), experiment).items()})


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def _read(path: Path) -> dict[Any, Any]:
    # Unresolved: ${env} and its like are macros of W&B's agent.
    content = OmegaConf.to_container(files.read_yaml(path), resolve=False)
    if not isinstance(content, dict):
        raise InputError("expected a sweep (method, command, parameters), got a list or a single value")
    if unknown := [str(key) for key in content if key not in KEYS]:
        raise InputError(f"unknown key '{unknown[0]}'; {nearest_names(unknown[0], KEYS)}")
    if content.get("method") not in METHODS:
        raise InputError(f"method: expected {', '.join(METHODS)}, got {content.get('method')}")
    if not content.get("parameters"):
        raise InputError("no parameters; expected for example parameters: {model.k: {values: [4, 8]}}")
    if not isinstance(cap := content.get("run_cap", 1), int) or cap < 1:
        raise InputError(f"run_cap: expected a number of runs, got {cap!r}")
    metric = content.get("metric") or {}
    needed = {"name", "goal"} if content["method"] == "bayes" or "early_terminate" in content else set()
    if not needed <= metric.keys() or metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise InputError(f"metric: expected one like {{name: val/mAP, goal: maximize}}, got {metric}")
    return content


def _pruner(rule: Mapping[str, Any] | None) -> BasePruner:
    """W&B's ``hyperband`` is successive halving; ``median`` is known here alone. Both count validations."""
    if rule is None:
        return NopPruner()
    first, last, factor = rule.get("min_iter"), rule.get("max_iter"), rule.get("eta") or 3
    if rule.get("type") == "median":
        return MedianPruner(n_warmup_steps=first or 0)
    if rule.get("type") != "hyperband" or not (first or last):
        raise InputError(f"early_terminate: expected {STOPPING}, got {dict(rule)}")
    return SuccessiveHalvingPruner(first or max(1, int(last or 1) // factor ** (rule.get("s") or 1)), factor)


def _command(words: Sequence[object], swept: bool) -> tuple[tuple[str, ...], str | None]:
    """The settings that the command gives to every run, and the experiment it names where none is swept."""
    shape = r".*\bogreid\.fit(?:\0--experiment[\0=]([^\0]+))?((?:\0[^-\0][^\0]*=[^\0]*)*)\0\$\{args_no_hyphens\}"
    match = re.fullmatch(shape, "\0".join(map(str, words)), re.DOTALL)
    if match is None or (match[1] is None) != swept:
        raise InputError(f"command: expected {SHAPE}")
    return tuple(match[2].split("\0")[1:]), match[1]
