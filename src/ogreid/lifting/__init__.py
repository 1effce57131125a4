"""From a crop and an estimated body to a colored point cloud."""

from ogreid.lifting.camera import Camera, PinholeCamera, ResizedCamera, WeakCamera
from ogreid.lifting.color import Lifted, Mode, lift, lift_surface
from ogreid.lifting.mesh import Mesh
from ogreid.lifting.template import upright_template

__all__ = [
    "Camera",
    "Lifted",
    "Mesh",
    "Mode",
    "PinholeCamera",
    "ResizedCamera",
    "WeakCamera",
    "lift",
    "lift_surface",
    "upright_template",
]
