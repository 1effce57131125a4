"""Run a sweep file of W&B on this machine: ``python -m ogreid.sweep experiments/sweeps/k.yaml``."""

import shlex
import sys
from collections.abc import Sequence

from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.sweep k --dry-run                                      the runs of experiments/sweeps/k.yaml
  python -m ogreid.sweep k --experiment demo --processes 2                the same question on synthetic data
  python -m ogreid.sweep density trainer.max_epochs=100                   a setting of all runs
  srun --nodes 2 python -m ogreid.sweep k                                 two machines divide the runs
  wandb sweep experiments/sweeps/k.yaml                                   the same file, where there is a W&B server

The same command, started several times, divides the runs. A sweep that was stopped continues when it is started again:
no finished run is repeated, a half-finished one is resumed.
"""


def parser() -> command_line.Parser:
    """The command line."""
    parser = command_line.Parser(
        prog="python -m ogreid.sweep",
        description="Run a sweep file in W&B's schema (grid, random or bayes) here, and compare its runs.",
        epilog=EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="a sweep file, or its name in experiments/sweeps")
    parser.add_argument("--experiment", metavar="NAME", help="instead of the one that the file names")
    parser.add_argument("--name", help="of the folder runs/sweeps/NAME (default: the sweep's own)")
    parser.add_argument("--count", type=int, metavar="N", help="at most N runs; random and bayes need it")
    parser.add_argument("--seed", type=int, default=0, help="of random and bayes (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="runs at once (%(default)s)")
    parser.add_argument("--retry", action="store_true", help="try the runs again that failed before")
    parser.add_argument("--dry-run", action="store_true", help="print the runs and leave")
    parser.add_argument("overrides", nargs="*", metavar="group.key=value", help="settings of every run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, plan, run."""
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser().parse_intermixed_args(words)
    for name, low in (("count", 1), ("processes", 1), ("seed", 0)):
        if (value := getattr(options, name)) is not None and value < low:
            raise InputError(f"--{name}: expected {low} or more, got {value}")
    from ogreid.sweeps.plan import Plan

    plan = Plan(options.file, options.experiment, options.overrides, options.name, options.count, options.seed)
    if options.dry_run:
        sys.stdout.write(plan.describe())
        return 0
    from ogreid.sweeps.running import Sweep

    command = shlex.join(["python", "-m", "ogreid.sweep", *words])
    return Sweep(plan, command, options.processes, again=options.retry).run()


if __name__ == "__main__":
    command_line.run(main)
