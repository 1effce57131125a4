"""One store packed in shares, on as many machines as there are, and joined to what one machine would have packed."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ogreid.data.store.manifest import BLOCK, Manifest, Shard, rows_checksum
from ogreid.data.store.reading import Store, read_block
from ogreid.data.store.writing import StoreWriter, write_block
from ogreid.errors import InputError

__all__ = ["merge_shards", "parse_shard", "shard_path", "shard_rows"]

log = logging.getLogger(__name__)


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` with 1 <= I <= N."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text}: expected I/N with I from 1 to N, like 3/8")
    return int(found[1]), int(found[2])


def shard_path(target: Path, number: int, count: int) -> Path:
    """Where a shard lies: beside the store that it will be part of."""
    return target.with_name(f"{target.name}.shard-{number}-of-{count}")


def shard_rows(rows: np.ndarray, number: int, count: int) -> tuple[np.ndarray, Shard]:
    """The rows of one shard, whole blocks of the store to be, and what its manifest says of them."""
    first, last = _span(len(rows), number, count)
    return rows[first:last], Shard(number, count, len(rows), rows_checksum(rows))


def merge_shards(target: Path, *, progress: Callable[[int, int], None] | None = None, overwrite: bool = False) -> Store:
    """Join the shards beside ``target`` into it, comparing every checksum on the way; the shards stay.

    Args:
        target: the store to be.
        progress: told (rows done, rows).
        overwrite: replace a store that is already there.

    Raises:
        InputError: a shard is missing, damaged, or was packed from other crops or with other settings.
    """
    shards = _open_shards(target)
    rows = np.concatenate([shard.rows.astype(shards[0].rows.dtype) for shard in shards])
    told = shards[0].manifest.shard
    assert told is not None
    if rows_checksum(rows) != told.rows_sha256:
        raise InputError(f"{target}: the shards' rows together are not those they were cut from; pack them again")
    first_rows = np.cumsum([0, *map(len, shards)])
    with StoreWriter(target, _settings(shards[0]), rows, overwrite=overwrite) as writer:
        for block in writer.pending():
            number = int(np.searchsorted(first_rows, block * BLOCK, side="right")) - 1
            _copy(shards[number], block - int(first_rows[number]) // BLOCK, writer, block)
            if progress is not None:
                progress(min((block + 1) * BLOCK, len(rows)), len(rows))
        return writer.finish()


def _span(rows: int, number: int, count: int) -> tuple[int, int]:
    blocks = -(-rows // BLOCK)
    first, last = ((number - 1) * blocks // count, number * blocks // count)
    return first * BLOCK, min(last * BLOCK, rows)


def _open_shards(target: Path) -> list[Store]:
    """All shards with rows, in their order."""
    found = [Store.open(path) for path in target.parent.glob(f"{target.name}.shard-*-of-*") if not _unfinished(path)]
    told = [store.manifest.shard for store in found if store.manifest.shard is not None]
    if not told:
        raise InputError(f"{target}: no finished shards beside it; make them with --shard I/N")
    if len({(one.count, one.rows, one.rows_sha256) for one in told}) > 1:
        raise InputError(f"{target}: its shards are of several packs; delete {target.name}.shard-* and pack them again")
    count, rows = told[0].count, told[0].rows
    by_number = {store.manifest.shard.number: store for store in found if store.manifest.shard is not None}
    wanted = [number for number in range(1, count + 1) if _span(rows, number, count)[0] < _span(rows, number, count)[1]]
    missing = [number for number in wanted if number not in by_number]
    if missing:
        names = ", ".join(f"{number}/{count}" for number in missing)
        raise InputError(f"{target}: shard {names} is not packed yet; run the same command with --shard")
    shards = [by_number[number] for number in wanted]
    for shard in shards[1:]:
        if _settings(shard) != _settings(shards[0]):
            raise InputError(f"{shard.path}: packed with other settings than {shards[0].path.name}; pack it again")
    return shards


def _unfinished(path: Path) -> bool:
    return path.name.endswith((".part", ".old", ".lock"))


def _settings(shard: Store) -> Manifest:
    """The manifest without what follows from the rows of this shard."""
    fields = {name: replace(one, checksums=()) for name, one in shard.manifest.fields.items()}
    plan = replace(shard.manifest, fields=fields, shard=None)
    return replace(plan, rows=0, identities={}, splits={}, cameras={}, rows_sha256="")


def _copy(shard: Store, own: int, writer: StoreWriter, block: int) -> None:
    arrays = {name: read_block(shard.path / f"{name}.npy", own) for name in shard.fields}
    sums = write_block(writer.part, block, arrays)
    for name, one in shard.manifest.fields.items():
        if sums[name] != one.checksums[own]:
            raise InputError(f"{shard.path / name}.npy: damaged since it was packed; pack shard {shard.path.name} again")
    writer.record(block, sums)
