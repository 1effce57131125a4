"""Embeddings on a plane, to be looked at: the two directions in which a few identities differ most."""

import numpy as np

from ogreid.retrieval.directions import directions

__all__ = ["principal_plane", "sample_identities"]


def principal_plane(embedding: np.ndarray) -> np.ndarray:
    """Unit vectors projected on their first two principal axes.

    Args:
        embedding: (R, D).

    Returns:
        (R, 2) float64, centered; each axis points to where its largest loading is positive, so that the map does not
        flip from machine to machine.
    """
    centered = directions(embedding, "embedding").astype(np.float64)
    centered -= centered.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, ::-1][:, :2]
    strongest = np.abs(axes).argmax(axis=0)
    return np.asarray(centered @ (axes * np.sign(axes[strongest, [0, 1]])))


def sample_identities(identity: np.ndarray, count: int = 12, each: int = 40) -> np.ndarray:
    """Rows (ascending) of the ``count`` identities with the most rows, at most ``each`` of them; junk is left out.

    Args:
        identity: (R,) integers; -1 and 0 are nobody.
        count: identities.
        each: rows per identity.
    """
    names, sizes = np.unique(identity[identity > 0], return_counts=True)
    chosen = names[np.argsort(-sizes, kind="stable")][:count]
    rows = [np.flatnonzero(identity == name)[:each] for name in chosen]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *rows])).astype(np.int64)
