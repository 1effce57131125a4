"""``ogreid COMMAND ...`` and ``python -m ogreid COMMAND ...``: the same as ``python -m ogreid.COMMAND ...``."""

import sys
from importlib import import_module

from ogreid.config import command_line
from ogreid.errors import InputError, nearest_names

COMMANDS = {
    "fit": "train one experiment and evaluate it while it trains",
    "evaluate": "evaluate a network on packed stores",
    "pack": "pack a benchmark or your own crops into a store",
    "embed": "embed crops or a store to Parquet, npz or a faiss index",
    "search": "rank the crops of a store by their similarity to query images",
    "sweep": "run a sweep of settings",
    "report": "write the page of one run, several runs or a sweep",
    "export": "turn a released checkpoint into a run, or a network into a program",
}


def main() -> None:
    """Dispatch to the command's own module."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        lines = "".join(f"  {command:9} {what}\n" for command, what in COMMANDS.items())
        sys.stdout.write(f"usage: ogreid COMMAND ...\n\n{lines}\nogreid COMMAND --help explains each.\n")
        sys.exit(0)
    if name not in COMMANDS:

        def refuse(arguments: object) -> int:
            raise InputError(f"unknown command '{name}'; {nearest_names(name, COMMANDS)}")

        command_line.run(refuse)
    command_line.run(import_module(f"ogreid.{name}").main, sys.argv[2:])


if __name__ == "__main__":
    main()
