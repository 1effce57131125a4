"""A sweep as drawings: mAP over k, over density (the paper's Figures 7 and 8), or bars where nothing is a number."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from ogreid.reporting.bars import Bar, bar_drawing
from ogreid.reporting.charts import Line, line_drawing
from ogreid.reporting.drawings import Drawing
from ogreid.reporting.paper import published_tables
from ogreid.reporting.sweeps import Setting, SweepRecord, sweep_rows
from ogreid.reporting.tables import scrolling

__all__ = ["density_drawing", "sweep_drawings", "sweep_html"]

DENSITY = "data.density"
AXES = {"model.k": "neighbors k", DENSITY: "points, % of the cloud", "data.num_points": "points"}


def sweep_html(record: SweepRecord) -> str:
    """The table and the drawings for a page."""
    heads, rows = sweep_rows(record)
    left = len(record.keys)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{escape(cell)}</th>' for cell in cells[:left])
        + "".join(f'<td class="number">{cell}</td>' for cell in cells[left:])
        + "</tr>"
        for cells in rows
    )
    lost = "".join(
        f"<li>{escape(' '.join(f'{key}={value}' for key, value in run['parameters'].items()))}: "
        f"{escape(str(run['error']))}</li>"
        for run in record.failed
    )
    table = scrolling("results", f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")
    drawn = "".join(drawing.figure() for drawing in sweep_drawings(record).values())
    failed = f"<p>Runs that failed:</p><ul>{lost}</ul>" if lost else ""
    return f'{table}{failed}<div class="charts">{drawn}</div>'


def sweep_drawings(record: SweepRecord) -> dict[str, Drawing]:
    """File stem -> drawing.

    A parameter that is a number becomes the horizontal axis. Where it is the only one, the data sets are the lines of
    one drawing; else every data set has a drawing, whose lines are the other parameters. Without a number: bars.
    """
    if not record.settings:
        return {}
    axis = _axis(record)
    if axis is None:
        return {"plot": _bars(record)}
    if record.keys == [axis]:
        return {"plot": _over(record, axis, record.sets)}
    names = [on.replace("/", "-") for on in record.sets]
    stems = ["plot"] if len(names) == 1 else [f"plot-{name}" for name in names]
    return {stem: _over(record, axis, {on: record.sets[on]}) for stem, on in zip(stems, record.sets, strict=True)}


def density_drawing(found: Mapping[str, Sequence[Mapping[str, Any]]], trained: float | None) -> Drawing:
    """One trained network tested at several densities (the paper's Figure 8).

    Args:
        found: name of a line -> rows with ``density``, ``mAP`` and, of several networks, ``spread``.
        trained: the density of training, marked by an upright line.
    """
    lines = [
        Line(
            name, [(100 * row["density"], row["mAP"]) for row in rows], spread=[row.get("spread", 0.0) for row in rows]
        )
        for name, rows in found.items()
    ]
    at = "" if trained is None else f", trained at {100 * trained:.3g} %"
    return line_drawing(
        lines,
        title=f"mAP at tested densities{at}",
        x_label=AXES[DENSITY],
        y_label="mAP, %",
        x_range=(0, 100),
        last=False,
        upright=None if trained is None else 100 * trained,
    )


def _axis(record: SweepRecord) -> str | None:
    """The parameter with the most values, of those that are numbers."""
    values = {key: {_hashable(setting.parameters[key]) for setting in record.settings} for key in record.keys}
    numbers = {key: held for key, held in values.items() if len(held) > 1 and all(map(_is_number, held))}
    return max(numbers, key=lambda key: len(numbers[key]), default=None)


def _over(record: SweepRecord, axis: str, sets: Mapping[str, bool]) -> Drawing:
    """MAP over one parameter: a line for each combination of the others and each set."""
    values = sorted({setting.parameters[axis] for setting in record.settings})
    place = _scale(axis, values)
    grouped: dict[str, list[tuple[float, float, float]]] = {}
    for setting in record.settings:
        for on, transfer in sets.items():
            found = setting.numbers.get(on, {}).get("mAP")
            if found is not None:
                name = setting.without(axis) or on + (" (transfer)" if transfer else "")
                grouped.setdefault(name, []).append((place(setting.parameters[axis]), found[0], found[1] or 0.0))
    lines = [
        Line(name, [(x, y) for x, y, _ in sorted(points)], spread=[way for _, _, way in sorted(points)])
        for name, points in grouped.items()
    ]
    where = next(iter(sets)) if record.keys != [axis] else ""
    percent = 100 if axis == DENSITY else 1
    return line_drawing(
        [*lines, *_paper(axis, sets)],
        title=f"{record.name}: mAP over {axis}" + (f", {where}" if where else ""),
        x_label=AXES.get(axis, axis),
        y_label="mAP, %",
        x_range=(place(values[0]), place(values[-1])),
        last=False,
        ticks={place(value): f"{value * percent:g}" for value in values},
    )


def _bars(record: SweepRecord) -> Drawing:
    sets = record.sets
    bars = [
        Bar(
            setting.name or record.name,
            [_spread(setting, on) for on in sets] + [_published(setting, on) for on in sets],
        )
        for setting in record.settings
    ]
    names = [on + (" (transfer)" if transfer else "") for on, transfer in sets.items()] + [
        f"paper, {on}" for on in sets
    ]
    # The paper's bars only for sets on which it has any.
    kept = [i for i in range(len(names)) if any(bar.values[i] for bar in bars)]
    bars = [Bar(bar.name, [bar.values[i] for i in kept]) for bar in bars]
    return bar_drawing(bars, [names[i] for i in kept], title=f"{record.name}: mAP", x_label="mAP, %")


def _spread(setting: Setting, on: str) -> tuple[float, float] | None:
    found = setting.numbers.get(on, {}).get("mAP")
    return None if found is None else (found[0], found[1] or 0.0)


def _published(setting: Setting, on: str) -> tuple[float, float] | None:
    found = setting.published.get(on, {}).get("mAP")
    return None if found is None else (found, 0.0)


def _paper(axis: str, sets: Mapping[str, bool]) -> list[Line]:
    """The two numbers that the paper gives of k, on Market-1501: without a graph and with it."""
    if axis != "model.k" or sets.get("market", True):
        return []
    entry = next(one for one in published_tables()["ablations"] if one["part"].startswith("graph"))
    told = {"paper, market: no graph": entry["without"], "paper, market: with its graph": entry["with"]}
    return [Line(name, [(0.0, float(value))], level=True) for name, value in told.items()]


def _scale(axis: str, values: Sequence[float]) -> Any:  # noqa: ANN401 - a function of a number
    """Doublings evenly spaced where the values grow by factors rather than by steps."""
    factors = [after / before for before, after in pairwise(values) if before > 0]
    growing = axis != DENSITY and values[0] > 0 and values[-1] / values[0] >= 8 and min(factors) >= 1.5
    return math.log2 if growing else float


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hashable(value: Any) -> Any:  # noqa: ANN401 - whatever a file lists
    return tuple(value) if isinstance(value, list) else value
