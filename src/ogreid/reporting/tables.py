"""The numbers of one or several runs as rows, and rows as HTML, Markdown and CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ogreid.reporting.paper import published_for
from ogreid.reporting.reading import RunRecord

__all__ = [
    "COLUMNS",
    "Row",
    "beside_paper",
    "csv_table",
    "html_table",
    "markdown_table",
    "models_table",
    "rows_of",
    "scrolling",
    "signed",
]

COLUMNS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "mAP": "mAP",
    "mAP_step": "mAP step",
    "mINP": "mINP",
}


@dataclass(frozen=True)
class Row:
    """One line of a results table.

    Attributes:
        on: the data set.
        transfer: whether it was never trained on.
        who: the run, a baseline, or the paper.
        kind: ``run``, ``mean`` (of runs), ``baseline``, ``paper`` or ``difference`` (to the paper).
        numbers: as in ``summary.json``, percentages as 0..100, of a difference in points; of a mean also
            ``<name>_spread``, a standard deviation.
    """

    on: str
    transfer: bool
    who: str
    kind: str
    numbers: dict[str, Any]


def rows_of(run: RunRecord, who: str | None = None) -> list[Row]:
    """Per data set: the run, its baselines, and the paper where it has a number, with the difference."""
    rows = []
    for on, (numbers, transfer) in run.numbers().items():
        ours = Row(on, transfer, who or run.setting("model.name", run.name), "run", numbers)
        baselines = [Row(on, transfer, name, "baseline", found) for name, found in run.baselines(on).items()]
        rows += [ours, *baselines, *beside_paper(run, ours)]
    return rows


def beside_paper(run: RunRecord, ours: Row) -> list[Row]:
    """The paper's row for one of ours, and ours minus the paper's where the numbers are of the same kind.

    Args:
        run: whose settings say which entry of the paper fits.
        ours: a row of that run, or the mean over its repetitions.
    """
    paper = published_for(run, ours.on)
    if paper is None:
        return []
    rows = [Row(ours.on, ours.transfer, f"paper, {paper.source}", "paper", paper.numbers())]
    difference = paper.minus(ours.numbers, str(run.setting("evaluation.average_precision", "trapezoid")))
    if difference:
        rows.append(Row(ours.on, ours.transfer, f"{ours.who} minus paper", "difference", difference))
    return rows


def html_table(rows: Sequence[Row], caption: str) -> str:
    """A table whose rows are grouped by data set; the first column is the row's header."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS.values())
    parts = [
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">',
        f'<table class="results"><caption>{escape(caption)}</caption><thead><tr><th scope="col">network</th>{heads}'
        '<th scope="col">queries</th></tr></thead>',
    ]
    for on, transfer in dict.fromkeys((row.on, row.transfer) for row in rows):
        note = "transfer: never trained on" if transfer else "held-out identities"
        head = f'<th colspan="{len(COLUMNS) + 2}" scope="rowgroup">{escape(on)} <span>{note}</span></th>'
        parts.append(f'<tbody><tr class="group">{head}</tr>')
        parts += [_html_row(row) for row in rows if (row.on, row.transfer) == (on, transfer)]
        parts.append("</tbody>")
    return "".join([*parts, "</table></div>"])


def markdown_table(rows: Sequence[Row]) -> str:
    """The same table for a README or an issue."""
    heads = ["judged on", "network", *COLUMNS.values(), "queries"]
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * (len(heads) - 2)}"]
    for row in rows:
        cells = [row.on + (" (transfer)" if row.transfer else ""), row.who, *_cells(row), _queries(row)]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def models_table(rows: Sequence[tuple[str, int, int, str]]) -> str:
    """Markdown of (name, parameters, operations of one cloud, what the paper prints), in columns that line up."""
    cells = [("network", "parameters", "GFLOP", "paper")]
    cells += [(name, f"{parameters:,}", f"{flops / 1e9:.2f}", paper) for name, parameters, flops, paper in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    align = (str.ljust, str.rjust, str.rjust, str.ljust)
    lines = [
        f"| {' | '.join(put(cell, width) for put, cell, width in zip(align, row, widths, strict=True))} |"
        for row in cells
    ]
    rule = f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:|{'-' * (widths[3] + 2)}|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def csv_table(rows: Sequence[Row]) -> str:
    """The same numbers unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["on", "transfer", "network", "kind", *COLUMNS, "queries", "unanswerable"])
    for row in rows:
        values = ["" if value is None else value for value in _values(row)]
        counts = [row.numbers.get("queries", ""), row.numbers.get("unanswerable", "")]
        writer.writerow([row.on, int(row.transfer), row.who, row.kind, *values, *counts])
    return text.getvalue()


def _html_row(row: Row) -> str:
    cells = "".join(
        f'<td class="number{" headline" if key in ("mAP", "rank1") else ""}">{cell}</td>'
        for key, cell in zip(COLUMNS, _cells(row), strict=True)
    )
    head = f'<tr class="{row.kind}"><th scope="row">{escape(row.who)}</th>'
    return f'{head}{cells}<td class="number">{_queries(row)}</td></tr>'


def _values(row: Row) -> list[float | None]:
    return [None if row.numbers.get(key) is None else float(row.numbers[key]) for key in COLUMNS]


def _cells(row: Row) -> list[str]:
    spreads = [row.numbers.get(f"{key}_spread") for key in COLUMNS]
    show = signed if row.kind == "difference" else _cell
    return [
        show(value) + ("" if spread is None else f" \N{PLUS-MINUS SIGN} {spread:.2f}")
        for value, spread in zip(_values(row), spreads, strict=True)
    ]


def _cell(value: float | None) -> str:
    return "\N{EN DASH}" if value is None or math.isnan(value) else f"{value:.2f}"


def signed(value: float | None) -> str:
    """With its sign; a minus as wide as the plus."""
    return "" if value is None else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _queries(row: Row) -> str:
    if "queries" not in row.numbers:
        return ""
    notes = [f"{row.numbers['queries']}"]
    if row.numbers.get("unanswerable"):
        notes.append(f"{row.numbers['unanswerable']} unanswerable")
    if row.numbers.get("missing"):
        notes.append(f"partial: {row.numbers['missing']} rows missing")
    return ", ".join(notes)


def scrolling(kind: str, table: str) -> str:
    """A table that scrolls sideways on a narrow screen.

    Args:
        kind: class of the table.
        table: what stands inside its tags.
    """
    return f'<div class="scroll"><table class="{kind}">{table}</table></div>'
