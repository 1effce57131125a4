"""A run that was killed, stopped, re-queued or met a bad number resumes to the same bits as one that was not."""

import os
import random
import signal

import pytest

from conftest import make_place
from killed import Runs
from soak_record import record
from tiny_runs import content, logged_rows, only_run, same, without

SMALL = [
    *without("data.batch_size", "loss.dropout", "trainer.devices"),
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
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("resume"), tiny={})


@pytest.fixture(scope="module")
def start(place):
    """Calls the command in a process of its own."""
    runs = Runs(place)
    yield runs.fit
    runs.close()


@pytest.fixture(scope="module")
def begin(place, start):
    """Starts a new run, and says how it ended: its folder, its status, what was output."""

    def begin(root, *settings, **options):
        result = start("--experiment", "small", *SMALL, f"runs.root={root}", *settings, **options)
        return only_run(place / root), *result

    return begin


@pytest.fixture(scope="module")
def resume(start):
    """Resumes a run to its end."""

    def resume(run, *settings, **options):
        status, output = start("--resume", str(run.folder), *settings, **options)
        assert status in (0, [0] * options.get("processes", 1)), output

    return resume


@pytest.fixture(scope="module")
def whole(begin):
    """Nothing happened to this run."""
    run, status, output = begin("whole")
    assert status == 0, output
    return run


def steps(run):
    """Of its last checkpoint."""
    return content(run.last)["global_step"]


def best_score(checkpoint):
    return next(v for k, v in checkpoint["callbacks"].items() if k.startswith("BestCheckpoint"))["best_model_score"]


def assert_same_end(run, whole, *left_out):
    for name in ("last.ckpt", "best.ckpt", "average.ckpt"):
        one, other = (content(each.checkpoints / name) for each in (run, whole))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "average"):
            assert same(one.get(part), other.get(part)), (name, part)
        assert same(best_score(one), best_score(other)), name
    clocks = ("seconds", "clouds_per_second", "provenance")
    one, other = ({k: v for k, v in each.summary().items() if k not in clocks} for each in (run, whole))
    assert one == other
    assert logged_rows(run, *left_out) == logged_rows(whole, *left_out)


def recorded(proof, run, whole):
    """Compare, and write down the result."""
    lost = 1
    try:
        assert_same_end(run, whole)
        lost = 0
    finally:
        record(proof, tried=1, lost=lost)


@pytest.mark.thorough
def test_a_run_killed_inside_an_epoch_resumes_to_the_same_bits(begin, start, resume, whole):
    """Workers prefetch, and the kill comes twice: the second time after a resume."""
    run, status, output = begin("twice", faults=[("kill", 7)])
    assert (status, steps(run)) == (KILLED, 7), output  # before the step that a validation follows
    status, output = start("--resume", str(run.folder), faults=[("kill", 4)])
    assert (status, steps(run)) == (KILLED, 10), output
    resume(run, "data.num_workers=2")
    assert_same_end(run, whole)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fault", "when"),
    [("kill", 0), ("kill in validation", 1), ("kill in writing", 3), ("kill in writing", 9), ("kill in validation", 3)],
)
def test_a_kill_before_the_first_checkpoint_in_a_validation_or_while_writing_loses_nothing(
    begin, resume, whole, fault, when
):
    run, status, output = begin(f"{fault}-{when}".replace(" ", "-"), faults=[(fault, when)])
    assert status == KILLED, output
    assert all(content(path)["state_dict"] for path in run.checkpoints.glob("*.ckpt"))
    resume(run)
    assert not list(run.checkpoints.glob("*.part"))
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_sigterm_saves_and_leaves_with_status_0_and_the_command_to_resume(begin, resume, whole, place):
    run, status, output = begin("preempted", "data.num_workers=1", faults=[("term", 5)])
    assert (status, steps(run)) == (0, 6), output  # the step was finished
    assert f"saved in {run.last.relative_to(place)}" in output
    assert f"python -m ogreid.fit --resume {run.folder.relative_to(place)}\n" in output
    resume(run)
    assert_same_end(run, whole)


@pytest.mark.thorough
def test_ctrl_c_saves_once_and_leaves_at_once_when_it_comes_again(begin, start, resume, whole):
    run, status, output = begin("interrupted", faults=[("interrupt in validation", 0)])
    assert (status, steps(run)) == (130, 7)  # before the step ahead of the validation
    assert "Ctrl-C again leaves at once" in output and "Traceback" not in output
    status, _ = start("--resume", str(run.folder), faults=[("interrupt twice", 3)])
    assert (status, steps(run)) == (-signal.SIGINT, 10)
    resume(run)
    assert_same_end(run, whole)


@pytest.fixture(scope="module")
def scheduler(place):
    """The environment of a job that ``srun`` started."""
    (place / "bin").mkdir()
    (place / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {place}/requests.txt\n')
    (place / "bin" / "scontrol").chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "reid", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "1"}
    return job | {"PATH": f"{place}/bin:{os.environ['PATH']}"}


@pytest.mark.thorough
def test_slurm_puts_a_job_back_into_the_queue_and_the_same_command_resumes(begin, whole, place, scheduler):
    """At the end of a step; ``scontrol`` is played by a script, and Lightning's own checkpoint is never read."""
    run, status, output = begin("queue", faults=[("requeue", 4), ("term", 5)], **scheduler)
    assert status == 0, output
    assert (place / "requests.txt").read_text() == "requeue 77\n"
    assert run.folder.name == "job77-0" and not list(place.rglob("hpc_ckpt*"))
    older = [folder / "hpc_ckpt_1.ckpt" for folder in (place, run.folder)]
    for path in older:
        path.write_bytes(b"of an older step")
    run, status, output = begin("queue", **scheduler, SLURM_RESTART_COUNT="1")
    assert status == 0, output
    assert_same_end(run, whole)
    for path in older:
        path.unlink()


