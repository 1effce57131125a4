"""What a run has to know of SLURM: whether ``srun`` started it, and how its job goes back into the queue."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


def srun_tasks() -> int | None:
    """Processes that ``srun`` started together with this one; None without it, and in an interactive shell of a job."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS")
    return None if interactive or not tasks else int(tasks)


def requeue() -> bool:
    """Put the job of this process back into the queue, on its first process only; SLURM then ends all of them.

    Returns:
        Whether SLURM accepted it, or it is another process's business.
    """
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))):
        return True
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        error = done.stderr.strip() if done.returncode else ""
    except OSError as failure:
        error = str(failure)
    log.warning("job %s cannot be re-queued (%s); it runs on", job, error) if error else log.info("re-queued: %s", job)
    return not error


@contextmanager
def requeued_by_signal() -> Iterator[None]:
    """Inside, SIGUSR1 puts a job that ``srun`` started back into the queue at once.

    It is for everything before and after the steps of a training, where there is nothing to save; within them
    :class:`ogreid.training.callbacks.preemption.StopOnSignal` answers.
    """
    if srun_tasks() is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def answer(*_: object) -> None:
        if os.getpid() == owner:  # else inherited by a process that was forked from this one
            requeue()

    before = signal.signal(signal.SIGUSR1, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
