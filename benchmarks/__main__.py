"""Every measurement of operations and training steps, one after another: ``make bench``."""

import subprocess
import sys

RUNS = (
    ("operations",),
    ("steps", "--model", "ognet"),
    ("steps", "--model", "ognet_small"),
    ("steps", "--model", "ognet_deep"),
    *(("steps", "--memory", form) for form in ("published", "plain", "fused")),
)


def main():
    for script, *options in RUNS:
        print(f"\n=== {script} {' '.join(options)}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *options], check=True)


if __name__ == "__main__":
    main()
