"""Inspecting a store: a page of crops beside their clouds, drawn clouds, and ``.ply`` files."""

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from ogreid import files
from ogreid.data.store.mapped import Store
from ogreid.errors import InputError

ANGLES = (0, 35, 90)
PAGE = Path(__file__).with_name("preview.html")


def write_preview(store: Store, count: int, path: Path) -> Path:
    """Write one page of ``count`` rows, evenly spread over the store: each crop and its cloud from three sides."""
    if count < 1:
        raise InputError(f"--preview {count}: expected 1 or more rows")
    rows = np.unique(np.linspace(0, len(store) - 1, count).astype(np.int64)).tolist()
    angles = ", ".join(f"{angle}°" for angle in ANGLES)
    summary = f"{html.escape(repr(store))}, {store.manifest.mode}. The crop, then the cloud from {angles}."
    figures = "\n".join(_figure(store, row) for row in rows)
    page = PAGE.read_text(encoding="utf-8")
    files.write_text(path, page.format(title=html.escape(store.name), summary=summary, figures=figures))
    return path


def draw_cloud(
    xyz: np.ndarray, rgb: np.ndarray, angle: float, *, background: int = 128, marked: np.ndarray | None = None
) -> np.ndarray:
    """A cloud turned about its vertical axis, as an image (192, 128, 3) uint8.

    Args:
        xyz: (P, 3) meters.
        rgb: (P, 3) uint8.
        angle: degrees.
        background: gray of the image, 0 to 255.
        marked: (P,) integers; points above 0 are larger and drawn last, the highest at the very end, so that nothing
            hides them.
    """
    turn, height, width = np.deg2rad(angle), 192, 128
    x, y, z = (xyz.astype(np.float64) - (xyz.min(axis=0) + xyz.max(axis=0)) / 2).T
    depth = z * np.cos(turn) - x * np.sin(turn)
    scale = (height - 4) / max(float(np.ptp(y)), 1e-6)
    columns = np.rint((x * np.cos(turn) + z * np.sin(turn)) * scale + width / 2).astype(np.int64)
    rows = np.rint(y * scale + height / 2).astype(np.int64)
    image = np.full((height, width, 3), background, dtype=np.uint8)
    marks = np.zeros(len(xyz), dtype=np.int64) if marked is None else marked
    for point in np.lexsort((-depth, marks)):  # far points first; each is a dot of 2 x 2 pixels, a marked one of 4 x 4
        row, column, more = rows[point], columns[point], int(marks[point] > 0)
        if row >= more and column >= more:
            image[row - more : row + 2 + more, column - more : column + 2 + more] = rgb[point]
    return image


def beside(*images: np.ndarray, height: int = 384, gap: int = 6) -> Image.Image:
    """Images in one row, each enlarged to the same height with its pixels kept sharp.

    ``images`` are (H, W, 3) uint8 of any sizes; ``height`` and the white ``gap`` between two are in pixels.
    """
    spacer = np.full((height, gap, 3), 255, np.uint8)
    parts = [spacer]
    for one in map(Image.fromarray, images):
        size = one.width * height // one.height, height
        parts += [np.asarray(one.resize(size, Image.Resampling.NEAREST)), spacer]
    return Image.fromarray(np.concatenate(parts[1:-1], axis=1))


def export_ply(store: Store, row: int, path: Path) -> Path:
    """Write one cloud as a binary ``.ply`` with colors, which MeshLab, CloudCompare and Blender open."""
    if not 0 <= row < len(store):
        raise InputError(f"--export-ply {row}: {store.path} has rows 0 to {len(store) - 1}")
    xyz, rgb = store.raw([row])
    points = np.empty(store.points, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points["xyz"], points["rgb"] = xyz[0], rgb[0]
    columns = [f"float {axis}" for axis in "xyz"] + [f"uchar {color}" for color in ("red", "green", "blue")]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {store.points}"]
    head += [*(f"property {column}" for column in columns), "end_header", ""]
    with files.atomic_write(path) as file:
        file.write("\n".join(head).encode() + points.tobytes())
    return path


def _figure(store: Store, row: int) -> str:
    xyz, rgb = (values[0] for values in store.raw([row]))
    crop, (split, identity, camera, source) = store.crop(row), store.rows[row].tolist()[:4]
    images = ([] if crop is None else [crop]) + [draw_cloud(xyz, rgb, angle) for angle in ANGLES]
    shown = ""
    for image in images:
        Image.fromarray(image).save(content := io.BytesIO(), "PNG")
        shown += f'<img alt="" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'
    caption = f"row {row}, {split}, identity {identity}, camera {camera}<br>{html.escape(source)}"
    return f"<figure><div>{shown}</div><figcaption>{caption}</figcaption></figure>"