@pytest.mark.thorough
def test_a_signal_before_the_first_step_and_in_a_validation_puts_the_job_back_at_once(begin, scheduler, place):
    """Nothing is saved by it: SLURM ends the processes, which are played by SIGTERM and a kill."""
    for root, faults in (("early", [("requeue in start", 0)]), ("validating", [("requeue in validation", 0)])):
        (place / "requests.txt").unlink(missing_ok=True)
        _, status, output = begin(root, faults=[*faults, ("kill in writing", 9)], **scheduler)
        assert status == KILLED, output
        assert (place / "requests.txt").read_text() == "requeue 77\n"


@pytest.mark.thorough
def test_a_run_that_ends_after_so_many_steps_resumes_exactly_too(begin, start, resume, whole):
    """Lightning counts differently with max_steps: a kill inside an epoch, one at its end, one after the last step."""
    limit = "trainer.max_steps=14"
    limited, status, output = begin("limit", limit)
    assert status == 0, output
    run, status, _ = begin("limited", limit, faults=[("kill", 6)])
    assert status == KILLED
    start("--resume", str(run.folder), faults=[("kill", 3)])
    assert steps(run) == 8
    status, _ = start("--resume", str(run.folder), faults=[("kill in validation", 1)])
    assert status == KILLED  # after the last step, while the average is evaluated
    resume(run)
    # What is evaluated after the last step is called epoch 3 by one and 4 by the other: it was cut short.
    assert_same_end(run, limited, "epoch")
    # The limit was inside an epoch; without it, the rest of that epoch comes next.
    resume(run, "trainer.max_steps=-1")
    one, other = (content(each.last) for each in (run, whole))
    assert all(same(one[part], other[part]) for part in ("state_dict", "optimizer_states", "lr_schedulers"))


TWO = ["trainer.strategy=ddp", "data.batch_size=2"]


@pytest.fixture(scope="module")
def whole_of_two(begin):
    run, statuses, output = begin("whole-2", *TWO, processes=2)
    assert statuses == [0, 0], output
    return run


@pytest.mark.slow
@pytest.mark.parametrize("step", random.Random(8).sample(range(STEPS), 5))
def test_two_processes_killed_at_any_step_resume_to_the_same_bits(begin, resume, whole_of_two, step):
    run, statuses, output = begin(f"two-{step}", *TWO, faults=[("kill", step)], processes=2)
    assert statuses == [KILLED] * 2, output
    resume(run, processes=2)
    recorded("two processes killed", run, whole_of_two)


@pytest.mark.slow
def test_two_processes_stop_together_where_one_is_asked_to(begin, resume, whole_of_two):
    run, statuses, output = begin("two-stopped", *TWO, faults=[("term", 5)], only_rank=1, processes=2)
    assert statuses == [0, 0] and output.count("resume with: python -m ogreid.fit --resume") == 1, output
    resume(run, processes=2)
    recorded("two processes asked to stop", run, whole_of_two)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_killed_at_any_step_resumes_to_the_same_bits(begin, resume, whole, step):
    run, status, output = begin(f"any-{step}", faults=[("kill", step)])
    assert status == KILLED, output
    resume(run)
    recorded("one process killed", run, whole)


@pytest.mark.thorough
@pytest.mark.parametrize("together", [[], ["loss.gather=true", "trainer.sync_batchnorm=true"]])
def test_clouds_that_one_of_two_processes_refuses_stop_both_with_its_words(begin, together):
    """Where the process that refuses left in the middle of the step, the other one would wait for it."""
    root, options = f"refused-{len(together)}", {"faults": [("nan", 5)], "only_rank": 1, "processes": 2}
    run, statuses, output = begin(root, *TWO, *together, **options)
    assert statuses == [2, 0] and output.count("error: ") == 1 and "Traceback" not in output, output
    assert "error: step 5 (epoch 1, batch 1): the loss is nan; first: xyz of the clouds" in output
    assert (run.checkpoints / "bad-step-5.ckpt").is_file()


@pytest.mark.thorough
def test_clouds_that_one_of_two_processes_cannot_embed_are_refused_by_the_evaluation_of_both(begin):
    options = {"faults": [("nan in validation", 0)], "only_rank": 1, "processes": 2}
    _, statuses, output = begin("unseen", *TWO, "data.eval_batch_size=4", **options)
    assert statuses == [2, 2] and "Traceback" not in output, output
    assert "cloud 0, point 0 is [nan, nan, nan]" in output and "error: tiny: query embedding " in output


@pytest.mark.thorough
def test_two_processes_skip_a_step_that_one_of_them_refuses(begin):
    options = {"faults": [("nan", 5)], "only_rank": 1, "processes": 2}
    run, statuses, output = begin("skipped", *TWO, "runs.skip_bad_steps=1", **options)
    assert statuses == [0, 0] and output.count("skipped (1 of at most 1): step 5") == 1, output
    assert run.summary()["skipped_steps"] == 1
    assert all(value.isfinite().all() for value in content(run.last)["state_dict"].values())
