"""Four domains that mirror the four benchmarks, and the maker of their folders of crops."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from ogreid.config.workers import map_in_processes
from ogreid.errors import InputError, nearest_names
from ogreid.synthetic.attributes import STYLES, draw_attributes
from ogreid.synthetic.body import load_body
from ogreid.synthetic.cameras import Camera, Site, draw_camera, draw_materials
from ogreid.synthetic.clothing import Person, dress
from ogreid.synthetic.detections import Detection, detect, detect_background
from ogreid.synthetic.estimates import NOISE, Estimate, Noise, estimate, write_estimates
from ogreid.synthetic.trees import LAYOUTS, CropLabel

APPEARANCE = 1
"""Counted up whenever a seed gives other images than before, so that numbers of two versions are not mixed."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Domain:
    """A site with its cameras and its people."""

    name: str
    layout: str  # whose folders and file names it has, a key of ``LAYOUTS``
    cameras: int  # how many
    presence: float  # probability that a person is seen by a camera; never fewer than two see them
    crops: tuple[int, int]  # least and greatest number of crops of a person by a camera
    style: str  # how its people dress, a key of ``STYLES``
    site: Site  # what its cameras have in common
    distractors: int  # identity 0, and as many junk crops (-1), for each test identity, in the gallery
    code: int  # tells the random streams of the domains apart


_PLAZA = Site(indoor=0, occluded=0.08, crowded=0.12, cut=0.1, varied=0.15, height=(4.5, 7), backdrop=(2, 3))
_WINTER = Site(indoor=0, occluded=0.25, crowded=0.2, cut=0.1, varied=0.25, height=(3, 5), backdrop=(1.5, 2.2))
_TRANSIT = Site(indoor=0.4, occluded=0.14, crowded=0.3, cut=0.14, varied=0.35)
_PLATFORM = Site(indoor=1, occluded=0.05, crowded=0.06, cut=0.2, varied=0.3, plain=True)

DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("plaza", "market", 6, 0.75, (2, 5), style="summer", site=_PLAZA, distractors=2, code=11),
        Domain("winter", "duke", 8, 0.45, (3, 9), style="cold", site=_WINTER, distractors=0, code=12),
        Domain("transit", "msmt", 15, 0.38, (3, 8), style="commuter", site=_TRANSIT, distractors=0, code=13),
        Domain("platform", "cuhk", 2, 1.0, (4, 6), style="campus", site=_PLATFORM, distractors=0, code=14),
    )
}

# What a random stream is for; never renumber, the data would change.
_CAMERA, _PERSON, _PLAN, _CROP, _ESTIMATE, _STRANGER, _MATERIALS = range(7)


