"""Networks, by name. Each takes ``(xyz, rgb)`` and gives an embedding; ``width`` is the embedding's."""

import inspect

from torch import nn

from ogreid.errors import InputError, nearest_names
from ogreid.registry import MODELS, resolve

__all__ = ["MODELS", "build_model"]


def build_model(name: str, **overrides: object) -> nn.Module:
    """A network by its name, with fresh weights from torch's generator.

    Networks on points read clouds; those with ``inputs = "crop"`` read every pixel of a crop, row by row.

    Args:
        name: a key of :data:`ogreid.registry.MODELS`.
        **overrides: arguments of that network, as plain data (see its class).

    Returns:
        A module with ``width`` (int), called as ``network(xyz, rgb)`` with (B, N, 3) float32 each, colors minus 0.5;
        gives (B, width).

    Raises:
        InputError: an unknown name or argument, with the nearest ones; a value that does not fit.
    """
    make = resolve("model", MODELS, name)
    known = inspect.signature(make).parameters
    for key in overrides:
        if key not in known:
            raise InputError(f"model {name}: has no option {key!r}; {nearest_names(key, known)}")
    network: nn.Module = make(**overrides)
    return network
