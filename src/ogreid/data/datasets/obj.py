"""Published clouds: ``.obj`` text with one ``v x y z r g b`` line per point."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np

from ogreid import files
from ogreid.data.datasets.layouts import Row, tree
from ogreid.data.datasets.readers import read_benchmark
from ogreid.data.store.manifest import Field
from ogreid.errors import InputError

MAX_BYTES = 1 << 24  # 200 000 points; read line by line they take 30 times as much memory
FARTHEST = 6e4  # meters; float16 ends at 65 504
SCENE, BODY = 8192, 6890  # points of a published cloud with background, and without: the body's vertices


def read_obj(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The points of a published cloud, the white "blank" ones too: xyz (P, 3) float32 meters; rgb (P, 3) uint8.

    They are in the order of their lines; faces, comments, blank lines and other statements are skipped.

    Raises:
        InputError: empty, no points, a point without color, a word that is no number; names file and line.
    """
    path = Path(path)
    try:
        text = files.plain_text(files.read_bytes(path, MAX_BYTES)).replace(b"\\\n", b" ") + b"\n"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InputError(f"{path}: {reason}; expected a cloud of the published tree") from error
    values = np.empty((len(text) // _SHORTEST + 1, 6))
    count = _parse(np.frombuffer(text, dtype=np.uint8), values)
    values = values[:count] if count >= 0 else _parse_by_line(text, path)
    if not text.strip():
        raise InputError(f"{path}: empty; copy it again (an empty cloud is the usual trace of a full disk)")
    if not len(values):
        raise InputError(f"{path}: no points (no line begins with v); expected lines like v 0.1 -0.6 0.0 0.4 0.3 0.1")
    xyz, rgb = values[:, :3], values[:, 3:]
    if not (np.isfinite(values).all() and rgb.min() >= 0 and rgb.max() <= 1):
        raise InputError(f"{path}: colors {rgb.min()} to {rgb.max()}; expected 0 to 1, all finite")
    if np.abs(xyz).max() > FARTHEST:
        raise InputError(f"{path}: coordinates up to {np.abs(xyz).max():.3g}; expected meters")
    return xyz.astype(np.float32), np.rint(rgb * 255).astype(np.uint8)


@dataclass(frozen=True)
class PublishedClouds:
    """The authors' clouds as a source for the packer (see :class:`ogreid.data.store.writing.CloudSource`)."""

    root: Path  # that the rows' sources are relative to
    first: str  # source of one cloud; all must have as many points as it
    dtype: str = "float16"  # of the stored coordinates; float32 keeps every written digit

    @cached_property
    def points(self) -> int:
        return len(read_obj(self.root / self.first)[0])

    @property
    def settings(self) -> dict[str, Any]:
        fields = {"xyz": Field(self.dtype, (self.points, 3)), "rgb": Field("uint8", (self.points, 3))}
        size = {"points": self.points, "height": 0, "width": 0, "fields": fields}
        return {"mode": "published", "order": "written", "background": self.points == SCENE, **size}

    def cloud(self, source: str) -> dict[str, np.ndarray]:
        xyz, rgb = read_obj(self.root / source)
        if len(xyz) != self.points:
            advice = "copy it again, or pack the trees with and without background apart"
            raise InputError(f"{self.root / source}: {len(xyz)} points, {self.first} has {self.points}; {advice}")
        return {"xyz": xyz.astype(self.dtype), "rgb": rgb}


def read_published(name: str, root: str | Path, *, allow_count_mismatch: bool = False) -> list[Row]:
    """The rows of a published tree, ``3DMarket+bg/<split>/<ID>/<image>.jpg.obj`` or the like.

    ``root`` is the tree, or the folder with it and no other such tree; else as
    :func:`ogreid.data.datasets.readers.read_benchmark`.
    """
    below = sorted(path.name for path in Path(root).glob("3D*") if path.is_dir())
    if len(below) > 1:
        raise InputError(f"{root}: holds {', '.join(below)}; name the one to pack, like --published {root}/{below[0]}")
    layouts, folders = (tree((".obj",)),), tuple(below)
    rows = read_benchmark(name, root, allow_count_mismatch=allow_count_mismatch, layouts=layouts, folders=folders)
    first = Path(root) / rows[0].path
    points = len(read_obj(first)[0])
    if points not in (SCENE, BODY) and not allow_count_mismatch:
        expected = f"expected {SCENE} points, or {BODY} without background, got {points}"
        raise InputError(f"{first}: {expected}; --allow-count-mismatch packs them as they are")
    return rows


def _parse_by_line(text: bytes, path: Path) -> np.ndarray:
    """What a file means, one line at a time; the source of all errors."""
    points = []
    for number, line in enumerate(text.decode("utf-8", errors="replace").split("\n"), start=1):
        if line.lstrip(" \t")[:2] not in ("v ", "v\t"):
            continue
        words = line.partition("#")[0].split()
        if len(words) != 7:
            what = "a point without color" if len(words) == 4 else f"{len(words) - 1} numbers"
            raise InputError(f"{path}:{number}: {what} ({line.strip()[:60]}); expected v x y z r g b")
        try:
            points.append([float(word) for word in words[1:]])
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}; expected v x y z r g b") from error
    return np.array(points).reshape(-1, 6)


_TENS = 10.0 ** np.arange(16)  # exact in float64
_SHORTEST = len("v 0 0 0 0 0 0")
_DIGITS = 15  # so many always fit the 53 bits of a float64
_SPACE, _TAB, _NEWLINE, _V, _MINUS, _POINT, _ZERO = (int(code) for code in b" \t\nv-.0")


@numba.njit(cache=True)
def _parse(text: np.ndarray, values: np.ndarray) -> int:
    """Fill ``values`` with the points of plain decimal text; their count, or -1 where only ``_parse_by_line`` can tell.

    Digits without their point, divided by a power of ten, are the correctly rounded number as long as both are exact
    in float64 (Clinger 1990); anything else (exponents, 16 digits, a wrong count) is left to ``_parse_by_line``.
    The text must end with a line break: then no loop over blanks or digits needs to look for the end.
    """
    place, count = 0, 0
    while place < len(text):
        place = _after_blanks(text, place)
        if text[place] == _V and (text[place + 1] == _SPACE or text[place + 1] == _TAB):
            place += 1
            for column in range(6):
                place = _after_blanks(text, place)
                negative = text[place] == _MINUS
                start = place + negative
                place, whole = _after_digits(text, start, 0)
                read, behind = place - start, 0
                if text[place] == _POINT:
                    start = place + 1
                    place, whole = _after_digits(text, start, whole)
                    behind = place - start
                    read += behind
                if read == 0 or read > _DIGITS or text[place] > _SPACE:
                    return -1
                value = whole / _TENS[behind]
                values[count, column] = -value if negative else value
            place = _after_blanks(text, place)
            if text[place] != _NEWLINE:
                return -1
            count += 1
        while text[place] != _NEWLINE:
            place += 1
        place += 1
    return count


@numba.njit(cache=True)
def _after_blanks(text: np.ndarray, place: int) -> int:
    while text[place] == _SPACE or text[place] == _TAB:
        place += 1
    return place


@numba.njit(cache=True)
def _after_digits(text: np.ndarray, place: int, whole: int) -> tuple[int, int]:
    """The first place that is no digit, and ``whole`` continued by the digits (it may wrap; the caller counts)."""
    while True:
        digit = np.uint8(text[place] - _ZERO)  # what is below "0" wraps to a large number
        if digit > 9:
            return place, whole
        whole = whole * 10 + int(digit)
        place += 1
