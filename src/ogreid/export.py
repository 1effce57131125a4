"""A released checkpoint as a run, a network as a program: ``python -m ogreid.export --published FOLDER --to RUN``."""

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
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.export",
        description="A released folder becomes a run; a network becomes a torch.export program that needs only torch.",
        epilog=EPILOG,
    )
    command_line.network_arguments(command, untrained=False)
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="RUN", help="folder of the run to be made; it must not exist")
    where.add_argument("--program", metavar="FILE", help="write torch.export's program there, a .pt2 file")
    command.add_argument("--batch", type=int, default=1, help="clouds per call of the program (%(default)s)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    arguments = parser().parse_args(argv)
    target = Path(arguments.to or arguments.program)
    if target.exists():
        raise InputError(f"{target}: already there; choose another place, or remove it first")
    if arguments.checkpoint and arguments.to:
        raise InputError("--to expects a released folder (--published), got --checkpoint, which is a run already")
    if arguments.program and target.suffix not in (".pt2", ".pt"):
        raise InputError(f"{target}: expected a name that ends in .pt2; --program writes a torch.export program")
    if arguments.program and not target.parent.is_dir():
        raise InputError(f"{target}: its folder does not exist; make it or choose another --program")
    if arguments.batch < 1:
        raise InputError(f"--batch: expected 1 or more, got {arguments.batch}")
    from ogreid.training import conversion
    from ogreid.training.inference import load_network

    if arguments.to:
        conversion.published_to_run(Path(arguments.published), target, arguments.weights)
    else:
        conversion.write_program(load_network(**command_line.network(arguments)), target, arguments.batch)
    return 0


if __name__ == "__main__":
    command_line.run(main)
