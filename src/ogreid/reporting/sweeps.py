"""A sweep: ``sweep.json`` read back, its runs merged over their seeds, as a table and as charts.

A chart has the mAP over k or over density (the paper's Figures 7 and 8), or bars where no parameter is a number.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ogreid import files
from ogreid.errors import InputError, MissingFileError
from ogreid.reporting.charts import Chart, Line, bar_chart, line_chart
from ogreid.reporting.paper import published_tables
from ogreid.reporting.tables import COLUMNS, Spread, Table, mean_numbers, spread_text

DENSITY = "data.density"
AXES = {"model.k": "neighbors k", DENSITY: "points, % of the cloud", "data.num_points": "points"}


@dataclass(frozen=True)
class Setting:
    """Runs of a sweep that differ in nothing but the seed."""

    parameters: dict[str, Any]  # those that vary in the sweep, without the seed
    runs: int  # how many have finished
    numbers: dict[str, dict[str, Spread]]  # data set -> number -> mean and spread
    published: dict[str, dict[str, float]]  # data set -> number, where the paper has one

    def mean_average_precision(self, test: str) -> tuple[float, float] | None:
        """Mean and spread on a data set; None where it was not evaluated."""
        mean, spread = self.numbers.get(test, {}).get("mAP", (None, None))
        return None if mean is None else (mean, spread or 0.0)


@dataclass(frozen=True)
class SweepRecord:
    """The ``content`` of ``sweep.json`` in ``folder``, and its finished runs merged over their seeds, in its order."""

    folder: Path
    content: Mapping[str, Any]
    settings: Sequence[Setting]

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def keys(self) -> list[str]:
        """What varies, without the seed."""
        return [key for key in self.content["parameters"] if key != "seed"]

    @property
    def sets(self) -> dict[str, str]:
        """Data set -> its name in tables, which says where no run was trained on it."""
        runs = self.content["runs"]
        tests = dict.fromkeys(test for run in runs for key in ("retrieval", "transfer") for test in run.get(key, {}))
        trained = {test for run in runs for test in run.get("retrieval", {})}
        return {test: test if test in trained else f"{test} (transfer)" for test in tests}

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        return [run for run in self.content["runs"] if run["status"] == "failed"]

    def run_folders(self) -> list[Path]:
        """Of the finished runs: as written down, or moved with everything under the root of runs."""
        finished = [run for run in self.content["runs"] if run["status"] == "finished"]
        if not all(isinstance(run.get("folder"), str) for run in finished):
            raise InputError(f"{self.folder / 'sweep.json'}: a finished run names no folder; give the runs themselves")
        written = [Path(run["folder"]) for run in finished]
        return [path if path.is_dir() else self.folder.parent.parent / Path(*path.parts[1:]) for path in written]


def read_sweep(folder: Path) -> SweepRecord:
    """Read the folder of a sweep; an InputError where there is none, or its file is not whole."""
    path = folder / "sweep.json"
    if not path.is_file():
        raise MissingFileError(f"{folder}: no sweep (no sweep.json in it); expected a folder like runs/sweeps/k")
    try:
        content = files.read_json(path, most=1 << 26)
        return SweepRecord(folder, content, _merged(content["runs"], content["parameters"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        advice = "delete it and start the sweep again: no finished run is repeated"
        raise InputError(f"{path}: not a whole sweep; {advice}") from error


def _merged(runs: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> list[Setting]:
    """Finished runs (entries of ``sweep.json``) by the parameters that vary, without the seed."""
    alike: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["status"] == "finished":
            own = {key: run["parameters"].get(key) for key in parameters if key != "seed"}
            alike[json.dumps(own)].append(run)
    settings = []
    for values, group in alike.items():
        sets = [{**run["retrieval"], **run["transfer"]} for run in group]
        numbers = {test: mean_numbers([one[test] for one in sets if test in one]) for test in sets[0]}
        settings.append(Setting(json.loads(values), len(group), numbers, dict(group[0].get("published", {}))))
    return settings


def sweep_table(record: SweepRecord) -> Table:
    """What varies, the number of runs, and on each data set rank-1 and mAP with the paper's beside them."""
    columns = {key: [str(setting.parameters[key]) for setting in record.settings] for key in record.keys}
    columns["runs"] = [str(setting.runs) for setting in record.settings]
    for test, name in record.sets.items():
        for key in ("rank1", "mAP"):
            spreads = [setting.numbers.get(test, {}).get(key, (None,)) for setting in record.settings]
            columns[f"{name} {COLUMNS[key]}"] = [spread_text(*one) for one in spreads]
        for key in ("rank1", "mAP") if any(test in setting.published for setting in record.settings) else ():
            paper = [setting.published.get(test, {}).get(key) for setting in record.settings]
            columns[f"paper, {test} {COLUMNS[key]}"] = [spread_text(one) for one in paper]
    align = "l" * len(record.keys) + "r" * (len(columns) - len(record.keys))
    return Table(list(columns), list(zip(*columns.values(), strict=True)), align)


