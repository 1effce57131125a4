"""What retrieval looks like: ranked galleries, a cloud and a map of embeddings, written into the run folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from ogreid.data.dataset import EvaluationSet
from ogreid.reporting.evaluated import EvaluatedSet
from ogreid.retrieval import RetrievalResult
from ogreid.retrieval.embeddings import Embeddings
from ogreid.retrieval.metric import Samples
from ogreid.training.callbacks.evaluation import RetrievalEvaluation


class Pictures(L.Callback):
    """Writes ``pictures/<set>-{galleries,cloud,map}.npz`` for every evaluated set, of the network at the end.

    Where W&B tracks the run, the galleries, the map, the CMC and precision-recall curves, the cloud (a 3D object) and a
    chart of the mAP on every set go there.

    Args:
        folder: of the run.
        evaluations: whose results and embeddings are shown.
        people: whether people may be shown: without, there are no galleries and no cloud, here nor in W&B.
        embeddings: whether each evaluation writes ``embeddings/<set>.npz``.
    """

    def __init__(
        self,
        folder: Path,
        evaluations: Sequence[RetrievalEvaluation],
        *,
        people: bool = True,
        embeddings: bool = False,
    ) -> None:
        self.folder, self.evaluations, self.people, self.embeddings = folder, evaluations, people, embeddings

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the last evaluation of the training."""
        if not _holds_out(trainer):
            self._write(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After an evaluation of its own, as of averaged weights."""
        if self.embeddings and not trainer.sanity_checking and trainer.is_global_zero:
            self._save_embeddings(trainer)
        if trainer.state.fn == TrainerFn.VALIDATING and not _holds_out(trainer):
            self._write(trainer)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the only evaluation on the test sets, where held-out identities chose the network."""
        if self.embeddings and trainer.is_global_zero:
            self._save_embeddings(trainer)
        self._write(trainer)

    def _sets(self, trainer: L.Trainer) -> Iterator[tuple[EvaluationSet, Samples, RetrievalResult]]:
        """What the last evaluation collected and gave, per set."""
        sets = trainer.datamodule.evaluation_sets  # type: ignore[attr-defined]  # set by Lightning where one is given
        for evaluation in self.evaluations:
            for position, metric in evaluation.metrics.items():
                if metric.samples is not None and sets[position].name in evaluation.results:
                    yield sets[position], metric.samples, evaluation.results[sets[position].name]

    def _write(self, trainer: L.Trainer) -> None:
        from ogreid.reporting.galleries import write_pictures
        from ogreid.reporting.media import set_media, transfer_media

        sets = list(self._sets(trainer)) if trainer.is_global_zero else []
        media: dict[str, Any] = {}
        for one, samples, result in sets:
            if result.answerable:
                precision = result.average_precision
                pictures = write_pictures(self.folder / "pictures", one, samples, precision, people=self.people)
                media |= set_media(one.name, result, pictures)
        if media:
            source = trainer.datamodule.source_name  # type: ignore[attr-defined]
            media |= transfer_media(source, {one.name: result for one, _, result in sets})
        for logger in trainer.loggers if media else ():
            if isinstance(logger, WandbLogger):
                logger.experiment.log(media)

    def _save_embeddings(self, trainer: L.Trainer) -> None:
        """Each evaluation replaces what the one before wrote."""
        (self.folder / "embeddings").mkdir(exist_ok=True)
        for one, samples, _ in self._sets(trainer):
            index = samples.index.cpu().numpy()
            rows = one.rows[index]
            columns = samples.embedding.cpu().numpy(), samples.identity.cpu().numpy(), samples.camera.cpu().numpy()
            split = np.where(index < one.num_queries, "query", "gallery")
            embeddings = Embeddings(*columns, rows, one.store.rows["source"][rows].astype(str), split)
            embeddings.save(self.folder / "embeddings" / f"{one.name.replace('/', '-')}.npz")


def evaluated_sets(sets: Sequence[EvaluationSet], *evaluations: RetrievalEvaluation) -> list[EvaluatedSet]:
    """What the last evaluations collected of each of the data module's ``sets``, on the CPU."""
    listed = []
    for evaluation in evaluations:
        for position, metric in evaluation.metrics.items():
            one, samples = sets[position], metric.samples
            if samples is not None and one.name in evaluation.results:
                rows = one.rows[samples.index.cpu().numpy()]
                sides = samples.sides(metric.num_queries)
                result, definition = evaluation.results[one.name], evaluation.average_precision
                listed.append(EvaluatedSet(one.name, *sides, one.store, rows, result, definition))
    return listed


def _holds_out(trainer: L.Trainer) -> bool:
    """Whether validation shows held-out identities of the training split, not the test sets."""
    return bool(getattr(trainer.datamodule, "holdout_sets", ()))  # type: ignore[attr-defined]
