"""Ranked galleries, a cloud and a map of the embeddings of an evaluated set, as files of a run's ``pictures/``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ogreid.errors import InputError
from ogreid.files import atomic_write
from ogreid.retrieval.inspection import choose_queries, principal_plane, rank_gallery, sample_identities

if TYPE_CHECKING:
    from ogreid.data.module import EvaluationSet
    from ogreid.data.store.reading import Store
    from ogreid.retrieval.metric import Samples

__all__ = ["gallery_sheet", "portrait", "write_pictures"]

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
    embedding = samples.embedding.detach().float().cpu().numpy()
    identity, camera, index = (column.cpu().numpy() for column in (samples.identity, samples.camera, samples.index))
    sample = sample_identities(identity)
    plane = principal_plane(embedding[sample]) if len(sample) > 1 else np.empty((0, 2))
    sample = sample[: len(plane)]
    contents = {"map": {"xy": plane, "identity": identity[sample], "camera": camera[sample]}}
    if people:
        split, rows = int((index < evaluated.num_queries).sum()), evaluated.rows[index]
        columns = (embedding, identity, camera)
        chosen = choose_queries(average_precision, identity[:split], each)
        sides = [column[side] for side in (slice(split), slice(split, None)) for column in columns]
        lists = rank_gallery([number for _, number in chosen], *sides, top=top)
        ranked = [[rows[one.query], *rows[split + one.rows]] for one in lists]
        contents["galleries"] = {
            "kind": np.array([kind for kind, _ in chosen]),
            "average_precision": average_precision[[number for _, number in chosen]],
            "scores": _rectangle([one.scores for one in lists], top, np.nan),
            "correct": _rectangle([one.correct for one in lists], top, False),
            **_images(evaluated.store, ranked, top),
        }
        median = next((number for kind, number in chosen if kind == "median"), chosen[0][1])
        contents["cloud"] = _cloud(evaluated.store, int(rows[median]))
    stem = evaluated.name.replace("/", "-")
    return {kind: _save(folder / f"{stem}-{kind}.npz", arrays) for kind, arrays in contents.items()}


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


def _images(store: "Store", ranked: list[list[np.integer]], top: int) -> dict[str, np.ndarray]:
    """Images and names of lists of rows, each a query and its gallery rows."""
    images = [[_image(store, int(row)) for row in rows] for rows in ranked]
    names = [[str(store.rows["source"][row]) for row in rows] for rows in ranked]
    blank = np.full_like(images[0][0], 255)
    return {
        "query": np.stack([row[0] for row in images]),
        "query_name": np.array([row[0] for row in names]),
        "gallery": np.stack([[*row[1:], *[blank] * (top + 1 - len(row))] for row in images]),
        "names": _rectangle([row[1:] for row in names], top, ""),
    }


def _image(store: "Store", row: int) -> np.ndarray:
    crop = store.crop(row)
    if crop is not None:
        return crop
    xyz, rgb = store.clouds([row])
    return portrait(xyz[0], rgb[0])


def _cloud(store: "Store", row: int) -> dict[str, np.ndarray]:
    xyz, rgb = store.clouds([row])
    colors = np.rint(rgb[0] * 255).astype(np.uint8)
    return {"xyz": xyz[0] - xyz[0].mean(axis=0), "rgb": colors, "name": np.array(str(store.rows["source"][row]))}


def _rectangle(lists: Iterable[Iterable[object]], width: int, filler: object) -> np.ndarray:
    return np.array([[*row, *[filler] * width][:width] for row in map(list, lists)])


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: pictures cannot be written there: {error.strerror}") from error
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types **kwds together with allow_pickle
    return path
