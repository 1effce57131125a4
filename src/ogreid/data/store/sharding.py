"""One store packed in shards, on as many machines as there are, and merged to what one machine would have packed."""

import re
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ogreid.data.store.manifest import BLOCK, Manifest, Shard, rows_checksum
from ogreid.data.store.mapped import Store, read_block
from ogreid.data.store.writing import write_block, write_store
from ogreid.errors import InputError

__all__ = ["merge_shards", "parse_shard", "shard_path", "shard_rows"]


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

    Args:
        target: the store to be.
        progress: called with (rows done, rows).
        overwrite: replace a store that is already there.

    Raises:
        InputError: a shard is missing, damaged, or was packed from other crops or with other settings.
    """
    shards, whole = _open_shards(target)
    rows = np.concatenate([shard.rows.astype(shards[0].rows.dtype) for shard in shards])
    if rows_checksum(rows) != whole.rows_sha256:
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

    return write_store(target, _settings(shards[0]), rows, copied, overwrite=overwrite, progress=progress)


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
    plan = replace(store.manifest, fields=fields, shard=None)
    return replace(plan, rows=0, identities={}, splits={}, cameras={}, rows_sha256="")
