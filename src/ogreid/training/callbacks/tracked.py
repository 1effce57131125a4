"""What W&B is given of a judged set: images, charts over tables and a 3D object, all of which work offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import wandb

from ogreid.training.callbacks.drawing import heat_map, scatter
from ogreid.training.callbacks.galleries import gallery_sheet
from ogreid.retrieval.ranking import RetrievalResult

__all__ = ["tracked_curves", "tracked_map", "tracked_people", "tracked_transfer"]

_RANKS = 50
_TITLES = {"cmc": "Found among the first k", "precision_recall": "Precision over recall"}


def tracked_people(name: str, galleries: Path, cloud: Path) -> dict[str, Any]:
    """The two files of `collect_galleries`: ranked lists and a cloud."""
    with np.load(galleries) as held:
        precisions = zip(held["kind"], held["average_precision"], strict=True)
        told = ", ".join(f"{kind} AP {100 * precision:.1f}" for kind, precision in precisions)
        lists = wandb.Image(gallery_sheet(held), caption=told)
    with np.load(cloud) as held:
        turned = held["xyz"] * np.array([1, -1, -1])  # W&B's 3D objects have y up, ours down
        points = wandb.Object3D(np.concatenate([turned, held["rgb"]], axis=1))
    return {f"pictures/{name}/galleries": lists, f"pictures/{name}/cloud": points}


def tracked_map(name: str, plane: Path) -> dict[str, Any]:
    """The file of `collect_map`, colored by identity and by camera."""
    found: dict[str, Any] = {}
    with np.load(plane) as held:
        for kind in ("identity", "camera") if len(held["xy"]) else ():
            caption = f"a dot is a sighting, a color {'a person' if kind == 'identity' else 'a camera'}"
            found[f"pictures/{name}/map_by_{kind}"] = wandb.Image(scatter(held["xy"], held[kind]), caption=caption)
    return found


def tracked_curves(name: str, judged: RetrievalResult) -> dict[str, Any]:
    """The CMC up to rank 50 and precision over recall, in percent."""
    recall = np.linspace(0, 100, len(judged.precision))
    curves = {
        "cmc": ("k", "found, %", np.arange(1, _RANKS + 1)[: len(judged.cmc)], judged.cmc[:_RANKS]),
        "precision_recall": ("recall, %", "precision, %", recall, judged.precision),
    }
    return {
        f"pictures/{name}/{title}": wandb.plot.line(
            wandb.Table([x, y], np.stack([xs, 100 * ys], axis=1).tolist()), x, y, title=f"{_TITLES[title]} on {name}"
        )
        for title, (x, y, xs, ys) in curves.items()
    }


def tracked_transfer(source: str, judged: Mapping[str, RetrievalResult]) -> dict[str, Any]:
    """What was learned on one set and is worth on others: a heat map of mAP, and a table that runs can be joined by."""
    numbers = {on: judgment.summary() for on, judgment in judged.items()}
    rows = [[source, on, found["mAP"], found["mAP_step"], found["rank1"]] for on, found in numbers.items()]
    values = np.array([[found["mAP"] for found in numbers.values()]])
    told = "mAP in percent; trained on the row, judged on the column"
    return {
        "pictures/transfer": wandb.Image(heat_map([source], list(numbers), values), caption=told),
        "tables/transfer": wandb.Table(["trained on", "judged on", "mAP", "mAP_step", "rank1"], rows),
    }
