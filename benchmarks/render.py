"""Synthetic crops per second: rendering, estimating and writing, per core and with worker processes.

python -m benchmarks.render [--workers 2] [--identities 40]
"""

import argparse
import tempfile
import time
from pathlib import Path

from ogreid.synthetic import DOMAINS, make_domain


def seconds_per_crop(domain: str, identities: int, workers: int) -> tuple[float, float, int]:
    """Wall and processor seconds of the crops after the first batch, and their number."""
    marks: list[tuple[float, float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        make_domain(
            domain,
            Path(folder) / domain,
            identities=identities,
            workers=workers,
            progress=lambda what, done, total: marks.append((time.perf_counter(), time.process_time(), done)),
        )
    # The first results wait for compilation and for the cameras' scenes; later ones show the rate.
    start = marks[min(len(marks) - 1, 8 * workers)]
    return marks[-1][0] - start[0], marks[-1][1] - start[1], marks[-1][2] - start[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--identities", type=int, default=40)
    options = parser.parse_args()
    make_domain("platform", Path(tempfile.mkdtemp()) / "warm", identities=4)  # compile once
    for domain in DOMAINS:
        wall, own, count = seconds_per_crop(domain, options.identities, 1)
        print(f"{domain:9} 1 process  {count / wall:6.0f} crops/s, {count / own:6.0f} per processor second")
    if options.workers > 1:
        wall, _, count = seconds_per_crop("plaza", 2 * options.identities, options.workers)
        print(f"{'plaza':9} {options.workers} processes {count / wall:6.0f} crops/s")


if __name__ == "__main__":
    main()
