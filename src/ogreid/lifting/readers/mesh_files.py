"""Bodies as ``.obj`` or ``.ply`` surfaces, with the camera in a ``.json`` file beside them."""

import codecs
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ogreid import files
from ogreid.errors import InputError, nearest_names
from ogreid.lifting.camera import Camera, PinholeCamera, ResizedCamera, WeakCamera

AXES = {"right-down-away": (1, 1, 1), "right-up-towards": (1, -1, -1)}
"""Directions of x, y, z in the file; ``right-up-towards`` is what 4D-Humans and most viewers write."""
Convention = Literal["4D-Humans", "SAM 3D Body"]
FOUR_D_HUMANS_FOCAL = 5000 / 256  # of the crop's longer side
MOST_BYTES = 1 << 26  # a million vertices with their faces, as text
EXAMPLE = '{"type": "weak", "scale": 0.9, "translation": [0, 0], "order": "s(x+t)"}'
PLY_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
PLY_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
PLY_TYPES |= {"float": "f4", "double": "f8"}
PLY_TYPES |= {np.dtype(code).name: code for code in PLY_TYPES.values()}  # int8, ...: the names of newer writers
Elements = list[tuple[str, int, list[list[str]]]]
"""Name, number of rows and properties of each element of a PLY header."""


def read_surface(
    path: Path, size: tuple[int, int], convention: Convention | None = None
) -> tuple[np.ndarray, np.ndarray | None, Camera]:
    """Vertices (V, 3) in ogreid's axes, faces (F, 3) or None, and the camera of an ``.obj`` or ``.ply`` file.

    The camera lies in ``<same name>.json`` or in ``camera.json`` beside it, as
    ``{"type": "weak", "scale", "translation": [x, y], "order": "s(x+t)" | "sx+t"}`` or
    ``{"type": "pinhole", "focal", "translation": [x, y, z], "center": [column, row]}`` in pixels of the crop as it lies
    on disk, and may add ``"axes": "right-up-towards"`` where the file's y and z point the other way.

    Args:
        path: the file.
        size: height and width of the crop.
        convention: the estimator that wrote the file, where its name says so. Both put the camera's translation into
            the vertices; 4D-Humans' focal length follows from the crop, SAM 3D Body's lies in a file beside it.
    """
    camera, axes = _read_camera(path, size, convention)
    vertices, faces = read_vertices_and_faces(path)
    return vertices * AXES[axes], faces, ResizedCamera(camera, *size)


