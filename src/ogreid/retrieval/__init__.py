"""Retrieval: exact measures, the metric that gathers over processes, and what is made of ranked lists."""

from ogreid.retrieval.ranking import RetrievalResult, judge

__all__ = ["RetrievalResult", "judge"]
