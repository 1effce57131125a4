"""Which estimated body belongs to which crop: a folder with a file for each, or one file for all."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ogreid.data.datasets.sources import FORMATS, check_pixels
from ogreid.errors import InputError
from ogreid.lifting import Mesh
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.estimators import Contents, read_body, read_body_file, read_faces

__all__ = ["EstimatorFile", "EstimatorFolder", "estimates_in"]

SUFFIXES = (".npz", ".obj", ".ply")


def estimates_in(place: str | Path, crops: Path, faces: str | Path | None = None) -> "EstimatorFolder | EstimatorFile":
    """The mesh source for what ``--meshes`` names.

    Args:
        place: a folder with a file for each crop, or one ``.npz`` for all.
        crops: folder that the rows' sources are relative to.
        faces: file with the body model's faces, where the estimator writes vertices only.

    Raises:
        InputError: no such folder or file; faces that cannot be read.
    """
    place, model = Path(place), Path(faces) if faces else None
    if model is not None:
        read_faces(model)
    if place.is_dir():
        return EstimatorFolder(place, crops, model)
    if not place.is_file():
        raise InputError(f"{place}: no such file or folder; --meshes takes a folder of bodies or one file for all")
    return EstimatorFile(place, crops, model)


@dataclass(frozen=True)
class EstimatorFolder:
    """A file for each crop, named like the crop (``a.npz`` or ``a.jpg.npz``), in the same sub-folders or in none.

    Attributes:
        folder: of the bodies.
        crops: folder that the rows' sources are relative to.
        faces: see :func:`estimates_in`.
    """

    folder: Path
    crops: Path
    faces: Path | None = None

    def __call__(self, source: str) -> Mesh:
        """The body of one crop."""
        crop = Path(source)
        for folder in (self.folder / crop.parent, self.folder):
            for suffix in SUFFIXES:
                for name in (crop.stem + suffix, crop.name + suffix):
                    if (folder / name).is_file():
                        return read_body(folder / name, crop_size(self.crops / source), _faces(self.faces))
        raise InputError(
            f"no body in {self.folder}; expected {crop.with_suffix('.npz')} or {crop.stem}.npz (or .obj, .ply)"
        )


@dataclass(frozen=True)
class EstimatorFile:
    """One archive for all crops (mmhuman3d's ``inference_result.npz``); ``image_path`` tells whose each row is.

    Attributes:
        path: the archive.
        crops: folder that the rows' sources are relative to.
        faces: see :func:`estimates_in`.
    """

    path: Path
    crops: Path
    faces: Path | None = None

    def __call__(self, source: str) -> Mesh:
        """The body of one crop."""
        contents, rows = _read_all(self.path)
        row = rows.get(Path(source).name)
        if row is None:
            raise InputError(f"no body of {Path(source).name} in {self.path}; it holds {len(rows)} others")
        return read_body_file(contents, self.path, crop_size(self.crops / source), _faces(self.faces), row)


def crop_size(path: Path) -> tuple[int, int]:
    """Height and width of a crop as it lies on disk; reads its header only."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            check_pixels(picture)
            return picture.height, picture.width
    except Exception as error:  # see read_crop
        raise InputError(f"{path}: not a readable picture ({error})") from error


@cache
def _read_all(path: Path) -> tuple[Contents, dict[str, int]]:
    contents = read_archive(path)
    if "image_path" not in contents:
        raise InputError(f"{path}: no image_path that tells whose body each row is; give a folder with a file per crop")
    return contents, {Path(str(name)).name: row for row, name in enumerate(contents["image_path"])}


@cache
def _faces(path: Path | None) -> np.ndarray | None:
    return None if path is None else read_faces(path)
