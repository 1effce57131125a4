"""The forms in which body estimators write people: each has its own camera convention, recognized by its keys.

=================  ======================================================  ===========================================
form               keys of the file                                        projection
=================  ======================================================  ===========================================
4D-Humans          ``pred_vertices, pred_cam, box_center, box_size``       s (X + t) over that box
SAM 3D Body        ``pred_vertices, pred_cam_t, focal_length``             f (X + t)_xy / (X + t)_z + image's middle
mmhuman3d          ``verts, pred_cams, bboxes_xyxy``                       s (X + t) over 1.25 x the box's longer side
ROMP               ``results`` with ``verts, cam``                         s X + t over the zero-padded square
BEV                the same and ``cam_trans, params_pred``                 f (X + t)_xy / (X + t)_z + image's middle
HMR                ``vertices`` or ``verts``; ``camera``, ``cam, cams``    s (X + t) over the square around the crop
Multi-HMR          an ``.npy`` of vertices                                 f X_xy / X_z + image's middle
=================  ======================================================  ===========================================

HMR saw crops of 128 x 64, as the published pipeline gave it; the others saw the crop at its own size. TokenHMR writes
what 4D-Humans does. ``docs/data/bodies.md`` names the versions whose code was read.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ogreid.errors import InputError
from ogreid.lifting.camera import Camera, PinholeCamera, ResizedCamera, WeakCamera, box_corner
from ogreid.lifting.mesh import in_meters

Contents = Mapping[str, Any]
"""What an archive holds, by key."""
Size = tuple[int, int]
"""Height and width of the image that the estimator saw."""
HMR_SIDE = 224  # pixels of the square in which HMR counts its joints
BEV_FOCAL = 443.4 / 512  # of the padded square's side
BEV_KEYS = {"params_pred", "cam_czyx", "pred_czyxs"}
BEV_BETAS = 11  # ten shapes and the age; ROMP has ten
MULTI_HMR_FOCAL = 0.5 / math.tan(math.radians(30))  # of the longer side, which covers 60 degrees
MMHUMAN3D_BOX = 1.25  # the square that is estimated, in longer sides of the detected box
MOST_PEOPLE = 1000
KEYPOINTS = "pred_keypoints_3d", "pred_keypoints_2d"


class NoBodyError(InputError):
    """There is no body: no file or row for the crop, or one in which the estimator found nobody."""


class Person(NamedTuple):
    """One body of a file; ``joints`` and ``pixels`` where the file holds joints both in space and in the image."""

    vertices: np.ndarray  # (V, 3) float32 meters
    camera: Camera  # projects them to the image
    joints: np.ndarray | None = None  # (J, 3) meters in the same coordinates
    pixels: np.ndarray | None = None  # (J, 2) as (column, row): where the file itself has these joints
    faces: np.ndarray | None = None  # (F, 3), where the file holds them
    path: Path = Path()


def people_in(contents: Contents, size: Size) -> list[Person]:
    """Everybody in the contents of an archive; nobody is an empty list."""
    if "results" in contents:
        return _romp(_mapping(np.asarray(contents["results"], dtype=object)[()]), size)
    if "outputs" not in contents:
        return _people(contents, size)
    outputs = np.atleast_1d(contents["outputs"])  # a list of what SAM 3D Body returns for each person
    _check_count(len(outputs))
    return [person for one in outputs for person in _people(_mapping(one), size)]


def people_of_multi_hmr(vertices: np.ndarray, size: Size) -> list[Person]:
    """Everybody in an array of Multi-HMR; nobody is an empty list."""
    arrays = _Arrays({"vertices": vertices}, "vertices")
    translations = np.zeros((arrays.count, 3))
    return arrays.people(_pinholes(np.full(arrays.count, MULTI_HMR_FOCAL * max(size)), translations, size))


def _people(contents: Contents, size: Size) -> list[Person]:
    for keys, reader in FORMS:
        present = [next((key for key in names if contents.get(key) is not None), "") for names in keys]
        if all(present):
            return reader(_Arrays(contents, present[0]), present[1], size)
    raise InputError(
        f"holds {', '.join(sorted(contents)) or 'nothing'}, as no known estimator does;"
        " known: HMR, 4D-Humans, TokenHMR, ROMP, BEV, mmhuman3d, SAM 3D Body, or .obj/.ply with a camera .json"
    )


def _mapping(value: object) -> Contents:
    if not isinstance(value, Mapping):
        raise InputError(f"holds a {type(value).__name__} where an estimator writes a dictionary")
    return value


def _check_count(people: int) -> None:
    if people > MOST_PEOPLE:
        raise InputError(f"{people} people; expected {MOST_PEOPLE} at most")


class _Arrays:
    """The arrays of one file, each by person."""

    def __init__(self, contents: Contents, vertices: str) -> None:
        self.contents = contents
        array = in_meters(contents[vertices])
        self.vertices = array[None] if array.ndim == 2 and len(array) else array
        self.count = len(self.vertices)
        _check_count(self.count)

    def numbers(self, key: str, *shape: int) -> np.ndarray:
        """(people, *shape) float64."""
        array = np.asarray(self.contents[key])
        if array.dtype.kind not in "iufO":
            raise InputError(f"{key} of type {array.dtype}; expected numbers")
        if -1 not in shape and array.size != self.count * math.prod(shape):
            raise InputError(f"{key} of shape {array.shape}; expected {shape} for each of {self.count} people")
        return array.astype(np.float64).reshape(self.count, *shape)

    def people(
        self,
        cameras: Sequence[Camera],
        space: str = "",
        image: str = "",
        scale: np.ndarray | float = 1.0,
        offset: np.ndarray | float = 0.0,
    ) -> list[Person]:
        """One person for each camera, with joints of the keys ``space`` and ``image`` where both are there.

        ``scale`` and ``offset`` turn the joints in the image into pixels.
        """
        if not self.count or self.contents.get(space) is None or self.contents.get(image) is None:
            return [Person(*parts) for parts in zip(self.vertices, cameras, strict=True)]
        joints, pixels = self.numbers(space, -1, 3), self.numbers(image, -1, 2) * scale + offset
        return [Person(*parts) for parts in zip(self.vertices, cameras, joints, pixels, strict=True)]


def _four_d_humans(arrays: _Arrays, camera: str, size: Size) -> list[Person]:
    centers, sides = arrays.numbers("box_center", 2), arrays.numbers("box_size", 1)
    cameras = _in_boxes(arrays.numbers(camera, 3), centers, sides, size)
    return arrays.people(cameras, *KEYPOINTS, scale=sides[:, None], offset=centers[:, None])


def _sam_3d_body(arrays: _Arrays, translation: str, size: Size) -> list[Person]:
    if arrays.contents.get("pred_cam") is not None:
        raise InputError("4D-Humans' output without its box; save the batch beside it: np.savez(file, **out, **batch)")
    focal, translations = arrays.numbers("focal_length", 1)[:, 0], arrays.numbers(translation, 3)
    return arrays.people(_pinholes(focal, translations, size), *KEYPOINTS)


def _mmhuman3d(arrays: _Arrays, camera: str, size: Size) -> list[Person]:
    boxes = arrays.numbers("bboxes_xyxy", -1)[:, :4]  # and a score
    low, high = boxes[:, :2], boxes[:, 2:]
    sides = MMHUMAN3D_BOX * (high - low).max(axis=1, keepdims=True)
    return arrays.people(_in_boxes(arrays.numbers(camera, 3), (low + high) / 2, sides, size))


def _hmr(arrays: _Arrays, camera: str, size: Size) -> list[Person]:
    cameras = [WeakCamera(s, (x, y)) for s, x, y in arrays.numbers(camera, 3)]
    return arrays.people(cameras, "joints3d", "joints", scale=max(size) / HMR_SIDE, offset=-box_corner(*size))


def _romp(results: Contents, size: Size) -> list[Person]:
    if not {"verts", "cam"} <= set(results):
        raise InputError("ROMP's results without verts and cam; run it again with its full output")
    arrays = _Arrays(results, "verts")
    uneven = box_corner(*size) % 1  # ROMP pads by whole pixels
    if BEV_KEYS & set(results) or np.asarray(results.get("smpl_betas")).shape[1:] == (BEV_BETAS,):
        focal = np.full(arrays.count, BEV_FOCAL * max(size))
        cameras = _pinholes(focal, arrays.numbers("cam_trans", 3), size, uneven)
    else:
        weak = arrays.numbers("cam", 3) + np.array([0, *(2 * uneven / max(size))])
        cameras = [ResizedCamera(WeakCamera(s, (x, y), "sx+t"), *size) for s, x, y in weak]
    return arrays.people(cameras, "joints", "pj2d_org")


Reader = Callable[[_Arrays, str, Size], list[Person]]
FORMS: list[tuple[tuple[tuple[str, ...], ...], Reader]] = [
    ((("pred_vertices",), ("pred_cam",), ("box_center",), ("box_size",)), _four_d_humans),
    ((("pred_vertices",), ("pred_cam_t",), ("focal_length",)), _sam_3d_body),
    ((("verts",), ("pred_cams",), ("bboxes_xyxy",)), _mmhuman3d),
    ((("vertices", "verts"), ("camera", "cam", "cams")), _hmr),
]
"""For each form its keys (one of each group; vertices, then the camera), most telling first, and its reader."""
KEYS = {key for keys, _ in FORMS for names in keys for key in names} | {
    *("results", "outputs", "faces", "joints", "joints3d", *KEYPOINTS, "image_path", "frame_id"),
}
"""All that is read of an archive; what else it holds is not opened."""


@np.errstate(all="ignore")  # a camera that is none is refused
def _in_boxes(cameras: np.ndarray, centers: np.ndarray, sides: np.ndarray, size: Size) -> list[Camera]:
    """Weak cameras over boxes of the image, as ones over the square around the whole image."""
    height, width = size
    scales = cameras[:, :1] * sides / max(size)
    moved = cameras[:, 1:] + (centers - [width / 2, height / 2]) / (cameras[:, :1] * sides / 2)
    return [ResizedCamera(WeakCamera(s, (x, y)), *size) for s, x, y in np.hstack([scales, moved])]


def _pinholes(focal: np.ndarray, translations: np.ndarray, size: Size, shift: np.ndarray | float = 0.0) -> list[Camera]:
    """Cameras that look at the middle of the image, plus ``shift`` pixels."""
    column, row = np.array([size[1] / 2, size[0] / 2]) + shift
    pinholes = [PinholeCamera(f, (x, y, z), (column, row)) for f, (x, y, z) in zip(focal, translations, strict=True)]
    return [ResizedCamera(one, *size) for one in pinholes]
