"""Packing: a store is written beside its place, block by block, and moved there when it is whole.

``<store>.part`` holds the arrays at their full size, ``plan.json`` (the manifest to be, without checksums) and
``finished.jsonl`` (one line per block that is on disk, with its checksums). A pack that was killed resumes from there
when its plan is the same; blocks whose checksum differs are written again. ``.<store>.lock`` is held from before the
first byte until the store is in its place, so that two packs of one store never mix.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from ogreid import files
from ogreid.config.workers import WorkerError, map_in_processes
from ogreid.data.store.manifest import BLOCK, KINDS, Field, Manifest, Shard, count_rows
from ogreid.data.store.reading import Store, checksum, read_block
from ogreid.errors import InputError

__all__ = ["CloudSource", "StoreWriter", "pack", "write_block"]

log = logging.getLogger(__name__)
Checksums = dict[str, str]


class CloudSource(Protocol):
    """Makes the clouds of crops; travels to worker processes by pickle."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the manifest that the source decides: mode, order, background, points, height, width."""

    @property
    def fields(self) -> dict[str, Field]:
        """The arrays, ``xyz`` and ``rgb`` among them."""

    def arrays(self, sources: list[str]) -> dict[str, np.ndarray]:
        """The arrays of these crops, each (len(sources), *shape)."""


