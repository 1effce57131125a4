"""``sweep.json``: what a sweep asked, what became of every run, and the numbers it found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ogreid import config
from ogreid.reporting.paper import published_for
from ogreid.reporting.reading import RunRecord
from ogreid.reporting.sweeps import SweepRecord, merged, read_sweep, sweep_markdown
from ogreid.files import write_text
from ogreid.sweeps.file import SweepFile
from ogreid.sweeps.jobs import Job

__all__ = ["best", "known_failures", "varying", "write_record", "write_result"]

BESIDE_THE_PAPER = {"experiment", "loss.name", "data.inputs", "data.train", "seed"}
"""What may vary, beside the model, where the paper's tables are laid beside: they hold nothing of another density."""


def write_record(folder: Path, sweep: SweepFile, jobs: Sequence[Job], errors: Mapping[str, str], command: str) -> None:
    """Write ``sweep.json`` as far as the runs have come, in one step.

    Args:
        folder: of the sweep.
        sweep: the file.
        jobs: all of them, in their order.
        errors: run folder -> last line of what it died of.
        command: that goes on with the sweep.
    """
    keys = varying(jobs)
    entries = [_entry(job, errors.get(str(job.run.folder)), keys) for job in jobs]
    content = {
        "name": sweep.name,
        "file": str(sweep.path),
        "description": sweep.description,
        "method": sweep.method,
        "metric": dict(sweep.metric),
        "command": command,
        "parameters": keys,
        "runs": entries,
        "settings": [asdict(setting) for setting in merged(entries, keys)],
    }
    write_text(folder / "sweep.json", json.dumps(content, indent=2) + "\n")


def write_result(folder: Path) -> SweepRecord:
    """Table and drawings of what ``sweep.json`` holds, beside it."""
    from ogreid.reporting.sweep_plots import sweep_drawings

    record = read_sweep(folder)
    write_text(folder / "table.md", sweep_markdown(record))
    for stem, drawing in sweep_drawings(record).items():
        write_text(folder / f"{stem}.svg", drawing.picture())
    return record


def varying(jobs: Sequence[Job]) -> list[str]:
    """The parameters that are not the same in every run, in alphabetical order."""
    keys = sorted({key for job in jobs for key in job.parameters})
    return [key for key in keys if len({repr(job.parameters.get(key)) for job in jobs}) > 1]


def known_failures(folder: Path, jobs: Sequence[Job]) -> dict[str, str]:
    """Run folder -> error of those jobs that failed when the sweep was started before, and not finished since."""
    if not (folder / "sweep.json").is_file():
        return {}
    unfinished = {str(job.run.folder) for job in jobs if not job.finished}
    failed = read_sweep(folder).failed
    return {run["folder"]: str(run["error"]) for run in failed if run["folder"] in unfinished}


def best(record: SweepRecord) -> str:
    """The setting with the best value of the sweep's metric, as one line; empty where the runs do not hold it."""
    metric = record.content["metric"]
    values = {setting.name: _metric(metric.get("name", ""), setting.numbers) for setting in record.settings}
    found = {name: value for name, value in values.items() if value is not None}
    if len(found) < 2:
        return ""
    choose = min if metric.get("goal") == "minimize" else max
    name = choose(found, key=lambda one: found[one])
    return f"best by {metric['name']}: {name} ({found[name]:.2f})"


def _metric(name: str, numbers: Mapping[str, Mapping[str, Any]]) -> float | None:
    """One number by the name it is logged under; ``val/mAP`` is of the first set."""
    kind, _, rest = name.partition("/")
    on, _, number = rest.rpartition("/")
    if kind not in ("val", "transfer") or not numbers:
        return None
    found = numbers.get(on.split("->")[-1] or next(iter(numbers)), {}).get(number)
    return None if found is None else float(found[0])


def _entry(job: Job, error: str | None, keys: Sequence[str]) -> dict[str, Any]:
    """One run; what it found where it came to its end."""
    status = "finished" if job.finished else "failed" if error else "waiting"
    entry: dict[str, Any] = {
        "hash": job.hash,
        "parameters": dict(job.parameters),
        "experiment": job.experiment.name,
        "folder": str(job.run.folder),
        "status": status,
        "error": error if status == "failed" else None,
    }
    if status != "finished":
        return entry
    summary = job.run.summary()
    entry |= {"seconds": summary.get("seconds"), "model": summary.get("model"), "size": summary.get("parameters")}
    entry |= {"retrieval": summary["retrieval"], "transfer": summary["transfer"]}
    entry["git"] = summary.get("provenance", {}).get("git")
    if all(key in BESIDE_THE_PAPER or key.startswith("model.") for key in keys):
        entry["published"] = _published(job, summary)
    return entry


def _published(job: Job, summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Data set -> the paper's numbers of this very network, or of the ablation that it repeats."""
    run = RunRecord(job.run.folder, config.to_dict(job.experiment), summary, {})
    paper = {on: published_for(run, on) for on in run.numbers()}
    return {
        on: numbers
        for on, found in paper.items()
        if found is not None and "network as published" not in found.source and (numbers := found.numbers())
    }
