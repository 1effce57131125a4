"""Packing: a store is written beside its place, block by block, and moved there when it is whole.

``<store>.part`` holds the arrays at their full size, ``plan.json`` (the manifest to be, without checksums) and
``finished.jsonl`` (one line per block that is on disk, with its checksums). A pack that was killed resumes from there
when its plan is the same; blocks whose checksum differs are written again. ``.<store>.lock`` is held from before the
first byte until the store is in its place, so that two packs of one store never mix.
"""

import json
import logging
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ogreid import files
from ogreid.config.workers import WorkerError, map_in_processes
from ogreid.data.store.manifest import BLOCK, KINDS, Manifest, Shard, count_rows
from ogreid.data.store.mapped import Store, checksum, read_block
from ogreid.errors import InputError

__all__ = ["CloudSource", "pack", "write_block", "write_store"]

log = logging.getLogger(__name__)
Checksums = dict[str, str]
Blocks = Callable[[Path, list[int]], Generator[tuple[int, Checksums]]]
"""Puts blocks on disk below a folder (:func:`write_block`) and yields each with its checksums."""


class CloudSource(Protocol):
    """Makes the clouds of crops; travels to worker processes by pickle."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the source decides of a manifest: mode, order, background, points, height, width and fields."""

    def cloud(self, source: str) -> dict[str, np.ndarray]:
        """The arrays of one crop, in the types of the fields."""


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
        shard: see :func:`ogreid.data.store.sharding.shard_rows`.

    Raises:
        InputError: as for :func:`write_store`; an unreadable crop, a body that cannot be lifted.
    """

    def blocks(part: Path, pending: list[int]) -> Generator[tuple[int, Checksums]]:
        jobs = ((block, rows["source"][block * BLOCK : (block + 1) * BLOCK].tolist()) for block in pending)
        return map_in_processes(partial(_pack_block, source, part), jobs, min(workers, len(pending)))

    plan = Manifest(name, benchmark, creation=creation or {}, shard=shard, **source.settings)
    return write_store(target, plan, rows, blocks, overwrite=overwrite, progress=progress)


def _pack_block(source: CloudSource, part: Path, job: tuple[int, list[str]]) -> tuple[int, Checksums]:
    block, crops = job
    clouds = [source.cloud(crop) for crop in crops]
    return block, write_block(part, block, {name: np.stack([cloud[name] for cloud in clouds]) for name in clouds[0]})


def write_store(
    target: Path,
    plan: Manifest,
    rows: np.ndarray,
    blocks: Blocks,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write a store whose blocks come from ``blocks``, or resume writing it.

    An error that the user has to put right removes ``<store>.part``; after an interruption, or the death of a worker
    process, it stays, and the same call resumes from it.

    Args:
        target: the store's folder.
        plan: the manifest; what follows from the rows is filled in here.
        rows: see :func:`ogreid.data.store.manifest.make_rows`.
        blocks: writes the blocks that are pending.
        overwrite: replace a store that is already there.
        progress: called with (rows done, rows).

    Raises:
        InputError: the target is something else than a store, another process packs it, too little disk.
    """
    if not len(rows):
        raise InputError(f"{target}: no rows to pack")
    plan, part = replace(plan, **count_rows(rows)), target.with_name(f"{target.name}.part")
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = files.try_lock(target.with_name(f".{target.name}.lock"))
            if lock is None:
                raise InputError(f"{target}: another process is packing this store; wait for it to finish")
            stack.callback(lock.release)
            finished = _prepare(target, part, plan, rows, overwrite)
            journal = stack.enter_context((part / "finished.jsonl").open("a", encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{part}: {error.strerror}; choose another folder with --data or --to") from error
        try:
            pending = [block for block in range(-(-len(rows) // BLOCK)) if block not in finished]
            needed = min(len(pending) * BLOCK, len(rows)) * sum(field.row_bytes for field in plan.fields.values()) / 1e9
            free = shutil.disk_usage(part).free / 1e9
            if needed > free:
                raise InputError(f"{target}: needs {needed:.1f} GB of disk, {free:.1f} GB are free; use --to")
            with closing(blocks(part, pending)) as results:
                for block, checksums in results:
                    journal.write(json.dumps({"block": block, "checksums": checksums}) + "\n")
                    journal.flush()
                    finished[block] = checksums
                    if progress is not None:
                        progress(min(len(finished) * BLOCK, len(rows)), len(rows))
        except InputError as error:
            if not isinstance(error, WorkerError):
                shutil.rmtree(part, ignore_errors=True)
            raise
        return _move(target, part, plan, finished)


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


def _prepare(target: Path, part: Path, plan: Manifest, rows: np.ndarray, overwrite: bool) -> dict[int, Checksums]:
    """Make ``part`` ready for blocks; the checksums of those that it has."""
    old = target.with_name(f"{target.name}.old")
    if old.is_dir() and not target.exists():
        old.rename(target)  # a replacement was killed between its two renames
    if target.exists() and not (target / "manifest.json").is_file():
        raise InputError(f"{target}: already there, and not a packed store; --to names another place")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: already packed; --overwrite packs it again, --to names another place")
    if part.is_symlink() or (part.exists() and not part.is_dir()):
        raise InputError(f"{part}: not a folder of this program; move it away")
    part.mkdir(exist_ok=True)
    if (part / "plan.json").is_file() and (part / "plan.json").read_text(encoding="utf-8") == plan.text:
        return _resume(part, plan)
    names = {"plan.json", "finished.jsonl", "manifest.json", "rows.npy", *(f"{name}.npy" for name in KINDS)}
    for path in part.iterdir():
        if path.name.removesuffix(".part") not in names or path.is_dir():
            raise InputError(f"{path}: not a file of this program; move it away")
        path.unlink()
    np.save(part / "rows.npy", rows)
    for name, field in plan.fields.items():
        shape = (len(rows), *field.shape)
        np.lib.format.open_memmap(part / f"{name}.npy", mode="w+", dtype=np.dtype(field.dtype), shape=shape)
    files.write_text(part / "plan.json", plan.text)  # last: with it on disk, everything else is
    return {}


def _resume(part: Path, plan: Manifest) -> dict[int, Checksums]:
    journal, finished = part / "finished.jsonl", {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else ():
        try:
            entry = json.loads(line)
            block, sums = entry["block"], {name: entry["checksums"][name] for name in plan.fields}
            whole = all(checksum(read_block(part / f"{name}.npy", block)) == sums[name] for name in sums)
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # the line that was being written when the process was killed, or arrays that are not whole
        if whole and block in range(-(-plan.rows // BLOCK)):
            finished[block] = sums
    # Rewritten, because a torn last line would swallow the next one.
    lines = [json.dumps({"block": block, "checksums": sums}) + "\n" for block, sums in finished.items()]
    files.write_text(journal, "".join(lines))
    log.info("%s: resumed, %d of %d rows are already packed", part, min(len(finished) * BLOCK, plan.rows), plan.rows)
    return finished


def _move(target: Path, part: Path, plan: Manifest, finished: Mapping[int, Checksums]) -> Store:
    """Write the manifest and move the store to its place."""
    fields = {
        name: replace(field, checksums=tuple(finished[block][name] for block in sorted(finished)))
        for name, field in plan.fields.items()
    }
    files.write_text(part / "manifest.json", replace(plan, fields=fields).text)
    for name in ("plan.json", "finished.jsonl"):
        (part / name).unlink()
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return Store.open(target)
