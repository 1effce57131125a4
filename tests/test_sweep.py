"""Sweeps that run: every setting once, told together, and gone on with after anything that can happen to a run."""

import functools
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fabricated import numbers
from ogreid import config, runs, sweep
from ogreid.errors import InputError
from ogreid.sweeps import worker
from ogreid.sweeps.file import points, read_sweep_file
from ogreid.sweeps.jobs import jobs_for
from sweeping_files import TINY, write_sweep


@pytest.fixture
def place(tmp_path, stores, monkeypatch):
    """A working directory with a tiny store and an experiment on it."""
    stores("tiny")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    return tmp_path


def jobs(path: Path):
    read = read_sweep_file(path)
    return jobs_for(read, points(read), ())


def record(name="s") -> dict:
    return json.loads(Path(f"runs/sweeps/{name}/sweep.json").read_text())


def test_what_would_run_is_told_without_running_it(place, capsys):
    write_sweep(place / "s.yaml", "{model.k: {values: [1, 4]}, seed: {values: [0, 1]}}")
    assert sweep.main(["s.yaml", "--dry-run", "--count", "3", "data.num_points=32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[:3]] == [
        ["model.k=1", "seed=0"],
        ["model.k=1", "seed=1"],
        ["model.k=4", "seed=0"],
    ]
    assert lines[3] == "3 runs; without --dry-run: runs/sweeps/s"
    assert not Path("runs").exists()


@pytest.mark.parametrize("number", ["--count", "--processes"])
def test_numbers_that_make_no_sense_are_refused(place, number):
    with pytest.raises(InputError, match=f"{number} 0: expected 1 or more"):
        sweep.main([str(write_sweep(place / "s.yaml", "{seed: {value: 0}}")), number, "0"])


def test_a_missing_store_is_found_before_anything_runs(place):
    path = write_sweep(place / "s.yaml", "{data.train: {values: [[tiny], [absent]]}}")
    with pytest.raises(InputError, match="no store absent"):
        sweep.main([str(path)])
    assert not Path("runs").exists()


def test_a_finished_run_is_not_repeated_and_a_half_finished_one_is_gone_on_with(place, monkeypatch):
    (job,) = jobs(write_sweep(place / "s.yaml", "{seed: {value: 0}}"))
    asked = []
    monkeypatch.setattr("ogreid.training.train.train", lambda experiment, resume=None: asked.append(resume))
    job.run.checkpoints.mkdir(parents=True)
    job.run.last.touch()
    assert worker.attempt(job) is None
    assert asked == [str(job.run.folder)]
    job.run.write_summary({})
    assert worker.attempt(job) is None
    assert asked == [str(job.run.folder)], "not trained again"


def finished_before_a_setting(job, folder: str, **changes):
    """A run that finished when ``loss.gather`` was not a setting yet."""
    (before := job.run.folder.with_name(folder)).mkdir(parents=True)
    plain = config.to_dict(job.experiment)
    del plain["loss"]["gather"]
    plain["loss"] |= changes
    (before / "experiment.yaml").write_text(json.dumps(plain))
    (before / "summary.json").write_text("{}")
    return before


def test_a_run_from_before_a_setting_was_added_is_found(place):
    path = write_sweep(place / "s.yaml", "{seed: {values: [0, 1]}}")
    first, second = jobs(path)
    before = finished_before_a_setting(first, "0123456789-0")
    again, other = jobs(path)
    assert again.finished and again.run.folder == before and again.hash == first.hash
    assert not other.finished and other.run.folder == second.run.folder


def test_a_run_with_another_value_or_made_by_hand_is_not_taken_for_one_of_the_sweep(place):
    path = write_sweep(place / "s.yaml", "{seed: {value: 0}}")
    (job,) = jobs(path)
    finished_before_a_setting(job, "0123456789-0", dropout=0.5)
    finished_before_a_setting(job, "20260101-120000-0")
    (unreadable := job.run.folder.with_name("9876543210-0")).mkdir()
    (unreadable / "summary.json").write_text("{}")
    (unreadable / "experiment.yaml").write_text("nonsense: 1")
    assert jobs(path) == [job]
    finished_before_a_setting(job, "0123456789-1", gather=True)
    assert jobs(path) == [job]


def test_a_failure_of_a_run_that_is_no_longer_asked_or_has_finished_since_is_forgotten(place, monkeypatch):
    planned = jobs(write_sweep(place / "s.yaml", "{seed: {values: [0, 1, 2]}}"))
    monkeypatch.setattr("ogreid.sweeps.local.run_jobs", lambda asked, *_: ((job, "too much", 1.0) for job in asked))
    assert sweep.main(["s.yaml"]) == 1
    for job in planned[:2]:
        job.run.folder.mkdir(parents=True)
        job.run.write_summary({"retrieval": {"tiny": numbers(10)}, "transfer": {}})
    assert sweep.main(["s.yaml"]) == 1, "the third is still asked"
    write_sweep(place / "s.yaml", "{seed: {values: [0, 1]}}")
    assert sweep.main(["s.yaml"]) == 0
    assert {run["status"] for run in record()["runs"]} == {"finished"}


def test_a_run_that_came_to_no_checkpoint_starts_anew(place, monkeypatch):
    (job,) = jobs(write_sweep(place / "s.yaml", "{seed: {value: 0}}"))
    job.run.folder.mkdir(parents=True)
    (job.run.folder / "metrics.csv").write_text("half")
    stamps = []

    def train(experiment, resume=None):
        stamps.append((os.environ[runs.STAMP], resume, job.run.folder.exists()))

    monkeypatch.setattr("ogreid.training.train.train", train)
    assert worker.attempt(job) is None
    assert stamps == [(job.hash, None, False)]


def test_the_last_line_of_an_error_is_what_is_told_of_it(place, monkeypatch, capsys):
    (job,) = jobs(write_sweep(place / "s.yaml", "{seed: {value: 0}}"))

    def train(experiment, resume=None):
        raise RuntimeError("too much")

    monkeypatch.setattr("ogreid.training.train.train", train)
    assert worker.attempt(job) == "RuntimeError: too much"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "cards", "slot", "own"),
    [(None, 4, 5, "1"), ("2,3", 8, 1, "3"), ("5", 1, 1, "5"), (None, 0, 1, None), (None, 1, 1, None)],
)
def test_every_process_has_a_graphics_card_of_its_own(monkeypatch, named, cards, slot, own):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    worker.own_device(slot)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == own


