"""Results of runs, without torch: read from their folders, as rows beside baselines, means over seeds and the paper."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ogreid import config, files
from ogreid.config import Experiment
from ogreid.errors import InputError
from ogreid.reporting.paper import own_settings, published_for, published_tables
from ogreid.reporting.tables import COLUMNS, Row, Table, mean_numbers, signed
from ogreid.runs import Run

KINDS = ("run", "mean", "baseline", "paper", "difference")

BOOKKEEPING = ("logger", "runs.", "wandb.", "trainer.enable_progress_bar")
"""Settings that say where a run is kept and shown; runs that differ in them and the seed alone are repetitions."""

FREE = ("name", "description", "seed", "model.")
"""Settings in which the runs that are compared may differ; those of the model are compared by themselves."""

PARTS = {"gate", "last_graph", "residual"}
"""Settings that a network has none of before the paper takes a part away."""


@dataclass(frozen=True)
class RunResults:
    """One run, as far as it got."""

    folder: Path
    experiment: Experiment
    summary: dict[str, Any] = field(default_factory=dict)  # ``summary.json``, null being NaN; empty until it ends
    # The columns of ``metrics.csv`` as (epoch, value), ascending; epochs are fractional numbers from 0.
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)  # files of ``pictures/`` that may be shown, sorted

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted name."""
        return dict(_flatten(config.to_dict(self.experiment)))

    def evaluations(self) -> list[tuple[str, bool, dict[str, Any]]]:
        """Data set, whether it is a transfer set, and its numbers; the training benchmark first."""
        return [
            (test, kind == "transfer", numbers)
            for kind in ("retrieval", "transfer")
            for test, numbers in self.summary.get(kind, {}).items()
        ]


def read_run(folder: Path, *, people: bool = True) -> RunResults:
    """Read the folder of a run, finished or not; an InputError names a file that cannot be read.

    Its pictures of people may be shown where ``people`` and the run's own ``runs.pictures`` say so.
    """
    run = Run.open(folder)
    experiment, summary = run.experiment(), run.summary()
    summary |= {key: _with_nan(summary[key]) for key in ("retrieval", "transfer", "baselines") if key in summary}
    shown = "*.npz" if people and experiment.runs.pictures else "*-map.npz"
    curves = _curves(run.folder / "metrics.csv")
    return RunResults(run.folder, experiment, summary, curves, sorted(run.pictures.glob(shown)))


def named_runs(folders: Iterable[Path]) -> dict[str, RunResults]:
    """Runs by a name that only one of them has: the experiment and the folder's own name, or else its parent, too."""
    runs = [read_run(folder) for folder in dict.fromkeys(folders)]
    short = [f"{run.experiment.name} \N{MIDDLE DOT} {run.folder.name}" for run in runs]
    named = zip(short, runs, strict=True)
    return {name if short.count(name) == 1 else f"{name} in {run.folder.parent}": run for name, run in named}


def rows_of(run: RunResults, name: str | None = None, settings: Collection[str] = ()) -> list[Row]:
    """For each data set the run, its baselines, and the paper where it has a number, with the difference.

    ``name`` is that of the run's rows instead of its network's; ``settings`` are written down beside the seed.
    """
    own = {"seed": run.experiment.seed} | {key: run.settings.get(key) for key in settings}
    rows, baselines = [], run.summary.get("baselines", {}).items()
    for test, transfer, numbers in run.evaluations():
        label = (name or run.experiment.model.name) + (", held-out choice" if run.summary.get("choice") else "")
        ours = Row(test, transfer, label, "run", numbers, own)
        others = [Row(test, transfer, who, "baseline", sets[test]) for who, sets in baselines if test in sets]
        rows += [ours, *others, *_beside_paper(run, ours)]
    return rows


