"""The page: sections put into one template, with style and script inside, so that the file needs nothing else."""

import math
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ogreid.errors import InputError
from ogreid.reporting.charts import Line, line_chart, thin_out
from ogreid.reporting.pictures import cloud_html, gallery_html, map_html
from ogreid.reporting.paper import published_for
from ogreid.reporting.reading import RunRecord, read_run
from ogreid.reporting.tables import html_table, rows_of, signed
from ogreid.reporting.transfer import transfer_map

__all__ = ["duration", "fit_command", "judged_lines", "render", "titled", "write", "write_report"]

_CONVENTION = {
    "trapezoid": "All in percent. mAP is the trapezoid of the paper and of the official Market code; mAP step is what "
    "most other tables hold. Matches from the query's own camera are not counted.",
    "step": "All in percent. mAP is by the step definition, the paper's by the trapezoid. Matches from the query's own "
    "camera are not counted.",
}
DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"


def write_report(folder: Path, target: Path | None = None, *, people: bool = True) -> Path:
    """Tell one run on one page.

    Args:
        folder: of a run, finished or not.
        target: the HTML file; ``report.html`` in the folder where it is not given.
        people: whether the page may show pictures and clouds of people.

    Returns:
        The file.
    """
    run = read_run(folder, people=people)
    sections = [
        _results(run),
        _curves(run),
        titled("What it finds", gallery_html(run.pictures), "ranked"),
        titled("Where people lie", map_html(run.pictures), "map"),
        _made_with(run),
    ]
    page = render(run.name, str(run.setting("description", "")), _hero(run), sections)
    return write(target or folder / "report.html", page)


def _hero(run: RunRecord) -> str:
    """The few numbers that matter first, beside a cloud."""
    tiles = [_tile(run, on, found, transfer) for on, (found, transfer) in _first_sets(run)]
    facts = {
        "rank-1": percent(next((found.get("rank1") for found, _ in run.numbers().values()), None)),
        "parameters": _millions(run.summary.get("parameters")),
        "clouds per second": _rounded(run.summary.get("clouds_per_second")),
        "time": duration(run.summary.get("seconds")),
        "seed": str(run.summary.get("seed", run.setting("seed", DASH))),
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items() if value)
    told = "" if run.summary else '<p class="note">This run has not come to its end: there is no summary yet.</p>'
    first = f'{told}<div class="tiles">{"".join(tiles)}</div><dl class="facts">{listed}</dl>'
    return f'<div class="hero"><div>{first}</div>{cloud_html(run.pictures)}</div>'


def _first_sets(run: RunRecord) -> list[tuple[str, tuple[dict[str, Any], bool]]]:
    """The first set judged, and the first transfer set."""
    listed = list(run.numbers().items())
    own, transfer = ([one for one in listed if one[1][1] is wanted] for wanted in (False, True))
    return [*own[:1], *transfer[:1]]


def _tile(run: RunRecord, on: str, found: Mapping[str, Any], transfer: bool) -> str:
    """One mAP, with how far it is from the baselines and from the paper."""
    value = found.get("mAP")
    against = [
        f"{value / other['mAP']:.1f} {TIMES} {who} ({other['mAP']:.1f})"
        for who, other in run.baselines(on).items()
        if value and (other.get("mAP") or 0) > 0 and math.isfinite(value)
    ]
    paper = published_for(run, on)
    apart = paper.minus(found, str(run.setting("evaluation.average_precision", "trapezoid"))) if paper else {}
    if "mAP" in apart:
        against.append(f"{signed(apart['mAP'])} to the paper")
    name = f"mAP on {on}{' (transfer)' if transfer else ''}"
    note = f"<p>{escape(', '.join(against))}</p>" if against else ""
    kind = " transfer" if transfer else ""
    return f'<div class="tile{kind}"><h2>{escape(name)}</h2><strong>{percent(value)}</strong>{note}</div>'


def _results(run: RunRecord) -> str:
    rows = rows_of(run)
    if not rows:
        return ""
    note = _CONVENTION[str(run.setting("evaluation.average_precision", "trapezoid"))]
    cmc = [Line(name, _numbered(values)) for name, values in run.summary.get("cmc", {}).items()]
    precision = [
        Line(name, [(100 * i / (len(values) - 1), y) for i, y in enumerate(values)])
        for name, values in run.summary.get("precision", {}).items()
    ]
    charts = [
        line_chart(cmc, title="Found among the first k", x_label="k", y_label="queries, %", x_range=(1, 50)),
        line_chart(
            precision, title="Precision over recall", x_label="recall, %", y_label="precision, %", y_range=(0, 100)
        ),
    ]
    table = html_table(rows, "Retrieval and transfer")
    heat = transfer_map({run.name: run})
    drawn = f'<div class="charts">{"".join(charts)}</div>'
    return titled("Results", f'{table}<p class="note">{note}</p>{heat}{drawn}', "results")


