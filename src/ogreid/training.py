"""From an experiment to a finished run: the one place that puts data, module, callbacks and Trainer together."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from rich.console import Console

from ogreid import processes, runs
from ogreid.callbacks.averaging import TailAveraging
from ogreid.callbacks.embeddings import KeepEmbeddings
from ogreid.callbacks.pictures import Pictures
from ogreid.callbacks.progress import Making, ReidProgress
from ogreid.callbacks.record import Record
from ogreid.callbacks.throughput import Throughput
from ogreid.callbacks.transfer import TransferValidation
from ogreid.callbacks.validation import RetrievalValidation
from ogreid.checkpoint import build_module
from ogreid.config import Experiment
from ogreid.data.datamodule import ReidDataModule
from ogreid.errors import UserError
from ogreid.models import build_model
from ogreid.module import ReidModule
from ogreid.parallel import SameNetwork
from ogreid.reporting import write_report
from ogreid.results import network_table, results_table, summaries
from ogreid.retrieval.ranking import AveragePrecision
from ogreid.runs import Run
from ogreid.silence import silence
from ogreid.tracking import KeepPlace, RunCSVLogger, loggers_for
from ogreid.trainers import check_trainer, make_trainer

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(experiment: Experiment, resume: str | None = None) -> Run:
    """Train, judge, write the run folder.

    Args:
        experiment: resolved.
        resume: a run folder or a checkpoint in it, to go on with.

    Returns:
        The run; its ``summary.json`` and ``report.html`` are written.
    """
    silence()
    check_trainer(experiment)
    run = runs.open_run(resume) if resume else runs.start_run(experiment, runs.new_stamp(experiment))
    try:
        with _log_to(run.folder / "log.txt") if processes.rank() == 0 else nullcontext():
            log.debug("%s: %s", "resumed" if resume else "started", experiment.name)
            _train(experiment, run, _resume_from(run, resume))
    except UserError:
        if resume is None and processes.rank() == 0 and not run.checkpoints.exists():
            shutil.rmtree(run.folder, ignore_errors=True)  # nothing came of it
        raise
    finally:
        os.environ.pop(runs.STAMP, None)  # it belongs to this run; another one in this process gets its own
    return run


def _train(experiment: Experiment, run: Run, start: Path | None) -> None:
    started = time.perf_counter()
    L.seed_everything(experiment.seed, workers=True, verbose=False)
    data = ReidDataModule(experiment.data, experiment.seed, experiment.validation.transfer_every, Making())
    _prepare(data)
    module = build_module(experiment, data.identities)
    if processes.rank() == 0:
        Console().print(network_table(experiment.model.name, module.network, data.points))
    baselines = run.summary().get("baselines") or _baselines(experiment, data, module)
    if experiment.trainer.compile:
        module.network.compile()
    callbacks = _callbacks(experiment, run, data.identities)
    loggers = loggers_for(experiment, run)
    callbacks += [KeepPlace(logger) for logger in loggers if isinstance(logger, RunCSVLogger)]
    trainer = make_trainer(experiment, callbacks, logger=loggers, default_root_dir=run.folder)
    trainer.fit(module, datamodule=data, ckpt_path=start)
    last = _judged(callbacks)
    if experiment.optimiser.average and not experiment.trainer.fast_dev_run:
        trainer.validate(module, datamodule=data, verbose=False)
        trainer.save_checkpoint(run.average)
    if trainer.is_global_zero:
        summary = _summary(experiment, module, callbacks) | {"baselines": baselines, "last": last}
        _finish(experiment, run, summary | {"seconds": round(time.perf_counter() - started, 1)})


def _prepare(data: ReidDataModule) -> None:
    """Stores before the module, because the classifier is as wide as there are identities.

    Lightning's own launcher starts the other processes later; under torchrun and SLURM they wait here.
    """
    if processes.rank() == 0:
        data.prepare_data()
    while not data.is_packed():
        time.sleep(1)
    data.setup("fit")


def _baselines(experiment: Experiment, data: ReidDataModule, module: ReidModule) -> dict[str, Any]:
    """Judged once, on the first process, before any training."""
    found: dict[str, Any] = {}
    if processes.rank() != 0 or experiment.trainer.fast_dev_run:
        return found
    for name in experiment.validation.baselines:
        judged = module if name == "untrained" else ReidModule(build_model(name), views=(1.0,))
        judges = _judges(experiment)
        trainer = L.Trainer(
            accelerator=experiment.trainer.accelerator,
            devices=1,
            logger=False,
            callbacks=[*judges, *_progress(experiment)],
            enable_progress_bar=experiment.trainer.enable_progress_bar,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        log.info("judging the baseline: %s", name)
        trainer.validate(judged, datamodule=data, verbose=False)
        found[name] = {k: v for judge in judges for k, v in summaries(judge.judgements).items()}
    return found


def _judges(experiment: Experiment) -> list[RetrievalValidation]:
    partial = _partial(experiment)
    definition = cast(AveragePrecision, experiment.validation.average_precision)
    kinds = (RetrievalValidation, TransferValidation)
    return [kind(partial=partial, average_precision=definition) for kind in kinds]


def _partial(experiment: Experiment) -> bool:
    """Whether validation sees a part of each set only, so that its numbers are no result."""
    limit = experiment.trainer.limit_val_batches
    whole = limit is None or (isinstance(limit, float) and limit == 1.0)  # the integer 1 is one batch
    return experiment.trainer.fast_dev_run or not whole


def _progress(experiment: Experiment) -> list[Callback]:
    return [ReidProgress(leave=False)] if experiment.trainer.enable_progress_bar else []


def _callbacks(experiment: Experiment, run: Run, identities: int) -> list[Callback]:
    chosen: list[Callback] = [
        SameNetwork(),
        *_judges(experiment),
        *_checkpoints(experiment, run),
        Throughput(),
        Record(experiment, identities),
    ]
    if experiment.optimiser.average:
        chosen.append(TailAveraging(experiment.optimiser.average))
    if experiment.runs.pictures:
        chosen.append(Pictures(run.folder / "pictures"))
    if experiment.validation.embeddings:
        chosen.append(KeepEmbeddings(run.folder / "embeddings"))
    if not experiment.trainer.fast_dev_run:
        chosen.append(LearningRateMonitor(logging_interval="epoch"))
    return [*chosen, *_progress(experiment)]


def _checkpoints(experiment: Experiment, run: Run) -> list[ModelCheckpoint]:
    """``best`` and ``last``; no ``best`` by numbers of a part of the set.

    Two callbacks, because Lightning's ``save_last`` is the last one that was the *best*: a run that gets no better
    would be resumed from where it stopped improving.
    """
    last = ModelCheckpoint(dirpath=run.checkpoints, filename="last", enable_version_counter=False)
    if _partial(experiment):
        if processes.rank() == 0 and not experiment.trainer.fast_dev_run:
            log.warning("limit_val_batches: mAP is of a part of each set, so no checkpoint is called the best")
        return [last]
    best = ModelCheckpoint(
        dirpath=run.checkpoints, filename="best", monitor="val/mAP", mode="max", enable_version_counter=False
    )
    return [best, last]


def _judged(callbacks: list[Callback]) -> dict[str, Any]:
    """What the last validation found, on every set."""
    return {k: v for c in callbacks if isinstance(c, RetrievalValidation) for k, v in summaries(c.judgements).items()}


def _summary(experiment: Experiment, module: ReidModule, callbacks: list[Callback]) -> dict[str, Any]:
    """What ``summary.json`` says of the finished network: averaged where the experiment averages, else the last."""
    validation, transfer = (c for c in callbacks if isinstance(c, RetrievalValidation))
    throughput = next(c for c in callbacks if isinstance(c, Throughput))
    best = next(c for c in callbacks if isinstance(c, ModelCheckpoint))
    found = validation.judgements | transfer.judgements
    return {
        "experiment": experiment.name,
        "model": experiment.model.name,
        "seed": experiment.seed,
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "clouds_per_second": throughput.clouds_per_second,
        "retrieval": summaries(validation.judgements),
        "transfer": summaries(transfer.judgements),
        "best_mAP": None if best.best_model_score is None else float(best.best_model_score),
        "cmc": {name: _percentages(judged.cmc[:50]) for name, judged in found.items()},
        "precision": {name: _percentages(judged.precision) for name, judged in found.items()},
        "provenance": runs.provenance(),
    }


def _percentages(rates: np.ndarray) -> list[float]:
    return [round(100 * float(rate), 6) for rate in rates]


def _finish(experiment: Experiment, run: Run, summary: dict[str, Any]) -> None:
    """Write the summary and the report, print the table."""
    run.write_summary(summary)
    report = write_report(run.folder)
    rows = {(name, on): numbers for name, sets in summary["baselines"].items() for on, numbers in sets.items()}
    found = {**summary["retrieval"], **summary["transfer"]}
    rows |= {(experiment.model.name, on): numbers for on, numbers in found.items()}
    console = Console()
    console.print(results_table(f"{experiment.name}, seed {experiment.seed}, {summary['seconds']:.0f} s", rows))
    console.print(f"run     {run.folder}\nreport  {report}", soft_wrap=True, highlight=False)


def _resume_from(run: Run, resume: str | None) -> Path | None:
    if resume is None:
        return None
    return Path(resume) if resume.endswith(".ckpt") else run.last


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """What is logged, from debug level on, also goes to a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("ogreid")
    ours.setLevel(logging.DEBUG)
    for logger in (ours, logging.getLogger("lightning.pytorch")):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (ours, logging.getLogger("lightning.pytorch")):
            logger.removeHandler(handler)
        handler.close()
