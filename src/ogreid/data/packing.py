"""What ``python -m ogreid.pack`` does with its arguments: which rows, which source of clouds, which store."""

import logging
from argparse import Namespace
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ogreid.config import data_root
from ogreid.config.bars import ProgressBars
from ogreid.config.workers import available_cores
from ogreid.data.datasets.bodies import EstimatorBodies, estimates_in
from ogreid.data.datasets.cuhk_mat import find_mat, unpack_mat
from ogreid.data.datasets.fitted_bodies import FittedBodies, counts_in_words, fit_crops, landmark_source
from ogreid.data.datasets.layouts import Row, name_rule
from ogreid.data.datasets.obj import PublishedClouds, read_published
from ogreid.data.datasets.readers import benchmark_named, read_benchmark, rows_array
from ogreid.data.datasets.sources import CropClouds, MeshSource, upright
from ogreid.data.datasets.synthetic_stores import EstimatedBodies, parse_synthetic
from ogreid.data.preview import export_ply, write_preview
from ogreid.data.store.mapped import Store
from ogreid.data.store.writing import COUNTS, CloudSource, merge_shards, pack, parse_shard, shard_path, shard_rows
from ogreid.errors import InputError
from ogreid.lifting.landmarks import MODEL_FILE
from ogreid.registry import DATASETS

log = logging.getLogger(__name__)
CUHK_KINDS = {"cuhk": "detected", "cuhk_labeled": "labeled"}

_Job = tuple[str, np.ndarray, CloudSource, dict[str, Any]]
"""Data set, rows, source of their clouds, and how to make them again."""


def run_pack(args: Namespace) -> Store:
    """Pack, merge, verify and show a store; one that is already packed is left as it is.

    Args:
        args: of ``ogreid.pack``.

    Raises:
        InputError: arguments that do not go together, data that cannot be read.
    """
    name = args.store_name or (Path(args.to).name if args.to else args.name)
    target = Path(args.to) if args.to else data_root(args.data) / name
    place = shard_path(target, *parse_shard(args.shard)) if args.shard else target
    workers = args.workers or available_cores()
    with closing(ProgressBars()) as bars:
        if (place / "manifest.json").is_file() and not args.overwrite:
            store = Store.open(place)
            _check_settings(args, store)
            log.info("already packed: %r; --overwrite packs it again", store)
        elif args.merge:
            store = merge_shards(target, progress=partial(bars, f"{name}: merging"), overwrite=args.overwrite)
            log.info("merged: %r; its shards are no longer needed", store)
        else:
            store = _pack(args, place, name, workers, bars)
            log.info("packed: %r", store)
        if args.verify:
            store.verify(partial(bars, f"{name}: verifying"))
            log.info("verified: every checksum of %s is right", store.path)
    if args.preview is not None:
        page = store.path.with_name(f"{store.path.name}-preview.html")
        log.info("preview: %s", write_preview(store, args.preview, page))
    if args.export_ply is not None:
        log.info("cloud: %s", export_ply(store, args.export_ply, Path(f"{store.name}-{args.export_ply}.ply")))
    return store


def _check_settings(args: Namespace, store: Store) -> None:
    packed = {"mode": store.manifest.mode, "dtype": store.manifest.fields["xyz"].dtype}
    for option, value in packed.items():
        if (requested := getattr(args, option)) not in (None, value):
            advice = "--overwrite packs it again, --name gives another store"
            raise InputError(f"{store.path}: already packed with --{option} {value}, not {requested}; {advice}")
    if args.bodies and "fit" not in store.manifest.creation:
        raise InputError(f"{store.path}: already packed without fitted bodies; --overwrite packs it again")
    if args.pattern and "(?P<tracklet>" in args.pattern and not store.has_tracklets:
        raise InputError(f"{store.path}: already packed without tracklets; --overwrite packs it again")
    for extra in set(args.extra) - set(store.fields):
        raise InputError(f"{store.path}: already packed without --extra {extra}; --overwrite packs it again")


def _pack(args: Namespace, place: Path, name: str, workers: int, bars: ProgressBars) -> Store:
    benchmark, rows, source, creation = _job(args, place, workers, bars)
    whole, shard = len(rows), None
    if args.shard:
        rows, shard = shard_rows(rows, *parse_shard(args.shard))
        if not len(rows):
            raise InputError(f"--shard {args.shard}: nothing is left for this shard; {whole} rows need fewer")
    size = len(rows) * sum(field.row_bytes for field in source.settings["fields"].values()) / 1e9
    log.info("%s: %d clouds, %.2f GB on disk, to %s", name, len(rows), size, place)
    noted: dict[str, Any] = {"name": name, "benchmark": benchmark, "creation": creation, "shard": shard}
    progress = partial(bars, f"{name}: clouds")
    return pack(rows, source, place, **noted, workers=workers, progress=progress, overwrite=args.overwrite)


