"""Checkpoints are written whole or not at all; what does not fit into memory is refused before it is made."""

import errno
import os
import subprocess

import pytest
import torch

from ogreid import config, runs
from ogreid.training.train import checkpoint
from ogreid.training.train import memory
from ogreid.training.callbacks.seeding import seed_step
from ogreid.errors import InputError
from ogreid.training.resume import changes, place_to_start
from ogreid.training.trainer import WholeFiles


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path, monkeypatch):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    WholeFiles().save_checkpoint({"x": torch.ones(3)}, path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(
        InputError, match=r"last.ckpt: the checkpoint cannot be written \(No space left on device, 0.0 MiB"
    ):
        WholeFiles().save_checkpoint({"x": torch.zeros(3)}, path)
    assert torch.load(path, weights_only=True)["x"].sum() == 3
    assert [kept.name for kept in path.parent.iterdir()] == ["last.ckpt"]


def test_a_disk_that_is_really_full_leaves_the_checkpoint_before(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        path = tmp_path / "last.ckpt"
        WholeFiles().save_checkpoint({"x": torch.ones(30_000)}, path)
        with pytest.raises(InputError, match=r"No space left on device, 0.2 MiB\); the one before it stays; make room"):
            WholeFiles().save_checkpoint({"x": torch.zeros(60_000)}, path)
        assert torch.load(path, weights_only=True)["x"].sum() == 30_000
        assert [kept.name for kept in tmp_path.iterdir()] == ["last.ckpt"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_classifier_too_large_for_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(checkpoint, "free_memory", lambda device: 2**30)
    checkpoint.check_classifier(512, 100_000, "cpu")
    with pytest.raises(InputError) as caught:
        checkpoint.check_classifier(512, 2_000_000, "cpu")
    assert str(caught.value).startswith(
        "a classifier of 2000000 identities x 512 takes 19.1 GiB (its weights, gradient and Adam states), and 1.0 GiB"
    )
    with pytest.raises(InputError, match=r"takes 3.8 GiB \(its weights\), and"):
        checkpoint.check_classifier(512, 2_000_000, "cpu", copies=1)


def test_it_is_refused_before_anything_is_allocated():
    experiment = config.load("market_ce", ["trainer.accelerator=cpu"])
    with pytest.raises(InputError, match=r"a classifier of 1000000000000 identities x 512 takes 9331\.4 TiB"):
        checkpoint.build_module(experiment, 10**12)


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch):
    monkeypatch.setattr(checkpoint, "free_memory", lambda device: None)
    checkpoint.check_classifier(512, 10**12, "cpu")


def test_free_memory_is_the_least_of_the_machines_and_the_containers(tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal: 900 kB\nMemAvailable: 300 kB\n")
    assert memory._available(table) == 300 * 1024 and memory._available(tmp_path / "gone") is None
    for name, text in {"max": "1000", "current": "700", "stat": "anon 5\ninactive_file 200\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._left_in_container(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_container(tmp_path) is None and memory._left_in_container(tmp_path / "gone") is None
    assert memory.free_memory() is None or memory.free_memory() > 0


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run with a checkpoint that says what it was made with, and that experiment."""
    monkeypatch.delenv(runs.STAMP, raising=False)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    experiment = config.load("market_circle", [f"runs.root={tmp_path / 'runs'}"])
    run = runs.start_run(experiment, "x")
    run.checkpoints.mkdir()
    record = {"experiment": config.to_dict(experiment), "identities": 4}
    torch.save({"ogreid": record, "state_dict": {}}, run.last)
    return run, experiment


def test_a_run_goes_on_from_its_last_checkpoint_or_the_one_that_is_named(stopped):
    run, experiment = stopped
    assert place_to_start(run, None, experiment) is None
    assert place_to_start(run, str(run.folder), experiment) == run.last
    assert place_to_start(run, str(run.last), experiment) == run.last
    with pytest.raises(InputError, match=r"best.ckpt: no checkpoint there"):
        place_to_start(run, str(run.checkpoints / "best.ckpt"), experiment)


def test_a_run_without_a_checkpoint_begins_again_in_its_folder(stopped, caplog):
    run, experiment = stopped
    run.last.unlink()
    (run.folder / "metrics.csv").write_text("step\n0\n")
    assert place_to_start(run, str(run.folder), experiment) is None
    assert "has no checkpoint yet, so the run begins at the beginning" in caplog.text
    assert not (run.folder / "metrics.csv").exists()


def test_settings_that_would_be_ignored_or_do_not_fit_are_refused_on_resume(stopped):
    run, _ = stopped
    for override, said in {
        "model.k=8": r"last.ckpt: cannot go on with model.k=8 \(was None\); start a new run with --experiment",
        "optimizer.lr=0.5": r"cannot go on with optimizer.lr=0.5 \(was ",
        "data.train=[duke]": r"cannot go on with data.train=\['duke'\] \(was \['market'\]\)",
    }.items():
        with pytest.raises(InputError, match=said):
            place_to_start(run, str(run.folder), run.experiment((override,)))


def test_settings_that_change_the_numbers_are_told_and_others_are_not(stopped, caplog):
    run, experiment = stopped
    free = run.experiment(("data.num_workers=0", "trainer.enable_progress_bar=false", "wandb.mode=offline"))
    assert place_to_start(run, str(run.folder), free) == run.last and not caplog.text
    assert changes(experiment, free) == {}
    place_to_start(run, str(run.folder), run.experiment(("data.batch_size=8", "seed=3")))
    assert "goes on with other settings, so not to the numbers of an unbroken run: seed=3 (was 0), data.batch_size=8" in (
        caplog.text
    )


def test_what_is_no_step_of_the_training_is_not_gone_on_from(stopped):
    run, experiment = stopped
    held = torch.load(run.last, weights_only=True)
    torch.save(held, run.average)
    torch.save(held | {"bad": {}}, run.checkpoints / "bad-step-3.ckpt")
    for path in (run.average, run.checkpoints / "bad-step-3.ckpt"):
        with pytest.raises(InputError, match="is not a step of the training"):
            place_to_start(run, str(path), experiment)


def test_a_truncated_checkpoint_is_refused_before_the_training_starts(stopped):
    run, experiment = stopped
    run.last.write_bytes(run.last.read_bytes()[:100])
    with pytest.raises(InputError, match=r"last.ckpt: not readable as a checkpoint"):
        place_to_start(run, str(run.folder), experiment)


def test_what_a_step_draws_depends_on_its_place_and_on_nothing_before_it():
    def drawn(*place):
        seed_step(*place)
        return torch.rand(1).item()

    first = drawn(0, 3, 5, 1)
    torch.rand(100)
    assert drawn(0, 3, 5, 1) == first
    others = [drawn(1, 3, 5, 1), drawn(0, 4, 5, 1), drawn(0, 3, 6, 1), drawn(0, 3, 5, 0)]
    assert len({first, *others}) == 5
