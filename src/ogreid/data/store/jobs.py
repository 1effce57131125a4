"""What ``python -m ogreid.pack`` does with its command line: which rows, which source, which store."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.datasets.cuhk_mat import holds_mat, unpack_mat
from ogreid.data.datasets.obj import PublishedClouds, read_published
from ogreid.data.store.packing import available_cores, bytes_needed, pack
from ogreid.data.preview import export_ply, write_preview
from ogreid.data.datasets.readers import BENCHMARKS, benchmark_named, read_benchmark, rows_array
from ogreid.data.store.sharding import merge_shards, parse_shard, shard_path, shard_rows
from ogreid.data.datasets.sources import CloudSource, CropClouds, MeshSource, upright
from ogreid.data.store.reading import Store
from ogreid.data.datasets.synthetic_stores import EstimatedBodies, Synthetic, make_crops, parse_synthetic
from ogreid.errors import InputError
from ogreid.lifting import Mode

__all__ = ["packing_progress", "run_job"]

log = logging.getLogger(__name__)
Told = Callable[[str, int, int], None]
CUHK_KINDS = {"cuhk": "detected", "cuhk_labeled": "labeled"}


@dataclass(frozen=True)
class Job:
    """What is to be packed; the arguments of :func:`ogreid.data.store.packing.pack`."""

    benchmark: str
    rows: np.ndarray
    source: CloudSource
    creation: dict[str, Any] = field(default_factory=dict)


def run_job(asked: argparse.Namespace) -> None:
    """Do what the command line asks for; a store that is already packed is left as it is."""
    name = asked.store_name or (Path(asked.to).name if asked.to else asked.name)
    target = Path(asked.to) if asked.to else _data_root(asked) / name
    number, count = parse_shard(asked.shard) if asked.shard else (1, 1)
    place = shard_path(target, number, count) if asked.shard else target
    with packing_progress() as told:
        if (place / "manifest.json").is_file() and not asked.overwrite:
            store = Store.open(place)
            _check_same(asked, store)
            log.info("already packed: %r; --overwrite packs it again", store)
        elif asked.merge:
            store = merge_shards(target, progress=partial(told, f"{name}: merging"), overwrite=asked.overwrite)
            log.info("merged: %r; its shards are no longer needed", store)
        else:
            store = _pack(asked, _compose(asked, told), place, name, told)
            log.info("packed: %r", store)
        _look(asked, store, told)


def _check_same(asked: argparse.Namespace, store: Store) -> None:
    """Refuse to take a packed store for one of other settings."""
    packed = {"mode": store.manifest.mode, "dtype": store.manifest.fields["xyz"].dtype}
    for name, value in packed.items():
        wanted = getattr(asked, name)
        if wanted is not None and wanted != value:
            raise InputError(
                f"{store.path}: already packed with --{name} {value}, not {wanted};"
                " --overwrite packs it again, --name gives another store"
            )
    for name in asked.extra:
        if name not in store.fields:
            raise InputError(f"{store.path}: already packed without --extra {name}; --overwrite packs it again")


def _pack(asked: argparse.Namespace, job: Job, place: Path, name: str, told: Told) -> Store:
    rows, shard = job.rows, None
    if asked.shard:
        rows, shard = shard_rows(job.rows, *parse_shard(asked.shard))
        if not len(rows):
            raise InputError(f"--shard {asked.shard}: nothing is left for this shard; {len(job.rows)} rows need fewer")
    need = bytes_needed(len(rows), job.source) / 1e9
    log.info("%s: %d clouds, %.2f GB on disk, to %s", name, len(rows), need, place)
    return pack(
        rows,
        job.source,
        place,
        name=name,
        benchmark=job.benchmark,
        creation=job.creation,
        workers=_workers(asked),
        progress=partial(told, f"{name}: clouds"),
        overwrite=asked.overwrite,
        shard=shard,
    )


def _look(asked: argparse.Namespace, store: Store, told: Told) -> None:
    """``--verify``, ``--preview`` and ``--export-ply``."""
    if asked.verify:
        store.verify(partial(told, f"{store.name}: verifying"))
        log.info("verified: every checksum of %s is right", store.path)
    if asked.preview is not None:
        page = store.path.with_name(f"{store.path.name}-preview.html")
        log.info("preview: %s", write_preview(store, asked.preview, page))
    if asked.export_ply is not None:
        log.info("cloud: %s", export_ply(store, asked.export_ply, Path(f"{store.name}-{asked.export_ply}.ply")))


def _compose(asked: argparse.Namespace, told: Told) -> Job:
    if asked.published:
        return _published(asked)
    if not (asked.images or asked.root):
        synthetic = parse_synthetic(asked.name)
        if synthetic is not None:
            return _synthetic(asked, synthetic, told)
        if asked.name in BENCHMARKS and BENCHMARKS[asked.name].synthetic:
            raise InputError(f"{asked.name} is a synthetic domain; say how many people, like {asked.name}-160")
    return _crops(asked, told)


def _synthetic(asked: argparse.Namespace, synthetic: Synthetic, told: Told) -> Job:
    crops = make_crops(synthetic, _data_root(asked), workers=_workers(asked), progress=told)
    rows = rows_array(read_benchmark(synthetic.domain, crops))
    return Job(synthetic.domain, rows, _lifted(asked, crops, EstimatedBodies(crops)), synthetic.creation)


def _published(asked: argparse.Namespace) -> Job:
    rows = rows_array(read_published(asked.name, asked.published, allow_count_mismatch=asked.allow_count_mismatch))
    return Job(
        asked.name, rows, PublishedClouds(Path(asked.published), str(rows["source"][0]), asked.dtype or "float16")
    )


def _crops(asked: argparse.Namespace, told: Told) -> Job:
    if asked.images and asked.name in BENCHMARKS and asked.name != "folder":
        raise InputError(f"{asked.name} is a benchmark: give its folder with --root, or your own crops another name")
    benchmark = "folder" if asked.images else asked.name
    title = benchmark_named(benchmark).title
    root = asked.images or asked.root
    if root is None:
        raise InputError(f"where is {title}? give its folder: python -m ogreid.pack {asked.name} --root DIR")
    root = Path(root)
    if benchmark in CUHK_KINDS and holds_mat(root):
        crops = _data_root(asked) / f"{benchmark}-crops"
        root = unpack_mat(root, CUHK_KINDS[benchmark], crops, partial(told, f"{benchmark}: pictures"))
    rows = rows_array(read_benchmark(benchmark, root, allow_count_mismatch=asked.allow_count_mismatch))
    bodies: MeshSource = upright
    creation = {}
    if asked.meshes:
        bodies, creation = estimates_in(asked.meshes, root, asked.faces), {"bodies": "estimated"}
    else:
        log.info("%s: no --meshes; every crop is lifted with the built-in upright body", title)
    return Job(benchmark, rows, _lifted(asked, root, bodies), creation)


def _lifted(asked: argparse.Namespace, root: Path, bodies: MeshSource) -> CropClouds:
    mode: Mode = asked.mode or "raster"
    return CropClouds(root, bodies, mode, asked.background, asked.dtype or "float16", tuple(asked.extra))


def _workers(asked: argparse.Namespace) -> int:
    return asked.workers or available_cores()


def _data_root(asked: argparse.Namespace) -> Path:
    return Path(asked.data or os.environ.get("OGREID_DATA") or "data")


class _Rate(ProgressColumn):
    """Rows per second."""

    def render(self, task: Task) -> Text:
        """Empty until two steps are done."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")


@contextmanager
def packing_progress() -> Iterator[Told]:
    """A bar per thing that is made, with rate and time left, on standard error; yields ``told(what, done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bars: dict[str, TaskID] = {}
    progress = Progress(*columns, console=Console(stderr=True))

    def told(what: str, done: int, total: int) -> None:
        progress.start()  # not before: an early error has no empty bar above it
        if what not in bars:
            bars[what] = progress.add_task(what, total=total)
        progress.update(bars[what], completed=done, total=total)

    try:
        yield told
    finally:
        if bars:
            progress.stop()
