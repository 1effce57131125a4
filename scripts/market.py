"""The study on Market-1501: train and evaluate each row, and lay the numbers in docs/benchmarks.md.

python -m ogreid.pack market --root DIR            first; DIR is Market-1501-v15.09.15
python scripts/market.py --dry-run                 what would run
python scripts/market.py --processes 2             everything, on two CPU cores; started again, it continues
python scripts/market.py --parts networks recipe   some tables of it
python scripts/market.py --page                    only the page, of the numbers so far

Pictures, clouds, embeddings and checkpoints stay in the data root and ``runs/market``. What is committed are the
numbers in ``docs/benchmarks/market.json``, each with its command, revision and processor time.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from threading import Lock
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
NUMBERS = REPOSITORY / "docs" / "benchmarks" / "market.json"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
PICTURE = REPOSITORY / "docs" / "pictures" / "market-curves.svg"
RUNS = Path("runs") / "market"
SHARED = ["runs.pictures=false", "wandb.mode=disabled", "trainer.enable_progress_bar=false", f"runs.root={RUNS}"]
RELEASED = (
    *("data.sampler=balanced", "data.batch_size=36", "loss.dropout=0.7", "loss.label_smoothing=0", "loss.neck=false"),
    *(
        "loss.name=circle",
        "loss.normalize=null",
        "optimizer.name=adam",
        "optimizer.lr=0.001",
        "optimizer.weight_decay=0.0005",
    ),
    *("optimizer.lr_warmup=0", "optimizer.loss_warmup=10", "data.augmentation.erase=0", "data.augmentation.crop=0"),
)
"""The released recipe of ``market_circle``, as differences from ``market_laptop``."""


@dataclass(frozen=True)
class Row:
    """One row of a table: an experiment with these settings, or an untrained network.

    Attributes:
        part: its table.
        label: its first column; also names its runs.
        settings: beside those of the experiment.
        epochs: of the training; in all parts but ``longer`` about 30 minutes of one core.
        model: an untrained network, or ``synthetic``, the one that ships with ogreid; evaluated as it is.
        experiment: whose settings the others change.
    """

    part: str
    label: str
    settings: tuple[str, ...] = ()
    epochs: int = 12
    model: str = ""
    experiment: str = "market_laptop"

    @property
    def name(self) -> str:
        """Of its runs: that of the first row with the same settings, so that none is trained twice."""
        first = next((row for row in ROWS if replace(row, part=self.part, label=self.label) == self), self)
        return re.sub(r"[^a-z0-9]+", "-", f"{first.part} {first.label}".lower()).strip("-")


OTHER = ("model.channels=null", "model.k=null")
POINTNET = (*OTHER, "model.name=pointnet2_msg", "model.width_mult=0.25", "model.num_kept=[128,32]")
SHUFFLENET = (*OTHER, "model.num_kept=null", "model.name=shufflenetv2", "model.size=[128,64]", "data.inputs=crop")
LIFTED = {"experiment": "market_lifted"}
VISIBLE, FITTED = (
    tuple(f"data.{use}=[market-{kind}]" for use in ("train", "test")) for kind in ("visible", "estimated")
)
ROWS = (
    Row("networks", "color histogram", model="histogram"),
    Row("networks", "LiftedResNet, never saw a photograph", model="synthetic"),
    Row("networks", "OG-Net, narrow"),
    Row("networks", "OG-Net, narrow, no graph", ("model.k=1",), 16),
    Row("networks", "PointNet++ MSG, quarter width", POINTNET, 10),
    Row("networks", "ShuffleNetV2 on crops", SHUFFLENET, 10),
    Row("networks", "LiftedResNet", epochs=20, **LIFTED),
    Row("longer", "OG-Net, narrow, 1024 points", epochs=18, experiment="market_laptop_1024"),
    Row("longer", "LiftedResNet", epochs=40, **LIFTED),
    Row("pixels", "colors", epochs=10, **LIFTED),
    Row("pixels", "colors, from synthetic weights", ("model.weights=synthetic",), 10, **LIFTED),
    Row("pixels", "colors, no parts", ("model.parts=0",), 10, **LIFTED),
    Row("pixels", "colors, foreground", (*FITTED, "model.pixels=[foreground]"), 10, **LIFTED),
    Row("pixels", "colors, foreground, depth", (*FITTED, "model.pixels=[foreground,depth]"), 10, **LIFTED),
    Row("inputs", "upright body"),
    Row("inputs", "image (x, y, 0)", ("data.inputs=image",)),
    Row("inputs", "upright body, no background", VISIBLE),
    Row("inputs", "fitted bodies", FITTED),
    Row("recipe", "market_laptop"),
    Row("recipe", "as released", RELEASED, 11),
    Row("recipe", "as released, P x K", (*RELEASED, "data.sampler=pk", "data.batch_size=64"), 12),
    Row("recipe", "no triplet, no neck", ("loss.name=ce", "loss.normalize=null", "loss.neck=false")),
    Row("recipe", "no warm-up, no smoothing", ("optimizer.lr_warmup=0", "loss.label_smoothing=0")),
    Row("recipe", "no erasing, no crop", ("data.augmentation.erase=0", "data.augmentation.crop=0")),
    Row("recipe", "average of the weights (EMA)", ("optimizer.ema_decay=0.995",)),
)


def command(row: Row, seed: int) -> list[str]:
    """The module and arguments that give a row's numbers."""
    if row.model:
        which = [] if row.model == "synthetic" else ["--model", row.model, "--points", "512"]
        return ["ogreid.evaluate", *which, "--on", "market", "--json"]
    settings = [*row.settings, f"trainer.max_epochs={row.epochs}", f"seed={seed}", f"name={row.name}"]
    return ["ogreid.fit", "--experiment", row.experiment, *settings, *SHARED]


