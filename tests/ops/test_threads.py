"""Work shared over threads: nothing twice, nothing left out, the same on any number of them, and after a fork."""

import multiprocessing

import pytest
import torch

from ogreid.ops import farthest_points
from ogreid.ops.kernels.threads import share
from operation_cases import blend, edge_case, outcome


@pytest.fixture
def threads():
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("pieces", [0, 1, 7])
def test_every_piece_is_done_once(threads, count, pieces):
    threads(count)
    done = []  # appending is atomic
    share(done.append, pieces)
    assert sorted(done) == list(range(pieces))


def test_an_error_in_a_thread_is_raised(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        share(lambda piece: 1 // (3 - piece), 4)


def test_values_and_gradients_are_the_same_on_any_number_of_threads_and_run_to_run(threads):
    inputs, results = edge_case(2, 700, 9, 40, dtype=torch.float32), []
    for count in (1, 2, 2, 5):
        threads(count)
        results.append(outcome(blend, "fused", *inputs))
    for result in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(result, results[0], strict=True))


def sampled():
    torch.set_num_threads(2)
    return farthest_points(torch.linspace(0, 1, 60).view(2, 10, 3), 4, backend="fused").tolist()


def _in_a_child(queue):
    queue.put(sampled())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # what is tested here
def test_kernels_run_in_a_child_process(threads, method):
    expected, context = sampled(), multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0
