"""A whole run on tiny clouds: it learns, writes its folder, goes on where it stopped, and its checkpoint is plain."""

import csv
import errno
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.strategies import DDPStrategy

from ogreid import config, fit, runs
from ogreid.training.train import checkpoint
from ogreid.training.train import trainer
from ogreid.errors import InputError
from ogreid.training.module import ReIDModule

TINY = [
    "data.num_points=64",
    "data.batch_size=8",
    "data.num_workers=0",
    "data.train=[tiny]",
    "data.test=[tiny]",
    "data.sampler=pk",
    "data.num_instances=2",
    "model.channels=[8,16]",
    "model.num_kept=[16,8]",
    "model.k=4",
    "model.embedding=16",
    "loss.dropout=0",
    "optimizer.lr=0.01",
    "optimizer.loss_warmup=0",
    "trainer.check_val_every_n_epoch=2",
    "evaluation.scales=[1.0]",
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


def logged(made: runs.Run) -> list[dict[str, str]]:
    """Every row of ``metrics.csv``, without what depends on the clock."""
    with (made.folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "train/clouds_per_second"} for row in csv.DictReader(file)]


def test_a_run_learns_and_leaves_everything_a_person_looks_for(place):
    made = run("trainer.max_epochs=12", "data.transfer=[other]", "evaluation.baselines=[untrained,histogram]")
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


@pytest.fixture
def whole(place):
    """Four epochs of two steps."""
    return run("trainer.max_epochs=4", "loss.dropout=0.5")


@pytest.mark.parametrize("steps", [4, 5])
def test_a_resumed_run_goes_on_in_its_folder_to_the_same_end(whole, steps):
    """Stopped at the end of an epoch, or inside one; the schedule is the same."""
    straight = torch.load(whole.last, weights_only=True)["state_dict"]
    broken = run("trainer.max_epochs=4", "loss.dropout=0.5", f"trainer.max_steps={steps}")
    again = run("trainer.max_steps=-1", resume=str(broken.folder))
    assert again.folder == broken.folder
    resumed = torch.load(again.last, weights_only=True)["state_dict"]
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert logged(again) == logged(whole)


def test_the_last_checkpoint_is_the_last_one_even_where_nothing_got_better(place):
    made = run("trainer.max_epochs=12")  # everyone is found long before the end
    best, last = (torch.load(path, weights_only=True) for path in (made.checkpoints / "best.ckpt", made.last))
    assert best["epoch"] < last["epoch"] == 11


@pytest.mark.parametrize("limit", ["1", "0.5"])
def test_a_part_of_the_validation_makes_no_best_checkpoint(place, limit):
    made = run("trainer.max_epochs=2", f"trainer.limit_val_batches={limit}", "data.eval_batch_size=6")
    assert made.best == made.last and [path.name for path in made.checkpoints.iterdir()] == ["last.ckpt"]
    summary = json.loads((made.folder / "summary.json").read_text())
    assert summary["retrieval"]["tiny"]["missing"] == 10 and summary["best_mAP"] is None
    assert metrics(made, "val/tiny/missing") == [10]


def test_a_sanity_check_leaves_no_numbers_behind(place):
    made = run("trainer.max_epochs=2", "trainer.num_sanity_val_steps=1", "data.eval_batch_size=6")
    assert len(metrics(made, "val/mAP")) == 1
    assert "missing" not in json.loads((made.folder / "summary.json").read_text())["retrieval"]["tiny"]


def test_what_the_trainer_is_told_reaches_it(place):
    told = {"max_time": "00:00:10:00", "strategy": "ddp", "num_nodes": 2, "precision": "bf16-mixed", "devices": 2}
    experiment = config.load("small", (*TINY, *(f"trainer.{key}={value}" for key, value in told.items())))
    trainer = trainer.make_trainer(experiment, [], logger=False)
    assert (trainer.num_nodes, trainer.num_devices, trainer.precision) == (2, 2, "bf16-mixed")
    assert isinstance(trainer.strategy, DDPStrategy)
    assert [c.time_remaining() for c in trainer.callbacks if isinstance(c, Timer)] == [600]


