"""Errors that a person can act on: one line that names the file, what came, what was expected and the way out."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST = 1000


class InputError(ValueError):
    """Something the caller can put right. The commands print it as one line and exit with status 2."""

    def __str__(self) -> str:
        """The message in one line that a terminal can show, however much of a broken file it quotes."""
        whole = super().__str__()
        if whole.startswith("Caught ") and " in DataLoader worker process" in whole:
            # torch raises our class again with the worker's traceback as the message; its last line is ours.
            whole = whole.rstrip().rpartition("\n")[2].partition(": ")[2]
        text = whole if len(whole) <= LONGEST else f"{whole[: LONGEST // 2]} ... {whole[-LONGEST // 2 :]}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that does not exist."""


class NotFinite(InputError):
    """A NaN or an infinity where there must be numbers."""


_COLLECTORS: list[list[str]] = []


@contextmanager
def collect_refusals(messages: list[str]) -> Iterator[list[str]]:
    """Inside, :func:`refuse` appends to ``messages`` instead of raising.

    A process that trains with others must not leave in the middle of a step: they would wait for it.
    """
    _COLLECTORS.append(messages)
    try:
        yield messages
    finally:
        _COLLECTORS.pop()


def refuse(message: str) -> None:
    """Refuse numbers that are not finite.

    Raises:
        NotFinite: with the message, unless inside :func:`collect_refusals`.
    """
    refusal = NotFinite(message)
    if not _COLLECTORS:
        raise refusal
    _COLLECTORS[-1].append(str(refusal))


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names nearest to ``name`` as a clause for an error message.

    Returns:
        ``did you mean a or b?`` where something is near, else the whole list in alphabetical order.
    """
    choices = sorted(set(known))
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
