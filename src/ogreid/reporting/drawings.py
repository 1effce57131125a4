"""A drawing in two places: a figure of a page, which has the page's style, or a picture file with its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Drawing"]

COLORS = ("#0b6e75", "#c45a11", "#5b4bb5", "#a02a6b", "#5f7a12", "#2d5f9e")
DARK = ("#5cc8cf", "#f0985a", "#a99cf2", "#e987bd", "#b3cf5a", "#84b4ee")
HEAD, ROW = 26, 18


@dataclass(frozen=True)
class Drawing:
    """Lines or bars inside a frame, and their legend.

    Attributes:
        title: above it.
        told: what it shows, for those who do not see it.
        body: what is inside the SVG.
        size: width and height.
        legend: (class, name, value) of each entry.
    """

    title: str
    told: str
    body: str
    size: tuple[int, int]
    legend: Sequence[tuple[str, str, str]]

    def figure(self) -> str:
        """For a page whose style sheet is ``report.css``."""
        items = "".join(
            f'<li class="{kind}">{escape(name)}{f" <b>{value}</b>" if value else ""}</li>'
            for kind, name, value in self.legend
        )
        label = escape(f"{self.title}. {self.told}")
        return (
            f'<figure class="chart"><figcaption>{escape(self.title)}</figcaption>'
            f'<svg viewBox="0 0 {self.size[0]} {self.size[1]}" role="img" aria-label="{label}">{self.body}</svg>'
            f'<ul class="legend">{items}</ul></figure>'
        )

    def picture(self) -> str:
        """A file of its own, light or dark as the reader's screen is."""
        width, height = self.size
        full = HEAD + height + ROW * len(self.legend) + 8
        rows = "".join(
            f'<g class="{kind}" transform="translate(14 {HEAD + height + 12 + ROW * number})"><path d="M0 0H20"/>'
            f'<text class="name" x="28" y="4">{escape(name)}</text>'
            f'<text class="value" x="{width - 26}" y="4" text-anchor="end">{value}</text></g>'
            for number, (kind, name, value) in enumerate(self.legend)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {full}" width="{width}" height="{full}" '
            f'role="img"><title>{escape(self.title)}</title><desc>{escape(self.told)}</desc><style>{_style()}</style>'
            f'<rect class="sheet" width="{width}" height="{full}"/>'
            f'<text class="head" x="14" y="18">{escape(self.title)}</text>'
            f'<g transform="translate(0 {HEAD})">{self.body}</g>{rows}</svg>\n'
        )


def _style() -> str:
    """The lines of ``report.css`` that charts use, without what only pages have."""
    return (
        "text{font:11.5px system-ui,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;fill:#5c666e}"
        ".head{font-size:14px;font-weight:600}.head,.name,.value{fill:#1d2226}.sheet{fill:#fcfbf9}"
        "path{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
        ".grid{stroke:#e2dfd9;stroke-width:1}.level,.level path{stroke:#5c666e;stroke-width:1.5;stroke-dasharray:5 4}"
        f"path.whisker{{stroke:#1d2226;stroke-width:1.3}}{_colored(COLORS)}"
        "@media(prefers-color-scheme:dark){text{fill:#98a3ac}.head,.name,.value{fill:#e6e8ea}.sheet{fill:#15181b}"
        f"path.whisker{{stroke:#e6e8ea}}.grid{{stroke:#2d3339}}.level,.level path{{stroke:#98a3ac}}{_colored(DARK)}}}"
    )


def _colored(colors: Sequence[str]) -> str:
    return "".join(
        f".c{i} path{{stroke:{color}}}.c{i} circle,.c{i} rect{{fill:{color}}}" for i, color in enumerate(colors)
    )
