"""Landmarks that another tool wrote: a ``.json`` or ``.npz`` file for each crop, COCO-17 or BlazePose-33 points.

=============================  =====================================================================================
member                         value
=============================  =====================================================================================
``points`` or ``keypoints``    (K, 2), (K, 3) or flat: column and row in pixels of the crop, the third the score
``scores``, ``keypoint_scores``  (K,) in [0, 1], or COCO's visibility 0, 1, 2; without any all are 1
``world``                      (K, 3) meters, x right, y down, z away; optional
``presence``                   in [0, 1]; without it the mean of the scores
``mask``                       (H, W) the person's pixels; ``.npz`` only, optional
=============================  =====================================================================================

A JSON file may hold a list of people, alone or as ``people`` or ``instances``.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.errors import InputError, MissingFileError
from ogreid.lifting.landmarks import COCO, COUNT, Landmarks

LONGEST = 1 << 20  # bytes of a JSON file; a person takes 3 000
MOST_PEOPLE = 1000
FARTHEST = 1e5  # pixels; meters are far below
SUFFIXES = (".npz", ".json")


@dataclass(frozen=True)
class LandmarkFiles:
    """The landmarks of crops in a folder, in the same sub-folders as the crops or in none, named after the crops.

    Attributes:
        folder: of the files.
    """

    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What estimates depend on: the names and sizes of all files.

        Raises:
            InputError: no such folder.
        """
        if not self.folder.is_dir():
            raise MissingFileError(f"{self.folder}: no such folder; --landmarks takes one with a file for each crop")
        digest = hashlib.sha256()
        for place, folders, names in os.walk(self.folder):
            folders.sort()
            for path in (Path(place, name) for name in sorted(names) if name.endswith(SUFFIXES)):
                digest.update(f"{path.relative_to(self.folder).as_posix()}\t{path.stat().st_size}\n".encode())
        return {"landmarks": digest.hexdigest()}

    def __call__(self, source: str, image: Image.Image) -> Iterator[Landmarks]:
        """The landmarks of a crop; none where it has no file, or one without people.

        Raises:
            InputError: a file that cannot be read, or holds something else.
        """
        crop = Path(source)
        for folder, name, suffix in product((crop.parent, Path()), (crop.stem, crop.name), SUFFIXES):
            path = self.folder / folder / f"{name}{suffix}"
            if path.is_file():
                yield from read_landmarks(path, image.height, image.width)
                return


def read_landmarks(path: Path, height: int, width: int) -> list[Landmarks]:
    """The landmarks of the largest and most central person in a file; empty where it holds nobody.

    Args:
        path: of the file.
        height: of the crop, pixels.
        width: of the crop.

    Raises:
        InputError: not readable, or no COCO-17 or BlazePose-33 points in pixels; names the file.
    """
    try:
        people = _people(files.read_arrays(path) if path.suffix == ".npz" else files.read_json(path, LONGEST))
        landmarks = [_person(one, height, width) for one in people]
    except (OSError, ValueError, TypeError, RecursionError, OverflowError) as error:
        expected = "expected COCO-17 or BlazePose-33 points as (column, row, score)"
        raise InputError(f"{path}: no landmarks ({error}); {expected}, see docs/data/estimated-bodies.md") from error
    return sorted(landmarks, key=lambda one: _prominence(one, height, width))[-1:]


