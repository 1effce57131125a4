"""Pages that need nothing else: a run, several runs, a sweep; templates, style and script are in ``templates/``."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogreid import config, files
from ogreid.errors import InputError
from ogreid.reporting import results
from ogreid.reporting.charts import PALETTE, Chart, Line, line_chart, themed, thin_out
from ogreid.reporting.galleries import read_clouds, read_galleries, read_maps
from ogreid.reporting.results import RunResults
from ogreid.reporting.sweeps import SweepRecord, read_sweep, sweep_figures, sweep_table
from ogreid.reporting.tables import COLUMNS, Row, csv_table, results_table, signed

if TYPE_CHECKING:
    from jinja2 import Environment


MOST_CURVES = 12  # lines of one chart that can be distinguished
LOSS, SPEED = "train/loss", "train/clouds_per_second"


def write_report(*folders: Path, target: Path | None = None, people: bool = True) -> Path:
    """Write one page of a run, of several, or of a sweep and its finished runs.

    Args:
        *folders: of runs, finished or not, in the order in which they are shown; or one of a sweep.
        target: the HTML file; ``report.html`` in the folder, of several runs ``comparison.html``.
        people: whether the page of a run may show pictures and clouds of people.

    Returns:
        The file.

    Raises:
        InputError: a file that cannot be read; a sweep among several folders; the page cannot be written.
    """
    alone = len(folders) == 1
    if _is_sweep(folders):
        page = _sweep_page(read_sweep(folders[0]))
    else:
        page = (
            _run_page(results.read_run(folders[0], people=people)) if alone else _runs_page(results.named_runs(folders))
        )
    return save(target or (folders[0] / "report.html" if alone else Path("comparison.html")), page)


def report_text(*folders: Path, kind: str) -> str:
    """The same numbers as a table.

    Args:
        *folders: see :func:`write_report`.
        kind: ``.md``, or ``.csv``: the numbers of each run unrounded, with its seed and the settings that differ.
    """
    if _is_sweep(folders):
        record = read_sweep(folders[0])
        if kind == ".md":
            return sweep_table(record).markdown()
        folders = tuple(record.run_folders())
    rows = results.comparison_rows(results.named_runs(folders))
    return csv_table(rows) if kind == ".csv" else results_table(rows).markdown()


def render(template: str, **context: object) -> str:
    """A page of ``templates/``; whatever is not a template itself is escaped."""
    return _environment().get_template(template).render(context)


def save(path: Path, text: str) -> Path:
    """Write a page or a table in one step, and return its path.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        files.write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another --to") from error
    return path


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader, strict = PackageLoader("ogreid.reporting"), StrictUndefined
    environment = Environment(loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(palette=PALETTE, columns=COLUMNS)
    environment.filters.update(themed=themed, signed=signed, quote=lambda path: shlex.quote(str(path)))
    return environment


def _is_sweep(folders: Sequence[Path]) -> bool:
    sweeps = [folder for folder in folders if (folder / "sweep.json").is_file()]
    if sweeps and len(folders) > 1:
        raise InputError(f"{sweeps[0]}: a sweep has a page of its own; give it alone")
    return bool(sweeps)


def _run_page(run: RunResults) -> str:
    rows = results.rows_of(run)
    return render(
        "run.html",
        title=run.experiment.name,
        description=run.experiment.description,
        run=run,
        rows=_grouped(rows),
        matrix=results.transfer_matrix([run]),
        result_charts=_result_charts(run),
        curves=_curve_charts(run, rows),
        clouds=read_clouds(run.pictures),
        galleries=read_galleries(run.pictures),
        maps=read_maps(run.pictures),
        settings=config.to_yaml(run.experiment),
    )


def _runs_page(runs: Mapping[str, RunResults]) -> str:
    names = ", ".join(dict.fromkeys(run.experiment.name for run in runs.values()))
    return render("runs.html", title=f"{len(runs)} runs", description=names, **_compared(runs))


def _sweep_page(record: SweepRecord) -> str:
    return render(
        "sweep.html",
        title=f"Sweep: {record.name}",
        description=record.content.get("description", ""),
        table=sweep_table(record),
        failed=record.failed,
        figures=sweep_figures(record).values(),
        **_compared(results.named_runs(record.run_folders())),
    )


def _compared(runs: Mapping[str, RunResults]) -> dict[str, Any]:
    matrix = results.transfer_matrix(runs.values())
    return {
        "runs": runs,
        "rows": _grouped(results.comparison_rows(runs)),
        "ablations": results.ablation_table([[runs[name] for name in group] for group in results.repetitions(runs)]),
        "curves": _overlaid(runs) if len(runs) <= MOST_CURVES else [],
        "matrix": matrix if len(matrix) > 1 else {},
        "differences": results.differing_settings(runs.values()),
    }


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, bool], list[Row]]:
    """By data set, in the order of the rows."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.test, row.transfer), []).append(row)
    return groups


def _result_charts(run: RunResults) -> list[Chart]:
    cmc = [Line(test, list(enumerate(values, start=1))) for test, values in run.summary.get("cmc", {}).items()]
    precision = [
        Line(test, [(100 * i / (len(values) - 1), value) for i, value in enumerate(values)])
        for test, values in run.summary.get("precision", {}).items()
    ]
    return _charts(
        ("Cumulative matches (CMC)", "rank", "queries, %", cmc),
        ("Precision over recall", "recall, %", "precision, %", precision),
    )


def _curve_charts(run: RunResults, rows: Sequence[Row]) -> list[Chart]:
    parts = []
    for key in ("mAP", "rank1"):
        baselines = [row for row in rows if row.kind == "baseline" and row.test == rows[0].test and key in row.numbers]
        levels = [Line(row.network, [(0.0, float(row.numbers[key]))], level=True) for row in baselines]
        parts.append((COLUMNS[key], "epoch", f"{COLUMNS[key]}, %", [*_evaluated(run, key), *levels]))
    names = [name for name in run.curves if name.startswith("train/") and name not in (LOSS, SPEED)]
    losses = [
        Line(name.removeprefix("train/").replace("_", " "), thin_out(run.curves.get(name, [])))
        for name in (LOSS, *sorted(names))
    ]
    speed = [Line("clouds/s", thin_out(run.curves.get(SPEED, [])))]
    return _charts(*parts, ("Loss", "epoch", "loss", losses), ("Speed", "epoch", "clouds per second", speed))


def _overlaid(runs: Mapping[str, RunResults]) -> list[Chart]:
    """The curves of all runs, a chart for each number and data set."""
    lines: dict[tuple[str, str], list[Line]] = {}
    for key in ("mAP", "rank1"):
        for name, run in runs.items():
            for line in _evaluated(run, key):
                lines.setdefault((COLUMNS[key], line.name), []).append(Line(name, line.points))
    return _charts(*((f"{key} on {test}", "epoch", f"{key}, %", group) for (key, test), group in lines.items()))


def _charts(*parts: tuple[str, str, str, Sequence[Line]]) -> list[Chart]:
    """Of (title, label of x, label of y, lines) those that have a point to draw."""
    drawn = [part for part in parts if any(line.points for line in part[3])]
    return [line_chart(lines, title=title, x_label=x, y_label=y) for title, x, y, lines in drawn]


def _evaluated(run: RunResults, key: str) -> list[Line]:
    """One line per data set: ``val/<set>/<key>`` and ``transfer/<source>-><set>/<key>``."""
    lines = []
    for name, curve in sorted(run.curves.items(), key=lambda one: one[0].startswith("transfer/")):
        kind, *middle = name.split("/")  # the learning rate is plain "lr"
        if kind in ("val", "transfer") and len(middle) > 1 and middle.pop() == key:
            test = "/".join(middle).split("->")[-1]
            lines.append(Line(f"{test} (transfer)" if kind == "transfer" else test, curve))
    return lines
