"""Several runs on one page: results, curves over each other, the transfer matrix, and how their settings differ."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ogreid.reporting.ablations import ablation_html
from ogreid.reporting.charts import Line, line_chart
from ogreid.reporting.page import duration, fit_command, judged_lines, render, titled, write
from ogreid.reporting.reading import RunRecord, read_run
from ogreid.reporting.sweep_plots import sweep_html
from ogreid.reporting.sweeps import read_sweep
from ogreid.reporting.tables import COLUMNS, Row, beside_paper, html_table, rows_of, scrolling
from ogreid.reporting.transfer import transfer_map

__all__ = ["comparison_rows", "named_runs", "write_comparison", "write_sweep"]

_MOST_CURVES = 12


def write_comparison(folders: Sequence[Path], target: Path) -> Path:
    """Write one page that lays several runs side by side.

    Args:
        folders: of the runs, in the order in which they are shown.
        target: the HTML file.

    Returns:
        The file.
    """
    runs = named_runs(folders)
    names = ", ".join(dict.fromkeys(run.name for run in runs.values()))
    return write(target, render(f"{len(runs)} runs", names, "", compared(runs)))


def write_sweep(folder: Path, target: Path | None = None) -> Path:
    """Write one page of a sweep: its table and drawings, then its finished runs side by side.

    Args:
        folder: ``runs/sweeps/<name>``.
        target: the HTML file; ``report.html`` in the folder where it is not given.

    Returns:
        The file.
    """
    sweep = read_sweep(folder)
    done = [_run_folder(folder, Path(run["folder"])) for run in sweep.content["runs"] if run["status"] == "finished"]
    runs = named_runs(done)
    sections = [titled("The sweep", sweep_html(sweep), "sweep"), *(compared(runs) if runs else [])]
    told = str(sweep.content.get("description", ""))
    return write(target or folder / "report.html", render(f"Sweep: {sweep.name}", told, "", sections))


def _run_folder(sweep: Path, told: Path) -> Path:
    """Where a run of a sweep lies: as it was written down, or moved with everything under the root of runs."""
    return told if told.is_dir() else sweep.parent.parent / Path(*told.parts[1:])


def compared(runs: Mapping[str, RunRecord]) -> list[str]:
    """The sections of a page about several runs."""
    groups = [[runs[name] for name in group] for group in _repetitions(runs)]
    return [
        titled("Results", html_table(comparison_rows(runs), "Retrieval and transfer, in percent"), "results"),
        titled("What a part is worth", ablation_html(groups), "parts"),
        titled("While training", _overlaid(runs), "curves"),
        titled("From benchmark to benchmark", transfer_map(runs, sources=2), "transfer"),
        titled("Where the settings differ", _differences(runs), "settings"),
        titled("To repeat it", _made_with(runs), "made"),
    ]


def named_runs(folders: Sequence[Path]) -> dict[str, RunRecord]:
    """The runs by a name that tells them apart."""
    return {f"{run.name} \N{MIDDLE DOT} {run.folder.name}": run for run in map(read_run, folders)}


def comparison_rows(runs: Mapping[str, RunRecord]) -> list[Row]:
    """Rows of all runs, by data set; what is the same for several runs (baselines, the paper) only once.

    Runs whose settings differ in nothing but the seed have a mean, and it is the mean that is laid beside the paper.
    """
    rows: list[Row] = []
    groups = _repetitions(runs)
    told = _told_apart([runs[group[0]] for group in groups])
    for group, name in zip(groups, told, strict=True):
        own = [row for one in group for row in rows_of(runs[one], who=one)]
        if len(group) > 1:
            means = _means([row for row in own if row.kind in ("run", "baseline")], name)
            own = [row for row in own if row.kind in ("run", "paper")]
            own += [row for mean_row in means for row in (mean_row, *_paper(runs[group[0]], mean_row))]
        for row in own:
            rows += [row] if row not in rows else []
    names = list(dict.fromkeys(row.on for row in rows))
    kinds = ("run", "mean", "baseline", "paper", "difference")
    return sorted(rows, key=lambda row: (names.index(row.on), row.transfer, kinds.index(row.kind)))


def _paper(run: RunRecord, row: Row) -> list[Row]:
    return beside_paper(run, row) if row.kind == "mean" else []


def _told_apart(runs: Sequence[RunRecord]) -> list[str]:
    """The name of each run's experiment, with the settings in which those of one name and training set differ."""
    told = []
    for run in runs:
        rivals = [other for other in runs if _of(other) == _of(run)]
        others = [dict(_flat(other.experiment)) for other in rivals]
        own = [(key, value) for key, value in _flat(run.experiment) if key not in ("description", "seed")]
        differing = [(key, value) for key, value in own if any(other.get(key) != value for other in others)]
        told.append(", ".join([run.name, *(f"{key.rpartition('.')[2]}={value}" for key, value in differing)]))
    return told


def _of(run: RunRecord) -> tuple[str, Sequence[str]]:
    return run.name, run.setting("data.train", [])


def _repetitions(runs: Mapping[str, RunRecord]) -> list[list[str]]:
    """The names of runs that differ in nothing but the seed, together."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for name, run in runs.items():
        settings = tuple(one for one in _flat(run.experiment) if one[0] != "seed" and not one[0].startswith("runs."))
        alike[settings].append(name)
    return list(alike.values())


def _means(rows: Sequence[Row], name: str) -> list[Row]:
    """Per data set, and per baseline, the mean and the standard deviation over repetitions.

    Args:
        rows: of the runs and of their baselines.
        name: of the experiment.
    """
    alike: dict[tuple[str, bool, str], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.on, row.transfer, row.who if row.kind == "baseline" else ""].append(row)
    found = []
    for (on, transfer, baseline), own in alike.items():
        known = [key for key in COLUMNS if all(row.numbers.get(key) is not None for row in own)]
        means = {key: mean(float(row.numbers[key]) for row in own) for key in known}
        spread = {f"{key}_spread": stdev(float(row.numbers[key]) for row in own) for key in known if len(own) > 1}
        who = f"{baseline or name}, mean of {len(own)}"
        found.append(Row(on, transfer, who, "baseline" if baseline else "mean", means | spread))
    return found


def _overlaid(runs: Mapping[str, RunRecord]) -> str:
    """Curves over each other, of as many runs as can be told apart."""
    if len(runs) > _MOST_CURVES:
        return ""
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


def _made_with(runs: Mapping[str, RunRecord]) -> str:
    """Per run the revision, the versions, the time and the command."""
    known = ("git", "python", "torch")
    heads = "".join(f'<th scope="col">{name}</th>' for name in (*known, "time", "command"))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(str(run.summary.get('provenance', {}).get(key, '')))}</td>" for key in known)
        + f"<td>{duration(run.summary.get('seconds'))}</td><td><code>{escape(fit_command(run))}</code></td></tr>"
        for name, run in runs.items()
    )
    return scrolling("plain made", f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody>")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, str(value))]
    return found
