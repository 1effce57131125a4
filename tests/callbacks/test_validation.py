"""What validation says beside the numbers."""

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ogreid.training.callbacks.progress import ReidProgress
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.config import Data
from ogreid.training.inference import Judged, judge_stores
from ogreid.training.module import ReIDModule
from ogreid.retrieval.metric import RetrievalMetric


class Flat(nn.Module):
    """Maps every cloud to one point, up to ``apart``."""

    def __init__(self, apart):
        super().__init__()
        self.apart = apart

    def forward(self, xyz, rgb):
        return 1 + self.apart * rgb.mean(dim=1)


@pytest.mark.parametrize(("apart", "warnings"), [(1e-6, 1), (1.0, 0)])
def test_a_network_that_tells_nobody_apart_is_warned_of(stores, tmp_path, caplog, apart, warnings):
    stores("tiny")
    judged = Judged("flat", ReIDModule(Flat(apart), views=(1.0,)), Data(workers=0))
    found = judge_stores(judged, ["tiny"], str(tmp_path / "data"), points=64)
    told = [entry.getMessage() for entry in caplog.records if "point the same way" in entry.getMessage()]
    assert len(told) == warnings
    assert all(text.startswith("tiny: all 16 embeddings") and "optimizer.lr" in text for text in told)
    assert found["tiny"]["queries"] == 8


def metric(apart):
    three = torch.arange(3)
    made = RetrievalMetric(3, 3)
    for camera in (0, 1):
        made.update(1 + apart * torch.eye(3), three, three * 0 + camera, three + 3 * camera)
    made.compute()
    return made


def test_a_collapse_is_told_once_until_it_ends(caplog):
    judge = RetrievalEvaluation()
    with caplog.at_level(logging.WARNING):
        for apart in (0.0, 0.0, 1.0, 0.0):
            judge._note("tiny", metric(apart))
    assert len(caplog.records) == 2
    assert judge.collapsed == {"tiny"}


def test_the_bar_says_that_the_embedding_collapsed():
    judge = RetrievalEvaluation()
    trainer = SimpleNamespace(callback_metrics={"val/mAP": 1.5}, callbacks=[judge])
    assert ReidProgress().get_metrics(trainer, None) == {"mAP": "1.5"}
    judge.collapsed.add("tiny")
    assert ReidProgress().get_metrics(trainer, None) == {"mAP": "1.5", "embedding": "collapsed"}
