"""What a part of the network is worth, by runs with it and without it, beside the paper's Tables IV and V."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean
from typing import Any

from ogreid.reporting.paper import own_settings, published_tables
from ogreid.reporting.reading import RunRecord
from ogreid.reporting.tables import scrolling, signed

__all__ = ["Worth", "ablation_html", "parts_worth"]

_SAME_RUN = ("name", "description", "seed", "model", "runs", "wandb")
"""Settings in which two runs may differ that are laid beside each other; ``model`` is compared by itself."""


_PARTS = {"gate", "last_graph", "short_cut"}
"""Settings of which a network has none of its own before the paper takes a part away."""


@dataclass(frozen=True)
class Worth:
    """One part on one data set.

    Attributes:
        part: that was taken away; of which setting, where the network has one of its own there.
        table: of the paper.
        on: the data set of ours.
        without: our mean mAP without it, percent.
        with_it: our mean mAP with it.
        runs: how many of ours there are without and with it.
        published: the paper's difference on Market-1501, in points.
    """

    part: str
    table: str
    on: str
    without: float
    with_it: float
    runs: tuple[int, int]
    published: float


def parts_worth(groups: Sequence[Sequence[RunRecord]]) -> list[Worth]:
    """Every ablation of the paper for which there are runs with and without the part, otherwise alike.

    Args:
        groups: runs that differ in nothing but the seed, together.
    """
    found = []
    for entry in published_tables()["ablations"]:
        for full in groups:
            for cut in groups:
                if _is_cut(entry, full[0], cut[0]):
                    found += _worth(entry, full, cut)
    return found


def ablation_html(groups: Sequence[Sequence[RunRecord]]) -> str:
    """The table, empty where no runs fit."""
    rows = parts_worth(groups)
    if not rows:
        return ""
    names = ("without", "with", "difference", "runs", "paper's difference")
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(row.part)}, {escape(row.on)}</th>'
        f'<td class="number">{row.without:.2f}</td><td class="number">{row.with_it:.2f}</td>'
        f'<td class="number headline">{signed(row.with_it - row.without)}</td>'
        f'<td class="number">{row.runs[0]}, {row.runs[1]}</td>'
        f'<td class="number">{signed(row.published)} (Table {row.table})</td></tr>'
        for row in rows
    )
    told = "mAP in percent, mean over seeds; the paper's differences are of Market-1501"
    head = f'<thead><tr><th scope="col">part, judged on</th>{heads}</tr></thead>'
    return scrolling("results", f"<caption>{told}</caption>{head}<tbody>{body}</tbody>")


def _is_cut(entry: Mapping[str, Any], full: RunRecord, cut: RunRecord) -> bool:
    """Whether ``cut`` is ``full`` without the entry's part, and nothing else."""
    own, less = own_settings(full), own_settings(cut)
    begun = all(own.get(key) == value for key, value in entry["from"].items())
    begun = begun and not (own.keys() & _PARTS) - entry["from"].keys()
    alike = all(_settings(full)[key] == _settings(cut)[key] for key in _settings(full).keys() & _settings(cut).keys())
    same = full.setting("model.name") == cut.setting("model.name") == entry["model"]
    return same and begun and alike and less != own and less == own | entry["settings"]


def _settings(run: RunRecord) -> dict[str, Any]:
    return {key: value for key, value in run.experiment.items() if key not in _SAME_RUN}


def _worth(entry: Mapping[str, Any], full: Sequence[RunRecord], cut: Sequence[RunRecord]) -> list[Worth]:
    published = entry["difference"] if "difference" in entry else entry["with"] - entry["without"]
    with_it, without = (_means(runs) for runs in (full, cut))
    counts = (len(cut), len(full))
    whole = own_settings(full[0])
    instead = ", ".join(f"{key}={whole[key]}" for key in entry["settings"].keys() - entry["from"].keys() & whole.keys())
    part = entry["part"] + (f" against {instead}" if instead else "")
    return [
        Worth(part, entry["table"], on, without[on], with_it[on], counts, published) for on in with_it if on in without
    ]


def _means(runs: Sequence[RunRecord]) -> dict[str, float]:
    """Data set -> mean mAP of the runs that were judged on it."""
    judged = [run.numbers() for run in runs]
    sets = dict.fromkeys(on for one in judged for on in one)
    return {on: mean(float(one[on][0]["mAP"]) for one in judged if on in one) for on in sets}
