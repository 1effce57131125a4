"""The answer to a search: the most similar images of a store for each query, as a page, JSON or CSV."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ogreid.errors import InputError
from ogreid.reporting.galleries import image_url
from ogreid.reporting.pages import render, save
from ogreid.reporting.tables import csv_text

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store


def write_rankings(
    target: Path,
    network: str,
    store: "Store",
    queries: Sequence[tuple[str, np.ndarray]],
    rows: np.ndarray,
    scores: np.ndarray,
    *,
    ranked: int,
    people: bool = True,
    hint: str = "",
) -> Path:
    """Write ranked lists in the format of the target's suffix.

    Args:
        target: .html, .json or .csv.
        network: that embedded the images.
        store: whose rows were ranked.
        queries: name and image (H, W, 3) uint8 of each of the Q queries.
        rows: (Q, T) rows of the store, most similar first.
        scores: (Q, T) their cosine similarities.
        ranked: how many rows of the store were ranked.
        people: whether a page shows images, or names alone.
        hint: what to know about the scores, in one line.

    Returns:
        The file.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    lists = [
        [_record(store, name, rank, *one) for rank, one in enumerate(zip(own, values, strict=True), start=1)]
        for (name, _), own, values in zip(queries, rows.tolist(), scores.tolist(), strict=True)
    ]
    records = [record for own in lists for record in own]
    if target.suffix == ".csv":
        return save(target, csv_text(records))
    if target.suffix == ".json":
        content = {"network": network, "store": store.name, "ranked": ranked, "hint": hint, "results": records}
        return save(target, json.dumps(content, indent=2) + "\n")
    if target.suffix != ".html":
        raise InputError(f"{target}: expected a name that ends in .html, .json or .csv")
    shown = []
    for (name, image), own, ranking in zip(queries, rows.tolist(), lists, strict=True):
        query = {"kind": "query", "title": name, "url": image_url(image) if people else None, "text": name}
        images = [_image(store.crop(row) if people else None, one) for row, one in zip(own, ranking, strict=True)]
        shown.append({"label": f"similar to {name}", "query": query, "images": images})
    words = f"Ranked by {network} among {ranked} images of {store.name}; the score is the cosine similarity. {hint}"
    return save(target, render("rankings.html", title="Search results", description=words.strip(), lists=shown))


def _record(store: "Store", query: str, rank: int, row: int, score: float) -> dict[str, Any]:
    of_row = {key: int(store.rows[key][row]) for key in ("identity", "camera")}
    return {"query": query, "rank": rank, "score": score, **of_row, "source": str(store.rows["source"][row])}


def _image(image: np.ndarray | None, record: dict[str, Any]) -> dict[str, Any]:
    name = PurePosixPath(record["source"]).name
    title = "rank {rank}, score {score:.3f}, identity {identity}, camera {camera}, ".format(**record) + name
    text = "{score:.2f} \N{MIDDLE DOT} {identity} c{camera}".format(**record)
    url, text = (None, f"{name} {text}") if image is None else (image_url(image), text)
    return {"kind": "unknown", "title": title, "url": url, "text": text}
