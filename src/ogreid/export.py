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
  python -m ogreid.export --onnx network.onnx         the network that ships with ogreid
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.export",
        description="A released folder becomes a run; a network becomes a program of torch.export or ONNX.",
        epilog=EPILOG,
    )
    command_line.network_arguments(command, untrained=False)
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="RUN", help="folder of the run to be made; it must not exist")
    where.add_argument("--program", metavar="FILE", help="write torch.export's program there, a .pt2 file")
    where.add_argument("--onnx", metavar="FILE", help="write the network in ONNX there, an .onnx file")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    arguments = parser().parse_args(argv)
    target = Path(arguments.to or arguments.program or arguments.onnx)
    if target.exists():
        raise InputError(f"{target}: already there; choose another place, or remove it first")
    if arguments.to and not arguments.published:
        raise InputError("--to expects a released folder (--published); a checkpoint is a run already")
    if arguments.program and target.suffix not in (".pt2", ".pt"):
        raise InputError(f"{target}: expected a name that ends in .pt2; --program writes a torch.export program")
    if arguments.onnx and target.suffix != ".onnx":
        raise InputError(f"{target}: expected a name that ends in .onnx")
    if not arguments.to and not target.parent.is_dir():
        raise InputError(f"{target}: its folder does not exist; make it, or choose another")
    if arguments.to:
        from ogreid.training.conversion import published_to_run

        published_to_run(Path(arguments.published), target, arguments.weights)
        return 0
    from ogreid.deployment.programs import write_onnx, write_program
    from ogreid.training.inference import load_network

    write = write_onnx if arguments.onnx else write_program
    write(load_network(**command_line.network(arguments)), target)
    return 0


if __name__ == "__main__":
    command_line.run(main)
