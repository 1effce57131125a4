"""Horizontal bars, for what has no order: networks, losses, inputs, parts taken away."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ogreid.reporting.charts import COLORS
from ogreid.reporting.drawings import Drawing

__all__ = ["Bar", "bar_drawing"]

WIDTH, LEFT, RIGHT, TOP = 560, 190, 86, 6
THICK, GAP, FOOT = 13, 9, 22
LONGEST = 30
"""Characters of a name that fit beside a bar."""


@dataclass(frozen=True)
class Bar:
    """What one thing reached.

    Attributes:
        name: beside the bars.
        values: (mean, spread) for each entry of the legend; None where there is no number.
    """

    name: str
    values: Sequence[tuple[float, float] | None]


def bar_drawing(bars: Sequence[Bar], legend: Sequence[str], *, title: str, x_label: str) -> Drawing:
    """Bars from 0, a group for each name, with whiskers where there is a spread.

    Args:
        bars: at least one.
        legend: what each bar of a group is.
        title: above.
        x_label: below.
    """
    high = max((mean + way for bar in bars for mean, way in filter(None, bar.values)), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / high
    parts, top = [], float(TOP)
    for bar in bars:
        middle = top + THICK * len(legend) / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{_name(bar.name)}</text>')
        for number, value in enumerate(bar.values):
            if value is not None:
                parts.append(_bar(*value, top + THICK * number, scale, number))
        top += THICK * len(legend) + GAP
    parts.append(f'<path class="grid" d="M{LEFT} {TOP}V{top:.1f}"/>')
    parts.append(f'<text class="axis" x="{LEFT}" y="{top + 14:.1f}">{escape(x_label)}</text>')
    told = "; ".join(
        f"{bar.name}: {', '.join(f'{what} {v[0]:.1f}' for what, v in zip(legend, bar.values, strict=True) if v)}"
        for bar in bars
    )
    entries = [(f"c{number % COLORS}", name, "") for number, name in enumerate(legend)]
    return Drawing(title, told, "".join(parts), (WIDTH, round(top + FOOT)), entries)


def _bar(mean: float, spread: float, top: float, scale: float, number: int) -> str:
    end, middle = LEFT + mean * scale, top + (THICK - 2) / 2
    whisker, told, free = "", f"{mean:.1f}", end
    if spread:
        from_, free = LEFT + (mean - spread) * scale, LEFT + (mean + spread) * scale
        whisker = f'<path class="whisker" d="M{from_:.1f} {middle:.1f}H{free:.1f}"/>'
        told += f" \N{PLUS-MINUS SIGN} {spread:.1f}"
    return (
        f'<g class="c{number % COLORS}"><rect x="{LEFT}" y="{top:.1f}" width="{mean * scale:.1f}" '
        f'height="{THICK - 2}" rx="2"/></g>{whisker}<text x="{free + 6:.1f}" y="{middle + 4:.1f}">{told}</text>'
    )


def _name(name: str) -> str:
    return escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}")
