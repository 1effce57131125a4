"""Ranked galleries and clouds from a run's ``pictures/`` as pieces of a page that holds its own data."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.errors import InputError
from ogreid.reporting.charts import scatter_chart

__all__ = ["cloud_html", "crop_html", "gallery_html"]

GALLERIES, CLOUD, MAP = "-galleries.npz", "-cloud.npz", "-map.npz"
_TOLD = {
    "best": "found best",
    "median": "half are found better, half worse",
    "worst": "found worst",
}


def gallery_html(files: Sequence[Path]) -> str:
    """The ranked lists of every ``<set>-galleries.npz``: the query, then what it found, framed green or red."""
    parts = []
    for path in (p for p in files if p.name.endswith(GALLERIES)):
        name = path.name.removesuffix(GALLERIES)
        with _held(path) as held:
            lists = "".join(_ranked_list(held, number) for number in range(len(held["kind"])))
        parts.append(f"<h3>{escape(name)}</h3>{lists}")
    return "".join(parts)


def map_html(files: Sequence[Path]) -> str:
    """The embeddings of every ``<set>-map.npz`` on a plane, colored by identity and by camera."""
    charts = []
    for path in (p for p in files if p.name.endswith(MAP)):
        name = path.name.removesuffix(MAP)
        with _held(path) as held:
            points = [(float(x), float(y)) for x, y in held["xy"]]
            people = len(set(held["identity"].tolist()))
            charts += [
                scatter_chart(
                    points,
                    held["identity"].tolist(),
                    title=f"{name}: {people} people, a color each",
                    told="sightings of one person should lie together",
                ),
                scatter_chart(
                    points,
                    held["camera"].tolist(),
                    title=f"{name}: the same by camera",
                    told="sightings by one camera should not lie together",
                    legend="camera",
                ),
            ]
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def cloud_html(files: Sequence[Path]) -> str:
    """A canvas for the clouds of every ``<set>-cloud.npz``, with their data beside it."""
    made = {}
    for path in (p for p in files if p.name.endswith(CLOUD)):
        name = path.name.removesuffix(CLOUD)
        with _held(path) as held:
            made[name] = _cloud_data(name, held)
    if not made:
        return ""
    first = next(iter(made))
    choice = "".join(
        f'<button type="button" data-cloud="{escape(name)}" aria-pressed="{str(name == first).lower()}">{escape(name)}'
        "</button>"
        for name in made
    )
    buttons = f'<div class="choice" role="group" aria-label="data set of the cloud">{choice}</div>'
    return (
        '<figure class="cloud"><canvas tabindex="0" role="img" aria-label="A person as a colored point cloud. '
        'Drag or use the arrow keys to turn it, plus and minus to come nearer."></canvas>'
        f"{buttons if len(made) > 1 else ''}<figcaption>One query as the network sees it: <span data-points></span> "
        f"colored points. Drag to turn, scroll or pinch to come nearer.</figcaption>{''.join(made.values())}</figure>"
    )


def _ranked_list(held: dict[str, np.ndarray], number: int) -> str:
    kind = str(held["kind"][number])
    precision = 100 * float(held["average_precision"][number])
    query = _stem(held["query_name"][number])
    found = "".join(
        _found(rank, held["found"][number][rank - 1], str(name), float(score), bool(correct))
        for rank, (name, score, correct) in enumerate(
            zip(held["names"][number], held["scores"][number], held["correct"][number], strict=True), start=1
        )
        if name
    )
    return (
        f'<div class="ranked"><figure class="query">{crop_html(held["query"][number], f"query {query}")}'
        f"<figcaption><b>{escape(kind)}</b> AP {precision:.1f}</figcaption></figure>"
        f'<ol class="found" aria-label="{_TOLD.get(kind, kind)}: query {query}">{found}</ol></div>'
    )


def _found(rank: int, picture: np.ndarray, name: str, score: float, correct: bool) -> str:
    verdict, mark = ("right", "✓") if correct else ("wrong", "✗")
    title = f"rank {rank}, {verdict}, score {score:.3f}, {_stem(name)}"
    return (
        f'<li class="{verdict}" title="{title}">{crop_html(picture, title)}'
        f'<span aria-hidden="true">{mark} {score:.2f}</span></li>'
    )


def _cloud_data(name: str, held: dict[str, np.ndarray]) -> str:
    """Positions as int16 of the largest extent, colors as bytes: 9 bytes a point."""
    xyz = held["xyz"].astype(np.float64)
    extent = float(np.abs(xyz).max()) or 1.0
    positions = np.rint(xyz / extent * 32767).astype("<i2")
    packed = positions.tobytes() + np.ascontiguousarray(held["rgb"], dtype=np.uint8).tobytes()
    return (
        f'<script type="application/octet-stream" data-name="{escape(name)}" data-count="{len(xyz)}">'
        f"{base64.b64encode(packed).decode()}</script>"
    )


def crop_html(picture: np.ndarray, told: str) -> str:
    """A crop (H, W, 3) uint8 as an image that holds its own data; ``told`` (escaped) is for those who cannot see it."""
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "JPEG", quality=88, optimize=True)
    data = base64.b64encode(held.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{told}" width="64" height="128">'


def _stem(source: object) -> str:
    return escape(PurePosixPath(str(source)).stem)


@contextmanager
def _held(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of a pictures file, and one line where it turns out not to be what the run wrote."""
    try:
        with np.errstate(invalid="raise", over="raise", divide="raise"):
            yield files.read_arrays(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{path}: not a whole pictures file ({error}); delete it or repeat the run") from error
