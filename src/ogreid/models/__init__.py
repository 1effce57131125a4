"""Networks by name: each takes ``(xyz, rgb)`` and gives one embedding per cloud or crop."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, TypeVar, get_args, get_origin

from torch import nn

from ogreid.errors import InputError, nearest_names
from ogreid.registry import MODELS, build

__all__ = ["EXTRA", "MODELS", "Network", "build_model", "describe", "record_options"]

EXTRA = {"foreground": 1, "normal": 3, "body": 3}
"""Arrays that a network may take beside positions and colors, and their numbers of channels."""

Init = TypeVar("Init", bound=Callable[..., None])


class Network(nn.Module):
    """Base of our networks. Their constructors are decorated with :func:`record_options`.

    Attributes:
        inputs: ``points`` (a sampled cloud), ``crop`` (every pixel of a crop, row by row) or None (either).
        extra: arrays of a store that ``forward`` takes beside positions and colors, as keywords: ``foreground``
            (B, N, 1), ``normal`` or ``body`` (B, N, 3).
        crop: rows and columns of the crops that a network with ``inputs = "crop"`` reads.
        width: D, of the embedding.
        options: registry name and constructor arguments, see :func:`describe`.
    """

    inputs: Literal["points", "crop"] | None = "points"
    extra: tuple[str, ...] = ()
    crop: tuple[int, ...]
    width: int
    options: tuple[str, dict[str, Any]] | None


def record_options(init: Init) -> Init:
    """Decorate a network's ``__init__``: its arguments become ``options``, those typed as ``Literal`` are checked.

    Raises:
        InputError: when called with a value that is not one of the ``Literal``, with the nearest ones.
    """
    signature = inspect.signature(init)

    @wraps(init)
    def wrapper(self: Network, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as `init` types them
        _, *arguments = signature.bind(self, *args, **kwargs).arguments.items()  # without self
        for key, value in arguments:
            kind = signature.parameters[key].annotation
            if get_origin(kind) is Literal and value not in get_args(kind):
                near = nearest_names(str(value), get_args(kind))
                raise InputError(f"{type(self).__name__}: {key} = {value!r} is unknown; {near}")
        if type(self).__init__ is wrapper:  # else a subclass has other arguments
            path = f"{type(self).__module__}:{type(self).__qualname__}"
            name = next((name for name, entry in MODELS.items() if entry in (path, type(self))), None)
            self.__dict__["options"] = name and (name, _plain(dict(arguments)))
        init(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


def build_model(name: str, **overrides: object) -> nn.Module:
    """A network by its name, with fresh weights from torch's generator.

    Args:
        name: a key of :data:`ogreid.registry.MODELS`.
        **overrides: arguments of that network, as plain data (see its class).

    Returns:
        A module called as ``network(xyz, rgb)`` with (B, N, 3) float32 each, xyz in meters, colors minus 0.5; gives
        (B, ``width``). Its ``options`` are ``(name, overrides)``.

    Raises:
        InputError: an unknown name or argument, with the nearest ones; a value that does not fit.
    """
    network: nn.Module = build("model", MODELS, name, overrides)
    if isinstance(network, Network) or not hasattr(network, "options"):
        network.__dict__["options"] = (name, _plain(overrides))
    return network


def describe(network: nn.Module) -> tuple[str, dict[str, Any]] | None:
    """What rebuilds a network: ``build_model(name, **options)`` has the same structure.

    Returns:
        Registry name and options as plain data (lists, numbers, text), for networks of our classes and of
        :func:`build_model`; None for any other module.
    """
    match getattr(network, "options", None):
        case (str(name), dict(options)) if name in MODELS:
            return name, options
    return None


def _plain(value: Any) -> Any:  # noqa: ANN401 - any argument
    """Sequences as lists, scalars and arrays of torch and numpy as Python's own."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value