def pack(
    rows: np.ndarray,
    source: CloudSource,
    target: Path,
    *,
    name: str,
    benchmark: str,
    creation: dict[str, Any] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> Store:
    """Pack the clouds of all rows into ``target``.

    The bytes depend on the rows and the source only, not on the workers, the time or an interruption.

    Args:
        rows: see :func:`ogreid.data.store.manifest.make_rows`.
        source: makes the clouds.
        target: the store's folder.
        name: of the store.
        benchmark: whose layout the rows come from.
        creation: noted in the manifest.
        workers: processes; 1 works in this one.
        progress: called with (rows done, rows).
        overwrite: replace a store that is already there.
        shard: noted in the manifest; see :func:`ogreid.data.store.sharding.shard_rows`.

    Raises:
        InputError: an unreadable crop, a body that cannot be lifted, too little disk; nothing half-written is left.
    """
    plan = Manifest(name, benchmark, fields=source.fields, creation=creation or {}, shard=shard, **source.settings)
    with StoreWriter(target, plan, rows, overwrite=overwrite) as writer:
        pending = writer.pending()
        needed = len(pending) * len(writer.of_block(0)) * sum(field.row_bytes for field in plan.fields.values())
        free = shutil.disk_usage(writer.part).free
        if needed > free:
            raise InputError(f"{target}: needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; use --to")
        done = len(rows) - sum(len(writer.of_block(block)) for block in pending)
        jobs = ((block, writer.of_block(block)["source"].tolist()) for block in pending)
        work = partial(_pack_block, source, writer.part)
        with closing(map_in_processes(work, jobs, min(workers, len(pending)))) as results:
            for block, checksums in results:
                writer.record(block, checksums)
                done += len(writer.of_block(block))
                if progress is not None:
                    progress(done, len(rows))
        return writer.finish()


class StoreWriter:
    """Writes one store; a context manager.

    Leaving it with an error that the user has to put right removes ``<store>.part``; after an interruption, or the
    death of a worker process, it stays, and the same command resumes from it.

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
        self.target, self.rows, self.overwrite = target, rows, overwrite
        self.plan = replace(plan, **count_rows(rows))
        self.blocks = -(-len(rows) // BLOCK)
        self.part, self.old = (target.with_name(f"{target.name}.{end}") for end in ("part", "old"))
        self.finished: dict[int, Checksums] = {}
        self._check_target()

    def __enter__(self) -> "StoreWriter":
        with ExitStack() as stack:
            try:
                self.target.parent.mkdir(parents=True, exist_ok=True)
                lock = files.try_lock(self.target.with_name(f".{self.target.name}.lock"))
                if lock is None:
                    raise InputError(f"{self.target}: another process is packing this store; wait for it to finish")
                stack.callback(lock.release)
                self._begin_or_resume()
                self._journal = stack.enter_context((self.part / "finished.jsonl").open("a", encoding="utf-8"))
            except OSError as error:
                raise InputError(f"{self.part}: {error.strerror}; choose another folder with --data or --to") from error
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InputError) and not isinstance(error, WorkerError):
            shutil.rmtree(self.part, ignore_errors=True)
        self._open.close()

    def pending(self) -> list[int]:
        """Blocks that are not on disk yet, ascending."""
        return [block for block in range(self.blocks) if block not in self.finished]

    def of_block(self, block: int) -> np.ndarray:
        """The rows of a block."""
        return self.rows[block * BLOCK : (block + 1) * BLOCK]

    def record(self, block: int, checksums: Checksums) -> None:
        """Note that :func:`write_block` has put a block on disk."""
        self._journal.write(json.dumps({"block": block, "checksums": checksums}) + "\n")
        self._journal.flush()
        self.finished[block] = checksums

    def finish(self) -> Store:
        """Write the manifest and move the store to its place; all blocks must be on disk."""
        assert not self.pending(), f"{len(self.pending())} blocks are missing"
        fields = {
            name: replace(field, checksums=tuple(self.finished[block][name] for block in range(self.blocks)))
            for name, field in self.plan.fields.items()
        }
        files.write_text(self.part / "manifest.json", replace(self.plan, fields=fields).text)
        for name in ("plan.json", "finished.jsonl"):
            (self.part / name).unlink()
        shutil.rmtree(self.old, ignore_errors=True)
        if self.target.exists():
            self.target.rename(self.old)
        self.part.rename(self.target)
        shutil.rmtree(self.old, ignore_errors=True)
        return Store.open(self.target)

    def _check_target(self) -> None:
        if self.target.exists() and not (self.target / "manifest.json").is_file():
            raise InputError(f"{self.target}: already there, and not a packed store; --to names another place")
        if self.target.exists() and not self.overwrite:
            raise InputError(f"{self.target}: already packed; --overwrite packs it again, --to names another place")

    def _begin_or_resume(self) -> None:
        """With the lock acquired, which another process may just have released: everything is checked again."""
        if self.old.is_dir() and not self.target.exists():
            self.old.rename(self.target)  # a replacement was killed between its two renames
        self._check_target()
        if self.part.is_symlink() or (self.part.exists() and not self.part.is_dir()):
            raise InputError(f"{self.part}: not a folder of this program; move it away")
        self.part.mkdir(exist_ok=True)
        plan = self.part / "plan.json"
        if plan.is_file() and plan.read_text(encoding="utf-8") == self.plan.text:
            self._resume()
        else:
            self._begin()

    def _begin(self) -> None:
        names = {"plan.json", "finished.jsonl", "manifest.json", "rows.npy", *(f"{name}.npy" for name in KINDS)}
        for path in self.part.iterdir():
            if path.name.removesuffix(".part") not in names or path.is_dir():
                raise InputError(f"{path}: not a file of this program; move it away")
            path.unlink()
        np.save(self.part / "rows.npy", self.rows)
        for name, field in self.plan.fields.items():
            shape = (len(self.rows), *field.shape)
            np.lib.format.open_memmap(self.part / f"{name}.npy", mode="w+", dtype=np.dtype(field.dtype), shape=shape)
        files.write_text(self.part / "plan.json", self.plan.text)  # last: with it on disk, everything else is

    def _resume(self) -> None:
        journal = self.part / "finished.jsonl"
        for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else ():
            try:
                entry = json.loads(line)
                block, sums = entry["block"], {name: entry["checksums"][name] for name in self.plan.fields}
                whole = all(checksum(read_block(self.part / f"{name}.npy", block)) == sums[name] for name in sums)
            except (ValueError, LookupError, TypeError, RecursionError):
                continue  # the line that was being written when the process was killed, or arrays that are not whole
            if whole and block in range(self.blocks):
                self.finished[block] = sums
        # Rewritten, because a torn last line would swallow the next one.
        lines = [json.dumps({"block": block, "checksums": sums}) + "\n" for block, sums in self.finished.items()]
        files.write_text(journal, "".join(lines))
        log.info("%s: resumed, %d of %d blocks are already packed", self.part, len(self.finished), self.blocks)


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
            with path.open("r+b") as file:
                file.seek(start)
                file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; free some disk space and pack again") from error
        sums[name] = checksum(array)
    return sums


def _pack_block(source: CloudSource, part: Path, job: tuple[int, list[str]]) -> tuple[int, dict[str, str]]:
    block, crops = job
    return block, write_block(part, block, source.arrays(crops))
