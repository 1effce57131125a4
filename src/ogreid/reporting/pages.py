"""Pages that need nothing else: a run, several runs, a sweep, a search; templates and style are in ``templates/``."""

import json
import logging
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ogreid import config, files
from ogreid.errors import InputError
from ogreid.reporting import results
from ogreid.reporting.charts import PALETTE, Chart, Line, line_chart, themed, thin_out
from ogreid.reporting.galleries import image_url, read_clouds, read_galleries, read_maps
from ogreid.reporting.matching import Threshold
from ogreid.reporting.pairs import camera_matrices, read_pairs, roc_chart, score_chart, verification_table
from ogreid.reporting.results import RunResults
from ogreid.reporting.sweeps import SweepRecord, read_sweep, sweep_figures, sweep_table
from ogreid.reporting.tables import COLUMNS, Row, csv_table, csv_text, results_table, signed

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store

log = logging.getLogger(__name__)
MOST_CURVES = 12  # lines of one chart that can be distinguished
LOSS, SPEED = "train/loss", "train/clouds_per_second"
_FOLDER, _STRICT = FileSystemLoader(Path(__file__).with_name("templates")), StrictUndefined
TEMPLATES = Environment(loader=_FOLDER, autoescape=True, undefined=_STRICT, trim_blocks=True, lstrip_blocks=True)
TEMPLATES.globals.update(palette=PALETTE, columns=COLUMNS)
TEMPLATES.filters.update(themed=themed, signed=signed, quote=lambda path: shlex.quote(str(path)))


def write_report(*folders: Path, target: Path | None = None, people: bool = True) -> Path:
    """Write one page of a run, of several, or of a sweep and its finished runs, and return its path.

    Args:
        *folders: of runs, finished or not, in the order in which they are shown; a sweep stands for its finished runs,
            and alone has its own table and plots, too.
        target: the HTML file; ``report.html`` in the folder, of several runs ``comparison.html``.
        people: whether the page of a run may show pictures and clouds of people.

    Raises:
        InputError: a file that cannot be read; the page cannot be written.
    """
    alone, sweep = len(folders) == 1, _sweep(folders)
    if sweep is not None:
        title, description = f"Sweep: {sweep.name}", sweep.content.get("description", "")
        page = {"table": sweep_table(sweep), "failed": sweep.failed, "figures": sweep_figures(sweep).values()}
        page |= _compared(results.named_runs(sweep.run_folders()))
        text = _render("sweep.html", title, description, **page)
    elif alone:
        text = _run_page(results.read_run(folders[0], people=people))
    else:
        runs = results.named_runs(_run_folders(folders))
        names = ", ".join(dict.fromkeys(run.experiment.name for run in runs.values()))
        text = _render("runs.html", f"{len(runs)} runs", names, **_compared(runs))
    return save(target or (folders[0] / "report.html" if alone else Path("comparison.html")), text)


def report_text(*folders: Path, kind: str) -> str:
    """The same numbers as a table: as ``.md``, or as ``.csv`` unrounded, with the seed and the settings that differ."""
    sweep = _sweep(folders)
    if sweep is not None and kind == ".md":
        return sweep_table(sweep).markdown()
    rows = results.comparison_rows(results.named_runs(_run_folders(folders)))
    return csv_table(rows) if kind == ".csv" else results_table(rows).markdown()


