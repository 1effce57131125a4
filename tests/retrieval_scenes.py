"""Embeddings to evaluate: the golden ones and random ones."""

from pathlib import Path

import numpy as np

COLUMNS = ("query", "query_identity", "query_camera", "gallery", "gallery_identity", "gallery_camera")


def golden() -> dict[str, np.ndarray]:
    """`COLUMNS` and what the released code gives for them."""
    with np.load(Path(__file__).parent / "golden" / "retrieval.npz") as arrays:
        return dict(arrays)


def scene(seed, queries=40, gallery=150, identities=9, cameras=3, width=12, noise=1.0):
    """Embeddings round identity centers, with junk (-1), distractors (0) and float noise."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((identities + 1, width))
    sides = []
    for rows, lowest in ((queries, 1), (gallery, -1)):
        identity = rng.integers(lowest, identities + 1, rows)
        embedding = centers[np.maximum(identity, 0)] + noise * rng.standard_normal((rows, width))
        sides += [embedding.astype(np.float32), identity, rng.integers(1, cameras + 1, rows)]
    return sides
