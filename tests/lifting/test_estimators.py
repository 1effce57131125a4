import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from lifting import estimator_files
from ogreid.errors import InputError
from ogreid.lifting import upright_template
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.estimators import read_body, read_faces
from ogreid.lifting.readers.forms import NoBodyError

BODY = upright_template()
PINHOLE = {"type": "pinhole", "focal": 2500.0, "translation": [0, 0, 0], "center": [32, 64]}
VERTICES = BODY.vertices[::7]
SIZE = (128, 64)
LARGE = (300, 100)


def on_crop(mesh):
    """Pixels of the vertices in the packed crop."""
    return mesh.camera.pixels(mesh.vertices.astype(float), 128, 64)


@pytest.mark.parametrize("form", estimator_files.WITH_JOINTS)
def test_a_camera_that_contradicts_the_file_s_own_joints_is_refused(tmp_path, form):
    people = [estimator_files.Place(64.0, 33.0, 62.0)]
    expected = form(tmp_path, "a.jpg", people, SIZE)[0]
    path = next(tmp_path.iterdir())
    np.testing.assert_allclose(on_crop(read_body(path, SIZE)), expected, atol=1e-4)
    form(tmp_path, "a.jpg", people, SIZE, off=3.0)
    with pytest.raises(InputError, match=r"a.*npz: its camera puts the joints 4.2 pixels from") as refusal:
        read_body(path, SIZE)
    assert not isinstance(refusal.value, NoBodyError)


def test_a_distant_body_keeps_its_depth_in_float16(tmp_path):
    estimator_files.four_d_humans_obj(tmp_path, "a.jpg", [estimator_files.Place(64.0, 33.0, 62.0)], SIZE)
    camera_file(tmp_path / "camera.json", **PINHOLE, axes="right-up-towards")
    mesh = read_body(tmp_path / "a_0.obj", SIZE)
    assert abs(mesh.vertices[:, 2].mean()) < 1e-4
    assert mesh.camera.camera.translation[2] == pytest.approx(39.06, abs=0.01)
    assert len(np.unique(mesh.vertices[:, 2].astype(np.float16))) > 100


def test_members_that_no_form_needs_are_not_opened(tmp_path):
    arrays = {"verts": VERTICES, "cam": np.array([0.9, 0, 0]), "pred_smpl_params": np.array(Malice(tmp_path / "run"))}
    np.savez(tmp_path / "a.npz", **arrays)
    assert read_body(tmp_path / "a.npz", SIZE).camera.scale == 0.9
    assert not (tmp_path / "run").exists()


