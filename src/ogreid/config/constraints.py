"""Which values a setting takes, said in the metadata of its field."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields, is_dataclass
from math import inf, isfinite
from typing import Any, Literal, TypeVar

from ogreid.errors import InputError, nearest_names

Resume = Literal["free", "extend", "warn", "fixed"]
"""What a change means when a run is resumed: nothing; another end of it; other numbers than an unbroken run's; not
possible. Runs that differ in free settings alone are the same run to a sweep."""

Group = TypeVar("Group")
MAX_LENGTH = 64  # of a list: modules of a network


@dataclass(frozen=True)
class Constraint:
    """Which values a setting takes; of a list, each member. ``None`` is always allowed where the type allows it.

    Attributes:
        low: smallest number.
        high: largest number.
        exclusive: whether ``low`` itself is already too small.
        choices: names it takes.
        nonempty: a list must not be empty.
        interval: a list is [smallest, largest], or empty.
    """

    low: float = -inf
    high: float = inf
    exclusive: bool = False
    choices: Collection[str] | None = None
    nonempty: bool = False
    interval: bool = False

    def problem(self, name: str, value: object) -> str | None:
        """What is wrong with ``value``, in one line that starts with the setting's name; None where nothing is."""
        members: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        if self.nonempty and not members:
            return f"{name}: the list is empty; name at least one"
        if len(members) > MAX_LENGTH and not all(isinstance(one, str) for one in members):
            return f"{name}: expected a list of at most {MAX_LENGTH}, got {len(members)}"
        if self.interval and members and (len(members) != 2 or members[0] > members[1]):
            return f"{name}: expected [smallest, largest] or [], got {value}"
        for one in members:
            if isinstance(value, list | tuple) and isinstance(one, list | tuple | dict):  # OmegaConf lets them through
                return f"{name}: expected plain values, got {one}"
            if self.choices is not None and one is not None and one not in self.choices:
                return f"{name}: unknown value {one!r}; {nearest_names(str(one), self.choices)}"
            if isinstance(one, int | float) and not isinstance(one, bool) and not self._within(one):
                return f"{name}: expected {self}, got {one}"
        return None

    def _within(self, number: float) -> bool:
        bounded = self.low > -inf or self.high < inf
        return not bounded or (
            isfinite(number) and self.low <= number <= self.high and not (self.exclusive and number == self.low)
        )

    def __str__(self) -> str:
        if self.exclusive:
            return f"more than {self.low:g}" + ("" if self.high == inf else f", at most {self.high:g}")
        return f"{self.low:g} or more" if self.high == inf else f"{self.low:g} to {self.high:g}"


def setting(
    default: Any = None,  # noqa: ANN401 - of the field's own type
    *,
    resume: Resume = "warn",
    free: Collection[str] = (),
    extend: Collection[str] = (),
    **constraint: Any,  # noqa: ANN401 - as Constraint types them
) -> Any:  # noqa: ANN401
    """A dataclass field with its constraint.

    Args:
        default: a list or dict is copied for each instance.
        resume: what a change means when a run is resumed.
        free: keys of a dict that may change without a word.
        extend: keys of a dict that say how long a run is.
        **constraint: arguments of :class:`Constraint`.
    """
    metadata = {"constraint": Constraint(**constraint), "resume": resume, "free": tuple(free), "extend": tuple(extend)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def options(group: object, *without: str) -> dict[str, Any]:
    """The fields of a group that are not ``None``, as keyword arguments.

    Args:
        group: one of the dataclasses above.
        *without: fields to leave out.
    """
    named = {one.name: getattr(group, one.name) for one in fields(group) if one.name not in without}  # type: ignore[arg-type]
    return {name: value for name, value in named.items() if value is not None}


def check(group: Group, prefix: str = "") -> Group:
    """The group itself, once every value is within its constraint.

    Args:
        group: one of the dataclasses above.
        prefix: of the names in an error, for example ``data.``.

    Raises:
        InputError: the first value that is not, with what was expected.
    """
    for one in fields(group):  # type: ignore[arg-type]
        value = getattr(group, one.name)
        if is_dataclass(value):
            check(value, f"{prefix}{one.name}.")
        elif (problem := one.metadata["constraint"].problem(f"{prefix}{one.name}", value)) is not None:
            raise InputError(problem)
    return group
