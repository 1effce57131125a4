"""What every door shares: one way to fail, one way to log."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from ogreid.errors import UserError

__all__ = ["Parser", "run"]


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are one line like every other user error."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage above the message."""
        raise UserError(f"{message}; `{self.prog} --help` shows how")


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Call a door with the command line and leave with its status.

    A :class:`UserError` becomes one line on standard error and status 2; an interruption becomes status 130.
    Everything else is a fault of ours and keeps its traceback.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger().handlers[0].setLevel(logging.INFO)
    logging.getLogger("ogreid").setLevel(logging.INFO)
    try:
        status = main(sys.argv[1:])
    except UserError as error:
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
