"""Tables for the terminal, and files of the same numbers: a network's parts and cost, the results of an evaluation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from torch import nn

from ogreid.files import write_text
from ogreid.models.summary import count_flops, count_parameters
from ogreid.reporting import tables
from ogreid.reporting.paper import published_for
from ogreid.reporting.sweeps import density_figure
from ogreid.reporting.tables import Row, Table
from ogreid.runs import Run, without_nan

if TYPE_CHECKING:
    import rich.table

Numbers = Mapping[str, Any]
"""Of one data set, as in ``summary.json``."""


def results_table(title: str, rows: Mapping[tuple[str, str], Numbers]) -> "rich.table.Table":
    """A table of (network, data set) -> numbers."""
    listed = [Row(test, False, network, "run", numbers) for (network, test), numbers in rows.items()]
    return tables.results_table(listed).terminal(title)


def show_results(
    name: str,
    results: Mapping[str, Numbers],
    details: Mapping[str, Mapping[str, Any]],
    *,
    run: Run | None,
    target: Path | None,
) -> None:
    """Print the results of a network by store, beside the paper's that fit its run; write both to ``target``.

    ``details`` are those of :func:`ogreid.reporting.evaluated.summarize`, of which verification takes a line each.
    """
    entries = {on: published_for(run.experiment(), on) for on in results} if run else {}
    paper = {(f"paper, {entry.source}", on): entry.numbers for on, entry in entries.items() if entry is not None}
    Console().print(results_table(name, {(name, on): one for on, one in results.items()} | paper))
    for on, numbers in details["verification"].items():
        Console().print(verification_line(on, numbers), highlight=False)
    if target is not None:
        published = [{"source": source, "on": on, **numbers} for (source, on), numbers in paper.items()]
        _write_json(target, {"network": name, "retrieval": results, "published": published, **details})


def verification_line(name: str, numbers: Numbers) -> str:
    """Equal error rate, true positive rates and the threshold at a false positive rate of a thousandth, in one line."""
    rates = ", ".join(f"{value:.2f} at FPR {float(rate):.0e}" for rate, value in numbers["tpr"].items())
    low, high = numbers["interval"]["0.001"]
    threshold = f"threshold {numbers['threshold']['0.001']:.4f} ({low:.4f} to {high:.4f}) for FPR 1e-03"
    return f"{name}: EER {numbers['eer']:.2f} %, TPR {rates} %; {threshold}"


def show_densities(name: str, rows: Sequence[Mapping[str, Any]], *, trained: float | None, target: Path | None) -> None:
    """Print a network's results at several densities; write the numbers to ``target``, and a plot beside it.

    ``rows`` are those of :func:`ogreid.reporting.density_figure`, ``trained`` is the density of training.
    """
    table = {(f"{100 * row['density']:g} %", on): one for row in rows for on, one in row["retrieval"].items()}
    console = Console()
    console.print(results_table(f"{name}, share of the points", table))
    if target is not None:
        plot = target.with_suffix(".svg")
        _write_json(target, {"network": name, "trained": trained, "densities": rows})
        write_text(plot, density_figure(rows, trained))
        console.print(f"numbers  {target}\nplot     {plot}", soft_wrap=True)


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


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """What could not be measured (NaN) is null."""
    write_text(path, json.dumps(without_nan(content), indent=2, allow_nan=False) + "\n")
