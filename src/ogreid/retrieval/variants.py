"""Other ways to ask the same gallery, judged by the same rules; the plain way stays the headline."""

from collections.abc import Callable

from ogreid.retrieval.expansion import expand_queries, pool_queries
from ogreid.retrieval.metric import Side
from ogreid.retrieval.ranking import RetrievalResult, judge
from ogreid.retrieval.rerank import reranked_scores
from ogreid.retrieval.scored import judge_scores

__all__ = ["VARIANTS", "expanded", "multi_query", "reranked"]


def reranked(query: Side, gallery: Side) -> RetrievalResult:
    """With k-reciprocal re-ranking, its published numbers."""
    return judge_scores(reranked_scores(query[0], gallery[0]), *query[1:], *gallery[1:])


def expanded(query: Side, gallery: Side) -> RetrievalResult:
    """With queries mixed with the five gallery rows most like them."""
    mixed = expand_queries(query[0], gallery[0], min(5, len(gallery[0])))
    return judge(mixed, *query[1:], *gallery)


def multi_query(query: Side, gallery: Side) -> RetrievalResult:
    """With all pictures of a person by one camera as one query."""
    return judge(*pool_queries(*query), *gallery)


VARIANTS: dict[str, Callable[[Side, Side], RetrievalResult]] = {
    "re-ranked": reranked,
    "expanded": expanded,
    "multi-query": multi_query,
}
"""By the name that ``python -m ogreid.evaluate --also`` takes."""
