"""A number that is not finite is met before it does harm, and its origin is named."""

from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn

from ogreid import runs
from ogreid.training.train import checkpoint
from ogreid.training.train import reproduce
from ogreid.training.train import train
from ogreid.data.batch import CloudBatch
from ogreid.training.callbacks.nan_guard import BadStep, first_not_finite
from ogreid.training.callbacks.seeding import seed_step
from ogreid.ops import nearest
from test_training import place, run  # noqa: F401 - a fixture

PLAIN = ("ops.backend=plain", "data.batch_size=8", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2")


class Root(nn.Module):
    """Finite at 0; its gradient is not."""

    def forward(self, x):
        return x.abs().sqrt()


class Small(L.LightningModule):
    """Mean color, a layer, something to go wrong, a layer."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 3, bias=False), middle, nn.Linear(3, 1)

    def forward(self, xyz, rgb):
        return self.last(self.middle(self.first(rgb.mean(dim=1))))

    def loss(self, embedding, identity):
        return {"mean": embedding.mean()}


def batch(**changed):
    made = CloudBatch(torch.ones(2, 4, 3), torch.ones(2, 4, 3), *(torch.zeros(2, dtype=torch.int64) for _ in range(3)))
    return made._replace(**changed)


class Logarithm(nn.Module):
    def forward(self, x):
        return (x - x).log()


def test_the_first_module_whose_output_is_not_finite_is_named():
    assert first_not_finite(Small(nn.Sequential(nn.ReLU(), Logarithm())), batch()) == "output of middle.1 (Logarithm)"


def test_an_operation_that_refuses_comes_after_the_module_that_is_named():
    class Refusing(nn.Module):
        def forward(self, x):
            nearest(torch.full((1, 4, 3), torch.nan), 2)
            return x

    assert first_not_finite(Small(nn.Sequential(Logarithm(), Refusing())), batch()) == "output of middle.0 (Logarithm)"
    assert first_not_finite(Small(Refusing()), batch()).startswith("k nearest: cloud 0, point 0 is [nan, nan, nan]")


def test_clouds_and_parameters_that_are_not_finite_are_told_from_modules():
    assert (
        first_not_finite(Small(nn.ReLU()), batch(rgb=torch.full((2, 4, 3), torch.inf)))
        == "rgb of the clouds themselves"
    )
    spoiled = Small(nn.ReLU())
    nn.init.constant_(spoiled.last.weight, torch.nan)
    assert first_not_finite(spoiled, batch()) == "parameter last.weight"


def test_a_gradient_that_is_not_finite_behind_a_finite_loss_is_named():
    broken = Small(Root())
    nn.init.zeros_(broken.first.weight)
    assert first_not_finite(broken, batch()) == "gradient of first.weight"
    assert first_not_finite(Small(nn.ReLU()), batch()) == "nothing, when it is repeated alone"


def spoil(monkeypatch, *steps):
    """The embedding is not finite in these (epoch, step)s: they are known by what torch was seeded with."""
    seeds = set()
    for epoch, step in steps:
        seed_step(0, epoch, step, 0)
        seeds.add(torch.initial_seed())
    build = train.build_module

    def building(experiment, identities):
        module = build(experiment, identities)
        project = module.network.project
        project.register_forward_hook(
            lambda p, _, out: out * torch.inf if p.training and torch.initial_seed() in seeds else out
        )
        return module

    monkeypatch.setattr(training, "build_module", building)


@pytest.mark.usefixtures("place")
def test_a_bad_loss_stops_with_its_step_its_clouds_its_module_and_a_file_that_repeats_it(capsys):
    with pytest.raises(BadStep) as caught:
        run(*PLAIN, "optimizer.lr=1e30")
    said = str(caught.value)
    (folder,) = Path("runs/small").iterdir()
    kept = folder / "checkpoints" / "bad-step-1.ckpt"
    assert said.startswith("step 1 (epoch 0, batch 1): the loss is nan; first: output of ") and "\n" not in said
    assert "clouds: tiny row " in said and ".jpg)" in said and "and 4 more" in said
    assert said.endswith(f"kept with its batch, repeat it: python -m ogreid.training.reproduce {kept}")
    first = said.split("first: ")[1].split(";")[0]
    capsys.readouterr()
    assert reproduce.main([str(kept)]) == 0
    told = capsys.readouterr().out
    assert f"first: {first}\n" in told and told.startswith("process 0, epoch 0, batch 1: ")
    assert told.count("tiny row ") == 8
    held = checkpoint.read(kept)["state_dict"]
    assert all(value.isfinite().all() for name, value in held.items() if "running" not in name)


@pytest.mark.usefixtures("place")
def test_steps_may_be_left_out_and_leave_nothing_behind(monkeypatch, caplog):
    one = run(*PLAIN, "trainer.max_steps=3")
    spoil(monkeypatch, (1, 1))
    two = run(*PLAIN, "trainer.skip_bad_steps=1")
    held, other = (torch.load(each.last, weights_only=True) for each in (one, two))
    assert two.summary()["skipped_steps"] == 1 and "left out (1 of at most 1): step 3 (epoch 1, batch 1)" in caplog.text
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in held["state_dict"].items())
    steps = [state["step"] for state in other["optimizer_states"][0]["state"].values()]
    assert set(map(float, steps)) == {3.0}
    assert "bad" not in other


@pytest.mark.usefixtures("place")
def test_one_bad_step_too_many_stops(monkeypatch):
    spoil(monkeypatch, (0, 1), (1, 0))
    with pytest.raises(BadStep, match=r"step 2 \(epoch 1, batch 0\): the loss is nan"):
        run(*PLAIN, "trainer.skip_bad_steps=1", "trainer.check_val_every_n_epoch=1")
    (folder,) = Path("runs/small").iterdir()
    assert torch.load(runs.open_run(folder).last, weights_only=True)["global_step"] == 2


@pytest.mark.usefixtures("place")
def test_a_file_without_a_batch_cannot_be_repeated():
    with pytest.raises(Exception, match=r"last.ckpt: holds no batch; give a bad-step-N.ckpt"):
        reproduce.main([str(run(*PLAIN, "trainer.max_epochs=1").last)])
