"""Packed stores by name, and the command for one that is missing. Loads without torch."""

from pathlib import Path

from ogreid.config import Data, data_root
from ogreid.data.datasets.readers import names_like, synthetic_domains
from ogreid.data.datasets.synthetic_stores import parse_synthetic
from ogreid.errors import InputError
from ogreid.registry import DATASETS


def check_stores(data: Data) -> None:
    """Refuse the first store of an experiment that is neither packed nor synthetic, with the command that packs it."""
    for name in dict.fromkeys((*data.train, *data.test, *data.transfer)):
        if parse_synthetic(name) is None:
            store_path(name, data_root(data.root))


def check_transfer(config: Data, root: Path) -> None:
    """Refuse a transfer set that is also trained on."""
    trained_on = {(root / name).resolve() for name in config.train}
    for name in config.transfer:
        if (root / name).resolve() in trained_on:
            raise InputError(f"data.transfer: {name} is trained on, too, so it is no transfer; name it in data.test")


def store_path(name: str, root: Path) -> Path:
    """The folder of a packed store, ``root/name`` or the path ``name``; an InputError has the command that makes it."""
    for path in (root / name, Path(name)):
        if (path / "manifest.json").is_file():
            return path
    if name in synthetic_domains():
        raise InputError(f"{name} is a synthetic domain; append the number of identities, like {name}-160")
    if name in DATASETS or parse_synthetic(name) is not None:
        folder = " --root DIR" if name in DATASETS else ""
        raise InputError(f"no packed {name} in {root}; make it: python -m ogreid.pack {name}{folder}")
    packed = [path.parent.name for path in root.glob("*/manifest.json")]
    raise InputError(f"no store {name} in {root}; {names_like(name, packed)}")
