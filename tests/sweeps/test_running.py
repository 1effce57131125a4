"""Sweeps that run: every run once, by however many processes, whatever happens to them."""

import collections
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from fabricated import numbers
from ogreid import runs, sweep
from ogreid.errors import InputError
from ogreid.sweeps import running
from ogreid.sweeps.journal import Journal, claim
from ogreid.sweeps.plan import Plan
from ogreid.sweeps.running import Sweep
from sweeping_files import TINY, fake_sweep, write_sweep

FIVE = "{model.k: {values: [2, 3, 4, 5, 6]}, trainer.max_epochs: {value: 4}}"
MEDIAN = "early_terminate: {type: median, min_iter: 1}"


@pytest.fixture
def place(tmp_path, stores, monkeypatch):
    """A working directory with a tiny store, an experiment on it, and a training that takes no time."""
    stores("tiny")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    monkeypatch.setattr(running, "COMMAND", (sys.executable, str(Path(__file__).parents[1] / "fake_fit.py")))
    monkeypatch.setattr(running, "POLL", 0.02)
    monkeypatch.setattr(running, "LOOK", 0.1)
    return tmp_path


def record(name="s"):
    return json.loads(Path(f"runs/sweeps/{name}/sweep.json").read_text())


def statuses(name="s"):
    return {run["name"]: run["status"] for run in record(name)["runs"]}


def starts():
    """Run folder -> how it was started, in order."""
    by_folder = collections.defaultdict(list)
    for line in Path("starts.txt").read_text().splitlines():
        folder, how, _ = line.split()
        by_folder[folder].append(how)
    return by_folder


