"""From an experiment to a finished run: the one place that puts data, module, callbacks and Trainer together."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from rich.console import Console

from ogreid import locks, runs
from ogreid.ops import collectives
from ogreid.training.callbacks.averaging import TailAveraging
from ogreid.training.callbacks.embeddings import KeepEmbeddings
from ogreid.training.callbacks.checkpointing import KeepBest, KeepLast
from ogreid.training.callbacks.nan_guard import BadStep, WatchNumbers
from ogreid.training.callbacks.pictures import Pictures
from ogreid.training.callbacks.preemption import StopAfter, Stopped, StopWhenAsked
from ogreid.training.callbacks.progress import Making, ReidProgress
from ogreid.training.callbacks.seeding import SeedEachStep
from ogreid.training.callbacks.record import Record
from ogreid.training.callbacks.throughput import Throughput
from ogreid.training.callbacks.transfer import TransferEvaluation
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.training.checkpoint import build_module
from ogreid.config import Experiment
from ogreid.data.module import ReIDDataModule
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.training.module import ReIDModule
from ogreid.training.distributed import SameNetwork
from ogreid.reporting import write_report
from ogreid.reporting.terminal import network_table, results_table, summaries
from ogreid.training.resume import place_to_start
from ogreid.retrieval.ranking import AveragePrecision
from ogreid.runs import Run
from ogreid.training.quiet import silence
from ogreid.training.loggers import KeepPlace, RunCSVLogger, keep_files, tracked
from ogreid.training.trainer import check_trainer, make_trainer

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(experiment: Experiment, resume: str | None = None) -> Run:
    """Train, judge, write the run folder.

    Args:
        experiment: resolved.
        resume: a run folder or a checkpoint in it, to go on with.

    Returns:
        The run; its ``summary.json`` and ``report.html`` are written.

    Raises:
        InputError: whatever the user can put right.
        Stopped: SIGTERM or Ctrl-C asked for it, and everything is saved; leaves the program if nobody catches it.
    """
    silence()
    check_trainer(experiment)
    run = runs.open_run(resume) if resume else runs.start_run(experiment, runs.new_stamp(experiment))
    lock = None
    try:
        lock = runs.hold(run) if distributed.rank() == 0 else None
        with _log_to(run.folder / "log.txt") if distributed.rank() == 0 else nullcontext():
            log.debug("%s: %s", "resumed" if resume else "started", experiment.name)
            with _told_in_one_line(experiment, run):
                _train(experiment, run, place_to_start(run, resume, experiment))
    except Stopped:
        # Lightning's launcher kills everything where one of its processes leaves with another status than 0.
        if distributed.rank():
            raise SystemExit(0) from None
        log.warning("stopped, and saved in %s; go on with: python -m ogreid.fit --resume %s", run.last, run.folder)
        raise
    except SystemExit as left:
        # Lightning makes status 1 of a Ctrl-C that comes before the first step or after the last one.
        if isinstance(left.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except BadStep:
        if distributed.rank():
            raise SystemExit(0) from None  # the first process says it for all
        raise
    except InputError:
        if resume is None and lock is not None and not run.checkpoints.exists():
            shutil.rmtree(run.folder, ignore_errors=True)  # nothing came of it
            with suppress(OSError):
                run.folder.parent.rmdir()  # unless it holds other runs
        raise
    finally:
        if lock is not None:
            locks.release(run.lock, lock)
        os.environ.pop(runs.STAMP, None)  # it belongs to this run; another one in this process gets its own
    return run


def _train(experiment: Experiment, run: Run, start: Path | None) -> None:
    started = time.perf_counter()
    L.seed_everything(experiment.seed, workers=True, verbose=False)
    data = ReIDDataModule(experiment.data, experiment.seed, experiment.data.transfer_every, Making())
    _prepare(data)
    module = build_module(experiment, data.identities)
    if distributed.rank() == 0:
        Console().print(network_table(experiment.model.name, module.network, data.num_points))
    baselines = run.summary().get("baselines") or _baselines(experiment, data, module)
    if experiment.trainer.compile:
        module.network.compile()
    callbacks = _callbacks(experiment, run, data.identities)
    with tracked(experiment, run) as loggers:
        callbacks += [KeepPlace(logger) for logger in loggers if isinstance(logger, RunCSVLogger)]
        trainer = make_trainer(experiment, callbacks, logger=loggers, default_root_dir=run.folder)
        trainer.fit(module, datamodule=data, ckpt_path=start)
        _judge_the_end(trainer, module, data, _judges_of(callbacks)[0])
        last = _judged(callbacks)
        for averaging in (c for c in callbacks if isinstance(c, TailAveraging) and not experiment.trainer.fast_dev_run):
            averaging.take_over(trainer, module)
            trainer.validate(module, datamodule=data, verbose=False)
            trainer.save_checkpoint(run.average, weights_only=False)
        if trainer.is_global_zero:
            summary = _summary(experiment, module, callbacks) | {"baselines": baselines, "last": last}
            summary |= {"seconds": round(time.perf_counter() - started, 1)}
            _finish(experiment, run, summary)
            keep_files(trainer.loggers, experiment, run, summary)


def _judge_the_end(trainer: L.Trainer, module: ReIDModule, data: ReIDDataModule, judge: RetrievalEvaluation) -> None:
    """Judge the network of the last step, unless it was.

    A process that was killed after it judged has logged what it found, but nobody knows the judgments any more.
    """
    logged = judge.step == trainer.global_step
    if trainer.enable_validation and not (logged and judge.judgments):
        loggers = trainer.loggers
        trainer.loggers = [logger for logger in loggers if not (logged and isinstance(logger, RunCSVLogger))]
        trainer.validate(module, datamodule=data, verbose=False)
        trainer.loggers = loggers


def _prepare(data: ReIDDataModule) -> None:
    """Stores before the module, because the classifier is as wide as there are identities.

    Lightning's own launcher starts the other processes later; under torchrun and SLURM they wait here.
    """
    if distributed.rank() == 0:
        data.prepare_data()
    while not data.is_packed():
        time.sleep(1)
    data.setup("fit")


def _baselines(experiment: Experiment, data: ReIDDataModule, module: ReIDModule) -> dict[str, Any]:
    """Judged once, on the first process, before any training."""
    found: dict[str, Any] = {}
    if distributed.rank() != 0 or experiment.trainer.fast_dev_run:
        return found
    for name in experiment.evaluation.baselines:
        judged = module if name == "untrained" else ReIDModule(build_model(name), views=(1.0,))
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
        found[name] = {k: v for judge in judges for k, v in summaries(judge.judgments).items()}
    return found


def _judges(experiment: Experiment) -> list[RetrievalEvaluation]:
    partial = _partial(experiment)
    definition = cast(AveragePrecision, experiment.evaluation.average_precision)
    kinds = (RetrievalEvaluation, TransferEvaluation)
    return [kind(partial=partial, average_precision=definition) for kind in kinds]


def _partial(experiment: Experiment) -> bool:
    """Whether validation sees a part of each set only, so that its numbers are no result."""
    limit = experiment.trainer.limit_val_batches
    whole = limit is None or (isinstance(limit, float) and limit == 1.0)  # the integer 1 is one batch
    return experiment.trainer.fast_dev_run or not whole


def _progress(experiment: Experiment) -> list[Callback]:
    return [ReidProgress(leave=False)] if experiment.trainer.enable_progress_bar else []


def _callbacks(experiment: Experiment, run: Run, identities: int) -> list[Callback]:
    keep = KeepLast(run.last, experiment.trainer.save_every_n_steps)
    chosen: list[Callback] = [
        SameNetwork(),
        *_judges(experiment),
        SeedEachStep(experiment.seed),
        WatchNumbers(
            run.checkpoints, experiment.seed, experiment.trainer.skip_bad_steps, people=experiment.runs.pictures
        ),
        StopWhenAsked(keep),
        StopAfter(experiment.trainer.max_steps),
        *_best(experiment, run),
        keep,
        Throughput(),
        Record(experiment, identities),
    ]
    if experiment.optimizer.swa_fraction:
        chosen.append(TailAveraging(experiment.optimizer.swa_fraction))
    chosen.append(Pictures(run.folder / "pictures", people=experiment.runs.pictures))
    if experiment.evaluation.save_embeddings:
        chosen.append(KeepEmbeddings(run.folder / "embeddings"))
    if not experiment.trainer.fast_dev_run:
        chosen.append(LearningRateMonitor(logging_interval="epoch"))
    return [*chosen, *_progress(experiment)]


def _best(experiment: Experiment, run: Run) -> list[Callback]:
    """What keeps the best; nothing where the numbers are of a part of the set."""
    if not _partial(experiment):
        return [KeepBest(run.checkpoints)]
    if distributed.rank() == 0 and not experiment.trainer.fast_dev_run:
        log.warning("limit_val_batches: mAP is of a part of each set, so no checkpoint is called the best")
    return []


def _judges_of(callbacks: list[Callback]) -> list[RetrievalEvaluation]:
    return [c for c in callbacks if isinstance(c, RetrievalEvaluation)]


def _judged(callbacks: list[Callback]) -> dict[str, Any]:
    """What the last validation found, on every set."""
    return {k: v for judge in _judges_of(callbacks) for k, v in summaries(judge.judgments).items()}


def _summary(experiment: Experiment, module: ReIDModule, callbacks: list[Callback]) -> dict[str, Any]:
    """What ``summary.json`` says of the finished network: averaged where the experiment averages, else the last."""
    validation, transfer = _judges_of(callbacks)
    throughput = next(c for c in callbacks if isinstance(c, Throughput))
    numbers = next(c for c in callbacks if isinstance(c, WatchNumbers))
    scores = [c.best_model_score for c in callbacks if isinstance(c, KeepBest)]
    found = validation.judgments | transfer.judgments
    answered = {name: judged for name, judged in found.items() if judged.answerable}  # of a part perhaps none was
    return {
        "experiment": experiment.name,
        "model": experiment.model.name,
        "seed": experiment.seed,
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "clouds_per_second": throughput.clouds_per_second,
        "retrieval": summaries(validation.judgments),
        "transfer": summaries(transfer.judgments),
        "best_mAP": next((float(score) for score in scores if score is not None), None),
        "skipped_steps": numbers.skipped,
        "cmc": {name: _percentages(judged.cmc[:50]) for name, judged in answered.items()},
        "precision": {name: _percentages(judged.precision) for name, judged in answered.items()},
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


@contextmanager
def _told_in_one_line(experiment: Experiment, run: Run) -> Iterator[None]:
    """A disk that is full, and an operation that cannot be deterministic, are no faults of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{error.filename or run.folder}: cannot be written ({error.strerror}); make room, then go on with "
            f"python -m ogreid.fit --resume {run.folder}"
        ) from error
    except RuntimeError as error:
        operation, said, _ = str(error).partition(" does not have a deterministic implementation")
        if not said:
            raise
        raise InputError(
            f"trainer.deterministic=true: {operation} has no deterministic form on this device; leave the setting out, "
            f"or train with trainer.accelerator=cpu"
        ) from error


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
