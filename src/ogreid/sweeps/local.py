"""Runs of a sweep on this machine, several at once; one that dies takes no other with it."""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from ogreid.sweeps.jobs import Job
from ogreid.sweeps.worker import work

__all__ = ["run_jobs"]


def run_jobs(jobs: Sequence[Job], processes: int, logs: Path) -> Generator[tuple[Job, str | None, float], None, None]:
    """Train every job; as each comes to its end, say which, the last line of its error or None, and its seconds.

    Args:
        jobs: in the order in which they are started.
        processes: how many at once; the cores are shared out between them.
        logs: folder for what they print, ``<hash>-<seed>.txt``.
    """
    waiting = deque(jobs)
    threads = max(1, (os.cpu_count() or 1) // processes)
    slots = [_Slot(number, threads, logs) for number in range(min(processes, len(jobs)))]
    try:
        for slot in slots:
            slot.give(waiting.popleft())
        while busy := [slot for slot in slots if slot.job is not None]:
            ready = connection.wait([slot.pipe for slot in busy])
            for slot in busy:
                if slot.pipe in ready:
                    ended = slot.take()
                    if waiting:
                        slot.give(waiting.popleft())
                    yield ended
    finally:
        for slot in slots:
            slot.stop()


class _Slot:
    """One worker process, replaced when it dies."""

    def __init__(self, number: int, threads: int, logs: Path) -> None:
        self.number, self.threads, self.logs = number, threads, logs
        self.job: Job | None = None
        self.started = 0.0
        self.process: SpawnProcess | None = None
        self.pipe: Connection

    def _start(self) -> None:
        # Spawned: threads and CUDA do not survive a fork. Not a daemon, because loaders have processes of their own.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.number, self.threads))
        self.process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Start this run here."""
        if self.process is None:
            self._start()
        self.job, self.started = job, time.perf_counter()
        self.pipe.send((job, self.logs / f"{job.run.folder.name}.txt"))

    def take(self) -> tuple[Job, str | None, float]:
        """What became of the run that was given."""
        assert self.job is not None and self.process is not None
        job, self.job = self.job, None
        seconds = time.perf_counter() - self.started
        try:
            return job, self.pipe.recv(), seconds
        except (EOFError, ConnectionResetError):
            self.process.join()
            died = f"its process died with exit status {self.process.exitcode}"
            self.process = None
            return job, died, seconds

    def stop(self) -> None:
        """Let it leave by itself; one that is in the middle of a run goes on from its checkpoint another time."""
        if self.process is None:
            return
        self.pipe.close()
        if self.job is not None:
            self.process.kill()
        self.process.join()
