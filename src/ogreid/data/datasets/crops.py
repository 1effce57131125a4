"""Crops outside any benchmark: image files, lifted when they are read."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.datasets.sources import CropClouds, MeshSource, upright
from ogreid.data.datasets.synthetic_stores import EstimatedBodies
from ogreid.errors import InputError, MissingFileError
from ogreid.lifting import Mode
from ogreid.synthetic import estimates

if TYPE_CHECKING:
    from ogreid.data.dataset import CropDataset

__all__ = ["SUFFIXES", "crop_dataset", "find_images"]

log = logging.getLogger(__name__)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Image files, and all images inside folders, in alphabetical order; what else lies there is counted and logged.

    Raises:
        InputError: a path that does not exist; a folder without images.
    """
    images: list[Path] = []
    for path in paths:
        if path.is_file():
            images.append(path)
            continue
        if not path.is_dir():
            raise MissingFileError(f"{path}: no such image or folder; give crops of one person each")
        inside = sorted(one for one in path.rglob("*") if one.is_file())
        chosen = [one for one in inside if one.suffix.lower() in SUFFIXES]
        others = Counter(one.suffix or one.name for one in inside if one.suffix.lower() not in SUFFIXES)
        if others:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
            log.info("%s: %d images; not read: %s", path, len(chosen), kinds)
        if not chosen:
            raise InputError(f"{path}: expected images ({', '.join(SUFFIXES)}), got a folder without any")
        images += chosen
    return images


def crop_dataset(
    images: Sequence[Path],
    *,
    meshes: Path | None = None,
    faces: Path | None = None,
    mode: Mode = "raster",
    background: bool = True,
) -> "CropDataset":
    """A data set that lifts crops when they are read.

    Args:
        images: files of crops of one person each.
        meshes: their bodies, as for ``ogreid.pack``, or the folder of a synthetic domain that holds the crops; without
            it they are lifted with the upright body.
        faces: the body model's, where the bodies come without.
        mode: see :func:`ogreid.lifting.lift`.
        background: whether background pixels are points.

    Raises:
        InputError: bodies that are not there, or not of these crops.
    """
    from ogreid.data.dataset import CropDataset

    return CropDataset([_lifting(image, meshes, faces, mode, background) for image in images])


def _lifting(
    image: Path, meshes: Path | None, faces: Path | None, mode: Mode, background: bool
) -> tuple[CropClouds, str]:
    """What makes the cloud of a crop, and the crop's name there."""
    root, source, bodies = image.parent, image.name, cast(MeshSource, upright)
    if meshes is not None and (meshes / estimates.FILE).is_file():
        if not image.resolve().is_relative_to(meshes.resolve()):
            raise InputError(f"{image}: expected a crop inside {meshes}, whose bodies are of its own crops")
        root, source = meshes, image.resolve().relative_to(meshes.resolve()).as_posix()
        bodies = EstimatedBodies(meshes)
    elif meshes is not None:
        bodies = estimates_in(meshes, root, faces)
    return CropClouds(root, bodies, mode, background), source
