"""Errors that a person can act on: one line that names the file, what came, what was expected, the way out."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest_names"]


class UserError(Exception):
    """Something the user can put right. A door prints it as one line and exits with status 2."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names nearest to ``name`` as a clause for an error message.

    Returns:
        `` Did you mean a, b?`` where something is near, else the whole list in alphabetical order.
    """
    choices = sorted(set(known))
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
