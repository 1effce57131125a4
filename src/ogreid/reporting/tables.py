"""Tables of text for a page, a terminal and Markdown, and the one definition of the columns of results."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.table

COLUMNS = {"rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "mAP": "mAP", "mAP_step": "step", "mINP": "mINP"}
"""Number of ``summary.json`` -> head of its column; the number of queries follows them."""

Spread = tuple[float, float | None]
"""Mean and sample standard deviation; None of a single run."""


@dataclass(frozen=True)
class Table:
    """Cells of text; ``align`` is ``l`` (text) or ``r`` (numbers) for each column."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str

    def markdown(self) -> str:
        cells = [[cell.replace("|", "/") for cell in row] for row in (self.heads, *self.rows)]
        columns = [(max(map(len, column)), side) for *column, side in zip(*cells, self.align, strict=True)]
        line = " | ".join(f"{{:{'<' if side == 'l' else '>'}{width}}}" for width, side in columns)
        rule = " | ".join("-" * (width - 1) + ("-" if side == "l" else ":") for width, side in columns)
        texts = [line.format(*row) for row in cells]
        return "".join(f"| {text} |\n" for text in (texts[0], rule, *texts[1:]))

    def terminal(self, title: str | None = None) -> "rich.table.Table":
        """For rich; where it is narrow, names are folded: a number without its last digits is another number."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable

        table = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
        for head, side in zip(self.heads, self.align, strict=True):
            table.add_column(head, justify="left" if side == "l" else "right", overflow="fold", no_wrap=side == "r")
        for row in self.rows:
            table.add_row(*row)
        return table


@dataclass(frozen=True)
class Row:
    """One line of a table of results.

    ``numbers`` are those of ``summary.json``: percentages 0..100, of a difference in points; of a mean also
    ``<name>_spread``, a standard deviation.
    """

    test: str  # the data set
    transfer: bool  # whether it was never trained on
    network: str  # the run, a baseline, or the paper
    kind: str  # "run", "mean" (of runs), "baseline", "paper" or "difference" (to the paper)
    numbers: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)  # of the run that others may not share

    def cells(self) -> list[str]:
        """One for each of ``COLUMNS``, and the number of queries with what keeps the numbers from being a result."""
        show, numbers = signed if self.kind == "difference" else spread_text, self.numbers
        counts = {"{} invalid": numbers.get("unanswerable"), "partial: {} samples missing": numbers.get("missing")}
        notes = [str(numbers.get("queries", "")), *(text.format(count) for text, count in counts.items() if count)]
        return [*(show(numbers.get(key), numbers.get(f"{key}_spread")) for key in COLUMNS), ", ".join(notes)]


def results_table(rows: Sequence[Row]) -> Table:
    """Rows for a terminal or for Markdown."""
    heads = ["data set", "network", *COLUMNS.values(), "queries"]
    cells = [[row.test + (" (transfer)" if row.transfer else ""), row.network, *row.cells()] for row in rows]
    return Table(heads, cells, "ll" + "r" * (len(heads) - 2))


def csv_table(rows: Sequence[Row]) -> str:
    """The numbers unrounded, a column for each setting."""
    return csv_text(
        {"data set": row.test, "transfer": int(row.transfer), "network": row.network, "kind": row.kind}
        | {key: row.numbers.get(key, "") for key in (*COLUMNS, "queries", "unanswerable", "missing")}
        | dict(row.settings)
        for row in rows
    )


def csv_text(records: Iterable[Mapping[str, object]]) -> str:
    """Records with a column for every key that one of them has."""
    listed, text = list(records), io.StringIO()
    names = list(dict.fromkeys(key for record in listed for key in record))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def mean_numbers(group: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """Mean and spread over several runs of each number that all of them have."""
    known = [key for key in group[0] if all(isinstance(one.get(key), int | float) for one in group)]
    values = {key: [float(one[key]) for one in group] for key in known}
    return {key: (mean(own), stdev(own) if len(own) > 1 else None) for key, own in values.items()}


def signed(value: float | None, _spread: float | None = None) -> str:
    """With its sign; a minus as wide as the plus. Empty for None."""
    return "" if value is None else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def spread_text(value: float | None, spread: float | None = None) -> str:
    """A number with its standard deviation, where it has one; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.2f}" + ("" if spread is None else f" \N{PLUS-MINUS SIGN} {spread:.2f}")
