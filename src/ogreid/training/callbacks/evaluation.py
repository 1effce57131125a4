"""Retrieval on the validation sets, while training and when asked."""

import logging
from typing import Any

import lightning as L
from torch import Tensor

from ogreid.data.batch import CloudBatch
from ogreid.data.module import ReIDDataModule, RetrievalSet
from ogreid.errors import InputError
from ogreid.training.distributed import rank
from ogreid.retrieval.metric import RetrievalMetric
from ogreid.retrieval.ranking import AveragePrecision, RetrievalResult

__all__ = ["RetrievalEvaluation"]

log = logging.getLogger(__name__)

COLLAPSED = (
    "%s: all %d embeddings point the same way, so the network tells nobody apart; likely causes: a learning rate that "
    "is too high (optimizer.lr), batches with too few identities (data.batch_size), inputs that are all alike (data.inputs, "
    "the store), weights that are not the trained ones"
)
LOGGED = ("mAP", "mAP_step", "mINP", "rank1", "rank5", "rank10", "unanswerable", "missing")


class RetrievalEvaluation(L.Callback):
    """Judges each retrieval set and logs ``val/<set>/<number>``; the first set's mAP is also ``val/mAP``.

    The embeddings come from Lightning's own validation loop; the metric brings the processes together. Where rows are
    missing, ``val/<set>/missing`` says how many. Lightning's sanity check before the training is judged and forgotten.

    A network that maps everybody to one point is warned of; ``collapsed`` holds the sets on which it does so now.

    Args:
        partial: accept that some rows are missing (``limit_val_batches``, ``fast_dev_run``) and say so.
        average_precision: definition of the headline mAP.
    """

    def __init__(self, *, partial: bool = False, average_precision: AveragePrecision = "trapezoid") -> None:
        self.partial, self.average_precision = partial, average_precision
        self.metrics: dict[int, RetrievalMetric] = {}
        self.judgments: dict[str, RetrievalResult] = {}
        self.collapsed: set[str] = set()
        self.step: int | None = None  # of the optimizer, at which the judgments were made

    def state_dict(self) -> dict[str, int | None]:
        """A run that goes on from its last step knows that it was judged, and logs nothing twice."""
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, int | None]) -> None:
        """Called by Lightning when a run goes on; the judgments themselves are made again."""
        self.step = state_dict["step"]

    def wants(self, judged: RetrievalSet, data: ReIDDataModule) -> bool:
        """Whether this callback judges that set now."""
        return not judged.transfer

    def label(self, judged: RetrievalSet, data: ReIDDataModule) -> str:
        """What the numbers are logged under."""
        return f"val/{judged.name}"

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A fresh metric per set."""
        data = _data(trainer)
        self.metrics = {
            i: RetrievalMetric(
                judged.queries,
                judged.gallery,
                partial=self.partial or trainer.sanity_checking,
                average_precision=self.average_precision,
            ).to(pl_module.device)
            for i, judged in enumerate(data.retrieval_sets)
            if self.wants(judged, data)
        }

    def on_validation_batch_end(  # type: ignore[override]  # Lightning types a batch and outputs as Any
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor,
        batch: CloudBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect."""
        if dataloader_idx in self.metrics:
            self.metrics[dataloader_idx].update(outputs, batch.identity, batch.camera, batch.index)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge and log. All processes hold the same judgment.

        Raises:
            InputError: what the metric refuses, with the name of the set.
        """
        data = _data(trainer)
        for i, metric in self.metrics.items():
            judged = data.retrieval_sets[i]
            try:
                judgment = metric.compute()
            except InputError as error:
                raise InputError(f"{judged.name}: {error}") from error
            if trainer.sanity_checking:
                continue
            self.judgments[judged.name], self.step = judgment, trainer.global_step
            self._note(judged.name, metric)
            summary, label = judgment.summary(), self.label(judged, data)
            self._log(pl_module, {f"{label}/{key}": summary[key] for key in LOGGED if key in summary}, bar=False)
            if i == 0:
                self._log(pl_module, {"val/mAP": summary["mAP"]}, bar=True)

    def _note(self, name: str, metric: RetrievalMetric) -> None:
        """Say once that a network tells nobody apart, and again if it does so again."""
        assert metric.collected is not None
        if not metric.collected.collapsed():
            self.collapsed.discard(name)
        elif name not in self.collapsed:
            self.collapsed.add(name)
            if rank() == 0:
                log.warning(COLLAPSED, name, len(metric.collected.index))

    def _log(self, module: L.LightningModule, values: dict[str, Any], *, bar: bool) -> None:
        # Equal on all processes; the largest of equal numbers is exact, their mean over three might not be.
        module.log_dict(
            {name: float(value) for name, value in values.items()},
            prog_bar=bar,
            sync_dist=True,
            reduce_fx="max",
            on_epoch=True,
            add_dataloader_idx=False,
        )


def _data(trainer: L.Trainer) -> ReIDDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
    assert isinstance(data, ReIDDataModule)
    return data
