"""Runs of several real processes (gloo, on the CPU), started through the doors as a person starts them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import write_tiny_store
from ogreid import evaluate, fit, runs
from test_training import TINY

SMALL = [
    *(setting for setting in TINY if not setting.startswith(("data.batch_size", "trainer.devices", "wandb"))),
    "ops.backend=plain",
    "loss.gather=true",
    "trainer.sync_batchnorm=true",
    "data.eval_batch_size=4",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """18 rows (5 batches of 4) and 8 rows (2 batches) to be judged; 24 to learn from."""
    folder = tmp_path_factory.mktemp("distributed")
    write_tiny_store(folder / "data" / "tiny", identities=8, per_camera=3)
    write_tiny_store(folder / "data" / "odd", identities=6, per_camera=3, seed=5)
    write_tiny_store(folder / "data" / "few", identities=4, seed=6)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "small.yaml").write_text("description: tiny\n")
    return folder


def environment():
    """Without what other tests or a launcher left behind; one thread for each process."""
    known = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", runs.STAMP, "WANDB_MODE")
    kept = {name: value for name, value in os.environ.items() if name not in known}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "140"}


def call(place, *command, torchrun=0):
    """What ``python -m ...`` said on standard output."""
    how = [sys.executable, "-m"]
    if torchrun:
        how += ["torch.distributed.run", "--standalone", f"--nproc_per_node={torchrun}", "-m"]
    done = subprocess.run(
        [*how, *command], cwd=place, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def curve(run, column):
    with (run.folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def only_run(place, root):
    (folder,) = (place / root / "small").iterdir()
    return runs.open_run(folder)


@pytest.fixture(scope="module")
def alone(place):
    """20 steps of one process with batches of 8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv(runs.STAMP, raising=False)
        told = ["runs.root=alone", "data.batch_size=8", "trainer.devices=1", "wandb.mode=disabled", "optimizer.lr=0.004"]
        assert fit.main(["--experiment", "small", *SMALL, *told, *TWENTY]) == 0
    return only_run(place, "alone")


TWENTY = ["trainer.max_steps=20", "trainer.max_epochs=7", "trainer.check_val_every_n_epoch=1"]


@pytest.fixture(scope="module")
def together(place):
    """The same 20 steps of two processes with batches of 4; what was printed beside it."""
    told = ["runs.root=together", "data.batch_size=4", "trainer.devices=2", "trainer.strategy=ddp", "optimizer.lr=0.004"]
    more = ["data.transfer=[odd,few]", "evaluation.save_embeddings=true", "trainer.num_sanity_val_steps=1"]
    said = call(place, "ogreid.fit", "--experiment", "small", *SMALL, *told, *TWENTY, *more, "wandb.mode=offline")
    return only_run(place, "together"), said


def test_two_processes_with_half_the_batch_follow_one_with_the_whole(alone, together):
    """Augmentation, BatchNorm over edges and groups, gathered Circle pairs and Adam included."""
    whole, halves = curve(alone, "train/loss"), curve(together[0], "train/loss")
    assert len(whole) == len(halves) == 20
    np.testing.assert_allclose(halves, whole, rtol=1e-3)
    assert sum(whole[-5:]) < 0.8 * sum(whole[:5])
    one, two = (torch.load(run.last, weights_only=True)["state_dict"] for run in (alone, together[0]))
    assert list(one) == list(two)
    # Adam blows rounding up to whole steps where that is all the gradient there is: for a bias before BatchNorm (only
    # the running mean sees it), and for the classifier's while every identity comes equally often.
    rounding = ("linear.bias", "classifier.bias", "convolutions.0.norm.running_mean")
    for name in (name for name in one if not name.endswith(rounding)):
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=1e-3, msg=name)


