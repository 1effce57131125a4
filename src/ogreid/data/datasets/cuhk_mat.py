"""CUHK03 as it was released: all images in one MATLAB file, the new protocol's split in another.

``cuhk-03.mat`` is HDF5 (MATLAB 7.3) and needs ``h5py``, which nothing else here does: ``pip install "ogreid[cuhk]"``.
Its ``detected`` and ``labeled`` hold five pairs of cameras, each a table of persons by ten images, the first five of
which are from the pair's first camera. ``cuhk03_new_protocol_config_<kind>.mat`` names images as
``<pair>_<person>_<camera>_<number>.png`` and gives each its identity and split (Zhong et al., CVPR 2017).
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ogreid.errors import InputError, MissingFileError

SPLITS = {"train_idx": "bounding_box_train", "query_idx": "query", "gallery_idx": "bounding_box_test"}


def find_mat(root: Path, name: str = "cuhk-03.mat") -> Path | None:
    """The released file of that name in a folder, or in ``cuhk03_release`` below it; None where it is not there."""
    return next(filter(Path.is_file, (root / name, root / "cuhk03_release" / name)), None)


def unpack_mat(root: Path, kind: str, target: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the images of the new protocol as ``PPPP_cC_N.png`` in one folder per split of ``target``.

    A target that is there is taken as whole. ``kind`` is ``detected`` or ``labeled``; ``progress`` is called with
    (images done, images).

    Raises:
        InputError: ``h5py`` or the protocol's file is missing; a file is not what it should be.
    """
    if target.is_dir():
        return target
    source, images = find_mat(root) or root, _read_protocol(root, f"cuhk03_new_protocol_config_{kind}.mat")
    try:
        import h5py  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise InputError(f'{source}: reading it needs h5py; pip install "ogreid[cuhk]"') from error
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in SPLITS.values():
        (part / folder).mkdir(parents=True)
    try:
        with h5py.File(source, "r") as released:
            for done, (name, places) in enumerate(sorted(images.items()), start=1):
                image = Image.fromarray(_image(released, kind, name))
                for place in places:
                    image.save(part / place)
                if progress is not None:
                    progress(done, len(images))
    except Exception as error:  # a damaged HDF5 file makes h5py raise half a dozen unrelated classes
        shutil.rmtree(part, ignore_errors=True)
        raise InputError(f"{source}: not the released file ({error}); download it again") from error
    part.rename(target)
    return target


def _read_protocol(root: Path, name: str) -> dict[str, list[str]]:
    """The places of each released image in the folders of the new protocol."""
    from scipy.io import loadmat

    path = find_mat(root, name)
    if path is None:
        raise MissingFileError(f"{root / name}: missing; the new protocol's split comes with person-re-ranking")
    try:
        protocol = loadmat(path)
        names = [str(np.asarray(name).ravel()[0]) for name in protocol["filelist"].ravel()]
        identities = protocol["labels"].ravel().astype(int)
        places: dict[str, list[str]] = {}
        for key, folder in SPLITS.items():
            for row in protocol[key].ravel().astype(int) - 1:
                _, _, camera, number = names[row].removesuffix(".png").split("_")
                place = f"{folder}/{identities[row]:04d}_c{int(camera)}_{int(number)}.png"
                places.setdefault(names[row], []).append(place)
        return places
    except Exception as error:  # a damaged MATLAB file makes scipy raise half a dozen unrelated classes
        raise InputError(f"{path}: not the new protocol's split ({error}); download it again") from error


def _image(released: Any, kind: str, name: str) -> np.ndarray:  # noqa: ANN401
    """(H, W, 3) uint8. MATLAB stores columns first, so every array comes transposed."""
    pair, person, _, number = map(int, name.removesuffix(".png").split("_"))
    table = released[released[kind][0][pair - 1]]
    image = np.asarray(released[table[number - 1][person - 1]]).T
    if image.ndim != 3:
        raise ValueError(f"no image {name} in {kind}")
    return np.ascontiguousarray(image, dtype=np.uint8)
