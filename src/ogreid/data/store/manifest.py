"""What a packed store says about itself: ``manifest.json``, and the rows beside it."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ogreid import __version__, files
from ogreid.errors import InputError

__all__ = [
    "BLOCK",
    "FORMAT",
    "OUTSIDE",
    "SPLITS",
    "VERSION",
    "Field",
    "Manifest",
    "Shard",
    "make_rows",
    "rows_checksum",
]

FORMAT = "ogreid-store"
VERSION = 1
BLOCK = 128  # rows that share a checksum; also the unit of work and of resuming
SPLITS = ("train", "val", "query", "gallery")
OUTSIDE = re.compile(r"^/|(^|/)\.\.(/|$)|[\0\\]")
"""Found in sources that lead out of the folder that they are relative to, on some system."""
MOST_BYTES = 1 << 28  # of a manifest: 250 million rows; the checksums of a block take 140 bytes
KINDS = {
    "xyz": ("float16", "float32"),
    "rgb": ("uint8",),
    "foreground": ("bool",),
    "normal": ("float16",),
    "body": ("float32",),
}
"""The arrays that a store may hold, and their types; a row has P points, and all but foreground three columns."""


@dataclass(frozen=True)
class Field:
    """One array of a store, ``<name>.npy``.

    Attributes:
        dtype: name of the numpy type.
        shape: of one row.
        checksums: SHA-256 of every block of ``BLOCK`` rows, hexadecimal.
    """

    dtype: str
    shape: tuple[int, ...]
    checksums: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a store.

    Attributes:
        number: 1 to ``count``.
        count: of the parts.
        rows: of the whole store.
        rows_sha256: checksum of the whole store's rows.
    """

    number: int
    count: int
    rows: int
    rows_sha256: str


