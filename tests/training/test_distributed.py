"""Runs of several real processes (gloo, on the CPU), started by the commands, by torchrun and by Lightning."""

import json

import numpy as np
import pytest
import torch

from conftest import make_place
from ogreid import evaluate, fit
from ogreid.runs import STAMP, Run
from tiny_runs import call, logged, only_run, weights, without

SMALL = [
    *without("data.batch_size", "trainer.devices", "wandb"),
    "ops.backend=plain",
    "loss.gather=true",
    "trainer.sync_batchnorm=true",
    "data.eval_batch_size=4",
    "optimizer.lr=0.004",
]
ONE = ["data.batch_size=8", "trainer.devices=1", "wandb.mode=disabled"]
TWO = ["data.batch_size=4", "trainer.devices=2", "trainer.strategy=ddp"]
TWENTY = ["trainer.max_steps=20", "trainer.max_epochs=7", "trainer.check_val_every_n_epoch=1"]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """18 rows (5 batches of 4) and 8 rows (2 batches) to be evaluated; 24 to learn from."""
    odd = {"identities": 6, "per_camera": 3, "seed": 5, "tracklets": True}
    few = {"identities": 4, "seed": 6}
    return make_place(tmp_path_factory.mktemp("distributed"), tiny={"per_camera": 3}, odd=odd, few=few)


