"""CUHK03 as it was released: all pictures in one MATLAB file, the new protocol's split in another.

``cuhk-03.mat`` is HDF5 (MATLAB 7.3) and needs ``h5py``, which nothing else here does: ``pip install "ogreid[cuhk]"``.
Its ``detected`` and ``labeled`` hold five pairs of cameras, each a table of persons by ten pictures, the first five of
which are from the pair's first camera. ``cuhk03_new_protocol_config_<kind>.mat`` names pictures as
``<pair>_<person>_<camera>_<number>.png`` and gives each its identity and split (Zhong et al., CVPR 2017).
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ogreid.errors import InputError

__all__ = ["holds_mat", "unpack_mat"]

PICTURES = "cuhk-03.mat"
SPLITS = {"train_idx": "bounding_box_train", "query_idx": "query", "gallery_idx": "bounding_box_test"}


def holds_mat(root: Path) -> bool:
    """Whether a folder, or ``cuhk03_release`` in it, holds the released MATLAB file."""
    return _find(root, PICTURES).is_file()


def unpack_mat(root: Path, kind: str, target: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the pictures of the new protocol as ``PPPP_cC_N.png`` in one folder per split.

    Args:
        root: holds ``cuhk-03.mat`` and ``cuhk03_new_protocol_config_<kind>.mat``, here or in ``cuhk03_release``.
        kind: ``detected`` or ``labeled``.
        target: folder to make; one that is there is taken as whole.
        progress: told (pictures done, pictures).

    Raises:
        InputError: ``h5py`` or the protocol's file is missing; a file is not what it should be.
    """
    if target.is_dir():
        return target
    pictures = _find(root, PICTURES)
    wanted = _protocol(_find(root, f"cuhk03_new_protocol_config_{kind}.mat"))
    making = target.with_name(f"{target.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    for folder in SPLITS.values():
        (making / folder).mkdir(parents=True)
    try:
        with _open(pictures) as released:
            for done, (name, places) in enumerate(sorted(wanted.items()), start=1):
                picture = Image.fromarray(_picture(released, kind, name))
                for place in places:
                    picture.save(making / place)
                if progress is not None:
                    progress(done, len(wanted))
    except Exception as error:  # a damaged HDF5 file makes h5py raise half a dozen unrelated classes
        shutil.rmtree(making, ignore_errors=True)
        raise InputError(f"{pictures}: not the released file ({error}); download it again") from error
    making.rename(target)
    return target


def _find(root: Path, name: str) -> Path:
    """Where the file is, or where it is expected first."""
    places = (root / name, root / "cuhk03_release" / name)
    return next((place for place in places if place.is_file()), places[0])


def _open(path: Path) -> Any:  # noqa: ANN401 - h5py carries no types
    try:
        import h5py  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise InputError(f'{path}: reading it needs h5py; pip install "ogreid[cuhk]"') from error
    return h5py.File(path, "r")


def _protocol(path: Path) -> dict[str, list[str]]:
    """For each picture's released name the places where it is to be written."""
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(f"{path}: missing; the new protocol's split comes with person-re-ranking")
    try:
        told = loadmat(path)
        names = [str(np.asarray(name).ravel()[0]) for name in told["filelist"].ravel()]
        identities = told["labels"].ravel().astype(int)
        numbers = {folder: told[key].ravel().astype(int) - 1 for key, folder in SPLITS.items()}
        places: dict[str, list[str]] = {}
        for folder, rows in numbers.items():
            for row in rows:
                _, _, camera, number = names[row].removesuffix(".png").split("_")
                name = f"{identities[row]:04d}_c{int(camera)}_{int(number)}.png"
                places.setdefault(names[row], []).append(f"{folder}/{name}")
        return places
    except Exception as error:  # a damaged MATLAB file makes scipy raise half a dozen unrelated classes
        raise InputError(f"{path}: not the new protocol's split ({error}); download it again") from error


def _picture(released: Any, kind: str, name: str) -> np.ndarray:  # noqa: ANN401
    """(H, W, 3) uint8. MATLAB stores columns first, so every array comes transposed."""
    pair, person, _, number = map(int, name.removesuffix(".png").split("_"))
    table = released[released[kind][0][pair - 1]]
    picture = np.asarray(released[table[number - 1][person - 1]]).T
    if picture.ndim != 3:
        raise ValueError(f"no picture {name} in {kind}")
    return np.ascontiguousarray(picture, dtype=np.uint8)
