"""Retrieval by pairs of cameras: the queries of one camera against the gallery rows of another."""

from typing import Any, NamedTuple

import numpy as np

from ogreid.errors import InputError
from ogreid.retrieval.measures import AveragePrecision
from ogreid.retrieval.protocol import Side, evaluate_retrieval


class CameraPairs(NamedTuple):
    """Measures of C x C retrievals, rows by the query's camera; NaN where no query has a match, as on the diagonal."""

    cameras: np.ndarray  # (C,) int64, ascending
    mean_average_precision: np.ndarray  # (C, C) in [0, 1]
    rank1: np.ndarray  # (C, C) in [0, 1]
    queries: np.ndarray  # (C, C) int64, valid queries

    def summary(self) -> dict[str, Any]:
        """The numbers of ``summary.json``, rates in percent; NaN where there are none."""
        rates = {"mAP": self.mean_average_precision, "rank1": self.rank1}
        tables = {name: (100 * values).round(6).tolist() for name, values in rates.items()}
        return {"cameras": self.cameras.tolist(), **tables, "queries": self.queries.tolist()}


def evaluate_camera_pairs(
    query: Side, gallery: Side, *, average_precision: AveragePrecision = "trapezoid"
) -> CameraPairs:
    """`evaluate_retrieval` of the queries of each camera among the gallery rows of each other camera.

    Args:
        query: embeddings (Q, D), identities (Q,) and cameras (Q,).
        gallery: the same of G rows; distractors count at their own camera.
        average_precision: its definition.
    """
    cameras = np.unique(np.concatenate([query[2], gallery[2]]))
    shape = len(cameras), len(cameras)
    precision, rank1, queries = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    for i, j in np.ndindex(shape):
        sides = [side[2] == cameras[k] for side, k in ((query, i), (gallery, j))]
        if i == j or not all(rows.any() for rows in sides):
            continue
        own = [column[rows] for side, rows in zip((query, gallery), sides, strict=True) for column in side]
        try:
            result = evaluate_retrieval(*own, average_precision=average_precision)
        except InputError:
            if np.isin(own[1][own[1] != -1], own[4]).any():
                raise
            continue  # nobody of this camera was seen by that one
        precision[i, j], rank1[i, j], queries[i, j] = result.mean_average_precision, result.rank(1), result.answerable
    return CameraPairs(cameras.astype(np.int64), precision, rank1, queries)
