"""What a sweep found: ``sweep.json`` read back, its runs merged over their seeds, as the rows of a table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ogreid import files
from ogreid.errors import InputError

__all__ = ["Setting", "SweepRecord", "merged", "read_sweep", "sweep_markdown", "sweep_rows"]

NUMBERS = {"rank1": "rank-1", "mAP": "mAP"}
Spread = tuple[float, float | None]
"""Mean and sample standard deviation; None of a single run."""


@dataclass(frozen=True)
class Setting:
    """Runs of a sweep that differ in nothing but the seed.

    Attributes:
        parameters: those that vary in the sweep, without the seed.
        runs: how many came to their end.
        numbers: data set -> number -> mean and spread.
        published: data set -> number, where the paper has one.
    """

    parameters: dict[str, Any]
    runs: int
    numbers: dict[str, dict[str, Spread]]
    published: dict[str, dict[str, float]]

    @property
    def name(self) -> str:
        """As short as it can be told: values of names, key and value of the others."""
        return ", ".join(_told(key, value) for key, value in self.parameters.items())

    def without(self, left_out: str) -> str:
        """The same without one parameter."""
        return ", ".join(_told(key, value) for key, value in self.parameters.items() if key != left_out)


@dataclass(frozen=True)
class SweepRecord:
    """``sweep.json``.

    Attributes:
        folder: of the sweep.
        content: the file.
        settings: the finished runs merged over their seeds, in the sweep's order.
    """

    folder: Path
    content: Mapping[str, Any]
    settings: Sequence[Setting]

    @property
    def name(self) -> str:
        """Of the sweep."""
        return str(self.content["name"])

    @property
    def keys(self) -> list[str]:
        """What varies, without the seed."""
        return [key for key in self.content["parameters"] if key != "seed"]

    @property
    def sets(self) -> dict[str, bool]:
        """Data set -> whether every run judged it without having been trained on it."""
        found: dict[str, bool] = {}
        for run in self.content["runs"]:
            for on in (*run.get("retrieval", {}), *run.get("transfer", {})):
                found[on] = found.get(on, True) and on in run["transfer"]
        return found

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """Runs that died."""
        return [run for run in self.content["runs"] if run["status"] == "failed"]


def read_sweep(folder: Path) -> SweepRecord:
    """Read the folder of a sweep.

    Raises:
        InputError: there is none, or its file is not whole.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        raise InputError(f"{folder}: no sweep (no sweep.json in it); expected a folder like runs/sweeps/k")
    try:
        content = files.read_json(path, most=1 << 26)
        return SweepRecord(folder, content, merged(content["runs"], content["parameters"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a whole sweep; delete it and start the sweep again: no finished run is repeated"
        ) from error


def merged(runs: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> list[Setting]:
    """Finished runs by their settings.

    Args:
        runs: entries of ``sweep.json``.
        parameters: those that vary.
    """
    keys = [key for key in parameters if key != "seed"]
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["status"] == "finished":
            alike.setdefault(json.dumps([run["parameters"].get(key) for key in keys]), []).append(run)
    return [
        Setting(
            {key: group[0]["parameters"].get(key) for key in keys},
            len(group),
            _numbers(group),
            dict(group[0].get("published", {})),
        )
        for group in alike.values()
    ]


def _numbers(group: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Spread]]:
    judged = [{**run["retrieval"], **run["transfer"]} for run in group]
    found: dict[str, dict[str, Spread]] = {}
    for on, numbers in judged[0].items():
        rows = [one[on] for one in judged if on in one]
        found[on] = {
            key: (mean(values), stdev(values) if len(values) > 1 else None)
            for key in numbers
            if len(values := [float(row[key]) for row in rows if isinstance(row.get(key), int | float)]) == len(rows)
        }
    return found


def sweep_rows(record: SweepRecord) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the sweep's table: what varies, how many runs, rank-1 and mAP on each set, the paper's."""
    paper = [on for on in record.sets if any(on in setting.published for setting in record.settings)]
    heads = [*record.keys, "runs"]
    for on, transfer in record.sets.items():
        heads += [f"{on}{' (transfer)' if transfer else ''} {name}" for name in NUMBERS.values()]
        heads += [f"paper {name}" for name in NUMBERS.values()] if on in paper else []
    rows = []
    for setting in record.settings:
        cells = [str(value) for value in setting.parameters.values()] + [str(setting.runs)]
        for on in record.sets:
            cells += [_cell(setting.numbers.get(on, {}).get(key)) for key in NUMBERS]
            cells += [_cell(_alone(setting.published.get(on, {}).get(key))) for key in NUMBERS] if on in paper else []
        rows.append(cells)
    return heads, rows


def sweep_markdown(record: SweepRecord) -> str:
    """The table for a page of documentation."""
    heads, rows = sweep_rows(record)
    left = len(record.keys)
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * left}{'---:|' * (len(heads) - left)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)]) + "\n"


def _told(key: str, value: object) -> str:
    return str(value) if isinstance(value, str) else f"{key.rpartition('.')[2]} {value}"


def _cell(value: Spread | None) -> str:
    if value is None or math.isnan(value[0]):
        return "\N{EN DASH}"
    return f"{value[0]:.2f}" + ("" if value[1] is None else f" \N{PLUS-MINUS SIGN} {value[1]:.2f}")


def _alone(value: float | None) -> Spread | None:
    return None if value is None else (value, None)
