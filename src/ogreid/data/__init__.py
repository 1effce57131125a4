"""Data sets on disk, packed stores and the batches drawn from them; nothing of it loads before it is used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store

__all__ = ["Store"]


def __getattr__(name: str) -> object:
    if name == "Store":
        return import_module("ogreid.data.store.mapped").Store
    raise AttributeError(f"module 'ogreid.data' has no attribute {name!r}")
