"""Retrieval: exact measures, the metric that gathers over processes, and what is made of ranked lists."""

from typing import TYPE_CHECKING

from ogreid.retrieval.embeddings import Embeddings
from ogreid.retrieval.inspection import search
from ogreid.retrieval.measures import RetrievalResult
from ogreid.retrieval.protocol import evaluate_retrieval
from ogreid.retrieval.verification import VerificationResult, verify

if TYPE_CHECKING:
    from ogreid.retrieval.metric import RetrievalMetric

__all__ = [
    "Embeddings",
    "RetrievalMetric",
    "RetrievalResult",
    "VerificationResult",
    "evaluate_retrieval",
    "judge",
    "search",
    "verify",
]

judge = evaluate_retrieval  # its earlier name


def __getattr__(name: str) -> object:
    if name != "RetrievalMetric":  # torchmetrics takes a second to import
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ogreid.retrieval.metric import RetrievalMetric

    return RetrievalMetric
