"""Writing a store beside its place, block by block, and moving it there when it is whole.

``<store>.part`` holds the arrays at their full size, ``plan.json`` (the manifest to be, without checksums) and
``finished.jsonl`` (one line per block that is on disk, with its checksums). A pack that was killed goes on from there
when its plan is the same; blocks whose checksum differs are written again.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from ogreid.data.manifest import BLOCK, Manifest, counted
from ogreid.data.store import Store, checksum, read_block
from ogreid.errors import UserError

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
        rows: see :func:`ogreid.data.manifest.make_rows`.
        overwrite: replace a store that is already there.

    Raises:
        UserError: the target is something else than a store, or another process packs it.
    """

    def __init__(self, target: Path, plan: Manifest, rows: np.ndarray, *, overwrite: bool = False) -> None:
        if not len(rows):
            raise UserError(f"{target}: no rows to pack")
        if target.exists() and not (target / "manifest.json").is_file():
            raise UserError(f"{target}: already there, and not a packed store; --to names another place")
        if target.exists() and not overwrite:
            raise UserError(f"{target}: already packed; --overwrite packs it again, --to names another place")
        self.target, self.rows = target, rows
        self.plan = replace(plan, **counted(rows))
        self.part = target.with_name(f"{target.name}.part")
        self.finished: dict[int, Checksums] = {}
        self._lock: IO[bytes] | None = None
        self._journal: IO[str] | None = None

    @property
    def blocks(self) -> int:
        """How many blocks the rows make."""
        return -(-len(self.rows) // BLOCK)

    def __enter__(self) -> "StoreWriter":
        self.part.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.part / "lock")
        self._resume() if self._same_plan() else self._begin()
        self._journal = (self.part / "finished.jsonl").open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in (self._journal, self._lock):
            if opened is not None:
                opened.close()
        if isinstance(error, UserError):
            shutil.rmtree(self.part, ignore_errors=True)

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
        for name in ("plan.json", "finished.jsonl", "lock"):
            (self.part / name).unlink()
        old = self.target.with_name(f"{self.target.name}.old")
        if self.target.exists():
            self.target.rename(old)
        self.part.rename(self.target)
        shutil.rmtree(old, ignore_errors=True)
        return Store.open(self.target)

    def _same_plan(self) -> bool:
        path = self.part / "plan.json"
        return path.is_file() and path.read_text(encoding="utf-8") == self.plan.text

    def _begin(self) -> None:
        for path in self.part.iterdir():
            if path.name != "lock":
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
            except ValueError:
                continue  # the line that was being written when the process was killed
            block, sums = told["block"], told["checksums"]
            if all(checksum(read_block(self.part / f"{name}.npy", block)) == sums[name] for name in self.plan.fields):
                self.finished[block] = sums
        # Rewritten, because a torn last line would swallow the next one.
        lines = [json.dumps({"block": block, "checksums": sums}) for block, sums in self.finished.items()]
        journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        log.info("%s: %d of %d blocks are already packed; going on", self.part, len(self.finished), self.blocks)


def write_block(part: Path, block: int, arrays: Mapping[str, np.ndarray]) -> Checksums:
    """Put one block of every array in its place under ``part``; called in worker processes.

    Raises:
        UserError: the disk is full.
    """
    sums = {}
    for name, array in arrays.items():
        path = part / f"{name}.npy"
        start = np.load(path, mmap_mode="r").offset + block * BLOCK * array[0].nbytes
        try:
            _write_at(path, start, np.ascontiguousarray(array))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; free some disk space and pack again") from error
        sums[name] = checksum(array)
    return sums


def _write_at(path: Path, start: int, array: np.ndarray) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        left = array.tobytes()
        while left:
            left = left[file.write(left) :]


def _lock(path: Path) -> IO[bytes]:
    """Hold ``path`` as long as the returned file is open, so that two processes never pack one store."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UserError(f"{path.parent}: another process is packing this store; wait for it to finish") from error
    file.write(f"{os.getpid()}\n".encode())
    return file
