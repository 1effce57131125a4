"""A run that was killed, stopped, or met a full disk or a bad number, goes on to the same bits as one that was not."""

import csv
import os
import random
import signal

import pytest
import torch

from conftest import write_tiny_store
from killed import Runs
from ogreid import runs
from soak_record import record
from test_training import TINY

SMALL = [
    *(setting for setting in TINY if not setting.startswith(("data.batch_size", "loss.dropout", "trainer.devices"))),
    "ops.backend=plain",
    "data.batch_size=4",
    "loss.dropout=0.5",
    "optimizer.swa_fraction=0.5",
    "optimizer.loss_warmup=2",
    "trainer.check_val_every_n_epoch=2",
    "trainer.max_epochs=5",
    "trainer.save_every_n_steps=2",
    "trainer.devices=1",
]
STEPS = 20
"""16 clouds, 4 a step, 5 epochs; the 2nd and the 4th are validated, and the network of the 5th is judged at its end."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    write_tiny_store(folder / "data" / "tiny")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "small.yaml").write_text("description: tiny\n")
    return folder


@pytest.fixture(scope="module")
def start(place):
    """Calls the door in a process of its own."""
    made = Runs(place)
    yield made.fit
    made.close()


def only(place, root):
    (folder,) = (place / root / "small").iterdir()
    return runs.open_run(folder)


def begin(start, root, *more, **how):
    return start("--experiment", "small", *SMALL, f"runs.root={root}", *more, **how)


@pytest.fixture(scope="module")
def whole(place, start):
    """Nothing happened to this run."""
    status, said = begin(start, "whole")
    assert status == 0, said
    return only(place, "whole")


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def rows(run, *without):
    """Of metrics.csv, without what a clock said."""
    left_out = ("train/clouds_per_second", *without)
    with (run.folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in left_out} for row in csv.DictReader(file)]


def assert_same_end(run, whole, *without):
    for name in ("last.ckpt", "best.ckpt", "average.ckpt"):
        one, other = (torch.load(folder.checkpoints / name, weights_only=True) for folder in (run, whole))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            assert same(one[part], other[part]), (name, part)
        assert same(one.get("average"), other.get("average")), name
        best = [next(v for k, v in each["callbacks"].items() if k.startswith("KeepBest")) for each in (one, other)]
        assert same(best[0]["best_model_score"], best[1]["best_model_score"])
    clocks = ("seconds", "clouds_per_second", "provenance")
    one, other = ({k: v for k, v in each.summary().items() if k not in clocks} for each in (run, whole))
    assert one == other
    assert rows(run, *without) == rows(whole, *without)


def proven(proof, run, whole):
    """Compare, and write down what came of it."""
    try:
        assert_same_end(run, whole)
    except AssertionError:
        record(proof, tried=1, lost=1)
        raise
    record(proof, tried=1, lost=0)


def go_on(start, run, *more, **how):
    status, said = start("--resume", str(run.folder.relative_to(run.folder.parents[2])), *more, **how)
    assert status in (0, [0] * how.get("processes", 1)), said
    return said


@pytest.mark.thorough
def test_a_run_killed_inside_an_epoch_goes_on_to_the_same_bits(place, start, whole):
    """Workers prefetch, and the kill comes twice: the second time after a resume."""
    status, said = begin(start, "twice", faults=[("kill", 7)])
    assert status == -signal.SIGKILL, said
    run = only(place, "twice")
    held = torch.load(run.last, weights_only=True)
    assert held["global_step"] == 7  # before the step that a validation follows
    status, said = start("--resume", str(run.folder), faults=[("kill", 4)])
    assert status == -signal.SIGKILL, said
    assert torch.load(run.last, weights_only=True)["global_step"] == 10
    go_on(start, run, "data.num_workers=2")
    assert_same_end(run, whole)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fault", "when"),
    [("kill", 0), ("kill in validation", 1), ("kill in writing", 3), ("kill in writing", 9), ("kill in validation", 3)],
)
def test_a_kill_before_the_first_checkpoint_in_a_validation_or_while_writing_loses_nothing(
    place, start, whole, fault, when
):
    root = f"{fault}-{when}".replace(" ", "-")
    status, said = begin(start, root, faults=[(fault, when)])
    assert status == -signal.SIGKILL, said
    run = only(place, root)
    for kept in run.checkpoints.glob("*.ckpt"):
        assert torch.load(kept, weights_only=True)["state_dict"]
    go_on(start, run)
    assert not list(run.checkpoints.glob("*.part"))
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_sigterm_saves_and_leaves_with_status_0_and_the_command_to_go_on(place, start, whole):
    status, said = begin(start, "preempted", "data.num_workers=1", faults=[("term", 5)])
    run = only(place, "preempted")
    assert status == 0
    assert f"stopped, and saved in {run.last.relative_to(place)}" in said
    assert f"go on with: python -m ogreid.fit --resume {run.folder.relative_to(place)}" in said
    assert torch.load(run.last, weights_only=True)["global_step"] == 6  # the step was finished
    go_on(start, run)
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_ctrl_c_saves_once_and_leaves_at_once_when_it_comes_again(place, start, whole):
    status, said = begin(start, "interrupted", faults=[("interrupt in validation", 0)])
    run = only(place, "interrupted")
    assert status == 130 and "Ctrl-C again leaves at once" in said and "Traceback" not in said
    assert torch.load(run.last, weights_only=True)["global_step"] == 7  # before the step ahead of the validation
    status, said = start("--resume", str(run.folder), faults=[("interrupt twice", 3)])
    assert status == -signal.SIGINT
    assert torch.load(run.last, weights_only=True)["global_step"] == 10
    go_on(start, run)
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_slurm_puts_a_job_back_into_the_queue_and_the_same_command_goes_on(place, start, whole):
    """Lightning's own re-queueing, at the end of a step; ``scontrol`` is played by a script."""
    (place / "bin").mkdir()
    (place / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {place}/asked.txt\n')
    (place / "bin" / "scontrol").chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "reid", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    job |= {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    status, said = begin(start, "queue", faults=[("requeue", 4), ("term", 5)], **job)
    run = only(place, "queue")
    assert status == 0, said
    assert (place / "asked.txt").read_text() == "requeue 77\n"
    assert run.folder.name == "job77-0" and not list(run.folder.glob("hpc_ckpt*"))
    status, said = begin(start, "queue", **job, SLURM_RESTART_COUNT="1")
    assert status == 0, said
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_a_run_that_ends_after_so_many_steps_goes_on_exactly_too(place, start, whole):
    """Lightning counts differently with max_steps: a kill inside an epoch, one at its end, one after the last step."""
    limit = "trainer.max_steps=14"
    status, said = begin(start, "limit", limit)
    assert status == 0, said
    status, _ = begin(start, "limited", limit, faults=[("kill", 6)])
    run = only(place, "limited")
    assert status == -signal.SIGKILL
    status, _ = start("--resume", str(run.folder), faults=[("kill", 3)])
    assert torch.load(run.last, weights_only=True)["global_step"] == 8
    status, _ = start("--resume", str(run.folder), faults=[("kill in validation", 1)])
    assert status == -signal.SIGKILL  # after the last step, while the average is judged
    go_on(start, run)
    # What is judged after the last step is called epoch 3 by one and 4 by the other: it was cut short.
    assert_same_end(run, only(place, "limit"), "epoch")
    # The limit was inside an epoch; without it, the rest of that epoch comes next.
    go_on(start, run, "trainer.max_steps=-1")
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(*(torch.load(each.last, weights_only=True)[part] for each in (run, whole)))


TWO = ["trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=2"]


@pytest.fixture(scope="module")
def whole_of_two(place, start):
    statuses, said = begin(start, "whole-2", *TWO, processes=2)
    assert statuses == [0, 0], said
    return only(place, "whole-2")


@pytest.mark.slow
@pytest.mark.parametrize("step", random.Random(8).sample(range(STEPS), 5))
def test_two_processes_killed_at_any_step_go_on_to_the_same_bits(place, start, whole_of_two, step):
    root = f"two-{step}"
    statuses, said = begin(start, root, *TWO, faults=[("kill", step)], processes=2)
    assert statuses == [-signal.SIGKILL] * 2, said
    go_on(start, only(place, root), processes=2)
    proven("two processes killed", only(place, root), whole_of_two)


@pytest.mark.slow
def test_two_processes_stop_together_where_one_is_asked_to(place, start, whole_of_two):
    statuses, said = begin(start, "two-asked", *TWO, faults=[("term", 5)], only_rank=1, processes=2)
    assert statuses == [0, 0] and said.count("go on with: python -m ogreid.fit --resume") == 1, said
    go_on(start, only(place, "two-asked"), processes=2)
    proven("two processes asked to stop", only(place, "two-asked"), whole_of_two)


@pytest.mark.thorough
@pytest.mark.parametrize("shared", [False, True])
def test_clouds_that_one_of_two_processes_refuses_stop_both_with_its_words(place, start, shared):
    """Where the process that refuses left in the middle of the step, the other one would wait for it."""
    together = ["loss.gather=true", "trainer.sync_batchnorm=true"] if shared else []
    root = f"refused-{shared}"
    statuses, said = begin(start, root, *TWO, *together, faults=[("nan", 5)], only_rank=1, processes=2)
    assert statuses == [2, 0] and said.count("error: ") == 1 and "Traceback" not in said, said
    assert "error: step 5 (epoch 1, batch 1): the loss is nan; first: xyz of the clouds themselves; clouds: " in said
    assert (only(place, root).checkpoints / "bad-step-5.ckpt").is_file()


@pytest.mark.thorough
def test_clouds_that_one_of_two_processes_cannot_embed_are_refused_by_the_judge_of_both(place, start):
    told = [*TWO, "data.eval_batch_size=4"]
    statuses, said = begin(start, "unseen", *told, faults=[("nan in validation", 0)], only_rank=1, processes=2)
    assert statuses == [2, 2] and "Traceback" not in said, said
    assert "farthest points: cloud 0, point 0 is [nan, nan, nan]; every coordinate must be finite" in said
    assert "error: tiny: query embedding " in said and "holds a value that is not finite" in said


@pytest.mark.thorough
def test_two_processes_leave_out_a_step_that_one_of_them_refuses(place, start):
    told = [*TWO, "trainer.skip_bad_steps=1"]
    statuses, said = begin(start, "left-out", *told, faults=[("nan", 5)], only_rank=1, processes=2)
    assert statuses == [0, 0] and said.count("left out (1 of at most 1): step 5") == 1, said
    run = only(place, "left-out")
    assert run.summary()["skipped_steps"] == 1
    assert all(value.isfinite().all() for value in torch.load(run.last, weights_only=True)["state_dict"].values())


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_killed_at_any_step_goes_on_to_the_same_bits(place, start, whole, step):
    status, said = begin(start, f"any-{step}", faults=[("kill", step)])
    assert status == -signal.SIGKILL, said
    go_on(start, only(place, f"any-{step}"))
    proven("one process killed", only(place, f"any-{step}"), whole)
