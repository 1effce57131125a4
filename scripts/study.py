"""Run the study at one of its sizes: stores, sweeps, the judging of finished networks.

python scripts/study.py quick --processes 2    on two CPU cores; started again, it goes on where it was
python scripts/study.py full                   on one GPU
python scripts/study_page.py quick             then: the tables and figures of docs/study.md

``runs/study/<size>/`` keeps what was judged, and ``cost.json``: wall and processor seconds of every command.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

SWEEPS = Path(__file__).resolve().parents[1] / "experiments" / "study" / "sweeps"
STORES = {
    "quick": ("plaza-160", "winter-128", "transit-96", "platform-240"),
    "full": ("plaza-1502", "winter-1404", "transit-2082", "platform-1534"),
}
POINTS = {"quick": "512", "full": "4096"}
# The order in which they start: side by side, the first two share no run, and what others share is trained by then.
NAMES = ("table2_ce", "figure7", "table4", "table5", "table1", "figure8", "table2_circle")
SWEPT = {
    "quick": ("table3", "table2_domains", *NAMES, "longer"),
    "full": ("table3", *NAMES, "table2_winter", "table2_transit", "table2_platform"),
}
DENSITIES = ("0.03", "0.0625", "0.125", "0.25", "0.5", "0.75", "1.0")


def results(size: str) -> Path:
    return Path("runs") / "study" / size


def packing(size: str) -> Iterator[list[str]]:
    """Pack what is not packed."""
    plaza = STORES[size][0]
    for name in STORES[size]:
        yield ["ogreid.pack", name]
    yield ["ogreid.pack", plaza, "--no-background", "--name", f"{plaza}-visible"]


def training(size: str, processes: int) -> Iterator[list[str]]:
    """Train what is not trained; runs that two sweeps share are trained once."""
    for name in SWEPT[size]:
        yield ["ogreid.sweep", str(SWEEPS / f"{size}_{name}.yaml"), "--processes", str(processes)]


def judging(size: str) -> Iterator[list[str]]:
    """The color histogram on every domain, and the networks of Figure 8 at every density."""
    histogram = ["--model", "histogram", "--points", POINTS[size], "--on", *STORES[size]]
    yield ["ogreid.evaluate", *histogram, "--json", str(results(size) / "histogram.json")]
    record = json.loads((Path("runs") / "sweeps" / f"{size}_figure8" / "sweep.json").read_text())
    for run in record["runs"]:
        target = results(size) / f"density-{run['experiment']}-{run['parameters']['seed']}.json"
        at = ["--on", STORES[size][0], "--density", *DENSITIES, "--json", str(target)]
        yield ["ogreid.evaluate", "--checkpoint", run["folder"], *at]


def call(commands: Sequence[list[str]], size: str, at_once: int = 1) -> None:
    """Run doors to their end, and note what they cost together.

    Raises:
        SystemExit: one failed; with its exit status.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        ended = list(pool.map(partial(_run, threads=_threads(at_once)), commands))
    wall, processor, status = time.perf_counter() - started, sum(used for used, _ in ended), max(s for _, s in ended)
    kept = results(size) / "cost.json"
    costs = json.loads(kept.read_text()) if kept.is_file() else []
    told = commands[0] if len(commands) == 1 else [commands[0][0], f"{len(commands)} commands, {at_once} at once"]
    costs.append({"command": told, "wall": round(wall, 1), "processor": round(processor, 1), "status": status})
    kept.write_text(json.dumps(costs, indent=1) + "\n")
    if status:
        raise SystemExit(status)


def _run(command: Sequence[str], threads: Mapping[str, str]) -> tuple[float, int]:
    """Processor seconds of a door with all its processes, and its exit status."""
    sys.stdout.write(f"$ python -m {' '.join(command)}\n")
    sys.stdout.flush()
    process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **threads})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, abs(process.returncode)


def _threads(at_once: int) -> dict[str, str]:
    """The cores are shared out; a sweep does that itself."""
    if at_once == 1:
        return {}
    share = str(max(1, (os.cpu_count() or 1) // at_once))
    return {"OMP_NUM_THREADS": share, "NUMBA_NUM_THREADS": share}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the study; docs/study.md says what it is.")
    parser.add_argument("size", choices=sorted(STORES))
    parser.add_argument("--processes", type=int, default=1, help="runs at once, and judged at once (%(default)s)")
    asked = parser.parse_args()
    size, processes = asked.size, asked.processes
    results(size).mkdir(parents=True, exist_ok=True)
    for command in packing(size):
        call([command], size)
    if size == "quick":  # whole sweeps side by side: at the end of each there would be cores with nothing to do
        call(list(training(size, 1)), size, processes)
    else:  # a sweep shares out the graphics cards between its runs
        for command in training(size, processes):
            call([command], size)
    call(list(judging(size)), size, processes)


if __name__ == "__main__":
    main()
