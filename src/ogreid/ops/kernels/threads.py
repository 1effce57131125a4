"""Independent pieces of work, shared over threads.

Kernels are compiled without the global interpreter lock, so plain Python threads run them side by side. numba's own
threading layers do not fit: workqueue must not be entered from two threads (autograd's backward runs in another thread
than forward), and OpenMP must not be used after a fork (DataLoader workers fork).
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def share(work: Callable[[int], object], pieces: int) -> None:
    """Call ``work(piece)`` for 0 to ``pieces``, in as many equal runs as torch has threads.

    Pieces must be independent, and what adds up over pieces must be stored for each piece and added afterwards: then
    the result does not depend on the number of threads.
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


def share_clouds(kernel: Callable[..., object], tensors: Sequence[Tensor], *constants: object) -> None:
    """Call ``kernel(*constants, *arrays)`` with each cloud of the ``tensors`` (B, ...)."""
    arrays = [tensor.numpy() for tensor in tensors]
    share(lambda cloud: kernel(*constants, *(array[cloud] for array in arrays)), len(arrays[0]))


def share_rows(
    kernel: Callable[..., object],
    shape: Sequence[int],
    tensors: Sequence[Tensor],
    *constants: object,
    sums: tuple[int, ...] = (),
    length: int = 512,
) -> Tensor:
    """Call ``kernel(*constants, start, stop, *arrays)`` for runs of at most ``length`` rows of each cloud.

    ``shape`` is (clouds, rows, ...); the arrays are one cloud of the ``tensors`` (B, ...) and, unless ``sums`` is
    empty, zeros of that shape in double precision, which the kernel adds to: their total over all runs is returned.
    """
    runs = [(cloud, start) for cloud in range(shape[0]) for start in range(0, shape[1], length)]
    parts = torch.zeros(len(runs), *sums, dtype=torch.float64)
    arrays, added = [tensor.numpy() for tensor in tensors], parts.numpy()

    def work(run: int) -> None:
        cloud, start = runs[run]
        last: list[Any] = [added[run]] if sums else []
        kernel(*constants, start, min(start + length, shape[1]), *(array[cloud] for array in arrays), *last)

    share(work, len(runs))
    return parts.sum(0)


@functools.lru_cache(maxsize=2)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: after a fork the parent's are gone, so the process is part of the key."""
    return ThreadPoolExecutor(threads, thread_name_prefix="ogreid-kernel")
