"""The matrix of transfer as a heat map: trained on the row, judged on the column."""

from collections.abc import Mapping
from html import escape

from ogreid.reporting.reading import RunRecord
from ogreid.reporting.tables import scrolling

__all__ = ["transfer_map"]


def transfer_map(runs: Mapping[str, RunRecord], *, sources: int = 1, targets: int = 2) -> str:
    """The mAP from source to target, the best run where there are several.

    Args:
        runs: by their name.
        sources: fewer different training sets than this make no map.
        targets: fewer judged sets than this make no map.

    Returns:
        HTML, empty where there is no map to draw.
    """
    best: dict[tuple[str, str], float] = {}
    for run in runs.values():
        source = " + ".join(run.setting("data.train", []))
        for on, (found, _) in run.numbers().items():
            best[source, on] = max(best.get((source, on), 0.0), float(found["mAP"]))
    rows, columns = (list(dict.fromkeys(pair[side] for pair in best)) for side in (0, 1))
    if len(rows) < sources or len(columns) < targets:
        return ""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(source)}</th>{"".join(_cell(best.get((source, on))) for on in columns)}</tr>'
        for source in rows
    )
    caption = "mAP in percent; trained on the row, judged on the column"
    return scrolling(
        "heat", f"<caption>{caption}</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody>"
    )


def _cell(value: float | None) -> str:
    if value is None:
        return "<td>\N{EN DASH}</td>"
    return f'<td style="--heat: {min(max(value, 0.0), 100.0):.0f}%">{value:.1f}</td>'
