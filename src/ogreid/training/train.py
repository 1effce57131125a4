"""From an experiment to a finished run: the one place that puts data, module, callbacks and Trainer together."""

import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from rich.console import Console

from ogreid.config import Experiment, options
from ogreid.config.bars import ProgressBars
from ogreid.data.module import ReIDDataModule
from ogreid.errors import InputError
from ogreid.reporting import write_report
from ogreid.reporting.evaluated import summarize
from ogreid.reporting.pairs import write_pairs
from ogreid.reporting.terminal import results_table, verification_line
from ogreid.retrieval import RetrievalResult
from ogreid.retrieval.measures import AveragePrecision
from ogreid.runs import STAMP, Run, provenance
from ogreid.training.callbacks.averaging import ExponentialAveraging, FinalAveraging, TailAveraging
from ogreid.training.callbacks.checkpointing import BestCheckpoint, LastCheckpoint
from ogreid.training.callbacks.evaluation import RetrievalEvaluation, TransferEvaluation
from ogreid.training.callbacks.nan_guard import NaNGuard
from ogreid.training.callbacks.pictures import Pictures, evaluated_sets
from ogreid.training.callbacks.preemption import StopAfter, StopOnSignal, Stopped
from ogreid.training.callbacks.progress import NetworkSummary, ProgressLines, TrainingProgress
from ogreid.training.callbacks.seeding import SeedEachStep
from ogreid.training.callbacks.throughput import Throughput
from ogreid.training.distributed import rank, run_stamp
from ogreid.training.loggers import RunCSVLogger, TrackPosition, check_loggers, log_files, tracked
from ogreid.training.module import ReIDModule
from ogreid.training.resume import is_finished, starting_checkpoint
from ogreid.training.session import log_to, one_process_speaks, plain_errors, remove_empty
from ogreid.training.trainer import build_trainer, check_trainer, evaluation_trainer

log = logging.getLogger(__name__)


def build_data(experiment: Experiment) -> ReIDDataModule:
    """The data module of an experiment."""
    return ReIDDataModule(**options(experiment.data), seed=experiment.seed)


def build_module(experiment: Experiment, *, start: bool = True) -> ReIDModule:
    """The module of an experiment before its training.

    Args:
        experiment: resolved.
        start: load ``model.weights``; without, a resumed run needs them no more.
    """
    backend = {} if experiment.ops.backend == "auto" else {"backend": experiment.ops.backend}
    return ReIDModule(
        experiment.model.name,
        model_options=options(experiment.model, "name", "options", "weights", "freeze")
        | experiment.model.options
        | backend,
        loss=experiment.loss.name,
        loss_options=options(experiment.loss, "name", "dropout", "label_smoothing", "neck", "options")
        | experiment.loss.options,
        dropout=experiment.loss.dropout,
        label_smoothing=experiment.loss.label_smoothing,
        neck=experiment.loss.neck,
        weights=experiment.model.weights if start else None,
        freeze=experiment.model.freeze,
        optimizer=experiment.optimizer.name,
        **options(experiment.optimizer, "name", "swa_fraction", "ema_decay"),
        scales=experiment.evaluation.scales,
        mirror=experiment.evaluation.mirror,
    )


def train(experiment: Experiment, resume: str | None = None) -> Run:
    """Train, evaluate, write the run folder.

    Args:
        experiment: resolved.
        resume: a run folder, or a checkpoint in it, to continue.

    Returns:
        The run; its ``summary.json`` and ``report.html`` are written.

    Raises:
        InputError: whatever the user can put right.
        Stopped: a signal stopped it, and everything is saved; leaves the program if nobody catches it.
    """
    check_trainer(experiment)
    check_loggers(experiment)
    run = Run.open(resume) if resume else Run.start(experiment, run_stamp(experiment), write=rank() == 0)
    if is_finished(run, resume, experiment):
        if rank() == 0:
            log.info("%s: is finished; nothing was changed", run.folder)
        os.environ.pop(STAMP, None)
        return run
    first, locked = rank() == 0, False
    try:
        with run.lock() if first else nullcontext(), log_to(run.folder / "log.txt") if first else nullcontext():
            locked = first
            log.debug("%s: %s", "resumed" if resume else "started", experiment.name)
            with plain_errors(run), one_process_speaks():
                _Training(experiment, run).fit(starting_checkpoint(run, resume, experiment))
    except Stopped:
        log.warning("stopped, and saved in %s; resume with: python -m ogreid.fit --resume %s", run.last, run.folder)
        raise
    except InputError:
        if resume is None and locked and not run.checkpoints.exists():
            remove_empty(run)
        raise
    finally:
        os.environ.pop(STAMP, None)  # it belongs to this run; another one in this process gets its own
    return run


