"""Work divided among processes, in scripts with and without a ``__main__`` guard."""

import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from ogreid.errors import InputError

T = TypeVar("T")


class WorkerError(InputError):
    """A worker process was killed."""


def available_cores() -> int:
    """Cores that this process may use: containers and job schedulers often give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(function: Callable[..., T], items: Iterable[Any], workers: int) -> Generator[T]:
    """``map(function, items)`` in worker processes; results come in the order of the items.

    Items are drawn when they are needed. The processes are started by loky, which neither runs the main script again
    (the standard library's pools do, and hang or fail in a script without a guard) nor forks (numba, torch and OpenMP
    hold threads). Closing the generator before its end kills the workers.

    Args:
        function: pickled by value where it is defined in the main script or a notebook.
        items: its arguments, one by one.
        workers: processes; with 1 everything runs in this process.

    Raises:
        WorkerError: a worker was killed. Exceptions of ``function`` are raised here as they are.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, initializer=_end_with, initargs=(os.getpid(),))
    running: deque[Any] = deque()
    try:
        for item in items:
            with _apart():
                running.append(pool.submit(function, item))
            if len(running) >= 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process was killed, usually for want of memory; run the same command again with fewer workers"
        ) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of loky, where neither psutil nor pgrep finds the workers' own children
            pool.shutdown(kill_workers=bool(running))


@contextmanager
def signals_blocked(*names: str) -> Iterator[None]:
    """Processes started inside never see these signals, not even before their first line: they are their parent's.

    A terminal's Ctrl-C and the signals of SLURM reach every process of a run. A process that is forked inherits the
    handlers of its parent until it sets its own, but the blocked signals, too.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name) for name in names})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _apart() -> Iterator[None]:
    from multiprocessing import resource_tracker

    with signals_blocked("SIGUSR1", "SIGUSR2"):
        resource_tracker.ensure_running()  # it unblocks SIGINT when it starts (Python 3.11)
        with signals_blocked("SIGINT"):
            yield


def _end_with(parent: int) -> None:
    """Leave when the parent is gone: it may be killed without a chance to say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:  # on Windows the number stays, and workers end with their pipes
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
