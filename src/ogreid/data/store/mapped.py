"""Packed clouds: a folder with ``manifest.json``, ``rows.npy``, ``xyz.npy`` and ``rgb.npy``, read by memory map."""

import hashlib
import mmap
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ogreid import files
from ogreid.data.store.manifest import BLOCK, OUTSIDE, SPLITS, Field, Manifest, has_tracklets, rows_checksum
from ogreid.errors import InputError, nearest_names

LONGEST_SOURCE = 4096  # characters; what Linux takes for a path
TRIES = 5
Indices = Sequence[int] | np.ndarray


class Store:
    """R packed clouds of P points, opened by ``Store.open(path)``.

    Opening is quick: sizes and headers are checked, the clouds' checksums only by :meth:`verify`. A store is pickled as
    its path; a worker process opens its own maps, which share their pages.

    Attributes:
        path: the folder.
        manifest: what the store says about itself.
        rows: (R,) structured array with fields ``split`` (text), ``identity``, ``camera`` (int64), ``source`` (text,
            the crop's path in the benchmark's folder) and, where names had it, ``tracklet`` (int64).
    """

    def __init__(self, path: Path, manifest: Manifest, rows: np.ndarray, arrays: dict[str, "MappedArray"]) -> None:
        self.path, self.manifest, self.rows = path, manifest, rows
        self._arrays = arrays

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a packed store; an InputError names a file that is missing, cut off, or of another version."""
        folder = Path(path)
        for _ in range(TRIES):
            if not (folder / "manifest.json").is_file():
                raise InputError(f"{folder}: no packed store (no manifest.json); make one with python -m ogreid.pack")
            manifest = Manifest.load(folder / "manifest.json")
            fields = manifest.fields.items()
            arrays = {name: MappedArray(folder / f"{name}.npy", manifest.rows, field) for name, field in fields}
            store = cls(folder, manifest, _load_rows(folder / "rows.npy", manifest), arrays)
            if Manifest.load(folder / "manifest.json") == manifest:
                return store
        raise InputError(f"{folder}: replaced again and again while it was opened; wait until nobody packs it")

    def __len__(self) -> int:
        return self.manifest.rows

    def __reduce__(self) -> tuple[Callable[[Path, str], "Store"], tuple[Path, str]]:
        return _reopen, (self.path, self.digest)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.manifest.splits.items())
        return f"Store({str(self.path)!r}: {len(self)} clouds of {self.points} points; {splits})"

    @property
    def digest(self) -> str:
        """Differs where any byte of two stores does: the manifest has the checksums of everything else."""
        return hashlib.sha256(self.manifest.text.encode()).hexdigest()

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def points(self) -> int:
        return self.manifest.points

    @property
    def fields(self) -> tuple[str, ...]:
        """The stored arrays: always xyz and rgb; on request foreground, normal, body."""
        return tuple(self._arrays)

    @property
    def has_tracklets(self) -> bool:
        """Whether the rows say which crops are frames of one sequence."""
        return has_tracklets(self.rows)

    def split(self, name: str) -> np.ndarray:
        """Row numbers (int64, ascending) of ``train``, ``val``, ``query`` or ``gallery``; empty where it has none."""
        if name not in SPLITS:
            raise InputError(f"split {name!r}: {nearest_names(name, SPLITS)}")
        return np.flatnonzero(self.rows["split"] == name)

    def gallery_rows(self) -> np.ndarray:
        """Rows of every crop, each once: those that are not for training, or all where there are no others."""
        rows = np.flatnonzero(~np.isin(self.rows["split"], ("train", "val")))
        rows = rows if len(rows) else np.arange(len(self))
        _, first = np.unique(self.rows["source"][rows], return_index=True)  # query crops may be in the gallery, too
        return np.asarray(rows[np.sort(first)])

    def check_fields(self, names: Sequence[str]) -> None:
        """Refuse a store without one of these arrays."""
        for name in names:
            if name not in self._arrays:
                known = ", ".join(self._arrays)
                raise InputError(f"{self.path}: stores no {name!r}, only {known}; pack with --extra {name}")

    def field(self, name: str, indices: Indices) -> np.ndarray:
        """One stored array of the rows ``indices``, in their order, as stored."""
        self.check_fields([name])
        return self._arrays[name].take(np.asarray(indices, dtype=np.int64))

    def raw(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """As stored: xyz (B, P, 3) float16 or float32 meters, rgb (B, P, 3) uint8."""
        return self.field("xyz", indices), self.field("rgb", indices)

    def clouds(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """For computing: xyz (B, P, 3) float32 meters, rgb (B, P, 3) float32 in [0, 1]."""
        xyz, rgb = self.raw(indices)
        return xyz.astype(np.float32), rgb.astype(np.float32) / np.float32(255)

    def crop(self, index: int) -> np.ndarray | None:
        """The crop (H, W, 3) uint8 that a cloud was lifted from; None where its points are not in pixel order.

        In a store without background, the background is white.
        """
        if self.manifest.order != "scattered":
            return None
        crop: np.ndarray = np.empty((self.points, 3), np.uint8)
        crop[scattered(self.points)] = self.field("rgb", [index])[0]
        return crop.reshape(self.manifest.height, self.manifest.width, 3)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read everything and refuse the first rows without their checksum; ``progress`` gets (blocks done, blocks)."""
        expected = [(n, i, one) for n, field in self.manifest.fields.items() for i, one in enumerate(field.checksums)]
        for done, (name, block, digest) in enumerate(expected, start=1):
            if checksum(read_block(self.path / f"{name}.npy", block)) != digest:
                span = f"rows {block * BLOCK} to {min((block + 1) * BLOCK, len(self)) - 1}"
                raise _damaged(self.path / f"{name}.npy", f"{span} do not have their checksum")
            if progress is not None:
                progress(done, len(expected))


