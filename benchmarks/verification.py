"""What verification of all pairs costs: seconds and memory at the sizes of the benchmarks.

python -m benchmarks.verification [--size market|msmt]

Seconds are wall time, with the process's own CPU time in brackets (on a busy machine that one counts: divided by the
threads it is the wall time of an idle one); the peak is of the whole process, embeddings included. Results go to
benchmarks/results/verification_<size>.json.
"""

import argparse
import resource

import torch
from benchmarks.retrieval import NETWORKS, SIZES, WIDTH, scene, timed
from benchmarks.timing import save

from ogreid.retrieval import verify

GOAL = {"seconds": 60, "gigabytes": 1.0}  # at 10^9 pairs


def measure(size):
    """Both parts: counting all pairs, and the numbers made of the counts."""
    rows = scene(*SIZES[size], *NETWORKS["trained"])
    verify(*(column[:500] for column in rows)).summary()  # compiles
    result, wall, cpu, _ = timed(lambda: verify(*rows))
    numbers, *summary, _ = timed(result.summary)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    pairs, threads = numbers["genuine"] + numbers["impostor"], torch.get_num_threads()
    print(f"{size}: {len(rows[0])} x {len(rows[3])}, D = {WIDTH}, {threads} threads, {pairs:,} pairs counted")
    print(f"all pairs    {wall:8.2f} s ({cpu:7.2f}), {1e9 * cpu / len(rows[0]) / len(rows[3]):.1f} ns of CPU time each")
    print(f"its numbers  {summary[0]:8.2f} s ({summary[1]:7.2f})")
    print(f"peak         {peak:8.2f} GB;  EER {numbers['eer']:.3f} %, TPR {numbers['tpr']}")
    content = {"pairs": pairs, "threads": threads, "wall": wall, "cpu": cpu, "summary_cpu": summary[1], "peak_gb": peak}
    save(f"verification_{size}", content | {"goal": GOAL, "eer": numbers["eer"], "tpr": numbers["tpr"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", choices=("market", "msmt"))
    for size in parser.parse_args().size or ["market", "msmt"]:
        measure(size)


if __name__ == "__main__":
    main()
