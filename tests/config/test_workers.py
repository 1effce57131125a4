import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from ogreid.config.bars import ProgressBars
from ogreid.config.workers import WorkerError, map_in_processes
from ogreid.errors import InputError


def square(number):
    if number == "damaged":
        raise InputError("damaged.jpg: not a readable image")
    if number == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    results = list(map_in_processes(square, range(9), workers))
    assert [result for result, _ in results] == [n**2 for n in range(9)]
    assert (os.getpid() in {process for _, process in results}) == (workers == 1)


@pytest.mark.parametrize(("item", "error"), [("damaged", InputError), ("killed", WorkerError)])
def test_an_error_in_a_worker_and_its_death_are_raised_here(item, error):
    with pytest.raises(error) as raised:
        list(map_in_processes(square, [1, item, 3], 2))
    assert type(raised.value) is error and "\n" not in str(raised.value)


def signalled(number):
    """As SLURM does to every process of a job."""
    os.kill(os.getpid(), number)
    return number


def test_a_worker_outlives_the_signals_of_its_parent():
    numbers = [signal.SIGUSR1, signal.SIGINT, signal.SIGUSR2]
    assert list(map_in_processes(signalled, numbers, 2)) == numbers


SCRIPT = """
import time
from ogreid.config.workers import map_in_processes
print("start", flush=True)
def slow(number):
    time.sleep(number)
    return number
for number in map_in_processes(slow, SECONDS, 2):
    print(number, flush=True)
"""


@pytest.mark.parametrize("through", ["file", "stdin"])
def test_a_script_without_a_main_guard_runs_once(tmp_path, through):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("SECONDS", "[0, 0.1, 0.2]"))
    command, source = ([str(script)], None) if through == "file" else (["-"], script.read_text())
    answer = subprocess.run([sys.executable, *command], input=source, capture_output=True, text=True, timeout=60)
    assert answer.stdout.split() == ["start", "0", "0.1", "0.2"], answer.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_and_are_silent(tmp_path, number):
    (tmp_path / "script.py").write_text(SCRIPT.replace("SECONDS", "[0, 1, 1, 1, 1, 1]"))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "start\n" and process.stdout.readline() == "0\n"
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, message = process.communicate(timeout=30)
    assert process.returncode == -number
    assert message.count("Traceback") == (number == signal.SIGINT)  # the script's own
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _is_group(process.pid):
        time.sleep(0.1)
    assert not _is_group(process.pid)


def _is_group(number):
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_bars_are_drawn_on_standard_error_and_end_when_all_is_done(capsys):
    with closing(ProgressBars()) as bars:
        bars("crops", 1, 2)
        bars("clouds", 1, 4)
        bars("crops", 2, 2)
        bars("clouds", 4, 4)
        assert bars._display is None
        bars("merging", 1, 2)
    shown = capsys.readouterr()
    assert bars._display is None and shown.out == ""
    assert all(word in shown.err for word in ("crops", "2/2", "clouds", "4/4", "merging", "1/2"))