def test_mixed_precision_trains_and_judges_on_a_cpu(place):
    made = run("trainer.max_epochs=2", "trainer.precision=bf16-mixed")
    assert json.loads((made.folder / "summary.json").read_text())["retrieval"]["tiny"]["mAP"] > 0


def test_averaging_ends_with_weights_of_its_own(place):
    made = run("trainer.max_epochs=4", "optimizer.swa_fraction=0.5")
    last = torch.load(made.last, weights_only=True)["state_dict"]
    average = torch.load(made.average, weights_only=True)["state_dict"]
    name = "network.project.weight"
    assert not torch.equal(last[name], average[name])
    summary = json.loads((made.folder / "summary.json").read_text())
    assert set(summary["last"]) == {"tiny"} and checkpoint.restore(made.folder).path == made.average


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")  # where there are fewer cores
def test_the_same_seed_gives_the_same_weights_whatever_the_workers(place):
    one, *others = (
        torch.load(run("trainer.max_epochs=1", "loss.dropout=0.5", f"data.num_workers={workers}").last, weights_only=True)
        for workers in (0, 1, 3)
    )
    for other in others:
        assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


@pytest.fixture
def forgiving():
    """Lightning leaves torch strict; later tests are not."""
    yield
    torch.use_deterministic_algorithms(False)


def test_a_deterministic_training_needs_nothing_else_on_a_cpu(place, forgiving):
    one = torch.load(run("trainer.max_epochs=1").last, weights_only=True)["state_dict"]
    strict = torch.load(run("trainer.max_epochs=1", "trainer.deterministic=true").last, weights_only=True)["state_dict"]
    assert torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(one[name], strict[name]) for name in one)


def test_an_operation_that_cannot_be_deterministic_is_named(place, forgiving, monkeypatch):
    def step(*_):
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))  # which torch refuses on every device

    monkeypatch.setattr(ReIDModule, "training_step", step)
    with pytest.raises(InputError, match=r"^trainer.deterministic=true: put_ has no deterministic form"):
        run("trainer.max_epochs=1", "trainer.deterministic=true")


def test_a_disk_that_is_full_of_other_things_is_one_line_too(place, monkeypatch):
    def step(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")

    monkeypatch.setattr(ReIDModule, "training_step", step)
    with pytest.raises(InputError, match=r"^metrics.csv: cannot be written \(No space left on device\); make room"):
        run("trainer.max_epochs=1")


def test_a_fast_dev_run_touches_everything_and_says_that_it_is_partial(place):
    made = run("trainer.fast_dev_run=true", "data.eval_batch_size=4")
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
    with pytest.raises(InputError, match=f"wrong.ckpt: {message}"):
        checkpoint.restore("wrong.ckpt")


def test_a_truncated_checkpoint_and_a_missing_one_are_named(place):
    Path("cut.ckpt").write_bytes(b"PK\x03\x04 not much")
    with pytest.raises(InputError, match=r"cut.ckpt: not readable as a checkpoint"):
        checkpoint.restore("cut.ckpt")
    with pytest.raises(InputError, match=r"gone.ckpt: no checkpoint there"):
        checkpoint.restore("gone.ckpt")


@pytest.mark.parametrize(
    "setting",
    ["trainer.precision=99", "trainer.devices=many", "trainer.strategy=foo", "trainer.accelerator=abacus"],
)
def test_a_trainer_setting_that_does_not_exist_is_refused_before_anything_is_made(place, setting):
    with pytest.raises(InputError, match="trainer settings are refused by Lightning: ") as caught:
        run(setting)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_a_run_that_was_told_to_ignore_ctrl_c_does(place, monkeypatch):
    """Those of a sweep, and those that a shell has put into the background."""
    step = ReIDModule.training_step
    monkeypatch.setattr(ReIDModule, "training_step", lambda *a: (os.kill(os.getpid(), signal.SIGINT), step(*a))[1])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run("trainer.max_epochs=1").summary()["retrieval"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_that_came_to_nothing_leaves_no_folder(place):
    with pytest.raises(InputError, match="9999 points asked, each cloud has 256"):
        run("data.num_points=9999")
    assert not Path("runs/small").exists()
