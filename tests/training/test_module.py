"""The module gives the released numbers, and trains by the published schedule."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ogreid import ReIDModule
from ogreid.data.batch import CloudBatch
from ogreid.training.checkpoint import load_checkpoint
from ogreid.training.conversion import published_to_run
from tiny_runs import fit_tiny, logged

GOLDEN = Path(__file__).parents[1] / "golden"


def agree(ours, theirs):
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["ognet", "ognet_deep"])
def test_a_released_network_gives_the_released_numbers_through_the_module(name, tmp_path):
    arrays = np.load(GOLDEN / name / "expected.npz")
    expected = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files if "names" not in key}
    numbers = torch.arange(len(expected["xyz"]))
    batch = CloudBatch(expected["xyz"], expected["rgb"], expected["identity"], numbers, numbers)
    released = load_checkpoint(published_to_run(GOLDEN / name, tmp_path / "run").folder).module
    with torch.no_grad():
        agree(released.predict_step(batch, 0).embedding, expected["two_view_embedding"])
        agree(released.head(released(batch.xyz, batch.rgb)), expected["logits"])
    module = ReIDModule(**dict(released.hparams) | {"loss": "circle", "dropout": 0.0})
    module.load_state_dict(released.state_dict())
    terms = module.train().losses(batch)
    agree(terms["cross_entropy"].detach(), expected["train_cross_entropy"])
    agree(terms["circle"].detach(), expected["train_circle"])


def test_the_loss_is_ramped_over_the_first_epochs_and_the_learning_rate_is_a_cosine(place):
    run = fit_tiny("trainer.max_epochs=4", "optimizer.lr=0.01", "trainer.limit_val_batches=0")
    expected = [0.01 * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 4)) / 2) for epoch in range(4)]
    assert logged(run, "lr") == pytest.approx(expected)
    module, ramp = ReIDModule(loss_warmup=2), []
    for step in (0, 5, 9, 10, 99):
        module._trainer = SimpleNamespace(global_step=step, num_training_batches=5)
        ramp.append(module._ramp())
    assert ramp == pytest.approx([0.1, 0.55, 0.91, 1.0, 1.0])
