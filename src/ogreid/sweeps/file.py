"""A sweep file in W&B's own schema, read and checked, and the runs it stands for."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ogreid import config, files, fit
from ogreid.errors import InputError, nearest_names
from ogreid.sweeps.draws import MOST, check_parameter, draw, grid_values

__all__ = ["EXPERIMENT", "SweepFile", "find_sweep", "points", "read_sweep_file", "sweep_names"]

EXPERIMENT = "experiment"
"""A parameter of this name is the experiment itself, as ``--experiment``."""

MACRO = "${args_no_hyphens}"
KEYS = ("program", "command", "method", "metric", "parameters", "name", "description", "project", "entity", "run_cap")
ELSEWHERE = ("early_terminate", "controller", "apiVersion", "kind")
"""Keys that only W&B's server acts on; read over."""


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        path: of the file.
        name: of the sweep.
        description: for people.
        method: ``grid`` or ``random``.
        metric: ``name`` and ``goal``; empty where the file has none.
        command: the arguments after ``ogreid.fit`` and before the parameters: the settings of every run.
        experiment: named in the command; None where a parameter names it.
        parameters: dotted key -> what W&B calls its configuration, keys in alphabetical order.
        most: number of runs; None for as many as the grid holds.
    """

    path: Path
    name: str
    description: str
    method: str
    metric: Mapping[str, str]
    command: tuple[str, ...]
    experiment: str | None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    most: int | None = None

    def pinned(self, experiment: str | None, overrides: Sequence[str]) -> "SweepFile":
        """The same sweep where the person's own experiment and settings take the place of the file's parameters."""
        taken = {override.partition("=")[0] for override in overrides}
        if experiment is not None:
            taken.add(EXPERIMENT)
        left = {key: spec for key, spec in self.parameters.items() if key not in taken}
        return replace(self, parameters=left, experiment=experiment or self.experiment)


def find_sweep(given: str) -> Path:
    """The file that a path or a name in ``experiments/sweeps`` means.

    Raises:
        InputError: there is none, with the nearest names.
    """
    if Path(given).is_file():
        return Path(given)
    names = sweep_names()
    if given in names:
        return names[given]
    raise InputError(f"no sweep file {given}; give a .yaml file, or a name: {nearest_names(Path(given).stem, names)}")


def sweep_names() -> dict[str, Path]:
    """Name -> file of every sweep in ``experiments/sweeps``, the nearest folder first."""
    found: dict[str, Path] = {}
    here = Path.cwd()
    for folder in config.find_experiments():
        for path in sorted((folder / "sweeps").glob("*.yaml")):
            found.setdefault(path.stem, path.relative_to(here) if path.is_relative_to(here) else path)
    return found


def read_sweep_file(path: Path) -> SweepFile:
    """Read and check.

    Raises:
        InputError: not YAML, an unknown key or method, a command that is not ``ogreid.fit``, a parameter without values.
    """
    plain = _plain(path)
    try:
        return _checked(path, plain)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path}: {error}; a value of this file has another kind than W&B's sweeps have") from error


def _checked(path: Path, plain: Mapping[str, Any]) -> SweepFile:
    for key in plain:
        if key not in (*KEYS, *ELSEWHERE):
            raise InputError(f"{path}: unknown key '{key}'; {nearest_names(key, (*KEYS, *ELSEWHERE))}")
    method = str(plain.get("method"))
    if method not in ("grid", "random"):
        raise InputError(f"{path}: method {method}: grid and random run here, bayes needs W&B's server (wandb sweep)")
    parameters = plain.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise InputError(f"{path}: no parameters; expected for example parameters: {{model.k: {{values: [4, 8]}}}}")
    for name, spec in parameters.items():
        if not isinstance(spec, dict):
            raise InputError(f"{path}: parameters.{name}: expected {{values: [...]}} or {{value: ...}}, found {spec!r}")
        check_parameter(str(name), spec, str(path))
    most = plain.get("run_cap")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise InputError(f"{path}: run_cap {most!r}; expected a number of runs")
    command, experiment = _command(path, plain, parameters)
    return SweepFile(
        path=path,
        name=str(plain.get("name", path.stem)),
        description=str(plain.get("description", "")),
        method=method,
        metric={str(key): str(value) for key, value in (plain.get("metric") or {}).items()},
        command=command,
        experiment=experiment,
        parameters=dict(sorted((str(name), spec) for name, spec in parameters.items())),
        most=most,
    )


def points(sweep: SweepFile, count: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The parameters of every run, in order: a grid with keys in alphabetical order and the last one fastest.

    Args:
        sweep: checked.
        count: at most so many; a random search needs it where the file has no ``run_cap``.
        seed: of a random search; its n-th run depends on the seed and n alone.

    Raises:
        InputError: a random search without end, a grid as good as without, limits that are no numbers.
    """
    try:
        return _points(sweep, count if count is not None else sweep.most, seed)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{sweep.path}: {error}; expected numbers as limits of parameters") from error


def _points(sweep: SweepFile, most: int | None, seed: int) -> list[dict[str, Any]]:
    if sweep.method == "grid":
        values = [grid_values(name, spec, str(sweep.path)) for name, spec in sweep.parameters.items()]
        if most is None and (size := math.prod(map(len, values))) > MOST:
            raise InputError(f"{sweep.path}: a grid of {size} runs; say how many of them: --count N")
        grid = (dict(zip(sweep.parameters, chosen, strict=True)) for chosen in itertools.product(*values))
        return list(itertools.islice(grid, most))
    if most is None:
        raise InputError(f"{sweep.path}: a random search has no end; say how many runs: --count N")
    return list(itertools.islice(_random(sweep, seed), most))


def _random(sweep: SweepFile, seed: int) -> Iterator[dict[str, Any]]:
    for number in itertools.count():
        rng = np.random.default_rng([seed, number])
        yield {name: draw(spec, rng) for name, spec in sweep.parameters.items()}


def _plain(path: Path) -> dict[str, Any]:
    try:
        # Unresolved: ${env} and its like are macros of W&B's agent.
        plain = OmegaConf.to_container(files.read_yaml(path), resolve=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected a sweep (method, command, parameters), found a list or a single value")
    return {str(key): value for key, value in plain.items()}


def _command(path: Path, plain: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """The settings that the command gives to every run, and the experiment it names."""
    words = [str(word) for word in plain.get("command") or ()]
    shape = f'command: ["${{env}}", "python", "-m", "ogreid.fit", "--experiment", "NAME", "{MACRO}"]'
    if "ogreid.fit" not in words or MACRO not in words:
        raise InputError(f"{path}: only ogreid.fit is swept here; expected {shape}")
    arguments = [word for word in words[words.index("ogreid.fit") + 1 :] if word != MACRO]
    try:
        asked = fit.parser().parse_intermixed_args(arguments)
    except SystemExit as error:  # --help
        raise InputError(f"{path}: a command that asks for something else than a fit; expected {shape}") from error
    experiment, settings = fit.named_experiment(asked.experiment, asked.overrides)
    if (experiment is None) == (EXPERIMENT not in parameters):
        what = "no experiment" if experiment is None else "two experiments, in the command and in parameters"
        raise InputError(f"{path}: {what}; expected {shape}, or a parameter called experiment")
    return tuple(settings), experiment
