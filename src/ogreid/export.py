"""Turn a released checkpoint into one of ours: ``python -m ogreid.export --published FOLDER --to RUN``."""

from collections.abc import Sequence
from pathlib import Path
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.export --published DOWNLOADED/ognet_circle --to runs/published/circle
  python -m ogreid.evaluate --checkpoint runs/published/circle --on market
  python -m ogreid.export --checkpoint runs/demo/20260101-120000-0 --program network.pt2
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.export",
        description="A released folder becomes a run; a run's network becomes a program that needs only torch.",
        epilog=EPILOG,
    )
    command_line.which_network(made, untrained=False)
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="RUN", help="folder of the run to be made; it must not exist")
    where.add_argument("--program", metavar="FILE", help="write torch.export's program of the embedding network there")
    made.add_argument("--batch", type=int, default=1, help="clouds per call of the program (%(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    asked = parser().parse_args(argv)
    target = Path(asked.to or asked.program)
    if target.exists():
        raise InputError(f"{target}: already there; choose another place, or remove it first")
    if asked.checkpoint and asked.to:
        raise InputError("--checkpoint is a run already; --to takes a released folder (--published)")
    if asked.program and not target.parent.is_dir():
        raise InputError(f"{target}: its folder does not exist; make it or choose another --program")
    if asked.batch < 1:
        raise InputError(f"--batch {asked.batch}: expected 1 or more")
    from ogreid.training.train import conversion

    if asked.to:
        conversion.published_to_run(Path(asked.published), target, asked.weights)
    else:
        conversion.write_program(asked.checkpoint, asked.published, asked.weights, target, asked.batch)
    return 0


if __name__ == "__main__":
    command_line.run(main)