def wait_for(condition):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def hear_ctrl_c():
    """The tests may have been started in the background, where Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_with_trainings(process, *, trainings=True):
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    for pid in (process.pid, *map(int, children if trainings else ())):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_every_run_is_trained_once_and_the_result_lies_beside(place, capsys):
    write_sweep(place / "s.yaml", "{model.k: {values: [1, 4, 6]}, seed: {values: [0, 1]}}")
    assert sweep.main(["s.yaml"]) == 0
    assert len(starts()) == 6 and all(how == ["started"] for how in starts().values())
    assert {run["value"] for run in record()["runs"]} == {10, 16, 20}
    assert "best by val/mAP: model.k=6 (20.00)" in capsys.readouterr().out
    assert {"table.md", "table.csv", "plot.svg"} <= {path.name for path in Path("runs/sweeps/s").iterdir()}
    with Path("runs/sweeps/s/journal.log").open("a") as file:
        file.write('{"op_code": 4, "worker')  # half a line of a process that was killed
    assert sweep.main(["s.yaml", "data.resident=true"]) == 0
    assert len(Path("starts.txt").read_text().splitlines()) == 6


def test_a_failure_is_tried_again_a_refusal_is_not_and_both_are_told(place, capsys, monkeypatch):
    write_sweep(place / "s.yaml", "{model.k: {values: [1, 2, 4, 6]}}")
    Path("fail-2").write_text("once")
    Path("fail-4").write_text("often\n" * 9)
    Path("refuse-6").write_text("once")
    assert sweep.main(["s.yaml"]) == 1
    assert sorted(len(how) for how in starts().values()) == [1, 1, 2, 2]
    assert list(statuses().values()) == ["finished", "finished", "failed", "failed"]
    assert "failed: model.k=6: no refuse today" in capsys.readouterr().out
    Path("fail-4").unlink()
    assert sweep.main(["s.yaml"]) == 1, "no failure is tried again"
    assert sweep.main(["s.yaml", "--retry"]) == 0
    assert set(statuses().values()) == {"finished"}


def test_a_half_finished_run_is_resumed_and_one_without_a_checkpoint_starts_anew(place):
    half, none = Plan(write_sweep(place / "s.yaml", "{seed: {values: [0, 1]}}")).jobs
    for job in (half, none):
        runs.Run.start(job.experiment, job.run.folder.name.partition("-")[0])
        (job.run.folder / "metrics.csv").write_text("epoch,step,train/loss,val/mAP\n1,1,,8\n")
    half.run.checkpoints.mkdir()
    half.run.last.touch()
    assert sweep.main(["s.yaml"]) == 0
    assert starts() == {str(half.run.folder): ["resumed"], str(none.run.folder): ["started"]}
    assert (none.run.folder / "metrics.csv").read_text().count("\n1,1") == 1


def test_a_missing_store_is_refused_before_anything_runs(place):
    write_sweep(place / "s.yaml", "{data.train: {values: [[tiny], [absent]]}}")
    with pytest.raises(InputError, match="absent"):
        sweep.main(["s.yaml"])
    assert not Path("runs").exists()


def test_bayes_proposes_by_the_results_and_reaches_the_optimum(place):
    write_sweep(place / "s.yaml", "{model.k: {min: 1, max: 60}}", method="bayes")
    assert sweep.main(["s.yaml", "--count", "25"]) == 0
    values = [run["parameters"]["model.k"] for run in record()["runs"]]
    assert 10 < len(values) <= 25 and min(abs(value - 6) for value in values) <= 3
    assert sum(value < 20 for value in values[10:]) > 0.6 * len(values[10:]), "the later ones are near the optimum"


def test_a_run_that_is_worse_than_the_median_is_stopped_and_saved(place, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_EPOCH", "0.3")
    text = "{model.k: {values: [6, 5, 7, 4, 8, 14]}, trainer.max_epochs: {value: 4}}"
    write_sweep(place / "s.yaml", text, more=MEDIAN)
    assert sweep.main(["s.yaml"]) == 0
    assert statuses()["model.k=14"] == "stopped" and list(statuses().values()).count("finished") == 5
    assert "stopped: model.k=14" in capsys.readouterr().out
    (job,) = (job for job in Plan("s.yaml").jobs if job.parameters["model.k"] == 14)
    assert job.run.last.is_file() and not job.finished


def test_successive_halving_keeps_a_share_of_the_runs_at_each_rung(place):
    text = "{model.k: {values: [6, 14, 13, 5]}, trainer.max_epochs: {value: 3}}"
    plan = Plan(write_sweep(place / "s.yaml", text, more="early_terminate: {type: hyperband, min_iter: 1, eta: 2}"))
    journal, pruned = Journal(plan), {}
    while (taken := journal.take()) is not None:
        trial, job, lock = taken
        job.run.folder.mkdir(parents=True)
        level = 10 - abs(job.parameters["model.k"] - 6)
        (job.run.folder / "metrics.csv").write_text(f"val/mAP,step\n{level},1\n,2\n{2 * level},3\n{3 * level}")
        pruned[job.parameters["model.k"]] = journal.report(trial, job.run)
        assert list(journal.study.trials[trial.number].intermediate_values) == [1, 2], "the last line is not whole"
        journal.finish(trial, job, optuna.trial.TrialState.PRUNED, None, final=False)
        lock.release()
    assert pruned == {6: False, 14: True, 13: True, 5: False}


def test_a_run_that_two_sweeps_share_is_trained_once(place):
    for name in ("a", "b"):
        write_sweep(place / f"{name}.yaml", FIVE)
    environment = {**os.environ, "FAKE_EPOCH": "0.1"}
    both = [subprocess.Popen(fake_sweep(f"{name}.yaml"), env=environment) for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(starts()) == 5 and all(how == ["started"] for how in starts().values())
    assert set(statuses("a").values()) == set(statuses("b").values()) == {"finished"}


@pytest.mark.thorough
def test_processes_that_are_killed_lose_no_run_and_repeat_none(place):
    """Three processes share 20 runs; again and again one is killed with its training, or without it."""
    plan = Plan(write_sweep(place / "s.yaml", "{model.k: {min: 1, max: 20}, trainer.max_epochs: {value: 4}}"))
    start = functools.partial(
        subprocess.Popen, fake_sweep("s.yaml", "--processes", "2"), env={**os.environ, "FAKE_EPOCH": "0.2"}
    )
    processes, rng = [start(stderr=subprocess.DEVNULL) for _ in range(3)], random.Random(0)
    for number in range(4):
        time.sleep(rng.uniform(1, 2))
        kill_with_trainings(processes.pop(0), trainings=number % 2 == 1)
        processes.append(start(stderr=subprocess.DEVNULL))
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert set(statuses().values()) == {"finished"} and len(statuses()) == len(starts()) == 20
    assert all(how.count("started") == 1 or "resumed" not in how for how in starts().values())
    for job in plan.jobs:
        rows = (job.run.folder / "metrics.csv").read_text().splitlines()
        assert len(rows) == len(set(rows)) == 5, "each epoch once"


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_ctrl_c_lets_the_runs_save_and_a_second_one_leaves_at_once(place, times):
    write_sweep(place / "s.yaml", FIVE)
    command = fake_sweep("s.yaml", "--processes", "2")
    environment = {**os.environ, "FAKE_EPOCH": "1" if times == 1 else "60"}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_ctrl_c
    )
    wait_for(lambda: len(list(Path().glob("runs/tiny/*/metrics.csv"))) == 2)
    began = time.perf_counter()
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everybody in its group gets it
        time.sleep(0.3)
    _, output = process.communicate()
    assert process.returncode == 130
    assert "to continue: python -m ogreid.sweep s.yaml --processes 2" in output and "Traceback" not in output
    assert len(list(Path().glob("runs/tiny/*/checkpoints/last.ckpt"))) == (2 if times == 1 else 0)
    assert time.perf_counter() - began < 30
    trainings = [int(line.split()[-1]) for line in Path("starts.txt").read_text().splitlines()]
    assert not any(Path(f"/proc/{pid}").exists() for pid in trainings)
    assert set(statuses().values()) == {"waiting"}
    assert subprocess.run(command, stderr=subprocess.DEVNULL, env={**os.environ, "FAKE_EPOCH": "0"}).returncode == 0
    assert set(statuses().values()) == {"finished"}


def test_a_training_that_outlived_its_sweep_has_its_run(place):
    (job,) = Plan(write_sweep(place / "s.yaml", "{seed: {value: 0}}")).jobs
    run = runs.Run.start(job.experiment, job.run.folder.name.partition("-")[0])
    with run.lock():
        assert claim(run.folder) is None
    lock = claim(run.folder)
    assert lock is not None and claim(run.folder) is None
    lock.release()


def test_a_trial_that_another_process_took_for_dead_ends_in_peace(place):
    journal = Journal(Plan(write_sweep(place / "s.yaml", "{seed: {value: 0}}")))
    trial, job, lock = journal.take()
    journal.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    job.run.folder.mkdir(parents=True)
    (job.run.folder / "metrics.csv").write_text("val/mAP\n1\n")
    journal.finish(trial, job, optuna.trial.TrialState.FAIL, "late", final=True)
    lock.release()
    assert journal.take()[1] == job, "offered again"


@pytest.mark.parametrize(
    ("named", "cards", "slot", "own"),
    [(None, 4, 5, "1"), ("2,3", 8, 1, "3"), ("5", 1, 1, "5"), (None, 0, 1, None), (None, 1, 1, None)],
)
def test_every_process_has_a_graphics_card_of_its_own_and_nothing_of_slurms(
    place, monkeypatch, named, cards, slot, own
):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    plan = Plan(write_sweep(place / "s.yaml", "{seed: {value: 0}}"))
    environment = Sweep(plan, "", processes=2)._environment(slot)
    assert environment.get("CUDA_VISIBLE_DEVICES") == own and "SLURM_NTASKS" not in environment


def test_a_metric_that_no_run_holds_stops_nothing(place):
    (job,) = Plan(write_sweep(place / "s.yaml", "{seed: {value: 0}}")).jobs
    job.run.folder.mkdir(parents=True)
    job.run.write_summary({"retrieval": {"tiny": numbers(1) | {"mAP": None}}, "transfer": {}})
    assert sweep.main(["s.yaml"]) == 0
    assert record()["runs"][0]["value"] is None


@pytest.mark.thorough
def test_two_real_trainings(place, monkeypatch):
    """One is killed half-way, and resumed."""
    first, second = Plan(write_sweep(place / "s.yaml", "{seed: {values: [0, 1]}, trainer.max_epochs: {value: 6}}")).jobs
    command = [sys.executable, "-m", "ogreid.sweep", "s.yaml"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(second.run.last.is_file)
    kill_with_trainings(process)
    assert first.finished and not second.finished
    subprocess.run(command, check=True)
    assert set(statuses().values()) == {"finished"}
    assert "resumed" in (second.run.folder / "log.txt").read_text()
    assert len(list(Path().glob("runs/tiny/*/summary.json"))) == 2