def read_vertices_and_faces(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices (V, 3) float64 and triangles (F, 3) int64 (None without any) of an ``.obj`` or ``.ply`` file."""
    try:
        content = files.read_bytes(path, MOST_BYTES)
        with np.errstate(invalid="ignore"):  # NaN is Mesh's to refuse
            vertices, faces = _parse_ply(content) if path.suffix == ".ply" else _parse_obj(content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not a readable surface ({error}); export it again with triangles") from error
    if not len(vertices):
        raise InputError(f"{path}: no vertices")
    return vertices, faces if len(faces) else None


def _parse_obj(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = [], []
    text = files.plain_text(content).replace(b"\\\n", b" ").decode(errors="replace")  # a comment of any encoding
    for line in text.split("\n"):
        kind, *words = line.partition("#")[0].split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "f":
            corners = [_corner(word, len(vertices)) for word in words]
            # A polygon becomes a fan; a triangle is its own.
            faces += [[corners[0], *corners[i : i + 2]] for i in range(1, len(corners) - 1)]
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), np.array(faces, dtype=np.int64).reshape(-1, 3)


def _corner(word: str, vertices: int) -> int:
    """``7``, ``7/2/3`` or, counted from the end, ``-1``."""
    number = int(word.split("/")[0])
    return number - 1 if number > 0 else vertices + number


def _parse_ply(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    content = content.removeprefix(codecs.BOM_UTF8)
    first = re.match(rb"ply[ \t]*(\r\n|\n|\r)", content)
    head, end, body = content.partition(first[1] + b"end_header" + first[1]) if first else (b"", b"", b"")
    if not end:
        raise ValueError("no PLY header, ply to end_header")
    lines = [line.split() or [""] for line in files.plain_text(head).decode(errors="replace").split("\n")]
    form = next((words[1] for words in lines if words[0] == "format"), "")
    if form not in PLY_FORMATS:
        raise ValueError(f"format {form!r}; expected {', '.join(PLY_FORMATS)}")
    elements: Elements = []
    for word, *rest in lines[1:]:
        if word == "element":
            if int(rest[1]) < 0 or rest[0] in (name for name, *_ in elements):
                raise ValueError(f"element {rest[0]} twice, or with {rest[1]} rows")
            elements.append((rest[0], int(rest[1]), []))
        elif word == "property":
            elements[-1][2].append(rest)
    if form == "ascii":
        rows = files.plain_text(body).decode("ascii").split("\n")
        tables = _read_ascii([row for row in rows if row.strip()], elements)
    else:
        tables = _read_binary(body, elements, "<" if form == "binary_little_endian" else ">")
    return tables["vertex"], tables.get("face", np.zeros((0, 3), dtype=np.int64))


def _read_ascii(lines: list[str], elements: Elements) -> dict[str, np.ndarray]:
    tables = {}
    for name, count, properties in elements:
        rows, lines = [line.split() for line in lines[:count]], lines[count:]
        if len(rows) < count:
            raise ValueError(f"{len(rows)} of {count} lines for element {name}")
        if name == "vertex":
            places = [[one[-1] for one in properties].index(axis) for axis in "xyz"]
            tables[name] = np.array([[float(row[place]) for place in places] for row in rows])
        elif name == "face":
            _check_triangles({int(row[0]) for row in rows})
            tables[name] = np.array([row[1:4] for row in rows], dtype=np.int64)
    return tables


def _read_binary(body: bytes, elements: Elements, order: str) -> dict[str, np.ndarray]:
    tables: dict[str, np.ndarray] = {}
    start = 0
    for name, count, properties in elements:
        row: list[Any] = []
        for one in properties:
            if one[0] == "list" and {PLY_TYPES[one[1]][0], PLY_TYPES[one[2]][0]} <= {"i", "u"}:
                # Triangles only, so that every row has the same length.
                row += [("count", order + PLY_TYPES[one[1]]), ("corners", order + PLY_TYPES[one[2]], (3,))]
            else:
                row.append((one[-1], order + PLY_TYPES[one[0]]))
        if not row:
            raise ValueError(f"element {name} without properties")
        table = np.frombuffer(body, dtype=row, count=count, offset=start)
        start += table.nbytes
        if name == "vertex":
            tables[name] = np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)
        elif name == "face":
            _check_triangles(set(table["count"].tolist()))
            tables[name] = table["corners"].astype(np.int64)
    return tables


def _check_triangles(corners: set[int]) -> None:
    if corners - {3}:
        raise ValueError(f"a face with {min(corners - {3})} corners")


def _read_camera(
    surface: Path, size: tuple[int, int], convention: Convention | None
) -> tuple[WeakCamera | PinholeCamera, str]:
    focal_length = surface.with_name(f"{surface.stem.rpartition('_mesh_')[0]}_focal_length.json")
    places = [surface.with_suffix(".json"), surface.parent / "camera.json"]
    places += [focal_length] if convention == "SAM 3D Body" else []
    path = next((place for place in places if place.is_file()), None)
    center = (size[1] / 2, size[0] / 2)
    if path is None and convention == "4D-Humans":
        return PinholeCamera(FOUR_D_HUMANS_FOCAL * max(size), (0, 0, 0), center), "right-up-towards"
    if path is None:
        raise InputError(f"{surface}: no camera; write {places[0].name} beside it, like {EXAMPLE}")
    try:
        camera = files.read_json(path)
        if path == focal_length:
            return PinholeCamera(float(camera["focal_length"]), (0, 0, 0), center), "right-up-towards"
        axes = str(camera.get("axes", "right-down-away"))
        if axes not in AXES:
            raise ValueError(f"axes {axes!r}; {nearest_names(axes, AXES)}")
        return _camera(camera), axes
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a camera ({reason}); expected one like {EXAMPLE}") from error


def _camera(camera: dict[str, Any]) -> WeakCamera | PinholeCamera:
    """``order`` and ``type`` have no default: conventions are never guessed."""
    if camera["type"] == "pinhole":
        x, y, z = map(float, camera["translation"])
        column, row = map(float, camera["center"])
        return PinholeCamera(float(camera["focal"]), (x, y, z), (column, row))
    if camera["type"] != "weak":
        raise ValueError(f"type {camera['type']!r} is neither weak nor pinhole")
    x, y = map(float, camera["translation"])
    return WeakCamera(float(camera["scale"]), (x, y), camera["order"])
