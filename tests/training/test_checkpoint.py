"""Checkpoints are read strictly, and a run is resumed only from a step of its own with settings that fit it."""

import pytest
import torch

from ogreid import config
from ogreid.errors import InputError
from ogreid.runs import STAMP, Run
from ogreid.training.callbacks.seeding import seed_step
from ogreid.training.checkpoint import load_checkpoint
from ogreid.training.resume import starting_checkpoint
from tiny_runs import content, fit_tiny

DATA = "datamodule_hyper_parameters"


def test_a_checkpoint_that_is_spoiled_is_named_with_what_is_wrong(place):
    checkpoint = content(fit_tiny("trainer.max_epochs=1").last)
    state, module, data = (checkpoint[part] for part in ("state_dict", "hyper_parameters", DATA))
    parts = {
        "network.x": {"state_dict": state | {"network.x": torch.zeros(1)}},
        "project.weight": {"state_dict": state | {"network.project.weight": torch.zeros(3, 3)}},
        "is missing": {"state_dict": {name: value for name, value in state.items() if "project" not in name}},
        "not a tensor": {"state_dict": state | {"network.project.weight": 1}},
        "hyperparameters": {"hyper_parameters": module | {"color": 1}},
        "kk": {"hyper_parameters": module | {"model_options": module["model_options"] | {"kk": 3}}},
        "of your own": {"hyper_parameters": module | {"model": None}},
        "data settings": {DATA: data | {"num_points": -1}},
        "names no experiment": {"ogreid": {"experiment": 3}},
        "not a checkpoint": {"hyper_parameters": None},
    }
    for words, part in parts.items():
        torch.save(checkpoint | part, "wrong.ckpt")
        with pytest.raises(InputError, match=words) as refused:
            load_checkpoint("wrong.ckpt")
        assert "\n" not in str(refused.value), words
        assert str(refused.value).startswith("wrong.ckpt") or words == "kk"


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run with a checkpoint, and its experiment."""
    monkeypatch.delenv(STAMP, raising=False)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    experiment = config.load("market_circle", [f"runs.root={tmp_path / 'runs'}"])
    run = Run.start(experiment, "x")
    run.checkpoints.mkdir()
    recorded = {"experiment": config.to_dict(experiment)}
    torch.save({"ogreid": recorded, "state_dict": {}, "hyper_parameters": {}}, run.last)
    return run, experiment


def test_a_run_is_resumed_from_its_last_checkpoint_or_the_one_that_is_named(stopped, monkeypatch):
    run, experiment = stopped
    assert starting_checkpoint(run, str(run.folder), experiment) == run.last
    assert starting_checkpoint(run, str(run.last), experiment) == run.last
    with pytest.raises(FileNotFoundError, match=r"best\.ckpt"):
        starting_checkpoint(run, str(run.checkpoints / "best.ckpt"), experiment)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert starting_checkpoint(run, None, experiment) == run.last


def test_a_run_without_a_checkpoint_begins_again_in_its_folder(stopped, caplog):
    run, experiment = stopped
    run.last.unlink()
    (run.folder / "metrics.csv").write_text("step\n0\n")
    assert starting_checkpoint(run, str(run.folder), experiment) is None
    assert "no checkpoint yet" in caplog.text and not (run.folder / "metrics.csv").exists()


@pytest.mark.parametrize("override", ["model.k=8", "optimizer.lr=0.5", "data.train=[duke]", "loss.name=ce"])
def test_settings_that_do_not_fit_the_checkpoint_are_refused(stopped, override):
    run, _ = stopped
    key = override.split("=")[0].replace(".", r"\.")
    with pytest.raises(InputError, match=rf"last\.ckpt: .*{key}=.* \(was "):
        starting_checkpoint(run, str(run.folder), run.experiment((override,)))


def test_settings_that_change_the_numbers_are_warned_of_and_others_are_not(stopped, caplog):
    run, experiment = stopped
    free = run.experiment(("data.num_workers=0", "trainer.enable_progress_bar=false", "wandb.mode=offline"))
    assert config.changed_settings(experiment, free) == {}
    longer = run.experiment(("trainer.max_steps=7",))
    assert all(starting_checkpoint(run, str(run.folder), one) == run.last for one in (free, longer)) and not caplog.text
    starting_checkpoint(run, str(run.folder), run.experiment(("data.batch_size=8", "seed=3")))
    assert "seed=3 (was 0)" in caplog.text and "data.batch_size=8" in caplog.text


def test_what_is_no_step_of_the_training_is_not_resumed_from(stopped):
    run, experiment = stopped
    checkpoint = content(run.last)
    others = {"average.ckpt": {}, "bad-step-3.ckpt": {"failing_step": {}}, "plain.ckpt": {"ogreid": None}}
    for name, part in others.items():
        torch.save(checkpoint | part, run.checkpoints / name)
        with pytest.raises(InputError, match=rf"{name}.*not a step"):
            starting_checkpoint(run, str(run.checkpoints / name), experiment)


def test_what_a_step_draws_depends_on_its_place_and_on_nothing_before_it():
    def drawn(*place):
        seed_step(*place)
        return torch.rand(1).item()

    first = drawn(0, 3, 5, 1)
    torch.rand(100)
    assert drawn(0, 3, 5, 1) == first
    others = [drawn(1, 3, 5, 1), drawn(0, 4, 5, 1), drawn(0, 3, 6, 1), drawn(0, 3, 5, 0)]
    assert len({first, *others}) == 5
