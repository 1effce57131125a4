"""What a packed store says about itself: ``manifest.json``, and the rows beside it."""

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ogreid import __version__, files
from ogreid.errors import InputError

FORMAT = "ogreid-store"
VERSION = 1
BLOCK = 128  # rows that share a checksum; also the unit of work and of resuming
SPLITS = ("train", "val", "query", "gallery")
OUTSIDE = re.compile(r"^/|(^|/)\.\.(/|$)|[\0\\]")
"""Relative paths that lead out of their folder on some system."""
FILE_NAME = r"(?!\.\.?$)[^/\\\x00-\x1f]{1,255}"
MAX_BYTES = 1 << 28  # of a manifest: 250 million rows; the checksums of a block take 140 bytes
KINDS = {
    "xyz": ("float16", "float32"),
    "rgb": ("uint8",),
    "foreground": ("bool",),
    "normal": ("float16",),
    "body": ("float32",),
}
"""The arrays that a store may have, and their types: (P,) for foreground, else (P, 3) in each row."""


@dataclass(frozen=True)
class Field:
    """One array of a store, ``<name>.npy``: type and shape of a row, SHA-256 of every block of ``BLOCK`` rows."""

    dtype: str
    shape: tuple[int, ...]
    checksums: tuple[str, ...] = ()

    @property
    def row_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``count``; rows and their checksum are those of the whole store."""

    number: int
    count: int
    rows: int
    rows_sha256: str


@dataclass(frozen=True)
class Manifest:
    """A store's description. It holds no time and no machine, so that equal input packs to equal bytes."""

    name: str
    benchmark: str  # whose layout the rows were read from
    mode: str  # how the clouds were lifted: raster, vertex, nearest or published
    order: str  # of the points in a cloud: scattered (ogreid.data.store.mapped.scattered) or written
    background: bool  # whether background pixels are points too
    points: int  # P
    height: int  # of the crops, 0 where unknown
    width: int
    fields: dict[str, Field]
    rows: int = 0  # R
    identities: dict[str, int] = field(default_factory=dict)  # per split, junk (-1) left out
    splits: dict[str, int] = field(default_factory=dict)  # rows per split
    cameras: dict[str, int] = field(default_factory=dict)  # rows per camera, its number as text, as JSON has it
    rows_sha256: str = ""
    creation: dict[str, Any] = field(default_factory=dict)  # how to make it again, as the seed of a synthetic domain
    shard: Shard | None = None  # what it is a part of
    format: str = FORMAT
    version: int = VERSION
    ogreid: str = __version__  # the version that packed it

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a manifest; an InputError where it is none, incomplete, contradictory, or of another version."""
        try:
            values = files.read_json(path, MAX_BYTES)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable manifest ({error}); pack this store again") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(f"{path}: not the manifest of an ogreid store; give the folder that ogreid.pack made")
        if values.get("version") != VERSION:
            formats = f"store format {values.get('version')}, ogreid {__version__} reads format {VERSION}"
            raise InputError(f"{path}: {formats}; pack the store again, or use the version that packed it")
        try:
            columns = values["fields"].items()
            arrays = {n: Field(a["dtype"], tuple(a["shape"]), tuple(a["checksums"])) for n, a in columns}
            shard = Shard(**values["shard"]) if values["shard"] else None
            manifest = cls(**{one.name: values[one.name] for one in fields(cls)} | {"fields": arrays, "shard": shard})
            _check(manifest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"without {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{path}: incomplete or contradictory ({reason}); copy or pack it again") from error
        return manifest


def _check(manifest: Manifest) -> None:
    """Whether the values can be true: the manifest may come from anybody, and names files and sizes."""
    points, height, width = sizes = (manifest.points, manifest.height, manifest.width)
    shard = manifest.shard or Shard(1, 1, 1, "")
    counts = [*sizes, manifest.rows, shard.number, shard.count, shard.rows]
    counts += [*manifest.identities.values(), *manifest.splits.values(), *manifest.cameras.values()]
    if not all(type(count) is int and 0 <= count < 2**40 for count in counts):
        raise ValueError(f"counts {counts}")
    if not manifest.rows or not points or (manifest.order == "scattered" and height * width != points):
        raise ValueError(f"{manifest.rows} rows of {points} points, {height} x {width} pixels")
    texts = (manifest.benchmark, manifest.mode, manifest.order, manifest.rows_sha256, manifest.ogreid)
    if not all(isinstance(text, str) for text in texts) or not re.fullmatch(FILE_NAME, manifest.name):
        raise ValueError(f"name {manifest.name!r}: expected a word that can name a file")
    if not {"xyz", "rgb"} <= set(manifest.fields) <= set(KINDS):
        raise ValueError(f"arrays {', '.join(manifest.fields)}")
    blocks = -(-manifest.rows // BLOCK)
    for name, array in manifest.fields.items():
        shape = (points,) if name == "foreground" else (points, 3)
        if array.dtype not in KINDS[name] or array.shape != shape:
            raise ValueError(f"{name}: expected {' or '.join(KINDS[name])} {shape}, got {array.dtype} {array.shape}")
        if len(array.checksums) != blocks or not all(isinstance(text, str) for text in array.checksums):
            raise ValueError(f"{name}: {len(array.checksums)} checksums for {blocks} blocks of rows")


def make_rows(
    split: list[str], identity: list[int], camera: list[int], source: list[str], tracklet: list[int] | None = None
) -> np.ndarray:
    """The structured array (R,) of these fields; ``source`` is relative to the benchmark's folder, with ``/``.

    It has no field ``tracklet`` where none is given.

    Raises:
        InputError: a source that is no such path, or no Unicode; a number beyond 64 bits.
    """
    columns = [identity, camera] if tracklet is None else [identity, camera, tracklet]
    for path, *numbers in zip(source, *columns, strict=True):
        if OUTSIDE.search(path) or (not path.isascii() and path.encode(errors="replace").decode() != path):
            raise InputError(f"{path!a}: leads out of the benchmark's folder, or is not Unicode; rename it")
        if max(map(abs, numbers)) >= 2**63:
            raise InputError(f"{path}: identity, camera (and tracklet) {numbers}; expected 64-bit numbers")
    kinds = {"split": "<U8", "identity": "<i8", "camera": "<i8", "source": f"<U{max(map(len, source), default=1)}"}
    rows: list[list[Any]] = [split, identity, camera, source]
    if tracklet is not None:
        kinds, rows = kinds | {"tracklet": "<i8"}, [*rows, tracklet]
    return np.array(list(zip(*rows, strict=True)), list(kinds.items()))


def has_tracklets(rows: np.ndarray) -> bool:
    """Whether rows say which crops are frames of one sequence."""
    return "tracklet" in (rows.dtype.names or ())


def rows_checksum(rows: np.ndarray) -> str:
    """SHA-256 over the rows as lines of text, so that the width of the source column cannot matter."""
    digest = hashlib.sha256(b"with tracklets\n" if has_tracklets(rows) else b"")
    for row in rows.tolist():
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def count_rows(rows: np.ndarray) -> dict[str, Any]:
    """The fields of a manifest that follow from the rows."""
    splits, cameras = Counter(rows["split"].tolist()), Counter(rows["camera"].tolist())
    people = set(zip(rows["split"].tolist(), rows["identity"].tolist(), strict=True))
    identities = Counter(split for split, identity in people if identity >= 0)
    return {
        "rows": len(rows),
        "identities": {name: identities[name] for name in SPLITS if identities[name]},
        "splits": {name: splits[name] for name in SPLITS if splits[name]},
        "cameras": {str(camera): cameras[camera] for camera in sorted(cameras)},
        "rows_sha256": rows_checksum(rows),
    }
