"""A crop and a body become a colored cloud: the body carries its pixels, the rest stands behind it."""

from typing import Literal, NamedTuple, get_args

import numpy as np

from ogreid.errors import InputError, nearest_names
from ogreid.lifting.camera import pixel_grid
from ogreid.lifting.mesh import Mesh
from ogreid.lifting.raster import nearest_vertices, owning_vertices, surface_points, visible_faces

Mode = Literal["raster", "vertex", "nearest"]
INSIDE = 0.05  # the least share of the body's bounding box that must fall on the crop


class Lifted(NamedTuple):
    """What raster lifting knows of P points.

    Attributes:
        points: (P, 6) float32 x, y, z in meters and r, g, b in [0, 1].
        foreground: (P,) bool, on the body.
        normal: (P, 3) float32 unit length and towards the camera; zero on the background.
        body: (P, 3) float32 where on the body whatever its pose: the face's number and its second and third
            weight; -1, 0, 0 on the background.
    """

    points: np.ndarray
    foreground: np.ndarray
    normal: np.ndarray
    body: np.ndarray


def lift(image: np.ndarray, mesh: Mesh, *, mode: Mode = "raster", background: bool = True) -> np.ndarray:
    """The colored cloud of a crop.

    * ``raster``: every pixel on the body gets its true visible surface point. Points come row by row, so
      ``points[:, 3:].reshape(H, W, 3)`` is the crop.
    * ``vertex``: the released code's mapping, point for point: owning vertices in vertex order, then the
      pixels without an owner row by row.
    * ``nearest``: the paper's text, each pixel takes the closest vertex; row by row.

    Background pixels stand on the plane at the mean z of all vertices.

    Args:
        image: (H, W, 3) uint8.
        mesh: the body estimated for this crop; ``raster`` needs its faces.
        mode: see above.
        background: False leaves the background out. ``vertex`` then gives all V vertices, those without a pixel
            white (the published variant); the other modes keep P = H * W and fill the places of the background
            with white copies of body points, which the published selection takes for blank.

    Returns:
        (P, 6) float32 x, y, z in meters and r, g, b in [0, 1]; P = H * W with background.

    Raises:
        InputError: no faces in raster mode, a body beside the crop, an image of another shape.
    """
    pixels = _project(image, mesh, mode)
    height, width = image.shape[:2]
    rgb = image.reshape(-1, 3)
    if mode == "vertex":
        return _vertex_cloud(rgb, mesh, owning_vertices(mesh, height, width), background)
    if mode == "raster":
        owner, _, xyz = _raster(mesh, pixels, height, width)
    else:
        owner = nearest_vertices(mesh, height, width).ravel()
        xyz = np.where(owner[:, None] >= 0, mesh.vertices[owner], _backdrop(mesh, height, width))
    return _colored(xyz, rgb, owner >= 0, background)


def lift_surface(image: np.ndarray, mesh: Mesh, *, background: bool = True) -> Lifted:
    """:func:`lift` in raster mode, with what the surface says of each point; arguments and errors as there."""
    pixels = _project(image, mesh, "raster")
    assert mesh.faces is not None
    owner, share, xyz = _raster(mesh, pixels, *image.shape[:2])
    seen = owner >= 0
    normal = np.zeros((len(xyz), 3), dtype=np.float32)
    normal[seen] = _normals(mesh.vertices[mesh.faces[owner[seen]]].astype(np.float64))
    body = np.zeros((len(xyz), 3), dtype=np.float32)
    body[:, 0] = owner
    body[seen, 1:] = share[seen, 1:]
    return Lifted(_colored(xyz, image.reshape(-1, 3), seen, background), seen, normal, body)


