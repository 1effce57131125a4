"""Run folders: made once, found again, never half-written."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ogreid import config, locks, runs
from ogreid.training.train import train
from ogreid.errors import InputError


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.delenv(runs.STAMP, raising=False)
    return config.load("market_circle", [f"runs.root={tmp_path / 'runs'}", "seed=4"])


def test_a_run_folder_holds_the_resolved_experiment(experiment):
    run = runs.start_run(experiment, "20260101-120000")
    assert run.folder.name == "20260101-120000-4"
    assert runs.open_run(run.folder).experiment() == experiment
    assert runs.open_run(run.last).folder == run.folder


def test_every_process_of_a_run_gets_the_same_stamp(experiment, monkeypatch):
    first = runs.new_stamp(experiment)
    assert runs.new_stamp(experiment) == first


def test_two_runs_in_one_second_get_two_folders(experiment, monkeypatch):
    folders = []
    for _ in range(3):
        monkeypatch.delenv(runs.STAMP, raising=False)
        folders.append(runs.start_run(experiment, runs.new_stamp(experiment)).folder)
    assert len(set(folders)) == 3


def test_a_slurm_job_has_one_stamp_on_all_its_tasks_and_after_a_requeue(experiment, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    stamps = set()
    for task in ("0", "1"):
        monkeypatch.delenv(runs.STAMP, raising=False)
        monkeypatch.setenv("SLURM_PROCID", task)
        stamps.add(runs.new_stamp(experiment))
    assert stamps == {"job77"}


def test_overrides_apply_to_a_resumed_run(experiment):
    run = runs.start_run(experiment, "x")
    assert run.experiment(("trainer.max_epochs=3",)).trainer.max_epochs == 3


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"not a run \(no experiment.yaml in .*give a folder like runs/demo"):
        runs.open_run(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    experiment = config.load("market_circle", [f"runs.root={tmp_path / 'file'}"])
    with pytest.raises(InputError, match=r"no run can be kept there .*runs\.root="):
        runs.start_run(experiment, "x")


def test_a_summary_is_replaced_in_one_step(experiment):
    run = runs.start_run(experiment, "x")
    run.write_summary({"a": 1})
    run.write_summary({"a": 2})
    assert run.summary() == {"a": 2} == json.loads((run.folder / "summary.json").read_text())
    assert not list(run.folder.glob("*.part"))


def test_the_tracking_id_belongs_to_the_folder(experiment):
    one, other = runs.start_run(experiment, "x"), runs.start_run(experiment, "y")
    assert one.tracking_id == runs.open_run(one.folder).tracking_id != other.tracking_id


def test_provenance_names_versions():
    found = runs.provenance()
    assert found["torch"].split("+")[0].count(".") == 2 and found["git"]


def test_two_fits_never_write_to_one_folder(experiment, monkeypatch):
    run = runs.start_run(experiment, "20260101-120000")
    lock = runs.hold(run)
    monkeypatch.setattr(runs, "PATIENCE", 0.1)
    with pytest.raises(InputError, match="another process trains here; wait for it to end"):
        train.train(experiment, resume=str(run.folder))
    monkeypatch.setenv(runs.STAMP, "20260101-120000")  # two steps of one SLURM job
    with pytest.raises(InputError, match="another process trains here"):
        train.train(experiment)
    assert (run.folder / "experiment.yaml").is_file(), "the folder is the other one's"
    locks.release(run.lock, lock)
    locks.release(run.lock, runs.hold(run))
    assert not run.lock.exists()


def test_runs_that_start_in_the_same_moment_get_a_folder_each(experiment):
    start, root = threading.Barrier(8), Path(experiment.runs.root) / experiment.name

    def stamp(_):
        start.wait()
        return runs._free_stamp(root, experiment.seed)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(stamp, range(8)))) == 8


@pytest.mark.thorough
def test_runs_of_two_processes_that_start_in_the_same_second_get_a_folder_each(tmp_path):
    """A hundred each, as fast as they can: several of each process fall into every second."""
    taking = f"for _ in range(100): print(runs._free_stamp(Path({str(tmp_path / 'small')!r}), 3))"
    command = [sys.executable, "-c", f"from pathlib import Path; from ogreid import runs\n{taking}"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    stamps = [process.communicate(timeout=300)[0].split() for process in both]
    assert [len(each) for each in stamps] == [100, 100] and not set(stamps[0]) & set(stamps[1])
    assert len(list((tmp_path / "small").iterdir())) == 200
