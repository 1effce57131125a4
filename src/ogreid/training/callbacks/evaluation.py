"""Retrieval on the evaluation sets: while training, at ``validate`` and at ``test``."""

import logging
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import lightning as L
import numpy as np
from lightning.pytorch.trainer.states import RunningStage
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError
from ogreid.ops.collectives import broadcast_buffers, connected
from ogreid.retrieval import RetrievalResult
from ogreid.retrieval.measures import AveragePrecision
from ogreid.retrieval.metric import RetrievalMetric

log = logging.getLogger(__name__)

COLLAPSED = (
    "%s: all %d embeddings point the same way, so the network distinguishes nobody; likely causes: too high a learning "
    "rate (optimizer.lr), batches with too few identities (data.batch_size), inputs that are all alike "
    "(data.inputs, the store), weights that are not the trained ones"
)
By = Literal["crop", "tracklet"]
LOGGED = ("mAP", "mAP_step", "mINP", "rank1", "rank5", "rank10", "unanswerable", "missing")


class RetrievalSet(Protocol):
    """What the callbacks need to know of one evaluation set; its loader has the same position.

    A batch of it has ``identity``, ``camera`` and ``index`` (B,), queries first: an index below ``num_queries`` is a
    query. The module's ``validation_step`` and ``test_step`` return its embeddings (B, D).
    """

    @property
    def name(self) -> str:
        """For the logged names."""

    @property
    def num_queries(self) -> int:
        """Q."""

    @property
    def num_gallery(self) -> int:
        """G."""

    @property
    def transfer(self) -> bool:
        """Whether it was never trained on."""


class RetrievalEvaluation(L.Callback):
    """Evaluates each test set and logs ``val/<set>/<number>`` or ``test/<set>/<number>`` in percent.

    The first set's mAP is also ``val/mAP``. The embeddings come from Lightning's own loop; the metric brings the
    processes together, and the numbers are exact at any number of them. The data module says its sets as
    ``evaluation_sets`` (:class:`RetrievalSet`). Where a limit cuts a set short (``limit_val_batches``,
    ``fast_dev_run``), ``val/<set>/missing`` says how many samples were never evaluated.

    A network that maps everybody to one point is warned of, and ``val/<set>/collapsed`` is logged (1, later 0).

    Args:
        average_precision: definition of the headline mAP, ``trapezoid`` (the paper's) or ``step``.
        by: what is retrieved: crops, or tracklets, whose embedding is the normalized mean of their crops' unit
            embeddings. Each set then has ``tracklet`` (Q + G,), the number of each row's tracklet.

    Attributes:
        results: of the last evaluation, by set.
        metrics: of the last evaluation, by the position of the set; their ``samples`` are the embeddings.
    """

    transfer = False

    def __init__(self, average_precision: AveragePrecision = "trapezoid", by: By = "crop") -> None:
        if by not in get_args(By):
            raise InputError(f"by: expected {' or '.join(get_args(By))}, got {by!r}")
        self.average_precision, self.by = average_precision, by
        self.metrics: dict[int, RetrievalMetric] = {}
        self.results: dict[str, RetrievalResult] = {}
        self.step: int | None = None  # of the optimizer, at which the results were measured
        self._collapsed: set[str] = set()

    def state_dict(self) -> dict[str, int | None]:
        """A run that is resumed after its last evaluation logs nothing twice."""
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, int | None]) -> None:
        """Called by Lightning on resume; the results themselves are measured again."""
        self.step = state_dict["step"]

    def label(self, evaluated: RetrievalSet, trainer: L.Trainer) -> str:
        """What the numbers of a set are logged under."""
        return f"{_prefix(trainer)}/{evaluated.name}"

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A fresh metric per set; one network on all processes.

        DDP would share the running statistics in the first forward, and a process whose shard is empty has no forward:
        the others would wait for it.

        Raises:
            InputError: tracklets are to be evaluated, and a set has none.
        """
        if connected():
            broadcast_buffers(pl_module)
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            trainer.strategy.model.require_forward_param_sync = False  # set again by the next training forward
        partial = trainer.sanity_checking or _limit(trainer) != 1.0
        options: dict[str, Any] = {"partial": partial, "average_precision": self.average_precision}
        self.metrics = {
            position: RetrievalMetric(
                one.num_queries, one.num_gallery, tracklet=_tracklets(one) if self.by == "tracklet" else None, **options
            ).to(pl_module.device)
            for position, one in enumerate(_sets(trainer))
            if one.transfer == self.transfer and self.due(trainer)
        }

    def due(self, trainer: L.Trainer) -> bool:
        """Whether the sets are evaluated now."""
        return True

    def on_validation_batch_end(  # type: ignore[override]  # Lightning types a batch and outputs as Any
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor,
        batch: CloudBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx in self.metrics:
            self.metrics[dataloader_idx].update(outputs, batch.identity, batch.camera, batch.index)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate and log. All processes hold the same result.

        Raises:
            InputError: what the metric refuses, with the name of the set.
        """
        for position, metric in self.metrics.items():
            evaluated = _sets(trainer)[position]
            try:
                numbers = metric.compute()
            except InputError as error:
                raise InputError(f"{evaluated.name}: {error}") from error
            if trainer.sanity_checking:
                continue
            assert metric.result is not None
            self.results[evaluated.name], self.step = metric.result, trainer.global_step
            label = self.label(evaluated, trainer)
            logged = {f"{label}/{key}": numbers[key] for key in LOGGED if key in numbers}
            if position == 0:
                logged[f"{_prefix(trainer)}/mAP"] = numbers["mAP"]
            before = evaluated.name in self._collapsed
            if (collapsed := self._has_collapsed(evaluated.name, metric, trainer)) or before:
                logged[f"{label}/collapsed"] = collapsed
            # Equal on all processes; the largest of equal numbers is exact, their mean over three might not be.
            pl_module.log_dict(
                {name: float(value) for name, value in logged.items()},
                sync_dist=True,
                reduce_fx="max",
                on_epoch=True,
                add_dataloader_idx=False,
            )

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]  # as above
    on_test_epoch_end = on_validation_epoch_end

    def _has_collapsed(self, name: str, metric: RetrievalMetric, trainer: L.Trainer) -> bool:
        """Say once that a network distinguishes nobody, and again if it does so again."""
        assert metric.samples is not None
        collapsed = metric.samples.collapsed()
        if collapsed and name not in self._collapsed and trainer.is_global_zero:
            log.warning(COLLAPSED, name, len(metric.samples.index))
        (self._collapsed.add if collapsed else self._collapsed.discard)(name)
        return collapsed


