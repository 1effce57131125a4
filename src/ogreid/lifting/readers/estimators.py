"""Bodies from the files of body estimators: each format has its own camera convention, recognized by its keys.

=============  ========================================================  ==============================================
estimator      keys of the ``.npz``                                      projection
=============  ========================================================  ==============================================
HMR            ``vertices`` or ``verts``; ``camera`` or ``cam``           s (X + t) over the square around the crop
4D-Humans      ``pred_vertices, pred_cam, box_center, box_size``          s (X + t) over that box
ROMP           ``results`` with ``verts, cam, center_confs``              s X + t over the zero-padded square
mmhuman3d      ``verts, pred_cams, bboxes_xyxy`` (``image_path``)         s (X + t) over the square around the box
SAM 3D Body    ``pred_vertices, pred_cam_t, focal_length`` (``bbox``)     f (X + t)_xy / (X + t)_z + picture's middle
=============  ========================================================  ==============================================

HMR saw crops of 128 x 64, as the published pipeline gave it; the others saw the crop at its own size.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ogreid import files
from ogreid.errors import InputError
from ogreid.lifting.camera import Camera, PinholeCamera, ResizedCamera, WeakCamera
from ogreid.lifting.mesh import Mesh, in_meters
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.mesh_files import read_surface

__all__ = ["Contents", "read_body", "read_body_file", "read_faces"]

Contents = Mapping[str, Any]
"""What an archive holds, by key."""
Size = tuple[int, int]
"""Height and width of the crop that the estimator saw."""


def read_body(path: str | Path, size: Size, faces: np.ndarray | None = None) -> Mesh:
    """The body in a file of one crop: an estimator's ``.npz``, or ``.obj``/``.ply`` beside a camera ``.json``.

    Args:
        path: the file.
        size: height and width of the crop as it lies on disk.
        faces: (F, 3) for files that hold vertices only.

    Raises:
        InputError: unknown format, nobody found, a missing camera, code in a pickle; names the file.
    """
    path = Path(path)
    if path.suffix in (".obj", ".ply"):
        return read_surface(path, size, faces)
    return read_body_file(read_archive(path), path, size, faces)


def read_body_file(
    contents: Contents, path: Path, size: Size, faces: np.ndarray | None = None, row: int | None = None
) -> Mesh:
    """The body in an archive that was read; ``row`` chooses where it holds many, else the surest or only one."""
    for needed, reader in READERS:
        if all(any(one in contents for one in names) for names in needed):
            try:
                vertices, camera = reader(contents, path, size, row)
                own = np.asarray(contents["faces"]) if "faces" in contents else faces
                return Mesh(in_meters(vertices), own, camera)
            except (ValueError, TypeError, LookupError, ArithmeticError) as error:
                raise InputError(f"{path}: not what {needed[-1][0]} should be ({error}); estimate it again") from error
    raise InputError(
        f"{path}: holds {', '.join(sorted(contents)) or 'nothing'}, as no known estimator does;"
        " known: HMR, 4D-Humans, ROMP, mmhuman3d, SAM 3D Body, or .obj/.ply with a camera .json"
    )


def read_faces(path: str | Path) -> np.ndarray:
    """Faces (F, 3) of a body model: ``.npy``, ``.npz`` with ``faces`` or ``f``, ``.obj`` or ``.ply``."""
    path = Path(path)
    if path.suffix in (".obj", ".ply"):
        from ogreid.lifting.readers.mesh_files import read_vertices_and_faces

        faces = read_vertices_and_faces(path)[1]
    elif path.suffix == ".npy":
        try:
            faces = files.read_array(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no readable array ({error})") from error
    else:
        contents = read_archive(path)
        faces = contents.get("faces", contents.get("f"))
    if faces is None or faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iuf":
        raise InputError(f"{path}: holds no faces (F, 3); give the body model's faces as .npy, .npz, .obj or .ply")
    if not len(faces) or not 0 <= faces.min() <= faces.max() < 2**31:  # also where one is no number
        raise InputError(f"{path}: its faces name vertices that no body has; give the faces as the body model has them")
    return np.asarray(faces).astype(np.int64)


def _hmr(contents: Contents, path: Path, size: Size, row: int | None) -> tuple[np.ndarray, Camera]:
    vertices = _one(contents["vertices"] if "vertices" in contents else contents["verts"], 2, path, row)
    scale, x, y = _numbers(contents["camera"] if "camera" in contents else contents["cam"], 3, path, row)
    return vertices, WeakCamera(scale, (x, y))


def _four_d_humans(contents: Contents, path: Path, size: Size, row: int | None) -> tuple[np.ndarray, Camera]:
    center = _numbers(contents["box_center"], 2, path, row)
    side = _numbers(contents["box_size"], 1, path, row)[0]
    camera = _in_box(_numbers(contents["pred_cam"], 3, path, row), center, side, size)
    return _one(contents["pred_vertices"], 2, path, row), camera


def _romp(contents: Contents, path: Path, size: Size, row: int | None) -> tuple[np.ndarray, Camera]:
    results = contents["results"]
    people = results[()] if isinstance(results, np.ndarray) and results.ndim == 0 else results
    if not isinstance(people, Mapping) or not {"verts", "cam"} <= set(people):
        raise InputError(f"{path}: ROMP's results without verts and cam; run ROMP again with its full output")
    if not len(people["verts"]):
        raise InputError(f"{path}: ROMP found nobody; take this crop out, or lift it without --meshes")
    sure = np.asarray(people["center_confs"]).ravel() if "center_confs" in people else np.zeros(1)
    row = int(sure.argmax()) if row is None else row
    scale, x, y = _numbers(people["cam"], 3, path, row)
    return _one(people["verts"], 2, path, row), ResizedCamera(WeakCamera(scale, (x, y), "sx+t"), *size)


def _mmhuman3d(contents: Contents, path: Path, size: Size, row: int | None) -> tuple[np.ndarray, Camera]:
    left, top, right, bottom = _numbers(np.asarray(contents["bboxes_xyxy"])[..., :4], 4, path, row)
    center = np.array([(left + right) / 2, (top + bottom) / 2])
    camera = _in_box(_numbers(contents["pred_cams"], 3, path, row), center, max(right - left, bottom - top), size)
    return _one(contents["verts"], 2, path, row), camera


def _sam_3d_body(contents: Contents, path: Path, size: Size, row: int | None) -> tuple[np.ndarray, Camera]:
    x, y, z = _numbers(contents["pred_cam_t"], 3, path, row)
    focal = _numbers(contents["focal_length"], 1, path, row)[0]
    height, width = size
    pinhole = PinholeCamera(focal, (x, y, z), (width / 2, height / 2))
    return _one(contents["pred_vertices"], 2, path, row), ResizedCamera(pinhole, *size)


Reader = Callable[[Contents, Path, Size, int | None], tuple[np.ndarray, Camera]]
READERS: list[tuple[list[tuple[str, ...]], Reader]] = [
    ([("results",)], _romp),
    ([("pred_vertices",), ("pred_cam_t",), ("focal_length",)], _sam_3d_body),
    ([("pred_vertices",), ("pred_cam",), ("box_center",), ("box_size",)], _four_d_humans),
    ([("verts",), ("pred_cams",), ("bboxes_xyxy",)], _mmhuman3d),
    ([("vertices", "verts"), ("camera", "cam")], _hmr),
]
"""For each estimator the keys that tell it (one of each group), most telling first, and its reader."""


def _in_box(camera: np.ndarray, center: np.ndarray, side: float, size: Size) -> Camera:
    """A weak camera over a box of the picture, as one over the square around the whole picture."""
    scale, *shift = camera
    height, width = size
    moved = np.array(shift) + (center - np.array([width / 2, height / 2])) / (scale * side / 2)
    weak = WeakCamera(float(scale * side / max(size)), (float(moved[0]), float(moved[1])))
    return ResizedCamera(weak, height, width)


def _one(values: Any, axes: int, path: Path, row: int | None) -> np.ndarray:  # noqa: ANN401 - what a file holds
    """The entry of one person: ``values[row]``, or ``values`` where they have no axis of persons."""
    array = np.asarray(values)
    if array.ndim <= axes:
        return array
    if row is None and len(array) != 1:
        raise InputError(f"{path}: holds {len(array)} people; expected one for each crop")
    return np.asarray(array[row or 0])


def _numbers(values: Any, count: int, path: Path, row: int | None) -> np.ndarray:  # noqa: ANN401
    """``count`` numbers of one person, float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufO":
        raise InputError(f"{path}: a camera or box of type {array.dtype}; expected numbers")
    array = array.astype(np.float64)
    if not array.size or array.size % count:
        raise InputError(f"{path}: a camera or box of shape {array.shape}; expected {count} numbers for each person")
    return _one(array.reshape(-1, count), 1, path, row)
