"""Run a sweep file of W&B on this machine: ``python -m ogreid.sweep experiments/sweeps/k.yaml``."""

import sys
from collections.abc import Sequence
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.sweep k --dry-run                                      what experiments/sweeps/k.yaml stands for
  python -m ogreid.sweep k --experiment demo --processes 2                the same question on synthetic people
  python -m ogreid.sweep density trainer.max_epochs=100                   a setting of all runs
  wandb sweep experiments/sweeps/k.yaml                                   the same file, where there is a W&B server

A sweep that was stopped goes on when it is started again: no finished run is repeated, a half-finished one is resumed.
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.sweep",
        description="Run a sweep file in W&B's schema (grid or random) here, and lay its runs beside each other.",
        epilog=EPILOG,
    )
    made.add_argument("file", metavar="FILE", help="a sweep file, or its name in experiments/sweeps")
    made.add_argument("--experiment", metavar="NAME", help="instead of the one that the file names")
    made.add_argument("--name", help="of the folder runs/sweeps/NAME (default: the sweep's own)")
    made.add_argument("--count", type=int, metavar="N", help="at most N runs; a random search needs it")
    made.add_argument("--seed", type=int, default=0, help="of a random search (%(default)s)")
    made.add_argument("--processes", type=int, default=1, metavar="P", help="runs at once (%(default)s)")
    made.add_argument("--retry", action="store_true", help="try the runs again that failed before")
    made.add_argument("--dry-run", action="store_true", help="print the runs and leave")
    made.add_argument("overrides", nargs="*", metavar="group.key=value", help="settings of every run")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, expand, run, tell."""
    given = sys.argv[1:] if argv is None else list(argv)
    asked = parser().parse_intermixed_args(given)
    for name in ("count", "processes"):
        if getattr(asked, name) is not None and getattr(asked, name) < 1:
            raise InputError(f"--{name} {getattr(asked, name)}: expected 1 or more")
    from ogreid.sweeps.running import Sweeping, run_sweep, tell_plan

    sweeping = Sweeping.of(asked.file, asked.experiment, asked.overrides, asked.name, asked.count, asked.seed, given)
    if asked.dry_run:
        tell_plan(sweeping)
        return 0
    return run_sweep(sweeping, asked.processes, retry=asked.retry)


if __name__ == "__main__":
    command_line.run(main)