@dataclass(frozen=True)
class Manifest:
    """A store's own description. It holds no time and no machine, so that equal input packs to equal bytes.

    Attributes:
        name: of the store.
        benchmark: whose layout the rows were read from.
        mode: how the clouds were lifted: ``raster``, ``vertex``, ``nearest`` or ``published``.
        order: of the points in a cloud: ``scattered`` (see :func:`ogreid.data.store.reading.scattered`) or
        ``written``.
        background: whether background pixels are points too.
        points: P.
        height: rows of the crop, 0 where unknown.
        width: columns of the crop, 0 where unknown.
        fields: the arrays.
        rows: R.
        identities: different identities per split, junk (-1) left out.
        splits: rows per split.
        cameras: rows per camera; the number as text, as JSON has it.
        rows_sha256: checksum of the rows.
        creation: how to make it again, for example the seed of a synthetic domain; empty where crops were lifted with
            the upright body.
        shard: what it is a part of, None for a whole store.
        format: always ``ogreid-store``.
        version: of the format.
        ogreid: version of the program that packed it.
    """

    name: str
    benchmark: str
    mode: str
    order: str
    background: bool
    points: int
    height: int
    width: int
    fields: dict[str, Field]
    rows: int = 0
    identities: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    cameras: dict[str, int] = field(default_factory=dict)
    rows_sha256: str = ""
    creation: dict[str, Any] = field(default_factory=dict)
    shard: Shard | None = None
    format: str = FORMAT
    version: int = VERSION
    ogreid: str = __version__

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes on disk."""
        return sum(
            np.dtype(one.dtype).itemsize * int(np.prod(one.shape, dtype=np.int64)) for one in self.fields.values()
        )

    @property
    def text(self) -> str:
        """JSON that a person can read."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write :attr:`text`."""
        path.write_text(self.text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a manifest.

        Raises:
            InputError: not a store's manifest, or one from another version of the format.
        """
        try:
            told = files.read_json(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable manifest ({error}); pack this store again") from error
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise InputError(f"{path}: not the manifest of an ogreid store; give the folder that ogreid.pack made")
        if told.get("version") != VERSION:
            raise InputError(
                f"{path}: store format {told.get('version')}, this ogreid ({__version__}) reads format {VERSION};"
                " pack the store again, or use the version that packed it"
            )
        missing = [one.name for one in fields(cls) if one.name not in told]
        if missing:
            raise InputError(f"{path}: incomplete, without {', '.join(missing)}; pack this store again")
        try:
            made = _made(told)
            _check(made)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: contradicts itself ({error}); copy or pack this store again") from error
        return made


def _made(told: dict[str, Any]) -> Manifest:
    arrays = {
        name: Field(one["dtype"], tuple(one["shape"]), tuple(one["checksums"])) for name, one in told["fields"].items()
    }
    known = {one.name: told[one.name] for one in fields(Manifest)}
    return Manifest(**known | {"fields": arrays, "shard": Shard(**told["shard"]) if told["shard"] else None})


def _check(told: Manifest) -> None:
    """Whether what a manifest says can be true: it may come from anybody, and names files and sizes.

    Raises:
        ValueError: with the reason.
    """
    counts = {"points": told.points, "height": told.height, "width": told.width, "rows": told.rows}
    counts |= {f"{kind} {name}": n for kind in ("identities", "splits", "cameras") for name, n in _counts(told, kind)}
    if told.shard is not None:
        counts |= {"shard": told.shard.number, "shards": told.shard.count, "shard rows": told.shard.rows}
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count < 2**40:
            raise ValueError(f"{name} {count!r}")
    if not told.rows or not told.points or (told.order == "scattered" and told.height * told.width != told.points):
        raise ValueError(f"{told.rows} rows of {told.points} points, {told.height} x {told.width} pixels")
    texts = (told.name, told.benchmark, told.mode, told.order, told.rows_sha256, told.ogreid)
    if not all(isinstance(text, str) for text in texts) or not re.fullmatch(r"[^/\\\x00-\x1f]{1,255}", told.name):
        raise ValueError(f"name {told.name!r}: expected a word that can name a file")
    if told.name in (".", "..") or not {"xyz", "rgb"} <= set(told.fields):
        raise ValueError(f"name {told.name!r}, arrays {', '.join(told.fields)}")
    for name, one in told.fields.items():
        _check_field(name, one, told)


def _counts(told: Manifest, kind: str) -> list[tuple[str, int]]:
    return list(getattr(told, kind).items())


def _check_field(name: str, one: Field, told: Manifest) -> None:
    shape = (told.points,) if name == "foreground" else (told.points, 3)
    if one.dtype not in KINDS.get(name, ()) or one.shape != shape:
        raise ValueError(f"{name}: {one.dtype} {one.shape}; expected {' or '.join(KINDS.get(name, ['none']))} {shape}")
    blocks = -(-told.rows // BLOCK)
    if len(one.checksums) != blocks or not all(isinstance(text, str) for text in one.checksums):
        raise ValueError(f"{name}: {len(one.checksums)} checksums for {blocks} blocks of rows")


def make_rows(split: list[str], identity: list[int], camera: list[int], source: list[str]) -> np.ndarray:
    """The structured array (R,) with fields split, identity, camera and source.

    Source is the crop's path relative to the benchmark's folder, with forward slashes.

    Raises:
        InputError: a source that is no such path, or no Unicode; a number beyond 64 bits.
    """
    for number, one in enumerate(source):
        if OUTSIDE.search(one) or (not one.isascii() and one.encode(errors="replace").decode() != one):
            raise InputError(f"{one!a}: leads out of the benchmark's folder, or is not Unicode; rename it")
        if max(abs(identity[number]), abs(camera[number])) >= 2**63:
            raise InputError(f"{one}: identity {identity[number]}, camera {camera[number]}; expected 64-bit numbers")
    width = max((len(one) for one in source), default=1)
    kinds = [("split", "<U8"), ("identity", "<i8"), ("camera", "<i8"), ("source", f"<U{width}")]
    rows = np.empty(len(source), dtype=kinds)
    rows["split"], rows["identity"], rows["camera"], rows["source"] = split, identity, camera, source
    return rows


def rows_checksum(rows: np.ndarray) -> str:
    """SHA-256 over the rows as lines of text, so that the width of the source column cannot matter."""
    summed = hashlib.sha256()
    for split, identity, camera, source in rows.tolist():
        summed.update(f"{split}\t{identity}\t{camera}\t{source}\n".encode())
    return summed.hexdigest()


def counted(rows: np.ndarray) -> dict[str, Any]:
    """The fields of a manifest that follow from the rows."""
    splits = Counter(rows["split"].tolist())
    named = set(zip(rows["split"].tolist(), rows["identity"].tolist(), strict=True))
    identities = Counter(split for split, identity in named if identity >= 0)
    cameras = Counter(rows["camera"].tolist())
    return {
        "rows": len(rows),
        "identities": {name: identities[name] for name in SPLITS if identities[name]},
        "splits": {name: splits[name] for name in SPLITS if splits[name]},
        "cameras": {str(camera): cameras[camera] for camera in sorted(cameras)},
        "rows_sha256": rows_checksum(rows),
    }