@pytest.mark.thorough
def test_a_sweep_killed_half_way_finishes_without_repeating_a_run(place):
    """Killed like by the kernel, in the middle of its second run of three; the workers leave with it."""
    write_sweep(place / "s.yaml", "{seed: {values: [0, 1, 2]}, trainer.max_epochs: {value: 6}}")
    command = [sys.executable, "-m", "ogreid.sweep", "s.yaml"]
    first, second, third = jobs(place / "s.yaml")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not second.run.last.is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.finished and not third.finished
    before = (first.run.folder / "summary.json").stat().st_mtime_ns
    assert record()["runs"][0]["status"] == "finished"
    assert {run["status"] for run in record()["runs"][1:]} == {"waiting"}

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 runs, 2 to do" in done.stderr
    assert (first.run.folder / "summary.json").stat().st_mtime_ns == before
    assert {run["status"] for run in record()["runs"]} == {"finished"}
    assert "resumed" in (second.run.folder / "log.txt").read_text()
    steps = [line.split(",") for line in (second.run.folder / "metrics.csv").read_text().splitlines()]
    assert len({tuple(row) for row in steps}) == len(steps), "no step is logged twice"
    assert len(list(Path("runs/tiny").glob("*-*/summary.json"))) == 3


@pytest.mark.thorough
def test_a_run_that_fails_or_dies_takes_no_other_with_it(place, capfd, caplog):
    """One cannot be trained, one is killed while it trains; the others finish, and only --retry tries again."""
    text = "{data.batch_size: {values: [1000, 8]}, seed: {values: [0, 1, 2]}, trainer.max_epochs: {value: 12}}"
    planned = jobs(write_sweep(place / "s.yaml", text))[2:]
    refused, first, killed, last = planned
    threading.Thread(target=_kill_the_worker_of, args=(killed,), daemon=True).start()
    assert sweep.main(["s.yaml"]) == 1
    found = {run["folder"]: run for run in record()["runs"]}
    told = [found[str(job.run.folder)]["error"] for job in planned]
    assert "do not fill one batch of 1000" in told[0]
    assert told[1:] == [None, "its process died with exit status -9", None]
    assert first.finished and last.finished and not killed.finished
    assert "Traceback" in Path(f"runs/sweeps/s/logs/{refused.run.folder.name}.txt").read_text()
    assert "failed: data.batch_size=1000 seed=2" in capfd.readouterr().out

    with caplog.at_level(logging.INFO):
        assert sweep.main(["s.yaml"]) == 1
    assert "6 runs, 0 to do" in caplog.text
    assert not killed.finished
    assert sweep.main(["s.yaml", "--retry", "--processes", "2"]) == 1
    assert killed.finished


def _kill_the_worker_of(job) -> None:
    while not job.run.last.is_file():
        time.sleep(0.01)
    (worker_process,) = multiprocessing.active_children()
    worker_process.kill()


@pytest.mark.thorough
def test_ctrl_c_leaves_with_the_command_to_go_on(place):
    write_sweep(place / "s.yaml", "{seed: {values: [0, 1]}, trainer.max_epochs: {value: 500}}")
    command = [sys.executable, "-m", "ogreid.sweep", "s.yaml", "--processes", "2"]
    # The tests may have been started in the background, where Ctrl-C is ignored.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard)
    first, second = jobs(place / "s.yaml")
    while not (first.run.last.is_file() and second.run.last.is_file()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everybody gets it
    _, told = process.communicate()
    assert process.returncode == 130
    assert "stopped; to go on: python -m ogreid.sweep s.yaml --processes 2" in told
    assert "Traceback" not in told
    with pytest.raises(ProcessLookupError):
        for _ in range(600):  # multiprocessing's own tracker of resources leaves a moment after the rest
            os.killpg(process.pid, 0)
            time.sleep(0.05)
