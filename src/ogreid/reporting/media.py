"""What W&B gets of an evaluated set: images, charts over tables and a 3D object, all of which work offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import wandb

from ogreid.reporting.charts import bar_chart
from ogreid.reporting.galleries import gallery_sheet, read_maps
from ogreid.reporting.pairs import SCORES, roc_chart, score_chart
from ogreid.retrieval import RetrievalResult


def set_media(name: str, result: RetrievalResult, pictures: Mapping[str, Path]) -> dict[str, Any]:
    """The CMC up to rank 50, precision over recall, and the files that ``write_pictures`` wrote of a set."""
    recall = np.linspace(0, 100, len(result.precision))
    media: dict[str, Any] = {
        "cmc": _curve("k", "queries, %", np.arange(1, 51)[: len(result.cmc)], result.cmc[:50], f"CMC on {name}"),
        "precision_recall": _curve(
            "recall, %", "precision, %", recall, result.precision, f"Precision over recall on {name}"
        ),
    }
    for chart, kind in zip(read_maps([pictures["map"]]), ("identity", "camera"), strict=False):
        media[f"map_by_{kind}"] = wandb.Image(chart.pixels(), caption=f"a dot is an image, a color one {kind}")
    if "galleries" in pictures:
        with np.load(pictures["galleries"]) as arrays:
            precisions = zip(arrays["kind"], arrays["average_precision"], strict=True)
            caption = ", ".join(f"{kind} AP {100 * precision:.1f}" for kind, precision in precisions)
            media["galleries"] = wandb.Image(gallery_sheet(arrays), caption=caption)
        with np.load(pictures["cloud"]) as arrays:
            upright = arrays["xyz"] * np.array([1, -1, -1])  # W&B's 3D objects have y up, ours down
            media["cloud"] = wandb.Object3D(np.concatenate([upright, arrays["rgb"]], axis=1))
    return {f"pictures/{name}/{key}": value for key, value in media.items()}


def transfer_media(source: str, results: Mapping[str, RetrievalResult]) -> dict[str, Any]:
    """Bars of the mAP on every set, and a table by which runs can be joined."""
    summaries = {name: result.summary() for name, result in results.items()}
    rows = [[source, name, *(one[key] for key in ("mAP", "mAP_step", "rank1"))] for name, one in summaries.items()]
    bars = [None if np.isnan(numbers["mAP"]) else (numbers["mAP"], 0.0) for numbers in summaries.values()]
    chart = bar_chart(list(summaries), {f"trained on {source}": bars}, title="mAP on every set", x_label="mAP, %")
    return {
        "pictures/transfer": wandb.Image(chart.pixels(), caption=f"mAP in percent, trained on {source}"),
        "tables/transfer": wandb.Table(["trained on", "evaluated on", "mAP", "mAP_step", "rank1"], rows),
    }


def verification_media(verification: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of each set as ``verification/<set>/<number>`` in percent, and both charts of its pairs."""
    media: dict[str, Any] = {"pictures/verification": wandb.Image(roc_chart(verification).pixels(), caption="ROC")}
    for name, numbers in verification.items():
        rates = {"eer": numbers["eer"], **{f"tpr_at_{rate}": value for rate, value in numbers["tpr"].items()}}
        rates |= {f"threshold_at_{rate}": value for rate, value in numbers["threshold"].items()}
        media |= {f"verification/{name}/{key}": value for key, value in rates.items()}
        media[f"pictures/{name}/scores"] = wandb.Image(score_chart(name, numbers).pixels(), caption=SCORES)
    return media


def _curve(x: str, y: str, xs: np.ndarray, ys: np.ndarray, title: str) -> Any:  # noqa: ANN401 - wandb has no types
    return wandb.plot.line(wandb.Table([x, y], np.stack([xs, 100 * ys], axis=1).tolist()), x, y, title=title)
