"""What the doors say on standard error, from real processes: nothing that our dependencies say unasked."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import write_tiny_store
from ogreid import runs
from test_training import TINY

pytestmark = pytest.mark.thorough

# The two processes start workers too: their messages would come several times.
SETTINGS = [setting for setting in TINY if not setting.startswith(("wandb", "trainer.devices", "data.num_workers"))]
SETTINGS += ["data.num_workers=1", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1"]
KNOWN = ("WANDB_", "PYTHONWARNINGS", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", runs.STAMP)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny store and an experiment, where no git repository, no key and no settings of W&B are."""
    folder = tmp_path_factory.mktemp("quiet")
    write_tiny_store(folder / "data" / "tiny")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "small.yaml").write_text("description: tiny\n")
    (folder / "home").mkdir()
    return folder


def said(place, *command):
    """What ``python -m ...`` said on standard error, every warning shown."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(KNOWN)}
    kept |= {"HOME": str(place / "home"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "140"}
    kept |= {"GIT_CEILING_DIRECTORIES": str(place.parent)}
    how = {"cwd": place, "env": kept, "capture_output": True, "text": True, "timeout": 600, "check": False}
    done = subprocess.run([sys.executable, "-m", *command], **how)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wandb:" not in done.stdout and "arning" not in done.stdout
    return done.stderr


def fitted(place, root, *more):
    """Fit with W&B offline; standard error, and the run's folder."""
    told = ["wandb.mode=offline", f"runs.root={root}", "trainer.devices=1", *more]
    printed = said(place, "ogreid.fit", "--experiment", "small", *SETTINGS, *told)
    (folder,) = (place / root / "small").iterdir()
    assert list(folder.glob("wandb/offline-run-*")), "W&B took part"
    return printed, str(folder)


def test_a_fit_its_resumption_and_an_evaluation_say_nothing(place):
    printed, folder = fitted(place, "alone", "trainer.max_steps=3")
    assert printed == ""
    assert said(place, "ogreid.fit", "--resume", folder, "trainer.max_steps=-1") == ""
    assert said(place, "ogreid.evaluate", "--checkpoint", folder, "--on", "tiny") == ""


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_a_fit_inside_a_git_repository_is_as_quiet(place):
    (inside := place / "inside").mkdir()
    for name in ("data", "experiments", "home"):
        (inside / name).symlink_to(place / name)
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "experiments"], [*author, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(inside), *words], check=True)
    assert fitted(inside, "alone")[0] == ""


def test_a_fit_of_two_processes_is_as_quiet(place):
    assert fitted(place, "two", "trainer.devices=2", "trainer.strategy=ddp")[0] == ""
