"""Synthetic stores, by name: rendered in the layout of a real data set, then packed like one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from ogreid import files
from ogreid.data.datasets.readers import read_benchmark, rows_array, synthetic_domains
from ogreid.data.datasets.sources import CropClouds
from ogreid.data.store.mapped import Store
from ogreid.data.store.writing import pack
from ogreid.errors import InputError, nearest_names
from ogreid.lifting import Mesh

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Synthetic:
    """A synthetic store, as a name like ``plaza-160-s3`` describes it."""

    domain: str  # one of ogreid.synthetic.DOMAINS
    identities: int  # half of them train, half are evaluated
    seed: int = 0  # of everything
    estimator: str = "mild"  # how wrong the bodies are, a key of ogreid.synthetic.estimates.NOISE

    @property
    def name(self) -> str:
        seed = f"-s{self.seed}" if self.seed else ""
        return f"{self.domain}-{self.identities}{seed}" + ("" if self.estimator == "mild" else f"-{self.estimator}")

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of ``make_domain``."""
        estimator = {} if self.estimator == "mild" else {"estimator": self.estimator}
        return {"domain": self.domain, "identities": self.identities, "seed": self.seed} | estimator

    @property
    def creation(self) -> dict[str, Any]:
        from ogreid.synthetic import APPEARANCE

        return self.settings | {"appearance": APPEARANCE}

    def make_crops(self, data_root: Path, *, workers: int = 1, progress: Progress | None = None) -> Path:
        """The folder of the crops, below ``data_root/synthetic``; rendered where it is missing."""
        crops = data_root / "synthetic" / self.name
        if not crops.is_dir():
            from ogreid.synthetic import make_domain

            with files.lock(crops.with_name(f"{self.name}.lock")):
                if not crops.is_dir():
                    make_domain(root=crops, **self.settings, workers=workers, progress=progress)
        return crops


def parse_synthetic(name: str) -> Synthetic | None:
    """What ``<domain>-<identities>[-s<seed>][-noisy|-exact]`` describes; None where the name is no such name.

    Raises:
        InputError: fewer than 4 identities (nothing could be learned or evaluated), or too many.
    """
    match = re.fullmatch(r"([a-z]+)-(\d+)(?:-s(\d+))?(?:-(noisy|exact))?", name)
    if match is None or match[1] not in synthetic_domains():
        return None
    identities = int(match[2])
    if not 4 <= identities <= 100_000:  # that many are over a million crops already
        raise InputError(f"{name}: expected 4 to 100000 identities, half of them train; got {identities}")
    return Synthetic(match[1], identities, int(match[3] or 0), match[4] or "mild")


def ensure_synthetic(name: str, data_root: str | Path, *, workers: int = 1, progress: Progress | None = None) -> Path:
    """The folder of a synthetic store, ``<domain>-<identities>[-s<seed>][-noisy|-exact]``, made where it is missing.

    Stores lie in ``data_root``, the crops in ``synthetic/`` below it. The number of ``workers`` changes no byte;
    ``progress`` is called with (what is made, done, total).

    Raises:
        InputError: no such name; a store that another version of the synthetic data made.
    """
    synthetic = parse_synthetic(name)
    if synthetic is None:
        near = nearest_names(name.split("-")[0], synthetic_domains())
        raise InputError(f"no synthetic domain {name!r}; {near}, as in plaza-160")
    root, target = Path(data_root), Path(data_root) / synthetic.name
    if not _is_packed(synthetic, target):
        with files.lock(root / "synthetic" / f"{synthetic.name}.store.lock"):
            if not _is_packed(synthetic, target):
                crops = synthetic.make_crops(root, workers=workers, progress=progress)
                rows = rows_array(read_benchmark(synthetic.domain, crops))
                source = CropClouds(crops, EstimatedBodies(crops))
                noted: dict[str, Any] = {"name": synthetic.name, "benchmark": synthetic.domain}
                bar = progress and partial(progress, f"{synthetic.name}: clouds")
                pack(rows, source, target, **noted, creation=synthetic.creation, workers=workers, progress=bar)
    return target


def _is_packed(synthetic: Synthetic, target: Path) -> bool:
    if not (target / "manifest.json").is_file():
        return False
    if Store.open(target).manifest.creation != synthetic.creation:
        crops = target.parent / "synthetic" / synthetic.name
        again = f"delete it and {crops} to have it made again"
        raise InputError(f"{target}: made by another version of the synthetic data; {again}")
    return True


@dataclass(frozen=True)
class EstimatedBodies:
    """The mesh source of the domain in the folder ``root``: the bodies that an estimator gives for its crops."""

    root: Path

    def __call__(self, source: str) -> Mesh:
        bodies = _read_estimates(self.root)
        if source not in bodies:
            raise InputError(f"no estimated body for {source}; delete {self.root} and make the domain again")
        return bodies[source]


@cache
def _read_estimates(root: Path) -> Mapping[str, Mesh]:
    from ogreid.synthetic import read_estimates

    return read_estimates(root)