@dataclass
class _Training:
    """One run while it trains."""

    experiment: Experiment
    run: Run

    def __post_init__(self) -> None:
        experiment = self.experiment
        self.dry = bool(experiment.trainer.get("fast_dev_run"))
        self.chooses = experiment.data.val == "holdout"
        definition = cast(AveragePrecision, experiment.evaluation.average_precision)
        self.retrieval, self.transfer = RetrievalEvaluation(definition), TransferEvaluation(definition)
        self.throughput = Throughput()
        self.guard = NaNGuard(
            self.run.checkpoints,
            experiment.seed,
            experiment.runs.skip_bad_steps,
            keep_clouds=experiment.runs.pictures,
        )
        self.last = LastCheckpoint(self.run.last, experiment.runs.save_every_n_steps, experiment)
        self.averaging = _averaging(experiment)
        self.pictures = Pictures(
            self.run.folder,
            (self.retrieval, self.transfer),
            people=experiment.runs.pictures,
            embeddings=experiment.evaluation.save_embeddings,
        )

    def callbacks(self) -> list[Callback]:
        """All of them, in the order in which they must see each step."""
        experiment = self.experiment
        chosen: list[Callback] = [
            self.retrieval,
            self.transfer,
            SeedEachStep(experiment.seed),
            self.guard,
            StopOnSignal(self.last),
            StopAfter(experiment.trainer.get("max_steps", -1)),
        ]
        if experiment.runs.save_best or self.chooses:
            chosen.append(BestCheckpoint(self.run.checkpoints))
        chosen += [self.last, self.throughput, *([self.averaging] if self.averaging else []), self.pictures]
        if not self.dry:
            chosen.append(LearningRateMonitor(logging_interval="epoch"))
        lines = ProgressLines(self.retrieval, self.transfer)
        return [*chosen, lines, NetworkSummary(experiment.model.name), *self.progress()]

    def progress(self) -> list[Callback]:
        """The progress bar, unless the experiment turns it off."""
        return [TrainingProgress(leave=False)] if self.experiment.trainer.get("enable_progress_bar", True) else []

    def fit(self, start: Path | None) -> None:
        """Train from ``start`` or from the beginning, evaluate the end, write what the run leaves."""
        experiment, run = self.experiment, self.run
        L.seed_everything(experiment.seed, workers=True, verbose=False)
        data, module = build_data(experiment), build_module(experiment, start=start is None)
        data.progress = ProgressBars()
        baselines = run.summary().get("baselines") or self.baselines(data, module)
        L.seed_everything(experiment.seed, workers=True, verbose=False)  # the classifier is the same with any baselines
        with tracked(experiment, run) as loggers:
            positions = [TrackPosition(logger) for logger in loggers if isinstance(logger, RunCSVLogger)]
            trainer = build_trainer(
                experiment, [*self.callbacks(), *positions], logger=loggers or False, root=run.checkpoints
            )
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
            steps = trainer.global_step
            self.evaluate_end(trainer, module, data)
            last = self.results()
            if self.averaging and not self.dry:
                self.averaging.take_over(trainer, module)
                trainer.validate(module, datamodule=data, verbose=False)
                trainer.save_checkpoint(run.average, weights_only=False)
            choice = self.choose(trainer, module, data) if self.chooses else None
            if trainer.is_global_zero:
                sets = evaluated_sets(data.evaluation_sets, self.retrieval, self.transfer)
                summary = self.summary(module) | summarize(sets)
                summary |= {
                    "baselines": baselines,
                    "last": last,
                    "choice": choice,
                    "steps": steps,
                }
                summary["seconds"] = round(self.throughput.elapsed, 1)
                run.write_summary(summary)
                if experiment.runs.pictures:
                    write_pairs(run.pictures, sets)
                self.print_results(summary, write_report(run.folder))
                log_files(trainer.loggers, experiment, run, summary)

    def evaluate_end(self, trainer: L.Trainer, module: ReIDModule, data: ReIDDataModule) -> None:
        """Evaluate the network of the last step, unless it was.

        A process that was killed after its evaluation has logged the numbers, but nobody knows the results any more.
        """
        logged = self.retrieval.step == trainer.global_step
        if trainer.enable_validation and not (logged and self.retrieval.results):
            loggers = trainer.loggers
            trainer.loggers = [logger for logger in loggers if not (logged and isinstance(logger, RunCSVLogger))]
            trainer.validate(module, datamodule=data, verbose=False)
            trainer.loggers = loggers

    def choose(self, trainer: L.Trainer, module: ReIDModule, data: ReIDDataModule) -> dict[str, Any]:
        """Evaluate the network of the best epoch on held-out identities, or the averaged one, on the test sets, once.

        Returns:
            ``epoch`` of the chosen network (None for the averaged one), and its numbers on the ``holdout`` sets.
        """
        epoch, holdout = None, self.results()
        if not self.averaging and self.run.best.is_file():
            content = torch.load(self.run.best, map_location="cpu", weights_only=True)
            module.load_state_dict(content["state_dict"])
            trainer.validate(module, datamodule=data, verbose=False)
            epoch, holdout = content["epoch"] + 1, self.results()
        for evaluation in (self.retrieval, self.transfer):
            evaluation.results = {}
        trainer.test(module, datamodule=data, verbose=False)
        return {"epoch": epoch, "holdout": holdout}

    def baselines(self, data: ReIDDataModule, module: ReIDModule) -> dict[str, Any]:
        """Evaluated once, on the first process, before any training."""
        results: dict[str, Any] = {}
        for name in self.experiment.evaluation.baselines if rank() == 0 and not self.dry else ():
            network = module if name == "untrained" else ReIDModule(name, loss="ce", scales=(1.0,))
            callbacks = (
                RetrievalEvaluation(self.retrieval.average_precision),
                TransferEvaluation(self.retrieval.average_precision),
            )
            arguments = {key: self.experiment.trainer[key] for key in SHARED if key in self.experiment.trainer}
            arguments["limit_test_batches"] = self.experiment.trainer.get("limit_val_batches")
            trainer = evaluation_trainer([*callbacks, *self.progress()], devices=1, **arguments)
            log.info("evaluating the baseline: %s", name)
            trainer.test(network, datamodule=data, verbose=False)
            results[name] = {on: one.summary() for part in callbacks for on, one in part.results.items()}
        return results

    def print_results(self, summary: dict[str, Any], page: Path) -> None:
        """The table of the baselines and the trained network, and where the run lies."""
        rows = {(name, on): numbers for name, sets in summary["baselines"].items() for on, numbers in sets.items()}
        results = {**summary["retrieval"], **summary["transfer"]}
        rows |= {(self.experiment.model.name, on): numbers for on, numbers in results.items()}
        title = f"{self.experiment.name}, seed {self.experiment.seed}, {summary['seconds']:.0f} s"
        if summary["choice"]:
            title += ", chosen on held-out identities"
        Console().print(results_table(title, rows))
        for on, numbers in summary["verification"].items():
            Console().print(verification_line(on, numbers), highlight=False)
        Console().print(f"run     {self.run.folder}\nreport  {page}", soft_wrap=True, highlight=False)

    def results(self) -> dict[str, Any]:
        """The numbers of the last evaluation, on every set."""
        return {on: one.summary() for on, one in (self.retrieval.results | self.transfer.results).items()}

    def summary(self, module: ReIDModule) -> dict[str, Any]:
        """``summary.json`` of the finished network: averaged where the experiment averages, else the last."""
        experiment = self.experiment
        retrieval, transfer = self.retrieval.results, self.transfer.results
        answered = {on: one for on, one in (retrieval | transfer).items() if one.answerable}  # of a part perhaps none
        return {
            "experiment": experiment.name,
            "model": experiment.model.name,
            "seed": experiment.seed,
            "parameters": sum(p.numel() for p in module.network.parameters()),
            "clouds_per_second": self.throughput.clouds_per_second,
            "retrieval": _summaries(retrieval),
            "transfer": _summaries(transfer),
            "weights": module.weights_record,
            "skipped_steps": self.guard.skipped,
            "cmc": {on: _percentages(one.cmc[:50]) for on, one in answered.items()},
            "precision": {on: _percentages(one.precision) for on, one in answered.items()},
            "provenance": provenance(),
        }


SHARED = ("accelerator", "precision", "enable_progress_bar")
"""Arguments of the Trainer that baselines are evaluated with, too."""


def _averaging(experiment: Experiment) -> FinalAveraging | None:
    tail, decay = experiment.optimizer.swa_fraction, experiment.optimizer.ema_decay
    if tail and decay:
        raise InputError("optimizer.swa_fraction, optimizer.ema_decay: expected one kind of averaging, got both")
    return TailAveraging(tail) if tail else ExponentialAveraging(decay) if decay else None


def _summaries(results: dict[str, RetrievalResult]) -> dict[str, Any]:
    return {on: one.summary() for on, one in results.items()}


def _percentages(rates: np.ndarray) -> list[float]:
    return [round(100 * float(rate), 6) for rate in rates]
