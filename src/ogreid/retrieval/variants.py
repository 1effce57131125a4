"""Other ways to query the same gallery, evaluated by the same rules; the plain way stays the headline."""

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy import ndarray
from scipy import sparse

from ogreid.errors import InputError
from ogreid.retrieval.measures import RetrievalResult
from ogreid.retrieval.pooling import pool
from ogreid.retrieval.protocol import Side, evaluate_retrieval, evaluate_scores, integers
from ogreid.retrieval.unit_vectors import check_embeddings, unit_vectors


def reranked_scores(
    query: ndarray, gallery: ndarray, *, neighbors: int = 20, expansion: int = 6, weight: float = 0.3, block: int = 512
) -> Iterator[ndarray]:
    """Minus the distances of k-reciprocal re-ranking, as scores for `evaluate_scores`.

    Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017. Of the N = Q + G rows
    each is described by the rows that name it as a neighbor and are named by it: the weights V (N, N), of which a row
    has some tens that are not zero. The distance of query i and gallery row j is

        (1 - weight) * (1 - sum min(V_i, V_j) / sum max(V_i, V_j)) + weight * d_ij,

    with d the squared Euclidean distance of the unit vectors, divided by the row's largest. The released form keeps
    five dense N x N matrices (105 GB for MSMT17); here nothing larger than a block of rows is dense. Junk takes part,
    as in the released code: the method does not look at identities. The defaults are those for Market-1501.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        neighbors: k1 >= 1, how many neighbors must be mutual.
        expansion: k2, over how many neighbors a row's weights are averaged, 1 (none) to k1 + 1.
        weight: of the original distance, 0 to 1.
        block: rows that are dense at a time.

    Yields:
        (B, G) float32 for the queries in their order, B at most ``block``.

    Raises:
        InputError: embeddings zero, not finite or of two widths, fewer rows than neighbors, numbers out of range.
    """
    if neighbors < 1 or not 1 <= expansion <= neighbors + 1 or not 0 <= weight <= 1:
        expected = "expected neighbors >= 1, expansion from 1 to neighbors + 1, weight from 0 to 1"
        raise InputError(f"re-ranking: {expected}, got {neighbors}, {expansion}, {weight}")
    check_embeddings(query, gallery)
    rows = unit_vectors(np.concatenate([query, gallery]), "row (queries first)")
    if len(rows) <= neighbors:
        raise InputError(f"re-ranking: expected more than {neighbors} rows (neighbors), got {len(rows)}")
    near, largest = _neighbors(rows, neighbors + 1, block)
    members = _reciprocal(near, round(neighbors / 2) + 1)
    closeness = _closeness(rows, members.indptr, members.indices, largest)
    weights = sparse.csr_array((closeness, members.indices, members.indptr), shape=members.shape)
    if expansion > 1:
        weights = sparse.csr_array(_adjacency(near[:, :expansion], 1 / expansion) @ weights)
    columns = weights[len(query) :].tocsc()
    for first in range(0, len(query), block):
        part = weights[first : min(first + block, len(query))]
        original = _distances(rows[first : first + part.shape[0]], rows[len(query) :])
        original /= largest[first : first + part.shape[0], None]
        common = np.zeros(original.shape, dtype=np.float32)
        _add_minima(part.indptr, part.indices, part.data, columns.indptr, columns.indices, columns.data, common)
        yield -((1 - weight) * (1 - common / (2 - common)) + weight * original)


def _distances(left: ndarray, right: ndarray) -> ndarray:
    distances: ndarray = left @ right.T
    distances *= -2
    distances += 2
    np.maximum(distances, 0, out=distances)
    return distances


def _neighbors(rows: ndarray, count: int, block: int) -> tuple[ndarray, ndarray]:
    """Each row's nearest rows (N, count) int64, itself first, and its largest distance (N,)."""
    near = np.empty((len(rows), count), dtype=np.int64)
    largest = np.empty(len(rows), dtype=np.float32)
    for first in range(0, len(rows), block):
        distances = _distances(rows[first : first + block], rows)
        here = np.arange(len(distances))
        largest[first + here] = distances.max(axis=1)
        distances[here, first + here] = -1  # itself first, before a row that equals it
        some = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, some, axis=1), axis=1, kind="stable")
        near[first + here] = np.take_along_axis(some, order, axis=1)
    return near, largest


def _reciprocal(near: ndarray, half: int) -> sparse.csr_array:
    """Each row's k-reciprocal neighbors, with those of a neighbor that shares over two thirds of its own half set."""
    mutual, theirs = (graph.multiply(graph.T) for graph in map(_adjacency, (near, near[:, :half])))
    shared = sparse.csr_array((mutual @ theirs.T).multiply(mutual))
    shared.data = (3 * shared.data > 2 * theirs.sum(axis=1)[shared.indices]).astype(np.float32)
    members = sparse.csr_array(mutual + shared @ theirs)
    members.eliminate_zeros()
    members.sort_indices()
    return members


