"""Published clouds: ``.obj`` text with one ``v x y z r g b`` line per point."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
    """The points of a published cloud, the white "blank" ones too, in the order of their lines.

    Faces, comments, blank lines and other statements are skipped.

    Returns:
        xyz (P, 3) float32 meters; rgb (P, 3) uint8.

    Raises:
        InputError: empty, no points, a point without color, a word that is no number; names file and line.
    """
    path = Path(path)
    try:
        text = files.read_bytes(path, MAX_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InputError(f"{path}: {reason}; expected a cloud of the published tree") from error
    if not text.strip():
        raise InputError(f"{path}: empty; copy it again (an empty cloud is the usual trace of a full disk)")
    values = _parse(text.replace("\r\n", "\n").replace("\r", "\n"), path)
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

    Args:
        name: the data set whose clouds they are.
        root: the tree, or the folder with it and no other such tree.
        allow_count_mismatch: as for :func:`ogreid.data.datasets.readers.read_benchmark`, which also raises its errors.
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


def _parse(text: str, path: Path) -> np.ndarray:
    """The numbers of all points (P, 6); what is no point is passed over."""
    points = re.findall(r"^[ \t]*v[ \t](.*)", text, re.MULTILINE)
    try:
        values = np.loadtxt(points, ndmin=2) if points else np.empty((0, 6))
    except ValueError as error:  # numpy's words count the points, not the lines
        raise InputError(_problem(text, path)) from error
    if values.shape[1:] != (6,):
        raise InputError(_problem(text, path))
    return values


def _problem(text: str, path: Path) -> str:
    """What is wrong with the first line that is no whole point."""
    for number, line in enumerate(text.split("\n"), start=1):
        kind, *words = line.partition("#")[0].split() or [""]
        if kind == "v" and len(words) != 6:
            problem = "a point without color" if len(words) == 3 else f"{len(words)} numbers"
            return f"{path}:{number}: {problem} ({line.strip()[:60]}); expected v x y z r g b"
        for word in words if kind == "v" else ():
            try:
                float(word)
            except ValueError:
                return f"{path}:{number}: {word!r} is no number; expected v x y z r g b"
    return f"{path}: not readable as points; expected lines of v x y z r g b"
