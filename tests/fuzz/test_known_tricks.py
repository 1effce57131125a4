"""Tricks that are known, one by one: each is refused for its own reason, and none does what it was made for."""

import io
import json
import os
import pickle
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from conftest import write_tiny_store
from fuzz.watch import survives
from ogreid import config
from ogreid.data import Store
from ogreid.data.datasets.obj import read_obj
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import read_crop
from ogreid.data.store.manifest import make_rows, rows_checksum
from ogreid.errors import InputError
from ogreid.lifting import WeakCamera
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.estimators import read_body, read_faces
from ogreid.lifting.readers.mesh_files import read_vertices_and_faces
from ogreid.runs import Run


def refusal(path, read, content=None):
    """The message with which a reader refuses a file, or a file of this content, under watch."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    messages = []

    def noted(folder, name):
        try:
            read(folder / name)
        except InputError as error:
            messages.append(str(error))
            raise

    assert not survives(noted, path.parent, path.name)
    return messages[0]


def header(shape, dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members_of:
        for name, content in members.items():
            members_of.writestr(f"{name}.npy", content)
    return file.getvalue()


def load(path):
    return config.load(str(path))


def laughs(first, line):
    return "\n".join([f"a0: &a0 {first}", *(line.format(i, ", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 10))])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (laughs("[ha, ha]", "a{0}: &a{0} [{1}]"), "more than 10000 values"),
        (laughs("{x: 1}", "a{0}: &a{0} {{<<: [{1}]}}"), "more than 10000 values"),
        ("a: &a [*a]", "YAML"),
        ("!!python/object/apply:os.system [echo]", "constructor"),
        ("[" * 5000, "YAML"),
        ("seed: " + "9" * 5000, "YAML"),
        ("seed: " + "0x" + "f" * 5000, "64 bits"),
        ("name: " + "a" * 200_000, "100000"),
        ("extends: " + "a" * 5000, "extends"),
        ("extends: [a]", "extends"),
        ("name: ../../etc", "cannot name a folder"),
        ("name: /etc/ogreid", "cannot name a folder"),
        ("model: {channels: [{a: 1}]}", "channels"),
        ("model: {convolutions: 900000}", "1 to 64"),
        ("model: {channels: [999999999]}", "1 to 16384"),
        ("seed: ${seed}", "a.yaml"),
    ],
)
def test_settings_that_would_run_or_grow_are_refused(tmp_path, text, word):
    assert word in refusal(tmp_path / "a.yaml", load, text)


def test_settings_in_a_checkpoint_do_not_grow_either():
    shared = ["ha"] * 10
    for _ in range(9):
        shared = [shared] * 10
    with pytest.raises(InputError, match="settings of an experiment"):
        config.from_dict({"data": shared}, where="checkpoint")


def test_a_run_from_elsewhere_does_not_read_this_machine_s_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "precious")
    text = "name: mine\ndescription: ${oc.env:SECRET}\n"
    message = refusal(tmp_path / "experiment.yaml", lambda path: Run(path.parent).experiment(), text)
    assert "interpolation" in message and "precious" not in message


@pytest.mark.parametrize("summary", ["[1]", "{", "NaN", "[" * 100_000, '{"a": 1e999999999999'])
def test_a_summary_that_is_none_is_named(tmp_path, summary):
    path = tmp_path / "summary.json"
    assert "summary.json" in refusal(path, lambda path: Run(path.parent).summary(), summary)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    bomb = archive(**{name: header((25_000_000,)) + bytes(100_000_000) for name in ("verts", "cam", "faces")})
    assert len(bomb) < 1_000_000 and "0.3 GB" in refusal(tmp_path / "a.npz", read_archive, bomb)


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 4), (-1, 3), (10**6, 10**6, 10**6)])
def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path, shape):
    content = archive(verts=header(shape) + bytes(400), cam=header((3,)) + bytes(12))
    assert "a.npz" in refusal(tmp_path / "a.npz", lambda path: read_body(path, (128, 64)), content)
    assert "a.npy" in refusal(tmp_path / "a.npy", read_faces, header(shape) + bytes(400))


def test_members_of_an_archive_lead_nowhere(tmp_path):
    (tmp_path / "a.npz").write_bytes(archive(**{place: header((3,)) + bytes(12) for place in ("../../a", "/tmp/a")}))
    assert survives(lambda folder, name: read_archive(folder / name), tmp_path, "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


class Forged:
    """A pickle of what numpy names, put together as numpy would not."""

    def __init__(self, call, *arguments, state=None):
        self.parts = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self):
        return self.parts


OBJECTS = Forged(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 0))
ARRAY = (np._core.multiarray._reconstruct, np.ndarray, (0,), b"b")
FORGED = [
    Forged(*ARRAY, state=(1, (1,), OBJECTS, False, b"A" * 8)),
    Forged(np._core.numeric._frombuffer, b"A" * 8, OBJECTS, (1,), "C"),
    Forged(np._core.multiarray.scalar, np.dtype([("a", "O")]), b"A" * 8),
    Forged(np.ndarray, (10**12,), "f8"),
    Forged(np._core.numeric._frombuffer, b"A" * 8, np.dtype("f8"), (10**12,), "C"),
]
PICKLES = [
    *(pickle.dumps(forged, protocol=2) for forged in FORGED),
    b"\x80\x04Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: the unpickler's table would take 32 GB
    b"\x80\x05\x96\x00\x00\x00\x00\x20\x00\x00\x00.",  # BYTEARRAY8 of 128 GB
    b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x0b\x00\x00\x00unicode_esc\x86R.",
    b"\x80\x02]q\x00h\x00a.",  # a list in itself
    b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    b"cos\nsystem\n(S'touch was_run'\ntR.",
    b"cnumpy._core.multiarray\n_reconstruct\n(cbuiltins\neval\n(I0\ntS'b'\ntR.",
    b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__)s\x86b.",  # an attribute of what is allowed
    b"",
]


@pytest.mark.parametrize("pickled", PICKLES, ids=range(len(PICKLES)))
def test_pickles_that_forge_exhaust_or_call_are_refused(tmp_path, pickled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "a.npz" in refusal(tmp_path / "a.npz", read_archive, archive(results=header((), "|O") + pickled))
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("count", ["999999999999", "-1", "9" * 40])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_a_surface_that_claims_more_rows_than_it_has_is_refused_at_once(tmp_path, count, form):
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    head = f"ply\nformat {form} 1.0\nelement vertex {count}\n{axes}end_header\n"
    assert "a.ply" in refusal(tmp_path / "a.ply", read_vertices_and_faces, head.encode() + bytes(120))


@pytest.mark.parametrize(("scale", "shift"), [(np.nan, 0.0), (1e-300, 0.0), (0.9, np.inf), (0.9, 1e300), (1e300, 0.0)])
def test_numbers_that_are_no_camera_are_refused_before_anything_is_lifted(scale, shift):
    with pytest.raises(InputError, match="scale"):
        WeakCamera(scale, (shift, 0.0))


@pytest.mark.parametrize("read", [read_obj, read_crop, read_archive, read_faces, load])
def test_pipes_and_devices_are_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("/dev/zero")
    for name in ("a.yaml", "b.yaml"):
        assert "not a regular file" in refusal(tmp_path / name, read).replace("no experiment", "not a regular")


def test_a_cloud_of_any_size_is_not_read_into_memory(tmp_path):
    with (tmp_path / "a.obj").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no disk
    assert "1099511627776 bytes" in refusal(tmp_path / "a.obj", read_obj)
    assert "1e+39" in refusal(tmp_path / "b.obj", read_obj, "v 1e39 0 0 0 0 0\n")


def test_an_image_is_what_its_content_says_and_starts_no_program(tmp_path):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert "not a readable image" in refusal(tmp_path / "a.jpg", read_crop, script)
    size = b"\x00\x00\xff\xff\x00\x00\xff\xff"  # 65535 x 65535, 13 GB as numbers
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + size + b"\x08\x02\x00\x00\x00", b"IDAT" + zlib.compress(bytes(1000)), b"IEND"):
        content += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    assert "decompression bomb" in refusal(tmp_path / "b.png", read_crop, content)


def forge(folder, change=lambda manifest: None, source=None):
    """A store whose checksums are all right and whose content is a stranger's."""
    store = write_tiny_store(folder / "tiny", identities=4)
    manifest = json.loads((store.path / "manifest.json").read_text())
    if source is not None:
        rows = np.array(store.rows.astype([*store.rows.dtype.descr[:3], ("source", "<U80")]))
        rows["source"][0] = source
        np.save(store.path / "rows.npy", rows)
        manifest["rows_sha256"] = rows_checksum(rows)
    change(manifest)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    return store.path


