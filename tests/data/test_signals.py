"""Signals that reach every process of a run reach no loader worker, not even one that was forked this moment."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from ogreid import ReIDDataModule
parent = os.getpid()
def answer(number, frame):
    with open("answers.txt", "a") as file:
        file.write(f"{os.getpid() == parent}\\n")
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), answer)
    os.register_at_fork(after_in_child=lambda number=getattr(signal, name): os.kill(os.getpid(), number))
data = ReIDDataModule("data", train="tiny", test="tiny", num_points=64, batch_size=4, num_workers=2)
data.setup("fit")
print(sum(len(batch.index) for batch in data.train_dataloader()))
os.kill(parent, getattr(signal, sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are not forked here")
def test_a_worker_runs_no_handler_of_its_parent(stores, tmp_path):
    stores()
    signals = ["SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([sys.executable, "-c", SCRIPT, *signals], check=False, **options)
    assert done.stdout == "16\n", done.stderr
    assert (tmp_path / "answers.txt").read_text() == "True\n"
