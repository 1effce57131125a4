"""Embeddings of several images as one: their mean direction."""

import numpy as np
from jaxtyping import Float32, Int64

from ogreid.retrieval.unit_vectors import unit_vectors


def pool(
    embedding: np.ndarray, keys: Int64[np.ndarray, "R K"], name: str
) -> tuple[Float32[np.ndarray, "T D"], Int64[np.ndarray, " T"]]:
    """The mean of the unit embeddings of each group, normalized again.

    Sums run in the order of the rows in float64, so the same rows give the same bits on every machine.

    Args:
        embedding: (R, D), any length but zero.
        keys: (R, K) integers; rows with equal keys are a group.
        name: what an error calls a row.

    Returns:
        The pooled embeddings by ascending keys, and the first row of each group.

    Raises:
        InputError: a row, or the mean of a group, that is zero or not finite.

    Example:
        >>> pooled, first = pool(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), np.array([[8], [7], [8]]), "image")
        >>> pooled.astype(float).round(2).tolist(), first.tolist()
        ([[0.0, 1.0], [0.71, 0.71]], [1, 0])
    """
    unit = unit_vectors(embedding, name)
    groups, first, member = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    pooled = np.zeros((len(groups), unit.shape[1]), dtype=np.float64)
    np.add.at(pooled, member.ravel(), unit)
    return unit_vectors(pooled, f"pooled {name}"), first
