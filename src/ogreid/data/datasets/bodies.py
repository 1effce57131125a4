"""Which estimated body belongs to which crop: a folder of an estimator's files, or one file for all."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ogreid.data.datasets.sources import FORMATS, check_pixels, displayed_size
from ogreid.errors import InputError, MissingFileError, nearest_names
from ogreid.lifting import Mesh, upright_template
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.estimators import archive_people, choose_body, read_faces, read_people
from ogreid.lifting.readers.forms import KEYS, NoBodyError, Person
from ogreid.lifting.readers.mesh_files import Convention

Missing = Literal["error", "upright"]
SURFACES = (".obj", ".ply")
NAMES: list[tuple[re.Pattern[str], Convention | None]] = [
    (re.compile(r"(.+)\.npz"), None),
    (re.compile(r"(.+)\.obj"), None),
    (re.compile(r"(.+)\.ply"), None),
    (re.compile(r"(.+)_\d+\.obj"), "4D-Humans"),  # and TokenHMR: _<person>
    (re.compile(r"(.+)_mesh_\d{3}\.ply"), "SAM 3D Body"),  # _mesh_<person>
    (re.compile(r"(.+?)_(?:_\d_)?0\.\d+\.npz"), None),  # BEV: _<threshold of confidence>
    (re.compile(r"(.+)_multi-?hmr_\w+\.png\.npy", re.IGNORECASE), None),  # Multi-HMR: _<network>
]
"""How estimators name the files of a crop after it (with or without its own suffix), and whose camera that implies."""
MMHUMAN3D = "inference_result.npz"
NUMBERED = re.compile(r"images[/\\]\d+\.png")  # copies of the images in which mmhuman3d found somebody


def estimates_in(
    place: str | Path, crops: Path, faces: str | Path | None = None, missing: Missing = "error"
) -> "EstimatorBodies":
    """The mesh source for what ``--meshes`` names; ``faces`` is a file, else see :class:`EstimatorBodies`.

    Raises:
        InputError: no such folder or file; faces that cannot be read.
    """
    bodies = EstimatorBodies(Path(place), crops, read_faces(faces) if faces else None, missing)
    if missing not in get_args(Missing):
        raise InputError(f"--missing {missing}: {nearest_names(missing, get_args(Missing))}")
    if not bodies.place.exists():
        raise MissingFileError(f"{place}: no such file or folder; --meshes takes a folder, or one file for all")
    return bodies


@dataclass(frozen=True, eq=False)
class EstimatorBodies:
    """An estimator's bodies by crop.

    In a folder, a crop's files bear its name (see :data:`NAMES`), in the same sub-folders as the crops, in a folder
    of the crop's own, or in neither; or ``inference_result.npz`` of mmhuman3d lies where the crops' sub-folder would.
    One archive for all tells by ``image_path`` whose each row is. Among several people
    :func:`ogreid.lifting.readers.estimators.choose_body` chooses.

    """

    place: Path  # a folder with an estimator's files, or one ``.npz`` for all crops
    crops: Path  # folder that the rows' sources are relative to
    faces: np.ndarray | None = None  # (F, 3) of the body model, where the estimator writes vertices only
    missing: Missing = "error"  # crops without a body are refused; ``upright`` lifts them with the upright one

    def __call__(self, source: str) -> Mesh:
        """The body of one crop; an InputError without one unless ``missing`` is ``upright``, and for a broken file."""
        size = crop_size(self.crops / source)
        try:
            return choose_body(self._people(source, size), size, self.faces)
        except NoBodyError:
            if self.missing == "error":
                raise
            return upright_template()

    def lacks_body(self, source: str) -> bool:
        """Whether the estimator has no body of this crop; archives are read for it, surfaces are not."""
        try:
            if not any(path.suffix in SURFACES for path, _ in self._files(Path(source))):
                self._people(source, crop_size(self.crops / source))
        except NoBodyError:
            return True
        return False

    def _people(self, source: str, size: tuple[int, int]) -> list[Person]:
        crop = Path(source)
        people = []
        for path, convention in self._files(crop):
            if path == self.place or path.name == MMHUMAN3D:
                flat = path != self.place or crop.parent == Path()
                people += _people_of_all(path, self.crops / crop, size, flat)
            else:
                people += read_people(path, size, convention)
        return people

    def _files(self, crop: Path) -> list[tuple[Path, Convention | None]]:
        """The files of one crop: all those of the first way of naming that occurs."""
        if self.place.is_file():
            return [(self.place, None)]
        beside = self.place / crop.parent
        for folder in dict.fromkeys((beside, beside / crop.stem, self.place, self.place / crop.stem)):
            names = _names_by_crop(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
            for (pattern, convention), own in product(NAMES, (crop.stem, crop.name)):
                files = [folder / name for name in names.get((pattern, own), ())]
                files = [path for path in files if not self._is_of_another(path, crop)]
                if files:
                    return [(path, convention) for path in files]
        if (beside / MMHUMAN3D).is_file():
            return [(beside / MMHUMAN3D, None)]
        raise NoBodyError(
            f"no body in {self.place}; expected {crop.with_suffix('.npz')} or {crop.stem}.npz (or another name that"
            " estimators give); --missing upright lifts such crops with the upright body"
        )

    def _is_of_another(self, path: Path, crop: Path) -> bool:
        """Whether ``0001_c1_2.obj``, person 2 of ``0001_c1.jpg``, is rather the body of ``0001_c1_2.jpg``."""
        return path.stem != crop.stem and (self.crops / crop).with_name(path.stem + crop.suffix).is_file()


def crop_size(path: Path) -> tuple[int, int]:
    """Height and width of a crop as it is displayed; reads its header only."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            check_pixels(image)
            return displayed_size(image)
    except Exception as error:  # see read_crop
        raise InputError(f"{path}: not a readable image ({error})") from error


