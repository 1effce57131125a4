"""The callback of pictures: which sets are written and tracked, and by whom."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch.trainer.states import TrainerFn

from ogreid.retrieval.metric import RetrievalMetric
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.training.callbacks.pictures import Pictures

QUERIES, SAMPLES = 4, 16
IDENTITY, CAMERA = np.arange(SAMPLES) % QUERIES + 1, np.arange(SAMPLES) // QUERIES


class Store:
    rows = np.array([(f"crop-{row:02}.jpg",) for row in range(SAMPLES + 1)], [("source", "U20")])

    def crop(self, row):
        return np.full((8, 4, 3), row, np.uint8)

    def clouds(self, rows):
        return np.ones((len(rows), 32, 3), np.float32), np.ones((len(rows), 32, 3), np.float32)


@pytest.fixture
def evaluated(monkeypatch):
    """What the callback sees after an evaluation, with a tracker that remembers."""
    metric = RetrievalMetric(QUERIES, SAMPLES - QUERIES)
    embedding = torch.from_numpy(np.random.default_rng(0).standard_normal((SAMPLES, 8)).astype(np.float32))
    metric.update(embedding, torch.from_numpy(IDENTITY), torch.from_numpy(CAMERA), torch.arange(SAMPLES))
    metric.compute()
    evaluation = RetrievalEvaluation()
    evaluation.metrics, evaluation.results = {0: metric}, {"set-8": metric.result}
    one = SimpleNamespace(name="set-8", store=Store(), rows=np.arange(1, SAMPLES + 1), num_queries=QUERIES)
    monkeypatch.setattr("ogreid.training.callbacks.pictures.WandbLogger", SimpleNamespace)
    tracked = {}
    return evaluation, SimpleNamespace(
        datamodule=SimpleNamespace(evaluation_sets=[one], source_name="a+b"),
        is_global_zero=True,
        sanity_checking=False,
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        loggers=[SimpleNamespace(experiment=SimpleNamespace(log=tracked.update))],
        tracked=tracked,
    )


@pytest.mark.parametrize("people", [True, False])
def test_the_sets_of_the_last_evaluation_are_written_and_tracked(tmp_path, evaluated, people):
    evaluation, trainer = evaluated
    Pictures(tmp_path, [evaluation], people=people).on_fit_end(trainer, None)
    kinds = ("cloud", "galleries", "map") if people else ("map",)
    assert sorted(path.name for path in tmp_path.rglob("*.npz")) == [f"set-8-{kind}.npz" for kind in kinds]
    media = {"cmc", "precision_recall", "map_by_identity", "map_by_camera", *kinds[:-1]}
    keys = {f"pictures/set-8/{kind}" for kind in media} | {"pictures/transfer", "tables/transfer"}
    assert set(trainer.tracked) == keys
    assert not people or isinstance(trainer.tracked["pictures/set-8/cloud"], wandb.Object3D)


def test_embeddings_are_saved_with_their_rows(tmp_path, evaluated):
    evaluation, trainer = evaluated
    Pictures(tmp_path, [evaluation], embeddings=True).on_validation_end(trainer, None)
    arrays = np.load(tmp_path / "embeddings" / "set-8.npz")
    np.testing.assert_array_equal(arrays["identity"], IDENTITY)
    np.testing.assert_array_equal(arrays["camera"], CAMERA)
    np.testing.assert_array_equal(arrays["index"], np.arange(1, SAMPLES + 1))
    assert (arrays["split"] == "query").sum() == QUERIES and arrays["source"][0] == "crop-01.jpg"


def test_only_the_first_process_writes(tmp_path, evaluated):
    evaluation, trainer = evaluated
    trainer.is_global_zero = False
    callback = Pictures(tmp_path, [evaluation], embeddings=True)
    callback.on_fit_end(trainer, None)
    callback.on_validation_end(trainer, None)
    assert list(tmp_path.iterdir()) == [] and trainer.tracked == {}
