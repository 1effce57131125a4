"""Synthetic stores: named, made in a benchmark's own layout, then packed like a real one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ogreid import files
from ogreid.data.store.packing import pack
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import CropClouds
from ogreid.data.store.reading import Store
from ogreid.errors import InputError, nearest_names
from ogreid.lifting import Mesh

__all__ = ["EstimatedBodies", "Synthetic", "ensure_synthetic", "make_crops", "parse_synthetic"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Synthetic:
    """What a name like ``plaza-160-s3`` asks for.

    Attributes:
        domain: one of ``ogreid.synthetic.DOMAINS``.
        identities: people; half of them train, half are judged.
        seed: of everything.
    """

    domain: str
    identities: int
    seed: int = 0

    @property
    def name(self) -> str:
        """The store's name."""
        return f"{self.domain}-{self.identities}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def creation(self) -> dict[str, str | int]:
        """What a manifest notes of it."""
        from ogreid.synthetic import APPEARANCE

        return {"domain": self.domain, "identities": self.identities, "seed": self.seed, "appearance": APPEARANCE}


def parse_synthetic(name: str) -> Synthetic | None:
    """What ``<domain>-<identities>[-s<seed>]`` asks for; None where the name is no such name.

    Raises:
        InputError: a domain's name with fewer than 4 identities (nothing could be learnt or judged), or too many.
    """
    from ogreid.synthetic import DOMAINS

    found = re.fullmatch(r"([a-z]+)-(\d+)(?:-s(\d+))?", name)
    if found is None or found[1] not in DOMAINS:
        return None
    asked = Synthetic(found[1], int(found[2]), int(found[3] or 0))
    if not 4 <= asked.identities <= 100_000:  # that many are over a million crops already
        raise InputError(f"{name}: {asked.identities} identities; expected 4 to 100000, half of them train")
    return asked


def ensure_synthetic(name: str, data_root: str | Path, *, workers: int = 1, progress: Progress | None = None) -> Path:
    """The folder of a synthetic store, made first where it is missing.

    Args:
        name: ``<domain>-<identities>[-s<seed>]``.
        data_root: stores lie in it, the crops in ``synthetic/`` below it.
        workers: processes; they do not change a byte.
        progress: told (what is made, done, total).

    Raises:
        InputError: no such name; a store that another version of the synthetic people made.
    """
    asked = parse_synthetic(name)
    if asked is None:
        from ogreid.synthetic import DOMAINS

        raise InputError(f"no synthetic domain {name!r}; {nearest_names(name.split('-')[0], DOMAINS)}, as in plaza-160")
    root, target = Path(data_root), Path(data_root) / asked.name
    if not _is_made(asked, target):
        with files.lock(root / "synthetic" / f"{asked.name}.store.lock"):
            if not _is_made(asked, target):
                _make(asked, target, make_crops(asked, root, workers=workers, progress=progress), workers, progress)
    return target


def _is_made(asked: Synthetic, target: Path) -> bool:
    if not (target / "manifest.json").is_file():
        return False
    if Store.open(target).manifest.creation != asked.creation:
        crops = target.parent / "synthetic" / asked.name
        raise InputError(
            f"{target}: made by another version of the synthetic people; delete it and {crops} to have it made again"
        )
    return True


def _make(asked: Synthetic, target: Path, crops: Path, workers: int, progress: Progress | None) -> None:
    pack(
        rows_array(read_benchmark(asked.domain, crops)),
        CropClouds(crops, EstimatedBodies(crops)),
        target,
        name=asked.name,
        benchmark=asked.domain,
        creation=asked.creation,
        workers=workers,
        progress=None if progress is None else partial(progress, f"{asked.name}: clouds"),
    )


def make_crops(asked: Synthetic, data_root: Path, *, workers: int = 1, progress: Progress | None = None) -> Path:
    """The folder of a domain's crops in its benchmark's own layout, made first where it is missing.

    Args:
        asked: what.
        data_root: the crops lie in ``synthetic/`` below it.
        workers: processes.
        progress: told (what is made, done, total).
    """
    from ogreid.synthetic import make_domain

    crops = data_root / "synthetic" / asked.name
    if crops.is_dir():
        return crops
    with files.lock(crops.with_name(f"{asked.name}.lock")):
        if not crops.is_dir():
            make_domain(
                asked.domain,
                crops,
                identities=asked.identities,
                seed=asked.seed,
                workers=workers,
                progress=None if progress is None else partial(progress, f"{asked.name}: pictures"),
            )
    return crops


@dataclass(frozen=True)
class EstimatedBodies:
    """The mesh source of a synthetic domain: the bodies that an estimator would have given for its crops.

    Attributes:
        root: the domain's folder.
    """

    root: Path

    def __call__(self, source: str) -> Mesh:
        """The body of one crop."""
        bodies = _read_estimates(self.root)
        if source not in bodies:
            raise InputError(f"no estimated body for {source}; delete {self.root} and make the domain again")
        return bodies[source]


@cache
def _read_estimates(root: Path) -> Mapping[str, Mesh]:
    from ogreid.synthetic import read_estimates

    return read_estimates(root)
