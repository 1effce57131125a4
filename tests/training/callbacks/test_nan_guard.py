"""A number that is not finite stops the run before it does harm, and its origin is named."""

import lightning as L
import pytest
import torch
from torch import nn

from ogreid import ReIDModule, fit
from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError
from ogreid.ops import nearest
from ogreid.training import train
from ogreid.training.callbacks.nan_guard import BadStep, first_not_finite
from ogreid.training.callbacks.seeding import seed_step
from tiny_runs import content, fit_tiny, only_run, same, weights

PLAIN = ("ops.backend=plain", "trainer.max_epochs=2")


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


def root(x):
    """Finite at 0; its gradient is not."""
    return x.abs().sqrt()


def logarithm(x):
    return (x - x).log()


def refuse(x):
    return x + nearest(torch.full((1, 4, 3), torch.nan), 2).sum()


class Small(L.LightningModule):
    """Mean color, a layer, something to go wrong, a layer."""

    def __init__(self, middle):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 3, bias=False), middle, nn.Linear(3, 1)

    def losses(self, batch):
        return {"mean": self.last(self.middle(self.first(batch.rgb.mean(dim=1)))).mean()}


def batch(**changes):
    numbers = (torch.zeros(2, dtype=torch.int64) for _ in range(3))
    return CloudBatch(torch.ones(2, 4, 3), torch.ones(2, 4, 3), *numbers)._replace(**changes)


@pytest.mark.parametrize(
    ("middle", "origin"),
    [
        (nn.Sequential(nn.ReLU(), Apply(logarithm)), "output of middle.1 (Apply)"),
        (nn.Sequential(Apply(logarithm), Apply(refuse)), "output of middle.0 (Apply)"),
        (Apply(refuse), "k nearest: cloud 0, point 0 is [nan, nan, nan]"),
        (nn.ReLU(), "nothing"),
    ],
)
def test_the_first_module_or_operation_whose_output_is_not_finite_is_named(middle, origin):
    assert first_not_finite(Small(middle), batch()).startswith(origin)


def test_clouds_parameters_and_gradients_that_are_not_finite_are_distinguished_from_modules():
    clouds = batch(rgb=torch.full((2, 4, 3), torch.inf))
    assert first_not_finite(Small(nn.ReLU()), clouds).startswith("rgb of the clouds")
    spoiled, flat = Small(nn.ReLU()), Small(Apply(root))
    nn.init.constant_(spoiled.last.weight, torch.nan)
    nn.init.zeros_(flat.first.weight)
    assert first_not_finite(spoiled, batch()) == "parameter last.weight"
    assert first_not_finite(flat, batch()) == "gradient of first.weight"


def spoil(monkeypatch, *steps):
    """The embedding is not finite in these (epoch, step)s: they are known by what torch was seeded with."""
    seeds = set()
    for epoch, step in steps:
        seed_step(0, epoch, step, 0)
        seeds.add(torch.initial_seed())
    build = train.build_module

    def build_spoiled(experiment, **options) -> ReIDModule:
        module = build(experiment, **options)
        module.network.project.register_forward_hook(
            lambda p, _, out: out * torch.inf if p.training and torch.initial_seed() in seeds else out
        )
        return module

    monkeypatch.setattr(train, "build_module", build_spoiled)


def test_a_bad_loss_stops_with_its_step_its_clouds_its_module_and_a_file_that_reproduces_it(place, capsys):
    with pytest.raises(BadStep) as stopped:
        fit_tiny(*PLAIN, "optimizer.lr=1e30")
    message = str(stopped.value)
    path = only_run("runs").checkpoints / "bad-step-1.ckpt"
    assert message.startswith("step 1 (epoch 0, batch 1): the loss is nan; first: output of ") and "\n" not in message
    assert "tiny row " in message and ".jpg" in message and message.endswith(f"python -m ogreid.fit --reproduce {path}")
    first = message.split("first: ")[1].split(";")[0]
    capsys.readouterr()
    assert fit.main(["--reproduce", str(path)]) == 0
    output = capsys.readouterr().out
    assert f"first: {first}\n" in output and output.startswith("process 0, epoch 0, batch 1: ")
    assert output.count("tiny row ") == 8
    assert all(value.isfinite().all() for name, value in weights(path).items() if "running" not in name)


def test_steps_may_be_skipped_and_leave_nothing_behind(place, monkeypatch, caplog):
    one = fit_tiny(*PLAIN, "trainer.max_steps=3")
    spoil(monkeypatch, (1, 1))
    two = fit_tiny(*PLAIN, "runs.skip_bad_steps=1")
    straight, skipped = (content(run.last) for run in (one, two))
    assert two.summary()["skipped_steps"] == 1 and "skipped (1 of at most 1): step 3 (epoch 1, batch 1)" in caplog.text
    assert same(straight["state_dict"], skipped["state_dict"]) and "failing_step" not in skipped
    assert {float(state["step"]) for state in skipped["optimizer_states"][0]["state"].values()} == {3.0}


def test_one_bad_step_too_many_stops(place, monkeypatch):
    spoil(monkeypatch, (0, 1), (1, 0))
    with pytest.raises(BadStep, match=r"^step 2 \(epoch 1, batch 0\): the loss is nan"):
        fit_tiny(*PLAIN, "runs.skip_bad_steps=1", "trainer.check_val_every_n_epoch=1")
    assert content(only_run("runs").last)["global_step"] == 2


def test_a_bad_step_is_saved_without_its_clouds_where_people_may_not_be_shown_until_asked_for(place):
    with pytest.raises(InputError, match=r"without its clouds \(runs\.pictures=false\)") as stopped:
        fit_tiny(*PLAIN, "optimizer.lr=1e37", "runs.pictures=false")
    run = only_run("runs")
    again = f"--resume {run.folder} runs.pictures=true"
    assert str(stopped.value).endswith(again) and "\n" not in str(stopped.value)
    path = run.checkpoints / "bad-step-1.ckpt"
    assert not {"xyz", "rgb"} & content(path)["failing_step"].keys()
    with pytest.raises(InputError, match="without its clouds") as refused:
        fit.main(["--reproduce", str(path)])
    assert str(refused.value).endswith(again)
    with pytest.raises(BadStep, match="saved with its batch"):
        fit.main(again.split())
    assert content(path)["failing_step"]["rgb"].shape == (8, 64, 3)
