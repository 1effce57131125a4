"""The answer to a search as a page: each picture, and the sightings most like it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from ogreid.reporting.page import render, titled, write
from ogreid.reporting.pictures import crop_html

__all__ = ["write_sightings"]


class _Finding(Protocol):
    @property
    def picture(self) -> np.ndarray: ...
    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...


class _Sightings(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> np.ndarray: ...
    def picture(self, index: int) -> np.ndarray | None: ...


def write_sightings(
    target: Path,
    network: str,
    store: _Sightings,
    findings: Sequence[_Finding],
    ranked: int,
    *,
    people: bool = True,
    hint: str = "",
) -> Path:
    """Write the page.

    Args:
        target: the HTML file.
        network: who ranked.
        store: whose rows were ranked.
        findings: one per picture that was asked.
        ranked: how many of the store's rows were ranked.
        people: whether the page shows pictures, or names alone.
        hint: what to know about the scores, in one line.

    Returns:
        The file.
    """
    told = f"ranked by {network} among {ranked} sightings of {store.name}; 1.00 is the very same direction"
    told = f"{told}. {hint}" if hint else told
    lists = "".join(_ranked_list(store, finding, people) for finding in findings)
    return write(target, render("Sightings", told, "", [titled("Most alike first", lists, "ranked")]))


def _ranked_list(store: _Sightings, finding: _Finding, people: bool) -> str:
    name = escape(finding.name)
    asked = crop_html(finding.picture, f"asked: {name}") if people else ""
    seen = "".join(
        _sighting(store, rank, int(row), float(score), people)
        for rank, (row, score) in enumerate(zip(finding.rows, finding.scores, strict=True), start=1)
    )
    return (
        f'<div class="ranked"><figure class="query">{asked}'
        f"<figcaption><b>asked</b> {name}</figcaption></figure>"
        f'<ol class="found" aria-label="sightings like {name}">{seen}</ol></div>'
    )


def _sighting(store: _Sightings, rank: int, row: int, score: float, people: bool) -> str:
    told = store.rows[row]
    source = escape(PurePosixPath(str(told["source"])).name)
    title = f"rank {rank}, score {score:.3f}, identity {told['identity']}, camera {told['camera']}, {source}"
    crop = store.picture(row) if people else None
    picture = crop_html(crop, title) if crop is not None else source
    label = f"{score:.2f} \N{MIDDLE DOT} {told['identity']} c{told['camera']}"
    return f'<li class="seen" title="{title}">{picture}<span aria-hidden="true">{label}</span></li>'
