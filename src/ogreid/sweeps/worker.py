"""A process that trains one run of a sweep after another: torch and Lightning are imported once for many runs."""

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from ogreid import runs
from ogreid.errors import InputError
from ogreid.sweeps.jobs import Job

__all__ = ["attempt", "own_device", "work"]

WIDTH = "120"
"""Columns of the tables in a log file."""


def work(pipe: Connection, slot: int, threads: int) -> None:
    """Train what comes through the pipe until nothing comes any more.

    Args:
        pipe: a :class:`Job` and its log file come in; None, or the last line of its error, goes out.
        slot: number of this process; it decides which device is its own.
        threads: for the arithmetic of this process.
    """
    # Ctrl-C reaches every process of a terminal; the first process decides what becomes of the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    multiprocessing.set_start_method(None, force=True)  # a spawned process would spawn its loaders too, seconds each
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ |= {"COLUMNS": WIDTH}
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("ogreid").setLevel(logging.INFO)
    own_device(slot)
    while True:
        try:
            job, log = pipe.recv()
        except EOFError:
            return
        with _written_to(log):
            error = attempt(job)
            gc.collect()  # a Trainer refers to itself; its network and memory maps would stay until chance frees them
        pipe.send(error)


def attempt(job: Job) -> str | None:
    """Train a run, go on with it, or find it finished.

    Returns:
        None, or the last line of what it died of; the whole of it is in the log.
    """
    from filelock import FileLock

    folder = job.run.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Another sweep may hold the same run, or a process that a killed sweep left behind for a moment.
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            _train(job)
    except Exception as error:  # whatever a run dies of, the sweep goes on and tells
        traceback.print_exc()
        if isinstance(error, InputError):
            return str(error)
        return traceback.format_exception_only(error)[-1].strip()
    return None


def own_device(slot: int) -> None:
    """Leave one graphics card visible to this process: several runs at once share them out."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    if len(visible) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % len(visible)]


def _train(job: Job) -> None:
    from ogreid.training.train import train

    if job.finished:
        return
    run = job.run
    if run.last.is_file():
        train(job.experiment, resume=str(run.folder))
        return
    shutil.rmtree(run.folder, ignore_errors=True)  # it never came to a checkpoint
    os.environ[runs.STAMP] = job.hash
    train(job.experiment)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _written_to(log: Path) -> Iterator[None]:
    """Whatever this process and its children print goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
        yield
        sys.stdout.flush()
        sys.stderr.flush()