@lru_cache(maxsize=16)
def _names_by_crop(folder: Path, _: int) -> dict[tuple[re.Pattern[str], str], list[str]]:
    """The file names of a folder by way of naming and crop; the number changes with the folder."""
    names: dict[tuple[re.Pattern[str], str], list[str]] = defaultdict(list)
    for name, (pattern, _convention) in product(sorted(os.listdir(folder)), NAMES):
        if match := pattern.fullmatch(name):
            names[pattern, match[1]].append(name)
    return names


def _people_of_all(path: Path, crop: Path, size: tuple[int, int], flat: bool) -> list[Person]:
    """Everybody in a crop according to an archive for all crops, or where ``flat``, for all in its folder."""
    contents, rows = _rows_by_crop(path, path.stat().st_mtime_ns, crop.parent if flat else None)
    if crop.name not in rows:
        raise NoBodyError(f"no body of {crop.name} in {path}; it holds {len(rows)} others")
    own = {key: values if key == "faces" else values[rows[crop.name]] for key, values in contents.items()}
    return archive_people(own, path, size)


@lru_cache(maxsize=4)
def _rows_by_crop(path: Path, _: int, folder: Path | None) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """The arrays of an archive, those that have a row for each body and the faces, and the rows of each crop."""
    contents = read_archive(path, KEYS)
    if contents.get("image_path") is None:
        raise InputError(f"{path}: no image_path that names each row's crop; give a folder with a file per crop")
    names = [str(name) for name in np.ravel(contents["image_path"])]
    if all(map(NUMBERED.fullmatch, names)):
        frames = np.ravel(np.asarray(contents.get("frame_id")))
        if frames.dtype.kind not in "iu" or len(frames) != len(names):
            raise InputError(f"{path}: numbers its images without a frame_id for each; write it again with mmhuman3d")
        names = _frame_names(path, frames, folder)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[Path(name).name].append(row)
    arrays = {key: np.asarray(values) for key, values in contents.items() if values is not None}
    return {key: a for key, a in arrays.items() if key == "faces" or a.shape[:1] == (len(names),)}, rows


def _frame_names(path: Path, frames: np.ndarray, folder: Path | None) -> list[str]:
    """The images that mmhuman3d counted: those of its input folder in the order of their names."""
    if folder is None:
        raise InputError(
            f"{path}: counts the images of one folder, and these crops lie in several; run mmhuman3d on each folder"
            f" and give --meshes a folder with SUB-FOLDER/{MMHUMAN3D}"
        )
    images = sorted(name for name in os.listdir(folder) if name.lower().endswith((".png", ".jpg")))
    if len(frames) and not 0 <= frames.min() <= frames.max() < len(images):
        raise InputError(
            f"{path}: counts image {frames.max()}, and {folder} has {len(images)}; give the folder that mmhuman3d saw"
        )
    return [images[frame] for frame in frames]