def sweep_figures(record: SweepRecord) -> dict[str, Chart]:
    """File stem -> chart.

    A parameter that is a number becomes the horizontal axis. Where it is the only one, the data sets are the lines of
    one chart; else every data set has a chart, whose lines are the other parameters. Without a number: bars.
    """
    if not record.settings:
        return {}
    counts = {}
    for key in record.keys:
        values = [setting.parameters[key] for setting in record.settings]
        if all(type(one) in (int, float) for one in values) and len(set(values)) > 1:
            counts[key] = len(set(values))
    if not counts:
        return {"plot": _bars(record)}
    axis, sets = max(counts, key=counts.__getitem__), list(record.sets)
    if record.keys == [axis] or len(sets) == 1:
        return {"plot": _over(record, axis, sets)}
    return {f"plot-{test.replace('/', '-')}": _over(record, axis, [test]) for test in sets}


def density_figure(rows: Sequence[Mapping[str, Any]], trained: float | None) -> str:
    """SVG of one trained network tested at several densities (the paper's Figure 8).

    ``rows`` have ``density`` in (0, 1] and ``retrieval``, the numbers on each data set; an upright line marks the
    density of training, where it is known.
    """
    sets, upright = rows[0]["retrieval"], None if trained is None else 100 * trained
    lines = [Line(test, [(100 * row["density"], row["retrieval"][test]["mAP"]) for row in rows]) for test in sets]
    title = "mAP at tested densities" + ("" if upright is None else f", trained at {upright:.3g} %")
    chart = line_chart(lines, title=title, x_label=AXES[DENSITY], y_label="mAP, %", last=False, upright=upright)
    return chart.file()


def _over(record: SweepRecord, axis: str, tests: Sequence[str]) -> Chart:
    """MAP over one parameter: a line for each combination of the others and each set."""
    values = sorted({setting.parameters[axis] for setting in record.settings})
    place = _scale(axis, values)
    grouped: dict[str, list[tuple[float, float, float]]] = {}
    for setting in sorted(record.settings, key=lambda setting: setting.parameters[axis]):
        others = {key: value for key, value in setting.parameters.items() if key != axis}
        for test in tests:
            if spread := setting.mean_average_precision(test):
                point = (place(setting.parameters[axis]), *spread)
                grouped.setdefault(_short(others) or record.sets[test], []).append(point)
    lines = [Line(name, [(x, y) for x, y, _ in own], spread=[z for _, _, z in own]) for name, own in grouped.items()]
    if axis == "model.k" and "market" in tests and record.sets["market"] == "market":  # the paper's two numbers of k
        entry = next(one for one in published_tables()["ablations"] if one["part"].startswith("graph"))
        for name, key in (("no graph", "without"), ("with its graph", "with")):
            lines.append(Line(f"paper, market: {name}", [(0.0, float(entry[key]))], level=True))
    title = f"{record.name}: mAP over {axis}" + ("" if record.keys == [axis] else f", {tests[0]}")
    ticks = {place(value): f"{value * (100 if axis == DENSITY else 1):g}" for value in values}
    return line_chart(lines, title=title, x_label=AXES.get(axis, axis), y_label="mAP, %", ticks=ticks, last=False)


def _bars(record: SweepRecord) -> Chart:
    """The mAP of each setting on each set, and the paper's on sets on which it has any."""
    settings = record.settings
    series = {name: [one.mean_average_precision(test) for one in settings] for test, name in record.sets.items()}
    for test in record.sets:
        paper = [setting.published.get(test, {}).get("mAP") for setting in settings]
        if any(paper):
            series[f"paper, {test}"] = [None if value is None else (value, 0.0) for value in paper]
    names = [_short(setting.parameters) or record.name for setting in settings]
    return bar_chart(names, series, title=f"{record.name}: mAP", x_label="mAP, %")


def _scale(axis: str, values: Sequence[float]) -> Callable[[float], float]:
    """Doublings evenly spaced where the values grow by factors rather than by steps."""
    factors = [after / before for before, after in pairwise(values) if before > 0]
    growing = axis != DENSITY and values[0] > 0 and values[-1] / values[0] >= 8 and min(factors) >= 1.5
    return math.log2 if growing else float


def _short(parameters: Mapping[str, Any]) -> str:
    """Values of names, key and value of the others."""
    return ", ".join(v if isinstance(v, str) else f"{key.rpartition('.')[2]} {v}" for key, v in parameters.items())
