"""A whole run on tiny clouds: it learns, writes its folder, resumes, and its checkpoint describes itself."""

import errno
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid import ReIDDataModule, ReIDModule
from ogreid.errors import InputError
from ogreid.runs import STAMP, Run
from ogreid.training.checkpoint import load_checkpoint
from tiny_runs import content, fit_tiny, logged, logged_rows, same, weights


def test_a_run_learns_and_leaves_all_its_files(place, capsys):
    run = fit_tiny("trainer.max_epochs=12", "data.transfer=[other]", "evaluation.baselines=[untrained,histogram]")
    for name in ("experiment.yaml", "metrics.csv", "summary.json", "report.html", "log.txt"):
        assert (run.folder / name).is_file(), name
    summary = run.summary()
    assert summary["experiment"] == "small" and summary["model"] == "ognet"
    assert summary["retrieval"]["tiny"]["queries"] == 8 and summary["transfer"]["other"]["mAP"] > 0
    assert {name: set(sets) for name, sets in summary["baselines"].items()} == {
        name: {"tiny", "other"} for name in ("untrained", "histogram")
    }
    output = capsys.readouterr().out
    for on, pairs in (("tiny", 8 + 8), ("other", 8 + 6)):  # impostors and genuine pairs; of three people six in all
        numbers = summary["verification"][on]
        assert 0 <= numbers["eer"] <= 100 and f"{on}: EER {numbers['eer']:.2f} %" in output
        with np.load(run.pictures / f"{on}-pairs.npz") as arrays:
            assert len(arrays["query"]) == len(arrays["gallery"]) == len(numbers["errors"]) == pairs
    assert (
        summary["cameras"]["tiny"]["cameras"] == [1, 2]
        and "Hardest pairs of tiny" in (run.folder / "report.html").read_text()
    )
    lines = [line for line in output.splitlines() if line.startswith(("epoch ", "validation "))]
    assert len(lines) == 12 + 6 and all(f": {line}\n" in (run.folder / "log.txt").read_text() for line in lines)
    assert "loss " in lines[0] and "clouds/s" in lines[-1] and "validation at step 24: tiny mAP" in lines[-2]
    loss = logged(run, "train/loss")
    assert sum(loss[-4:]) < 0.6 * sum(loss[:4])
    assert len(logged(run, "val/mAP")) == 6


def test_a_checkpoint_is_plain_and_describes_itself(place):
    run = fit_tiny("trainer.max_epochs=2")
    checkpoint = content(run.last)
    assert checkpoint["hyper_parameters"]["model_options"]["channels"] == [8, 16]
    assert checkpoint["hyper_parameters"]["num_identities"] == 4
    assert checkpoint["datamodule_hyper_parameters"]["num_points"] == 64
    assert checkpoint["ogreid"]["provenance"]["torch"]
    restored = load_checkpoint(run.folder)
    assert restored.experiment == run.experiment() and not restored.module.training
    assert ReIDDataModule(**restored.data).config.num_points == 64
    for module in (restored.module, ReIDModule.load_from_checkpoint(run.last)):
        assert same(dict(module.state_dict()), checkpoint["state_dict"])


@pytest.fixture
def whole(place):
    """Four epochs of two steps."""
    return fit_tiny("trainer.max_epochs=4", "loss.dropout=0.5")


@pytest.mark.parametrize("steps", [4, 5])
def test_a_resumed_run_goes_on_in_its_folder_to_the_same_end(whole, steps):
    """Stopped at the end of an epoch, or inside one; the schedule is the same."""
    broken = fit_tiny("trainer.max_epochs=4", "loss.dropout=0.5", f"trainer.max_steps={steps}")
    resumed = fit_tiny("trainer.max_steps=-1", resume=str(broken.folder))
    assert resumed.folder == broken.folder
    assert same(weights(resumed.last), weights(whole.last))
    assert logged_rows(resumed) == logged_rows(whole)


def test_the_result_is_the_last_network_and_the_best_one_is_saved_where_asked_for(place):
    run = fit_tiny("trainer.max_epochs=12", "runs.save_best=true")  # the mAP is 100 long before the end
    best, last = (content(run.checkpoints / name)["epoch"] for name in ("best.ckpt", "last.ckpt"))
    assert best < last == 11 and run.result == run.last


@pytest.mark.parametrize("limit", ["1", "0.5"])
def test_an_evaluation_of_a_part_says_what_is_missing_and_makes_no_best_checkpoint(place, limit):
    settings = [f"trainer.limit_val_batches={limit}", "data.eval_batch_size=6", "runs.save_best=true"]
    run = fit_tiny("trainer.max_epochs=2", *settings)
    assert [path.name for path in run.checkpoints.iterdir()] == ["last.ckpt"]
    assert run.summary()["retrieval"]["tiny"]["missing"] == 10 and logged(run, "val/tiny/missing") == [10]