def _raster(mesh: Mesh, pixels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visible face (P,), weights on it (P, 3) and the point (P, 3) of every pixel."""
    assert mesh.faces is not None
    nearness, foreshortening = mesh.camera.nearness(mesh.vertices)
    owner, weights = visible_faces(pixels, nearness, mesh.faces, height, width)
    xyz = _backdrop(mesh, height, width)
    surface_points(owner, weights, mesh.faces, mesh.vertices, foreshortening, xyz)
    return owner, weights, xyz


def _project(image: np.ndarray, mesh: Mesh, mode: str) -> np.ndarray:
    """Pixel coordinates (V, 2) of the vertices as (column, row); refuses what does not fit together."""
    if mode not in get_args(Mode):
        raise InputError(f"lifting mode {mode!r}: {nearest_names(mode, get_args(Mode))}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"lifting: an image {image.shape} {image.dtype}; expected (H, W, 3) uint8, red first")
    if mode == "raster" and mesh.faces is None:
        raise InputError(
            f"lifting: raster mode needs faces, and this mesh has {len(mesh.vertices)} vertices without any;"
            " give the body model's faces (--faces FILE) or choose mode vertex"
        )
    height, width = image.shape[:2]
    pixels = mesh.camera.pixels(mesh.vertices, height, width)
    if not np.isfinite(pixels).all():
        raise InputError("lifting: the camera projects vertices to infinity; estimate it again")
    left, top, right, bottom = (float(edge(pixels[:, axis])) for edge in (np.min, np.max) for axis in (0, 1))
    shared = max(min(right, width) - max(left, 0), 0) * max(min(bottom, height) - max(top, 0), 0)
    inside = shared / max((right - left) * (bottom - top), 1e-9)  # 0 where the body is seen as a line
    if inside < INSIDE:
        raise InputError(
            f"lifting: the body lies on columns {left:.0f} to {right:.0f} and rows {top:.0f} to {bottom:.0f}"
            f" of a crop {width} wide and {height} high ({inside:.0%} of it inside);"
            " check that the camera belongs to this crop and follows the estimator's convention"
        )
    return pixels


def _backdrop(mesh: Mesh, height: int, width: int) -> np.ndarray:
    """(H * W, 3) float64: every pixel on the plane at the mean z of all vertices."""
    depth = float(np.mean(mesh.vertices[:, 2], dtype=np.float64))
    xyz = np.full((height * width, 3), depth)
    xyz[:, :2] = mesh.camera.unproject(pixel_grid(height, width).reshape(-1, 2), depth, height, width)
    return xyz


def _normals(triangles: np.ndarray) -> np.ndarray:
    """Unit normals (F, 3) of triangles (F, 3, 3), towards the camera; a seen face is never degenerate."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.where(normal[:, 2:] > 0, -normal, normal).astype(np.float32)


def _colored(xyz: np.ndarray, rgb: np.ndarray, seen: np.ndarray | None = None, background: bool = True) -> np.ndarray:
    points = np.empty((len(xyz), 6), dtype=np.float32)
    points[:, :3] = xyz
    points[:, 3:] = rgb.astype(np.float32) / np.float32(255)
    if seen is not None and not background:
        fillers = np.flatnonzero(~seen)
        points[fillers, :3] = np.resize(points[seen, :3], (len(fillers), 3))
        points[fillers, 3:] = 1
    return points


def _vertex_cloud(rgb: np.ndarray, mesh: Mesh, owner: np.ndarray, background: bool) -> np.ndarray:
    height, width = owner.shape
    owner = owner.ravel()
    seen = np.flatnonzero(owner >= 0)
    seen = seen[np.argsort(owner[seen])]
    if not background:
        points = _colored(mesh.vertices, np.full(mesh.vertices.shape, 255, np.uint8))
        points[owner[seen], 3:] = rgb[seen].astype(np.float32) / np.float32(255)
        return points
    order = np.concatenate([seen, np.flatnonzero(owner < 0)])
    xyz = _backdrop(mesh, height, width)[order]
    xyz[: len(seen)] = mesh.vertices[owner[seen]]
    return _colored(xyz, rgb[order])
