"""Tiny data sets in the layouts of the benchmarks, with real forms of names."""

from pathlib import Path

import numpy as np
from PIL import Image


def image(path: Path, seed: int = 0, size: tuple[int, int] = (64, 128)) -> Path:
    """Save an image whose colors follow from the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR).save(path)
    return path


def market(root: Path, identities: int = 2) -> Path:
    """Market-1501: training and test people, a distractor, junk, and what unpacking leaves behind."""
    for person in range(1, identities + 1):
        for camera in (1, 2):
            image(root / f"bounding_box_train/{person:04d}_c{camera}s1_000151_01.jpg", person)
            other = person + identities
            image(root / f"query/{other:04d}_c{camera}s1_001051_00.jpg", other)
            image(root / f"bounding_box_test/{other:04d}_c{camera}s1_001076_01.jpg", other)
    image(root / "bounding_box_test/0000_c1s1_000151_02.jpg")
    image(root / "bounding_box_test/-1_c1s1_000401_03.jpg")
    for folder in ("bounding_box_train", "bounding_box_test"):
        (root / folder / "Thumbs.db").write_bytes(b"x")
        (root / folder / "._0002_c1s1_000151_01.jpg").write_bytes(b"x")
    return root


def duke(root: Path) -> Path:
    """DukeMTMC-reID."""
    for camera in (1, 8):
        image(root / f"bounding_box_train/0001_c{camera}_f0046182.jpg", camera, (70, 160))
        for folder in ("query", "bounding_box_test"):
            image(root / f"{folder}/0005_c{camera}_f0045000.jpg", camera)
    return root


def cuhk(root: Path) -> Path:
    """CUHK03-NP, one of its two halves."""
    for camera in (1, 2):
        for name in ("bounding_box_train/0001", "query/0003", "bounding_box_test/0003"):
            image(root / f"{name}_c{camera}_1.png", camera)
    return root


def msmt(root: Path, train: str = "train", test: str = "test") -> Path:
    """MSMT17 in the layout of its first or second version."""
    names = {
        "train": (train, ["0000/0000_000_01_0303morning_0015_0.jpg", "0000/0000_001_15_0303noon_0023_1.jpg"]),
        "val": (train, ["0001/0001_000_03_0303afternoon_0010_0.jpg"]),
        "query": (test, ["0000/0000_000_02_0303morning_0015_0.jpg"]),
        "gallery": (test, ["0000/0000_001_07_0303morning_0100_0.jpg", "0001/0001_000_02_0303noon_0015_0.jpg"]),
    }
    for split, (folder, paths) in names.items():
        for path in paths:
            image(root / folder / path)
        lines = [f"{path} {int(path[:4])}\n" for path in paths]
        (root / f"list_{split}.txt").write_text("".join(lines))
    return root


def clouds(root: Path, points: int = 40) -> Path:
    """The published code's tree of clouds."""
    crops = published(root / "crops")
    for seed, path in enumerate(sorted(crops.rglob("*.jpg"))):
        rng = np.random.default_rng(seed)
        lines = [
            "v " + " ".join(f"{value:.6f}" for value in (*rng.normal(size=3), *rng.integers(0, 256, 3) / 255))
            for _ in range(points)
        ]
        cloud = root / "3DMarket+bg" / path.relative_to(crops).with_suffix(".jpg.obj")
        cloud.parent.mkdir(parents=True, exist_ok=True)
        cloud.write_text("\n".join([*lines, "f 1 2 3", ""]))
    return root


def published(root: Path) -> Path:
    """The published code's tree of images."""
    for split in ("train", "train_all"):
        image(root / split / "0002/0002_c1s1_000451_03.jpg")
    for split in ("val", "train_all"):
        image(root / split / "0002/0002_c2s1_000551_01.jpg")
    image(root / "query/0007/0007_c3s2_000451_00.jpg")
    image(root / "gallery/0007/0007_c2s2_000451_03.jpg")
    image(root / "gallery/-1/-1_c2s2_000451_04.jpg")
    return root
