"""Whole runs on tiny clouds, for tests of training and of what it leaves."""

import csv
from pathlib import Path

import torch

from ogreid import fit
from ogreid.runs import Run

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


def fit_tiny(*settings: str, resume: str | None = None) -> Run:
    """One call of the command in the folder of the fixture ``place``; the newest run."""
    which = ["--resume", resume] if resume else ["--experiment", "small"]
    assert fit.main([*which, *([] if resume else TINY), *settings]) == 0
    return Run.open(max(Path("runs/small").iterdir(), key=lambda p: p.stat().st_mtime))


def logged_rows(run: Run, *without: str) -> list[dict[str, str]]:
    """Every row of ``metrics.csv``, without what depends on the clock."""
    left_out = ("train/clouds_per_second", *without)
    with (run.folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in left_out} for row in csv.DictReader(file)]


def logged(run: Run, column: str) -> list[float]:
    """The values of one column, where there are any."""
    return [float(row[column]) for row in logged_rows(run) if row.get(column)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The ``state_dict`` of a checkpoint."""
    return torch.load(path, weights_only=True)["state_dict"]


def same(one: object, other: object) -> bool:
    """Whether two parts of checkpoints are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def only_run(root: Path | str) -> Run:
    """The one run of the experiment ``small`` under a folder of runs."""
    (folder,) = Path(root, "small").iterdir()
    return Run.open(folder)
