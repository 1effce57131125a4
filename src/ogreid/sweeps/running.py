"""A sweep from its file to its table: nothing is repeated, nothing that fails stops the rest."""

import dataclasses
import logging
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ogreid.errors import InputError
from ogreid.sweeps.file import SweepFile, find_sweep, points, read_sweep_file
from ogreid.sweeps.jobs import Job, jobs_for
from ogreid.sweeps.record import best, known_failures, varying, write_record, write_result

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Sweeping", "run_sweep", "tell_plan"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweeping:
    """A sweep that can start.

    Attributes:
        sweep: the file, with what the person pinned.
        jobs: its runs, composed and checked.
        command: that starts it again.
    """

    sweep: SweepFile
    jobs: Sequence[Job]
    command: str

    @classmethod
    def of(
        cls,
        file: str,
        experiment: str | None,
        overrides: Sequence[str],
        name: str | None,
        count: int | None,
        seed: int,
        given: Sequence[str],
    ) -> "Sweeping":
        """From the words of the command line.

        Raises:
            InputError: anything that would fail later.
        """
        sweep = read_sweep_file(find_sweep(file)).pinned(experiment, overrides)
        sweep = dataclasses.replace(sweep, name=name or sweep.name)
        jobs = jobs_for(sweep, points(sweep, count, seed), overrides)
        return cls(sweep, jobs, shlex.join(["python", "-m", "ogreid.sweep", *given]))

    @property
    def folder(self) -> Path:
        """Of the sweep, beside the runs."""
        return Path(self.jobs[0].experiment.runs.root) / "sweeps" / self.sweep.name

    @property
    def keys(self) -> list[str]:
        """What varies; everything where there is one run only."""
        return varying(self.jobs) or sorted(self.jobs[0].parameters)


def tell_plan(sweeping: Sweeping) -> None:
    """Print every run, and which ones are finished."""
    for number, job in enumerate(sweeping.jobs, start=1):
        state = "finished" if job.finished else "half-finished" if job.run.last.is_file() else ""
        line = f"{number:>4}  {job.told(sweeping.keys)}  {job.run.folder}  {state}"
        sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.write(f"{len(sweeping.jobs)} runs; without --dry-run: {sweeping.folder}\n")


def run_sweep(sweeping: Sweeping, processes: int = 1, *, retry: bool = False) -> int:
    """Run what is not finished, then tell.

    Args:
        sweeping: composed.
        processes: runs at once.
        retry: try again what failed before.

    Returns:
        0; 1 where a run failed; 130 where it was interrupted.
    """
    folder = sweeping.folder
    errors = {} if retry else known_failures(folder, sweeping.jobs)
    waiting = [job for job in sweeping.jobs if not job.finished and str(job.run.folder) not in errors]
    _make_stores(waiting)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another with runs.root=...") from error
    log.info("%s: %d runs, %d to do, %d at once", sweeping.sweep.name, len(sweeping.jobs), len(waiting), processes)
    try:
        _run(sweeping, waiting, processes, errors)
    except KeyboardInterrupt:
        log.info("stopped; to go on: %s", sweeping.command)
        return 130
    _tell(folder, errors)
    return 1 if errors else 0


def _run(sweeping: Sweeping, waiting: Sequence[Job], processes: int, errors: dict[str, str]) -> None:
    from ogreid.sweeps.local import run_jobs

    def write() -> None:
        write_record(sweeping.folder, sweeping.sweep, sweeping.jobs, errors, sweeping.command)

    write()
    started = time.perf_counter()
    ended = run_jobs(waiting, processes, sweeping.folder / "logs")
    try:
        for number, (job, error, seconds) in enumerate(ended, start=1):
            if error is not None:
                errors[str(job.run.folder)] = error
            write()
            left = (time.perf_counter() - started) / number * (len(waiting) - number)
            log.info("%s", _line(sweeping, job, error, number, len(waiting), seconds, left))
    finally:
        ended.close()


def _line(sweeping: Sweeping, job: Job, error: str | None, number: int, total: int, seconds: float, left: float) -> str:
    """What became of a run."""
    found = error or ", ".join(
        f"{on} mAP {numbers['mAP']:.2f} rank-1 {numbers['rank1']:.2f}"
        for on, numbers in job.run.summary()["retrieval"].items()
    )
    rest = f", about {left / 60:.0f} min left" if number < total else ""
    width = len(str(total))
    state = "FAILED " if error else ""
    return f"[{number:>{width}}/{total}] {job.told(sweeping.keys)}  {state}{found}  {seconds:.0f} s{rest}"


def _make_stores(jobs: Sequence[Job]) -> None:
    """Check that every store is there; make the synthetic ones that are not, before several runs want the same one.

    Raises:
        InputError: a store that is missing and cannot be made.
    """
    from ogreid.data.datasets.catalogue import check_stores
    from ogreid.data.datasets.synthetic_stores import parse_synthetic

    for data in {repr(job.experiment.data): job.experiment.data for job in jobs}.values():
        check_stores(data)
        for name in dict.fromkeys((*data.train, *data.test, *data.transfer)):
            if parse_synthetic(name) is not None and not (Path(data.root) / name / "manifest.json").is_file():
                from ogreid import pack

                pack.main([name, "--data", data.root])


def _tell(folder: Path, errors: Mapping[str, str]) -> None:
    """The table, the best, what failed, where the rest is."""
    from rich.console import Console

    from ogreid.reporting.sweeps import sweep_rows

    record = write_result(folder)
    heads, rows = sweep_rows(record)
    console = Console()
    console.print(_table(record.name, heads, rows, len(record.keys)))
    for line in filter(None, [best(record)]):
        console.print(line, highlight=False)
    for run in record.failed:
        told = " ".join(f"{key}={run['parameters'].get(key)}" for key in record.content["parameters"])
        console.print(f"failed: {told}: {run['error']}", highlight=False, markup=False, soft_wrap=True)
    if errors:
        console.print("their logs are in the sweep's folder; --retry tries them again", highlight=False)
    files = ", ".join(path.name for path in sorted(folder.iterdir()) if path.is_file())
    console.print(f"sweep   {folder} ({files})", soft_wrap=True, highlight=False)


def _table(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < left else "right", overflow="fold")
    for cells in rows:
        table.add_row(*cells)
    return table