def _people(content: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - what the file holds
    if isinstance(content, dict):
        content = next((content[name] for name in ("people", "instances") if name in content), [content])
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise ValueError("neither a person nor a list of people")
    if len(content) > MOST_PEOPLE:
        raise ValueError(f"{len(content)} people")
    return list(content)


def _person(person: Mapping[str, Any], height: int, width: int) -> Landmarks:
    raw = _first(person, "points", "keypoints")
    if raw is None:
        raise ValueError(f"neither points nor keypoints, only {', '.join(sorted(person)[:5]) or 'nothing'}")
    points, rated = _table(raw)
    given = _first(person, "scores", "keypoint_scores")
    scores = _scores(_numbers(given).ravel() if given is not None else rated, len(points))
    scores[~np.isfinite(points).all(axis=1)] = 0
    points = np.where(scores[:, None] > 0, points, 0)
    if np.abs(points).max() > FARTHEST:
        raise ValueError(f"points up to {np.abs(points).max():.3g} pixels away")
    if scores.any() and max(height, width) > 8 and np.abs(points).max() <= 1.5:
        raise ValueError("points from 0 to 1; expected pixels: multiply by the width and height of the crop")
    presence = _numbers(person.get("presence", scores.mean()))
    if presence.size != 1 or not 0 <= presence.item() <= 1:
        raise ValueError("presence: expected a number from 0 to 1")
    spread, spread_scores = _blazepose(points), _blazepose(scores)
    return Landmarks(
        spread, spread_scores, presence.item(), _world(person, len(points)), _mask(person.get("mask"), height, width)
    )


def _first(person: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401
    return next((person[name] for name in names if person.get(name) is not None), None)


def _numbers(values: Any) -> np.ndarray:  # noqa: ANN401
    array = np.asarray(values)
    if array.dtype.kind not in "iufb" or array.size > 1000:
        raise ValueError(f"{array.size} values of type {array.dtype}; expected a few numbers")
    return array.astype(np.float64)


def _table(raw: Any) -> tuple[np.ndarray, np.ndarray | None]:  # noqa: ANN401
    """Points (K, 2), and scores (K,) where they are the third column."""
    array = _numbers(raw)
    if array.ndim == 1 and array.size in (3 * len(COCO), 3 * COUNT):
        array = array.reshape(-1, 3)
    if array.ndim != 2 or len(array) not in (len(COCO), COUNT) or array.shape[1] not in (2, 3):
        raise ValueError(f"points of shape {array.shape}")
    return array[:, :2].copy(), array[:, 2] if array.shape[1] == 3 else None


def _scores(scores: np.ndarray | None, count: int) -> np.ndarray:
    if scores is None:
        return np.ones(count)
    if scores.shape != (count,):
        raise ValueError(f"{scores.size} scores of {count} points")
    scores = np.nan_to_num(scores, nan=0.0)
    if set(scores.tolist()) <= {0.0, 1.0, 2.0} and scores.max() == 2:  # COCO: absent, hidden, visible
        return np.asarray(scores / 2)
    if scores.min() < -0.5 or scores.max() > 1.5:  # peaks of heat maps may lie a little outside
        raise ValueError(f"scores from {scores.min():g} to {scores.max():g}; expected 0 to 1")
    return np.asarray(np.clip(scores, 0, 1))


def _world(person: Mapping[str, Any], count: int) -> np.ndarray | None:
    if person.get("world") is None:
        return None
    world = _numbers(person["world"])
    if world.shape != (count, 3) or not np.isfinite(world).all() or np.abs(world).max() > FARTHEST:
        raise ValueError(f"world of shape {world.shape}; expected ({count}, 3) meters")
    return _blazepose(world)


def _mask(raw: Any, height: int, width: int) -> np.ndarray | None:  # noqa: ANN401
    if raw is None:
        return None
    mask = np.asarray(raw)
    if mask.shape != (height, width) or mask.dtype.kind not in "iufb":
        raise ValueError(f"mask of shape {mask.shape} and type {mask.dtype}; expected ({height}, {width}) as the crop")
    return np.asarray(mask > (0.5 if mask.max() <= 1 else 127))


def _blazepose(values: np.ndarray) -> np.ndarray:
    """Rows of COCO's 17 points in their places among the 33; the others are 0."""
    if len(values) == COUNT:
        return values
    spread = np.zeros((COUNT, *values.shape[1:]))
    spread[COCO] = values
    return spread


def _prominence(landmarks: Landmarks, height: int, width: int) -> float:
    """Large and central people have more: the area of the points' box, less the farther from the middle."""
    known = landmarks.points[landmarks.scores > 0]
    if not len(known):
        return 0.0
    (left, top), (right, bottom) = known.min(axis=0).tolist(), known.max(axis=0).tolist()
    distance = np.hypot((left + right) / width - 1, (top + bottom) / height - 1)
    return float((right - left) * (bottom - top) / (1 + distance))
