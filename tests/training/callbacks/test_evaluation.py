"""What the evaluation says beside its numbers: a network that distinguishes nobody."""

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ogreid import ReIDModule
from ogreid.retrieval.metric import RetrievalMetric
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.training.callbacks.progress import TrainingProgress
from ogreid.training.inference import Network, evaluate

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


class Flat(nn.Module):
    """Maps every cloud to one point, up to ``spread``."""

    def __init__(self, spread):
        super().__init__()
        self.spread = spread

    def forward(self, xyz, rgb):
        return 1 + self.spread * rgb.mean(dim=1)


@pytest.mark.parametrize(("spread", "warnings"), [(1e-6, 1), (1.0, 0)])
def test_a_network_that_distinguishes_nobody_is_warned_of(stores, tmp_path, caplog, spread, warnings):
    stores("tiny")
    network = Network("flat", ReIDModule(Flat(spread), scales=(1.0,)))
    results = evaluate(network, ["tiny"], tmp_path / "data", num_points=64, num_workers=0)
    logged = [entry.getMessage() for entry in caplog.records if "point the same way" in entry.getMessage()]
    assert len(logged) == warnings and results["tiny"]["queries"] == 8
    assert all(text.startswith("tiny: all 16 embeddings") and "optimizer.lr" in text for text in logged)


def test_a_collapse_is_logged_once_until_it_ends(caplog):
    def metric(spread):
        three = torch.arange(3)
        filled = RetrievalMetric(3, 3)
        for camera in (0, 1):
            filled.update(1 + spread * torch.eye(3), three, three * 0 + camera, three + 3 * camera)
        filled.compute()
        return filled

    evaluation, trainer = RetrievalEvaluation(), SimpleNamespace(is_global_zero=True)
    with caplog.at_level(logging.WARNING):
        collapsed = [evaluation._has_collapsed("tiny", metric(spread), trainer) for spread in (0.0, 0.0, 1.0, 0.0)]
    assert collapsed == [True, True, False, True] and len(caplog.records) == 2


def test_the_bar_says_that_the_embedding_collapsed():
    trainer = SimpleNamespace(callback_metrics={"val/mAP": 1.5})
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5"}
    trainer.callback_metrics["val/tiny/collapsed"] = 1
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5", "embedding": "collapsed"}
    trainer.callback_metrics["val/tiny/collapsed"] = 0  # Lightning remembers what was logged before
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5"}
