"""Whole runs on tiny clouds, for tests of training and of what it leaves."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import torch

from ogreid import fit
from ogreid.runs import STAMP, Run

TINY = [
    "data.num_points=64",
    "data.batch_size=8",
    "data.num_workers=0",
    "data.train=[tiny]",
    "data.test=[tiny]",
    "data.sampler=pk",
    "data.num_instances=2",
    "model.channels=[8,16]",
    "model.num_kept=[16,8]",
    "model.k=4",
    "model.embedding=16",
    "loss.dropout=0",
    "optimizer.lr=0.01",
    "optimizer.loss_warmup=0",
    "trainer.check_val_every_n_epoch=2",
    "evaluation.scales=[1.0]",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "wandb.mode=disabled",
]
LAUNCHED = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_", "WANDB_", "PYTHONWARNINGS", STAMP)
"""Beginnings of the names that other tests or a launcher leave in the environment."""


def without(*beginnings: str) -> list[str]:
    """The settings of ``TINY`` that begin with none of these."""
    return [setting for setting in TINY if not setting.startswith(beginnings)]


def fit_tiny(*settings: str, resume: str | None = None) -> Run:
    """One call of the command in the folder of the fixture ``place``; the newest run."""
    which = ["--resume", resume] if resume else ["--experiment", "small"]
    assert fit.main([*which, *([] if resume else TINY), *settings]) == 0
    return Run.open(max(Path("runs/small").iterdir(), key=lambda path: path.stat().st_mtime))


def only_run(root: Path | str) -> Run:
    """The one run of the experiment ``small`` under a folder of runs."""
    (folder,) = Path(root, "small").iterdir()
    return Run.open(folder)


def clean_environment(**changes: str) -> dict[str, str]:
    """For processes of a run: one thread each, no GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHED)}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "140"} | changes


def call(folder: Path, *command: str, fails: bool = False, **environment: str) -> tuple[str, str]:
    """Standard output and error of ``python -m`` with a command."""
    options = {"cwd": folder, "env": clean_environment(**environment), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-m", *command], **options, timeout=600, check=False)
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stdout, done.stderr


def logged_rows(run: Run, *left_out: str) -> list[dict[str, str]]:
    """Every row of ``metrics.csv``, without what depends on the clock."""
    with (run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("train/clouds_per_second", *left_out)} for row in rows]


def logged(run: Run, column: str) -> list[float]:
    """The values of one column, where there are any."""
    return [float(row[column]) for row in logged_rows(run) if row.get(column)]


def content(path: Path) -> dict:
    """Of a checkpoint."""
    return torch.load(path, weights_only=True)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The ``state_dict`` of a checkpoint."""
    return content(path)["state_dict"]


def same(one: object, other: object) -> bool:
    """Whether two parts of checkpoints are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
