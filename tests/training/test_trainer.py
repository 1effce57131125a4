"""The Trainer of an experiment: its settings, its processes, and checkpoints that are written whole or not at all."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only

from ogreid import config
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.training.trainer import AtomicCheckpoints, build_trainer
from tiny_runs import fit_tiny, without


def tiny(**trainer) -> Experiment:
    settings = [*without("trainer.devices"), *(f"trainer.{key}={value}" for key, value in trainer.items())]
    return config.load("market_circle", settings)


def test_settings_of_the_trainer_reach_it():
    settings = {"max_time": "00:00:10:00", "strategy": "ddp", "num_nodes": 2, "precision": "bf16-mixed", "devices": 2}
    trainer = build_trainer(tiny(**settings), [])
    assert (trainer.num_nodes, trainer.num_devices, trainer.precision) == (2, 2, "bf16-mixed")
    assert isinstance(trainer.strategy, DDPStrategy)
    assert [c.time_remaining() for c in trainer.callbacks if isinstance(c, Timer)] == [600]


@pytest.mark.parametrize(
    "setting",
    (
        *("precision=99", "precision=16-true", "devices=many", "strategy=foo", "accelerator=abacus"),
        *(
            "logger=false",
            "val_check_interval=2",
            "overfit_batches=1",
            "max_epoch=3",
            "max_epochs=0",
            "limit_train_batches=0",
        ),
    ),
)
def test_a_setting_that_cannot_be_served_is_refused_before_anything_is_written(place, setting):
    with pytest.raises(InputError, match="trainer") as refused:
        fit_tiny(f"trainer.{setting}")
    assert setting.split("=")[0] in str(refused.value) or "Lightning" in str(refused.value)
    assert "\n" not in str(refused.value) and not Path("runs").exists()


@pytest.fixture
def launched(monkeypatch):
    """The environment of the second of four processes on two machines, as torchrun makes it."""
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # which a Trainer sets for the whole process
    numbers = {"RANK": 1, "LOCAL_RANK": 1, "GROUP_RANK": 0, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 2}
    for name, value in {**numbers, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("settings", [{}, {"devices": "auto"}, {"devices": 2}, {"devices": 2, "num_nodes": 2}])
def test_under_torchrun_the_environment_says_how_many_processes_there_are(settings):
    trainer = build_trainer(tiny(**settings), [])
    assert (trainer.num_devices, trainer.num_nodes, trainer.world_size, trainer.global_rank) == (2, 2, 4, 1)


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("settings", [{"devices": 1}, {"devices": 2, "num_nodes": 1}, {"devices": 4, "num_nodes": 2}])
def test_another_number_of_processes_than_torchrun_started_is_refused(settings):
    with pytest.raises(InputError, match=r"devices.*expected 4"):
        build_trainer(tiny(**settings), [])


@pytest.mark.parametrize(("job", "refused"), [("reid", True), ("bash", False)])  # there Lightning starts them
def test_tasks_of_srun_that_would_train_each_by_itself_are_refused(monkeypatch, job, refused):
    for name, value in {"SLURM_JOB_NAME": job, "SLURM_STEP_NUM_TASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="expected 2") if refused else nullcontext():
        build_trainer(tiny(), [])


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path, monkeypatch):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"x": torch.ones(3)}, path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match=rf"last\.ckpt.*No space left.*--resume {path.parent.parent}"):
        AtomicCheckpoints().save_checkpoint({"x": torch.zeros(3)}, path)
    assert torch.load(path, weights_only=True)["x"].sum() == 3
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]
