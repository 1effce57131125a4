"""What a run says at its end: ``summary.json`` and the table in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ogreid.retrieval.ranking import Judgement

__all__ = ["COLUMNS", "results_table", "summaries"]

COLUMNS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "mAP": "mAP",
    "mAP_step": "step",
    "mINP": "mINP",
}


def summaries(judgements: Mapping[str, Judgement]) -> dict[str, dict[str, Any]]:
    """Per data set the numbers of ``summary.json``, percentages as 0..100."""
    return {name: judgement.summary() for name, judgement in judgements.items()}


def results_table(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> Table:
    """A table of (what was judged, on which set) -> numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("network", no_wrap=True)
    table.add_column("judged on", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    table.add_column("queries", justify="right")
    for (network, name), numbers in rows.items():
        cells = [f"{numbers[key]:.2f}" for key in COLUMNS]
        table.add_row(network, name, *cells, _asked(numbers))
    return table


def _asked(numbers: Mapping[str, Any]) -> str:
    """How many queries, and what keeps the numbers from being a result."""
    note = str(numbers["queries"])
    if numbers.get("unanswerable"):
        note += f", {numbers['unanswerable']} unanswerable"
    return note + (f", partial: {numbers['missing']} rows missing" if numbers.get("missing") else "")
