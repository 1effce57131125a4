"""What a part of the network contributes: runs with it and without it, beside the paper's Tables IV and V."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ogreid.reporting.paper import own_settings, published_tables
from ogreid.reporting.reading import RunResults
from ogreid.reporting.results import differing_settings
from ogreid.reporting.tables import Table, mean_numbers, signed

__all__ = ["ablation_table"]

FREE = ("name", "description", "seed", "model.", "runs.", "wandb.")
"""Settings in which the runs that are compared may differ; those of the model are compared by themselves."""

PARTS = {"gate", "last_graph", "residual"}
"""Settings that a network has none of before the paper takes a part away."""


def ablation_table(groups: Sequence[Sequence[RunResults]]) -> Table | None:
    """Every ablation of the paper for which there are runs with and without the part, otherwise alike.

    Args:
        groups: runs that differ in nothing but the seed, together.

    Returns:
        For each part and data set our mean mAP without the part and with it, the difference, the numbers of runs, and
        the paper's difference on Market-1501; None where no runs fit.
    """
    rows = [
        row
        for entry in published_tables()["ablations"]
        for full in groups
        for cut in groups
        if _is_cut(entry, full[0], cut[0])
        for row in _compare(entry, full, cut)
    ]
    heads = ["part, data set", "without", "with", "difference", "runs", "paper's"]
    return Table(heads, rows, "lrrrrr") if rows else None


def _is_cut(entry: Mapping[str, Any], full: RunResults, cut: RunResults) -> bool:
    """Whether ``cut`` is ``full`` without the entry's part, and nothing else."""
    own, less = own_settings(full.experiment), own_settings(cut.experiment)
    starts = entry["from"].items() <= own.items() and not (own.keys() & PARTS) - entry["from"].keys()
    alike = all(key.startswith(FREE) for key in differing_settings([full, cut]))
    named = full.experiment.model.name == cut.experiment.model.name == entry["model"]
    return named and starts and alike and less != own and less == own | entry["settings"]


def _compare(entry: Mapping[str, Any], full: Sequence[RunResults], cut: Sequence[RunResults]) -> Iterator[list[str]]:
    published = entry["difference"] if "difference" in entry else entry["with"] - entry["without"]
    own = own_settings(full[0].experiment)
    replaced = ", ".join(f"{key}={own[key]}" for key in entry["settings"].keys() - entry["from"].keys() & own.keys())
    part = entry["part"] + (f" against {replaced}" if replaced else "")
    for test in dict.fromkeys(test for run in full for test, _, _ in run.evaluations()):
        numbers = [[n for run in runs for on, _, n in run.evaluations() if on == test] for runs in (cut, full)]
        if all(numbers):
            less, more = (mean_numbers(group)["mAP"][0] for group in numbers)
            means = [f"{less:.2f}", f"{more:.2f}", signed(more - less), f"{len(cut)}, {len(full)}"]
            yield [f"{part}, {test}", *means, f"{signed(published)} (Table {entry['table']})"]
