"""Tricks that are known, one by one: each is refused by name, and none does what it was made for."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from conftest import write_tiny_store
from fuzz.watch import survives
from ogreid import config, files, runs
from ogreid.data import Store
from ogreid.data.store.manifest import make_rows, rows_checksum
from ogreid.data.datasets.obj import read_obj
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import read_crop
from ogreid.errors import InputError
from ogreid.lifting import Mesh, WeakCamera, lift
from ogreid.lifting.readers.archive import read_archive
from ogreid.lifting.readers.estimators import read_body, read_faces
from ogreid.lifting.readers.mesh_files import read_vertices_and_faces


def refused(words, read, *told):
    with pytest.raises(InputError, match=words) as refusal:
        read(*told)
    return str(refusal.value)


def header(shape, dtype="<f4"):
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": dtype, "fortran_order": False, "shape": shape})
    return held.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


def test_billion_laughs_are_not_laughed(tmp_path):
    laughs = ["a0: &a0 [ha, ha]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    (tmp_path / "a.yaml").write_text("\n".join(laughs))
    refused(r"a.yaml: not readable as YAML: more than 10000 values", config.load, str(tmp_path / "a.yaml"))
    merged = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 10))]
    (tmp_path / "a.yaml").write_text("\n".join(merged))
    refused("more than 10000 values", config.load, str(tmp_path / "a.yaml"))
    (tmp_path / "a.yaml").write_text("a: &a [*a]")
    refused("not readable as YAML", config.load, str(tmp_path / "a.yaml"))
    shared = ["ha"] * 10
    for _ in range(9):
        shared = [shared] * 10
    refused(
        "checkpoint: not the settings of an experiment", lambda: config.from_dict({"data": shared}, where="checkpoint")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("[" * 5000, "RecursionError|groups within each other"),
        ("seed: " + "9" * 5000, "not readable as YAML"),
        ("seed: " + "0x" + "f" * 5000, "a whole number beyond 64 bits"),
        ("name: " + "a" * 200_000, "100000 at most"),
        ("extends: " + "a" * 5000, "expected an experiment's name"),
        ("extends: [a]", "expected an experiment's name"),
        ("name: ../../etc", "cannot name a folder"),
        ("name: /etc/ogreid", "cannot name a folder"),
        ("model: {widths: [{a: 1}]}", "{'a': 1} is out of range"),
        ("model: {convolutions: 900000}", "out of range; expected 1 to 64"),
        ("model: {widths: [999999999]}", "out of range; expected 1 to 16384"),
        ("seed: ${seed}", "a.yaml"),
    ],
)
def test_settings_that_would_run_or_grow_are_refused(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    refused(words, config.load, str(tmp_path / "a.yaml"))


def test_a_run_from_elsewhere_does_not_read_this_machine_s_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "precious")
    (tmp_path / "experiment.yaml").write_text("name: mine\ndescription: ${oc.env:SECRET}\n")
    told = refused("an interpolation", runs.open_run(tmp_path).experiment)
    assert "precious" not in told


@pytest.mark.parametrize("summary", ["[1]", "{", "NaN", "[" * 100_000, '{"a": 1e999999999999'])
def test_a_summary_that_is_none_is_named(tmp_path, summary):
    (tmp_path / "summary.json").write_text(summary)
    refused(r"summary.json: not a readable summary", runs.Run(tmp_path).summary)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    zeros = bytes(100_000_000)
    bomb = archive(tmp_path / "a.npz", **{name: header((25_000_000,)) + zeros for name in ("verts", "cam", "faces")})
    assert bomb.stat().st_size < 1_000_000
    refused(r"a.npz: not a readable .npz file \(\d+ bytes that unpack to 0.3 GB\)", read_archive, bomb)


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 4), (-1, 3), (10**6, 10**6, 10**6)])
def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path, shape):
    archive(tmp_path / "a.npz", verts=header(shape) + bytes(400), cam=header((3,)) + bytes(12))
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(400))
    assert not survives(lambda folder, name: read_body(folder / name, (128, 64)), tmp_path, "a.npz")
    assert not survives(lambda folder, name: read_faces(folder / name), tmp_path, "a.npy")


def test_members_of_an_archive_lead_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("../../escaped.npy", header((3,)) + bytes(12))
        made.writestr("/tmp/escaped.npy", header((3,)) + bytes(12))
    assert survives(lambda folder, name: read_archive(folder / name), tmp_path, "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


class Forged:
    """A pickle of what numpy names, put together as numpy would not."""

    def __init__(self, call, *told, state=None):
        self.call, self.told, self.state = call, told, state

    def __reduce__(self):
        return (self.call, self.told) if self.state is None else (self.call, self.told, self.state)


OBJECTS_AS_BYTES = Forged(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 0))


@pytest.mark.parametrize(
    "forged",
    [
        Forged(
            np._core.multiarray._reconstruct, np.ndarray, (0,), b"b", state=(1, (1,), OBJECTS_AS_BYTES, False, b"A" * 8)
        ),
        Forged(np._core.numeric._frombuffer, b"A" * 8, OBJECTS_AS_BYTES, (1,), "C"),
        Forged(np._core.multiarray.scalar, np.dtype([("a", "O")]), b"A" * 8),
        Forged(np.ndarray, (10**12,), "f8"),
        Forged(np._core.numeric._frombuffer, b"A" * 8, np.dtype("f8"), (10**12,), "C"),
    ],
)
def test_forged_arrays_read_no_memory_and_take_none(tmp_path, forged):
    held = pickle.dumps(forged, protocol=2)
    archive(tmp_path / "a.npz", results=header((), "|O") + held)
    assert not survives(lambda folder, name: read_archive(folder / name), tmp_path, "a.npz")


@pytest.mark.parametrize(
    "held",
    [
        b"\x80\x04Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: the unpickler's table would take 32 GB
        b"\x80\x05\x96\x00\x00\x00\x00\x20\x00\x00\x00.",  # BYTEARRAY8 of 128 GB
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x0b\x00\x00\x00unicode_esc\x86R.",
        b"\x80\x02]q\x00h\x00a.",  # a list in itself
        b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
        b"cos\nsystem\n(S'touch was_run'\ntR.",
        b"",
    ],
)
def test_pickles_that_exhaust_or_call_are_refused(tmp_path, held, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive(tmp_path / "a.npz", results=header((), "|O") + held)
    assert not survives(lambda folder, name: read_archive(folder / name), tmp_path, "a.npz")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("count", ["999999999999", "-1", "9" * 40])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_a_surface_that_claims_more_rows_than_it_has_is_refused_at_once(tmp_path, count, form):
    head = f"ply\nformat {form} 1.0\nelement vertex {count}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    (tmp_path / "a.ply").write_bytes(f"{head}end_header\n".encode() + bytes(120))
    assert not survives(lambda folder, name: read_vertices_and_faces(folder / name), tmp_path, "a.ply")


def test_numbers_that_are_no_body_are_refused_before_they_are_lifted():
    vertices, faces = np.array([[0.0, -1, 0], [0.4, 1, 0], [-0.4, 1, 0]]), np.array([[0, 1, 2]])
    crop = np.zeros((128, 64, 3), np.uint8)
    lift(crop, Mesh(vertices, faces, WeakCamera(0.9, (0.0, 0.0))))
    for scale, shift in ((np.nan, 0.0), (1e-300, 0.0), (0.9, np.inf), (0.9, 1e300), (1e300, 0.0)):
        refused("expected scale > 0", lambda scale=scale, shift=shift: WeakCamera(scale, (shift, 0.0)))


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.obj")
    refused("a.obj: not a regular file", read_obj, tmp_path / "a.obj")
    (tmp_path / "b.obj").symlink_to("/dev/zero")
    refused("b.obj: not a regular file", read_obj, tmp_path / "b.obj")
    os.mkfifo(tmp_path / "a.jpg")
    refused("a.jpg: not a readable image .not a regular file", read_crop, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        files.read_arrays(tmp_path / "a.obj")


def test_a_cloud_of_any_size_is_not_read_into_memory(tmp_path):
    with (tmp_path / "a.obj").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no disk
    refused(r"a.obj: 1099511627776 bytes; such a file has 16777216 at most", read_obj, tmp_path / "a.obj")
    (tmp_path / "b.obj").write_text("v 1e39 0 0 0 0 0\n")
    refused(r"b.obj: coordinates up to 1e\+39; expected meters", read_obj, tmp_path / "b.obj")


def test_a_picture_is_what_its_content_says_and_starts_no_program(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert not survives(lambda folder, name: read_crop(folder / name), tmp_path, "a.jpg")
    size = b"\x00\x00\xff\xff\x00\x00\xff\xff"  # 65535 x 65535, 13 GB as numbers
    import zlib

    chunk = b"IHDR" + size + b"\x08\x02\x00\x00\x00"
    data = b"IDAT" + zlib.compress(bytes(1000))
    content = b"\x89PNG\r\n\x1a\n"
    for one in (chunk, data, b"IEND"):
        content += (len(one) - 4).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big")
    (tmp_path / "b.png").write_bytes(content)
    assert not survives(lambda folder, name: read_crop(folder / name), tmp_path, "b.png")


def forge(folder, change=lambda told: None, source=None):
    """A store whose checksums are all right and whose content is a stranger's."""
    store = write_tiny_store(folder, identities=4)
    told = json.loads((store.path / "manifest.json").read_text())
    if source is not None:
        rows = np.array(store.rows.astype([*store.rows.dtype.descr[:3], ("source", "<U80")]))
        rows["source"][0] = source
        np.save(store.path / "rows.npy", rows)
        told["rows_sha256"] = rows_checksum(rows)
    change(told)
    (store.path / "manifest.json").write_text(json.dumps(told))
    return store.path


