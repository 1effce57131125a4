"""Evaluating and embedding with a trained network, through Lightning's own ``test`` and ``predict``."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import Dataset

from ogreid.config.bars import ProgressBars
from ogreid.data.batch import CloudBatch
from ogreid.data.dataset import CloudDataset
from ogreid.data.datasets.catalogue import store_path
from ogreid.data.module import ReIDDataModule
from ogreid.data.store.mapped import Store
from ogreid.errors import InputError
from ogreid.models.histogram import Histogram
from ogreid.models.pretrained import load_pretrained
from ogreid.models.published import load_published
from ogreid.ops.collectives import all_gather_object
from ogreid.registry import VARIANTS, resolve
from ogreid.reporting.evaluated import EvaluatedSet
from ogreid.retrieval.embeddings import Embeddings
from ogreid.training.callbacks.evaluation import By, RetrievalEvaluation
from ogreid.training.callbacks.pictures import evaluated_sets
from ogreid.training.callbacks.progress import TrainingProgress
from ogreid.training.checkpoint import load_checkpoint
from ogreid.training.module import EmbeddingBatch, ReIDModule
from ogreid.training.trainer import evaluation_trainer

log = logging.getLogger(__name__)

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the points that are tested where none are named."""


@dataclass(frozen=True)
class Network:
    """A network ready to be used.

    Attributes:
        name: for tables.
        module: embeds.
        data: arguments of ``ReIDDataModule`` that say how its clouds are prepared.
        pictures: whether what is made with it may show people (``runs.pictures``).
    """

    name: str
    module: ReIDModule
    data: dict[str, Any] = field(default_factory=dict)
    pictures: bool = True

    @property
    def sees_bodies(self) -> bool:
        """Whether embeddings depend on the body that a crop was lifted with, and not on its colors alone."""
        backbone = self.module.network
        reads_colors = self.data_module().config.inputs == "crop" and not getattr(backbone, "pixels", ())
        return not (reads_colors or isinstance(backbone, Histogram))

    def data_module(self, root: str | Path | None = None, **changes: Any) -> ReIDDataModule:  # noqa: ANN401
        """A data module that prepares clouds as in training, of other sets."""
        kept = ("num_points", "density", "inputs", "eval_batch_size", "num_workers", "resident")
        arguments = {name: self.data[name] for name in kept if name in self.data}
        if not self.data and getattr(self.module.network, "inputs", None) == "crop":
            arguments["inputs"] = "crop"
        data = ReIDDataModule(**{"root": root, "train": (), "test": ()} | arguments | changes)
        data.progress = ProgressBars()
        return data


def load_network(
    checkpoint: str | None = None,
    *,
    published: str | None = None,
    model: str | None = None,
    weights: str = "model_last.pth",
) -> Network:
    """A checkpoint, a released folder, an untrained network, or where none is named, the one that ships with ogreid.

    Args:
        checkpoint: a run folder, or a ``.ckpt`` file of a run or of any Trainer.
        published: a released folder: ``opts.yaml`` and its weights.
        model: a name of ``ogreid.registry.MODELS``, for example ``histogram``.
        weights: file in the released folder.

    Raises:
        InputError: nothing there, or not readable.
    """
    if checkpoint is not None:
        loaded = load_checkpoint(checkpoint)
        experiment = loaded.experiment
        name = experiment.name if experiment else str(loaded.module.hparams["model"])
        return Network(name, loaded.module, loaded.data, experiment is None or experiment.runs.pictures)
    if published is not None:
        network, _ = load_published(published, weights)
        return Network("published", ReIDModule(network.eval(), loss="ce"))
    if model is None:
        log.info("no --checkpoint: the network that ships with ogreid, trained on synthetic people only")
        shipped = load_pretrained()
        module = ReIDModule(shipped.network, loss="ce", **shipped.options)
        return Network("synthetic", module.eval(), shipped.data)
    scales = (1.0,) if model == "histogram" else (1.0, 1.1)
    return Network(model, ReIDModule(model, loss="ce", scales=scales).eval())


def evaluate(
    network: Network,
    stores: Sequence[str],
    root: str | Path | None = None,
    *,
    also: Sequence[str] = (),
    by: By = "crop",
    devices: int = 1,
    sets: list[EvaluatedSet] | None = None,
    **changes: Any,  # noqa: ANN401 - of ReIDDataModule
) -> dict[str, Any]:
    """The numbers of ``summary.json`` for each store, percentages as 0..100.

    Args:
        network: see :func:`load_network`.
        stores: names under ``root``, or paths.
        root: data root.
        also: keys of :data:`ogreid.registry.VARIANTS`; their numbers come as ``<store>, <variant>``. One that a set is
            too small for is left out with a warning.
        by: what is retrieved, ``crop`` or ``tracklet``; the numbers of tracklets come as ``<store>, by tracklet``.
        devices: processes that share the work; each returns the same numbers, to the bit, whatever their number.
        sets: where each evaluated set is appended, for what its single pairs and queries say; crops only.
        **changes: arguments of ``ReIDDataModule``, for example ``num_points``.

    Raises:
        InputError: an unknown variant or store; a set that cannot be evaluated; tracklets of a store without them.
    """
    variants = {name: resolve("variant", VARIANTS, name) for name in also}
    data = network.data_module(root, test=list(stores), **changes)
    evaluation = RetrievalEvaluation(by=by)
    trainer = evaluation_trainer([evaluation, TrainingProgress(leave=False)], devices=devices)
    trainer.test(network.module, datamodule=data, verbose=False)
    suffix = "" if by == "crop" else f", by {by}"
    results = {f"{name}{suffix}": result for name, result in evaluation.results.items()}
    for position, metric in evaluation.metrics.items() if also else ():
        assert metric.samples is not None
        sides = metric.samples.sides(metric.num_queries)
        name = f"{data.evaluation_sets[position].name}{suffix}"
        for variant, evaluated in variants.items():
            try:
                results[f"{name}, {variant}"] = evaluated(*sides)
            except InputError as error:  # what was evaluated stays
                log.warning("%s, %s: left out: %s", name, variant, error)
    if sets is not None and by == "crop":
        sets += evaluated_sets(data.evaluation_sets, evaluation)
    return {name: result.summary() for name, result in results.items()}


