"""Alternating measurements: variants take turns, so that a busy moment affects all of them alike."""

import json
import platform
import resource
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Timing:
    """Medians over rounds, in milliseconds: wall clock and the process's own CPU time."""

    name: str
    wall: float
    cpu: float
    rounds: int


def alternate(variants, rounds=5, warm=1):
    """Time every variant (name -> callable) in turns."""
    samples = {name: [] for name in variants}
    for turn in range(warm + rounds):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn >= warm:
                samples[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return [
        Timing(name, *(1e3 * statistics.median(column) for column in zip(*taken, strict=True)), rounds)
        for name, taken in samples.items()
    ]


def peak_memory():
    """Peak resident memory of this process, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine():
    """The machine that is measured."""
    return {
        "processor": next(
            (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
            platform.processor(),
        ),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def limits(threads=None):
    """This machine's rate in a large matrix product (GFLOP/s) and in a copy (GB/s), by CPU time."""
    side, numbers = 1536, 2**25
    left, right = torch.rand(side, side), torch.rand(side, side)
    source, target = torch.rand(numbers), torch.empty(numbers)
    product, copy = alternate({"product": lambda: left @ right, "copy": lambda: target.copy_(source)}, rounds=7)
    return {"gflops": 2 * side**3 / product.cpu / 1e6, "gb_per_s": 8 * numbers / copy.cpu / 1e6}


def save(name, report):
    """Write ``results/<name>.json`` with the machine beside the numbers."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **report}, indent=1, default=asdict) + "\n")
    return path


def table(title, timings, against):
    """Lines of a table, with ratios to one of the variants."""
    slow = next((one for one in timings if one.name == against), timings[0])
    yield f"\n{title}"
    for one in timings:
        ratio = f"{slow.cpu / one.cpu:6.1f} x" if one.cpu else ""
        yield f"  {one.name:34s} wall {one.wall:9.2f} ms   cpu {one.cpu:9.2f} ms   {ratio}"