@pytest.mark.parametrize("source", ["/etc/passwd", "../../x.jpg", "a/../../../x.jpg", "..", "a\\..\\x"])
def test_a_row_that_leads_out_of_its_folder_is_refused(tmp_path, source):
    refused("rows.npy: .* outside its folder", Store.open, forge(tmp_path / "tiny", source=source))
    refused("leads out of the benchmark's folder", make_rows, ["train"], [1], [1], [source])


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(name="../../../etc/x"),
        lambda manifest: manifest.update(name=".."),
        lambda manifest: manifest["fields"].update({"../../secret": manifest["fields"]["rgb"]}),
        lambda manifest: manifest["fields"]["rgb"].update(checksums=[]),
        lambda manifest: manifest["fields"]["rgb"].update(dtype="O"),
        lambda manifest: manifest["fields"]["xyz"].update(shape=[10**12, 3]),
        lambda manifest: manifest.update(rows=-1),
        lambda manifest: manifest.update(rows=True),
        lambda manifest: manifest.update(rows=10**15),
        lambda manifest: manifest.update(height=7),
        lambda manifest: manifest.update(fields=[]),
        lambda manifest: manifest.update(shard={"number": 1}),
        lambda manifest: manifest.update(splits=[1]),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, change):
    refused(r"manifest.json: incomplete or contradictory", Store.open, forge(tmp_path / "tiny", change))


