"""Ranked galleries, a cloud and a map of the embeddings of an evaluated set: files of a run's ``pictures/``.

A run writes them, and logs them to W&B; a page that holds its own data reads them, without torch.
"""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.errors import InputError
from ogreid.reporting.charts import Chart, scatter_chart

if TYPE_CHECKING:
    from ogreid.data.dataset import EvaluationSet
    from ogreid.data.store.mapped import Store
    from ogreid.retrieval.metric import Samples

KINDS = {"best": "highest AP", "median": "median AP", "worst": "lowest AP"}
GREEN, RED, GRAY, WHITE = np.array([[38, 166, 91], [214, 69, 65], [128, 128, 128], [255, 255, 255]], dtype=np.uint8)


def write_pictures(
    folder: Path,
    evaluated: "EvaluationSet",
    samples: "Samples",
    average_precision: np.ndarray,
    *,
    people: bool = True,
    top: int = 10,
    each: int = 2,
) -> dict[str, Path]:
    """Write ``<set>-map.npz`` and, where people may be shown, ``<set>-galleries.npz`` and ``<set>-cloud.npz``.

    Args:
        folder: where to; made when missing.
        evaluated: the set.
        samples: of it, perhaps not all.
        average_precision: (Q,) of each query that is among the samples.
        people: whether people may be shown.
        top: gallery rows of a ranked list.
        each: queries with the best, the median and the worst average precision.

    Returns:
        ``map``, ``galleries`` and ``cloud`` -> file. The map has ``xy`` (M, 2), ``identity`` and ``camera`` (M,) of
        twelve identities. The galleries have ``kind`` and ``query_name`` (K,) text, ``average_precision`` (K,),
        ``query`` (K, H, W, 3) and ``gallery`` (K, T, H, W, 3) uint8, ``scores``, ``correct`` and ``names`` (K, T); a
        list shorter than T ends in empty names. The cloud is that of a median query: ``xyz`` (P, 3) float32 meters,
        centered, ``rgb`` (P, 3) uint8, ``name``.

    Raises:
        InputError: the folder cannot be written.
    """
    from ogreid.retrieval.inspection import choose_queries, principal_plane, rank_gallery, sample_identities

    embedding = samples.embedding.detach().float().cpu().numpy()
    identity, camera, index = (column.cpu().numpy() for column in (samples.identity, samples.camera, samples.index))
    sample = sample_identities(identity)
    sample = sample if len(sample) > 1 else sample[:0]
    plane = principal_plane(embedding[sample]) if len(sample) else np.empty((0, 2))
    contents = {"map": {"xy": plane, "identity": identity[sample], "camera": camera[sample]}}
    if people:
        split, rows = int((index < evaluated.num_queries).sum()), evaluated.rows[index]
        chosen = choose_queries(average_precision, identity[:split], each)
        kinds, numbers = map(list, zip(*chosen, strict=True))
        columns = embedding, identity, camera
        sides = [*(column[:split] for column in columns), *(column[split:] for column in columns)]
        lists = rank_gallery(numbers, *sides, top=top)
        ranked = [[rows[one.query], *rows[split + one.rows]] for one in lists]
        contents["galleries"] = {
            "kind": np.array(kinds),
            "average_precision": average_precision[numbers],
            "scores": _rectangle([one.scores for one in lists], top, np.nan),
            "correct": _rectangle([one.correct for one in lists], top, False),
            **_images(evaluated.store, ranked, top),
        }
        shown = int(rows[numbers[kinds.index("median") if "median" in kinds else 0]])
        (xyz,), (rgb,) = evaluated.store.clouds([shown])
        name = np.array(str(evaluated.store.rows["source"][shown]))
        colors = np.rint(rgb * 255).astype(np.uint8)
        contents["cloud"] = {"xyz": xyz - xyz.mean(axis=0), "rgb": colors, "name": name}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: pictures cannot be written there: {error.strerror}") from error
    paths = {kind: folder / f"{evaluated.name.replace('/', '-')}-{kind}.npz" for kind in contents}
    for kind, path in paths.items():
        with files.atomic_write(path) as file:
            np.savez_compressed(file, **contents[kind])
    return paths


def gallery_sheet(arrays: Mapping[str, np.ndarray], frame: int = 4) -> np.ndarray:
    """The lists of a galleries file as one image (K * (H + 2 f), (T + 1) * (W + 2 f), 3) uint8.

    The query stands first in each row, framed gray; gallery images are framed green or red, empty places are white.
    """
    shown = arrays["names"] != ""
    colors = np.where(shown[..., None], np.where(arrays["correct"][..., None], GREEN, RED), WHITE)
    colors = np.concatenate([np.broadcast_to(GRAY, (len(shown), 1, 3)), colors], axis=1)
    images = np.concatenate([arrays["query"][:, None], arrays["gallery"]], axis=1)
    lists, places, height, width, _ = images.shape
    framed = np.empty((lists, places, height + 2 * frame, width + 2 * frame, 3), dtype=np.uint8)
    framed[:] = colors[:, :, None, None]
    framed[:, :, frame:-frame, frame:-frame] = images
    return np.asarray(framed.transpose(0, 2, 1, 3, 4).reshape(lists * framed.shape[2], places * framed.shape[3], 3))


