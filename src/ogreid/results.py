"""What a run says at its end: ``summary.json`` and the table in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from ogreid.retrieval.ranking import Judgement

__all__ = ["COLUMNS", "results_table", "summaries"]

COLUMNS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "mAP": "mAP",
    "mAP_step": "mAP step",
    "mINP": "mINP",
}


def summaries(judgements: Mapping[str, Judgement]) -> dict[str, dict[str, Any]]:
    """Per data set the numbers of ``summary.json``, percentages as 0..100."""
    return {name: judgement.summary() for name, judgement in judgements.items()}


def results_table(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> Table:
    """A table of (what was judged, on which set) -> numbers."""
    table = Table(title=title, title_justify="left")
    table.add_column("network")
    table.add_column("judged on")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    table.add_column("queries", justify="right")
    for (network, name), numbers in rows.items():
        cells = [f"{numbers[key]:.2f}" for key in COLUMNS]
        note = f"{numbers['queries']}"
        if numbers.get("unanswerable"):
            note += f" (+{numbers['unanswerable']} unanswerable)"
        table.add_row(network, name, *cells, note)
    return table