def comparison_rows(runs: Mapping[str, RunResults]) -> list[Row]:
    """Rows of all runs, by data set; what is the same for several runs (baselines, the paper) once.

    Runs that differ in nothing but the seed have a mean, and it is the mean that is compared with the paper.
    """
    groups, settings = repetitions(runs), differing_settings(runs.values())
    firsts, rows = [runs[names[0]] for names in groups], list[Row]()
    for group, first in zip(groups, firsts, strict=True):
        own = [row for name in group for row in rows_of(runs[name], name, settings)]
        if len(group) > 1:
            means = _means([row for row in own if row.kind in ("run", "baseline")], _label(first, firsts))
            own = [row for row in own if row.kind in ("run", "paper")] + means
            own += [other for row in means if row.kind == "mean" for other in _beside_paper(first, row)]
        for row in own:
            rows += [row] if row not in rows else []
    tests = list(dict.fromkeys(row.test for row in rows))
    return sorted(rows, key=lambda row: (tests.index(row.test), row.transfer, KINDS.index(row.kind)))


def differing_settings(runs: Iterable[RunResults]) -> dict[str, list[object]]:
    """Dotted name -> value in each run, of the settings in which they differ, without seed and bookkeeping."""
    flat = [run.settings for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one if not key.startswith(("seed", *BOOKKEEPING)))
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: own for key, own in values.items() if any(one != own[0] for one in own)}


def repetitions(runs: Mapping[str, RunResults]) -> list[list[str]]:
    """The names of runs that differ in nothing but the seed and bookkeeping, together."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name, run in runs.items():
        alike[repr([one for one in run.settings.items() if not one[0].startswith(("seed", *BOOKKEEPING))])].append(name)
    return list(alike.values())


def transfer_matrix(runs: Iterable[RunResults]) -> dict[str, dict[str, float | None]]:
    """Training sets -> data set -> mAP, the best run where there are several, None where there is none."""
    best: dict[str, dict[str, float]] = {}
    for run in runs:
        row = best.setdefault(" + ".join(run.experiment.data.train), {})
        for test, _, numbers in run.evaluations():
            row[test] = max(row.get(test, 0.0), float(numbers["mAP"]))
    tests = dict.fromkeys(test for row in best.values() for test in row)
    return {source: {test: row.get(test) for test in tests} for source, row in best.items() if row}


def ablation_table(groups: Sequence[Sequence[RunResults]]) -> Table | None:
    """Every ablation of the paper for which there are ``groups`` of repetitions with and without the part, else alike.

    For each part and data set our mean mAP without the part and with it, the difference, the numbers of runs, and the
    paper's difference on Market-1501; None where no runs fit.
    """
    triples = [one for one in product(published_tables()["ablations"], groups, groups) if _is_cut(*one)]
    rows = [row for one in triples for row in _compare(*one)]
    heads = ["part, data set", "without", "with", "difference", "runs", "paper's"]
    return Table(heads, rows, "lrrrrr") if rows else None


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _with_nan(value: Any) -> Any:  # noqa: ANN401 - a part of the summary
    if isinstance(value, dict):
        return {key: _with_nan(one) for key, one in value.items()}
    return math.nan if value is None else value


def _curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Lightning's CSV file over epochs; its column ``step`` counts from 0 over the whole run."""
    if not path.is_file():
        return {}
    try:
        table = csv.DictReader(io.StringIO(files.read_bytes(path, 1 << 30).decode(), newline=""), restkey="")
        numbers = [{name: _number(text) for name, text in row.items() if name} for row in table]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table of numbers ({error}); copy the run again") from error
    rows = [{name: value for name, value in row.items() if math.isfinite(value)} for row in numbers]
    rows = [row for row in rows if "step" in row]
    evaluated = [row for row in rows if "epoch" in row and any(name.startswith(("val/", "transfer/")) for name in row)]
    last = (evaluated or rows or [{"step": 0.0}])[-1]  # of an epoch, where it was evaluated
    steps_per_epoch = max((last["step"] + 1) / (max(last.get("epoch", 0.0), 0.0) + 1), 1.0)
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "epoch")]
    pairs = [((row["step"] + 1) / steps_per_epoch, row) for row in rows]
    return {name: sorted((epoch, row[name]) for epoch, row in pairs if name in row) for name in names}


