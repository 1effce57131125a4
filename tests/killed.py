"""Runs of ``ogreid.fit`` that get a signal where a test wants it.

One process imports everything once; each run is a fork of it, so that a real SIGKILL costs no new start.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

from tiny_runs import clean_environment

SIGNALS = {
    "kill": [signal.SIGKILL],
    "term": [signal.SIGTERM],
    "interrupt": [signal.SIGINT],
    "interrupt twice": [signal.SIGINT, signal.SIGINT],
    "requeue": [signal.SIGUSR1],
}
LONGEST = 300  # seconds: a process that hangs ends with the status of SIGALRM


class Runs:
    """Starts runs in a folder and waits for them."""

    def __init__(self, place: Path):
        self.place = place
        command, environment = [sys.executable, __file__], clean_environment(NUMBA_NUM_THREADS="1")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen(command, env=environment, **pipes)

    def fit(self, *arguments, faults=(), only_rank=None, processes=1, **environment):
        """Call the command; ``faults`` are (kind, when) as in `plant`. Returns (the exit status, what was output).

        A process that was killed has a negative status, the number of the signal; several processes have a list.
        """
        output = self.place / "output.txt"
        job = {"arguments": arguments, "faults": faults, "processes": processes, "environment": environment}
        job |= {"only_rank": only_rank, "place": str(self.place), "output": str(output)}
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        statuses = json.loads(self.server.stdout.readline())
        return statuses if processes > 1 else statuses[0], output.read_text()

    def close(self):
        with self.server:  # closes its pipes and waits for it
            pass


def plant(kind, when):
    """Send the signals of ``kind`` in the ``when``-th step (from 0), ``in validation``, ``in writing`` or ``in start``.

    ``nan`` sends none: the clouds of that step are not finite.
    """
    from ogreid.training.module import ReIDModule

    owner, name = (ReIDModule, "validation_step") if "validation" in kind else (ReIDModule, "training_step")
    if "writing" in kind:
        owner, name = os, "fsync"
    if "start" in kind:
        owner, name = ReIDModule, "configure_model"
    original, calls = getattr(owner, name), iter(range(10**9))

    def planted(*arguments):
        due = next(calls) == when
        if kind.startswith("nan") and due:
            arguments[1].xyz.fill_(float("nan"))
        # In the middle of a step: its forward is done, its gradient is not; of a writing: the file is not renamed.
        result = original(*arguments)
        for number in SIGNALS.get(kind.split(" in ")[0], []) if due else ():
            os.kill(os.getpid(), number)
        return result

    setattr(owner, name, planted)


def _fork(job, rank, port):
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    signal.alarm(LONGEST)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may have been started in the background
    os.chdir(job["place"])
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= job["environment"]
    if job["processes"] > 1:
        world = str(job["processes"])
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "here"}
        os.environ |= {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    status = 1
    try:
        from ogreid import fit
        from ogreid.config import command_line

        for kind, when in job["faults"] if job["only_rank"] in (None, rank) else ():
            plant(kind, when)
        command_line.run(fit.main, job["arguments"])
    except SystemExit as left:
        status = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve():
    import ogreid.training.train  # noqa: F401 - what takes seconds

    for line in sys.stdin:
        job = json.loads(line)
        Path(job["output"]).write_text("")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        children = [_fork(job, rank, port) for rank in range(job["processes"])]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    _serve()