class MappedArray:
    """The R rows of one ``.npy`` file of a store, checked and read through a memory map.

    A file that is deleted or replaced stays readable, as it was, until the last process closes it.
    """

    def __init__(self, path: Path, rows: int, field: Field) -> None:
        try:
            mapped: Any = files.map_array(path)
        except FileNotFoundError as error:
            raise _damaged(path, "missing") from error
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path, f"not a whole array file ({error})") from error
        expected = (rows, *field.shape), np.dtype(field.dtype)
        if (mapped.shape, mapped.dtype) != expected:
            message = "expected {} {} as in the manifest, got {} {}"
            raise _damaged(path, message.format(*expected, mapped.shape, mapped.dtype))
        self.path, self.values = path, np.asarray(mapped)
        self._size: int = mapped.offset + mapped.nbytes
        self._map: mmap.mmap = mapped._mmap
        self._start = mapped.offset % mmap.ALLOCATIONGRANULARITY  # where the values begin in the map

    def take(self, indices: np.ndarray) -> np.ndarray:
        """A copy of ``values[indices]``, read in file order."""
        rows = np.where(indices < 0, indices + len(self.values), indices)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.values):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of an array of {len(self.values)}")
        try:  # reading a page that is gone would end the process with SIGBUS
            size = self._map.size()  # of the mapped file, whatever its path names by now
        except OSError as error:
            raise InputError(f"{self.path}: no longer readable ({error.strerror}); is the drive still there?") from None
        if size < self._size:
            raise InputError(f"{self.path}: {size} of {self._size} bytes are left, cut off while in use; pack it again")
        order = np.argsort(rows, kind="stable")
        self._prefetch(rows[order])
        taken: np.ndarray = np.empty((len(rows), *self.values.shape[1:]), dtype=self.values.dtype)
        for place in order:
            taken[place] = self.values[rows[place]]
        return taken

    def _prefetch(self, rows: np.ndarray) -> None:
        """Let the system fetch a whole batch at once.

        From a cold disk that is 6 to 12 times as fast as waiting for each page in turn (15 000 instead of 1 300 to
        2 400 clouds a second, random rows of a 0.8 GB file: benchmarks/packing.py); in memory it costs nothing.
        """
        row_bytes = self.values.strides[0]
        for row in rows.tolist() if hasattr(mmap, "MADV_WILLNEED") else ():
            first = self._start + row * row_bytes
            page = first - first % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, first + row_bytes - page)


@cache
def scattered(points: int) -> np.ndarray:
    """The order in which lifted points are stored: point i is pixel ``scattered(P)[i]`` of the row-major crop.

    Ball query keeps the first neighbors in index order: in row-major order, the upper edge of each ball. The order is a
    hash of the pixel's number (SplitMix64, Steele et al. 2014): streams of numpy may change between versions.
    """
    with np.errstate(over="ignore"):
        mixed = np.arange(1, points + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    order.flags.writeable = False  # one array for all callers
    return order


def read_block(path: Path, block: int) -> np.ndarray:
    """One block of an array file, read and not mapped: all pages of a map that were touched count as resident."""
    try:
        mapped = files.map_array(path)
        shape = mapped[block * BLOCK : (block + 1) * BLOCK].shape
        start = mapped.offset + block * BLOCK * mapped.strides[0]
        return np.fromfile(path, mapped.dtype, int(np.prod(shape)), offset=start).reshape(shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); was the store replaced or moved meanwhile?") from error


def checksum(block: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(block).data).hexdigest()


def _reopen(path: Path, digest: str) -> Store:
    store = Store.open(path)
    if store.digest != digest:  # two processes must not read different clouds
        raise InputError(f"{path}: was packed anew while it was in use; start again")
    return store


def _damaged(path: Path, problem: str) -> InputError:
    return InputError(f"{path}: {problem}; copy or pack this store again")


def _load_rows(path: Path, manifest: Manifest) -> np.ndarray:
    """The rows, checked against the manifest and for what checksums do not show: who writes the rows writes those."""
    try:
        mapped = files.map_array(path)
        if not _are_rows(mapped.dtype) or mapped.shape != (manifest.rows,):
            raise ValueError(f"expected {manifest.rows} of them, got {mapped.shape} {mapped.dtype}")
        rows = np.array(mapped)
        if rows_checksum(rows) != manifest.rows_sha256:  # raises a ValueError of its own for text beyond Unicode
            raise ValueError("they do not have their checksum")
        if unknown := set(rows["split"].tolist()) - set(SPLITS):
            raise ValueError(f"split {min(unknown)!r}, expected {', '.join(SPLITS)}")
        if outside := list(filter(OUTSIDE.search, rows["source"].tolist())):
            raise ValueError(f"{outside[0]!r} leads outside its folder")
    except (OSError, ValueError) as error:
        raise _damaged(path, f"not the rows of this store ({error})") from error
    return rows


def _are_rows(dtype: np.dtype) -> bool:
    """Whether a type is what ``make_rows`` gives; numbers and text may have the other byte order."""
    columns = ("split", "identity", "camera", "source")
    if dtype.names not in (columns, (*columns, "tracklet")):
        return False
    kinds = [dtype[name].str[1:] for name in dtype.names]
    numbers = kinds[1:3] + kinds[4:]
    is_text = kinds[0] == "U8" and kinds[3][0] == "U" and dtype["source"].itemsize <= 4 * LONGEST_SOURCE
    return is_text and set(numbers) == {"i8"}
