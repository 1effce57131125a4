"""Four places that mirror the four benchmarks, and the maker of their trees of crops."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ogreid.errors import InputError, nearest_names
from ogreid.synthetic.body import load_body
from ogreid.synthetic.estimates import Estimate, estimate, write_estimates
from ogreid.synthetic.clothing import Dressed, dress
from ogreid.synthetic.layouts import LAYOUTS, Crop
from ogreid.synthetic.crops import Sighting, see, see_nobody
from ogreid.synthetic.cameras import Place, Station, build_station, draw_materials
from ogreid.synthetic.attributes import STYLES, draw_wardrobe

__all__ = ["APPEARANCE", "DOMAINS", "Domain", "domain_of", "make_domain"]

APPEARANCE = 1
"""Counted up whenever a seed gives other pictures than before, so that numbers of two versions are not mixed."""


@dataclass(frozen=True)
class Domain:
    """A place with its cameras and its people.

    Attributes:
        name: of the domain.
        layout: whose folders and file names it has, a key of ``LAYOUTS``.
        cameras: how many.
        presence: probability that a person is seen by a camera; never fewer than two see them.
        crops: least and greatest number of crops of a person by a camera.
        style: how its people dress, a key of ``STYLES``.
        place: what its cameras have in common.
        strays: distractors (identity 0) and as many junk crops (-1) for each test identity, in the gallery.
        code: tells the random streams of the domains apart.
    """

    name: str
    layout: str
    cameras: int
    presence: float
    crops: tuple[int, int]
    style: str
    place: Place
    strays: int
    code: int


_PLAZA = Place(
    indoor=0, plain=False, occluded=0.08, crowded=0.12, cut=0.1, varied=0.15, height=(4.5, 7), backdrop=(2, 3)
)
_WINTER = Place(
    indoor=0, plain=False, occluded=0.25, crowded=0.2, cut=0.1, varied=0.25, height=(3, 5), backdrop=(1.5, 2.2)
)
_TRANSIT = Place(indoor=0.4, plain=False, occluded=0.14, crowded=0.3, cut=0.14, varied=0.35)
_PLATFORM = Place(indoor=1, plain=True, occluded=0.05, crowded=0.06, cut=0.2, varied=0.3)

DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("plaza", "market", 6, presence=0.75, crops=(2, 5), style="summer", place=_PLAZA, strays=2, code=11),
        Domain("winter", "duke", 8, presence=0.45, crops=(3, 9), style="cold", place=_WINTER, strays=0, code=12),
        Domain("transit", "msmt", 15, presence=0.38, crops=(3, 8), style="commuter", place=_TRANSIT, strays=0, code=13),
        Domain("platform", "cuhk", 2, presence=1.0, crops=(4, 6), style="campus", place=_PLATFORM, strays=0, code=14),
    )
}

# What a random stream is for; never renumber, trees would change.
_CAMERA, _PERSON, _PLAN, _SIGHT, _GUESS, _STRANGER, _MATERIALS = range(7)


def domain_of(name: str) -> Domain:
    """The domain of that name.

    Raises:
        InputError: there is none.
    """
    if name not in DOMAINS:
        raise InputError(f"{name}: no such domain of synthetic people; {nearest_names(name, DOMAINS)}")
    return DOMAINS[name]


def _stream(seed: int, *path: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


@lru_cache(maxsize=64)
def station(domain: Domain, seed: int, camera: int) -> Station:
    """One camera of a domain, counted from 1."""
    materials = draw_materials(domain.place, _stream(seed, domain.code, _MATERIALS), domain.cameras)
    return build_station(domain.place, materials[camera - 1], _stream(seed, domain.code, _CAMERA, camera))


def person(domain: Domain, seed: int, number: int, *, stranger: bool = False) -> Dressed:
    """Somebody of a domain; strangers pass by and have no identity."""
    kind = _STRANGER if stranger else _PERSON
    return dress(draw_wardrobe(load_body(), STYLES[domain.style], _stream(seed, domain.code, kind, number)))


def sight(domain: Domain, seed: int, camera: int, dressed: Dressed, *stream: int) -> Sighting:
    """One crop of somebody by a camera, counted from 1; ``stream`` numbers the sighting."""
    rng = _stream(seed, domain.code, _SIGHT, *stream)
    passer = None
    if rng.uniform() < domain.place.crowded:
        passer = person(domain, seed, int(rng.integers(2**31)), stranger=True)
    return see(station(domain, seed, camera), dressed, rng, other=passer)


@dataclass(frozen=True)
class _Task:
    """All crops of one person, or one stray.

    Attributes:
        number: of the person, or of the stray.
        crops: what to make.
        stray: not one of the identities.
    """

    number: int
    crops: tuple[Crop, ...]
    stray: bool = False


def _plan(domain: Domain, identities: int, seed: int) -> list[_Task]:
    """What to make: the first half of the identities trains, the rest is judged."""
    layout = LAYOUTS[domain.layout]
    training = identities // 2
    tasks = []
    for number in range(identities):
        rng = _stream(seed, domain.code, _PLAN, number)
        train = number < training
        identity = layout.first_identity + (number - training if layout.test_restarts and not train else number)
        tasks.append(_Task(number, tuple(_crops_of(domain, identity, rng, train=train))))
    count = domain.strays * (identities - training)
    for number in range(2 * count):
        camera = 1 + int(_stream(seed, domain.code, _PLAN, identities + number).integers(domain.cameras))
        crop = Crop("gallery", -(number // count), camera, number % count)
        tasks.append(_Task(number, (crop,), stray=True))
    return tasks


def _crops_of(domain: Domain, identity: int, rng: np.random.Generator, *, train: bool) -> Iterator[Crop]:
    """The crops of one person; in judging, the first of each camera is a query."""
    seen = rng.uniform(size=domain.cameras) < domain.presence
    seen[rng.permutation(domain.cameras)[:2]] = True
    holds_back, running = LAYOUTS[domain.layout].holds_back, 0
    for camera in np.flatnonzero(seen):
        for number in range(int(rng.integers(domain.crops[0], domain.crops[1] + 1))):
            split = "train" if train else "query" if number == 0 else "gallery"
            if train and holds_back and running % holds_back == holds_back - 1:
                split = "val"
            yield Crop(split, identity, int(camera) + 1, running)
            running += 1


def _make(domain: Domain, seed: int, root: Path, task: _Task) -> list[tuple[Crop, str, Estimate]]:
    """Draw, estimate and write the crops of one task."""
    layout, made = LAYOUTS[domain.layout], []
    dressed = person(domain, seed, task.number, stranger=task.stray)
    for crop in task.crops:
        stream = (int(task.stray), task.number, crop.number)
        sighting = sight(domain, seed, crop.camera, dressed, *stream)
        rng = _stream(seed, domain.code, _GUESS, *stream)
        camera, picture = station(domain, seed, crop.camera), sighting.crop
        if crop.identity == 0 and rng.uniform() < 0.6:
            picture = see_nobody(camera, rng)  # an estimator sees a body all the same
        path = layout.path(crop)
        _write(root / path, picture, camera.response.quality)
        made.append((crop, path, estimate(sighting, dressed.wardrobe.shape, rng)))
    return made


def _write(path: Path, picture: NDArray[np.uint8], quality: int) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    # Each format passes over the other's option.
    Image.fromarray(picture).save(path, quality=quality, compress_level=1)


def make_domain(
    domain: str,
    root: str | Path,
    *,
    identities: int,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make a tree of crops in a benchmark's own layout, with ``bodies.npz`` beside them.

    The tree depends on the domain, the number of identities and the seed only, not on the workers. It is written
    beside its place and renamed, so that it is there whole or not at all.

    Args:
        domain: a key of ``DOMAINS``.
        root: the folder to make; it stands for ``Market-1501-v15.09.15``, ``DukeMTMC-reID``, ``MSMT17_V1`` or
            ``cuhk03-np``.
        identities: how many people; the first half trains, the rest is query and gallery.
        seed: another seed is another world: other people, other cameras.
        workers: processes; 1 makes everything in this one.
        progress: told how many crops of how many are done.

    Raises:
        InputError: no such domain; fewer than four identities; the folder is there already.
    """
    chosen, root = domain_of(domain), Path(root)
    if identities < 4:
        raise InputError(f"{root}: {identities} identities asked, at least 4 are needed (half train, half are judged)")
    if root.exists():
        raise InputError(f"{root}: already there; remove it to make it again, or choose another folder")
    partial_root = root.with_name(root.name + ".part")
    shutil.rmtree(partial_root, ignore_errors=True)
    partial_root.mkdir(parents=True)
    try:
        _fill(chosen, partial_root, _plan(chosen, identities, seed), seed, workers, progress)
        partial_root.rename(root)
    except BaseException:
        shutil.rmtree(partial_root, ignore_errors=True)
        raise


def _fill(
    domain: Domain,
    root: Path,
    tasks: Sequence[_Task],
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    total, made = sum(len(task.crops) for task in tasks), []
    for batch in _results(domain, root, tasks, seed, workers):
        made += batch
        if progress is not None:
            progress(len(made), total)
    made.sort(key=lambda entry: entry[1])
    assert len({path for _, path, _ in made}) == total, "every crop has a name of its own"
    for name, text in LAYOUTS[domain.layout].lists([(crop, path) for crop, path, _ in made]).items():
        (root / name).write_text(text, encoding="utf-8")
    write_estimates(root, [(path, body) for _, path, body in made])


def _results(
    domain: Domain, root: Path, tasks: Sequence[_Task], seed: int, workers: int
) -> Iterator[list[tuple[Crop, str, Estimate]]]:
    """The results of the tasks in their order, from this process or from spawned ones (numba and fork do not mix)."""
    make = partial(_make, domain, seed, root)
    if workers <= 1:
        yield from map(make, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_make, repeat(domain), repeat(seed), repeat(root), tasks, chunksize=4)
