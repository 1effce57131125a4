"""The tables and figures of docs/study.md, from the runs of ``scripts/study.py``.

python scripts/study_page.py quick             collect into docs/study/quick.json, then write the page
python scripts/study_page.py quick --collected the page alone, from docs/study/quick.json
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from study_tables import DOMAINS, blocks, charts

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = ROOT / "docs" / "study.md", ROOT / "docs" / "pictures"
NUMBERS = ("mAP", "mAP_step", "rank1", "mINP")


def collect(size: str, runs: Path) -> dict[str, Any]:
    """Every run of the study once: its settings, its numbers on every domain, its revision."""
    from ogreid import config

    base, runs_by_folder = config.load(f"study/{size}_ognet"), {}
    for path in sorted((runs / "sweeps").glob(f"{size}_*/sweep.json")):
        for run in json.loads(path.read_text())["runs"]:
            if run["status"] != "finished":
                raise SystemExit(f"{path}: {run['parameters']} is {run['status']}; finish the sweep first")
            runs_by_folder.setdefault(run["folder"], _run(runs.parent / run["folder"], size))
    results = runs / "study" / size
    return {
        "size": size,
        "k": base.model.k,
        "epochs": base.trainer["max_epochs"],
        "runs": sorted(runs_by_folder.values(), key=lambda run: [str(value) for value in run.values()][:6]),
        "histogram": _numbers(json.loads((results / "histogram.json").read_text())["retrieval"]),
        "densities": [_density(json.loads(path.read_text()), path) for path in sorted(results.glob("density-*.json"))],
        "cost": json.loads((results / "cost.json").read_text()),
    }


def _run(folder: Path, size: str) -> dict[str, Any]:
    from ogreid.runs import Run

    run = Run.open(folder)
    experiment, summary = run.experiment(), run.summary()
    trained, network = _domain(experiment.data.train[0]), experiment.name.removeprefix(f"{size}_")
    return {
        "network": "ognet" if network in DOMAINS else network,
        "loss": experiment.loss.name,
        "k": experiment.model.k,
        "epochs": experiment.trainer["max_epochs"],
        "train": trained,
        "seed": experiment.seed,
        "parameters": summary["parameters"],
        "seconds": summary["seconds"],
        "git": summary["provenance"]["git"],
        "numbers": _numbers({**summary["retrieval"], **summary["transfer"]}),
    }


def _numbers(results: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {_domain(on): {key: round(row[key], 3) for key in NUMBERS} for on, row in results.items()}


def _domain(store: str) -> str:
    return store.split("-")[0]


def _density(results: dict[str, Any], path: Path) -> dict[str, Any]:
    rows = [[row["density"], round(next(iter(row["retrieval"].values()))["mAP"], 3)] for row in results["densities"]]
    return {"trained": results["trained"], "seed": int(path.stem.rpartition("-")[2]), "mAP": rows}


def fill(page: str, texts: dict[str, str]) -> str:
    """The page with the text between ``<!-- name -->`` and ``<!-- /name -->`` replaced.

    Raises:
        ValueError: the page has no place of that name.
    """
    for name, text in texts.items():
        page, places = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, text=text: f"{match[1]}{text}\n{match[2]}",
            page,
            flags=re.S,
        )
        if places != 1:
            raise ValueError(f"{PAGE}: expected one place for {name}, got {places}")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tables and figures of docs/study.md.")
    parser.add_argument("size", choices=("quick", "full"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are (%(default)s)")
    parser.add_argument("--collected", action="store_true", help="from docs/study/<size>.json, without the runs")
    options = parser.parse_args()
    collected = ROOT / "docs" / "study" / f"{options.size}.json"
    if not options.collected:
        collected.parent.mkdir(exist_ok=True)
        collected.write_text(json.dumps(collect(options.size, options.runs), indent=1) + "\n")
    study = json.loads(collected.read_text())
    PAGE.write_text(fill(PAGE.read_text(), blocks(study)))
    for name, chart in charts(study).items():
        (PICTURES / f"study_{name}.svg").write_text(chart.file())


if __name__ == "__main__":
    main()
