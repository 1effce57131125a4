"""A whole run on tiny clouds: it learns, writes its folder, goes on where it stopped, and its checkpoint is plain."""

import csv
import json
from pathlib import Path

import pytest
import torch

from ogreid import checkpoint, fit, runs
from ogreid.errors import UserError

TINY = [
    "data.points=64",
    "data.batch=8",
    "data.workers=0",
    "data.train=[tiny]",
    "data.retrieval=[tiny]",
    "data.sampling=identity",
    "data.per_identity=2",
    "model.widths=[8,16]",
    "model.kept=[16,8]",
    "model.k=4",
    "model.embedding=16",
    "loss.dropout=0",
    "optimiser.lr=0.01",
    "optimiser.loss_warmup=0",
    "validation.every=2",
    "validation.views=[1.0]",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "wandb.mode=disabled",
]


@pytest.fixture
def place(tmp_path, stores, monkeypatch):
    """A folder with a tiny store to train on, another for transfer, and an experiment."""
    stores("tiny")
    stores("other", identities=6, seed=3)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.yaml").write_text("description: tiny\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    return tmp_path


def run(*more: str, resume: str | None = None) -> runs.Run:
    """One call of the door; returns the newest run."""
    which = ["--resume", resume] if resume else ["--experiment", "small"]
    assert fit.main([*which, *([] if resume else TINY), *more]) == 0
    return runs.open_run(max(Path("runs/small").iterdir(), key=lambda p: p.stat().st_mtime))


def metrics(made: runs.Run, column: str) -> list[float]:
    with (made.folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def test_a_run_learns_and_leaves_everything_a_person_looks_for(place):
    made = run("trainer.max_epochs=12", "data.transfer=[other]", "validation.baselines=[untrained,histogram]")
    for name in ("experiment.yaml", "metrics.csv", "summary.json", "report.html", "log.txt"):
        assert (made.folder / name).is_file(), name
    summary = json.loads((made.folder / "summary.json").read_text())
    assert summary["experiment"] == "small" and summary["model"] == "ognet"
    assert summary["retrieval"]["tiny"]["queries"] == 8
    assert summary["transfer"]["other"]["mAP"] > 0
    assert set(summary["baselines"]) == {"untrained", "histogram"}
    assert set(summary["baselines"]["untrained"]) == {"tiny", "other"}
    loss = metrics(made, "train/loss")
    assert sum(loss[-4:]) < 0.6 * sum(loss[:4])
    assert len(metrics(made, "val/mAP")) == 6


def test_a_checkpoint_is_plain_and_says_what_made_it(place):
    made = run("trainer.max_epochs=2")
    content = torch.load(made.best, weights_only=True)
    assert content["ogreid"]["experiment"]["model"]["widths"] == [8, 16]
    assert content["ogreid"]["identities"] == 4
    assert content["ogreid"]["provenance"]["torch"]
    restored = checkpoint.restore(made.folder)
    assert restored.experiment == made.experiment()
    assert not restored.module.training


def test_a_resumed_run_goes_on_in_its_folder_to_the_same_end(place):
    whole = run("trainer.max_epochs=4")
    straight = torch.load(whole.last, weights_only=True)["state_dict"]
    # The same schedule, stopped after two epochs: only the number of steps differs.
    broken = run("trainer.max_epochs=4", "trainer.max_steps=4")
    again = run("trainer.max_steps=-1", resume=str(broken.folder))
    assert again.folder == broken.folder
    resumed = torch.load(again.last, weights_only=True)["state_dict"]
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_averaging_ends_with_weights_of_its_own(place):
    made = run("trainer.max_epochs=4", "optimiser.average=0.5")
    last = torch.load(made.last, weights_only=True)["state_dict"]
    average = torch.load(made.average, weights_only=True)["state_dict"]
    name = "network.project.weight"
    assert not torch.equal(last[name], average[name])
    summary = json.loads((made.folder / "summary.json").read_text())
    assert set(summary["last"]) == {"tiny"} and checkpoint.restore(made.folder).path == made.average


def test_the_same_seed_gives_the_same_weights_whatever_the_workers(place):
    one = torch.load(run("trainer.max_epochs=1").last, weights_only=True)["state_dict"]
    two = torch.load(run("trainer.max_epochs=1", "data.workers=2").last, weights_only=True)["state_dict"]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_fast_dev_run_touches_everything_and_says_that_it_is_partial(place):
    made = run("trainer.fast_dev_run=true", "data.evaluation_batch=4")
    assert json.loads((made.folder / "summary.json").read_text())["retrieval"]["tiny"]["missing"] > 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: {**c, "state_dict": {"network.x": torch.zeros(1)}}, "does not fit the network it names"),
        (lambda c: {"weights": 1}, "not a checkpoint of ogreid; released ones are read by --published FOLDER"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(place, spoil, message):
    made = run("trainer.max_epochs=1")
    torch.save(spoil(torch.load(made.last, weights_only=True)), "wrong.ckpt")
    with pytest.raises(UserError, match=f"wrong.ckpt: {message}"):
        checkpoint.restore("wrong.ckpt")


def test_a_truncated_checkpoint_and_a_missing_one_are_named(place):
    Path("cut.ckpt").write_bytes(b"PK\x03\x04 not much")
    with pytest.raises(UserError, match=r"cut.ckpt: not readable as a checkpoint"):
        checkpoint.restore("cut.ckpt")
    with pytest.raises(UserError, match=r"gone.ckpt: no checkpoint there"):
        checkpoint.restore("gone.ckpt")