def test_faces_come_with_the_file_or_from_another(tmp_path):
    np.savez(tmp_path / "a.npz", verts=BODY.vertices, cam=np.array([1.0, 0, 0]))
    np.savez(tmp_path / "model.npz", f=BODY.faces.astype(np.uint32))
    np.save(tmp_path / "model.npy", BODY.faces)
    for name in ("model.npz", "model.npy"):
        faces = read_faces(tmp_path / name)
        np.testing.assert_array_equal(read_body(tmp_path / "a.npz", SIZE, faces).faces, BODY.faces)
    assert read_body(tmp_path / "a.npz", SIZE).faces is None
    np.savez(tmp_path / "a.npz", verts=BODY.vertices, cam=np.array([1.0, 0, 0]), faces=BODY.faces[:4])
    assert read_body(tmp_path / "a.npz", SIZE, BODY.faces).faces.shape == (4, 3)
    with pytest.raises(InputError, match=r"other.npz: holds no faces"):
        np.savez(tmp_path / "other.npz", x=1)
        read_faces(tmp_path / "other.npz")


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def write_pickled(path, content):
    """An archive whose ``results`` are the pickle ``content``."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("results.npy", member.getvalue() + content)


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_objects_of_any_pickle_protocol_are_read(tmp_path, protocol):
    contents = {"cam": np.arange(3.0), "name": "a", "text": b"x", "score": np.float32(0.5)}
    write_pickled(tmp_path / "a.npz", pickle.dumps(np.array(contents, dtype=object), protocol=protocol))
    read = read_archive(tmp_path / "a.npz")["results"][()]
    np.testing.assert_array_equal(read["cam"], contents["cam"])
    assert (read["name"], read["text"], read["score"]) == ("a", b"x", np.float32(0.5))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"joints": np.zeros(3)}, r"holds joints, as no known estimator does"),
        ({"verts": VERTICES, "cam": np.zeros(2)}, r"cam of shape \(2,\); expected \(3,\)"),
        ({"verts": VERTICES, "cam": np.array(["a", "b", "c"])}, "cam of type <U1"),
        ({"verts": np.zeros((1001, 1, 3)), "cam": np.ones((1001, 3))}, "1001 people; expected 1000 at most"),
        ({"verts": np.zeros((0, 9, 3)), "cam": np.ones((0, 3))}, "found nobody"),
        ({"verts": np.zeros((1, 0, 3)), "cam": np.ones((1, 3))}, r"vertices of shape \(0, 3\)"),
        ({"verts": np.array([[0, 0, np.inf], [0, 0, -np.inf]]), "cam": np.ones(3)}, "2 coordinates are not finite"),
        ({"results": np.array({"verts": []}, dtype=object)}, "results without verts and cam"),
        ({"results": np.array({"verts": [], "cam": []}, dtype=object)}, "found nobody"),
        ({"results": np.zeros(3)}, "a ndarray where an estimator writes a dictionary"),
        ({"outputs": np.array([])}, "found nobody"),
        ({"outputs": np.array([None])}, "NoneType where an estimator writes a dictionary"),
        ({"verts": VERTICES, "cam": np.array([-1.0, 0, 0])}, "expected scale > 0"),
        ({"pred_vertices": VERTICES, "pred_cam": np.ones(3), "pred_cam_t": np.ones(3), "focal_length": 5e3}, "box"),
    ],
)
def test_an_unusable_file_is_refused_in_one_line(tmp_path, contents, words):
    np.savez(tmp_path / "a.npz", **contents)
    with pytest.raises(InputError, match=words):
        read_body(tmp_path / "a.npz", SIZE)


def camera_file(path, **camera):
    weak = {"type": "weak", "scale": 0.9, "translation": [0.1, 0.0], "order": "s(x+t)"}
    path.write_text(json.dumps(weak | camera))


def write_obj(path, vertices, faces):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices.tolist()]
    path.write_text("\n".join([*lines, *(f"f {a + 1}//{a + 1} {b + 1}/2 {c + 1}" for a, b, c in faces.tolist())]))


def write_ply(path, vertices, faces, form):
    head = f"ply\nformat {form} 1.0\ncomment by hand\nelement vertex {len(vertices)}\n"
    head += "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    if form == "ascii":
        body = "".join(f"{x} {y} {z} 9\n" for x, y, z in vertices.tolist())
        content = (body + "".join(f"3 {a} {b} {c}\n" for a, b, c in faces.tolist())).encode()
    else:
        order = "<" if "little" in form else ">"
        points = np.zeros(len(vertices), dtype=[("p", order + "f4", 3), ("red", "u1")])
        points["p"] = vertices
        corners = np.zeros(len(faces), dtype=[("n", "u1"), ("c", order + "i4", 3)])
        corners["n"], corners["c"] = 3, faces
        content = points.tobytes() + corners.tobytes()
    path.write_bytes(head.encode() + content)


@pytest.mark.parametrize("form", ["obj", "ascii", "binary_little_endian", "binary_big_endian"])
def test_a_surface_comes_with_its_camera(tmp_path, form):
    path = tmp_path / ("a.obj" if form == "obj" else "a.ply")
    camera_file(tmp_path / "a.json")
    write_obj(path, BODY.vertices, BODY.faces) if form == "obj" else write_ply(path, BODY.vertices, BODY.faces, form)
    mesh = read_body(path, LARGE)
    np.testing.assert_allclose(mesh.vertices, BODY.vertices, rtol=1e-6)
    np.testing.assert_array_equal(mesh.faces, BODY.faces)
    in_crop = (0.9 * (BODY.vertices[:, :2] + [0.1, 0]) + 1) / 2 * 300 - [100, 0]
    np.testing.assert_allclose(on_crop(mesh), in_crop * [64 / 100, 128 / 300], atol=1e-4)


def test_polygons_become_triangles_and_negative_numbers_count_from_the_end(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4 -3 -2 -1\n")
    np.testing.assert_array_equal(read_faces(tmp_path / "a.obj"), [[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (None, r"a.obj: no camera; write a.json beside it"),
        ("{", r"a.json: not a camera \(JSONDecodeError"),
        ('{"scale": 1}', r"a.json: not a camera \(KeyError: 'type'\)"),
        ('{"type": "fish", "scale": 1}', "neither weak nor pinhole"),
        ('{"type": "weak", "scale": 1, "translation": [0, 0]}', "KeyError: 'order'"),
        ('{"type": "weak", "scale": 1, "translation": [0, 0], "order": "xs"}', r"order 'xs'; known"),
        ('{"axes": "up"}', "axes 'up'"),
    ],
)
def test_a_surface_without_a_whole_camera_is_refused(tmp_path, camera, words):
    write_obj(tmp_path / "a.obj", BODY.vertices[:9], BODY.faces[:0])
    if camera:
        (tmp_path / "a.json").write_text(camera)
    with pytest.raises(InputError, match=words):
        read_body(tmp_path / "a.obj", SIZE)


@pytest.mark.parametrize("name", ["a.ply", "a.npz"])
@pytest.mark.parametrize("content", [b"ply\n", b"", b"ply\nformat ascii 1.0\nelement vertex 2\nend_header\n1\n", None])
def test_a_broken_or_missing_file_is_refused(tmp_path, name, content):
    camera_file(tmp_path / "a.json")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: (not a readable|no such file|No such file)"):
        read_body(tmp_path / name, SIZE)
