"""Four domains that mirror the four benchmarks, with their file names and lists, and the maker of their folders."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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

APPEARANCE = 1
"""Counted up whenever a seed gives other images than before, so that numbers of two versions are not mixed."""


@dataclass(frozen=True)
class CropLabel:
    """What a crop is of, before it has a name."""

    split: str  # "train", "val", "query" or "gallery"
    identity: int  # the benchmark's number; -1 junk, 0 distractors in Market-1501
    camera: int  # counted from 1
    number: int  # running number among the identity's crops


_Crop = tuple[CropLabel, str, Estimate]  # with its path and its body
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_TIMES = ("0113noon", "0303morning", "0303noon", "0303afternoon", "0302morning", "0302noon")


def _market(crop: CropLabel) -> str:
    frame = 100 + (max(crop.identity, 0) * 977 + crop.number * 25) % 99_000
    identity = "-1" if crop.identity < 0 else f"{crop.identity:04d}"
    # The box number tells apart the crops of junk and distractors, which share an identity.
    box = crop.number // 3_960
    return f"{_FOLDERS[crop.split]}/{identity}_c{crop.camera}s{1 + crop.number % 3}_{frame:06d}_{box:02d}.jpg"


def _duke(crop: CropLabel) -> str:
    frame = 40_000 + (crop.identity * 977 + crop.number * 60) % 9_000_000
    return f"{_FOLDERS[crop.split]}/{crop.identity:04d}_c{crop.camera}_f{frame:07d}.jpg"


def _msmt(crop: CropLabel) -> str:
    folder = "train" if crop.split in ("train", "val") else "test"
    time = _TIMES[(crop.identity + crop.camera) % len(_TIMES)]
    name = f"{crop.identity:04d}_{crop.number:03d}_{crop.camera:02d}_{time}_{15 + 8 * crop.number:04d}_0.jpg"
    return f"{folder}/{crop.identity:04d}/{name}"


def _msmt_lists(crops: Sequence[tuple[CropLabel, str]]) -> dict[str, str]:
    """The four lists; their paths are relative to ``train`` or ``test``."""
    lines = [(crop.split, f"{path.partition('/')[2]} {crop.identity}\n") for crop, path in crops]
    splits = ("train", "val", "query", "gallery")
    return {f"list_{split}.txt": "".join(line for of, line in lines if of == split) for split in splits}


def _cuhk(crop: CropLabel) -> str:
    return f"detected/{_FOLDERS[crop.split]}/{crop.identity:04d}_c{crop.camera}_{crop.number + 1}.png"


@dataclass(frozen=True)
class Domain:
    """A site with its cameras and its people."""

    path: Callable[[CropLabel], str]  # a crop's path relative to the root, as the benchmark's archive has it
    cameras: int  # how many
    presence: float  # probability that a person is seen by a camera; never fewer than two see them
    crops: tuple[int, int]  # least and greatest number of crops of a person by a camera
    style: str  # how its people dress, a key of ``STYLES``
    site: Site  # what its cameras have in common
    distractors: int  # identity 0, and as many junk crops (-1), for each test identity, in the gallery
    code: int  # tells the random streams of the domains apart
    # List files by name, from the sorted crops with their paths; none where names say everything.
    lists: Callable[[Sequence[tuple[CropLabel, str]]], Mapping[str, str]] = lambda crops: {}
    first_identity: int = 1  # the least number of a training identity
    test_restarts: bool = False  # test identities are counted from the first number again
    holds_back: int = 0  # one of so many training crops is for validation; 0 for none


_PLAZA = Site(indoor=0, occluded=0.08, crowded=0.12, cut=0.1, varied=0.15, height=(4.5, 7), backdrop=(2, 3))
_WINTER = Site(indoor=0, occluded=0.25, crowded=0.2, cut=0.1, varied=0.25, height=(3, 5), backdrop=(1.5, 2.2))
_TRANSIT = Site(indoor=0.4, occluded=0.14, crowded=0.3, cut=0.14, varied=0.35)
_PLATFORM = Site(indoor=1, occluded=0.05, crowded=0.06, cut=0.2, varied=0.3, plain=True)

_msmt_domain = partial(Domain, lists=_msmt_lists, first_identity=0, test_restarts=True, holds_back=14)

DOMAINS = {
    "plaza": Domain(_market, 6, 0.75, (2, 5), style="summer", site=_PLAZA, distractors=2, code=11),
    "winter": Domain(_duke, 8, 0.45, (3, 9), style="cold", site=_WINTER, distractors=0, code=12),
    "transit": _msmt_domain(_msmt, 15, 0.38, (3, 8), style="commuter", site=_TRANSIT, distractors=0, code=13),
    "platform": Domain(_cuhk, 2, 1.0, (4, 6), style="campus", site=_PLATFORM, distractors=0, code=14),
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
    training, tasks = identities // 2, []
    for number in range(identities):
        rng = _stream(seed, domain.code, _PLAN, number)
        train = number < training
        identity = domain.first_identity + (number - training if domain.test_restarts and not train else number)
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
    running = 0
    for camera in np.flatnonzero(seen):
        for number in range(int(rng.integers(domain.crops[0], domain.crops[1] + 1))):
            split = "train" if train else "query" if number == 0 else "gallery"
            if train and domain.holds_back and (running + 1) % domain.holds_back == 0:
                split = "val"
            yield CropLabel(split, identity, int(camera) + 1, running)
            running += 1


def _make_crops(domain: Domain, seed: int, noise: Noise, root: Path, task: _Task) -> list[_Crop]:
    person, results = person_of(domain, seed, task.number, stranger=task.distractor), []
    for label in task.labels:
        stream = (int(task.distractor), task.number, label.number)
        detection = detection_of(domain, seed, label.camera, person, *stream)
        rng = _stream(seed, domain.code, _ESTIMATE, *stream)
        camera, image = camera_of(domain, seed, label.camera), detection.crop
        if label.identity == 0 and rng.uniform() < 0.6:
            image = detect_background(camera, rng)  # an estimator sees a body all the same
        path = root / domain.path(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Each format passes over the other's option.
        Image.fromarray(image).save(path, quality=camera.effects.quality, compress_level=1)
        results.append((label, domain.path(label), estimate(detection, person.attributes.shape, rng, noise)))
    return results


def make_domain(
    domain: str,
    root: str | Path,
    *,
    identities: int,
    seed: int = 0,
    estimator: str = "mild",
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Make a folder of crops in a benchmark's own layout, with ``bodies.npz`` beside them, whole or not at all.

    The crops depend on the domain, the number of identities and the seed only, the bodies on the estimator too, nothing
    on the workers.

    Args:
        domain: a key of ``DOMAINS``.
        root: the folder to make; it stands for ``Market-1501-v15.09.15``, ``MSMT17_V1`` or the like.
        identities: 4 or more; the first half for training, the rest is query and gallery.
        seed: another seed is another world: other people, other cameras.
        estimator: how wrong the estimated bodies are, a key of ``NOISE``.
        workers: processes.
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
        crops.sort(key=lambda crop: crop[1])
        assert len({path for _, path, _ in crops}) == len(crops), "every crop has a name of its own"
        for name, text in DOMAINS[domain].lists([(label, path) for label, path, _ in crops]).items():
            (unfinished / name).write_text(text, encoding="utf-8")
        write_estimates(unfinished, [(path, body) for _, path, body in crops])
        unfinished.rename(root)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
