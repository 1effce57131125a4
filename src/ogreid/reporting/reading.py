"""What a run folder holds, read without torch and without trusting that the run came to its end."""

import csv
import io
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ogreid import files
from ogreid.errors import InputError

__all__ = ["Curve", "RunRecord", "read_run"]

Curve = list[tuple[float, float]]
"""(epoch, value), epochs counted in whole and broken numbers from 0."""


@dataclass(frozen=True)
class RunRecord:
    """One run, as far as it got.

    Attributes:
        folder: of the run.
        experiment: ``experiment.yaml``, resolved.
        summary: ``summary.json``; empty while the run is still going.
        curves: every column of ``metrics.csv``.
        pictures: the files in ``pictures/`` that may be shown, in alphabetical order.
        experiment_text: ``experiment.yaml`` as written.
    """

    folder: Path
    experiment: dict[str, Any]
    summary: dict[str, Any]
    curves: dict[str, Curve]
    pictures: list[Path] = field(default_factory=list)
    experiment_text: str = ""

    @property
    def name(self) -> str:
        """Of the experiment."""
        return str(self.experiment.get("name", self.folder.parent.name))

    @property
    def label(self) -> str:
        """What tells this run from others of the same experiment."""
        return f"{self.name} {self.folder.name}"

    def setting(self, key: str, default: object = None) -> Any:  # noqa: ANN401 - whatever the YAML holds
        """One setting by its dotted key."""
        value: Any = self.experiment
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return default if value is None else value

    def numbers(self) -> dict[str, tuple[dict[str, Any], bool]]:
        """Per judged set its numbers, and whether it is a transfer set; the training benchmark first."""
        own = {name: (dict(found), False) for name, found in self.summary.get("retrieval", {}).items()}
        return own | {name: (dict(found), True) for name, found in self.summary.get("transfer", {}).items()}

    def baselines(self, on: str) -> dict[str, dict[str, Any]]:
        """Baseline -> numbers on one set."""
        held = self.summary.get("baselines", {})
        return {name: dict(found[on]) for name, found in held.items() if on in found}


def read_run(folder: Path, *, people: bool = True) -> RunRecord:
    """Read a run folder.

    Args:
        folder: of the run.
        people: whether its pictures of people may be shown; an experiment with ``runs.pictures=false`` says no itself.

    Raises:
        InputError: no run there, or a file of it that cannot be read.
    """
    config = folder / "experiment.yaml"
    if not config.is_file():
        raise InputError(f"{folder}: no run (no experiment.yaml in it); expected a folder like runs/demo/<stamp>-<seed>")
    try:
        experiment = OmegaConf.to_container(files.read_yaml(config))
    except (OSError, ValueError) as error:
        raise InputError(f"{config}: not readable as YAML; copy the run again") from error
    if not isinstance(experiment, dict):
        raise InputError(f"{config}: expected the settings of an experiment; copy the run again")
    run = RunRecord(
        folder=folder,
        experiment={str(key): value for key, value in experiment.items()},
        summary=_summary(folder / "summary.json"),
        curves=_curves(folder / "metrics.csv"),
        experiment_text=config.read_text(),
    )
    shown = "*.npz" if people and run.setting("runs.pictures", True) else "*-map.npz"
    return replace(run, pictures=sorted((folder / "pictures").glob(shown)))


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = files.read_json(path, most=1 << 26)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not whole JSON ({error}); finish or repeat the run") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object with retrieval and transfer; finish or repeat the run")
    return {
        key: _numbers(value) if key in ("retrieval", "transfer", "baselines") else value for key, value in found.items()
    }


def _numbers(value: Any) -> Any:  # noqa: ANN401 - a part of the summary
    """The same, with NaN for null: what could not be judged is a number all the same."""
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    return math.nan if value is None else value


def _curves(path: Path) -> dict[str, Curve]:
    """Columns of Lightning's CSV file over epochs; the file's own ``step`` counts from 0 over the whole run."""
    if not path.is_file():
        return {}
    try:
        table = io.StringIO(files.read_bytes(path, 1 << 30).decode(), newline="")
        rows = [row for row in csv.DictReader(table, restkey="") if _number(row.get("step")) is not None]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table of numbers ({error}); copy the run again") from error
    steps_per_epoch = _steps_per_epoch(rows)
    curves: dict[str, Curve] = defaultdict(list)
    for row in rows:
        step = _number(row["step"])
        assert step is not None
        for name, text in row.items():
            value = _number(text) if name not in ("step", "epoch", "") else None
            if value is not None:
                curves[name].append(((step + 1) / steps_per_epoch, value))
    return {name: sorted(curve) for name, curve in curves.items()}


def _steps_per_epoch(rows: list[dict[str, str]]) -> float:
    """From the last row of an epoch that was validated, which is logged at the epoch's last step."""
    estimates = [
        (step + 1) / (epoch + 1)
        for row in rows
        if any(name.startswith(("val/", "transfer/")) and text for name, text in row.items() if name)
        and (step := _number(row["step"])) is not None
        and (epoch := _number(row.get("epoch"))) is not None
        and epoch >= 0
    ]
    if estimates:
        return max(estimates[-1], 1.0)
    last = rows[-1] if rows else {}
    return max(((_number(last.get("step")) or 0) + 1) / (max(_number(last.get("epoch")) or 0, 0) + 1), 1.0)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