def evaluate_densities(
    network: Network,
    stores: Sequence[str],
    root: str | Path | None = None,
    densities: Sequence[float] = (),
    devices: int = 1,
) -> list[dict[str, Any]]:
    """The numbers of ``summary.json`` at each density, without retraining (the paper's Figure 8).

    Args:
        network: see :func:`load_network`.
        stores: names under ``root``, or paths.
        root: data root.
        densities: shares of the stored points in (0, 1]; :data:`DENSITIES` where none are named.
        devices: processes that share the work.

    Returns:
        For each density ``density`` and ``retrieval``: store -> numbers.

    Raises:
        InputError: a density outside (0, 1]; one so low that a network cannot find its neighbors.
    """
    densities = sorted(set(densities or DENSITIES))
    for density in densities:
        if not 0 < density <= 1:
            raise InputError(f"--density: expected shares of the points, above 0 and up to 1, got {density:g}")
    if network.data_module().config.inputs == "crop":
        raise InputError(f"--density: {network.name} reads every pixel of a crop; expected a network on points")
    return [
        {"density": density, "retrieval": evaluate(network, stores, root, devices=devices, density=density)}
        for density in densities
    ]


def trained_density(network: Network, store: str, root: str | Path | None = None) -> float:
    """The share of a store's points that the network got in training."""
    data = network.data_module(root)
    return data.config.density or data.config.num_points / Store.open(store_path(store, data.root)).points


def embed(
    network: Network,
    dataset: Dataset[CloudBatch],
    *,
    data: ReIDDataModule | None = None,
    devices: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embed every cloud of a data set.

    Args:
        network: see :func:`load_network`.
        dataset: of clouds as they are stored.
        data: prepares them; as in training where it is not given.
        devices: processes that share the work.
        progress: called with (done, total) after each batch.

    Returns:
        The embeddings in the order of the data set, on every process.
    """
    data = data or network.data_module()
    data.predict_datasets = [dataset]
    callbacks = [_Report(progress, len(dataset))] if progress else []  # type: ignore[arg-type]  # our data sets are sized
    trainer = evaluation_trainer([*callbacks], devices=devices, enable_progress_bar=False)
    batches: Any = trainer.predict(network.module, datamodule=data)
    parts = [EmbeddingBatch(*part) for rank in all_gather_object([tuple(one) for one in batches]) for part in rank]
    order = torch.argsort(torch.cat([part.index for part in parts]))
    columns = zip(*(part[:4] for part in parts), strict=True)  # embedding, identity, camera, index
    embedding, identity, camera, index = (torch.cat(column)[order].numpy() for column in columns)
    source = np.array([source for part in parts for source in part.source])[order.numpy()]
    return Embeddings(embedding, identity, camera, index, source)


def embed_store(
    network: Network,
    store: Store,
    rows: np.ndarray | None = None,
    *,
    devices: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embed these rows of a store, its :meth:`Store.gallery_rows` where none are given; ``index`` are the rows.

    Raises:
        InputError: the network reads crops, and the store has none.
    """
    network.data_module().check_order(store)
    rows = store.gallery_rows() if rows is None else rows
    embeddings = embed(network, CloudDataset.of(store, rows, sources=True), devices=devices, progress=progress)
    split = store.rows["split"][rows].astype(str)
    return embeddings.replace(index=rows, split=split, fingerprint=fingerprint(network, store))


def fingerprint(network: Network, store: Store) -> str:
    """Of everything that a store's embeddings depend on: network, preparation, clouds."""
    digest = hashlib.sha256(store.digest.encode())
    relevant = {name: network.data.get(name) for name in ("num_points", "density", "inputs")}
    digest.update(repr((network.module.scales, network.module.hparams["mirror"], relevant)).encode())
    for name, weights in network.module.network.state_dict().items():
        digest.update(name.encode() + weights.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _Report(L.Callback):
    """Says after each batch how many clouds of all processes are done."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def on_predict_batch_end(self, trainer: L.Trainer, *details: Any) -> None:  # noqa: ANN401
        self.done = min(self.total, self.done + len(details[1].index) * trainer.world_size)
        if trainer.is_global_zero:
            self.progress(self.done, self.total)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last shares of the processes may differ."""
        if trainer.is_global_zero and self.done < self.total:
            self.progress(self.total, self.total)