def fit_alone(place, root, *settings) -> Run:
    """In this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv(STAMP, raising=False)
        assert fit.main(["--experiment", "small", *SMALL, *ONE, *settings, f"runs.root={root}"]) == 0
    return only_run(place / root)


@pytest.fixture(scope="module")
def alone(place):
    """20 steps of one process with batches of 8."""
    return fit_alone(place, "alone", *TWENTY)


@pytest.fixture(scope="module")
def together(place):
    """The same 20 steps of two processes with batches of 4; what was printed beside it."""
    more = ["data.transfer=[odd,few]", "evaluation.save_embeddings=true", "trainer.num_sanity_val_steps=1"]
    settings = [*SMALL, *TWO, *TWENTY, *more, "wandb.mode=offline", "runs.root=together"]
    output, _ = call(place, "ogreid.fit", "--experiment", "small", *settings)
    return only_run(place / "together"), output


def test_two_processes_with_half_the_batch_follow_one_with_the_whole(alone, together):
    """Augmentation, BatchNorm over edges and groups, gathered Circle pairs and Adam included."""
    whole, halves = logged(alone, "train/loss"), logged(together[0], "train/loss")
    assert len(whole) == len(halves) == 20
    np.testing.assert_allclose(halves, whole, rtol=1e-3)
    assert sum(whole[-5:]) < 0.8 * sum(whole[:5])
    one, two = (weights(run.last) for run in (alone, together[0]))
    assert list(one) == list(two)
    # Adam blows rounding up to whole steps where that is all the gradient there is: for a bias before BatchNorm (only
    # the running mean sees it), and for the classifier's while every identity comes equally often.
    rounding = ("linear.bias", "classifier.bias", "convolutions.0.norm.running_mean")
    for name in (name for name in one if not name.endswith(rounding)):
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=1e-3, msg=name)


def test_two_processes_write_one_run_and_print_it_once(together):
    run, output = together
    for name in ("experiment.yaml", "metrics.csv", "summary.json", "report.html", "log.txt"):
        assert (run.folder / name).is_file(), name
    assert len(list((run.folder / "wandb").glob("offline-run-*"))) == 1
    assert output.count("small, seed 0") == output.count("parameters, ") == output.count("report  ") == 1
    assert (run.folder / "log.txt").read_text().count("started: small") == 1
    assert [path.name for path in run.checkpoints.iterdir()] == ["last.ckpt"]


def test_two_processes_evaluate_every_set_whole(together):
    run, _ = together
    summary = run.summary()
    assert summary["retrieval"]["tiny"]["queries"] == 8
    assert {name: numbers["queries"] for name, numbers in summary["transfer"].items()} == {"odd": 6, "few": 4}
    assert len({len(logged(run, f"{name}/mAP")) for name in ("val", "val/tiny", "transfer/tiny->odd")}) == 1
    with np.load(run.folder / "embeddings" / "odd.npz") as arrays:
        assert arrays["embedding"].shape == (18, 16) and (arrays["split"] == "query").sum() == 6
        assert len(set(arrays["source"])) == 18


def test_a_checkpoint_has_the_same_numbers_on_one_and_three_processes(place, together, monkeypatch):
    """5 batches over 3 processes, and 2 batches, which leave the third process with nothing."""
    monkeypatch.chdir(place)
    command = ["--checkpoint", str(together[0].folder), "--on", "odd", "few", "--also", "expanded", "--json"]
    assert evaluate.main([*command, "1.json"]) == 0
    output, _ = call(place, "ogreid.evaluate", *command, "3.json", "--devices", "3")
    assert output.count("rank-1") == 2  # and rank-10
    assert (place / "3.json").read_text() == (place / "1.json").read_text()
    content = json.loads((place / "1.json").read_text())
    odd = content["retrieval"]["odd"]
    assert odd["queries"] == 6 and odd["mAP"] > 0
    trained = together[0].summary()  # by two processes
    assert content["verification"]["odd"] == trained["verification"]["odd"] and content["cameras"] == {
        name: trained["cameras"][name] for name in ("odd", "few")
    }


def test_tracklets_have_the_same_numbers_on_one_and_two_processes(place, together, monkeypatch):
    """Six queries in six tracklets of two crops, five batches of crops: the members of a tracklet are on both."""
    monkeypatch.chdir(place)
    command = ["--checkpoint", str(together[0].folder), "--on", "odd", "--by", "tracklet"]
    command += ["--also", "expanded", "multi-query", "--json"]
    assert evaluate.main([*command, "1.json"]) == 0
    call(place, "ogreid.evaluate", *command, "2.json", "--devices", "2")
    assert (place / "2.json").read_text() == (place / "1.json").read_text()
    results = json.loads((place / "1.json").read_text())["retrieval"]
    assert list(results) == ["odd, by tracklet", "odd, by tracklet, expanded", "odd, by tracklet, multi-query"]
    assert results["odd, by tracklet"]["queries"] == 6


def test_torchrun_says_how_many_processes_make_one_run(place):
    """Without ``trainer.devices``; and a part of a set is called so."""
    settings = ["data.batch_size=4", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "data.test=[few]"]
    settings += ["data.eval_batch_size=3", "trainer.limit_val_batches=1", "wandb.mode=disabled", "runs.root=torchrun"]
    command = ["ogreid.fit", "--experiment", "small", *SMALL, *settings, "evaluation.baselines=[histogram]"]
    output, _ = call(place, *TORCHRUN, *command)
    run = only_run(place / "torchrun")
    assert output.count("partial: 2 samples missing") == 1 and output.count("small, seed 0") == 1
    assert run.summary()["retrieval"]["few"]["missing"] == 2 and set(run.summary()["baselines"]) == {"histogram"}
    assert len(logged(run, "train/loss")) == 3  # 24 clouds, 8 a step
    assert [path.name for path in run.checkpoints.iterdir()] == ["last.ckpt"] and run.result == run.last


@pytest.mark.thorough
def test_averaged_weights_and_their_statistics_are_those_of_one_process(place):
    """Two epochs, of which the last counts; then the statistics of every BatchNorm are estimated again."""
    settings = ["trainer.max_epochs=2", "optimizer.swa_fraction=0.5", "optimizer.lr=0.01"]
    one = fit_alone(place, "averaged-1", *settings)
    halves = [*TWO, *settings, "wandb.mode=disabled", "runs.root=averaged-2"]
    output, _ = call(place, "ogreid.fit", "--experiment", "small", *SMALL, *halves)
    two = only_run(place / "averaged-2")
    assert output.count("small, seed 0") == 1 and two.result == two.average
    averaged, trained = [weights(run.average) for run in (one, two)], weights(two.last)
    variances = [name for name in trained if name.endswith("running_var")]  # means move with the biases, see above
    for name in variances:
        torch.testing.assert_close(averaged[1][name], averaged[0][name], rtol=5e-2, atol=5e-3)
    assert sum(not torch.equal(averaged[1][name], trained[name]) for name in variances) > 2
    numbers = [run.summary()["retrieval"]["tiny"]["mAP"] for run in (one, two)]
    assert abs(numbers[0] - numbers[1]) < 5