def test_two_processes_make_one_run(together):
    run, said = together
    for name in ("experiment.yaml", "metrics.csv", "summary.json", "report.html", "log.txt"):
        assert (run.folder / name).is_file(), name
    assert len(list((run.folder / "wandb").glob("offline-run-*"))) == 1
    assert said.count("judged on") == said.count("parameters, ") == said.count("report ") == 1
    assert (run.folder / "log.txt").read_text().count("started: small") == 1
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_two_processes_judge_every_set_whole(together):
    run, _ = together
    summary = run.summary()
    assert summary["retrieval"]["tiny"]["queries"] == 8
    assert {name: numbers["queries"] for name, numbers in summary["transfer"].items()} == {"odd": 6, "few": 4}
    assert len(curve(run, "val/mAP")) == len(curve(run, "transfer/tiny->odd/mAP")) == len(curve(run, "val/tiny/rank1"))
    with np.load(run.folder / "embeddings" / "odd.npz") as kept:
        assert kept["embedding"].shape == (18, 16) and kept["query"].sum() == 6
        assert len(set(kept["source"])) == 18


def test_a_checkpoint_has_the_same_numbers_on_one_two_and_three_processes(place, together, monkeypatch):
    """5 batches over 3 processes, and 2 batches, which leave the third process with nothing."""
    monkeypatch.chdir(place)
    asked = ["--checkpoint", str(together[0].folder), "--on", "odd", "few", "--also", "expanded", "--json"]
    assert evaluate.main([*asked, "1.json"]) == 0
    for devices in ("2", "3"):
        said = call(place, "ogreid.evaluate", *asked, f"{devices}.json", "--devices", devices)
        assert said.count("judged on") == 1
        assert (place / f"{devices}.json").read_text() == (place / "1.json").read_text()
    found = json.loads((place / "1.json").read_text())["retrieval"]
    assert found["odd"]["queries"] == 6 and found["odd"]["mAP"] > 0


def test_torchrun_makes_one_run_too_and_a_part_of_a_set_is_called_so(place):
    told = ["runs.root=torchrun", "data.batch_size=4", "trainer.devices=2", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    more = ["data.test=[few]", "data.eval_batch_size=3", "trainer.limit_val_batches=1", "wandb.mode=disabled"]
    baselines = "evaluation.baselines=[histogram]"
    said = call(place, "ogreid.fit", "--experiment", "small", *SMALL, *told, *more, baselines, torchrun=2)
    run = only_run(place, "torchrun")
    assert said.count("partial: 2 rows missing") == 1 and said.count("judged on") == 1
    summary = run.summary()
    assert summary["retrieval"]["few"]["missing"] == 2 and summary["best_mAP"] is None
    assert set(summary["baselines"]) == {"histogram"}
    assert [path.name for path in run.checkpoints.iterdir()] == ["last.ckpt"]
    assert isinstance(run.experiment().seed, int) and run.best == Path(run.last)


@pytest.mark.thorough
def test_averaged_weights_and_their_statistics_are_those_of_one_process(place, monkeypatch):
    """Two epochs, of which the last counts; then the statistics of every BatchNorm are made anew."""
    monkeypatch.chdir(place)
    monkeypatch.delenv(runs.STAMP, raising=False)
    told = ["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2", "optimizer.swa_fraction=0.5", "wandb.mode=disabled"]
    whole = ["runs.root=averaged1", "data.batch_size=8", "trainer.devices=1"]
    assert fit.main(["--experiment", "small", *SMALL, *told, *whole]) == 0
    halves = ["runs.root=averaged2", "data.batch_size=4", "trainer.devices=2", "trainer.strategy=ddp"]
    said = call(place, "ogreid.fit", "--experiment", "small", *SMALL, *told, *halves)
    one, two = (only_run(place, root) for root in ("averaged1", "averaged2"))
    assert said.count("judged on") == 1 and two.best == two.average
    averaged = [torch.load(run.average, weights_only=True)["state_dict"] for run in (one, two)]
    trained = torch.load(two.last, weights_only=True)["state_dict"]
    counted = 0
    for name, value in averaged[0].items():
        if name.endswith("running_var"):  # means move with biases that Adam moves by rounding, see above
            torch.testing.assert_close(averaged[1][name], value, rtol=5e-2, atol=5e-3)
            counted += not torch.equal(averaged[1][name], trained[name])
    assert counted > 2
    numbers = [run.summary()["retrieval"]["tiny"]["mAP"] for run in (one, two)]
    assert abs(numbers[0] - numbers[1]) < 5
