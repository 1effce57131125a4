"""The trials of a sweep in a journal file, which every process of the sweep, on any machine, shares.

Every access is under one lock. A trial whose process died is recognized by the lock of its run, which the system
released, and is offered again.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from ogreid import files
from ogreid.runs import Run
from ogreid.sweeps.plan import Job, Plan

RETRIES = 1  # of a run that failed otherwise than by a refusal


class Journal:
    """Gives out the trials of a sweep, and takes their results; with ``again``, those that failed before, too."""

    def __init__(self, plan: Plan, *, again: bool = False) -> None:
        self.plan, self.path = plan, plan.folder / "journal.log"
        self.minimize = plan.metric["goal"] == "minimize"
        with self.locked():
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self.path))),
                study_name=plan.identity,
                direction="minimize" if self.minimize else "maximize",
                pruner=plan.pruner,
                load_if_exists=True,
            )
            known = self.newest()
            for job in plan.jobs if plan.method != "bayes" else ():
                if str(job.run.folder) not in known:
                    self._offer(job.drawn, folder=str(job.run.folder))
            self._revive(again=again)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process or thread reads or writes."""
        with files.lock(self.path.with_suffix(".lock")):
            if self.path.is_file() and not (text := self.path.read_bytes()).endswith(b"\n"):
                self.path.write_bytes(text[: text.rfind(b"\n") + 1])  # half a line of a process that was killed
            yield

    def newest(self) -> dict[str, FrozenTrial]:
        """Folder of a run -> its newest trial."""
        return {trial.user_attrs["folder"]: trial for trial in self._trials() if "folder" in trial.user_attrs}

    def jobs(self) -> list[Job]:
        """All runs; of a Bayesian search those that were proposed."""
        bayes = self.plan.method == "bayes"
        return [self.plan.job(trial.params) for trial in self.newest().values()] if bayes else self.plan.jobs

    def left(self) -> int:
        """Runs that have not ended."""
        trials = self._trials()
        return self._unproposed(trials) + sum(not trial.state.is_finished() for trial in trials)

    def take(self) -> tuple[optuna.Trial, Job, FileLock | None] | None:
        """The next run with its lock, unless another sweep has that; None where there is no run for now."""
        with self.locked():
            self._revive()
            trials = self._trials()
            if not self._unproposed(trials) and all(trial.state is not TrialState.WAITING for trial in trials):
                return None
            self.study.sampler = optuna.samplers.TPESampler(seed=self.plan.seed + len(trials))
            trial = self.study.ask(self.plan.space)
            job = self.plan.job(trial.params)
            trial.set_user_attr("folder", str(job.run.folder))
            return trial, job, claim(job.run.folder)

    def report(self, trial: optuna.Trial, run: Run) -> bool:
        """Report the validations since the last time; whether the sweep's rule stops the run."""
        with self.locked():
            return self._report(trial, run)

    def finish(self, trial: optuna.Trial, job: Job, state: TrialState, error: str | None, *, final: bool) -> None:
        """Note what became of a trial; a failure that is not final is tried again."""
        value = self.value(job.run) if state is TrialState.COMPLETE else None
        worst = math.inf if self.minimize else -math.inf
        with self.locked():
            if not self._trials()[trial.number].state.is_finished():  # else another process took this one for dead
                self._report(trial, job.run)
                failures = RETRIES + 1 if final else trial.user_attrs.get("failures", 0) + 1
                for key, attribute in {"error": error, "failures": failures}.items() if error is not None else ():
                    trial.set_user_attr(key, attribute)
                self.study.tell(trial, worst if value is None and job.finished else value, state)
            self._revive()

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _report(self, trial: optuna.Trial, run: Run) -> bool:
        known, prune = self._trials()[trial.number], False
        for step, value in enumerate(_logged(run, self.plan.metric["name"]), start=1):
            if step not in known.intermediate_values and not known.state.is_finished():
                trial.report(value, step)
                prune = trial.should_prune() or prune
        return prune

    def value(self, run: Run) -> float | None:
        """The result of a run by the name it is logged under (``val/mAP``: of the first set), else the last logged."""
        summary, name = run.summary(), self.plan.metric["name"]
        kind, _, rest = name.partition("/")
        test, _, number = rest.rpartition("/")
        results = summary.get("retrieval", {}) | summary.get("transfer", {}) if kind in ("val", "transfer") else {}
        value = results.get(test.split("->")[-1] or next(iter(results), ""), {}).get(number)
        return [None, *_logged(run, name)][-1] if value is None else float(value)

    def _unproposed(self, trials: list[FrozenTrial]) -> int:
        proposed = sum("again" not in trial.user_attrs for trial in trials)
        return max(0, (self.plan.limit or 0) - proposed) if self.plan.method == "bayes" else 0

    def _revive(self, *, again: bool = False) -> None:
        """Offer what a dead process had taken, and what failed, as long as it may be tried again."""
        for trial in (trial for trial in self._trials() if trial.state is TrialState.RUNNING):
            lock = claim(Path(folder)) if (folder := trial.user_attrs.get("folder")) else None
            if lock is not None or folder is None:
                self.study.tell(trial.number, state=TrialState.FAIL)
            if lock is not None:
                lock.release()
        for folder, trial in self.newest().items():
            failures = 0 if again else trial.user_attrs.get("failures", 0)
            if trial.state is TrialState.FAIL and failures <= RETRIES:
                self._offer(trial.params, folder=folder, failures=failures, again=True)

    def _offer(self, drawn: Mapping[str, Any], **attributes: object) -> None:
        space, params = self.plan.space, dict(drawn)
        waiting = create_trial(state=TrialState.WAITING, params=params, distributions=space, user_attrs=attributes)
        self.study.add_trial(waiting)


def claim(folder: Path) -> FileLock | None:
    """Keep every other sweep off a run until the lock is released; None where a process has it or trains it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = files.try_lock(folder.with_name(f".{folder.name}.lock"))
    if lock is not None and (folder / "lock").exists():  # the training's own, which may outlive a sweep that was killed
        training = files.try_lock(folder / "lock")
        (training or lock).release()
        return lock if training is not None else None
    return lock


def _logged(run: Run, metric: str) -> list[float]:
    """A column of ``metrics.csv`` as far as it was written."""
    path = run.folder / "metrics.csv"
    text = path.read_text() if path.is_file() else ""
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return [float(row[metric]) for row in rows if row.get(metric)]
