"""Verification and pairs of cameras on a page and in W&B: charts, numbers, and the hardest pairs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ogreid import files
from ogreid.errors import InputError
from ogreid.reporting.charts import Chart, Line, line_chart
from ogreid.reporting.evaluated import SHOWN, EvaluatedSet
from ogreid.reporting.galleries import image_url, stored_image
from ogreid.reporting.tables import Table

ENDING = "-pairs.npz"
SCORES = "scores of pairs of one person and of two"


def write_pairs(folder: Path, sets: Iterable[EvaluatedSet]) -> None:
    """Write the images of each set's hardest pairs, ``<set>-pairs.npz``: ``query`` and ``gallery`` (K, H, W, 3) uint8.

    Their order is that of ``errors`` in the summary of the set.
    """
    for one in sets:
        numbers = [pair for pairs in one.hardest() for pair in pairs[:SHOWN]]
        if not numbers:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        sides = zip(*numbers, strict=True)
        images = [np.stack([stored_image(one.store, int(one.rows[row])) for row in rows]) for rows in sides]
        with files.atomic_write(folder / f"{one.name.replace('/', '-')}{ENDING}") as file:
            np.savez_compressed(file, query=images[0], gallery=images[1])


def read_pairs(paths: Sequence[Path], summaries: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The hardest pairs of each set of ``verification`` in a summary, with images where there are any."""
    shown = {path.name: path for path in paths if path.name.endswith(ENDING)}
    pairs = {}
    for name, numbers in summaries.items():
        records = [dict(one) for one in numbers.get("errors", ())]
        path = shown.get(f"{name.replace('/', '-')}{ENDING}")
        if path is not None:
            try:
                arrays = files.read_arrays(path)
                for record, query, gallery in zip(records, arrays["query"], arrays["gallery"], strict=True):
                    record |= {"query_url": image_url(query), "gallery_url": image_url(gallery)}
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise InputError(f"{path}: not a whole pictures file ({error}); delete it or repeat the run") from error
        pairs[name] = records
    return {name: records for name, records in pairs.items() if records}


def score_chart(name: str, numbers: Mapping[str, Any]) -> Chart:
    """Both histograms of a set, over the score."""
    own = numbers["histogram"]
    low, high, count = own["low"], own["high"], len(own["genuine"])
    centers = [low + (high - low) * (place + 0.5) / count for place in range(count)]
    lines = [
        Line(title, list(zip(centers, own[kind], strict=True)))
        for kind, title in (("genuine", "one person"), ("impostor", "two people"))
    ]
    ticks = {low + (high - low) * part / 4: f"{low + (high - low) * part / 4:.2g}" for part in range(5)}
    title, threshold = f"Scores of pairs, {name}", numbers["threshold"]["0.001"]
    labels: dict[str, Any] = {"x_label": "cosine similarity", "y_label": "pairs, %"}
    return line_chart(lines, title=title, ticks=ticks, upright=threshold, last=False, **labels)


def roc_chart(verification: Mapping[str, Any]) -> Chart:
    """True over false positive rates of all sets, the latter by powers of ten."""
    lines = [
        Line(name, [(math.log10(rate), value) for rate, value, _ in numbers["roc"]])
        for name, numbers in verification.items()
    ]
    labels: dict[str, Any] = {"x_label": "false positive rate", "y_label": "true positive rate, %"}
    ticks = {-float(power): f"1e-{power}" for power in range(7)}
    return line_chart(lines, title="Verification (ROC)", ticks=ticks, last=False, **labels)


def verification_table(verification: Mapping[str, Any]) -> Table:
    """A line for each set."""
    heads = ["data set", "EER", "TPR at FPR 1e-2", "1e-3", "1e-4", "threshold for 1e-3", "95 %", "genuine", "impostor"]
    rows = []
    for name, numbers in verification.items():
        low, high = numbers["interval"]["0.001"]
        rates = [f"{value:.2f}" for value in (numbers["eer"], *numbers["tpr"].values())]
        threshold = [f"{numbers['threshold']['0.001']:.4f}", f"{low:.4f} to {high:.4f}"]
        rows.append([name, *rates, *threshold, *(f"{numbers[kind]:,}" for kind in ("genuine", "impostor"))])
    return Table(heads, rows, "lrrrrrlrr")


def camera_matrices(summary: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Caption of each heat map -> camera of the query -> camera of the gallery -> percentage, None on the diagonal."""
    captions = {"mAP": "mAP", "rank1": "rank-1"}
    matrices = {}
    for name, numbers in summary.get("cameras", {}).items():
        cameras = [f"camera {camera}" for camera in numbers["cameras"]]
        for key, word in captions.items():
            caption = f"{word} in percent on {name}; query by the row's camera, gallery by the column's"
            matrices[caption] = {
                own: dict(zip(cameras, values, strict=True)) for own, values in zip(cameras, numbers[key], strict=True)
            }
    return matrices
