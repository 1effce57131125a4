"""A SLURM of two nodes on this machine, without a container: its daemons in a folder, two CPUs to each node."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
NODES = ("one", "two")

CONFIGURATION = """\
ClusterName=soak
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=15
SlurmdParameters=config_overrides
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=one,two Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """What is needed and not here."""
    return [name for name in DAEMONS if shutil.which(name) is None] + (["root"] if os.geteuid() else [])


class Cluster:
    """Its commands read ``environment``; :meth:`stop` ends its daemons and what they run."""

    def __init__(self, folder: Path):
        self.folder = folder
        sockets = [socket.socket() for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        for name in ("state", "spool.one", "spool.two"):
            (folder / name).mkdir(parents=True)
        text = CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=ports)
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
        names = ("key-file=munge.key", "socket=munge.socket", "pid-file=munged.pid", "seed-file=munge.seed")
        options = [f"--{one.replace('=', f'={folder}/')}" for one in (*names, "log-file=munged.log")]
        self.call("munged", "--force", *options)
        self.call("slurmctld", "-c")
        for name in NODES:
            self.start_node(name)
        self.wait_for(lambda: self.state("one") == self.state("two") == "IDLE", 60)

    def call(self, *command: str) -> str:
        """Standard output of a command."""
        options = {"env": self.environment, "cwd": self.folder, "capture_output": True, "text": True}
        done = subprocess.run(command, **options, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start_node(self, name: str) -> None:
        self.call("slurmd", "-N", name)

    def kill_node(self, name: str, job: str) -> None:
        """SIGKILL to its daemon and to everything of a job that runs on it alone."""
        numbers = [int((self.folder / f"slurmd.{name}.pid").read_text())]
        listed = [line.split(None, 2) for line in self.call("ps", "-eo", "pid=,ppid=,args=").splitlines()]
        chosen = {pid for pid, _, words in listed if words.startswith(f"slurmstepd: [{job}.")}
        while grown := {pid for pid, parent, _ in listed if parent in chosen} - chosen:
            chosen |= grown
        for number in [*numbers, *map(int, chosen)]:
            os.kill(number, signal.SIGKILL)

    def state(self, node: str) -> str:
        return self._field("node", node, "State").rstrip("*")

    def submit(self, script: str, folder: Path, *options: str) -> str:
        """The number of a job that runs a script in a folder; what it prints goes to ``job<number>.txt`` there."""
        path = folder / "job.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        output = ("--output", str(folder / "job%j.txt"), "--open-mode=append", "--chdir", str(folder))
        return self.call("sbatch", "--parsable", *output, *options, str(path)).strip()

    def job(self, number: str) -> tuple[str, int]:
        """State of a job, and how often it was started again."""
        return self._field("job", number, "JobState"), int(self._field("job", number, "Restarts"))

    def hurry(self, number: str) -> None:
        """A job that went back into the queue would wait for two minutes."""
        if self.job(number)[0] == "PENDING":
            self.call("scontrol", "update", f"JobId={number}", "StartTime=now")

    def wait_for(self, ready, seconds: float) -> bool:
        """Whether it came true in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def _field(self, kind: str, name: str, field: str) -> str:
        words = self.call("scontrol", "show", kind, name, "--oneliner").split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{field}="))

    def stop(self) -> None:
        subprocess.run(["scancel", "--user=root", "--full", "--signal=KILL"], env=self.environment, check=False)
        for name in ("slurmd.one", "slurmd.two", "slurmctld", "munged"):
            try:
                os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGTERM)
            except (OSError, ValueError):
                continue  # ended, or killed by a test
