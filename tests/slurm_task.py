"""A task of a job of SLURM: ``ogreid.fit`` with a fault in each of its starts.

``FAULTS`` is a JSON list of [phase, when, kind, task]; the n-th start of the job has the n-th of them. The phase's
``when``-th call (from 0) in that task asks SLURM for SIGUSR1 to every process of the job (``signal``), kills every
process of the job (``kill``), or the task with its node (``node``).
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from ogreid import fit
from ogreid.config import command_line


def fault(kind):
    job, process = os.environ["SLURM_JOB_ID"], os.getpid()
    with Path("faults.txt").open("a") as file:
        file.write(f"{kind}\n")
    if kind == "node":
        daemon = int(
            Path(os.environ["SLURM_CONF"]).with_name(f"slurmd.{os.environ['SLURMD_NODENAME']}.pid").read_text()
        )
        for one in (daemon, os.getppid(), process):  # slurmd, slurmstepd, the task
            os.kill(one, signal.SIGKILL)
    # Not waited for, so that it arrives in the middle of what comes next.
    subprocess.Popen(["scancel", "--signal", "KILL" if kind == "kill" else "USR1", f"{job}.0"])
    if kind == "kill":
        time.sleep(60)


def plant(phase, when, kind):
    from ogreid.config.bars import ProgressBars
    from ogreid.data.loader import _Loader
    from ogreid.training import train
    from ogreid.training.module import ReIDModule

    owner, name = {
        "start": (train, "train"),
        "packing": (ProgressBars, "__call__"),
        "loader": (_Loader, "_get_iterator"),
        "step": (ReIDModule, "training_step"),
        "validation": (ReIDModule, "validation_step"),
        "checkpoint": (os, "fsync"),
        "report": (train, "write_report"),
    }[phase]
    original, calls = getattr(owner, name), iter(range(10**9))

    def planted(*arguments, **options):
        if next(calls) == when:
            fault(kind)
            time.sleep(0 if phase == "loader" else 0.3)
        return original(*arguments, **options)

    setattr(owner, name, planted)


if __name__ == "__main__":
    faults, start = json.loads(os.environ["FAULTS"]), int(os.environ.get("SLURM_RESTART_COUNT", 0))
    if start < len(faults) and faults[start][3] == int(os.environ["SLURM_PROCID"]):
        plant(*faults[start][:3])
    command_line.run(fit.main)