def _job(args: Namespace, place: Path, workers: int, bars: ProgressBars) -> _Job:
    name, root = args.name, args.images or args.root
    if args.published and args.bodies:
        raise InputError("--bodies and --published: published clouds have their bodies; expected one of them")
    if args.published:
        rows = rows_array(read_published(name, args.published, allow_count_mismatch=args.allow_count_mismatch))
        first = str(rows["source"][0])
        return name, rows, PublishedClouds(Path(args.published), first, args.dtype or "float16"), {}
    if not root and (synthetic := parse_synthetic(name)) is not None:
        crops = synthetic.make_crops(data_root(args.data), workers=workers, progress=bars)
        rows = rows_array(read_benchmark(synthetic.domain, crops))
        if args.bodies:
            lifting, creation = _fitted(args, crops, rows, place, workers, bars)
            return synthetic.domain, rows, lifting, synthetic.creation | creation
        return synthetic.domain, rows, _lifting(args, crops, EstimatedBodies(crops)), synthetic.creation
    if args.images and name in DATASETS and name != "folder":
        raise InputError(f"{name} is a benchmark: give its folder with --root, or your own crops another name")
    benchmark = "folder" if args.images else name
    title = benchmark_named(benchmark).title
    if not root:
        if benchmark_named(benchmark).synthetic:
            raise InputError(f"{name} is a synthetic domain; append the number of identities, like {name}-160")
        raise InputError(f"where is {title}? give its folder: python -m ogreid.pack {name} --root DIR")
    root = Path(root)
    if benchmark in CUHK_KINDS and find_mat(root):
        crops = data_root(args.data) / f"{benchmark}-crops"
        root = unpack_mat(root, CUHK_KINDS[benchmark], crops, partial(bars, f"{benchmark}: crops"))
    rows = rows_array(_read(args, benchmark, root))
    if args.meshes:
        bodies, creation = estimates_in(args.meshes, root, args.faces, args.missing), {"bodies": "estimated"}
        return benchmark, rows, _lifting(args, root, bodies), creation | _upright(args, bodies, rows["source"])
    if args.bodies:
        return benchmark, rows, *_fitted(args, root, rows, place, workers, bars)
    log.info("%s: no --meshes, no --bodies; every crop is lifted with the built-in upright body", title)
    return benchmark, rows, _lifting(args, root, upright), {}


def _read(args: Namespace, benchmark: str, root: Path) -> list[Row]:
    rule = name_rule(args.pattern) if args.pattern else None
    return read_benchmark(benchmark, root, allow_count_mismatch=args.allow_count_mismatch, rule=rule)


def log_names(args: Namespace) -> None:
    """Log what the names of up to ten images of a folder are taken for, spread over all; nothing is packed.

    Raises:
        InputError: as packing would.
    """
    rows = _read(args, "folder", Path(args.images))
    for row in rows[:: -(-len(rows) // 10)]:
        numbers = {name: getattr(row, name) for name in ("identity", "camera", "tracklet")}
        words = ", ".join(f"{name} {number}" for name, number in numbers.items() if number is not None)
        log.info("%s: %s, %s", row.path, words, row.split)
    people, cameras = ({getattr(row, name) for row in rows} for name in ("identity", "camera"))
    tracklets = {(row.identity, row.camera, row.tracklet) for row in rows if row.tracklet is not None}
    counted = f", {len(tracklets)} tracklets" if tracklets else ""
    log.info("%d rows, %d identities, %d cameras%s; nothing was packed", len(rows), len(people), len(cameras), counted)


def _fitted(
    args: Namespace, root: Path, rows: np.ndarray, place: Path, workers: int, bars: ProgressBars
) -> tuple[CropClouds, dict[str, Any]]:
    """The crops with bodies fitted to their landmarks, and what the manifest says of them.

    The person's mask is stored as ``foreground``, where it is known.
    """
    if args.shard:
        rows = shard_rows(rows, *parse_shard(args.shard))[0]
    if args.bodies == "estimate":
        landmarks = landmark_source(args.landmarks, args.pose_model or data_root(args.data) / MODEL_FILE)
        folder = place.with_name(f"{place.name}-bodies")
        progress = partial(bars, f"{place.name}: bodies")
        noted: dict[str, Any] = {"workers": workers, "progress": progress, "folder": folder}
        bodies = fit_crops(rows["source"].tolist(), root, landmarks, **noted, overwrite=args.overwrite)
    else:
        bodies = FittedBodies.load(Path(args.bodies))
    counts = bodies.counts(rows["source"].tolist())
    log.info("%s: %s (%s)", place.name, counts_in_words(counts), bodies.path)
    lifting = _lifting(args, root, bodies)
    if bodies.has_masks and lifting.mode == "raster":
        extras = tuple(dict.fromkeys((*lifting.extras, "foreground")))
        lifting = replace(lifting, extras=extras, mask_of=bodies.mask)
    settings = {name: value for name, value in bodies.settings.items() if name != "names"}
    return lifting, {"bodies": "fitted", "fit": settings, COUNTS: counts}


def _upright(args: Namespace, bodies: EstimatorBodies, sources: np.ndarray) -> dict[str, Any]:
    """How many crops of the whole data set have no body of their own, where such crops are not refused."""
    if args.missing == "error":
        return {}
    count = sum(bodies.lacks_body(source) for source in sources.tolist())
    if count == len(sources):
        raise InputError(f"{args.meshes}: no body of any of the {count} crops of {args.name}; is this its folder?")
    log.info("%s: %d of %d crops have no body and are lifted with the upright one", args.name, count, len(sources))
    return {"upright": count}


def _lifting(args: Namespace, root: Path, bodies: MeshSource) -> CropClouds:
    return CropClouds(root, bodies, args.mode or "raster", args.background, args.dtype or "float16", tuple(args.extra))
