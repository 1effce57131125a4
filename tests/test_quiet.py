"""What the commands print on standard error, as real processes: nothing that our dependencies say unasked."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import make_place
from ogreid.runs import STAMP
from tiny_runs import TINY, only_run

pytestmark = pytest.mark.thorough

# The two processes start workers too: their messages would come several times.
SETTINGS = [setting for setting in TINY if not setting.startswith(("wandb", "trainer.devices", "data.num_workers"))]
SETTINGS += ["data.num_workers=1", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "wandb.mode=offline"]
KNOWN = ("WANDB_", "PYTHONWARNINGS", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", STAMP)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny store and an experiment on a login node of SLURM, without a git repository, a key or settings of W&B."""
    folder = make_place(tmp_path_factory.mktemp("quiet"), tiny={})
    (folder / "home").mkdir()
    (folder / "home" / "srun").touch(0o755)
    return folder


def errors_of(place, *command):
    """Standard error of ``python -m ...``, every warning shown."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(KNOWN)}
    kept |= {"HOME": str(place / "home"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "140"}
    kept |= {"GIT_CEILING_DIRECTORIES": str(place.parent), "PATH": f"{place / 'home'}:{os.environ['PATH']}"}
    how = {"cwd": place, "env": kept, "capture_output": True, "text": True, "timeout": 600, "check": False}
    done = subprocess.run([sys.executable, "-m", *command], **how)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wandb:" not in done.stdout and "arning" not in done.stdout
    return done.stderr


def fitted(place, root, *settings):
    """Fit with W&B offline; standard error, and the run's folder."""
    command = ["ogreid.fit", "--experiment", "small", *SETTINGS, f"runs.root={root}", *settings]
    printed, run = errors_of(place, *command), only_run(place / root)
    assert list(run.folder.glob("wandb/offline-run-*")), "W&B took part"
    return printed, str(run.folder)


def test_a_fit_its_resumption_and_an_evaluation_say_nothing(place):
    printed, folder = fitted(place, "alone", "trainer.devices=1", "trainer.max_steps=3", "optimizer.swa_fraction=0.5")
    assert printed == ""
    assert errors_of(place, "ogreid.fit", "--resume", folder, "trainer.max_steps=-1") == ""
    assert errors_of(place, "ogreid.evaluate", "--checkpoint", folder, "--on", "tiny") == ""


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_a_fit_inside_a_git_repository_is_as_quiet(place):
    (inside := place / "inside").mkdir()
    for name in ("data", "experiments", "home"):
        (inside / name).symlink_to(place / name)
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "experiments"], [*author, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(inside), *words], check=True)
    assert fitted(inside, "alone", "trainer.devices=1")[0] == ""


def test_a_fit_of_two_processes_is_as_quiet(place):
    assert fitted(place, "two", "trainer.devices=2", "trainer.strategy=ddp")[0] == ""
