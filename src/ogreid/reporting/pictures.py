"""Ranked galleries, clouds and maps of embeddings of a run's ``pictures/``, for a page that holds its own data."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.errors import InputError
from ogreid.reporting.charts import Chart, scatter_chart

__all__ = ["image_url", "read_clouds", "read_galleries", "read_maps"]

T = TypeVar("T")
KINDS = {"best": "highest AP", "median": "median AP", "worst": "lowest AP"}


def read_galleries(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The ranked lists of every ``<set>-galleries.npz``, as the template ``ranked`` takes them."""
    return _read(paths, "-galleries.npz", lambda arrays: [_ranked_list(arrays, i) for i in range(len(arrays["kind"]))])


def read_clouds(paths: Sequence[Path]) -> dict[str, tuple[int, str]]:
    """The cloud of every ``<set>-cloud.npz``: its P points in base64.

    First (P, 3) little-endian int16, in which 32767 is the largest extent, then (P, 3) uint8 colors.
    """
    return _read(paths, "-cloud.npz", _cloud)


def read_maps(paths: Sequence[Path]) -> list[Chart]:
    """The embeddings of every ``<set>-map.npz`` on a plane, colored by identity and by camera."""
    charts = []
    for name, (xy, *columns) in _read(paths, "-map.npz", _map).items():
        for groups, group in zip(columns if len(xy) else (), ("identity", "camera"), strict=False):
            text = f"images of one {group} should {'' if group == 'identity' else 'not '}lie together"
            charts.append(scatter_chart(xy, groups, title=f"{name} by {group}", description=text, group=group))
    return charts


def image_url(image: np.ndarray) -> str:
    """(H, W, 3) uint8 as a URL that holds its own data."""
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"


def _read(paths: Sequence[Path], ending: str, build: Callable[[dict[str, np.ndarray]], T]) -> dict[str, T]:
    """Name of the set -> what is built of its file."""
    built = {}
    for path in (path for path in paths if path.name.endswith(ending)):
        try:
            with np.errstate(invalid="raise", over="raise", divide="raise"):
                built[path.name.removesuffix(ending)] = build(files.read_arrays(path))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise InputError(f"{path}: not a whole pictures file ({error}); delete it or repeat the run") from error
    return built


def _ranked_list(arrays: dict[str, np.ndarray], number: int) -> dict[str, Any]:
    kind, name = (str(arrays[key][number]) for key in ("kind", "query_name"))
    query = f"query {PurePosixPath(name).stem}"
    text = f"AP {100 * float(arrays['average_precision'][number]):.1f}"
    columns = [arrays[key][number] for key in ("gallery", "names", "scores", "correct")]
    images = [_ranked(*one) for one in enumerate(zip(*columns, strict=True), start=1) if str(one[1][1])]
    head = {"kind": kind, "title": query, "url": image_url(arrays["query"][number]), "text": text}
    return {"label": f"{KINDS.get(kind, kind)}: {query}", "query": head, "images": images}


def _ranked(rank: int, one: tuple[np.ndarray, str, float, bool]) -> dict[str, Any]:
    image, name, score, correct = one
    kind, mark = ("right", "✓") if correct else ("wrong", "✗")
    title = f"rank {rank}, {kind}, score {float(score):.3f}, {PurePosixPath(str(name)).stem}"
    return {"kind": kind, "title": title, "url": image_url(image), "text": f"{mark} {float(score):.2f}"}


def _cloud(arrays: dict[str, np.ndarray]) -> tuple[int, str]:
    xyz = arrays["xyz"].astype(np.float64)
    positions = np.rint(xyz / (float(np.abs(xyz).max()) or 1.0) * 32767).astype("<i2")
    packed = positions.tobytes() + np.ascontiguousarray(arrays["rgb"], dtype=np.uint8).tobytes()
    return len(xyz), base64.b64encode(packed).decode()


def _map(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Points within the unit square, identities and cameras."""
    xy = arrays["xy"].reshape(len(arrays["xy"]), 2).astype(np.float64, casting="same_kind")
    if len(xy):
        xy = (xy - xy.min(axis=0)) / (float(np.ptp(xy, axis=0).max()) or 1.0)
    columns = [arrays[key].reshape(len(xy)).astype(np.int64, casting="same_kind") for key in ("identity", "camera")]
    return [xy, *columns]
