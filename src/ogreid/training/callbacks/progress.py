"""The progress bar: loss, clouds per second and mAP."""

import logging
import sys

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from torch.utils.data import DataLoader

from ogreid.data.samplers import TrainingSampler, positive_pairs
from ogreid.reporting.terminal import network_table
from ogreid.training.callbacks.evaluation import RetrievalEvaluation

log = logging.getLogger(__name__)

SHOWN = {"train/loss": "loss", "train/clouds_per_second": "clouds/s", "val/mAP": "mAP"}


class TrainingProgress(RichProgressBar):
    """Rich's bar with three numbers under short names, and epochs counted as people count: 1/4 is the first of four."""

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning's own counts from 0 to 3 of 3; it asks this method alone for the text, and padded for alignment.
        most = self.trainer.max_epochs
        description = f"Epoch {current_epoch + 1}" + (f"/{most}" if most is not None and most > 0 else "")
        return description.ljust(len(self.validation_description))

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """``loss``, ``clouds/s`` and ``mAP``, as far as they are known, and a word where the embedding collapsed."""
        known = trainer.callback_metrics
        shown: dict[str, int | str | float | dict[str, float]] = {
            short: f"{float(known[name]):.4g}" for name, short in SHOWN.items() if name in known
        }
        if any(name.endswith("/collapsed") and value for name, value in known.items()):
            shown["embedding"] = "collapsed"
        return shown


class ProgressLines(L.Callback):
    """A line for each epoch and each validation: in the log file, and on standard output where that is no terminal.

    Args:
        evaluations: whose results are shown.
    """

    def __init__(self, *evaluations: RetrievalEvaluation) -> None:
        self.evaluations = evaluations

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        most, known = trainer.max_epochs, trainer.callback_metrics
        names = [name for name in SHOWN if name.startswith("train/") and name in known]
        numbers = [f"{SHOWN[name]} {float(known[name]):.4g}" for name in names]
        epoch = f"epoch {trainer.current_epoch + 1}" + (f"/{most}" if most is not None and most > 0 else "")
        _write_line(trainer, f"{epoch}: {', '.join(numbers)}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        sets = trainer.datamodule.evaluation_sets  # type: ignore[attr-defined]  # as below
        names = [(part, sets[position].name) for part in self.evaluations for position in part.metrics]
        results = [(name, part.results[name].summary()) for part, name in names]
        numbers = [f"{name} mAP {one['mAP']:.2f}, rank-1 {one['rank1']:.2f}" for name, one in results]
        _write_line(trainer, f"validation at step {trainer.global_step}: {'; '.join(numbers)}")


def _write_line(trainer: L.Trainer, line: str) -> None:
    if trainer.is_global_zero:
        log.debug("%s", line)
        if not Console().is_terminal:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()  # which a file or a pipe would keep back


class NetworkSummary(L.Callback):
    """Says when training starts what it trains: the network's parts, parameters and operations, and the pairs it has.

    Lightning's own summary would miss what the fused kernels compute.

    Args:
        name: of the network.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
        if trainer.is_global_zero:
            points = data.num_points(data.evaluation_sets[0].store.points)
            Console().print(network_table(self.name, pl_module.network, points))  # type: ignore[arg-type]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Positive pairs in a batch, with a warning where a loss on pairs has next to none."""
        loader = trainer.train_dataloader
        if not trainer.is_global_zero or not isinstance(loader, DataLoader):
            return
        assert isinstance(loader.sampler, TrainingSampler)
        pairs, identities = positive_pairs(loader.sampler)
        line = f"a batch holds {pairs:.1f} positive pairs of {identities:.1f} identities on average"
        if pl_module.hparams["loss"] != "ce" and pairs < identities:
            log.warning("%s; a loss on pairs learns little from so few: data.sampler=pk draws more", line)
        else:
            Console().print(line, highlight=False)
