"""What a run says at its end: ``summary.json`` and the table in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from torch import nn

from ogreid.models.summary import count_flops, count_parameters
from ogreid.retrieval.ranking import RetrievalResult

__all__ = ["COLUMNS", "network_table", "results_table", "summaries"]

COLUMNS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "mAP": "mAP",
    "mAP_step": "step",
    "mINP": "mINP",
}


def summaries(judgments: Mapping[str, RetrievalResult]) -> dict[str, dict[str, Any]]:
    """Per data set the numbers of ``summary.json``, percentages as 0..100."""
    return {name: judgment.summary() for name, judgment in judgments.items()}


def results_table(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> Table:
    """A table of (what was judged, on which set) -> numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    # In a narrow terminal names are folded; a number without its last digits would be another number.
    table.add_column("network", overflow="fold")
    table.add_column("judged on", overflow="fold")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("queries", justify="right", overflow="fold")
    for (network, name), numbers in rows.items():
        cells = [f"{numbers[key]:.2f}" if key in numbers else "" for key in COLUMNS]
        table.add_row(network, name, *cells, _asked(numbers))
    return table


def network_table(name: str, network: nn.Module, points: int) -> Group:
    """The network's parts with their parameters, and what one cloud costs.

    Operations are those of the plain form in evaluation, two for a multiply-add; Lightning's own summary would miss
    what the fused kernels compute.
    """
    flops = count_flops(network, points)
    title = f"{name}: {count_parameters(network):,} parameters, {flops / 1e9:.3g} GFLOP per cloud of {points:,} points"
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("parameters", justify="right")
    for part, kind, count in _parts(network):
        table.add_row(part, kind, f"{count:,}")
    return Group(title, table)


def _parts(network: nn.Module) -> list[tuple[str, str, int]]:
    """Children that learn; those of a list one by one."""
    found = []
    for part, child in network.named_children():
        inside = list(child.named_children()) if isinstance(child, nn.ModuleList | nn.Sequential) else [("", child)]
        found += [(f"{part}.{sub}".rstrip("."), type(one).__name__, count_parameters(one)) for sub, one in inside]
    return [row for row in found if row[2]]


def _asked(numbers: Mapping[str, Any]) -> str:
    """How many queries, and what keeps the numbers from being a result."""
    note = str(numbers.get("queries", ""))
    if numbers.get("unanswerable"):
        note += f", {numbers['unanswerable']} unanswerable"
    return note + (f", partial: {numbers['missing']} rows missing" if numbers.get("missing") else "")
