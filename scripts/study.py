"""Run the study at one of its sizes: pack, sweep, evaluate.

python scripts/study.py quick --processes 2    on two CPU cores; started again, it continues
python scripts/study.py full                   on one GPU
python scripts/study.py quick --dry-run        what would run
python scripts/study_page.py quick             afterwards: the tables and figures of docs/study.md

``runs/study/<size>/`` holds the evaluations and ``cost.json``: wall and processor seconds of every command.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SWEEPS = Path(__file__).resolve().parents[1] / "experiments" / "study" / "sweeps"
STORES = {
    "quick": ("plaza-160", "winter-128", "transit-96", "platform-240"),
    "full": ("plaza-1502", "winter-1404", "transit-2082", "platform-1534"),
}
POINTS = {"quick": "512", "full": "4096"}
NAMES = ("table2_ce", "figure7", "table4", "table5", "table1", "figure8", "table2_circle")
SWEPT = {
    "quick": ("table3", "table2_domains", *NAMES, "longer"),
    "full": ("table3", *NAMES, "table2_winter", "table2_transit", "table2_platform"),
}
DENSITIES = ("0.03", "0.0625", "0.125", "0.25", "0.5", "0.75", "1.0")


def commands(size: str, processes: int) -> Iterator[list[str]]:
    """Pack, sweep (a run that several sweeps share is trained once), and evaluate at every density."""
    plaza, results = STORES[size][0], Path("runs") / "study" / size
    for name in STORES[size]:
        yield ["ogreid.pack", name]
    yield ["ogreid.pack", plaza, "--no-background", "--name", f"{plaza}-visible"]
    for name in SWEPT[size]:
        yield ["ogreid.sweep", str(SWEEPS / f"{size}_{name}.yaml"), "--processes", str(processes)]
    histogram = ["--model", "histogram", "--points", POINTS[size], "--on", *STORES[size]]
    yield ["ogreid.evaluate", *histogram, "--json", str(results / "histogram.json")]
    record = Path("runs") / "sweeps" / f"{size}_figure8" / "sweep.json"
    for run in json.loads(record.read_text())["runs"] if record.is_file() else ():
        target = results / f"density-{run['experiment']}-{run['parameters']['seed']}.json"
        at = ["--on", plaza, "--density", *DENSITIES, "--json", str(target)]
        yield ["ogreid.evaluate", "--checkpoint", run["folder"], *at]


def call(command: list[str], costs: Path) -> None:
    """Run a command and record what it cost, child processes included; exits with its status where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    entry = {"command": command, "wall": round(wall, 1), "processor": round(processor, 1), "status": process.returncode}
    earlier = json.loads(costs.read_text()) if costs.is_file() else []
    costs.write_text(json.dumps([*earlier, entry], indent=1) + "\n")
    if process.returncode:
        raise SystemExit(abs(process.returncode))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the study that docs/study.md describes.")
    parser.add_argument("size", choices=sorted(STORES))
    parser.add_argument("--processes", type=int, default=1, help="runs at once (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and leave")
    options = parser.parse_args()
    costs = Path("runs") / "study" / options.size / "cost.json"
    for command in commands(options.size, options.processes):
        print(f"$ python -m {' '.join(command)}", flush=True)
        if not options.dry_run:
            costs.parent.mkdir(parents=True, exist_ok=True)
            call(command, costs)


if __name__ == "__main__":
    main()
