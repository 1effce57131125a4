"""What the commands print on standard error, as real processes: nothing that our dependencies say unasked."""

import os

import pytest

from conftest import make_place
from tiny_runs import call, only_run, without

pytestmark = pytest.mark.thorough

# The two processes start workers too: their messages would come several times.
SETTINGS = [*without("wandb", "trainer.devices", "data.num_workers"), "data.num_workers=1", "wandb.mode=offline"]
SETTINGS += ["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny store and an experiment on a login node of SLURM, without a git repository, a key or settings of W&B."""
    folder = make_place(tmp_path_factory.mktemp("quiet"), tiny={})
    (folder / "home").mkdir()
    (folder / "home" / "srun").touch(0o755)
    return folder


ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "reid", "SLURM_NNODES": "1", "SLURM_NTASKS": "2"}
ALLOCATION |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
"""Of a batch script, before any ``srun``."""


def errors_of(place, *command, **environment):
    home = place / "home"
    environment |= {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"}
    output, errors = call(place, *command, **environment, GIT_CEILING_DIRECTORIES=str(place.parent))
    assert "wandb:" not in output and "arning" not in output
    return "\n".join(line for line in errors.splitlines() if not line.startswith("a batch holds"))  # which is our own


def fitted(place, root, *settings, **environment):
    """Fit with W&B offline; standard error, and the run's folder."""
    command = ["ogreid.fit", "--experiment", "small", *SETTINGS, f"runs.root={root}", *settings]
    errors, run = errors_of(place, *command, **environment), only_run(place / root)
    assert list(run.folder.glob("wandb/offline-run-*")), "W&B took part"
    return errors, str(run.folder)


def test_a_fit_its_resumption_and_an_evaluation_say_nothing(place):
    errors, folder = fitted(place, "alone", "trainer.devices=1", "trainer.max_steps=3", "optimizer.swa_fraction=0.5")
    assert errors == ""
    assert errors_of(place, "ogreid.fit", "--resume", folder, "trainer.max_steps=-1") == ""
    assert errors_of(place, "ogreid.evaluate", "--checkpoint", folder, "--on", "tiny") == ""


@pytest.mark.parametrize("job", [{}, ALLOCATION])
def test_a_fit_of_two_processes_is_as_quiet(place, job):
    root, two = f"two-{len(job)}", ("trainer.devices=2", "trainer.strategy=ddp")
    assert fitted(place, root, *two, **job)[0] == ""


def test_in_a_batch_script_without_srun_a_fit_is_one_process(place):
    errors, folder = fitted(place, "job", "trainer.devices=1", **ALLOCATION)
    assert errors == "" and "job7" not in folder  # a second command of the script is another run
    assert errors_of(place, "ogreid.evaluate", "--checkpoint", folder, "--on", "tiny", **ALLOCATION) == ""
