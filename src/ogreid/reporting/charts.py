"""Charts by matplotlib, imported when one is drawn: inline SVG that follows the light and the dark page, files, pixels.

Its global state stays as it is, and the user's own settings of it do not matter.
"""

import colorsys
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ["paper", "ink", "quiet", "line", "c0", "c1", "c2", "c3", "c4", "c5"]
LIGHT = ["#fcfbf9", "#1d2226", "#5c666e", "#e2dfd9", "#0b6e75", "#c45a11", "#5b4bb5", "#a02a6b", "#5f7a12", "#2d5f9e"]
DARK = ["#15181b", "#e6e8ea", "#98a3ac", "#2d3339", "#5cc8cf", "#f0985a", "#a99cf2", "#e987bd", "#b3cf5a", "#84b4ee"]
PALETTE = dict(zip(NAMES, zip(LIGHT, DARK, strict=True), strict=True))
"""Name of a color, also of the page's CSS variable -> its value in light and in dark."""

PAPER, INK, QUIET, _, *COLORS = LIGHT
HEAD, ROW = 26, 18  # pixels of a title and of a row of the legend, in files
BAR, GAP, LONGEST = 13, 9, 30  # pixels, pixels, characters
MARKED = 30  # points up to which each has a marker
FONTS = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
STYLE = Path(__file__).with_name("charts.mplstyle")


class Entry(NamedTuple):
    """An entry of a legend."""

    color: str
    name: str
    value: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn when one of its forms is read."""

    title: str  # above it
    description: str  # what it shows, for readers who do not see it
    draw: "Callable[[Axes], object]"  # fills the axes
    legend: Sequence[Entry] = ()  # below it
    notes: Sequence[str] = ()  # a tooltip for each marker, in the order of drawing
    size: tuple[int, int] = (420, 270)  # width and height in pixels, without title and legend
    margins: tuple[int, int, int, int] = (46, 12, 12, 40)  # left, right, top and bottom of the axes in pixels

    def svg(self) -> str:
        """For a page with title and legend of its own, and the colors of ``PALETTE`` as CSS variables."""
        return themed(self._svg("none"))

    def file(self) -> str:
        """An SVG file with title and legend, light or dark as the reader's screen is."""
        rule = '[style*="{0}: {1}"]{{{0}:{2} !important}}'
        dark = "".join(rule.format(kind, *pair) for pair in PALETTE.values() for kind in ("fill", "stroke"))
        head = f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
        style = f"<style>@media(prefers-color-scheme:dark){{{dark}}}</style>"
        return self._svg(PAPER).replace(">", f">{head}{style}", 1) + "\n"

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 on white with title and legend, two pixels for one of ``size``."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with self._figure("white") as figure:
            figure.set_dpi(144)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    @contextmanager
    def _figure(self, background: str) -> "Iterator[Figure]":
        """The figure, without title and legend where it has no background; inside, matplotlib's style is ours."""
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        (width, height), (left, right, top, bottom), framed = self.size, self.margins, background != "none"
        foot = ROW * len(self.legend) + 8 if framed else 0
        full = height + foot + (HEAD if framed else 0)
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has other fonts
            matplotlib.rc_file(STYLE)
            matplotlib.rcParams["svg.hashsalt"] = self.title
            figure = Figure((width / 72, full / 72), dpi=72, facecolor=background)
            inner = (width - left - right) / width, (height - top - bottom) / full
            self.draw(figure.add_axes((left / width, (foot + bottom) / full, *inner)))
            if framed:
                figure.text(14 / width, 1 - 8 / full, self.title, size=14, weight="bold", va="top")
            for row, (color, name, value, dashed) in enumerate(self.legend if framed else ()):
                y, dashes = (foot - 12 - ROW * row) / full, (3, 2) if dashed else (None, None)
                figure.add_artist(Line2D([14 / width, 34 / width], [y, y], color=color, dashes=dashes))
                figure.text(42 / width, y, f"{name}: {value}" if value else name, va="center_baseline")
            yield figure

    def _svg(self, background: str) -> str:
        """What matplotlib writes without header, fonts, and the ids that the charts of a page would share."""
        written, notes = io.StringIO(), iter(self.notes)
        with self._figure(background) as figure:
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        match = re.search(r'viewBox="0 0 ([\d.]+ [\d.]+)".*(<g id="figure_1">.*</svg>)', written.getvalue(), re.DOTALL)
        assert match is not None, "matplotlib writes a figure"
        body = re.sub(r'<g id="[\w.]+">', "<g>", match[2]).replace("font-family: 'DejaVu Sans', sans-serif; ", "")
        body = re.sub(r"(<use [^>]*)/>", lambda use: f"{use[1]}><title>{escape(next(notes, ''))}</title></use>", body)
        width, height = match[1].split()
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(f"{self.title}. {self.description}")}" font-family="{FONTS}">{body}'
        )


