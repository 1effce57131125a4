"""One trained network tested with more or fewer points than it was trained with (the paper's Figure 8)."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ogreid.data.datasets.catalogue import store_path
from ogreid.data.store.reading import Store
from ogreid.errors import InputError
from ogreid.training.inference import Judged, judge_stores
from ogreid.reporting.sweep_plots import density_drawing
from ogreid.files import write_text

__all__ = ["DENSITIES", "judge_densities", "trained_density", "write_densities"]

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""What is tested where no densities are named."""


def judge_densities(
    judged: Judged, stores: Sequence[str], root: str, densities: Sequence[float] = (), devices: int = 1
) -> list[dict[str, Any]]:
    """The numbers of ``summary.json`` at each density, without retraining.

    Args:
        judged: the network.
        stores: names under ``root``, or paths.
        root: data root.
        densities: shares of the stored points in (0, 1]; evenly spaced over those that are not blank, as in training.
        devices: processes that share the work.

    Returns:
        For each density ``density`` and ``retrieval``: store -> numbers.

    Raises:
        InputError: a density outside (0, 1]; one so low that a network cannot find its neighbors.
    """
    wanted = sorted(set(densities or DENSITIES))
    for density in wanted:
        if not 0 < density <= 1:
            raise InputError(f"--density {density:g}: expected shares of the points, above 0 and up to 1")
    found = []
    for density in wanted:
        thinned = dataclasses.replace(judged, data=dataclasses.replace(judged.data, density=density))
        # Store by store, because a share of the points is another number of them in another store.
        numbers = {name: judge_stores(thinned, [name], root, devices=devices)[name] for name in stores}
        found.append({"density": density, "retrieval": numbers})
    return found


def trained_density(judged: Judged, store: str, root: str) -> float:
    """The share of the points of ``store`` that the network saw in training."""
    if judged.data.density is not None:
        return judged.data.density
    return judged.data.num_points / Store.open(store_path(store, Path(root))).points


def write_densities(path: Path, network: str, trained: float | None, found: Sequence[Mapping[str, Any]]) -> Path:
    """Write the numbers to ``path`` and the drawing beside it; returns the drawing's file."""
    content = {"network": network, "trained": trained, "densities": list(found)}
    write_text(path, json.dumps(content, indent=2) + "\n")
    stores = list(found[0]["retrieval"])
    lines = {on: [{"density": row["density"], "mAP": row["retrieval"][on]["mAP"]} for row in found] for on in stores}
    picture = path.with_suffix(".svg")
    write_text(picture, density_drawing(lines, trained).picture())
    return picture
