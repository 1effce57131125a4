"""What a report derives from a run folder, without torch and without trusting that the run has ended."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ogreid import config, files
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.runs import Run

__all__ = ["Curve", "RunResults", "named_runs", "read_run"]

Curve = list[tuple[float, float]]
"""(epoch, value), ascending; epochs are fractional numbers from 0."""


@dataclass(frozen=True)
class RunResults:
    """One run, as far as it got.

    Attributes:
        folder: of the run.
        experiment: its settings.
        summary: ``summary.json``, null being NaN; empty while the run is in progress.
        curves: the columns of ``metrics.csv``.
        pictures: the files of ``pictures/`` that may be shown, in alphabetical order.
    """

    folder: Path
    experiment: Experiment
    summary: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted name."""
        return dict(_flatten(config.to_dict(self.experiment)))

    def evaluations(self) -> list[tuple[str, bool, dict[str, Any]]]:
        """Data set, whether it is a transfer set, and its numbers; the training benchmark first."""
        return [
            (test, kind == "transfer", numbers)
            for kind in ("retrieval", "transfer")
            for test, numbers in self.summary.get(kind, {}).items()
        ]


def read_run(folder: Path, *, people: bool = True) -> RunResults:
    """Read a run folder.

    Args:
        folder: of the run, finished or not.
        people: whether its pictures of people may be shown; with ``runs.pictures=false`` they never are.

    Raises:
        InputError: there is no run, or a file of it cannot be read.
    """
    run = Run.open(folder)
    experiment, summary = run.experiment(), run.summary()
    summary |= {key: _with_nan(summary[key]) for key in ("retrieval", "transfer", "baselines") if key in summary}
    shown = "*.npz" if people and experiment.runs.pictures else "*-map.npz"
    curves = _curves(run.folder / "metrics.csv")
    return RunResults(run.folder, experiment, summary, curves, sorted(run.pictures.glob(shown)))


def named_runs(folders: Iterable[Path]) -> dict[str, RunResults]:
    """Runs by a name that only one of them has: the experiment and the folder's own name, or its whole path."""
    runs = [read_run(folder) for folder in dict.fromkeys(folders)]
    short = [f"{run.experiment.name} \N{MIDDLE DOT} {run.folder.name}" for run in runs]
    names = [
        name if short.count(name) == 1 else f"{name} in {run.folder.parent}"
        for name, run in zip(short, runs, strict=True)
    ]
    return dict(zip(names, runs, strict=True))


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _with_nan(value: Any) -> Any:  # noqa: ANN401 - a part of the summary
    if isinstance(value, dict):
        return {key: _with_nan(one) for key, one in value.items()}
    return math.nan if value is None else value


def _curves(path: Path) -> dict[str, Curve]:
    """Lightning's CSV file over epochs; its column ``step`` counts from 0 over the whole run."""
    if not path.is_file():
        return {}
    try:
        table = csv.DictReader(io.StringIO(files.read_bytes(path, 1 << 30).decode(), newline=""), restkey="")
        numbers = [{name: _number(text) for name, text in row.items() if name} for row in table]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table of numbers ({error}); copy the run again") from error
    rows = [{name: value for name, value in row.items() if math.isfinite(value)} for row in numbers]
    rows = [row for row in rows if "step" in row]
    evaluated = [row for row in rows if "epoch" in row and any(name.startswith(("val/", "transfer/")) for name in row)]
    last = (evaluated or rows or [{"step": 0.0}])[-1]  # of an epoch, where it was evaluated
    steps_per_epoch = max((last["step"] + 1) / (max(last.get("epoch", 0.0), 0.0) + 1), 1.0)
    curves: dict[str, Curve] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            curves[name].append(((row["step"] + 1) / steps_per_epoch, value))
    return {name: sorted(curve) for name, curve in curves.items() if name not in ("step", "epoch")}


def _number(text: str | None) -> float:
    try:
        return float(text or math.nan)
    except ValueError:
        return math.nan
