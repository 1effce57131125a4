"""Which part of a gallery is searched, and from which score on a crop is a match."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ogreid.errors import InputError
from ogreid.runs import Run

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store

COLUMNS = ("camera", "identity", "split")


class Threshold(NamedTuple):
    """The lowest score of a match, and where it is from."""

    score: float
    origin: str = ""


def threshold_for(checkpoint: str | None, rate: float, store: str) -> Threshold:
    """The threshold for a false positive rate, from the evaluation that a run's ``summary.json`` holds.

    It is that of the set ``store`` where the run was evaluated on it, else of its first set, and of the next lower rate
    of the summary's curve.

    Raises:
        InputError: no run, or one without verification; a rate below those of the curve.
    """
    try:
        verification = Run.open(checkpoint).summary().get("verification") if checkpoint else None
    except FileNotFoundError:
        verification = None
    if not verification:
        raise InputError(
            "--fpr requires the folder of a run whose summary.json has verification; python -m ogreid.evaluate says "
            "thresholds, --threshold takes one"
        )
    name = store if store in verification else next(iter(verification))
    known = [(level, score) for level, _, score in verification[name]["roc"] if level <= rate * (1 + 1e-9)]
    if not known or rate > 1:
        raise InputError(f"--fpr: expected a rate from 1e-6 to 1, got {rate:g}")
    level, score = max(known)
    return Threshold(score, f"false positive rate {level:g} on {name}")


def parse_where(conditions: Sequence[str]) -> dict[str, set[str]]:
    """Column -> values that are searched, from ``camera=3``; several of one column are alternatives.

    Raises:
        InputError: no such column, or no value.
    """
    chosen: dict[str, set[str]] = {}
    for condition in conditions:
        column, _, value = condition.partition("=")
        if column not in COLUMNS or not value:
            raise InputError(f"--where {condition}: expected {', '.join(f'{one}=VALUE' for one in COLUMNS)}")
        chosen.setdefault(column, set()).update(value.split(","))
    return chosen


def select_rows(store: "Store", rows: np.ndarray, where: dict[str, set[str]], limit: int | None = None) -> np.ndarray:
    """Those of ``rows`` that have the values, and of them the first ``limit``.

    Raises:
        InputError: none of them has, with the values that there are.
    """
    for column, values in where.items():
        known = store.rows[column][rows].astype(str)
        rows, before = rows[np.isin(known, sorted(values))], np.unique(known)
        if not len(rows):
            some = ", ".join(before.tolist()[:20]) + (" ..." if len(before) > 20 else "")
            raise InputError(
                f"--where {column}={','.join(sorted(values))}: no such crop in {store.name}; it has {some}"
            )
    return rows[:limit]