def write_rankings(
    target: Path,
    network: str,
    store: "Store",
    queries: Sequence[tuple[str, np.ndarray]],
    rows: np.ndarray,
    scores: np.ndarray,
    *,
    ranked: int,
    people: bool = True,
    hint: str = "",
    threshold: Threshold | None = None,
) -> Path:
    """Write the answer to a search, the most similar images of a store, in the format of the target's suffix.

    Args:
        target: .html, .json or .csv.
        network: that embedded the images.
        store: whose rows were ranked.
        queries: name and image (H, W, 3) uint8 of each of the Q queries.
        rows: (Q, T) rows of the store, most similar first.
        scores: (Q, T) their cosine similarities.
        ranked: how many rows of the store were ranked.
        people: whether a page shows images, or names alone.
        hint: what to know about the scores, in one line; logged, too.
        threshold: of a match; each result then says ``match``, and the queries without one are named.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    if hint:
        log.warning("%s", hint)
    known = [{key: store.rows[key][row].item() for key in ("identity", "camera", "source")} for row in rows.flat]
    places = [(name, rank) for name, _ in queries for rank in range(1, rows.shape[1] + 1)]
    records = [
        {"query": name, "rank": rank, "score": score, **own} | _match(score, threshold)
        for (name, rank), score, own in zip(places, scores.ravel().tolist(), known, strict=True)
    ]
    if target.suffix == ".csv":
        return save(target, csv_text(records))
    if target.suffix == ".json":
        content: dict[str, Any] = {"network": network, "store": store.name, "ranked": ranked, "hint": hint}
        if threshold is not None:
            none = [name for (name, _), row in zip(queries, scores, strict=True) if row[0] < threshold.score]
            content |= {"threshold": threshold.score, "origin": threshold.origin, "no_match": none}
        content["results"] = records
        return save(target, json.dumps(content, indent=2) + "\n")
    if target.suffix != ".html":
        raise InputError(f"{target}: expected a name that ends in .html, .json or .csv")
    crops = (store.crop(int(row)) if people else None for row in rows.flat)
    images = [_ranked_image(*one) for one in zip(crops, records, strict=True)]
    lists = []
    for number, (name, image) in enumerate(queries):
        lacking = threshold is not None and scores[number, 0] < threshold.score
        text = f"{name}: no match" if lacking else name
        query = {"kind": "query", "title": name, "url": image_url(image) if people else None, "text": text}
        own = images[number * rows.shape[1] :][: rows.shape[1]]
        lists.append({"label": f"similar to {name}", "query": query, "images": own})
    words = f"Ranked by {network} among {ranked} images of {store.name}; the score is the cosine similarity. {hint}"
    if threshold is not None:
        words += f" A match scores {threshold.score:.4f} or more{_origin(threshold)}."
    return save(target, _render("rankings.html", "Search results", words.strip(), lists=lists))


def match_lines(names: Sequence[str], scores: np.ndarray, threshold: Threshold) -> list[str]:
    """For each query the number of its matches among the scores (Q, T), or that there is none."""
    known, lines = f"threshold {threshold.score:.4f}{_origin(threshold)}", []
    for name, own in zip(names, scores, strict=True):
        count = int((own >= threshold.score).sum())
        word = f"{count} match{'es' * (count > 1)}" if count else "no match"
        lines.append(f"{name}: {word}; highest score {float(own[0]):.4f}, {known}")
    return lines


def _origin(threshold: Threshold) -> str:
    return f" ({threshold.origin})" if threshold.origin else ""


def _match(score: float, threshold: Threshold | None) -> dict[str, bool]:
    return {} if threshold is None else {"match": score >= threshold.score}


def save(path: Path, text: str) -> Path:
    """Write a page or a table in one step, and return its path."""
    try:
        files.write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another --to") from error
    return path


def _render(template: str, title: str, description: str, **context: object) -> str:
    """A page of ``templates/``; whatever is not a template itself is escaped."""
    return TEMPLATES.get_template(template).render(context, title=title, description=description)


def _sweep(folders: Sequence[Path]) -> SweepRecord | None:
    """The sweep that is given alone."""
    return read_sweep(folders[0]) if len(folders) == 1 and _is_sweep(folders[0]) else None


def _is_sweep(folder: Path) -> bool:
    return (folder / "sweep.json").is_file()


def _run_folders(folders: Sequence[Path]) -> list[Path]:
    """Folders of runs, with the finished runs of a sweep in its place, each once; what it leaves out is logged."""
    runs: dict[Path, Path] = {}
    for folder in folders:
        own = [folder]
        if _is_sweep(folder):
            sweep = read_sweep(folder)
            own = sweep.run_folders()
            if others := len(sweep.content["runs"]) - len(own):
                log.warning("%s: %d of %d runs are not finished; left out", folder, others, len(own) + others)
        for run in own:
            runs.setdefault(run.resolve(), run)
    return list(runs.values())


def _run_page(run: RunResults) -> str:
    rows = results.rows_of(run)
    return _render(
        "run.html",
        run.experiment.name,
        run.experiment.description,
        run=run,
        rows=_grouped(rows),
        matrix=results.transfer_matrix([run]),
        result_charts=_result_charts(run),
        curves=_curve_charts(run, rows),
        clouds=read_clouds(run.pictures),
        galleries=read_galleries(run.pictures),
        maps=read_maps(run.pictures),
        **_verification(run),
        settings=config.to_yaml(run.experiment),
    )


def _verification(run: RunResults) -> dict[str, Any]:
    verification = run.summary.get("verification", {})
    scores = [score_chart(name, numbers) for name, numbers in verification.items()]
    return {
        "verification": verification_table(verification) if verification else None,
        "verification_charts": [roc_chart(verification), *scores] if verification else [],
        "pairs": read_pairs(run.pictures, verification),
        "cameras": camera_matrices(run.summary),
    }


def _compared(runs: Mapping[str, RunResults]) -> dict[str, Any]:
    matrix = results.transfer_matrix(runs.values())
    return {
        "runs": runs,
        "rows": _grouped(results.comparison_rows(runs)),
        "ablations": results.ablation_table([[runs[name] for name in group] for group in results.repetitions(runs)]),
        "curves": _overlaid(runs) if len(runs) <= MOST_CURVES else [],
        "matrix": matrix if len(matrix) > 1 else {},
        "differences": results.differing_settings(runs.values()),
    }


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, bool], list[Row]]:
    """By data set, in the order of the rows."""
    groups: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.test, row.transfer].append(row)
    return groups


def _result_charts(run: RunResults) -> list[Chart]:
    cmc, precision = (run.summary.get(key, {}).items() for key in ("cmc", "precision"))
    ranks = [Line(test, list(enumerate(values, start=1))) for test, values in cmc]
    recall = [Line(test, [(100 * i / (len(own) - 1), one) for i, one in enumerate(own)]) for test, own in precision]
    return _charts(
        ("Cumulative matches (CMC)", "rank", "queries, %", ranks),
        ("Precision over recall", "recall, %", "precision, %", recall),
    )


def _curve_charts(run: RunResults, rows: Sequence[Row]) -> list[Chart]:
    parts = []
    for key in ("mAP", "rank1"):
        baselines = [row for row in rows if row.kind == "baseline" and row.test == rows[0].test and key in row.numbers]
        levels = [Line(row.network, [(0.0, float(row.numbers[key]))], level=True) for row in baselines]
        parts.append((COLUMNS[key], "epoch", f"{COLUMNS[key]}, %", [*_evaluated(run, key), *levels]))
    names = sorted({LOSS, *(name for name in run.curves if name.startswith("train/") and name != SPEED)})
    curves = {name: thin_out(run.curves.get(name, [])) for name in sorted(names, key=LOSS.__ne__)}
    losses = [Line(name.removeprefix("train/").replace("_", " "), curve) for name, curve in curves.items()]
    speed = [Line("clouds/s", thin_out(run.curves.get(SPEED, [])))]
    return _charts(*parts, ("Loss", "epoch", "loss", losses), ("Speed", "epoch", "clouds per second", speed))


def _overlaid(runs: Mapping[str, RunResults]) -> list[Chart]:
    """The curves of all runs, a chart for each number and data set."""
    lines: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for key, (name, run) in product(("mAP", "rank1"), runs.items()):
        for line in _evaluated(run, key):
            lines[COLUMNS[key], line.name].append(Line(name, line.points))
    return _charts(*((f"{key} on {test}", "epoch", f"{key}, %", group) for (key, test), group in lines.items()))


def _charts(*parts: tuple[str, str, str, Sequence[Line]]) -> list[Chart]:
    """Of (title, label of x, label of y, lines) those that have a point to draw."""
    drawn = [part for part in parts if any(line.points for line in part[3])]
    return [line_chart(lines, title=title, x_label=x, y_label=y) for title, x, y, lines in drawn]


def _evaluated(run: RunResults, key: str) -> list[Line]:
    """One line per data set: ``val/<set>/<key>`` and ``transfer/<source>-><set>/<key>``."""
    lines = []
    for name, curve in sorted(run.curves.items(), key=lambda one: one[0].startswith("transfer/")):
        kind, *middle = name.split("/")  # the learning rate is plain "lr"
        if kind in ("val", "transfer") and len(middle) > 1 and middle.pop() == key:
            test = "/".join(middle).split("->")[-1]
            lines.append(Line(f"{test} (transfer)" if kind == "transfer" else test, curve))
    return lines


def _ranked_image(image: np.ndarray | None, record: dict[str, Any]) -> dict[str, Any]:
    name = PurePosixPath(record["source"]).name
    title = "rank {rank}, score {score:.3f}, identity {identity}, camera {camera}, ".format(**record) + name
    text = "{score:.2f} \N{MIDDLE DOT} {identity} c{camera}".format(**record)
    url, text = (None, f"{name} {text}") if image is None else (image_url(image), text)
    return {"kind": "unknown", "title": title, "url": url, "text": text}
