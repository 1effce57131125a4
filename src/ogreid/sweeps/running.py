"""A sweep from its plan to its table: divided among processes, and nothing that fails stops the rest.

``sweep.json`` holds the question, what became of every run, and its numbers; tables and plots lie beside it.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from ogreid import runs
from ogreid.config.workers import available_cores
from ogreid.data.datasets.catalogue import check_stores
from ogreid.files import write_text
from ogreid.reporting import read_sweep, sweep_figures, sweep_table
from ogreid.reporting.paper import published_for
from ogreid.reporting.sweeps import SweepRecord
from ogreid.reporting.tables import csv_text
from ogreid.sweeps.journal import Journal, claim
from ogreid.sweeps.plan import Job, Plan, varying

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "ogreid.fit")
POLL = 0.2  # seconds between two looks at a process of our own
LOOK = 3.0  # seconds between two looks at what others write: the journal, and the metrics of a run
RESULTS = ("retrieval", "transfer")
STATUS = {TrialState.PRUNED: "stopped", TrialState.RUNNING: "running"}
BESIDE_THE_PAPER = {"experiment", "loss.name", "data.inputs", "data.train", "seed"}
"""What may vary, beside the model, where the paper's tables are laid beside: they hold nothing of another density."""


class Sweep:
    """Threads that each train one run after another, in a process of its own, until no run is left anywhere.

    ``command`` is that which continues the sweep, ``processes`` the number of runs at once; with ``again``, runs that
    failed before are tried again. A missing store is an InputError.
    """

    def __init__(self, plan: Plan, command: str, processes: int = 1, *, again: bool = False) -> None:
        for job in plan.jobs:
            check_stores(job.experiment.data)
        self.plan, self.command, self.processes = plan, command, processes
        self.journal = Journal(plan, again=again)
        self.stop, self.running = threading.Event(), set[subprocess.Popen[bytes]]()
        self.first, self.started = self.journal.left(), time.perf_counter()

    def run(self) -> int:
        """Run what nobody has run, wait for what others run, then print the table.

        The status is 1 where a run failed, 130 where Ctrl-C or SIGTERM stopped the sweep.
        """
        _write_record(self.journal, self.command)
        log.info("%s: %d runs left, %d at once", self.plan.name, self.first, self.processes)
        with self._signals(), ThreadPoolExecutor(self.processes) as pool:
            list(pool.map(self._work, range(self.processes)))  # raises what a thread did
        _write_record(self.journal, self.command)
        if self.stop.is_set():
            log.info("stopped; to continue: %s", self.command)
            return 130
        return self._print_result()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM asks the runs to save and leave; the second one kills them."""

        def interrupt(*_: object) -> None:
            log.info("killed" if self.stop.is_set() else "stopping when the runs have saved; Ctrl-C again kills them")
            for process in list(self.running):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL) if self.stop.is_set() else process.terminate()
            self.stop.set()

        main = threading.current_thread() is threading.main_thread()
        heard = [s for s in (signal.SIGINT, signal.SIGTERM) if main and signal.getsignal(s) is not signal.SIG_IGN]
        before = {number: signal.signal(number, interrupt) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _work(self, slot: int) -> None:
        environment = self._environment(slot)
        while not self.stop.is_set():
            if (taken := self.journal.take()) is None:
                if not self.journal.left():
                    return
                self.stop.wait(LOOK)  # others may fail or die
                continue
            trial, job, lock = taken
            started = time.perf_counter()
            while lock is None and not self.stop.wait(POLL):
                lock = claim(job.run.folder)
            pruned, error, final = (False, None, False) if lock is None else self._train(trial, job, environment)
            state = TrialState.COMPLETE if job.finished else TrialState.PRUNED if pruned else TrialState.FAIL
            self.journal.finish(trial, job, state, error, final=final)
            if lock is not None:
                lock.release()
            _write_record(self.journal, self.command)
            if error is not None or state is not TrialState.FAIL:
                self._log(job, error, time.perf_counter() - started)

    def _environment(self, slot: int) -> dict[str, str]:
        """An equal share of the cores, a graphics card of its own, and nothing of SLURM: no run is a task of a job."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")} | {"COLUMNS": "120"}
        if self.processes > 1:
            from torch.cuda import device_count

            cards = (own.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(device_count())))).split(",")
            own |= {"CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if len(cards) > 1 else {}
            threads = str(max(1, available_cores() // self.processes))
            own = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads} | own
        return own

    def _train(self, trial: optuna.Trial, job: Job, environment: dict[str, str]) -> tuple[bool, str | None, bool]:
        """Train a run or resume it: whether it was pruned, its error, and whether trying again is useless."""
        run, pruned, looked = job.run, False, time.monotonic()
        if job.finished:
            return False, None, False
        words = ("--resume", str(run.folder), *job.words[1:]) if run.last.is_file() else ("--experiment", *job.words)
        if not run.last.is_file():
            shutil.rmtree(run.folder, ignore_errors=True)  # killed before its first checkpoint
        output = self.plan.folder / "logs" / f"{run.folder.name}.txt"
        output.parent.mkdir(exist_ok=True)
        with output.open("ab") as file:
            begin = file.tell()
            process = subprocess.Popen(
                [*COMMAND, *words],
                env={**environment, runs.STAMP: run.folder.name.partition("-")[0]},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal reaches the sweep alone, which decides
            )
        self.running.add(process)
        if self.stop.is_set():
            process.terminate()
        while process.poll() is None:
            time.sleep(POLL)
            if not isinstance(self.plan.pruner, NopPruner) and not pruned and time.monotonic() > looked + LOOK:
                looked = time.monotonic()
                if pruned := self.journal.report(trial, run):
                    process.terminate()  # it saves first
        self.running.discard(process)
        status = process.returncode
        if job.finished or pruned or self.stop.is_set():
            return pruned, None, False
        if status <= 0:
            return False, f"killed by {signal.Signals(-status).name}" if status else "stopped before its end", False
        lines = output.read_bytes()[begin:].decode(errors="replace").split("\n")
        error = [f"left with status {status}", *filter(str.strip, lines)][-1].strip().removeprefix("error: ")
        return False, error, status == 2 and not (run.folder / "lock").exists()  # else somebody resumed it by hand

    def _log(self, job: Job, error: str | None, seconds: float) -> None:
        """What became of a run, and how long the rest takes."""
        jobs, left, value = self.journal.jobs(), self.journal.left(), self.journal.value(job.run)
        total = self.plan.limit if self.plan.method == "bayes" else len(jobs)
        minutes = (time.perf_counter() - self.started) / max(1, self.first - left) * left / 60
        number = "no value" if value is None else f"{value:.2f}"
        outcome = f"FAILED {error}" if error else f"{self.plan.metric['name']} {number}"
        rest = f"{seconds:.0f} s" + (f", about {minutes:.0f} min left" if left else "")
        log.info("[%d/%s] %s  %s  %s", (total or 0) - left, total, job.label(varying(jobs)), outcome, rest)

    def _print_result(self) -> int:
        from rich.console import Console

        folder, console = self.plan.folder, Console(soft_wrap=True, highlight=False, markup=False)
        with self.journal.locked():
            record = _write_results(folder)
        console.print(sweep_table(record).terminal(record.name), soft_wrap=False)
        for run in record.content["runs"]:
            if run["status"] in ("failed", "stopped"):
                console.print(f"{run['status']}: {run['name']}" + (f": {run['error']}" if run["error"] else ""))
        if record.failed:
            console.print(f"what they printed is in {folder / 'logs'}; --retry tries them again")
        console.print(f"{_best(record)}\nsweep   {folder}".strip())
        return 1 if record.failed else 0


def _write_record(journal: Journal, command: str) -> None:
    plan = journal.plan
    with journal.locked():
        jobs = journal.jobs()
        keys = varying(jobs)
        paper = all(key in BESIDE_THE_PAPER or key.startswith("model.") for key in keys)
        content = {
            "name": plan.name,
            "file": str(plan.path),
            "description": str(plan.description or ""),
            "method": plan.method,
            "metric": plan.metric,
            "command": command,
            "parameters": keys,
            "runs": [{"name": job.label(keys)} | _entry(journal, job, paper) for job in jobs],
        }
        write_text(plan.folder / "sweep.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def _write_results(folder: Path) -> SweepRecord:
    """Write ``table.md``, ``table.csv`` (a row for each run) and the plots of what ``sweep.json`` holds."""
    record = read_sweep(folder)
    write_text(folder / "table.md", sweep_table(record).markdown())
    write_text(folder / "table.csv", csv_text(map(_row, record.content["runs"])))
    for stem, chart in sweep_figures(record).items():
        write_text(folder / f"{stem}.svg", chart.file())
    return record


def _best(record: SweepRecord) -> str:
    """The setting with the best mean of the sweep's metric, in one line; empty where there are no two."""
    metric, values = record.content["metric"], defaultdict[str, list[float]](list)
    for run in record.content["runs"]:
        if run.get("value") is not None:
            values[" ".join(f"{key}={run['parameters'].get(key)}" for key in record.keys)].append(run["value"])
    means = {name: mean(own) for name, own in values.items()}
    name = (min if metric["goal"] == "minimize" else max)(means, key=lambda one: means[one], default="")
    return f"best by {metric['name']}: {name} ({means[name]:.2f})" if len(means) > 1 else ""


def _entry(journal: Journal, job: Job, paper: bool) -> dict[str, Any]:
    trial = journal.newest().get(str(job.run.folder))
    state, error = (trial.state, trial.user_attrs.get("error")) if trial is not None else (TrialState.WAITING, None)
    error = error if state is TrialState.FAIL and not job.finished else None
    entry = {
        "parameters": dict(job.parameters),
        "experiment": job.experiment.name,
        "folder": str(job.run.folder),
        "status": "finished" if job.finished else "failed" if error else STATUS.get(state, "waiting"),
        "error": error,
    }
    if not job.finished:
        return entry
    summary = job.run.summary()
    published = {test: published_for(job.experiment, test) for key in RESULTS for test in summary[key]}
    own = {test: one.numbers for test, one in published.items() if one and "as published" not in one.source}
    entry |= {"published": {test: numbers for test, numbers in own.items() if paper and numbers}}
    entry |= {"value": journal.value(job.run), "size": summary.get("parameters")}
    return entry | {key: summary.get(key) for key in (*RESULTS, "seconds", "model")}


def _row(run: Mapping[str, Any]) -> dict[str, object]:
    row = {"name": run["name"], **run["parameters"], **{key: run.get(key) for key in ("status", "error", "value")}}
    sets = [one for key in RESULTS for one in run.get(key, {}).items()]
    numbers = {f"{test} {key}": value for test, result in sets for key, value in result.items()}
    return row | numbers | {key: run.get(key) for key in ("seconds", "size", "folder")}
