"""The progress bar: loss, clouds per second and mAP."""

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ogreid.training.callbacks.evaluation import RetrievalEvaluation

__all__ = ["Making", "ReidProgress"]

SHOWN = {"train/loss": "loss", "train/clouds_per_second": "clouds/s", "val/mAP": "mAP"}


class ReidProgress(RichProgressBar):
    """Rich's bar with three numbers under short names, and epochs counted as people count: 1/4 is the first of four."""

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning's own counts from 0 to 3 of 3; it asks this method alone for the text, and padded for alignment.
        most = self.trainer.max_epochs
        told = f"Epoch {current_epoch + 1}" + (f"/{most}" if most is not None and most > 0 else "")
        return told.ljust(len(self.validation_description))

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """``loss``, ``clouds/s`` and ``mAP``, as far as they are known, and a word where the embedding collapsed."""
        known = trainer.callback_metrics
        told: dict[str, int | str | float | dict[str, float]] = {
            short: f"{float(known[name]):.4g}" for name, short in SHOWN.items() if name in known
        }
        judges = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if any(judge.collapsed for judge in judges if isinstance(judge, RetrievalEvaluation)):
            told["embedding"] = "collapsed"
        return told


class Making:
    """A bar for each thing that is made before training starts, with its rate and the time left."""

    def __init__(self) -> None:
        self.bars: dict[str, tuple[Progress, TaskID]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """``what`` has come to ``done`` of ``total``; the bar opens at the first call and closes at the last."""
        if what not in self.bars:
            self.bars[what] = _open(what, total)
        bar, task = self.bars[what]
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()


class _Rate(ProgressColumn):
    """Pieces per second; nothing before the first is known."""

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text(f"{task.speed:>6.0f}/s" if task.speed else "")


def _open(what: str, total: int) -> tuple[Progress, TaskID]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bar = Progress(*columns)
    bar.start()
    return bar, bar.add_task(what, total=total)