def _stream(seed: int, *path: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


@lru_cache(maxsize=64)
def camera_of(domain: Domain, seed: int, camera: int) -> Camera:
    """One camera of a domain, counted from 1."""
    materials = draw_materials(domain.site, _stream(seed, domain.code, _MATERIALS), domain.cameras)
    return draw_camera(domain.site, materials[camera - 1], _stream(seed, domain.code, _CAMERA, camera))


def person_of(domain: Domain, seed: int, number: int, *, stranger: bool = False) -> Person:
    """A person of a domain; strangers pass by and have no identity."""
    rng = _stream(seed, domain.code, _STRANGER if stranger else _PERSON, number)
    return dress(draw_attributes(load_body(), STYLES[domain.style], rng))


def detection_of(domain: Domain, seed: int, camera: int, person: Person, *stream: int) -> Detection:
    """One crop of a person by a camera, counted from 1; ``stream`` numbers the crop."""
    rng = _stream(seed, domain.code, _CROP, *stream)
    passer_by = None
    if rng.uniform() < domain.site.crowded:
        passer_by = person_of(domain, seed, int(rng.integers(2**31)), stranger=True)
    return detect(camera_of(domain, seed, camera), person, rng, passer_by=passer_by)


@dataclass(frozen=True)
class _Task:
    """All crops of a person, or one distractor or junk crop."""

    number: int  # of the person, or of the distractor
    labels: tuple[CropLabel, ...]
    distractor: bool = False


def _plan(domain: Domain, identities: int, seed: int) -> list[_Task]:
    """What to make: the first half of the identities for training, the rest for testing."""
    layout = LAYOUTS[domain.layout]
    training = identities // 2
    tasks = []
    for number in range(identities):
        rng = _stream(seed, domain.code, _PLAN, number)
        train = number < training
        identity = layout.first_identity + (number - training if layout.test_restarts and not train else number)
        tasks.append(_Task(number, tuple(_draw_labels(domain, identity, rng, train=train))))
    count = domain.distractors * (identities - training)
    for number in range(2 * count):
        camera = 1 + int(_stream(seed, domain.code, _PLAN, identities + number).integers(domain.cameras))
        label = CropLabel("gallery", -(number // count), camera, number % count)
        tasks.append(_Task(number, (label,), distractor=True))
    return tasks


def _draw_labels(domain: Domain, identity: int, rng: np.random.Generator, *, train: bool) -> Iterator[CropLabel]:
    """The crops of one person; for testing, the first of each camera is a query."""
    seen = rng.uniform(size=domain.cameras) < domain.presence
    seen[rng.permutation(domain.cameras)[:2]] = True
    holds_back, running = LAYOUTS[domain.layout].holds_back, 0
    for camera in np.flatnonzero(seen):
        for number in range(int(rng.integers(domain.crops[0], domain.crops[1] + 1))):
            split = "train" if train else "query" if number == 0 else "gallery"
            if train and holds_back and running % holds_back == holds_back - 1:
                split = "val"
            yield CropLabel(split, identity, int(camera) + 1, running)
            running += 1


def _make_crops(
    domain: Domain, seed: int, noise: Noise, root: Path, task: _Task
) -> list[tuple[CropLabel, str, Estimate]]:
    """Draw, estimate and write the crops of one task."""
    person, results = person_of(domain, seed, task.number, stranger=task.distractor), []
    for label in task.labels:
        stream = (int(task.distractor), task.number, label.number)
        detection = detection_of(domain, seed, label.camera, person, *stream)
        rng = _stream(seed, domain.code, _ESTIMATE, *stream)
        camera, image = camera_of(domain, seed, label.camera), detection.crop
        if label.identity == 0 and rng.uniform() < 0.6:
            image = detect_background(camera, rng)  # an estimator sees a body all the same
        path = root / LAYOUTS[domain.layout].path(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Each format passes over the other's option.
        Image.fromarray(image).save(path, quality=camera.effects.quality, compress_level=1)
        results.append(
            (label, path.relative_to(root).as_posix(), estimate(detection, person.attributes.shape, rng, noise))
        )
    return results


def make_domain(
    domain: str,
    root: str | Path,
    *,
    identities: int,
    seed: int = 0,
    estimator: str = "mild",
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Make a folder of crops in a benchmark's own layout, with ``bodies.npz`` beside them.

    The crops depend on the domain, the number of identities and the seed only, the bodies on the estimator too, nothing
    on the workers. All is written beside its place and renamed, so that the folder is there whole or not at all.

    Args:
        domain: a key of ``DOMAINS``.
        root: the folder to make; it stands for ``Market-1501-v15.09.15``, ``DukeMTMC-reID``, ``MSMT17_V1`` or
            ``cuhk03-np``.
        identities: how many people; the first half for training, the rest is query and gallery.
        seed: another seed is another world: other people, other cameras.
        estimator: how wrong the estimated bodies are, a key of ``NOISE``.
        workers: processes; 1 makes everything in this one.
        progress: called with (what is made, crops done, crops in total).

    Raises:
        InputError: no such domain or estimator; fewer than four identities; the folder exists.
    """
    if domain not in DOMAINS:
        raise InputError(f"{domain}: no such synthetic domain; {nearest_names(domain, DOMAINS)}")
    if estimator not in NOISE:
        raise InputError(f"{estimator}: no such simulated estimator; {nearest_names(estimator, NOISE)}")
    root = Path(root)
    if identities < 4:
        raise InputError(f"{root}: expected 4 identities or more (half train, half test), got {identities}")
    if root.exists():
        raise InputError(f"{root}: already there; remove it to make it again, or choose another folder")
    unfinished = root.with_name(root.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        tasks = _plan(DOMAINS[domain], identities, seed)
        make = partial(_make_crops, DOMAINS[domain], seed, NOISE[estimator], unfinished)
        total, crops = sum(len(task.labels) for task in tasks), []
        for batch in map_in_processes(make, tasks, workers):
            crops += batch
            if progress is not None:
                progress(f"{root.name}: crops", len(crops), total)
        _write_lists(DOMAINS[domain], unfinished, crops)
        unfinished.rename(root)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _write_lists(domain: Domain, root: Path, crops: list[tuple[CropLabel, str, Estimate]]) -> None:
    crops.sort(key=lambda crop: crop[1])
    assert len({path for _, path, _ in crops}) == len(crops), "every crop has a name of its own"
    for name, text in LAYOUTS[domain.layout].lists([(label, path) for label, path, _ in crops]).items():
        (root / name).write_text(text, encoding="utf-8")
    write_estimates(root, [(path, body) for _, path, body in crops])
