"""Which packed stores there are, and what to type for one that is missing. Answers before torch loads."""

from pathlib import Path

from ogreid.config import Data
from ogreid.data.datasets.readers import BENCHMARKS
from ogreid.data.datasets.synthetic_stores import parse_synthetic
from ogreid.errors import InputError, nearest_names
from ogreid.synthetic import DOMAINS

__all__ = ["check_stores", "store_path"]


def check_stores(data: Data) -> None:
    """Every store that an experiment names is packed, or is synthetic and can be made.

    Raises:
        InputError: the first one that is neither, with the command that packs it.
    """
    for name in dict.fromkeys((*data.train, *data.test, *data.transfer)):
        if parse_synthetic(name) is None:
            store_path(name, Path(data.root))


def store_path(name: str, root: Path) -> Path:
    """The folder of a packed store: ``root/name``, or ``name`` itself where it is the path of one.

    Raises:
        InputError: nothing there; one line says where it was looked for and how to make it.
    """
    for path in (root / name, Path(name)):
        if (path / "manifest.json").is_file():
            return path
    if parse_synthetic(name) is not None:
        raise InputError(f"no packed {name} in {root}; make it: python -m ogreid.pack {name}")
    if name in DOMAINS:
        raise InputError(f"{name} is a synthetic domain; say how many people, like {name}-160")
    if name in BENCHMARKS:
        raise InputError(f"no packed {name} in {root / name}; make it: python -m ogreid.pack {name} --root DIR")
    near = nearest_names(name, [*BENCHMARKS, *_packed(root), *(f"{domain}-160" for domain in DOMAINS)])
    raise InputError(f"no store {name} in {root}; {near}")


def _packed(root: Path) -> list[str]:
    return [path.parent.name for path in root.glob("*/manifest.json")]
