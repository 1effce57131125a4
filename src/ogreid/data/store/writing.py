"""Writing a store beside its place, block by block, and moving it there when it is whole.

``<store>.part`` holds the arrays at their full size, ``plan.json`` (the manifest to be, without checksums) and
``finished.jsonl`` (one line per block that is on disk, with its checksums). A pack that was killed goes on from there
when its plan is the same; blocks whose checksum differs are written again. ``<store>.lock`` is held from before the
first byte until the store is in its place, so that two packs of one store never mix.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from filelock import FileLock

from ogreid import files
from ogreid.data.store.manifest import BLOCK, KINDS, Manifest, counted
from ogreid.data.store.reading import Store, checksum, read_block
from ogreid.errors import InputError

__all__ = ["StoreWriter", "write_block"]

log = logging.getLogger(__name__)
Checksums = dict[str, str]


class StoreWriter:
    """Writes one store; a context manager.

    Leaving it after an error that the user has to put right removes ``<store>.part``; after an interruption it stays,
    and the same command goes on from it.

    Args:
        target: the store's folder.
        plan: the manifest; what follows from the rows is filled in here.
        rows: see :func:`ogreid.data.store.manifest.make_rows`.
        overwrite: replace a store that is already there.

    Raises:
        InputError: the target is something else than a store, or another process packs it.
    """

    def __init__(self, target: Path, plan: Manifest, rows: np.ndarray, *, overwrite: bool = False) -> None:
        if not len(rows):
            raise InputError(f"{target}: no rows to pack")
        self.target, self.rows = target, rows
        self.plan = replace(plan, **counted(rows))
        self.overwrite = overwrite
        self.part = target.with_name(f"{target.name}.part")
        self.old = target.with_name(f"{target.name}.old")
        self.lock = target.with_name(f"{target.name}.lock")
        self.finished: dict[int, Checksums] = {}
        self._lock: FileLock | None = None
        self._journal: IO[str] | None = None
        self._check_target()

    @property
    def blocks(self) -> int:
        """How many blocks the rows make."""
        return -(-len(self.rows) // BLOCK)

    def __enter__(self) -> "StoreWriter":
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = files.try_lock(self.lock)
            if self._lock is None:
                raise InputError(f"{self.target}: another process is packing this store; wait for it to finish")
            self._begin_or_resume()
        except OSError as error:
            self._release()
            raise InputError(f"{self.part}: {error.strerror}; choose another folder with --data or --to") from error
        except BaseException:
            self._release()  # and whatever lies there stays
            raise
        return self

    def _check_target(self) -> None:
        if self.target.exists() and not (self.target / "manifest.json").is_file():
            raise InputError(f"{self.target}: already there, and not a packed store; --to names another place")
        if self.target.exists() and not self.overwrite:
            raise InputError(f"{self.target}: already packed; --overwrite packs it again, --to names another place")

    def _begin_or_resume(self) -> None:
        """With the lock held: what another process did before it was given is seen now."""
        if self.old.is_dir() and not self.target.exists():
            self.old.rename(self.target)  # a replacement was killed between its two renames
        self._check_target()
        if self.part.is_symlink() or (self.part.exists() and not self.part.is_dir()):
            raise InputError(f"{self.part}: not a folder of this program; move it away")
        self.part.mkdir(exist_ok=True)
        self._resume() if self._same_plan() else self._begin()
        self._journal = (self.part / "finished.jsonl").open("a", encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InputError):
            shutil.rmtree(self.part, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.release()

    def pending(self) -> list[int]:
        """Blocks that are not on disk yet, ascending."""
        return [block for block in range(self.blocks) if block not in self.finished]

    def of_block(self, block: int) -> np.ndarray:
        """The rows of a block."""
        return self.rows[block * BLOCK : (block + 1) * BLOCK]

    def record(self, block: int, checksums: Checksums) -> None:
        """Note that :func:`write_block` has put a block on disk."""
        assert self._journal is not None, "use the writer as a context manager"
        self._journal.write(json.dumps({"block": block, "checksums": checksums}) + "\n")
        self._journal.flush()
        self.finished[block] = checksums

    def finish(self) -> Store:
        """Write the manifest and move the store to its place; all blocks must be on disk."""
        assert not self.pending(), f"{len(self.pending())} blocks are missing"
        fields = {
            name: replace(one, checksums=tuple(self.finished[block][name] for block in range(self.blocks)))
            for name, one in self.plan.fields.items()
        }
        replace(self.plan, fields=fields).save(self.part / "manifest.json")
        for name in ("plan.json", "finished.jsonl"):
            (self.part / name).unlink()
        shutil.rmtree(self.old, ignore_errors=True)
        if self.target.exists():
            self.target.rename(self.old)
        self.part.rename(self.target)
        shutil.rmtree(self.old, ignore_errors=True)
        return Store.open(self.target)

    def _same_plan(self) -> bool:
        path = self.part / "plan.json"
        return path.is_file() and path.read_text(encoding="utf-8") == self.plan.text

    def _begin(self) -> None:
        ours = {"plan.json", "finished.jsonl", "manifest.json", "rows.npy", *(f"{name}.npy" for name in KINDS)}
        for path in self.part.iterdir():
            if path.name not in ours or path.is_dir():
                raise InputError(f"{path}: not a file of this program; move it away")
            path.unlink()
        np.save(self.part / "rows.npy", self.rows)
        for name, one in self.plan.fields.items():
            shape = (len(self.rows), *one.shape)
            np.lib.format.open_memmap(self.part / f"{name}.npy", mode="w+", dtype=np.dtype(one.dtype), shape=shape)
        # Last: with the plan on disk, everything else is.
        self.plan.save(self.part / "plan.json")

    def _resume(self) -> None:
        journal = self.part / "finished.jsonl"
        if not journal.is_file():
            return
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                told = json.loads(line)
                block, sums = told["block"], {name: told["checksums"][name] for name in self.plan.fields}
                whole = all(checksum(read_block(self.part / f"{name}.npy", block)) == sums[name] for name in sums)
            except (ValueError, LookupError, TypeError, InputError, RecursionError):
                continue  # the line that was being written when the process was killed, or arrays that are not whole
            if whole and block in range(self.blocks):
                self.finished[block] = sums
        # Rewritten, because a torn last line would swallow the next one.
        lines = [json.dumps({"block": block, "checksums": sums}) for block, sums in self.finished.items()]
        journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        log.info("%s: %d of %d blocks are already packed; going on", self.part, len(self.finished), self.blocks)


def write_block(part: Path, block: int, arrays: Mapping[str, np.ndarray]) -> Checksums:
    """Put one block of every array in its place under ``part``; called in worker processes.

    Raises:
        InputError: the disk is full.
    """
    sums = {}
    for name, array in arrays.items():
        path = part / f"{name}.npy"
        try:
            start = np.lib.format.open_memmap(path, mode="r").offset + block * BLOCK * array[0].nbytes
            _write_at(path, start, np.ascontiguousarray(array))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; free some disk space and pack again") from error
        sums[name] = checksum(array)
    return sums


def _write_at(path: Path, start: int, array: np.ndarray) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        left = array.tobytes()
        while left:
            left = left[file.write(left) :]
