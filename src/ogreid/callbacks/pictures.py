"""What retrieval looks like: ranked galleries, a cloud and a map of embeddings, written into the run folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from ogreid.callbacks.sightings import collect_galleries, gallery_sheet
from ogreid.callbacks.validation import RetrievalValidation
from ogreid.data.datamodule import ReidDataModule, RetrievalSet
from ogreid.retrieval.metric import Collected
from ogreid.retrieval.ranking import Judgement

__all__ = ["Pictures", "collect_galleries", "collected_sets"]


class Pictures(L.Callback):
    """Writes ``<set>-{galleries,cloud,map}.npz`` for every judged set, of the network as it is at the end.

    Where the run is tracked by W&B, the galleries go there as one image a set and the cloud as a 3D object.

    Args:
        folder: where to; made when needed.
        top: gallery rows per query.
        each: queries per kind (best, median, worst).
    """

    def __init__(self, folder: Path, *, top: int = 10, each: int = 2) -> None:
        self.folder, self.top, self.each = folder, top, each

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the last validation of the training."""
        self._write(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After a validation of its own, as of averaged weights."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        for judged, rows, judgement in collected_sets(trainer) if trainer.is_global_zero else ():
            if not judgement.answerable:
                continue
            index = rows.index.cpu().numpy()
            files = collect_galleries(
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
                average_precision=judgement.average_precision,
            )
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.log(_tracked(judged.name, *files[:2]))


def collected_sets(trainer: L.Trainer) -> Iterator[tuple[RetrievalSet, Collected, Judgement]]:
    """What the last validation gathered and found, per set."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning where a data module is given
    assert isinstance(data, ReidDataModule)
    for judge in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        for number, metric in judge.metrics.items() if isinstance(judge, RetrievalValidation) else ():
            judged = data.retrieval_sets[number]
            if metric.collected is not None and judged.name in judge.judgements:
                yield judged, metric.collected, judge.judgements[judged.name]


def _tracked(name: str, galleries: Path, cloud: Path) -> dict[str, Any]:
    """What W&B is given; its 3D objects have y up, ours down."""
    with np.load(galleries) as held, np.load(cloud) as points:
        told = ", ".join(
            f"{k} AP {100 * ap:.1f}" for k, ap in zip(held["kind"], held["average_precision"], strict=True)
        )
        turned = points["xyz"] * np.array([1, -1, -1])
        return {
            f"pictures/{name}/galleries": wandb.Image(gallery_sheet(held), caption=told),
            f"pictures/{name}/cloud": wandb.Object3D(np.concatenate([turned, points["rgb"]], axis=1)),
        }
