"""Packed clouds: a folder with ``manifest.json``, ``rows.npy``, ``xyz.npy`` and ``rgb.npy``, read by memory map."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ogreid import files
from ogreid.data.store.manifest import BLOCK, OUTSIDE, SPLITS, Manifest, rows_checksum
from ogreid.data.store.mapped import MappedArray
from ogreid.errors import InputError, nearest_names

__all__ = ["Store", "scattered"]

LONGEST_SOURCE = 4096  # characters; what Linux takes for a path
TRIES = 5
Indices = Sequence[int] | np.ndarray


class Store:
    """R packed clouds of P points. ``Store.open(path)`` makes one.

    Opening is quick: sizes and headers are checked, the clouds' checksums only by :meth:`verify`. A store
    travels to worker processes as its path and opens its maps again there; the pages are shared.

    Attributes:
        path: the folder.
        manifest: what the store says about itself.
        rows: (R,) structured array with fields ``split`` (text), ``identity``, ``camera`` (int64),
        ``source`` (text, the
            crop's path in the benchmark's folder).
    """

    def __init__(self, path: Path, manifest: Manifest, rows: np.ndarray, arrays: dict[str, MappedArray]) -> None:
        self.path, self.manifest, self.rows = path, manifest, rows
        self._arrays = arrays

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a packed store.

        Raises:
            InputError: no store there, one from another version, a truncated or foreign file; names the file.
        """
        folder = Path(path)
        for _ in range(TRIES):
            if not (folder / "manifest.json").is_file():
                raise InputError(f"{folder}: no packed store (no manifest.json); make one with python -m ogreid.pack")
            manifest = Manifest.load(folder / "manifest.json")
            arrays = {
                name: MappedArray(folder / f"{name}.npy", manifest.rows, one) for name, one in manifest.fields.items()
            }
            opened = cls(folder, manifest, _load_rows(folder / "rows.npy", manifest), arrays)
            if Manifest.load(folder / "manifest.json") == manifest:
                return opened
        raise InputError(f"{folder}: replaced again and again while it was opened; wait until nobody packs it")

    @classmethod
    def reopen(cls, path: Path, digest: str) -> "Store":
        """The store that another process holds open.

        Raises:
            InputError: another one is there by now; the two processes must not read different clouds.
        """
        opened = cls.open(path)
        if opened.digest != digest:
            raise InputError(f"{path}: was packed anew while it was in use; start again")
        return opened

    def __len__(self) -> int:
        """R."""
        return self.manifest.rows

    def __reduce__(self) -> tuple[Callable[[Path, str], "Store"], tuple[Path, str]]:
        """Only the path is pickled, and what tells whether the same store still lies there."""
        return Store.reopen, (self.path, self.digest)

    @property
    def digest(self) -> str:
        """Differs where any byte of two stores does: the manifest holds the checksums of everything else."""
        return hashlib.sha256(self.manifest.text.encode()).hexdigest()

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.manifest.splits.items())
        return f"Store({str(self.path)!r}: {len(self)} clouds of {self.points} points; {splits})"

    @property
    def name(self) -> str:
        """The store's own name."""
        return self.manifest.name

    @property
    def points(self) -> int:
        """P."""
        return self.manifest.points

    @property
    def fields(self) -> tuple[str, ...]:
        """The arrays that are stored: always xyz and rgb; on request foreground, normal, body."""
        return tuple(self._arrays)

    def split(self, name: str) -> np.ndarray:
        """Row numbers (int64, ascending) of ``train``, ``val``, ``query`` or ``gallery``; empty where it has none."""
        if name not in SPLITS:
            raise InputError(f"split {name!r}: {nearest_names(name, SPLITS)}")
        return np.flatnonzero(self.rows["split"] == name)

    def field(self, name: str, indices: Indices) -> np.ndarray:
        """One stored array of the rows ``indices``, in their order, as stored."""
        if name not in self._arrays:
            raise InputError(
                f"{self.path}: stores no {name!r}, only {', '.join(self._arrays)}; pack with --extra {name}"
            )
        return self._arrays[name].take(np.asarray(indices, dtype=np.int64))

    def raw(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """As stored: xyz (B, P, 3) float16 or float32 meters, rgb (B, P, 3) uint8."""
        return self.field("xyz", indices), self.field("rgb", indices)

    def clouds(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """For computing: xyz (B, P, 3) float32 meters, rgb (B, P, 3) float32 in [0, 1]."""
        xyz, rgb = self.raw(indices)
        return xyz.astype(np.float32), rgb.astype(np.float32) / np.float32(255)

    def picture(self, index: int) -> np.ndarray | None:
        """The crop (H, W, 3) uint8 that a cloud was lifted from; None where its points are not in pixel order.

        Without background, the background is white.
        """
        if self.manifest.order != "scattered":
            return None
        rgb = self.field("rgb", [index])[0]
        crop: np.ndarray = np.empty_like(rgb)
        crop[scattered(self.points)] = rgb
        shape = (self.manifest.height, self.manifest.width, 3)
        return np.asarray(crop.reshape(shape))

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read everything and compare every checksum.

        Raises:
            InputError: the first file that differs, with the rows concerned.
        """
        done, total = 0, sum(len(one.checksums) for one in self.manifest.fields.values())
        for name, one in self.manifest.fields.items():
            for block, expected in enumerate(one.checksums):
                first = block * BLOCK
                if checksum(read_block(self.path / f"{name}.npy", block)) != expected:
                    last = min(first + BLOCK, len(self)) - 1
                    raise InputError(
                        f"{self.path / name}.npy: rows {first} to {last} do not have their checksum;"
                        " copy or pack this store again"
                    )
                done += 1
                if progress is not None:
                    progress(done, total)


@cache
def scattered(points: int) -> np.ndarray:
    """The order in which lifted points are stored: point i is pixel ``scattered(P)[i]`` of the row-major crop.

    Ball query keeps the first hits in index order; in row-major order it would only ever keep the upper edge
    of each ball. The order is a hash of the pixel's number (the finalizer of SplitMix64, Steele et al.
    2014), not numpy's generator, whose streams may change between versions.
    """
    with np.errstate(over="ignore"):
        mixed = np.arange(1, points + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    order.flags.writeable = False  # one array for all callers
    return order


def read_block(path: Path, block: int) -> np.ndarray:
    """One block of an array file, read and not mapped: all pages of a map that were touched count as resident.

    Raises:
        InputError: it is no longer there, or not whole.
    """
    try:
        mapped = files.map_array(path)
        shape = mapped[block * BLOCK : (block + 1) * BLOCK].shape
        row_bytes = mapped.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        start = mapped.offset + block * BLOCK * row_bytes
        values = np.fromfile(path, mapped.dtype, int(np.prod(shape, dtype=np.int64)), offset=start)
        return values.reshape(shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); was the store replaced or moved meanwhile?") from error


def checksum(block: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(block).data).hexdigest()


def _load_rows(path: Path, manifest: Manifest) -> np.ndarray:
    try:
        mapped = files.map_array(path)
        if not _are_rows(mapped.dtype) or mapped.shape != (manifest.rows,):
            raise InputError(f"{path}: not the {manifest.rows} rows of this store; copy or pack it again")
        rows = np.array(mapped)
        summed = rows_checksum(rows)
    except (OSError, ValueError) as error:  # ValueError also for text beyond Unicode
        raise InputError(f"{path}: not readable ({error}); copy or pack this store again") from error
    if summed != manifest.rows_sha256:
        raise InputError(
            f"{path}: the rows do not have the checksum they were packed with; copy or pack the store again"
        )
    _check_rows(rows, path)
    return rows


def _are_rows(dtype: np.dtype) -> bool:
    """Whether a type is what ``make_rows`` gives; numbers and text may have the other byte order."""
    if dtype.names != ("split", "identity", "camera", "source"):
        return False
    kinds = [dtype[name].str[1:] for name in dtype.names]
    return kinds[:3] == ["U8", "i8", "i8"] and kinds[3][0] == "U" and dtype["source"].itemsize <= 4 * LONGEST_SOURCE


def _check_rows(rows: np.ndarray, path: Path) -> None:
    """Refuse a split that is none, and a source outside the folder that it is relative to: a store may be a stranger's.

    Checksums do not help here: who writes the rows writes those too.
    """
    unknown = set(rows["split"].tolist()) - set(SPLITS)
    if unknown:
        raise InputError(f"{path}: split {min(unknown)!r}; expected {', '.join(SPLITS)}; copy or pack this store again")
    for number, source in enumerate(rows["source"].tolist()):
        if OUTSIDE.search(source):
            raise InputError(f"{path}: row {number} names {source!r}, outside its folder; do not use this store")
