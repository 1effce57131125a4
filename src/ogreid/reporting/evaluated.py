"""What an evaluated set holds beyond its means: pairs, pairs of cameras and single queries, with the crops' names."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ogreid.errors import InputError
from ogreid.files import atomic_write, write_text
from ogreid.reporting.tables import csv_text
from ogreid.retrieval import RetrievalResult, VerificationResult, verify
from ogreid.retrieval.camera_pairs import CameraPairs, evaluate_camera_pairs
from ogreid.retrieval.inspection import RankedGallery, rank_gallery
from ogreid.retrieval.measures import AveragePrecision
from ogreid.retrieval.protocol import Side
from ogreid.retrieval.verification import HardestPairs

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store

log = logging.getLogger(__name__)

SHOWN = 8
"""Hardest pairs of each kind in a summary."""


@dataclass(frozen=True)
class EvaluatedSet:
    """One set as it was evaluated.

    Attributes:
        name: of the set.
        query: embeddings (Q, D), identities (Q,) and cameras (Q,).
        gallery: the same of G rows.
        store: it lies in.
        rows: (Q + G,) rows of the store, queries first.
        result: of retrieval.
        average_precision: its definition.
    """

    name: str
    query: Side
    gallery: Side
    store: "Store"
    rows: np.ndarray
    result: RetrievalResult
    average_precision: AveragePrecision = "trapezoid"

    @cached_property
    def source(self) -> np.ndarray:
        """(Q + G,) text, the crops' names."""
        return np.asarray(self.store.rows["source"][self.rows].astype(str))

    @cached_property
    def verification(self) -> VerificationResult | None:
        """Of all pairs; None, with a warning, where there is no pair of one kind."""
        try:
            return verify(*self.query, *self.gallery)
        except InputError as error:
            log.warning("%s: %s", self.name, error)
            return None

    @cached_property
    def cameras(self) -> CameraPairs:
        """Retrieval by pairs of cameras."""
        return evaluate_camera_pairs(self.query, self.gallery, average_precision=self.average_precision)

    def errors(self, most: int | None = None) -> list[dict[str, Any]]:
        """The hardest pairs, ``most`` of each kind: false accepts from the highest score, rejects from the lowest."""
        if self.verification is None:
            return []
        kinds = {"impostor": self.verification.false_accepts, "genuine": self.verification.false_rejects}
        return [one for kind, pairs in kinds.items() for one in self._pairs(kind, pairs, most)]

    def hardest(self) -> list[list[tuple[int, int]]]:
        """Places in ``rows`` of the pairs of :meth:`errors`, of each kind."""
        pairs = (self.verification.false_accepts, self.verification.false_rejects) if self.verification else ()
        count = len(self.query[0])
        return [list(zip(one.query.tolist(), (count + one.gallery).tolist(), strict=True)) for one in pairs]

    def _pairs(self, kind: str, pairs: HardestPairs, most: int | None) -> Iterator[dict[str, Any]]:
        for query, row, score in list(zip(*(column.tolist() for column in pairs), strict=True))[:most]:
            sides = (("query", self.query, query, query), ("gallery", self.gallery, row, len(self.query[0]) + row))
            record: dict[str, Any] = {"set": self.name, "kind": kind, "score": score}
            for side, columns, at, number in sides:
                record |= {side: str(self.source[number]), f"{side}_identity": int(columns[1][at])}
                record |= {f"{side}_camera": int(columns[2][at])}
            yield record

    def queries(self) -> list[dict[str, Any]]:
        """Each query with its AP in percent and the rank of its first match (None if invalid), and what ranks first."""
        lists = rank_gallery(list(range(len(self.query[0]))), *self.query, *self.gallery, top=1)
        return [self._query(one) for one in lists]

    def _query(self, ranked: RankedGallery) -> dict[str, Any]:
        number, count = ranked.query, len(self.query[0])
        precision, first = float(self.result.average_precision[number]), int(self.result.first_hit[number])
        record: dict[str, Any] = {"set": self.name, "query": str(self.source[number])}
        record |= {"identity": int(self.query[1][number]), "camera": int(self.query[2][number])}
        record |= {"ap": round(100 * precision, 8) if first else None, "first_match": first or None}
        names = ("nearest", "nearest_identity", "nearest_camera", "score")
        if not len(ranked.rows):
            return record | dict.fromkeys(names)
        row = int(ranked.rows[0])
        nearest = str(self.source[count + row]), int(self.gallery[1][row]), int(self.gallery[2][row])
        return record | dict(zip(names, (*nearest, float(ranked.scores[0])), strict=True))

    def summary(self) -> dict[str, Any]:
        """``verification`` and ``cameras`` of ``summary.json``, without what there is none of."""
        content: dict[str, Any] = {"cameras": self.cameras.summary()} if len(self.cameras.cameras) > 1 else {}
        if self.verification is not None:
            content["verification"] = self.verification.summary() | {"errors": self.errors(SHOWN)}
        return content


def summarize(sets: Sequence[EvaluatedSet]) -> dict[str, dict[str, Any]]:
    """``verification`` and ``cameras``, each by set."""
    contents = {one.name: one.summary() for one in sets if one.result.answerable}
    return {
        key: {name: content[key] for name, content in contents.items() if key in content}
        for key in ("verification", "cameras")
    }


def write_table(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Records of the same keys as ``.csv``, where None is empty, or ``.parquet``, in one step."""
    if path.suffix == ".csv":
        write_text(path, csv_text(records))
        return
    import pyarrow
    from pyarrow import parquet

    with atomic_write(path) as file:
        parquet.write_table(pyarrow.Table.from_pylist(list(records)), file)
