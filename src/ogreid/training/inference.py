"""Judging a finished network on packed stores, through Lightning's own validation loop."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
from ogreid.training.train import checkpoint
from ogreid.training.callbacks.progress import Making, ReidProgress
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.config import Data
from ogreid.data.module import ReIDDataModule
from ogreid.errors import InputError, nearest_names
from ogreid.models import build_model
from ogreid.models.published import load_published
from ogreid.training.module import ReIDModule
from ogreid.reporting.terminal import summaries
from ogreid.retrieval.variants import VARIANTS
from ogreid.training.quiet import silence

__all__ = ["Judged", "judge_stores", "network_for"]


@dataclass(frozen=True)
class Judged:
    """A network ready to be judged.

    Attributes:
        name: for the table.
        module: embeds.
        data: how its clouds are prepared.
        people: whether what is made with it may show people (``runs.pictures``).
    """

    name: str
    module: ReIDModule
    data: Data
    people: bool = True


def network_for(run: str | None, published: str | None, model: str | None, weights: str = "model_last.pth") -> Judged:
    """Exactly one of a run or checkpoint of ours, a released folder, or the name of a model."""
    if run is not None:
        restored = checkpoint.restore(run)
        experiment = restored.experiment
        return Judged(experiment.name, restored.module, experiment.data, experiment.runs.pictures)
    if published is not None:
        network, _ = load_published(published, weights)
        return Judged("published", ReIDModule(network.eval()), Data())
    assert model is not None
    views = (1.0,) if model == "histogram" else (1.0, 1.1)
    return Judged(model, ReIDModule(build_model(model).eval(), views=views), Data())


def judge_stores(
    judged: Judged,
    stores: Sequence[str],
    root: str,
    points: int | None = None,
    also: Sequence[str] = (),
    devices: int = 1,
) -> dict[str, Any]:
    """The numbers of ``summary.json`` for each store, percentages as 0..100.

    Args:
        judged: the network.
        stores: names under ``root``, or paths.
        root: data root.
        points: per cloud; as trained where it is not given.
        also: keys of :data:`ogreid.retrieval.variants.VARIANTS`; their numbers come as ``<store>, <variant>``.
        devices: processes that share the work; each returns the same numbers, to the bit, whatever their number.
    """
    silence()
    for name in also:
        if name not in VARIANTS:
            raise InputError(f"--also {name}: {nearest_names(name, VARIANTS)}")
    how = dataclasses.replace(judged.data, root=root, train=[], retrieval=list(stores), transfer=[])
    if points is not None:
        how = dataclasses.replace(how, points=points, density=None)
    data = ReIDDataModule(how, progress=Making())
    judge = RetrievalEvaluation()
    trainer = L.Trainer(
        devices=devices,
        logger=False,
        callbacks=[judge, ReidProgress(leave=False)],
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
    trainer.validate(judged.module, datamodule=data, verbose=False)
    found = dict(judge.judgments)
    for number, metric in judge.metrics.items() if also else ():
        assert metric.collected is not None
        sides = metric.collected.sides(metric.queries)
        name = data.retrieval_sets[number].name
        found |= {f"{name}, {variant}": VARIANTS[variant](*sides) for variant in also}
    return summaries(found)
