"""What retrieval looks like: ranked galleries, a cloud and a map of embeddings, written into the run folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from ogreid.training.callbacks.galleries import collect_galleries, collect_map
from ogreid.training.callbacks.tracked import tracked_curves, tracked_map, tracked_people, tracked_transfer
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.data.module import ReIDDataModule, RetrievalSet
from ogreid.retrieval.metric import Collected
from ogreid.retrieval.ranking import RetrievalResult

__all__ = ["Pictures", "collected_sets"]


class Pictures(L.Callback):
    """Writes ``<set>-{galleries,cloud,map}.npz`` for every judged set, of the network as it is at the end.

    Where W&B tracks the run, the galleries, the map, the CMC and precision-recall curves, the cloud (a 3D object) and a
    heat map of the mAP on every set go there.

    Args:
        folder: where to; made when needed.
        people: whether people may be shown: without, there are no galleries and no cloud, here nor in W&B.
        top: gallery rows per query.
        each: queries per kind (best, median, worst).
    """

    def __init__(self, folder: Path, *, people: bool = True, top: int = 10, each: int = 2) -> None:
        self.folder, self.people, self.top, self.each = folder, people, top, each

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the last validation of the training."""
        self._write(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After a validation of its own, as of averaged weights."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        shown: dict[str, Any] = {}
        judged_sets = list(collected_sets(trainer)) if trainer.is_global_zero else []
        for judged, rows, judgment in judged_sets:
            if judgment.answerable:
                plane = collect_map(rows.embedding, rows.identity, rows.camera, self.folder, judged.name)
                shown |= tracked_map(judged.name, plane) | tracked_curves(judged.name, judgment)
                if self.people:
                    shown |= tracked_people(judged.name, *self._collect(judged, rows, judgment))
        if shown:
            told = {judged.name: judgment for judged, _, judgment in judged_sets}
            shown |= tracked_transfer(" + ".join(_data(trainer).data.train), told)
        for logger in trainer.loggers if shown else ():
            if isinstance(logger, WandbLogger):
                logger.experiment.log(shown)

    def _collect(self, judged: RetrievalSet, rows: Collected, judgment: RetrievalResult) -> tuple[Path, Path]:
        index = rows.index.cpu().numpy()
        return collect_galleries(
            judged.store,
            judged.rows[index],
            int((index < judged.queries).sum()),
            rows.embedding,
            rows.identity,
            rows.camera,
            self.folder,
            top=self.top,
            each=self.each,
            name=judged.name,
            average_precision=judgment.average_precision,
        )


def collected_sets(trainer: L.Trainer) -> Iterator[tuple[RetrievalSet, Collected, RetrievalResult]]:
    """What the last validation gathered and found, per set."""
    data = _data(trainer)
    for judge in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        for number, metric in judge.metrics.items() if isinstance(judge, RetrievalEvaluation) else ():
            judged = data.retrieval_sets[number]
            if metric.collected is not None and judged.name in judge.judgments:
                yield judged, metric.collected, judge.judgments[judged.name]


def _data(trainer: L.Trainer) -> ReIDDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
    assert isinstance(data, ReIDDataModule)
    return data
