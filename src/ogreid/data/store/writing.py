"""Packing: a store is written beside its place, block by block, and moved there when it is whole.

``<store>.part`` holds the arrays at their full size, ``plan.json`` (the manifest to be, without checksums) and
``finished.jsonl`` (one line per block that is on disk, with its checksums). A pack that was killed resumes from there
when its plan is the same; blocks whose checksum differs are written again. ``.<store>.lock`` is held from before the
first byte until the store is in its place, so that two packs of one store never mix. A store may be packed in shards,
on as many machines as there are, which are merged to what one machine would have packed.
"""

import json
import logging
import re
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
from ogreid.data.store.manifest import BLOCK, KINDS, Manifest, Shard, count_rows, rows_checksum
from ogreid.data.store.mapped import Store, checksum, read_block
from ogreid.errors import InputError

log = logging.getLogger(__name__)
COUNTS = "clouds"
"""The entry of a manifest's creation with numbers of rows, which add up over shards."""
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
        shard: see :func:`shard_rows`.

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

    ``plan`` is the manifest, without what follows from the rows; ``blocks`` writes the blocks that are pending; the
    other arguments are those of :func:`pack`.

    Raises:
        InputError: the target is something else than a store, another process packs it, too little disk.
    """
    if not len(rows):
        raise InputError(f"{target}: no rows to pack")
    plan, part = replace(plan, **count_rows(rows)), target.with_name(f"{target.name}.part")
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if (lock := files.try_lock(target.with_name(f".{target.name}.lock"))) is None:
                raise InputError(f"{target}: another process is packing this store; wait for it to finish")
            stack.callback(lock.release)
            finished = _prepare(target, part, plan, rows, overwrite)
            journal = stack.enter_context((part / "finished.jsonl").open("a", encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{part}: {error.strerror}; choose another folder with --data or --to") from error
        try:
            pending = [block for block in range(-(-len(rows) // BLOCK)) if block not in finished]
            needed = min(len(pending) * BLOCK, len(rows)) * sum(field.row_bytes for field in plan.fields.values()) / 1e9
            if needed > (free := shutil.disk_usage(part).free / 1e9):
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
    sums = [finished[block] for block in sorted(finished)]
    fields = {name: replace(one, checksums=tuple(s[name] for s in sums)) for name, one in plan.fields.items()}
    files.write_text(part / "manifest.json", replace(plan, fields=fields).text)
    (part / "plan.json").unlink()
    (part / "finished.jsonl").unlink()
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return Store.open(target)


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` with 1 <= I <= N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard {text}: expected I/N with I from 1 to N, like 3/8")
    return int(match[1]), int(match[2])


def shard_path(target: Path, number: int, count: int) -> Path:
    """Where a shard lies: beside the store that it will be part of."""
    return target.with_name(f"{target.name}.shard-{number}-of-{count}")


def shard_rows(rows: np.ndarray, number: int, count: int) -> tuple[np.ndarray, Shard]:
    """The rows of one shard, whole blocks of the store to be, and what its manifest says of them."""
    return rows[_span(len(rows), number, count)], Shard(number, count, len(rows), rows_checksum(rows))


def merge_shards(target: Path, *, progress: Callable[[int, int], None] | None = None, overwrite: bool = False) -> Store:
    """Merge the shards beside ``target`` into it, comparing every checksum on the way; the shards stay.

    The arguments are those of :func:`pack`.

    Raises:
        InputError: a shard is missing, damaged, or was packed from other crops or with other settings.
    """
    shards, whole = _open_shards(target)
    parts = [shard.rows for shard in shards]
    alike = len({part.dtype.names for part in parts}) == 1
    if not alike or rows_checksum(rows := np.concatenate(parts)) != whole.rows_sha256:
        raise InputError(f"{target}: the shards' rows together are not those they were cut from; pack them again")
    blocks = [(shard, own) for shard in shards for own in range(-(-len(shard) // BLOCK))]

    def copied(part: Path, pending: list[int]) -> Generator[tuple[int, dict[str, str]]]:
        for block in pending:
            shard, own = blocks[block]
            arrays = {name: read_block(shard.path / f"{name}.npy", own) for name in shard.fields}
            sums = write_block(part, block, arrays)
            for name, field in shard.manifest.fields.items():
                if sums[name] != field.checksums[own]:
                    raise InputError(f"{shard.path / name}.npy: damaged since it was packed; pack this shard again")
            yield block, sums

    plan = _settings(shards[0])
    if counts := [shard.manifest.creation[COUNTS] for shard in shards if COUNTS in shard.manifest.creation]:
        if not all(isinstance(own, dict) and all(type(one) is int for one in own.values()) for own in counts):
            raise InputError(f"{target}: a shard's manifest counts no {COUNTS}; pack the shards again")
        plan.creation[COUNTS] = {name: sum(own.get(name, 0) for own in counts) for name in counts[0]}
    return write_store(target, plan, rows, copied, overwrite=overwrite, progress=progress)


def _span(rows: int, number: int, count: int) -> slice:
    blocks = -(-rows // BLOCK)
    return slice((number - 1) * blocks // count * BLOCK, min(number * blocks // count * BLOCK, rows))


def _open_shards(target: Path) -> tuple[list[Store], Shard]:
    """All shards that have rows, in their order, and what they say of the whole."""
    paths = [path for path in target.parent.glob(f"{target.name}.shard-*-of-*") if path.name[-1].isdigit()]
    stores = {store.manifest.shard: store for store in map(Store.open, paths)}
    shards = {shard.number: (shard, store) for shard, store in stores.items() if shard is not None}
    if not shards:
        raise InputError(f"{target}: no finished shards beside it; make them with --shard I/N")
    if len({(shard.count, shard.rows, shard.rows_sha256) for shard in stores if shard is not None}) > 1:
        raise InputError(f"{target}: its shards are of several packs; delete {target.name}.shard-* and pack them again")
    whole = next(iter(shards.values()))[0]
    expected = [n for n in range(1, whole.count + 1) if len(range(whole.rows)[_span(whole.rows, n, whole.count)])]
    missing = ", ".join(f"{n}/{whole.count}" for n in expected if n not in shards)
    if missing:
        raise InputError(f"{target}: shard {missing} is not packed yet; run the same command with --shard")
    ordered = [shards[n][1] for n in expected]
    for store in ordered[1:]:
        if _settings(store) != _settings(ordered[0]):
            raise InputError(f"{store.path}: packed with other settings than {ordered[0].path.name}; pack it again")
    return ordered, whole


def _settings(store: Store) -> Manifest:
    """The manifest without what follows from the rows."""
    fields = {name: replace(field, checksums=()) for name, field in store.manifest.fields.items()}
    creation = {name: value for name, value in store.manifest.creation.items() if name != COUNTS}
    plan = replace(store.manifest, fields=fields, shard=None, creation=creation)
    return replace(plan, rows=0, identities={}, splits={}, cameras={}, rows_sha256="")
