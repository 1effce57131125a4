"""Surfaces as other systems write them: byte order marks, line ends, encodings, comments."""

import codecs

import numpy as np
import pytest

from ogreid.data.datasets.obj import read_obj
from ogreid.errors import InputError
from ogreid.lifting.readers.mesh_files import read_vertices_and_faces

VERTICES = [[0, 0, 1], [1, 0, 2], [1, 1, 3], [0, 1, 4]]
FACES = [[0, 1, 2], [1, 2, 3]]
OBJ = "# by hand\n" + "".join("v {} {} {}\n".format(*one) for one in VERTICES) + "f 1 2 3\nf 2/1 3//2 4\n"
HEAD = "ply\ncomment by hand\nformat {} 1.0\nobj_info none\nelement vertex 4\nproperty float x\nproperty float y\n"
HEAD += "property float z\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
ROWS = "".join("{} {} {}\n".format(*one) for one in VERTICES) + "3 0 1 2\n3 1 2 3\n"
CLOUD = "v 1 -2.5 .5 0 0.5 1\nv 3 4 5 1 1 1\n"
SYSTEMS = {
    "Unix": lambda text: text.encode(),
    "a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "an old Mac": lambda text: text.replace("\n", "\r").encode(),
    "all of it": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
}
EVERY = SYSTEMS | {
    "UTF-16": lambda text: text.encode("utf-16"),
    "big-endian UTF-16": lambda text: codecs.BOM_UTF16_BE + text.replace("\n", "\r\n").encode("utf-16-be"),
    "Latin-1 comments": lambda text: b"# caf\xe9\n" + text.replace("\n", " # \u00e9\u0085v 9 9\n", 1).encode("latin-1"),
    "comments behind": lambda text: text.replace("\n", " # v 9 9 9 \f v 9 9 9\n").replace(" # by", "# by").encode(),
    "comments that touch": lambda text: text.replace("\n", "#v 9 9 9\n").encode(),
    "continued lines": lambda text: text.replace(" ", " \\\n").encode(),
    "no end": lambda text: text.rstrip("\n").encode(),
}


def binary(head, order):
    corners = np.zeros(2, dtype=[("n", "u1"), ("c", order + "i4", 3)])
    corners["n"], corners["c"] = 3, FACES
    return head + np.array(VERTICES, order + "f4").tobytes() + corners.tobytes()


def check(path, content):
    path.write_bytes(content)
    vertices, faces = read_vertices_and_faces(path)
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(faces, FACES)


@pytest.mark.parametrize("system", EVERY)
def test_a_body_is_the_same_from_every_system(tmp_path, system):
    check(tmp_path / "a.obj", EVERY[system](OBJ))


@pytest.mark.parametrize("system", EVERY)
def test_a_cloud_is_the_same_from_every_system(tmp_path, system):
    (tmp_path / "a.obj").write_bytes(EVERY[system](CLOUD))
    xyz, rgb = read_obj(tmp_path / "a.obj")
    np.testing.assert_array_equal(xyz, [[1, -2.5, 0.5], [3, 4, 5]])
    np.testing.assert_array_equal(rgb, [[0, 128, 255], [255, 255, 255]])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_ply_file_is_the_same_from_every_system_in_all_its_formats(tmp_path, system):
    as_written = SYSTEMS[system]
    check(tmp_path / "a.ply", as_written(HEAD.format("ascii") + ROWS))
    check(tmp_path / "b.ply", binary(as_written(HEAD.format("binary_little_endian")), "<"))
    check(tmp_path / "c.ply", binary(as_written(HEAD.format("binary_big_endian")), ">"))
    check(tmp_path / "d.ply", as_written(HEAD.format("ascii").replace("by hand", "end_header") + ROWS + "\n"))
    check(tmp_path / "e.ply", HEAD.format("ascii").replace("hand", "h\u00e4nd").encode("latin-1") + ROWS.encode())


def test_an_unknown_format_of_ply_is_refused_by_name(tmp_path):
    (tmp_path / "a.ply").write_bytes(binary(HEAD.format("binary_middle_endian").encode(), "<"))
    with pytest.raises(InputError, match="format 'binary_middle_endian'; expected ascii, binary_little_endian"):
        read_vertices_and_faces(tmp_path / "a.ply")