def _adjacency(near: ndarray, value: float = 1.0) -> sparse.csr_array:
    """(N, N) with ``value`` in the columns ``near`` (N, k) of each row."""
    values, starts = np.full(near.size, value, dtype=np.float32), np.arange(0, near.size + 1, near.shape[1])
    return sparse.csr_array((values, near.ravel(), starts), shape=(len(near), len(near)))


@njit(nogil=True, cache=True)
def _closeness(rows: ndarray, starts: ndarray, members: ndarray, largest: ndarray) -> ndarray:
    """exp(-distance) over each row's members, as shares of one."""
    values = np.empty(len(members), dtype=np.float32)
    for row in range(len(rows)):
        total = 0.0
        for at in range(starts[row], starts[row + 1]):
            score = 0.0
            for d in range(rows.shape[1]):
                score += np.float64(rows[row, d]) * np.float64(rows[members[at], d])
            values[at] = np.exp(-max(2 - 2 * score, 0.0) / largest[row])
            total += values[at]
        values[starts[row] : starts[row + 1]] /= np.float32(total)
    return values


@njit(nogil=True, cache=True)
def _add_minima(
    starts: ndarray, members: ndarray, values: ndarray, ends: ndarray, rows: ndarray, others: ndarray, common: ndarray
) -> None:
    """common[i, j] += sum_c min(V_i[c], V_j[c]), V_j by columns."""
    for i in range(len(starts) - 1):
        for at in range(starts[i], starts[i + 1]):
            column = members[at]
            for k in range(ends[column], ends[column + 1]):
                common[i, rows[k]] += min(values[at], others[k])


def expand_queries(query: ndarray, gallery: ndarray, count: int = 5, *, alpha: float = 3.0) -> ndarray:
    """Each query as the weighted mean of itself and its ``count`` most similar gallery rows.

    The weight of a gallery row is its similarity to the power ``alpha`` (Radenovic et al., "Fine-tuning CNN Image
    Retrieval with No Human Annotation", TPAMI 2019); 0 is the plain mean of average query expansion (Chum et al.,
    2007). Rows with a negative similarity weigh nothing.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings, junk included, as nothing is known of identities.
        count: 1 to G.
        alpha: exponent of the similarity.

    Returns:
        (Q, D) float32 unit vectors.
    """
    check_embeddings(query, gallery)
    if not 1 <= count <= len(gallery):
        raise InputError(f"query expansion: expected 1 to {len(gallery)} gallery rows, got {count}")
    queries, rows = unit_vectors(query, "query"), unit_vectors(gallery, "gallery row")
    expanded = np.empty_like(queries)
    for first in range(0, len(queries), 512):
        part = queries[first : first + 512]
        scores = part @ rows.T
        near = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        weight = np.maximum(np.take_along_axis(scores, near, axis=1), 0) ** alpha
        expanded[first : first + len(part)] = part + np.einsum("bk,bkd->bd", weight, rows[near])
    return unit_vectors(expanded, "expanded query")


def pool_queries(query: ndarray, identity: ndarray, camera: ndarray) -> Side:
    """The multi-query protocol of Market-1501: all images of a person by one camera, averaged to one query.

    From embeddings (Q, D), identities and cameras (Q,) to unit vectors (P, D) float32 with theirs, sorted by them.
    """
    identity = integers("query identities", identity, len(query))
    camera = integers("query cameras", camera, len(query))
    pooled, first = pool(query, np.stack([identity, camera], axis=1), "query")
    return pooled, identity[first], camera[first]


def reranked(query: Side, gallery: Side) -> RetrievalResult:
    """K-reciprocal re-ranking with its published numbers."""
    return evaluate_scores(reranked_scores(query[0], gallery[0]), *query[1:], *gallery[1:])


def expanded(query: Side, gallery: Side) -> RetrievalResult:
    """Queries averaged with the five gallery rows most similar to them."""
    return evaluate_retrieval(expand_queries(query[0], gallery[0], min(5, len(gallery[0]))), *query[1:], *gallery)


def multi_query(query: Side, gallery: Side) -> RetrievalResult:
    """As the authors of Market-1501: a query is all images of its person by its camera, gallery included."""
    embedding, identity, camera = (np.concatenate(parts) for parts in zip(query, gallery, strict=True))
    queried = set(zip(query[1].tolist(), query[2].tolist(), strict=True))
    rows = np.array([pair in queried for pair in zip(identity.tolist(), camera.tolist(), strict=True)])
    return evaluate_retrieval(*pool_queries(embedding[rows], identity[rows], camera[rows]), *gallery)
