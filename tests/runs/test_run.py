"""Run folders: created once, opened again, written by one process, never half-written."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ogreid import config
from ogreid.errors import InputError
from ogreid.runs import STAMP, Run, run
from ogreid.training.distributed import run_stamp
from ogreid.training.train import train


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    for name in (STAMP, "SLURM_JOB_ID", "NODE_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return config.load("market_circle", [f"runs.root={tmp_path / 'runs'}", "seed=4"])


def test_a_run_folder_holds_the_resolved_experiment(experiment):
    started = Run.start(experiment, "20260101-120000")
    assert started.folder.name == "20260101-120000-4"
    assert Run.open(started.folder).experiment() == experiment
    assert Run.open(started.last).folder == started.folder
    assert started.experiment(("trainer.max_epochs=3",)).trainer["max_epochs"] == 3
    assert started.tracking_id == Run.open(started.folder).tracking_id != Run.start(experiment, "y").tracking_id


def test_the_result_is_the_averaged_network_where_there_is_one(experiment):
    started = Run.start(experiment, "x")
    assert started.result == started.last
    started.checkpoints.mkdir()
    started.average.touch()
    assert started.result == started.average


def test_every_process_of_a_run_gets_the_same_stamp_and_the_next_run_another(experiment, monkeypatch):
    stamps = []
    for _ in range(3):
        monkeypatch.delenv(STAMP, raising=False)
        stamps.append(run_stamp(experiment))
        assert run_stamp(experiment) == stamps[-1]
    assert len(set(stamps)) == 3


def test_a_slurm_job_has_one_stamp_and_a_further_machine_that_cannot_know_it_is_refused(experiment, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(InputError, match=STAMP):
        run_stamp(experiment)
    monkeypatch.delenv("NODE_RANK")
    monkeypatch.setenv("SLURM_JOB_ID", "77")  # the same for all tasks, and after a re-queue
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for task in ("0", "1"):
        monkeypatch.delenv(STAMP, raising=False)
        monkeypatch.setenv("SLURM_PROCID", task)
        assert run_stamp(experiment) == "job77"


def test_what_is_no_run_or_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no experiment\.yaml"):
        Run.open(tmp_path)
    (tmp_path / "file").write_text("in the way")
    experiment = config.load("market_circle", [f"runs.root={tmp_path / 'file'}"])
    with pytest.raises(InputError, match=r"runs\.root="):
        Run.start(experiment, "x")


def test_a_summary_is_replaced_in_one_step_and_what_could_not_be_measured_is_null(experiment):
    started = Run.start(experiment, "x")
    started.write_summary({"a": 1})
    started.write_summary({"a": float("nan"), "b": [float("inf"), 2]})
    assert started.summary() == {"a": None, "b": [None, 2]} == json.loads((started.folder / "summary.json").read_text())
    assert not list(started.folder.glob("*.part"))
    for text in ("{", "3"):
        (started.folder / "summary.json").write_text(text)
        with pytest.raises(InputError, match=r"summary\.json"):
            started.summary()


def test_two_trainings_never_write_to_one_folder(experiment, monkeypatch):
    started = Run.start(experiment, "20260101-120000")
    monkeypatch.setattr(run, "LOCK_TIMEOUT", 0.1)
    with started.lock():
        with pytest.raises(InputError, match="in progress"):
            train(experiment, resume=str(started.folder))
        monkeypatch.setenv(STAMP, "20260101-120000")  # two steps of one SLURM job
        with pytest.raises(InputError, match="in progress"):
            train(experiment)
        assert (started.folder / "experiment.yaml").is_file(), "the folder is the other one's"
    with started.lock():
        pass
    assert not (started.folder / "lock").exists()


def test_runs_that_start_in_the_same_moment_get_a_folder_each(experiment):
    start = threading.Barrier(8)

    def stamp(_):
        start.wait()
        return Run.new_stamp(experiment)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(stamp, range(8)))) == 8
