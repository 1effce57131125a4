"""``sweep.json``: the question, what became of every run, and its numbers; beside it the tables and the plots."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from optuna.trial import TrialState

from ogreid.files import write_text
from ogreid.reporting import read_sweep, sweep_figures, sweep_table
from ogreid.reporting.paper import published_for
from ogreid.reporting.sweeps import SweepRecord
from ogreid.reporting.tables import csv_text
from ogreid.sweeps.journal import Journal
from ogreid.sweeps.plan import Job, varying

__all__ = ["best", "write_record", "write_results"]

STATUS = {TrialState.PRUNED: "stopped", TrialState.RUNNING: "running"}
BESIDE_THE_PAPER = {"experiment", "loss.name", "data.inputs", "data.train", "seed"}
"""What may vary, beside the model, where the paper's tables are laid beside: they hold nothing of another density."""


def write_record(journal: Journal, command: str) -> None:
    """Write ``sweep.json`` as far as the runs have come; ``command`` continues the sweep."""
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


def write_results(folder: Path) -> SweepRecord:
    """Write ``table.md``, ``table.csv`` (a row for each run) and the plots of what ``sweep.json`` holds."""
    record = read_sweep(folder)
    write_text(folder / "table.md", sweep_table(record).markdown())
    write_text(folder / "table.csv", csv_text(map(_row, record.content["runs"])))
    for stem, chart in sweep_figures(record).items():
        write_text(folder / f"{stem}.svg", chart.file())
    return record


def best(record: SweepRecord) -> str:
    """The setting with the best mean of the sweep's metric, in one line; empty where there are no two."""
    metric, values = record.content["metric"], dict[str, list[float]]()
    for run in record.content["runs"]:
        if run.get("value") is not None:
            name = " ".join(f"{key}={run['parameters'].get(key)}" for key in record.keys)
            values.setdefault(name, []).append(run["value"])
    means = {name: mean(own) for name, own in values.items()}
    name = (min if metric["goal"] == "minimize" else max)(means, key=lambda one: means[one], default="")
    return f"best by {metric['name']}: {name} ({means[name]:.2f})" if len(means) > 1 else ""


def _entry(journal: Journal, job: Job, paper: bool) -> dict[str, Any]:
    """One run; its numbers where it has finished."""
    trial = journal.newest().get(str(job.run.folder))
    error = trial.user_attrs.get("error") if trial is not None and trial.state is TrialState.FAIL else None
    unfinished = "failed" if error else STATUS.get(trial.state, "waiting") if trial is not None else "waiting"
    entry: dict[str, Any] = {
        "parameters": dict(job.parameters),
        "experiment": job.experiment.name,
        "folder": str(job.run.folder),
        "status": "finished" if job.finished else unfinished,
        "error": None if job.finished else error,
    }
    if job.finished:
        summary = job.run.summary()
        entry |= {"value": journal.value(job.run), "retrieval": summary["retrieval"], "transfer": summary["transfer"]}
        entry |= {key: summary.get(key) for key in ("seconds", "model")} | {"size": summary.get("parameters")}
        published = {test: published_for(job.experiment, test) for test in (*entry["retrieval"], *entry["transfer"])}
        own = {test: one.numbers for test, one in published.items() if one and "as published" not in one.source}
        entry["published"] = {test: numbers for test, numbers in own.items() if paper and numbers}
    return entry


def _row(run: Mapping[str, Any]) -> dict[str, object]:
    row = {"name": run["name"], **run["parameters"], **{key: run.get(key) for key in ("status", "error", "value")}}
    sets = {**run.get("retrieval", {}), **run.get("transfer", {})}
    numbers = {f"{test} {key}": value for test, result in sets.items() for key, value in result.items()}
    return row | numbers | {key: run.get(key) for key in ("seconds", "size", "folder")}
