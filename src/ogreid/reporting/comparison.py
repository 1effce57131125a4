"""Several runs on one page: results, curves over each other, the transfer matrix, and how their settings differ."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ogreid.reporting.charts import Line, line_chart
from ogreid.reporting.page import judged_lines, render, titled, write
from ogreid.reporting.reading import RunRecord, read_run
from ogreid.reporting.tables import COLUMNS, Row, beside_paper, html_table, rows_of, scrolling
from ogreid.reporting.transfer import transfer_map

__all__ = ["comparison_rows", "named_runs", "write_comparison"]


def write_comparison(folders: Sequence[Path], target: Path) -> Path:
    """Write one page that lays several runs side by side.

    Args:
        folders: of the runs, in the order in which they are shown.
        target: the HTML file.

    Returns:
        The file.
    """
    runs = named_runs(folders)
    rows = comparison_rows(runs)
    sections = [
        titled("Results", html_table(rows, "Retrieval and transfer, in percent"), "results"),
        titled("While training", _overlaid(runs), "curves"),
        titled("From benchmark to benchmark", transfer_map(runs, sources=2), "transfer"),
        titled("Where the settings differ", _differences(runs), "settings"),
    ]
    names = ", ".join(dict.fromkeys(run.name for run in runs.values()))
    return write(target, render(f"{len(runs)} runs", names, "", sections))


def named_runs(folders: Sequence[Path]) -> dict[str, RunRecord]:
    """The runs by a name that tells them apart."""
    return {f"{run.name} \N{MIDDLE DOT} {run.folder.name}": run for run in map(read_run, folders)}


def comparison_rows(runs: Mapping[str, RunRecord]) -> list[Row]:
    """Rows of all runs, by data set; what is the same for several runs (baselines, the paper) only once.

    Runs whose settings differ in nothing but the seed have a mean, and it is the mean that is laid beside the paper.
    """
    rows: list[Row] = []
    for group in _repetitions(runs):
        own = [row for name in group for row in rows_of(runs[name], who=name)]
        if len(group) > 1:
            run = runs[group[0]]
            means = _means([runs[name] for name in group])
            own = [row for row in own if row.kind != "difference"]
            own += [row for mean_row in means for row in (mean_row, *beside_paper(run, mean_row))]
        for row in own:
            rows += [row] if row not in rows else []
    names = list(dict.fromkeys(row.on for row in rows))
    kinds = ("run", "mean", "baseline", "paper", "difference")
    return sorted(rows, key=lambda row: (names.index(row.on), row.transfer, kinds.index(row.kind)))


def _repetitions(runs: Mapping[str, RunRecord]) -> list[list[str]]:
    """The names of runs that differ in nothing but the seed, together."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for name, run in runs.items():
        settings = tuple(one for one in _flat(run.experiment) if one[0] != "seed" and not one[0].startswith("runs."))
        alike[settings].append(name)
    return list(alike.values())


def _means(group: Sequence[RunRecord]) -> list[Row]:
    """Per data set the mean and the standard deviation over the runs."""
    rows = []
    judged = [run.numbers() for run in group]
    for on, (numbers, transfer) in judged[0].items():
        found = [one[on][0] for one in judged if on in one]
        means = {key: mean(one[key] for one in found) for key in COLUMNS if key in numbers}
        spread = {f"{key}_spread": stdev(one[key] for one in found) for key in means if len(found) > 1}
        rows.append(Row(on, transfer, f"{group[0].name}, mean of {len(found)}", "mean", means | spread))
    return rows


def _overlaid(runs: Mapping[str, RunRecord]) -> str:
    charts = []
    for number, title in (("mAP", "mAP"), ("rank1", "Rank-1")):
        sets = dict.fromkeys(line.name for run in runs.values() for line in judged_lines(run, number))
        for on in sets:
            lines = [
                Line(name, line.points)
                for name, run in runs.items()
                for line in judged_lines(run, number)
                if line.name == on
            ]
            charts.append(line_chart(lines, title=f"{title} on {on}", x_label="epoch", y_label=f"{title}, %"))
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _differences(runs: Mapping[str, RunRecord]) -> str:
    flat = {name: dict(_flat(run.experiment)) for name, run in runs.items()}
    keys = dict.fromkeys(key for settings in flat.values() for key in settings)
    differing = [key for key in keys if len({settings.get(key) for settings in flat.values()}) > 1]
    if not differing:
        return "<p>They do not: these are repetitions.</p>"
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in flat)
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th>'
        + "".join(f"<td>{escape(settings.get(key, ''))}</td>" for settings in flat.values())
        + "</tr>"
        for key in differing
    )
    return scrolling("plain", f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody>")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, str(value))]
    return found
