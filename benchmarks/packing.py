"""Packing and loading rates, disk and memory, beside reading the published ``.obj`` files in every epoch.

python benchmarks/packing.py [--rows 1024] [--workers 2]
python benchmarks/packing.py --rows 126441      # MSMT17's size: 9.3 GB of disk

The crops are noise with Market-1501's file names, lifted in raster mode with the built-in body: the content does not
matter here. Loading draws batches of 36 clouds in random order.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ogreid.config.workers import available_cores
from ogreid.data import Store
from ogreid.data.datasets.obj import read_obj
from ogreid.data.datasets.sources import CropClouds
from ogreid.data.store.manifest import make_rows
from ogreid.data.store.writing import pack

BATCH = 36
CROPS = 256  # different images; more rows read them again


def write_crops(folder):
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(CROPS):
        blocks = noise.integers(0, 256, (32, 16, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((64, 128), Image.Resampling.BILINEAR)
        image.save(folder / f"{i + 1:04d}_c1s1_000001_00.jpg", quality=90)


def write_objs(store, folder, count):
    folder.mkdir()
    for row in range(count):
        xyz, rgb = store.clouds([row])
        points = np.concatenate([xyz[0], rgb[0]], axis=1)
        lines = ["v " + " ".join(f"{value:.6f}" for value in point) for point in points.tolist()]
        (folder / f"{row}.obj").write_text("\n".join([*lines, "f 1 2 3", ""]))


def line_by_line(path):
    points = []
    with path.open() as lines:
        for line in lines:
            if line.startswith("v "):
                points.append([float(word) for word in line.split()[1:]])
    return np.array(points, dtype=np.float32)


def clouds_per_second(read, rows, seconds=3.0):
    """Per wall second; ``read`` takes row numbers."""
    order = np.random.default_rng(1)
    read(order.integers(0, rows, BATCH))
    start, clouds = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        read(order.integers(0, rows, BATCH))
        clouds += BATCH
    return clouds / (time.perf_counter() - start)


def evict(store):
    """Drop the store's pages from the system's cache, as after a restart; Linux only."""
    for path in store.path.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold_clouds_per_second(store, rows):
    """Each batch of random rows once, from the disk."""
    order = np.random.default_rng(2).permutation(rows)[: 20 * BATCH]
    evict(store)
    start = time.perf_counter()
    for first in range(0, len(order), BATCH):
        store.raw(order[first : first + BATCH])
    return len(order) / (time.perf_counter() - start)


def cpu_seconds():
    """Of this process and of the workers that have ended."""
    return sum(os.times()[:4])


def peak_megabytes(who):
    return resource.getrusage(who).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=min(2, available_cores()))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_crops(root / "crops")
        names = [f"{i % CROPS + 1:04d}_c1s1_000001_00.jpg" for i in range(args.rows)]
        rows = make_rows(["train"] * args.rows, [1] * args.rows, [1] * args.rows, names)
        for workers in sorted({1, args.workers}):
            start, used = time.perf_counter(), cpu_seconds()
            target = root / f"workers-{workers}"
            store = pack(rows, CropClouds(root / "crops"), target, name="noise", benchmark="market", workers=workers)
            taken, used = time.perf_counter() - start, cpu_seconds() - used
            print(f"packing, {workers} worker(s): {args.rows / taken:6.0f} crops/s, {args.rows / used:5.0f} per CPU s")
            if args.rows > 20_000:
                break
        print(f"peak memory, this process: {peak_megabytes(resource.RUSAGE_SELF):6.0f} MB resident")
        print(f"peak memory, one worker:   {peak_megabytes(resource.RUSAGE_CHILDREN):6.0f} MB resident")
        per_cloud = sum(path.stat().st_size for path in store.path.iterdir()) / args.rows
        write_objs(store, root / "objs", min(64, args.rows))
        objs = sorted((root / "objs").iterdir())
        print(f"disk: {per_cloud / 1e3:.1f} kB per packed cloud, {objs[0].stat().st_size / 1e3:.1f} kB per .obj")
        reopened = Store.open(store.path)
        forms = {
            "store, as stored": lambda indices: reopened.raw(indices),
            "store, as float32": lambda indices: reopened.clouds(indices),
            ".obj, ogreid's reader": lambda indices: [read_obj(objs[i % len(objs)]) for i in indices],
            ".obj, line by line": lambda indices: [line_by_line(objs[i % len(objs)]) for i in indices],
        }
        cold = cold_clouds_per_second(Store.open(store.path), args.rows)
        rates = {name: clouds_per_second(read, args.rows) for name, read in forms.items()}
        print(f"\n{'loading, one process':28} {'clouds/s':>9} {'ratio':>7}")
        for name, rate in {"store, from a cold disk": cold, **rates}.items():
            print(f"{name:28} {rate:9.0f} {rate / rates['.obj, line by line']:7.1f}")


if __name__ == "__main__":
    main()