def _curves(run: RunRecord) -> str:
    charts = [
        line_chart([*judged_lines(run, "mAP"), *_levels(run, "mAP")], title="mAP", x_label="epoch", y_label="mAP, %"),
        line_chart(
            [*judged_lines(run, "rank1"), *_levels(run, "rank1")], title="Rank-1", x_label="epoch", y_label="rank-1, %"
        ),
        line_chart(_losses(run), title="Loss in training", x_label="epoch", y_label="loss"),
        line_chart(
            [Line("clouds/s", thin_out(run.curves.get("train/clouds_per_second", [])))],
            title="Speed",
            x_label="epoch",
            y_label="clouds per second",
        ),
    ]
    return titled("While training", f'<div class="charts">{"".join(charts)}</div>' if any(charts) else "", "curves")


def judged_lines(run: RunRecord, number: str) -> list[Line]:
    """One line per data set: ``val/<set>/mAP`` and ``transfer/<source>-><set>/mAP``."""
    lines = []
    for name, curve in sorted(run.curves.items(), key=lambda one: one[0].startswith("transfer/")):
        parts = name.split("/")
        if len(parts) >= 3 and parts[0] in ("val", "transfer") and parts[-1] == number:
            on = "/".join(parts[1:-1]).split("->")[-1]
            lines.append(Line(on + (" (transfer)" if parts[0] == "transfer" else ""), curve))
    return lines


def _levels(run: RunRecord, number: str) -> list[Line]:
    """The baselines on the first set, as levels."""
    first = next(iter(run.numbers()), "")
    return [
        Line(name, [(0.0, float(found[number]))], level=True)
        for name, found in run.baselines(first).items()
        if found.get(number) is not None
    ]


def _losses(run: RunRecord) -> list[Line]:
    parts = [name for name in run.curves if name.startswith("train/") and name != "train/clouds_per_second"]
    parts.sort(key=lambda name: (name != "train/loss", name))
    return [Line(name.removeprefix("train/").replace("_", " "), thin_out(run.curves[name])) for name in parts]


def _made_with(run: RunRecord) -> str:
    again = fit_command(run)
    judged = " ".join(shlex.quote(name) for name in run.numbers())
    judge = (
        f"python -m ogreid.evaluate --checkpoint {shlex.quote(str(run.folder))}{f' --on {judged}' if judged else ''}"
    )
    environment = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in run.summary.get("provenance", {}).items()
    )
    table = (
        f"<table class='plain'><caption>Environment</caption><tbody>{environment}</tbody></table>"
        if environment
        else ""
    )
    return titled(
        "To repeat it",
        f"{_command('train the same again', again)}{_command('judge this network', judge)}"
        f'<div class="two">{table}<details><summary>All settings</summary><pre>{escape(run.experiment_text)}</pre>'
        "</details></div>",
        "made",
    )


def fit_command(run: RunRecord) -> str:
    """Trains the same again."""
    return f"python -m ogreid.fit --experiment {shlex.quote(str(run.folder / 'experiment.yaml'))}"


def _command(told: str, command: str) -> str:
    return (
        f'<div class="command"><span>{told}</span><code>{escape(command)}</code>'
        '<button type="button" data-copy>copy</button></div>'
    )


def titled(title: str, content: str, anchor: str) -> str:
    """A section of the page; nothing where it would be empty."""
    return f'<section id="{anchor}"><h2>{title}</h2>{content}</section>' if content else ""


def render(title: str, told: str, hero: str, sections: Sequence[str]) -> str:
    """The whole page around its sections."""
    here = files("ogreid.reporting")
    return Template(here.joinpath("report.html.tmpl").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        told=escape(told),
        style=here.joinpath("report.css").read_text(encoding="utf-8"),
        script=here.joinpath("report.js").read_text(encoding="utf-8"),
        hero=hero,
        body="".join(sections),
    )


def write(path: Path, page: str) -> Path:
    """Write beside, then rename.

    Raises:
        InputError: the page cannot be written there.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it or choose another --to")
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    part.replace(path)
    return path


def _numbered(values: Sequence[float]) -> list[tuple[float, float]]:
    return [(float(rank), float(value)) for rank, value in enumerate(values, start=1)]


def percent(value: float | None) -> str:
    return DASH if value is None or math.isnan(value) else f"{value:.1f}<small>%</small>"


def _millions(count: float | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """In the two largest units; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else (f"{minutes} min {rest} s" if minutes else f"{rest} s")
