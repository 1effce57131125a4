"""Ranked galleries, a cloud and a map of one judged set as files; knows nothing of Lightning."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ogreid.data.store.reading import Store
from ogreid.errors import InputError
from ogreid.retrieval.galleries import RankedGallery, choose_queries, rank_gallery
from ogreid.retrieval.plane import principal_plane, sample_identities
from ogreid.retrieval.ranking import judge

__all__ = ["collect_galleries", "collect_map", "gallery_sheet", "portrait"]

GREEN, RED = np.array([38, 166, 91]), np.array([214, 69, 65])


def collect_galleries(
    store: Store,
    rows: np.ndarray,
    queries: int,
    embedding: np.ndarray | torch.Tensor,
    identity: np.ndarray | torch.Tensor,
    camera: np.ndarray | torch.Tensor,
    folder: Path,
    *,
    top: int = 10,
    each: int = 2,
    name: str | None = None,
    average_precision: np.ndarray | None = None,
) -> tuple[Path, Path]:
    """Write the ranked lists of the best, median and worst queries with their pictures, and the cloud of one query.

    Args:
        store: that the rows are of.
        rows: (R,) numbers in the store, query rows first.
        queries: how many of them are queries.
        embedding: (R, D); identity and camera (R,) integers.
        identity: (R,).
        camera: (R,).
        folder: where to; made when missing.
        top: gallery rows per list.
        each: queries per kind.
        name: of the set, for the file names; the store's where it is not given.
        average_precision: (Q,) if already known; else the rows are judged.

    Returns:
        The two files. Galleries: ``kind`` and ``query_name`` (K,) text, ``average_precision`` (K,), ``query``
        (K, H, W, 3) uint8, ``found`` (K, T, H, W, 3) uint8, ``scores``, ``correct``, ``names`` (K, T); a list shorter
        than T ends in empty names. Cloud: ``xyz`` (P, 3) float32 meters, centered, ``rgb`` (P, 3) uint8, ``name``.
    """
    columns = _columns(embedding, identity, camera)
    query, gallery = [c[:queries] for c in columns], [c[queries:] for c in columns]
    if average_precision is None:
        average_precision = judge(*query, *gallery).average_precision
    chosen = choose_queries(average_precision, query[1], each)
    lists = rank_gallery([number for _, number in chosen], *query, *gallery, top=top)
    galleries, cloud = (_file(folder, name or store.name, kind) for kind in ("galleries", "cloud"))
    arrays = _gallery_arrays(store, rows, queries, lists, top)
    arrays["kind"] = np.array([kind for kind, _ in chosen])
    arrays["average_precision"] = average_precision[[number for _, number in chosen]]
    _save(galleries, arrays)
    shown = next((number for kind, number in chosen if kind == "median"), chosen[0][1])
    xyz, rgb = store.clouds([int(rows[shown])])
    points = {"xyz": xyz[0] - xyz[0].mean(axis=0), "rgb": np.rint(rgb[0] * 255).astype(np.uint8)}
    _save(cloud, points | {"name": np.array(str(store.rows["source"][rows[shown]]))})
    return galleries, cloud


def collect_map(
    embedding: np.ndarray | torch.Tensor,
    identity: np.ndarray | torch.Tensor,
    camera: np.ndarray | torch.Tensor,
    folder: Path,
    name: str,
) -> Path:
    """Write where the embeddings of twelve identities lie on a plane; no picture of anybody is in it.

    Args:
        embedding: (R, D).
        identity: (R,) integers.
        camera: (R,) integers.
        folder: where to; made when missing.
        name: of the set, for the file name.

    Returns:
        The file: ``xy`` (M, 2), ``identity`` and ``camera`` (M,).
    """
    columns = _columns(embedding, identity, camera)
    sample = sample_identities(columns[1])
    plane = principal_plane(columns[0][sample]) if len(sample) > 1 else np.empty((0, 2))
    path = _file(folder, name, "map")
    known, seen = (column[sample][: len(plane)] for column in columns[1:])
    _save(path, {"xy": plane, "identity": known, "camera": seen})
    return path


def gallery_sheet(held: Mapping[str, np.ndarray], frame: int = 4) -> np.ndarray:
    """The lists of a galleries file as one picture (K * (H + 2 f), (T + 1) * (W + 2 f), 3) uint8.

    The query stands first in each row, framed gray; what it found is framed green or red, nothing is left white.
    """
    shown = held["names"] != ""
    colors = np.where(held["correct"][..., None], GREEN, RED) * shown[..., None] + 255 * ~shown[..., None]
    framed = np.concatenate(
        [
            _framed(held["query"][:, None], np.full((len(shown), 1, 3), 128), frame),
            _framed(held["found"], colors, frame),
        ],
        axis=1,
    )
    lists, places, height, width, _ = framed.shape
    return np.asarray(framed.transpose(0, 2, 1, 3, 4).reshape(lists * height, places * width, 3))


def portrait(xyz: np.ndarray, rgb: np.ndarray, height: int = 128, width: int = 64) -> np.ndarray:
    """A cloud seen from the front, for clouds that are not in pixel order.

    Args:
        xyz: (P, 3) meters; x right, y down, z away.
        rgb: (P, 3) in [0, 1].
        height: of the picture.
        width: of the picture.

    Returns:
        (H, W, 3) uint8; the nearest point of each pixel, white where there is none.
    """
    low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
    scale = max(float((high[0] - low[0]) / width), float((high[1] - low[1]) / height), 1e-6)
    centered = (xyz[:, :2] - (low + high) / 2) / scale + np.array([width / 2, height / 2])
    column, row = np.clip(centered.astype(np.int64), 0, [width - 1, height - 1]).T
    picture: np.ndarray = np.full((height, width, 3), 255, dtype=np.uint8)
    far_first = np.argsort(-xyz[:, 2], kind="stable")
    picture[row[far_first], column[far_first]] = np.rint(rgb[far_first] * 255)
    return picture


def _framed(pictures: np.ndarray, colors: np.ndarray, frame: int) -> np.ndarray:
    """(K, T, H, W, 3) pictures with a border of (K, T, 3) colors."""
    lists, places, height, width, _ = pictures.shape
    framed = np.empty((lists, places, height + 2 * frame, width + 2 * frame, 3), dtype=np.uint8)
    framed[:] = colors[:, :, None, None]
    framed[:, :, frame:-frame, frame:-frame] = pictures
    return framed


def _picture(store: Store, row: int) -> np.ndarray:
    crop = store.picture(row)
    if crop is not None:
        return crop
    xyz, rgb = store.clouds([row])
    return portrait(xyz[0], rgb[0])


def _gallery_arrays(
    store: Store, rows: np.ndarray, queries: int, lists: list[RankedGallery], top: int
) -> dict[str, np.ndarray]:
    """The lists as rectangular arrays."""
    found = [[int(rows[queries + g]) for g in one.rows] for one in lists]
    asked = [int(rows[one.query]) for one in lists]
    blank = np.full_like(_picture(store, asked[0]), 255)
    sources = store.rows["source"]
    return {
        "query": np.stack([_picture(store, row) for row in asked]),
        "query_name": np.array([str(sources[row]) for row in asked]),
        "found": np.stack([_padded([_picture(store, row) for row in one], top, blank) for one in found]),
        "names": np.stack([_padded([np.array(str(sources[row])) for row in one], top, np.array("")) for one in found]),
        "scores": np.stack([_padded(list(one.scores), top, np.array(np.nan)) for one in lists]),
        "correct": np.stack([_padded(list(one.correct), top, np.array(False)) for one in lists]),
    }


def _padded(items: list[np.ndarray], count: int, filler: np.ndarray) -> np.ndarray:
    return np.stack([*items, *[filler] * (count - len(items))])


def _columns(
    embedding: np.ndarray | torch.Tensor, identity: np.ndarray | torch.Tensor, camera: np.ndarray | torch.Tensor
) -> list[np.ndarray]:
    """As arrays; embeddings of half precision become float32."""
    floats = torch.as_tensor(embedding).detach().float()
    return [np.asarray(column.cpu()) for column in (floats, torch.as_tensor(identity), torch.as_tensor(camera))]


def _file(folder: Path, name: str, kind: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: pictures cannot be written there: {error.strerror}") from error
    return folder / f"{name.replace('/', '-')}-{kind}.npz"


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types **kwds together with allow_pickle
    part.replace(path)
