"""What ``python -m ogreid.pack`` does with its command line: which rows, which source, which store."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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

from ogreid.data.bodies import estimates_in
from ogreid.data.obj import PublishedClouds, read_published
from ogreid.data.packing import available_cores, bytes_needed, pack
from ogreid.data.readers import BENCHMARKS, benchmark_named, read_benchmark, rows_array
from ogreid.data.sources import CloudSource, CropClouds, MeshSource, upright
from ogreid.data.store import Store
from ogreid.data.synthetic import EstimatedBodies, make_synthetic, parse_synthetic
from ogreid.errors import UserError

__all__ = ["packing_progress", "run_job"]

log = logging.getLogger(__name__)
Told = Callable[[str, int, int], None]


def run_job(asked: argparse.Namespace) -> None:
    """Pack what the command line asks for; a store that is already packed is left as it is."""
    name = asked.store_name or (Path(asked.to).name if asked.to else asked.name)
    target = Path(asked.to) if asked.to else _data_root(asked) / name
    if (target / "manifest.json").is_file() and not asked.overwrite:
        log.info("already packed: %r; --overwrite packs it again", Store.open(target))
        return
    with packing_progress() as told:
        if parse_synthetic(asked.name) is not None and not (asked.images or asked.root or asked.published):
            _pack_synthetic(asked, target, told)
        elif asked.published:
            _pack_published(asked, target, name, told)
        else:
            _pack_crops(asked, target, name, told)
    log.info("packed: %r", Store.open(target))


def _pack_synthetic(asked: argparse.Namespace, target: Path, told: Told) -> None:
    synthetic = parse_synthetic(asked.name)
    assert synthetic is not None
    crops = _data_root(asked) / "synthetic" / synthetic.name
    make_synthetic(
        synthetic,
        target,
        crops,
        source=lambda root: _crop_source(asked, root, EstimatedBodies(root)),
        workers=_workers(asked),
        progress=told,
        overwrite=asked.overwrite,
    )


def _pack_crops(asked: argparse.Namespace, target: Path, name: str, told: Told) -> None:
    if asked.images and asked.name in BENCHMARKS and asked.name != "folder":
        raise UserError(f"{asked.name} is a benchmark: give its folder with --root, or your own crops another name")
    benchmark = "folder" if asked.images else asked.name
    title = benchmark_named(benchmark).title
    root = asked.images or asked.root
    if root is None:
        raise UserError(f"where is {title}? give its folder: python -m ogreid.pack {asked.name} --root DIR")
    rows = rows_array(read_benchmark(benchmark, root, allow_count_mismatch=asked.allow_count_mismatch))
    bodies: MeshSource = upright
    if asked.meshes:
        bodies = estimates_in(asked.meshes, Path(root), asked.faces)
    else:
        log.info("%s: no --meshes; every crop is lifted with the built-in upright body", title)
    _pack(asked, rows, _crop_source(asked, Path(root), bodies), target, name, benchmark, told)


def _pack_published(asked: argparse.Namespace, target: Path, name: str, told: Told) -> None:
    rows = rows_array(read_published(asked.name, asked.published, allow_count_mismatch=asked.allow_count_mismatch))
    source = PublishedClouds(Path(asked.published), str(rows["source"][0]), asked.dtype)
    _pack(asked, rows, source, target, name, asked.name, told)


def _pack(
    asked: argparse.Namespace,
    rows: np.ndarray,
    source: CloudSource,
    target: Path,
    name: str,
    benchmark: str,
    told: Told,
) -> None:
    log.info("%s: %d clouds, %.2f GB on disk, to %s", name, len(rows), bytes_needed(len(rows), source) / 1e9, target)
    pack(
        rows,
        source,
        target,
        name=name,
        benchmark=benchmark,
        workers=_workers(asked),
        progress=lambda done, total: told(name, done, total),
        overwrite=asked.overwrite,
    )


def _crop_source(asked: argparse.Namespace, root: Path, mesh_of: MeshSource) -> CropClouds:
    return CropClouds(root, mesh_of, asked.mode, asked.background, asked.dtype, tuple(asked.extra))


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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
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