@pytest.mark.parametrize("source", ["/etc/passwd", "../../x.jpg", "a/../../../x.jpg", "..", "a\\..\\x"])
def test_a_row_that_leads_out_of_its_folder_is_refused(tmp_path, source):
    assert "outside its folder" in refusal(forge(tmp_path, source=source), Store.open)
    with pytest.raises(InputError, match="leads out of"):
        make_rows(["train"], [1], [1], [source])


@pytest.mark.parametrize(
    "change",
    [
        *({"name": "../../../etc/x"}, {"name": ".."}, {"rows": -1}, {"rows": True}, {"rows": 10**15}, {"height": 7}),
        *({"fields": []}, {"shard": {"number": 1}}, {"splits": [1]}),
        lambda fields: fields.update({"../../secret": fields["rgb"]}),
        lambda fields: fields["rgb"].update(checksums=[]),
        lambda fields: fields["rgb"].update(dtype="O"),
        lambda fields: fields["xyz"].update(shape=[10**12, 3]),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, change):
    path = forge(tmp_path, lambda plain: change(plain["fields"]) if callable(change) else plain.update(change))
    assert "manifest.json: incomplete or contradictory" in refusal(path, Store.open)


def test_rows_that_are_an_archive_or_hold_no_unicode_are_refused(tmp_path):
    path = forge(tmp_path)
    rows = np.load(path / "rows.npy")
    (path / "rows.npy").write_bytes(archive(rows=b""))
    assert "rows.npy" in refusal(path, Store.open)
    rows.view(np.uint8)[-1] = 255  # a character beyond Unicode
    np.save(path / "rows.npy", rows)
    assert "rows.npy" in refusal(path, Store.open)


def test_names_that_are_no_unicode_or_no_numbers_are_refused_while_packing(tmp_path):
    for identity, name, word in ((1, os.fsdecode(b"\xff.jpg"), "is not Unicode"), (10**30, "a.jpg", "64-bit")):
        with pytest.raises(InputError, match=word):
            make_rows(["train"], [identity], [1], [name])
    for camera, split in enumerate(("query", "gallery"), start=1):
        (tmp_path / split).mkdir()
        Image.new("RGB", (4, 8)).save(tmp_path / split / f"{'9' * 40}_c{camera}_a.jpg")
    assert "64-bit" in refusal(tmp_path, lambda path: rows_array(read_benchmark("folder", path)))


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname", "a/../../x.jpg"])
def test_a_list_that_names_images_elsewhere_is_refused(tmp_path, name):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
    (tmp_path / "list_train.txt").write_text(f"{name} 0\n")
    message = refusal(tmp_path, lambda path: read_benchmark("msmt", path))
    assert "list_train.txt:1" in message and "outside its folder" in message


def test_a_message_is_one_line_that_a_terminal_can_show():
    message = str(InputError("a file named \x1b[2J\n" + "x" * 100_000))
    assert len(message) < 1100 and "\\x1b[2J\\n" in message and message.isprintable()
