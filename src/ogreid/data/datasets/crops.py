"""Crops outside any benchmark: image files, lifted when they are read."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.datasets.fitted_bodies import FittedBodies, counts_in_words, fit_crops, landmark_source
from ogreid.data.datasets.layouts import IMAGES
from ogreid.data.datasets.sources import CropClouds, MeshSource, upright
from ogreid.data.datasets.synthetic_stores import EstimatedBodies
from ogreid.errors import InputError, MissingFileError
from ogreid.lifting.fitting import OUTCOMES
from ogreid.synthetic import estimates

if TYPE_CHECKING:
    from ogreid.data.dataset import CropDataset
    from ogreid.data.store.mapped import Store

log = logging.getLogger(__name__)


def find_images(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Image files, and all images inside folders, in alphabetical order; what else lies there is counted and logged.

    Returns:
        For each image the folder that was named (of an image, its own), and the path from there.

    Raises:
        InputError: a path that does not exist; a folder without images.
    """
    images: list[tuple[Path, str]] = []
    for path in paths:
        if not path.exists():
            raise MissingFileError(f"{path}: no such image or folder; give crops of one person each")
        if not path.is_dir():
            images.append((path.parent, path.name))
            continue
        inside = sorted(filter(Path.is_file, path.rglob("*")))
        chosen = list(filter(is_image, inside))
        if others := Counter(one.suffix or one.name for one in inside if not is_image(one)):
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
            log.info("%s: %d images; not read: %s", path, len(chosen), kinds)
        if not chosen:
            raise InputError(f"{path}: expected images ({', '.join(IMAGES)}), got a folder without any")
        images += [(path, one.relative_to(path).as_posix()) for one in chosen]
    return images


def is_image(path: Path) -> bool:
    """Whether a name is that of an image; macOS leaves ``._`` files beside them, which are none."""
    return path.suffix.lower() in IMAGES and not path.name.startswith("._")


def crop_dataset(
    images: Sequence[tuple[Path, str]],
    *,
    meshes: Path | None = None,
    faces: Path | None = None,
    like: "Store | None" = None,
    fitted: Mapping[Path, MeshSource] | None = None,
) -> "CropDataset":
    """A data set that lifts crops when they are read.

    Args:
        images: folder and path inside of crops of one person each; bodies lie in the same sub-folders. The batches'
            ``source`` is the whole path.
        meshes: their bodies, as for ``ogreid.pack``, or the folder of a synthetic domain that holds the crops; without
            it they are lifted with the upright body.
        faces: the body model's, where the bodies come without.
        fitted: bodies of the crops of each folder instead, see :func:`fit_images`.
        like: a store, whose clouds were lifted in the same way; raster mode with background where it is None.

    Raises:
        InputError: bodies that are not there, or not of these crops.
    """
    from ogreid.data.dataset import CropDataset

    bodies = cache(partial(_bodies, meshes, faces)) if fitted is None else fitted.__getitem__
    lifting: dict[str, Any] = {}
    if like is not None:
        lifting = {"mode": like.manifest.mode, "background": like.manifest.background}
    crops = []
    for root, source in images:
        if meshes is not None and (meshes / estimates.FILE).is_file():
            image = (root / source).resolve()
            if not image.is_relative_to(meshes.resolve()):
                raise InputError(f"{root / source}: expected a crop inside {meshes}, whose bodies are of its own crops")
            root, source = meshes, image.relative_to(meshes.resolve()).as_posix()
        crops.append((CropClouds(root, bodies(root), **lifting), source))
    return CropDataset(crops, [str(folder / name) for folder, name in images])


def fit_images(
    images: Sequence[tuple[Path, str]],
    bodies: str | None,
    landmarks: Path | None,
    network: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Path, FittedBodies] | None:
    """The bodies of images by their folder, and a line in the log that says how many were fitted.

    Args:
        images: as for :func:`crop_dataset`.
        bodies: ``estimate``, or the path of a ``bodies.npz``; None fits nothing.
        landmarks: folder of their landmarks; None takes the network's.
        network: file of the landmark network.
        workers: processes.
        progress: called with (crops done, crops) for each folder.

    Raises:
        InputError: see :func:`ogreid.data.datasets.fitted_bodies.fit_crops`.
    """
    if bodies is None:
        return None
    names: dict[Path, list[str]] = {}
    for folder, name in images:
        names.setdefault(folder, []).append(name)
    if bodies == "estimate":
        fit = partial(fit_crops, landmarks=landmark_source(landmarks, network), workers=workers, progress=progress)
        fitted = {folder: fit(own, folder) for folder, own in names.items()}
    else:
        fitted = dict.fromkeys(names, FittedBodies.load(Path(bodies)))
    counts = sum((Counter(fitted[folder].counts(own)) for folder, own in names.items()), Counter[str]())
    log.info("%s", counts_in_words({name: counts[name] for name in OUTCOMES}))
    return fitted


def _bodies(meshes: Path | None, faces: Path | None, root: Path) -> MeshSource:
    if meshes is None:
        return upright
    return EstimatedBodies(meshes) if (meshes / estimates.FILE).is_file() else estimates_in(meshes, root, faces)