def _number(text: str | None) -> float:
    try:
        return float(text or math.nan)
    except ValueError:
        return math.nan


def _beside_paper(run: RunResults, ours: Row) -> list[Row]:
    """The paper's row that fits the run, and ours minus it where the numbers are of the same kind."""
    paper = published_for(run.experiment, ours.test)
    if paper is None:
        return []
    theirs = replace(ours, network=f"paper, {paper.source}", kind="paper", numbers=paper.numbers, settings={})
    minus = paper.minus(ours.numbers, run.experiment.evaluation.average_precision)
    difference = replace(ours, network=f"{ours.network} minus paper", kind="difference", numbers=minus)
    return [theirs, difference] if minus else [theirs]


def _label(run: RunResults, others: Sequence[RunResults]) -> str:
    """The name of the experiment, with the settings in which those of its name and training set differ."""
    alike = [one for one in others if all(one.settings[key] == run.settings[key] for key in ("name", "data.train"))]
    keys = [key for key in differing_settings(alike) if key != "description"]
    return ", ".join([run.experiment.name, *(f"{key.rpartition('.')[2]}={run.settings.get(key)}" for key in keys)])


def _means(rows: Sequence[Row], label: str) -> list[Row]:
    """Mean and standard deviation over repetitions, for each data set and baseline."""
    alike: dict[tuple[str, bool, str], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.test, row.transfer, row.network if row.kind == "baseline" else ""].append(row)
    means = []
    for (test, transfer, baseline), own in alike.items():
        numbers: dict[str, float | None] = {}
        for key, (value, spread) in mean_numbers([row.numbers for row in own]).items():
            numbers |= {key: value, f"{key}_spread": spread} if key in COLUMNS else {}
        settings = {} if baseline else {key: value for key, value in own[0].settings.items() if key != "seed"}
        who, kind = f"{baseline or label}, mean of {len(own)}", "baseline" if baseline else "mean"
        means.append(Row(test, transfer, who, kind, numbers, settings))
    return means


def _is_cut(entry: Mapping[str, Any], full: Sequence[RunResults], cut: Sequence[RunResults]) -> bool:
    """Whether ``cut`` is ``full`` without the entry's part, and nothing else."""
    whole, rest = full[0].experiment, cut[0].experiment
    own, less = own_settings(whole), own_settings(rest)
    starts = entry["from"].items() <= own.items() and not (own.keys() & PARTS) - entry["from"].keys()
    alike = all(key.startswith(FREE) for key in differing_settings([full[0], cut[0]]))
    named = whole.model.name == rest.model.name == entry["model"]
    return named and starts and alike and less != own and less == own | entry["settings"]


def _compare(entry: Mapping[str, Any], full: Sequence[RunResults], cut: Sequence[RunResults]) -> Iterator[list[str]]:
    published = entry["difference"] if "difference" in entry else entry["with"] - entry["without"]
    own = own_settings(full[0].experiment)
    replaced = ", ".join(f"{key}={own[key]}" for key in entry["settings"].keys() - entry["from"].keys() & own.keys())
    part = entry["part"] + (f" against {replaced}" if replaced else "")
    for test in dict.fromkeys(test for run in full for test, _, _ in run.evaluations()):
        numbers = [[n for run in runs for on, _, n in run.evaluations() if on == test] for runs in (cut, full)]
        if all(numbers):
            less, more = (mean_numbers(group)["mAP"][0] for group in numbers)
            means = [f"{less:.2f}", f"{more:.2f}", signed(more - less), f"{len(cut)}, {len(full)}"]
            yield [f"{part}, {test}", *means, f"{signed(published)} (Table {entry['table']})"]