def portrait(xyz: np.ndarray, rgb: np.ndarray, height: int = 128, width: int = 64) -> np.ndarray:
    """A cloud that is not in pixel order from the front: (H, W, 3) uint8, the nearest point of each pixel, else white.

    ``xyz`` (P, 3) are meters; x right, y down, z away; ``rgb`` (P, 3) in [0, 1].
    """
    low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
    scale = max(float((high[0] - low[0]) / width), float((high[1] - low[1]) / height), 1e-6)
    centered = (xyz[:, :2] - (low + high) / 2) / scale + np.array([width / 2, height / 2])
    column, row = np.clip(centered.astype(np.int64), 0, [width - 1, height - 1]).T
    image: np.ndarray = np.full((height, width, 3), 255, dtype=np.uint8)
    far_first = np.argsort(-xyz[:, 2], kind="stable")
    image[row[far_first], column[far_first]] = np.rint(rgb[far_first] * 255)
    return image


def read_galleries(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The ranked lists of every ``<set>-galleries.npz``, as the template ``ranked`` takes them."""
    return _read(paths, "-galleries.npz", lambda arrays: [_ranked_list(arrays, i) for i in range(len(arrays["kind"]))])


def read_clouds(paths: Sequence[Path]) -> dict[str, tuple[int, str]]:
    """The cloud of every ``<set>-cloud.npz``: P, and in base64 (P, 3) int16 (32767 the largest extent) and colors."""
    return _read(paths, "-cloud.npz", _packed)


def read_maps(paths: Sequence[Path]) -> list[Chart]:
    """The embeddings of every ``<set>-map.npz`` on a plane, colored by identity and by camera."""
    charts = []
    for name, (xy, *columns) in _read(paths, "-map.npz", _map).items():
        for groups, group, word in zip(columns if len(xy) else (), ("identity", "camera"), ("", "not "), strict=False):
            text = f"images of one {group} should {word}lie together"
            charts.append(scatter_chart(xy, groups, title=f"{name} by {group}", description=text, group=group))
    return charts


def image_url(image: np.ndarray) -> str:
    """(H, W, 3) uint8 as a URL that holds its own data."""
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"


def _images(store: "Store", ranked: list[list[np.integer]], top: int) -> dict[str, np.ndarray]:
    """Images and names of lists of rows, each a query and its gallery rows."""
    images = [[stored_image(store, int(row)) for row in rows] for rows in ranked]
    names = [[str(store.rows["source"][row]) for row in rows] for rows in ranked]
    blank = np.full_like(images[0][0], 255)
    return {
        "query": np.stack([row[0] for row in images]),
        "query_name": np.array([row[0] for row in names]),
        "gallery": np.stack([[*row[1:], *[blank] * (top + 1 - len(row))] for row in images]),
        "names": _rectangle([row[1:] for row in names], top, ""),
    }


def stored_image(store: "Store", row: int) -> np.ndarray:
    """The crop of a row (H, W, 3) uint8, or its cloud from the front where the crop is not in it."""
    crop = store.crop(row)
    return portrait(*(part[0] for part in store.clouds([row]))) if crop is None else crop


def _rectangle(lists: Iterable[Iterable[object]], width: int, filler: object) -> np.ndarray:
    return np.array([[*row, *[filler] * width][:width] for row in map(list, lists)])


def _read(paths: Sequence[Path], ending: str, build: Callable[[dict[str, np.ndarray]], Any]) -> dict[str, Any]:
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
    columns = [arrays[key][number] for key in ("gallery", "names", "scores", "correct")]
    images = []
    for rank, (image, source, score, correct) in enumerate(zip(*columns, strict=True), start=1):
        if str(source):
            frame, mark = ("right", "✓") if correct else ("wrong", "✗")
            title = f"rank {rank}, {frame}, score {float(score):.3f}, {PurePosixPath(str(source)).stem}"
            text = f"{mark} {float(score):.2f}"
            images.append({"kind": frame, "title": title, "url": image_url(image), "text": text})
    head = {"kind": kind, "title": query, "url": image_url(arrays["query"][number])}
    head["text"] = f"AP {100 * float(arrays['average_precision'][number]):.1f}"
    return {"label": f"{KINDS.get(kind, kind)}: {query}", "query": head, "images": images}


def _packed(arrays: dict[str, np.ndarray]) -> tuple[int, str]:
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
