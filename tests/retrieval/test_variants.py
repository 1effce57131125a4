"""Other ways to ask: each helps where it should, and the plain numbers are untouched."""

import numpy as np
import pytest

from ogreid.retrieval import judge
from ogreid.retrieval.variants import VARIANTS


def sides(seed=4, identities=20):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((identities, 10))
    made = []
    for rows in (80, 400):
        identity = rng.integers(0, identities, rows)
        embedding = (centers[identity] + 0.9 * rng.standard_normal((rows, 10))).astype(np.float32)
        made.append((embedding, identity, rng.integers(0, 3, rows)))
    return made


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_variant_finds_more_than_the_plain_query(name):
    query, gallery = sides()
    assert VARIANTS[name](query, gallery).mean_average_precision > judge(*query, *gallery).mean_average_precision + 0.02


def test_multi_query_asks_once_per_person_and_camera():
    query, gallery = sides()
    judged = VARIANTS["multi-query"](query, gallery)
    assert judged.answerable + judged.unanswerable == len(set(zip(query[1].tolist(), query[2].tolist(), strict=True)))
