"""Bodies from the files of body estimators: everybody in a file, and the one whom a crop is about."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ogreid import files
from ogreid.errors import InputError
from ogreid.lifting.camera import Camera, PinholeCamera, ResizedCamera
from ogreid.lifting.mesh import Mesh, in_meters
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.forms import KEYS, Contents, NoBodyError, Person, Size, people_in, people_of_multi_hmr
from ogreid.lifting.readers.mesh_files import Convention, read_surface, read_vertices_and_faces

FAR = 1.0  # meters from the origin; such a body has the camera's translation in its vertices
TOLERANCE = 0.02  # of the joints' extent, and one pixel; weak perspective itself is off by half of it at most


def read_body(path: str | Path, size: Size, faces: np.ndarray | None = None) -> Mesh:
    """The body in a file of one crop: :func:`choose_body` of :func:`read_people`; arguments and errors as there."""
    return choose_body(read_people(path, size), size, faces)


def read_people(path: str | Path, size: Size, convention: Convention | None = None) -> list[Person]:
    """Everybody in an estimator's ``.npz`` or ``.npy``, or the body of an ``.obj`` or ``.ply``.

    Args:
        path: the file.
        size: height and width of the crop as it lies on disk.
        convention: see :func:`ogreid.lifting.readers.mesh_files.read_surface`.

    Raises:
        NoBodyError: the estimator found nobody.
        InputError: unknown form, a missing camera, code in a pickle; names the file.
    """
    path = Path(path)
    if path.suffix in (".obj", ".ply"):
        vertices, faces, camera = read_surface(path, size, convention)
        with _naming(path):
            return [Person(in_meters(vertices), camera, faces=faces, path=path)]
    if path.suffix == ".npy":
        with _naming(path):
            return _present(people_of_multi_hmr(files.read_array(path), size), path)
    return archive_people(read_archive(path, KEYS), path, size)


def archive_people(contents: Contents, path: Path, size: Size) -> list[Person]:
    """Everybody in the contents of the archive ``path``; arguments and errors as in :func:`read_people`."""
    with _naming(path):
        faces = None if contents.get("faces") is None else np.asarray(contents["faces"])
        return _present(people_in(contents, size), path, faces)


def choose_body(people: Sequence[Person], size: Size, faces: np.ndarray | None = None) -> Mesh:
    """The body that a crop is about, as a mesh: among several people the largest and most central one.

    The measure is the intersection over union of the body's box and the crop, times how close their centers are. A body
    far from its origin (a translation in its vertices) comes near it, and its camera takes the depth: float16 stores
    27 m in steps of 16 mm. ``faces`` (F, 3) are for people without any.

    Raises:
        InputError: the camera does not put the joints where the file has them; no body (see :class:`Mesh`).
    """
    person = people[0] if len(people) == 1 else max(people, key=lambda one: _presence(one, *size))
    with _naming(person.path):
        _check_joints(person, *size)
        vertices, camera = _near_origin(person)
        return Mesh(vertices, faces if person.faces is None else person.faces, camera)


def read_faces(path: str | Path) -> np.ndarray:
    """Faces (F, 3) of a body model in a file: ``.npy``, ``.npz`` with ``faces`` or ``f``, ``.obj`` or ``.ply``."""
    path = Path(path)
    if path.suffix in (".obj", ".ply"):
        faces = read_vertices_and_faces(path)[1]
    elif path.suffix == ".npy":
        with _naming(path):
            faces = files.read_array(path)
    else:
        contents = read_archive(path, ("faces", "f"))
        faces = contents.get("faces", contents.get("f"))
    if faces is None or faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iuf":
        raise InputError(f"{path}: holds no faces (F, 3); give the body model's faces as .npy, .npz, .obj or .ply")
    if not len(faces) or not 0 <= faces.min() <= faces.max() < 2**31:  # also where one is no number
        raise InputError(f"{path}: its faces name vertices that no body has; give the faces as the body model has them")
    return np.asarray(faces).astype(np.int64)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors inside become errors of the file."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        kind = NoBodyError if isinstance(error, NoBodyError) else InputError
        reason = str(error) if isinstance(error, InputError) else f"not what an estimator writes ({error})"
        raise kind(f"{path}: {reason}") from error


def _present(people: list[Person], path: Path, faces: np.ndarray | None = None) -> list[Person]:
    if not people:
        raise NoBodyError("the estimator found nobody; --missing upright lifts such crops with the upright body")
    return [person._replace(path=path, faces=faces) for person in people]


@np.errstate(all="ignore")
def _presence(person: Person, height: int, width: int) -> float:
    """The measure of :func:`choose_body`; -1 without a box."""
    try:
        pixels = person.camera.pixels(person.vertices.astype(np.float64), height, width)
    except (ValueError, LookupError):
        return -1.0
    low, high, crop = pixels.min(axis=0), pixels.max(axis=0), np.array([width, height])
    shared = np.prod(np.clip(np.minimum(high, crop) - np.maximum(low, 0), 0, None))
    union = np.prod(high - low) + height * width - shared
    offset = np.abs((low + high) / crop - 1).max()  # 0 in the middle, 1 where the center lies on the border
    return float(np.nan_to_num(shared / union * max(1 - offset, 0.0), nan=-1.0))


@np.errstate(all="ignore")  # what is no body is Mesh's to refuse
def _near_origin(person: Person) -> tuple[np.ndarray, Camera]:
    """Vertices and camera, with a depth in the vertices moved into a pinhole camera."""
    vertices, camera = person.vertices, person.camera
    depth = float(vertices[:, 2].mean()) if vertices.size and vertices.shape[1:] == (3,) else 0.0
    if isinstance(camera, ResizedCamera) and isinstance(camera.camera, PinholeCamera) and FAR < abs(depth) < np.inf:
        x, y, z = camera.camera.translation
        vertices = vertices - np.array([0, 0, depth], dtype=np.float32)
        camera = replace(camera, camera=replace(camera.camera, translation=(x, y, z + depth)))
    return vertices, camera


@np.errstate(all="ignore")
def _check_joints(person: Person, height: int, width: int) -> None:
    """Refuse a camera that does not bring the body onto the joints that its own file holds."""
    if person.joints is None or person.pixels is None or not len(person.pixels):
        return
    extent = float(np.ptp(person.pixels, axis=0).max())
    if extent == 0:  # all in one point: not filled in
        return
    distance = np.linalg.norm(person.camera.pixels(person.joints, height, width) - person.pixels, axis=1).mean()
    limit = max(1.0, TOLERANCE * extent)
    if not distance <= limit:
        raise InputError(
            f"its camera puts the joints {distance:.1f} pixels from where the file has them; expected {limit:.1f} at"
            f" most; was it estimated on this crop of {width} x {height} pixels?"
        )