def test_a_sanity_check_leaves_no_numbers_behind(place):
    run = fit_tiny("trainer.max_epochs=2", "trainer.num_sanity_val_steps=1", "data.eval_batch_size=6")
    assert len(logged(run, "val/mAP")) == 1 and "missing" not in run.summary()["retrieval"]["tiny"]


def test_mixed_precision_trains_and_evaluates_on_a_cpu(place):
    assert fit_tiny("trainer.max_epochs=2", "trainer.precision=bf16-mixed").summary()["retrieval"]["tiny"]["mAP"] > 0


def test_averaging_ends_with_weights_of_its_own(place):
    run = fit_tiny("trainer.max_epochs=4", "optimizer.swa_fraction=0.5")
    assert not torch.equal(*(weights(path)["network.project.weight"] for path in (run.last, run.average)))
    assert set(run.summary()["last"]) == {"tiny"} and load_checkpoint(run.folder).path == run.average


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")  # where there are fewer cores
def test_the_same_seed_gives_the_same_weights_whatever_the_workers(place):
    settings = ("trainer.max_epochs=1", "loss.dropout=0.5")
    one, *others = (weights(fit_tiny(*settings, f"data.num_workers={workers}").last) for workers in (0, 1, 3))
    assert all(same(one, other) for other in others)


@pytest.fixture
def forgiving():
    """Lightning leaves torch strict; later tests are not."""
    yield
    torch.use_deterministic_algorithms(False)


def test_a_deterministic_training_needs_nothing_else_on_a_cpu(place, forgiving):
    one = weights(fit_tiny("trainer.max_epochs=1").last)
    assert same(one, weights(fit_tiny("trainer.max_epochs=1", "trainer.deterministic=true").last))
    assert torch.are_deterministic_algorithms_enabled()


def put_into(*_):
    torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))  # which torch refuses on every device


def fill_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")


@pytest.mark.parametrize(
    ("step", "words"),
    [(put_into, r"trainer\.deterministic=true: put_"), (fill_disk, r"metrics\.csv.*No space left")],
)
def test_what_the_device_or_the_disk_refuses_is_one_line(place, forgiving, monkeypatch, step, words):
    monkeypatch.setattr(ReIDModule, "training_step", step)
    with pytest.raises(InputError, match=words):
        fit_tiny("trainer.max_epochs=1", "trainer.deterministic=true")


def test_a_run_that_ignores_ctrl_c_from_its_start_goes_on_ignoring_it(place, monkeypatch):
    """Those of a sweep, and those that a shell has put into the background."""
    step = ReIDModule.training_step
    monkeypatch.setattr(ReIDModule, "training_step", lambda *a: (os.kill(os.getpid(), signal.SIGINT), step(*a))[1])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fit_tiny("trainer.max_epochs=1").summary()["retrieval"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_finished_run_is_not_resumed_and_the_time_and_speed_of_parts_add_up(place, caplog):
    limited = fit_tiny("trainer.max_epochs=6", "trainer.max_steps=8")
    before = {path: path.read_bytes() for path in limited.folder.rglob("*") if path.is_file()}
    with caplog.at_level("INFO", "ogreid"):
        fit_tiny(resume=str(limited.folder))
    assert "is finished" in caplog.text
    assert before == {path: path.read_bytes() for path in limited.folder.rglob("*") if path.is_file()}
    checkpoint = content(limited.last)
    timed = next(state for name, state in checkpoint["callbacks"].items() if "Throughput" in name)
    before = timed["clouds"], timed["seconds"]
    assert timed["clouds"] == (8 - 3) * 8 - 2 * 8 and 0 < timed["seconds"] < timed["elapsed"]
    timed |= {"elapsed": timed["elapsed"] + 1000, "clouds": 10**9, "seconds": 10**6}
    torch.save(checkpoint, limited.last)
    resumed = fit_tiny("trainer.max_steps=-1", resume=str(limited.folder)).summary()
    assert 1000 < resumed["seconds"] < 1200 and resumed["steps"] == 12
    assert resumed["clouds_per_second"] == pytest.approx(1000, rel=1e-4)  # of the second part alone it is another


def test_a_second_run_of_the_same_stamp_is_refused(place, monkeypatch):
    """Of two commands in one job, or of a stamp that was set by hand."""
    for settings in ([], ["model.k=3"]):
        monkeypatch.setenv(STAMP, "mine")
        with pytest.raises(InputError, match="holds a run already") if settings else nullcontext():
            fit_tiny("trainer.max_epochs=1", *settings)
    (folder,) = Path("runs/small").iterdir()
    assert Run.open(folder).experiment().model.k == 4