def jobs(rows: list[Row], seeds: int) -> Iterator[tuple[Row, int]]:
    """Rows and seeds whose numbers are missing, the first seed of every row first."""
    known = {(entry["name"], entry["seed"]) for entry in numbers()}
    for seed in range(seeds):
        for row in rows:
            if (row.name, seed) not in known and not (row.model and seed):
                known.add((row.name, seed))
                yield row, seed


def numbers() -> list[dict[str, Any]]:
    """The rows measured so far."""
    return json.loads(NUMBERS.read_text()) if NUMBERS.is_file() else []


def measure(row: Row, seed: int, lock: Lock) -> None:
    """Train, or continue a training; add the numbers to the file."""
    folders = sorted((RUNS / row.name).glob(f"*-{seed}"))
    target, arguments = RUNS / f"{row.name}.json", command(row, seed)
    if row.model:
        arguments = [*arguments, str(target)]
    elif folders:
        arguments = ["ogreid.fit", "--resume", str(folders[-1])]
    RUNS.mkdir(parents=True, exist_ok=True)
    with (RUNS / f"{row.name}-{seed}.log").open("ab") as log:
        one = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=log, stderr=log, env=one)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        print(f"{row.part}, {row.label}, seed {seed}: failed; see {log.name}", flush=True)
        return
    if row.model:
        result = {"retrieval": json.loads(target.read_text())["retrieval"]}
    else:
        (folder,) = sorted((RUNS / row.name).glob(f"*-{seed}"))[-1:]
        result = json.loads((folder / "summary.json").read_text()) | {
            "curve": curve(folder / "metrics.csv", row.epochs)
        }
    (own,) = result["retrieval"].values()
    entry = {"name": row.name, "seed": seed, "epochs": 0 if row.model else row.epochs}
    entry |= {key: round(own[key], 2) for key in ("mAP", "rank1", "rank5", "rank10", "mINP")}
    entry |= {"parameters": result.get("parameters", 0), "processor": round(used.ru_utime + used.ru_stime)}
    entry |= {"curve": result.get("curve", {})}
    entry |= {"resumed": bool(folders), "revision": revision(), "command": " ".join(["python -m", *command(row, seed)])}
    with lock:
        NUMBERS.parent.mkdir(parents=True, exist_ok=True)
        NUMBERS.write_text(json.dumps([*numbers(), entry], indent=1) + "\n")
    print(f"{row.part}, {row.label}, seed {seed}: mAP {entry['mAP']}, rank-1 {entry['rank1']}", flush=True)


def curve(path: Path, epochs: int) -> dict[str, float]:
    """MAP of the held-out identities by the epochs that were done, of a run's ``metrics.csv``."""
    with path.open() as file:
        rows = [(int(row["epoch"]) + 1, row["val/mAP"]) for row in csv.DictReader(file) if row.get("val/mAP")]
    return {str(epoch): round(float(value), 2) for epoch, value in rows if epoch <= epochs}


def revision() -> str:
    """Of the working tree."""
    described = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    return subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip()


def write_page() -> None:
    """Replace the tables between the markers of the page."""
    lines = []
    for part in dict.fromkeys(row.part for row in ROWS):
        own_rows = [row for row in ROWS if row.part == part]
        measured = {row.label: [entry for entry in numbers() if entry["name"] == row.name] for row in own_rows}
        if not any(measured.values()):
            continue
        head = f"| {part} | parameters | epochs | processor, min | seeds | mAP | rank-1 |"
        lines += ["", head, "|---|--:|--:|--:|--:|--:|--:|"]
        for label, own in ((label, own) for label, own in measured.items() if own):
            minutes = "-" if own[0]["resumed"] else f"{mean(entry['processor'] for entry in own) / 60:.0f}"
            size = f"{own[0]['parameters'] / 1e6:.2f} M" if own[0]["parameters"] else "-"
            cells = [label, size, str(own[0]["epochs"]), minutes, str(len(own))]
            cells += [f"{mean(entry[key] for entry in own):.1f}" for key in ("mAP", "rank1")]
            lines.append(f"| {' | '.join(cells)} |")
    begin, end = "<!-- market.json -->", "<!-- end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    draw_curves()
    PAGE.write_text(before + begin + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2])


def draw_curves() -> None:
    """MAP on held-out identities over processor time, of the longer trainings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "market", "font.size": 9}
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for row in (row for row in ROWS if row.part == "longer"):
        for entry in (entry for entry in numbers() if entry["name"] == row.name):
            minutes = [entry["processor"] / 60 * int(epoch) / entry["epochs"] for epoch in entry["curve"]]
            axes.plot(minutes, list(entry["curve"].values()), marker="o", label=row.label)
    axes.set(xlabel="minutes of one core", ylabel="mAP, held-out identities, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=sorted({row.part for row in ROWS}), help="tables (all of them)")
    parser.add_argument("--seeds", type=int, default=1, help="of each row (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="trainings at once (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and leave")
    parser.add_argument("--page", action="store_true", help="write the page and leave")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.parts or row.part in options.parts]
    missing = [] if options.page else list(jobs(chosen, options.seeds))
    if options.dry_run:
        print("\n".join(" ".join(["python -m", *command(row, seed)]) for row, seed in missing))
        return
    lock = Lock()
    with ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(lambda job: measure(*job, lock), missing))
    write_page()


if __name__ == "__main__":
    main()
