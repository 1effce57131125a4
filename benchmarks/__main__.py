"""Every measurement of operations, training steps and the pipeline, one after another: ``make bench``.

python -m benchmarks [--quick]

About 13 minutes on one core; --quick leaves out growth and the other networks. Ends with the performance goals beside
the measurements.
"""

import argparse
import subprocess
import sys

MEMORY = tuple(("steps", "--memory", form) for form in ("published", "plain", "fused"))
QUICK = (("operations", "--quick"), ("steps", "--rounds", "3"), *MEMORY, ("pipeline",))
ALL = (
    ("operations",),
    ("steps",),
    ("steps", "--model", "ognet_small"),
    ("steps", "--model", "ognet_deep"),
    *MEMORY,
    ("pipeline",),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    for script, *options in (*(QUICK if parser.parse_args().quick else ALL), ("goals",)):
        print(f"\n=== {script} {' '.join(options)}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *options], check=True)


if __name__ == "__main__":
    main()
