"""A run that was killed, stopped, re-queued or met a bad number resumes to the same bits as one that was not."""

import os
import random
import signal

import pytest
import torch

from conftest import make_place
from killed import Runs
from soak_record import record
from tiny_runs import TINY, logged_rows, only_run, same

SMALL = [
    *(setting for setting in TINY if not setting.startswith(("data.batch_size", "loss.dropout", "trainer.devices"))),
    "ops.backend=plain",
    "data.batch_size=4",
    "loss.dropout=0.5",
    "optimizer.swa_fraction=0.5",
    "optimizer.loss_warmup=2",
    "trainer.max_epochs=5",
    "runs.save_every_n_steps=2",
    "runs.save_best=true",
]
STEPS = 20
"""16 clouds, 4 a step, 5 epochs; the 2nd and the 4th are validated; the network of the 5th is evaluated at its end."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("resume"), tiny={})


@pytest.fixture(scope="module")
def start(place):
    """Calls the command in a process of its own."""
    runs = Runs(place)
    yield runs.fit
    runs.close()


def begin(start, root, *more, **options):
    return start("--experiment", "small", *SMALL, f"runs.root={root}", *more, **options)


@pytest.fixture(scope="module")
def whole(place, start):
    """Nothing happened to this run."""
    status, output = begin(start, "whole")
    assert status == 0, output
    return only_run(place / "whole")


def content(path):
    return torch.load(path, weights_only=True)


def best_score(checkpoint):
    return next(v for k, v in checkpoint["callbacks"].items() if k.startswith("BestCheckpoint"))["best_model_score"]


def assert_same_end(run, whole, *without):
    for name in ("last.ckpt", "best.ckpt", "average.ckpt"):
        one, other = (content(each.checkpoints / name) for each in (run, whole))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            assert same(one[part], other[part]), (name, part)
        assert same(one.get("average"), other.get("average")), name
        assert same(best_score(one), best_score(other)), name
    clocks = ("seconds", "clouds_per_second", "provenance")
    one, other = ({k: v for k, v in each.summary().items() if k not in clocks} for each in (run, whole))
    assert one == other
    assert logged_rows(run, *without) == logged_rows(whole, *without)


def recorded(proof, run, whole):
    """Compare, and write down the result."""
    try:
        assert_same_end(run, whole)
    except AssertionError:
        record(proof, tried=1, lost=1)
        raise
    record(proof, tried=1, lost=0)


def resume(start, run, *more, **options):
    status, output = start("--resume", str(run.folder.relative_to(run.folder.parents[2])), *more, **options)
    assert status in (0, [0] * options.get("processes", 1)), output
    return output


@pytest.mark.thorough
def test_a_run_killed_inside_an_epoch_resumes_to_the_same_bits(place, start, whole):
    """Workers prefetch, and the kill comes twice: the second time after a resume."""
    status, output = begin(start, "twice", faults=[("kill", 7)])
    assert status == -signal.SIGKILL, output
    run = only_run(place / "twice")
    assert content(run.last)["global_step"] == 7  # before the step that a validation follows
    status, output = start("--resume", str(run.folder), faults=[("kill", 4)])
    assert status == -signal.SIGKILL, output
    assert content(run.last)["global_step"] == 10
    resume(start, run, "data.num_workers=2")
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
    status, output = begin(start, root, faults=[(fault, when)])
    assert status == -signal.SIGKILL, output
    run = only_run(place / root)
    assert all(content(path)["state_dict"] for path in run.checkpoints.glob("*.ckpt"))
    resume(start, run)
    assert not list(run.checkpoints.glob("*.part"))
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_sigterm_saves_and_leaves_with_status_0_and_the_command_to_resume(place, start, whole):
    status, output = begin(start, "preempted", "data.num_workers=1", faults=[("term", 5)])
    run = only_run(place / "preempted")
    assert status == 0
    assert f"stopped, and saved in {run.last.relative_to(place)}" in output
    assert f"python -m ogreid.fit --resume {run.folder.relative_to(place)}\n" in output
    assert content(run.last)["global_step"] == 6  # the step was finished
    resume(start, run)
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_ctrl_c_saves_once_and_leaves_at_once_when_it_comes_again(place, start, whole):
    status, output = begin(start, "interrupted", faults=[("interrupt in validation", 0)])
    run = only_run(place / "interrupted")
    assert status == 130 and "Ctrl-C again leaves at once" in output and "Traceback" not in output
    assert content(run.last)["global_step"] == 7  # before the step ahead of the validation
    status, output = start("--resume", str(run.folder), faults=[("interrupt twice", 3)])
    assert status == -signal.SIGINT
    assert content(run.last)["global_step"] == 10
    resume(start, run)
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_slurm_puts_a_job_back_into_the_queue_and_the_same_command_resumes(place, start, whole):
    """Lightning's own re-queueing, at the end of a step; ``scontrol`` is played by a script."""
    (place / "bin").mkdir()
    (place / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {place}/requests.txt\n')
    (place / "bin" / "scontrol").chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "reid", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    job |= {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    status, output = begin(start, "queue", faults=[("requeue", 4), ("term", 5)], **job)
    run = only_run(place / "queue")
    assert status == 0, output
    assert (place / "requests.txt").read_text() == "requeue 77\n"
    assert run.folder.name == "job77-0" and not list(run.folder.glob("hpc_ckpt*"))
    status, output = begin(start, "queue", **job, SLURM_RESTART_COUNT="1")
    assert status == 0, output
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_a_run_that_ends_after_so_many_steps_resumes_exactly_too(place, start, whole):
    """Lightning counts differently with max_steps: a kill inside an epoch, one at its end, one after the last step."""
    limit = "trainer.max_steps=14"
    status, output = begin(start, "limit", limit)
    assert status == 0, output
    status, _ = begin(start, "limited", limit, faults=[("kill", 6)])
    run = only_run(place / "limited")
    assert status == -signal.SIGKILL
    status, _ = start("--resume", str(run.folder), faults=[("kill", 3)])
    assert content(run.last)["global_step"] == 8
    status, _ = start("--resume", str(run.folder), faults=[("kill in validation", 1)])
    assert status == -signal.SIGKILL  # after the last step, while the average is evaluated
    resume(start, run)
    # What is evaluated after the last step is called epoch 3 by one and 4 by the other: it was cut short.
    assert_same_end(run, only_run(place / "limit"), "epoch")
    # The limit was inside an epoch; without it, the rest of that epoch comes next.
    resume(start, run, "trainer.max_steps=-1")
    one, other = (content(each.last) for each in (run, whole))
    assert all(same(one[part], other[part]) for part in ("state_dict", "optimizer_states", "lr_schedulers"))


TWO = ["trainer.strategy=ddp", "data.batch_size=2"]


@pytest.fixture(scope="module")
def whole_of_two(place, start):
    statuses, output = begin(start, "whole-2", *TWO, processes=2)
    assert statuses == [0, 0], output
    return only_run(place / "whole-2")


@pytest.mark.slow
@pytest.mark.parametrize("step", random.Random(8).sample(range(STEPS), 5))
def test_two_processes_killed_at_any_step_resume_to_the_same_bits(place, start, whole_of_two, step):
    root = f"two-{step}"
    statuses, output = begin(start, root, *TWO, faults=[("kill", step)], processes=2)
    assert statuses == [-signal.SIGKILL] * 2, output
    resume(start, only_run(place / root), processes=2)
    recorded("two processes killed", only_run(place / root), whole_of_two)


@pytest.mark.slow
def test_two_processes_stop_together_where_one_is_asked_to(place, start, whole_of_two):
    statuses, output = begin(start, "two-stopped", *TWO, faults=[("term", 5)], only_rank=1, processes=2)
    assert statuses == [0, 0] and output.count("resume with: python -m ogreid.fit --resume") == 1, output
    resume(start, only_run(place / "two-stopped"), processes=2)
    recorded("two processes asked to stop", only_run(place / "two-stopped"), whole_of_two)


@pytest.mark.thorough
@pytest.mark.parametrize("shared", [False, True])
def test_clouds_that_one_of_two_processes_refuses_stop_both_with_its_words(place, start, shared):
    """Where the process that refuses left in the middle of the step, the other one would wait for it."""
    together = ["loss.gather=true", "trainer.sync_batchnorm=true"] if shared else []
    root = f"refused-{shared}"
    statuses, output = begin(start, root, *TWO, *together, faults=[("nan", 5)], only_rank=1, processes=2)
    assert statuses == [2, 0] and output.count("error: ") == 1 and "Traceback" not in output, output
    assert "error: step 5 (epoch 1, batch 1): the loss is nan; first: xyz of the clouds" in output
    assert (only_run(place / root).checkpoints / "bad-step-5.ckpt").is_file()


@pytest.mark.thorough
def test_clouds_that_one_of_two_processes_cannot_embed_are_refused_by_the_evaluation_of_both(place, start):
    settings = [*TWO, "data.eval_batch_size=4"]
    statuses, output = begin(start, "unseen", *settings, faults=[("nan in validation", 0)], only_rank=1, processes=2)
    assert statuses == [2, 2] and "Traceback" not in output, output
    assert "farthest points: cloud 0, point 0 is [nan, nan, nan]" in output
    assert "error: tiny: query embedding " in output


@pytest.mark.thorough
def test_two_processes_skip_a_step_that_one_of_them_refuses(place, start):
    settings = [*TWO, "runs.skip_bad_steps=1"]
    statuses, output = begin(start, "skipped", *settings, faults=[("nan", 5)], only_rank=1, processes=2)
    assert statuses == [0, 0] and output.count("skipped (1 of at most 1): step 5") == 1, output
    run = only_run(place / "skipped")
    assert run.summary()["skipped_steps"] == 1
    assert all(value.isfinite().all() for value in content(run.last)["state_dict"].values())


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_killed_at_any_step_resumes_to_the_same_bits(place, start, whole, step):
    status, output = begin(start, f"any-{step}", faults=[("kill", step)])
    assert status == -signal.SIGKILL, output
    resume(start, only_run(place / f"any-{step}"))
    recorded("one process killed", only_run(place / f"any-{step}"), whole)
