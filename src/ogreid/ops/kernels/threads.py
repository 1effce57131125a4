"""Sharing independent pieces of work over threads.

Kernels are compiled without the global interpreter lock, so plain Python threads run them side by side. numba's own
threading layers were not taken: workqueue must not be entered from two threads (autograd's backward runs in another
thread than forward), and OpenMP must not be used after a fork (DataLoader workers fork).
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["runs_of_rows", "share"]


def share(work: Callable[[int], object], pieces: int) -> None:
    """Call ``work(piece)`` for 0 to ``pieces``, in as many equal runs as torch has threads.

    Pieces must be independent, and what adds up over pieces must be kept for each piece and added afterwards: then the
    result does not depend on the number of threads.
    """

    def run(start: int, stop: int) -> None:
        for piece in range(start, stop):
            work(piece)

    threads = max(1, min(torch.get_num_threads(), pieces))
    borders = [pieces * thread // threads for thread in range(threads + 1)]
    waiting = []
    if threads > 1:
        pool = _pool(os.getpid(), threads - 1)
        waiting = [pool.submit(run, *borders[thread : thread + 2]) for thread in range(1, threads)]
    run(borders[0], borders[1])
    for future in waiting:
        future.result()


def runs_of_rows(clouds: int, rows: int, length: int = 512) -> list[tuple[int, int, int]]:
    """``(cloud, start, stop)`` for runs of at most ``length`` rows, so that one cloud, too, keeps every thread busy."""
    starts = range(0, rows, length)
    return [(cloud, start, min(start + length, rows)) for cloud in range(clouds) for start in starts]


@functools.lru_cache(maxsize=2)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: after a fork the parent's are gone, so the process is part of the key."""
    return ThreadPoolExecutor(threads, thread_name_prefix="ogreid-kernel")