def test_rows_that_are_an_archive_or_hold_no_unicode_are_refused(tmp_path):
    path = forge(tmp_path / "tiny")
    rows = np.load(path / "rows.npy")
    archive(path / "rows.npy", rows=b"")
    refused("rows.npy: not readable", Store.open, path)
    rows.view(np.uint8)[-1] = 255  # a character beyond Unicode
    np.save(path / "rows.npy", rows)
    refused("rows.npy: .*(not readable|checksum)", Store.open, path)


def test_names_that_are_no_unicode_or_no_numbers_are_refused_while_packing(tmp_path):
    refused("is not Unicode", make_rows, ["train"], [1], [1], [os.fsdecode(b"\xff.jpg")])
    refused("64-bit", make_rows, ["train"], [10**30], [1], ["a.jpg"])
    from PIL import Image

    for camera, split in enumerate(("query", "gallery"), start=1):
        (tmp_path / split).mkdir()
        Image.new("RGB", (4, 8)).save(tmp_path / split / f"{'9' * 40}_c{camera}_a.jpg")
    refused("64-bit", lambda: rows_array(read_benchmark("folder", tmp_path)))


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname", "a/../../x.jpg"])
def test_a_list_that_names_pictures_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "list_train.txt").write_text(f"{name} 0\n")
    refused(r"list_train.txt:1: names .*, outside its folder", read_benchmark, "msmt", tmp_path)


def test_a_message_is_one_line_that_a_terminal_can_show():
    told = str(InputError("a file named \x1b[2J\n" + "x" * 100_000))
    assert len(told) < 1100 and "\\x1b[2J\\n" in told and told.isprintable()