class TransferEvaluation(RetrievalEvaluation):
    """Evaluates each transfer set (the paper's Table III) when the data module says that it is due.

    Logs ``transfer/<source>-><set>/<number>``, the source being the data module's ``source_name``.
    """

    transfer = True

    def label(self, evaluated: RetrievalSet, trainer: L.Trainer) -> str:
        """Source and set."""
        return f"transfer/{getattr(_data(trainer), 'source_name', '')}->{evaluated.name}"

    def due(self, trainer: L.Trainer) -> bool:
        """As the data module says, whose loaders are empty otherwise."""
        due = getattr(_data(trainer), "transfer_due", None)
        return due is None or bool(due())


def _tracklets(evaluated: RetrievalSet) -> np.ndarray:
    tracklet = getattr(evaluated, "tracklet", None)
    if tracklet is None:
        raise InputError(f"{evaluated.name}: has no tracklet; give it one number for each row, or evaluate by crop")
    return np.asarray(tracklet)


def _prefix(trainer: L.Trainer) -> str:
    return "test" if trainer.state.stage == RunningStage.TESTING else "val"


def _limit(trainer: L.Trainer) -> Any:  # noqa: ANN401 - Lightning's int or float; the integer 1 is one batch
    limit = trainer.limit_test_batches if trainer.testing else trainer.limit_val_batches
    return limit if isinstance(limit, float) else None


def _data(trainer: L.Trainer) -> object:
    return getattr(trainer, "datamodule", None)


def _sets(trainer: L.Trainer) -> Sequence[RetrievalSet]:
    sets = getattr(_data(trainer), "evaluation_sets", None)
    if sets is None:
        raise InputError(
            "retrieval evaluation: expected a data module with evaluation_sets (name, num_queries, num_gallery, "
            f"transfer of each), got {type(_data(trainer)).__name__}; use ogreid.ReIDDataModule, or give yours one"
        )
    return sets  # type: ignore[no-any-return]
