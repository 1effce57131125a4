"""Tiny packed stores, made in a moment: each identity is a box of its own colors and proportions."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("WANDB_SILENT", "true")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported, which whatever is collected first may do

from crop_folders import pack_crops, write_crops
from ogreid.data.store.manifest import make_rows
from ogreid.data.store.mapped import Store, scattered
from ogreid.runs import STAMP
from small_stores import small_store

SIDE = 16
StoreMaker = Callable[..., Store]


def tiny_clouds(identity: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Xyz (R, 256, 3) float32 and rgb (R, 256, 3) uint8: two colored halves per identity, noise per row."""
    points = SIDE * SIDE
    noise = np.random.default_rng(seed)
    xyz = np.empty((len(identity), points, 3), np.float32)
    rgb = np.empty((len(identity), points, 3), np.uint8)
    for row, one in enumerate(identity):
        own = np.random.default_rng([one + 2, 7])
        size, colors = own.uniform(0.1, 0.5, 3), own.uniform(30, 225, (2, 3))
        xyz[row] = noise.uniform(-1, 1, (points, 3)) * size
        upper = xyz[row, :, 1] < 0
        rgb[row] = np.clip(np.where(upper[:, None], *colors) + noise.normal(0, 8, (points, 3)), 0, 254)
    return xyz, rgb


def write_tiny_store(
    folder: Path,
    *,
    identities: int = 8,
    per_camera: int = 2,
    cameras: int = 2,
    seed: int = 0,
    extra: tuple[str, ...] = (),
    tracklets: bool = False,
    **manifest: object,
) -> Store:
    """Half of the identities train, half are evaluated: one query each per camera, the rest gallery."""
    split, identity, camera = [], [], []
    for one in range(1, identities + 1):
        for eye in range(1, cameras + 1):
            for shot in range(per_camera):
                split.append("train" if one > identities // 2 else "query" if shot == 0 else "gallery")
                identity.append(one)
                camera.append(eye)
    source = [f"{s}/{i:04d}_c{c}_{n}.jpg" for n, (s, i, c) in enumerate(zip(split, identity, camera, strict=True))]
    rows = make_rows(split, identity, camera, source, [0] * len(source) if tracklets else None)
    xyz, rgb = tiny_clouds(rows["identity"], seed)
    known = {"foreground": xyz[..., 0] > 0, "normal": (xyz / np.linalg.norm(xyz, axis=2)[..., None]).astype(np.float16)}
    arrays = {"xyz": xyz, "rgb": rgb} | {name: known[name] for name in extra}
    arrays = {name: values[:, scattered(SIDE * SIDE)] for name, values in arrays.items()}
    return small_store(folder, rows, arrays, height=SIDE, width=SIDE, **manifest)


@pytest.fixture
def stores(tmp_path: Path) -> StoreMaker:
    """Makes tiny stores under ``tmp_path / "data"``."""

    def make(name: str = "tiny", **options: object) -> Store:
        return write_tiny_store(tmp_path / "data" / name, **options)

    return make


def make_place(folder: Path, **stores: dict[str, int]) -> Path:
    """A working folder with tiny stores of these names and options, and the experiment ``small``."""
    for name, options in stores.items():
        write_tiny_store(folder / "data" / name, **options)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "small.yaml").write_text("description: tiny\n")
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a tiny store to train on, another for transfer, and the experiment ``small``."""
    monkeypatch.chdir(make_place(tmp_path, tiny={}, other={"identities": 6, "seed": 3}))
    monkeypatch.delenv(STAMP, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images`` of four people from two cameras, packed as ``data/people-folder``."""
    folder = tmp_path_factory.mktemp("crops")
    pack_crops(write_crops(folder / "images"), folder / "data")
    return folder
