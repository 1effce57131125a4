"""A run folder with invented numbers, for the tests of reports."""

import csv
import json
from pathlib import Path

import numpy as np

from ogreid.retrieval import verify
from retrieval_scenes import scene

EXPERIMENT = """\
name: {name}
description: invented numbers
seed: {seed}
data:
  train: [{train}]
  inputs: scene
model:
  name: ognet
  k: {k}
loss:
  name: circle
evaluation:
  average_precision: trapezoid
"""
STEPS, EPOCHS = 8, 4


def numbers(level: float, queries: int = 60) -> dict[str, float]:
    """Plausible numbers of ``summary.json``."""
    rates = {"rank1": 1.5, "rank5": 1.8, "rank10": 1.9, "mAP": 1.0, "mAP_step": 1.02, "mINP": 0.3}
    return {name: round(level * factor, 4) for name, factor in rates.items()} | {"queries": queries, "unanswerable": 0}


def make_run(
    folder: Path, *, train="plaza-8", transfer="winter-8", level=40.0, pictures=True, summary=True, **settings
) -> Path:
    """Write a run folder as training leaves it and return it; ``settings`` are those of EXPERIMENT."""
    folder.mkdir(parents=True)
    own = {"name": "demo", "k": 8, "seed": 3, "train": train} | settings
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(**own))
    if summary:
        (folder / "summary.json").write_text(json.dumps(_summary(train, transfer, level)))
    _write_metrics(folder / "metrics.csv", train, transfer, level)
    if pictures:
        _write_pictures(folder / "pictures", train)
    return folder


def _summary(train, transfer, level):
    return {
        "experiment": "demo",
        "model": "ognet",
        "parameters": 1_951_738,
        "seconds": 312.0,
        "clouds_per_second": 74.6,
        "retrieval": {train: numbers(level)},
        "transfer": {transfer: numbers(level / 2)},
        "baselines": {"untrained": {train: numbers(level / 4)}, "histogram": {train: numbers(level / 2.5)}},
        "cmc": {train: [min(100.0, level * 1.5 + rank) for rank in range(50)]},
        "verification": {train: verify(*scene(1)).summary() | {"errors": [_pair(rank) for rank in range(4)]}},
        "cameras": {train: {"cameras": [1, 2], "mAP": [[None, 31.0], [47.0, None]], "rank1": [[None, 5], [6, None]]}},
        "provenance": {"git": "0123456789ab", "python": "3.11"},
    }


def _pair(rank):
    sides = {"query": f"query/<b>000{rank}</b>.jpg", "gallery": f"gallery/{rank:04}_c2.jpg"}
    numbers = {f"{side}_{column}": rank + 1 for side in sides for column in ("identity", "camera")}
    return {"kind": ("impostor", "genuine")[rank // 2], "score": 0.91 - 0.2 * rank} | sides | numbers


def _write_metrics(path, train, transfer, level):
    columns = ["epoch", "step", "train/loss", "train/clouds_per_second", "lr-Adam", "val/mAP"]
    columns += [f"val/{train}/mAP", f"val/{train}/rank1", f"transfer/{transfer}/mAP"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for step in range(STEPS * EPOCHS):
            epoch = step // STEPS
            now = {"epoch": epoch, "step": step}
            writer.writerow(now | {"train/loss": 5 / (1 + step), "train/clouds_per_second": 70, "lr-Adam": 1e-3})
            if step % STEPS == STEPS - 1:
                mean = level * (epoch + 1) / EPOCHS
                evaluated = {"val/mAP": mean, f"val/{train}/mAP": mean, f"val/{train}/rank1": 1.5 * mean}
                writer.writerow(now | evaluated | {f"transfer/{transfer}/mAP": mean / 2})


def _write_pictures(folder, name):
    """Three queries in flat colors; the cloud is a red ball in a blue plane."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    gallery = rng.integers(0, 255, (3, 10, 1, 1, 3), dtype=np.uint8) * np.ones((1, 1, 128, 64, 1), dtype=np.uint8)
    np.savez_compressed(
        folder / f"{name}-galleries.npz",
        kind=np.array(["best", "median", "worst"]),
        average_precision=np.array([1.0, 0.4, 0.01]),
        query=gallery[:, 0],
        query_name=np.array([f"query/000{i}_c1.jpg" for i in range(3)]),
        gallery=gallery,
        names=np.array([[f"gallery/{i:04}_c2.jpg" for i in range(8)] + ["", ""]] * 3),
        scores=np.linspace(0.9, 0.1, 30).reshape(3, 10),
        correct=np.arange(30).reshape(3, 10) % 3 == 0,
    )
    np.savez_compressed(folder / f"{name}-pairs.npz", query=gallery[0, :4], gallery=gallery[1, :4])
    ball = rng.standard_normal((3000, 3))
    ball *= 0.5 / np.linalg.norm(ball, axis=1, keepdims=True)
    plane = np.stack([*rng.uniform(-1, 1, (2, 2000)), np.full(2000, 0.6)], axis=1)
    xyz = np.concatenate([ball, plane]).astype(np.float32)
    rgb = np.repeat(np.array([(220, 30, 30), (30, 30, 220)], np.uint8), (3000, 2000), axis=0)
    np.savez_compressed(folder / f"{name}-cloud.npz", xyz=xyz, rgb=rgb, name=np.array("query/0000_c1.jpg"))
    columns = {"identity": np.arange(30) % 5 + 1, "camera": np.arange(30) % 3 + 1}
    np.savez_compressed(folder / f"{name}-map.npz", xy=rng.standard_normal((30, 2)), **columns)
