"""A body as an estimator gives it: vertices, faces where known, and the camera that saw it."""

from dataclasses import dataclass

import numpy as np

from ogreid.errors import InputError
from ogreid.lifting.camera import Camera

FARTHEST = 1e4  # meters: what is farther is no body before a camera, and float16 would not hold much more
MOST = 1_000_000  # vertices, and faces: a tenth of a second each to lift; SAM 3D Body has 18 439 and 36 874


def in_meters(vertices: object) -> np.ndarray:
    """Vertices as float32.

    Raises:
        InputError: not numbers, or none that could be meters.
    """
    array = np.asarray(vertices)
    if array.dtype.kind not in "iufO":
        raise InputError(f"mesh: vertices of type {array.dtype}; expected numbers")
    if array.dtype.kind == "O":
        array = array.astype(np.float64)
    finite = array[np.isfinite(array)]
    if finite.size and np.abs(finite).max() > FARTHEST:
        raise InputError(f"mesh: coordinates up to {np.abs(finite).max():.3g}; expected meters, {FARTHEST:g} at most")
    with np.errstate(invalid="ignore"):  # NaN is Mesh's to refuse
        return array.astype(np.float32)


@dataclass(frozen=True)
class Mesh:
    """One estimated body.

    Attributes:
        vertices: (V, 3) meters; x right, y down, z away from the camera. V is arbitrary.
        faces: (F, 3) vertex numbers, or None where the estimator gives vertices only.
        camera: projects the vertices to the image.

    Raises:
        InputError: what cannot be lifted: a wrong shape, NaN, a face that names no vertex.
    """

    vertices: np.ndarray
    faces: np.ndarray | None
    camera: Camera

    def __post_init__(self) -> None:
        vertices = np.asarray(self.vertices)
        object.__setattr__(self, "vertices", vertices)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not 0 < len(vertices) <= MOST:
            raise InputError(f"mesh: vertices of shape {vertices.shape}; expected (V, 3) with V > 0, {MOST} at most")
        if not np.isfinite(vertices).all():
            raise InputError(f"mesh: {np.sum(~np.isfinite(vertices))} coordinates are not finite; estimate it again")
        if self.faces is None:
            return
        faces = np.asarray(self.faces)
        object.__setattr__(self, "faces", faces)
        shape, kind = faces.shape, faces.dtype
        if len(shape) != 2 or shape[1] != 3 or not 0 < shape[0] <= MOST or kind.kind not in "iu":
            raise InputError(f"mesh: faces of shape {shape} and type {kind}; expected integers (F, 3), F > 0")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise InputError(
                f"mesh: faces name vertices {faces.min()} to {faces.max()}, but there are {len(vertices)};"
                " faces of another body model?"
            )
