"""Tables for the terminal: a network's parts and cost, the results of an evaluation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from torch import nn

from ogreid.models.summary import count_flops, count_parameters
from ogreid.reporting import tables
from ogreid.reporting.tables import Row, Table

if TYPE_CHECKING:
    import rich.table


def results_table(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> "rich.table.Table":
    """A table of (network, data set) -> numbers of ``summary.json``."""
    listed = [Row(test, False, network, "run", numbers) for (network, test), numbers in rows.items()]
    return tables.results_table(listed).terminal(title)


def network_table(name: str, network: nn.Module, points: int) -> Group:
    """The network's parts with their parameters, and what one cloud costs.

    Operations are those of the plain form in evaluation, two for a multiply-add; Lightning's own summary would miss
    what the fused kernels compute.
    """
    flops = count_flops(network, points)
    title = f"{name}: {count_parameters(network):,} parameters, {flops / 1e9:.3g} GFLOP per cloud of {points:,} points"
    parts: list[tuple[str, nn.Module]] = []
    for part, child in network.named_children():
        listed = isinstance(child, nn.ModuleList | nn.Sequential)
        parts += [(f"{part}.{inner}", one) for inner, one in child.named_children()] if listed else [(part, child)]
    counts = [(part, type(one).__name__, count_parameters(one)) for part, one in parts]
    rows = [[part, kind, f"{count:,}"] for part, kind, count in counts if count]
    return Group(title, Table(["part", "type", "parameters"], rows, "llr").terminal())
