"""A body as an estimator gives it: vertices, faces where known, and the camera that saw it."""

from dataclasses import dataclass

import numpy as np

from ogreid.lifting.camera import Camera

__all__ = ["Mesh"]


@dataclass(frozen=True)
class Mesh:
    """One estimated body.

    Attributes:
        vertices: (V, 3) metres; x right, y down, z away from the camera.
        faces: (F, 3) vertex numbers, or None where the estimator gives vertices only.
        camera: projects the vertices to the crop.
    """

    vertices: np.ndarray
    faces: np.ndarray | None
    camera: Camera
