"""A real SLURM of two nodes: signals and kills in every phase of a run, a node that dies, a sweep on both nodes."""

import json
import shlex
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from conftest import make_place
from ogreid.runs import Run
from slurm_cluster import Cluster, missing
from soak_record import record
from sweeping_files import TINY, write_sweep
from tiny_runs import clean_environment, content, logged_rows, same, without

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM to be started here: {', '.join(missing())}"),
]

SETTINGS = [
    *without("data.batch_size", "data.num_workers", "loss.dropout", "trainer.devices", "data.test", "data.eval"),
    "ops.backend=plain",
    "data.batch_size=2",
    "data.eval_batch_size=2",
    "data.num_workers=1",
    "data.test=[tiny,plaza-4]",
    "data.num_points=64",
    "loss.dropout=0.5",
    "optimizer.swa_fraction=0.5",
    "optimizer.loss_warmup=2",
    "trainer.max_epochs=16",
    "runs.save_every_n_steps=2",
    "runs.pictures=false",
]
LONGEST = 240  # seconds between two starts of a job: longer is a hang

TWO_NODES = [
    *(["packing", 1, "signal", 0], ["start", 0, "signal", 0], ["loader", 0, "signal", 0], ["loader", 1, "signal", 1]),
    *(["step", 0, "signal", 1], ["step", 1, "signal", 0], ["step", 2, "kill", 1], ["checkpoint", 3, "signal", 0]),
    *(["validation", 1, "signal", 0], ["validation", 2, "signal", 1], ["checkpoint", 1, "kill", 0]),
    *(["step", 2, "node", 1], ["validation", 0, "kill", 1], ["step", 3, "signal", 1], ["report", 0, "signal", 0]),
]
ONE_NODE = [
    *(["packing", 0, "signal", 0], ["packing", 2, "kill", 0], ["start", 0, "signal", 0], ["loader", 0, "signal", 0]),
    *(["loader", 1, "signal", 0], ["loader", 2, "signal", 0], ["step", 0, "signal", 0], ["step", 3, "kill", 0]),
    *(["checkpoint", 0, "signal", 0], ["checkpoint", 2, "signal", 0], ["validation", 0, "signal", 0]),
    *(["validation", 3, "signal", 0], ["checkpoint", 1, "kill", 0], ["step", 4, "signal", 0]),
    *(["validation", 1, "kill", 0], ["step", 1, "signal", 0], ["report", 0, "signal", 0], ["report", 0, "kill", 0]),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    started.environment |= clean_environment(SLURM_CONF=started.environment["SLURM_CONF"], MASTER_ADDR="127.0.0.1")
    yield started
    started.stop()


def train(cluster, folder, nodes, faults=()):
    """The run of a job that goes back into the queue after each fault, and how often it hung."""
    make_place(folder, tiny={})
    words = [sys.executable, str(Path(__file__).with_name("slurm_task.py")), "--experiment", "small", *SETTINGS]
    strategy = ["trainer.strategy=ddp", f"trainer.num_nodes={nodes}", "trainer.devices=1"]
    (folder / "faults.json").write_text(json.dumps(faults))
    script = f"FAULTS=$(cat faults.json) srun {shlex.join(words + strategy)}"
    options = (f"--nodes={nodes}", "--ntasks-per-node=1", "--requeue")
    job, hung, starts, hurried, since = cluster.submit(script, folder, *options), 0, 0, 0, time.monotonic()
    while True:
        time.sleep(1)
        state, restarts = cluster.job(job)
        if restarts > starts or state == "RUNNING":
            since = time.monotonic() if restarts > starts else since
            starts = restarts
        if state == "COMPLETED":
            return Run.open(folder / "runs" / "small" / f"job{job}-0"), hung, starts
        if state == "PENDING":
            if restarts > hurried:
                time.sleep(3)  # the credential of the start before is revoked to the second
                cluster.hurry(job)
                hurried = restarts
            for node in ("one", "two"):
                if cluster.state(node).startswith("DOWN"):
                    cluster.start_node(node)
        if state in ("FAILED", "NODE_FAIL", "CANCELLED", "TIMEOUT"):
            assert restarts < len(faults) and faults[restarts][2] == "kill", (folder / f"job{job}.txt").read_text()
            cluster.call("scontrol", "requeue", job)  # what a person does after a kill
        if time.monotonic() - since > LONGEST:
            hung += 1
            cluster.call("scontrol", "requeue", job)
            since = time.monotonic()


@pytest.mark.parametrize(("nodes", "faults"), [(2, TWO_NODES), (1, ONE_NODE)])
def test_a_run_that_is_signalled_and_killed_in_every_phase_ends_like_one_that_is_not(cluster, tmp_path, nodes, faults):
    whole, _, _ = train(cluster, tmp_path / "whole", nodes)
    run, hung, starts = train(cluster, tmp_path / "broken", nodes, faults)
    planned = [kind for _, _, kind, _ in faults]
    assert (tmp_path / "broken" / "faults.txt").read_text().split() == planned and starts == len(faults)
    assert not list((tmp_path / "broken").rglob("hpc_ckpt_*"))
    one, other = (content(each.last) for each in (run, whole))
    lost = other["global_step"] - one["global_step"]
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    equal = all(same(one[part], other[part]) for part in parts) and logged_rows(run) == logged_rows(whole)
    record(f"a job of SLURM on {nodes} nodes", tried=len(faults), lost=int(not equal), hung=hung, steps=lost)
    assert (hung, lost, equal) == (0, 0, True)
    numbers = [each.summary()["retrieval"] for each in (run, whole)]
    assert numbers[0] == numbers[1]


def test_a_sweep_divided_by_two_nodes_of_which_one_dies_has_every_result_once(cluster, tmp_path):
    make_place(tmp_path, tiny={})
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    parameters = "{model.k: {values: [2, 3, 4, 5, 6]}, seed: {values: [0, 1, 2, 3]}}"
    write_sweep(tmp_path / "grid.yaml", parameters)
    script = f"srun {sys.executable} -m ogreid.sweep grid.yaml --name s"
    jobs = [cluster.submit(script, tmp_path, f"--nodelist={node}", "--no-requeue") for node in ("one", "two")]
    sweep = tmp_path / "runs" / "sweeps" / "s" / "sweep.json"

    def finished() -> int:
        try:
            return [run["status"] for run in json.loads(sweep.read_text())["runs"]].count("finished")
        except (OSError, ValueError):
            return 0

    assert cluster.wait_for(lambda: finished() >= 8, 900)
    cluster.kill_node("two", jobs[1])
    assert cluster.wait_for(lambda: cluster.job(jobs[0])[0] not in ("RUNNING", "COMPLETING"), 900)
    assert cluster.job(jobs[0])[0] == "COMPLETED", (tmp_path / f"job{jobs[0]}.txt").read_text()
    (study,) = optuna.get_all_study_names(
        storage := JournalStorage(JournalFileBackend(str(sweep.with_name("journal.log"))))
    )
    trials = optuna.load_study(study_name=study, storage=storage).trials
    ended = [trial.user_attrs["folder"] for trial in trials if trial.state is TrialState.COMPLETE]
    twice = len(ended) - len(set(ended))
    record("a sweep of 20 runs on two nodes", tried=20, lost=20 - finished(), twice=twice)
    assert (finished(), len(ended), twice) == (20, 20, 0)
    cluster.start_node("two")
