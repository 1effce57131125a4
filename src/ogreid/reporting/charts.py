"""Line charts as inline SVG, drawn by hand: no script, no library, readable in the dark."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ogreid.reporting.drawings import Drawing

__all__ = ["Line", "line_chart", "line_drawing", "scatter_chart", "thin_out"]

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
COLORS = 6


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend.
        points: (x, y), ascending in x.
        level: a horizontal reference instead of data: dashed, across the chart, without marks.
        color: number of the color; the lines' order where it is not given.
        spread: of each point, drawn as a whisker to both sides; none where it is 0.
    """

    name: str
    points: Sequence[tuple[float, float]]
    level: bool = False
    color: int | None = None
    spread: Sequence[float] = ()


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
    """A figure with a chart, its legend, and the last values as its description for those who do not see it."""
    if not any(line.points for line in lines):
        return ""
    drawn = line_drawing(lines, title=title, x_label=x_label, y_label=y_label, x_range=x_range, y_range=y_range)
    return drawn.figure()


def line_drawing(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    ticks: Mapping[float, str] | None = None,
    upright: float | None = None,
    last: bool = True,
) -> Drawing:
    """The chart as a drawing; one line at least has points.

    Args:
        lines: in the order of the legend.
        title: above it.
        x_label: below.
        y_label: to the left.
        x_range: from, to; from 0 where it is not given.
        y_range: likewise; by the values where it is not given.
        ticks: x -> what stands there, instead of round numbers.
        upright: an x that a dashed line marks.
        last: whether the value at the end is what a line comes to, as of a curve over time; else every value is told.
    """
    drawn = [line for line in lines if line.points]
    reach = [y + side for line in drawn for (_, y), way in _spreads(line) for side in (-way, way)]
    low, high = y_range or _padded(min(reach), max(reach))
    places = [x for line in drawn if not line.level for x, _ in line.points] or [0.0, 1.0]
    left, right = x_range or (min(0.0, *places), max(places))
    frame = _Frame(left, right if right > left else left + 1, low, high)
    body = [_grid(frame, x_label, y_label, ticks)]
    if upright is not None:
        body.append(f'<path class="level" d="M{frame.x(upright):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    number, legend = 0, []
    for line in drawn:
        color = number if line.color is None else line.color
        number += not line.level
        body.append(_draw(line, frame, color))
        value = _short(line.points[-1][1]) if last or line.level else ""
        legend.append(("level" if line.level else f"c{color % COLORS}", line.name, value))
    return Drawing(title, _told(drawn, last, ticks or {}), "".join(body), (WIDTH, HEIGHT), legend)


def _told(lines: Sequence[Line], last: bool, ticks: Mapping[float, str]) -> str:
    """The chart in words."""
    if last:
        return f"At the end: {'; '.join(f'{line.name} {_short(line.points[-1][1])}' for line in lines)}."
    values = {
        line.name: ", ".join(f"{_short(y)} at {ticks.get(x, _short(x))}" for x, y in line.points) for line in lines
    }
    return "; ".join(f"{name}: {value}" for name, value in values.items()) + "."


def scatter_chart(
    points: Sequence[tuple[float, float]], groups: Sequence[int], *, title: str, told: str, legend: str | None = None
) -> str:
    """A figure with one dot per point, colored by its group; axes have no unit and are not drawn.

    Args:
        points: (x, y).
        groups: the group of each.
        title: above it.
        told: what it shows, for those who do not see it.
        legend: what a group is called before its number; no legend where it is not given.
    """
    if not points:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points), max(y for _, y in points)
    scale = min((WIDTH - 20) / ((high_x - low_x) or 1), (HEIGHT - 20) / ((high_y - low_y) or 1))
    names = sorted(set(groups))
    hue = {name: 360 * i / len(names) for i, name in enumerate(names)}
    dots = "".join(
        f'<circle cx="{WIDTH / 2 + scale * (x - (low_x + high_x) / 2):.1f}" '
        f'cy="{HEIGHT / 2 - scale * (y - (low_y + high_y) / 2):.1f}" r="3.4" style="--hue: {hue[group]:.0f}">'
        f"<title>{group}</title></circle>"
        for (x, y), group in zip(points, groups, strict=True)
    )
    items = "".join(f'<li style="--hue: {hue[name]:.0f}">{escape(legend or "")} {name}</li>' for name in names)
    return (
        f'<figure class="chart scatter"><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(title)}: {escape(told)}">{dots}</svg>'
        + (f'<ul class="legend">{items}</ul>' if legend else "")
        + "</figure>"
    )


def thin_out(points: Sequence[tuple[float, float]], most: int = 240) -> list[tuple[float, float]]:
    """At most ``most`` points: means over runs of neighbors, so that a long noisy curve stays light and true."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


@dataclass(frozen=True)
class _Frame:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def _grid(frame: _Frame, x_label: str, y_label: str, ticks: Mapping[float, str] | None = None) -> str:
    parts = []
    for tick in _ticks(frame.low, frame.high):
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    named = {tick: _short(tick) for tick in _ticks(frame.left, frame.right)} if ticks is None else ticks
    for tick, name in named.items():
        text = f'<text class="tick" x="{frame.x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
        parts.append(f"{text}{escape(name)}</text>")
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f"translate(11 {TOP + (HEIGHT - TOP - BOTTOM) / 2}) rotate(-90)"
    parts.append(f'<text class="axis" transform="{turned}" text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def _draw(line: Line, frame: _Frame, color: int) -> str:
    if line.level:
        y = frame.y(line.points[-1][1])
        return f'<path class="level" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"><title>{_title(line, None)}</title></path>'
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    marks = ""
    if len(places) <= 30:
        marks = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{_title(line, point)}</title></circle>'
            for (x, y), point in zip(places, line.points, strict=True)
        )
    whiskers = "".join(
        f'<path class="whisker" d="M{frame.x(x):.1f} {frame.y(y - way):.1f}V{frame.y(y + way):.1f}"/>'
        for (x, y), way in _spreads(line)
        if way
    )
    return f'<g class="line c{color % COLORS}"><path d="{path}"/>{whiskers}{marks}</g>'


def _spreads(line: Line) -> list[tuple[tuple[float, float], float]]:
    """Each point and its spread."""
    return list(zip(line.points, line.spread or [0.0] * len(line.points), strict=True))


def _title(line: Line, point: tuple[float, float] | None) -> str:
    x, y = point or line.points[-1]
    at = "" if point is None else f" at {_short(x)}"
    return f"{escape(line.name)}{at}: {_short(y)}"


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    floor = low - room
    return (0.0 if low >= 0 > floor or (low >= 0 and low < high / 3) else floor), high + room


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers inside the range: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
