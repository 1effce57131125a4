"""Better questions: queries mixed with what they find, and several pictures of one person asked as one."""

import numpy as np

from ogreid.errors import InputError
from ogreid.retrieval.directions import directions, same_width
from ogreid.retrieval.ranking import integers

__all__ = ["expand_queries", "pool_queries"]


def expand_queries(
    query: np.ndarray, gallery: np.ndarray, count: int = 5, *, alpha: float = 3.0, block: int = 512
) -> np.ndarray:
    """Each query as the weighted mean of itself and its ``count`` most similar gallery rows.

    The weight of a gallery row is its similarity to the power ``alpha`` (Radenovic et al., "Fine-tuning CNN Image
    Retrieval with No Human Annotation", TPAMI 2019); 0 is the plain mean of average query expansion (Chum et al.,
    2007). Rows with a negative similarity weigh nothing.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings, junk included, as nothing is known of identities.
        count: gallery rows per query.
        alpha: exponent of the similarity.
        block: queries at a time.

    Returns:
        (Q, D) float32 unit vectors.
    """
    same_width(query, gallery)
    if not 1 <= count <= len(gallery):
        raise InputError(f"query expansion with {count} rows: expected 1 to the gallery's {len(gallery)}")
    asked, known = directions(query, "query"), directions(gallery, "gallery row")
    expanded = np.empty_like(asked)
    for first in range(0, len(asked), block):
        part = asked[first : first + block]
        scores = part @ known.T
        near = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        weight = np.maximum(np.take_along_axis(scores, near, axis=1), 0) ** alpha
        expanded[first : first + len(part)] = part + np.einsum("bk,bkd->bd", weight, known[near])
    return directions(expanded, "expanded query")


def pool_queries(
    query: np.ndarray, identity: np.ndarray, camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The multi-query protocol of Market-1501: all pictures of a person by one camera, averaged to one query.

    Args:
        query: (Q, D) embeddings.
        identity: (Q,) integers.
        camera: (Q,) integers.

    Returns:
        Pooled unit vectors (P, D) float32, identities (P,), cameras (P,), by identity, then camera.
    """
    unit = directions(query, "query")
    identity = integers("query identities", identity, len(unit))
    camera = integers("query cameras", camera, len(unit))
    pairs, member = np.unique(np.stack([identity, camera], axis=1), axis=0, return_inverse=True)
    pooled = np.zeros((len(pairs), unit.shape[1]), dtype=np.float64)
    np.add.at(pooled, member.ravel(), unit)
    return directions(pooled, "pooled query"), pairs[:, 0], pairs[:, 1]
