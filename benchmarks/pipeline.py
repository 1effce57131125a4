"""Whether anything but the network is the bottleneck: loader, augmentation, embedding, the first compilation.

python -m benchmarks.pipeline [--batch 8] [--threads 1] [--rounds 5]

A store of random clouds is written to a temporary folder and read back in this process, without workers; each worker
adds the same rate. Times are CPU time. A "ready" batch is centered, selected and augmented, as the network gets it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.operations import clouds
from benchmarks.steps import steps
from benchmarks.timing import alternate, save

from ogreid.config import Augmentation
from ogreid.data.dataset import CloudDataset, ResidentClouds
from ogreid.data.store.manifest import BLOCK, Field, Manifest, make_rows
from ogreid.data.store.writing import write_block, write_store
from ogreid.data.transforms import augment, draws_for, to_network

ROWS, STORED, POINTS = 512, 8192, 4096

FIRST = """
import time
import torch
from benchmarks.steps import steps
torch.set_num_threads(1)
train, evaluate = (forms["fused"] for forms in steps("ognet", 2, 1024, ("fused",)))
start = time.process_time()
train(), evaluate()
first = time.process_time() - start
start = time.process_time()
train(), evaluate()
print(first - (time.process_time() - start))
"""


def written(folder):
    """A store as `ogreid.pack` writes it: float16 positions, uint8 colors."""
    noise = np.random.default_rng(0)
    rows = make_rows(["train"] * ROWS, [1 + i // 4 for i in range(ROWS)], [1] * ROWS, [f"{i}.jpg" for i in range(ROWS)])
    fields = {"xyz": Field("float16", (STORED, 3)), "rgb": Field("uint8", (STORED, 3))}
    plan = Manifest("random", "folder", "raster", "scattered", True, STORED, 128, 64, fields)

    def blocks(part, pending):
        for block in pending:
            count = min(BLOCK, ROWS - block * BLOCK)
            xyz = (0.3 * noise.standard_normal((count, STORED, 3))).astype(np.float16)
            rgb = noise.integers(0, 255, (count, STORED, 3), dtype=np.uint8)
            yield block, write_block(part, block, {"xyz": xyz, "rgb": rgb})

    return write_store(folder, plan, rows, blocks)


def loading(store, batch):
    """Read, ready, and augmentation alone: callables for one batch."""
    whole = CloudDataset([store], np.zeros(ROWS, np.int64), np.arange(ROWS), np.arange(ROWS) // 4)
    resident = ResidentClouds(whole, torch.device("cpu"))
    draw = np.random.default_rng(1)
    augmentation, xyz = Augmentation(), clouds(batch, POINTS)

    def read(source):
        return source.__getitems__(draw.choice(ROWS, batch, replace=False).tolist())

    def ready(source):
        return to_network(read(source), POINTS, augmentation, draws_for(torch.device("cpu"), 1, 2, 3))

    return {
        "read": lambda: read(whole),
        "read, resident": lambda: read(resident),
        "ready": lambda: ready(whole),
        "ready, resident": lambda: ready(resident),
        "augmentation alone": lambda: augment(xyz, xyz, augmentation, draws_for(torch.device("cpu"), 1, 2, 3)),
    }


def first_compilation():
    """Seconds of CPU time by which a first step exceeds the second, in another process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", FIRST], env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True, capture_output=True
        )
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training, evaluation = (forms["fused"] for forms in steps("ognet", options.batch, POINTS, ("fused",)))
    forward = steps("ognet", options.batch, POINTS, ("fused",), backward=False)[0]["fused"]
    network = {"step": training, "training's forward": forward, "embedding": evaluation}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = written(Path(folder) / "random")
        print(f"store of {ROWS} clouds written in {time.perf_counter() - started:.1f} s")
        timings = alternate({**network, **loading(store, options.batch)}, options.rounds)
    spent = {one.name: one.cpu for one in timings}
    for name, milliseconds in spent.items():
        print(f"  {name:24s} {milliseconds:9.2f} ms CPU a batch, {1e3 * options.batch / milliseconds:9.1f} clouds/s")
    compiled = first_compilation()
    print(f"  first compilation        {compiled:9.2f} s CPU")
    report = {"batch": options.batch, "times": timings, "first_compilation": compiled}
    print("written:", save("pipeline", report))


if __name__ == "__main__":
    main()
