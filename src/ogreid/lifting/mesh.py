"""A body as an estimator gives it: vertices, faces where known, and the camera that saw it."""

from dataclasses import dataclass

import numpy as np

from ogreid.errors import UserError
from ogreid.lifting.camera import Camera

__all__ = ["Mesh"]


@dataclass(frozen=True)
class Mesh:
    """One estimated body.

    Attributes:
        vertices: (V, 3) metres; x right, y down, z away from the camera. V is arbitrary.
        faces: (F, 3) vertex numbers, or None where the estimator gives vertices only.
        camera: projects the vertices to the crop.
    """

    vertices: np.ndarray
    faces: np.ndarray | None
    camera: Camera

    def __post_init__(self) -> None:
        """Refuse what no crop can be lifted with: a wrong shape, NaN, a face that names no vertex."""
        object.__setattr__(self, "vertices", np.asarray(self.vertices))
        shape = self.vertices.shape
        if len(shape) != 2 or shape[1] != 3 or not shape[0]:
            raise UserError(f"mesh: vertices of shape {shape}; expected (V, 3) with V > 0")
        if not np.isfinite(self.vertices).all():
            raise UserError(
                f"mesh: {np.sum(~np.isfinite(self.vertices))} coordinates are not finite; estimate it again"
            )
        if self.faces is not None:
            object.__setattr__(self, "faces", np.asarray(self.faces))
            self._check_faces(self.faces, shape[0])

    @staticmethod
    def _check_faces(faces: np.ndarray, vertices: int) -> None:
        shape = faces.shape
        if len(shape) != 2 or shape[1] != 3 or not shape[0] or not np.issubdtype(faces.dtype, np.integer):
            raise UserError(f"mesh: faces of shape {shape} and type {faces.dtype}; expected integers (F, 3), F > 0")
        if faces.min() < 0 or faces.max() >= vertices:
            raise UserError(
                f"mesh: faces name vertices {faces.min()} to {faces.max()}, but there are {vertices};"
                " faces of another body model?"
            )
