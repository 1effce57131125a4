"""What every door shares: one way to fail, one way to log."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ogreid.errors import InputError

__all__ = ["Parser", "run", "show", "which_network"]


class Parser(argparse.ArgumentParser):
    """argparse: the examples stay as they are written, and complaints are one line like every other user error."""

    def __init__(self, prog: str, description: str | None = None, epilog: str | None = None) -> None:
        laid_out = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, epilog=epilog, formatter_class=laid_out)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage above the message."""
        raise InputError(f"{message}; `{self.prog} --help` shows how")


def which_network(parser: Parser, *, untrained: bool = True) -> None:
    """The arguments of :func:`ogreid.training.inference.network_for`: exactly one names the network."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", metavar="RUN", help="a run folder (its best checkpoint) or a .ckpt file")
    which.add_argument("--published", metavar="FOLDER", help="a released folder: opts.yaml and its weights")
    if untrained:
        which.add_argument("--model", metavar="NAME", help="a network without training, for example histogram")
    parser.add_argument("--weights", default="model_last.pth", help="file in the released folder (%(default)s)")


def show(page: Path, *, browse: bool) -> None:
    """Say where a page is, and open it in the browser."""
    sys.stdout.write(f"{page}\n")
    if browse:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Call a door with the command line and leave with its status.

    A :class:`InputError` becomes one line on standard error and status 2; an interruption becomes status 130.
    Everything else is a fault of ours and keeps its traceback.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger().handlers[0].setLevel(logging.INFO)
    logging.getLogger("ogreid").setLevel(logging.INFO)
    try:
        status = main(sys.argv[1:])
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except BrokenPipeError:
        # The reader (`| head`) went away; a second error while Python flushes would only confuse.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    sys.exit(status)
