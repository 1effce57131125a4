"""The evaluation against `open-metric-learning` (Apache-2.0), installed without what it depends on."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ogreid.retrieval import evaluate_retrieval
from retrieval_scenes import COLUMNS, golden, scene

WIDEST = 30


def _stand_in(name: str, **attributes: object) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(attributes)
    return module


@pytest.fixture(scope="module")
def oracle():
    """Its neighbor search and its measures.

    ``oml.utils`` needs gdown for mock data, ``oml.utils.misc`` needs matplotlib: neither has a part in what is computed
    here, so empty modules of these names stand in while the two are imported.
    """
    spec = importlib.util.find_spec("oml")
    if spec is None:
        pytest.skip("open-metric-learning is not installed: pip install --no-deps open-metric-learning==4.0.0")
    folder = spec.submodule_search_locations[0]
    pyplot = _stand_in("matplotlib.pyplot")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "oml.utils", _stand_in("oml.utils", __path__=[f"{folder}/utils"]))
        patch.setitem(sys.modules, "matplotlib", _stand_in("matplotlib", __path__=[], pyplot=pyplot))
        patch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
        from oml.functional.knn import batched_knn_qg
        from oml.functional.metrics import calc_retrieval_metrics

        yield SimpleNamespace(search=batched_knn_qg, measure=calc_retrieval_metrics)


def measure(oracle, query, query_identity, query_camera, gallery, gallery_identity, gallery_camera):
    """Average precision (step) and CMC per query, NaN where the gallery holds no match.

    A sequence is what one camera saw of one person; the oracle leaves the query's own sequence out, which is the camera
    rule. It knows no junk: rows of identity -1 are taken out before. Distances are computed in float64, since ours are
    exact.
    """
    real = gallery_identity != -1
    gallery, gallery_identity, gallery_camera = (c[real] for c in (gallery, gallery_identity, gallery_camera))
    unit = [torch.nn.functional.normalize(torch.from_numpy(side).double()) for side in (query, gallery)]
    _, retrieved, matches = oracle.search(
        *unit,
        top_n=len(gallery),
        labels_query=torch.from_numpy(query_identity),
        labels_gallery=torch.from_numpy(gallery_identity),
        sequence_ids_query=torch.from_numpy(query_identity * 100 + query_camera),
        sequence_ids_gallery=torch.from_numpy(gallery_identity * 100 + gallery_camera),
    )
    ranks, whole = tuple(range(1, WIDEST + 1)), len(gallery)
    measures = oracle.measure(
        retrieved, matches, cmc_top_k=ranks, precision_top_k=(), map_top_k=(whole,), reduce=False, verbose=False
    )
    invalid = np.array([len(one) == 0 for one in matches])
    precision = np.where(invalid, np.nan, measures["map"][whole].numpy())
    return precision, np.stack([measures["cmc"][k].numpy() for k in ranks])[:, ~invalid]


def compare(oracle, rows) -> int:
    """Per query and on the whole; returns the number of invalid queries."""
    precision, cmc = measure(oracle, *rows)
    result = evaluate_retrieval(*rows, average_precision="step")
    np.testing.assert_allclose(result.average_precision, precision, atol=1e-6)  # the oracle's is float32
    assert result.mean_average_precision == pytest.approx(float(np.nanmean(precision)), abs=1e-6)
    np.testing.assert_allclose(result.cmc[:WIDEST], cmc.mean(axis=1), atol=1e-6)
    return result.unanswerable


@pytest.mark.parametrize("seed", range(4))
def test_every_query_agrees_with_open_metric_learning(oracle, seed):
    compare(oracle, scene(seed, queries=80, gallery=400, identities=15, cameras=4, noise=1.0 + seed / 2))


def test_golden_embeddings_and_invalid_queries_agree_with_open_metric_learning(oracle):
    arrays = golden()
    compare(oracle, [arrays[name] for name in COLUMNS])
    assert compare(oracle, scene(7, queries=60, gallery=40, identities=30, cameras=2)) > 5
