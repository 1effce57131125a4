"""Errors that a person can act on: one line that names the file, what came, what was expected, the way out."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["NotFinite", "UserError", "nearest_names", "noted_refusals", "refuse"]


LONGEST = 1000


class UserError(Exception):
    """Something the user can put right. A door prints it as one line and exits with status 2."""

    def __str__(self) -> str:
        """The message in one line that a terminal can show, however much of a broken file is quoted in it."""
        whole = super().__str__()
        text = whole if len(whole) <= LONGEST else f"{whole[: LONGEST // 2]} ... {whole[-LONGEST // 2 :]}"
        return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class NotFinite(UserError):
    """A NaN or an infinity where there must be numbers."""


_NOTES: list[list[str]] = []


@contextmanager
def noted_refusals(notes: list[str]) -> Iterator[list[str]]:
    """What :func:`refuse` is told is written into ``notes``, and whoever told it goes on.

    A process that trains with others must not leave in the middle of a step: they would wait for it.
    """
    _NOTES.append(notes)
    try:
        yield notes
    finally:
        _NOTES.pop()


def refuse(message: str) -> None:
    """Refuse numbers that are not finite, or note it inside :func:`noted_refusals`.

    Raises:
        NotFinite: with the message.
    """
    refusal = NotFinite(message)
    if not _NOTES:
        raise refusal
    _NOTES[-1].append(str(refusal))


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names nearest to ``name`` as a clause for an error message.

    Returns:
        `` Did you mean a, b?`` where something is near, else the whole list in alphabetical order.
    """
    choices = sorted(set(known))
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
