"""From rows and a source of clouds to a packed store: worker processes, bounded memory, no half-written result."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ogreid.data.store.manifest import Manifest, Shard
from ogreid.data.datasets.sources import CloudSource
from ogreid.data.store.reading import Store
from ogreid.data.store.writing import StoreWriter, write_block
from ogreid.errors import InputError

__all__ = ["available_cores", "bytes_needed", "pack"]

Progress = Callable[[int, int], None]
Finished = tuple[int, dict[str, str]]


def pack(
    rows: np.ndarray,
    source: CloudSource,
    target: Path,
    *,
    name: str,
    benchmark: str,
    creation: dict[str, Any] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
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
        progress: told (rows done, rows).
        overwrite: replace a store that is already there.
        shard: noted in the manifest; see :func:`ogreid.data.store.sharding.shard_rows`.

    Raises:
        InputError: an unreadable crop, a body that cannot be lifted, too little disk; nothing half-written is left.
    """
    plan = Manifest(
        name=name,
        benchmark=benchmark,
        fields=source.fields,
        creation=creation or {},
        shard=shard,
        **source.settings,
    )
    with StoreWriter(target, plan, rows, overwrite=overwrite) as writer:
        pending = writer.pending()
        _check_disk(writer)
        done = len(rows) - sum(len(writer.of_block(block)) for block in pending)
        with closing(_packed_blocks(writer, source, pending, workers)) as finished:
            for block, checksums in finished:
                writer.record(block, checksums)
                done += len(writer.of_block(block))
                if progress is not None:
                    progress(done, len(rows))
        return writer.finish()


def bytes_needed(rows: int, source: CloudSource) -> int:
    """Bytes that a store of so many rows takes on disk, its small files left out."""
    settings = Manifest(name="", benchmark="", fields=source.fields, **source.settings)
    return rows * settings.row_bytes


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_disk(writer: StoreWriter) -> None:
    needed = len(writer.pending()) * len(writer.of_block(0)) * writer.plan.row_bytes
    free = shutil.disk_usage(writer.part).free
    if needed > free:
        raise InputError(f"{writer.target}: needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; use --to")


def _packed_blocks(writer: StoreWriter, source: CloudSource, pending: list[int], workers: int) -> Generator[Finished]:
    """Pack blocks here or in worker processes; yields each with its checksums as it is done."""
    jobs = ((source, writer.part, block, writer.of_block(block)["source"].tolist()) for block in pending)
    if workers <= 1 or len(pending) <= 1:
        for job in jobs:
            yield _pack_block(*job)
        return
    # Spawned, not forked: the caller may hold threads (torch, numba), and a fork would copy their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(pending)), context, _obey_parent) as pool:
        running: set[Future[Finished]] = set()
        try:
            for job in jobs:
                running.add(pool.submit(_pack_block, *job))
                if len(running) >= 2 * workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _obey_parent() -> None:
    """An interruption is the parent's to handle; and a worker whose parent was killed would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _pack_block(source: CloudSource, part: Path, block: int, crops: list[str]) -> Finished:
    return block, write_block(part, block, source.arrays(crops))