def themed(text: str) -> str:
    """The text with the colors of ``PALETTE`` as CSS variables."""
    return re.sub("|".join(LIGHT), lambda color: f"var(--{NAMES[LIGHT.index(color[0])]})", text)


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]  # (x, y), ascending in x
    level: bool = False  # a horizontal reference instead of data: dashed, across the chart, without markers
    spread: Sequence[float] = ()  # of each point, drawn as a whisker to both sides, none where it is 0


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    ticks: Mapping[float, str] | None = None,
    upright: float | None = None,
    last: bool = True,
) -> Chart:
    """Lines over one horizontal axis, in the order of the legend; those without points are left out.

    ``ticks`` are x -> label, instead of round numbers from 0; a dashed line marks the x ``upright``. With ``last`` the
    legend gives the last value of each line, as of a curve over time.
    """
    lines = [line for line in lines if line.points]
    colors = dict(zip((line.name for line in lines if not line.level), cycle(COLORS), strict=False))
    dashed: dict[str, Any] = {"color": QUIET, "linestyle": "--", "linewidth": 1.5}

    def draw(axes: "Axes") -> None:
        for line in lines:
            for (x, y), spread in zip(line.points, line.spread, strict=False):
                axes.vlines(x, y - spread, y + spread, color=INK, linewidth=1.3 if spread else 0, clip_on=False)
            if line.level:
                axes.axhline(line.points[-1][1], **dashed)
            else:
                marker = "o" if len(line.points) <= MARKED else None
                axes.plot(*zip(*line.points, strict=True), color=colors[line.name], marker=marker, clip_on=False)
        axes.margins(0, 0.06)
        low, high = axes.get_ylim()
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0 if axes.dataLim.y0 >= 0 and low < high / 3 else low, high))
        axes.locator_params(nbins=5, steps=[1, 2, 5, 10])
        axes.xaxis.set_major_formatter(lambda value, _: _number(value))
        axes.yaxis.set_major_formatter(lambda value, _: _number(value))
        if ticks is None:
            axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        else:
            axes.set_xticks(list(ticks), list(ticks.values()))
        if upright is not None:
            axes.axvline(upright, **dashed)

    legend, texts, notes = [], [], []
    for line in lines:
        values = [end := _number(line.points[-1][1])]
        if not line.level and len(line.points) <= MARKED:
            values = [f"{_number(y)} at {(ticks or {}).get(x, _number(x))}" for x, y in line.points]
            notes += [f"{line.name}: {value}" for value in values]
        texts.append(f"{line.name}: {', '.join(values)}")
        color = QUIET if line.level else colors[line.name]
        legend.append(Entry(color, line.name, end if last or line.level else "", line.level))
    return Chart(title, "; ".join(texts), draw, legend, notes)


def bar_chart(
    names: Sequence[str], series: Mapping[str, Sequence[tuple[float, float] | None]], *, title: str, x_label: str
) -> Chart:
    """Horizontal bars from 0, for what has no order.

    There is a group of bars for each name, from above; ``series`` is, for each entry of the legend, (mean, spread) of
    every name, or None where there is no number.
    """
    step, legend = BAR * len(series) + GAP, [Entry(*one) for one in zip(cycle(COLORS), series, strict=False)]
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}" for name in names]
    texts, bars = [], []
    for place, name in enumerate(names):
        values = [(row, *value) for row, own in enumerate(series.values()) if (value := own[place])]
        bars += [(step * place + BAR * row, mean, spread, legend[row].color) for row, mean, spread in values]
        texts.append(f"{name}: {', '.join(f'{legend[row].name} {mean:.1f}' for row, mean, _ in values)}")

    def draw(axes: "Axes") -> None:
        offset: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points"}
        for top, mean, spread, color in bars:
            middle = top + (BAR - 2) / 2
            axes.barh(top, mean, BAR - 2, align="edge", color=color)
            axes.hlines(middle, mean - spread, mean + spread, color=INK, linewidth=1.3 if spread else 0)
            text = f"{mean:.1f} \N{PLUS-MINUS SIGN} {spread:.1f}" if spread else f"{mean:.1f}"
            axes.annotate(text, (mean + spread, middle), color=QUIET, va="center_baseline", **offset)
        high = max((mean + spread for _, mean, spread, _ in bars), default=0) or 1
        axes.set(xlim=(0, high), ylim=(step * len(names), 0), xlabel=x_label, xticks=[])
        axes.set_yticks([step * place + (step - GAP) / 2 for place in range(len(names))], short)
        axes.grid(visible=False)

    margins = (14 + round(6.6 * max(map(len, short))), 92, 6, 22)
    return Chart(title, "; ".join(texts), draw, legend, size=(560, step * len(names) + 28), margins=margins)


def scatter_chart(points: np.ndarray, groups: np.ndarray, *, title: str, description: str, group: str) -> Chart:
    """A dot for each of the points (M, 2), y up, in the color of its group (M,); scales are equal along both axes.

    ``group`` is what a group is called before its number.
    """
    names = np.unique(groups).tolist()
    shades = [colorsys.hsv_to_rgb(number / len(names), 0.6, 0.82) for number in range(len(names))]
    colors = ["#" + bytes(round(255 * part) for part in shade).hex() for shade in shades]
    legend = [Entry(color, f"{group} {name}") for name, color in zip(names, colors, strict=True)]

    def draw(axes: "Axes") -> None:
        for name, color in zip(names, colors, strict=True):
            axes.plot(*points[groups == name].T, "o", color=color, markersize=6.8, clip_on=False)
        axes.set_aspect("equal")
        axes.set_axis_off()

    notes = [f"{group} {name}" for name in np.sort(groups).tolist()]
    return Chart(title, description, draw, legend, notes, margins=(10, 10, 10, 10))


def thin_out(points: Sequence[tuple[float, float]], most: int = 240) -> list[tuple[float, float]]:
    """At most ``most`` points: means over runs of neighbors, so that a long noisy curve stays light and true."""
    size = max(math.ceil(len(points) / most), 1)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _number(value: float) -> str:
    """Three digits, or all of a large number with its thousands apart."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
