"""Stores written from arrays, without crops or lifting."""

import numpy as np

from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK, Field, Manifest, make_rows
from ogreid.data.store.writing import write_block, write_store

SPLITS = ("train", "query", "gallery")


def small_rows(count, identity=None, camera=None, split=None):
    """Rows of all splits, junk among them, by two cameras."""
    numbers = range(count)
    return make_rows(
        [SPLITS[i % 3] for i in numbers] if split is None else split,
        [i // 4 - 1 for i in numbers] if identity is None else identity,
        [i % 2 + 1 for i in numbers] if camera is None else camera,
        [f"box/{i:07d}.jpg" for i in numbers],
    )


def small_arrays(count, points=8, seed=0):
    """Noise: xyz float16 and rgb uint8, both (count, points, 3)."""
    rng = np.random.default_rng(seed)
    shape = (count, points, 3)
    return {"xyz": rng.normal(size=shape).astype(np.float16), "rgb": rng.integers(0, 256, shape, dtype=np.uint8)}


def blocks_of(arrays, stop_at=None):
    """Writes blocks of the arrays; an interruption comes before block ``stop_at``."""

    def write(part, pending):
        for block in pending:
            if block == stop_at:
                raise KeyboardInterrupt
            inside = slice(block * BLOCK, (block + 1) * BLOCK)
            yield block, write_block(part, block, {name: values[inside] for name, values in arrays.items()})

    return write


def small_store(path, rows, arrays, *, blocks=None, overwrite=False, **changes) -> Store:
    """Write a store of these rows and arrays; ``changes`` are of its manifest."""
    points = arrays["xyz"].shape[1]
    fields = {name: Field(str(values.dtype), values.shape[1:]) for name, values in arrays.items()}
    size = {"points": points, "height": points // 2, "width": 2, "fields": fields}
    settings = {"name": path.name, "benchmark": "folder", "mode": "raster", "order": "scattered", "background": True}
    plan = Manifest(**settings | size | changes)
    return write_store(path, plan, rows, blocks or blocks_of(arrays), overwrite=overwrite)
