"""Every reader of files that somebody else may have written, with small files that it takes."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from conftest import write_tiny_store
from lifting import estimator_files
from ogreid import config, runs
from ogreid.data import Store
from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.datasets.obj import read_obj
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import read_crop
from ogreid.lifting import lift, upright_template
from ogreid.lifting.readers.estimators import read_body, read_faces
from ogreid.sweeps.plan import Plan

__all__ = ["READERS", "Reader"]

SIZE = (128, 64)
CROP = np.full((128, 64, 3), 90, np.uint8)
BODY = upright_template()
KEPT = np.flatnonzero((BODY.faces < 400).all(axis=1))
VERTICES, FACES = BODY.vertices[:400], BODY.faces[KEPT]
CAMERA = {"type": "weak", "scale": 0.9, "translation": [0.0, 0.0], "order": "s(x+t)"}


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        files: a folder that it accepts, by file name.
        targets: the files that are changed, one at a time.
        read: reads the changed file of a folder, and uses what was read as the program would.
        words: text that is known in such files.
    """

    files: Mapping[str, bytes]
    targets: tuple[str, ...]
    read: Callable[[Path, str], object]
    words: tuple[bytes, ...] = ()


def packed(**arrays: object) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def saved(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def _lifted(folder: Path, name: str) -> None:
    mesh = read_body(folder / name, SIZE)
    lift(CROP, mesh, mode="vertex" if mesh.faces is None else "raster")


def obj_clouds() -> Reader:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f} {i / 9:.6f} 0.2 1" for i, (x, y, z) in enumerate(VERTICES[:9])]
    text = "\n".join(["# cloud", *lines, "f 1 2 3", ""])
    return Reader(
        {"a.obj": text.encode()}, ("a.obj",), lambda folder, name: read_obj(folder / "a.obj"), (b"v ", b"f ", b"e5")
    )


def body_archives() -> Reader:
    told = {"pred_cam": np.array([0.8, 0.1, 0.0]), "box_center": np.array([32.0, 64.0]), "box_size": np.array(128.0)}
    return Reader(
        {"a.npz": packed(pred_vertices=VERTICES[None], faces=FACES, **told)},
        ("a.npz",),
        _lifted,
        (
            b"pred_vertices.npy",
            b"pred_cam.npy",
            b"<f4",
            b"<f8",
            b"|O",
            b"|S9",
            b"<U1",
            b"<c16",
            b"<M8[s]",
            b"True",
            b"(400, 3)",
        ),
    )


def body_pickles() -> Reader:
    people = {"verts": VERTICES[None], "cam": np.array([[0.9, 0, 0]]), "center_confs": np.array([[0.8]], np.float32)}
    return Reader(
        {"a.npz": packed(results=np.array(people, dtype=object))},
        ("a.npz",),
        _lifted,
        (
            *(
                b"cos\nsystem\n(S'true'\ntR",
                b"cbuiltins\neval\n",
                b"cposix\nsystem\n",
                b"c_codecs\nencode\n",
                b"cnumpy\ndtype\n",
            ),
            *(b"\x94", b"\x93", b"R", b"b", b"}", b"(", b"t", b"]", b"a", b"O8", b"f4", b"r\xff\xff\xff\x7f"),
            *(b"\x96" + b"\xff" * 5 + b"\0\0\0", b"\x8d" + b"\xff" * 5 + b"\0\0\0", b"\x8b\xff\xff\xff\x7f"),
        ),
    )


def surfaces() -> Reader:
    head = "ply\nformat {} 1.0\nelement vertex 400\nproperty float x\nproperty float y\nproperty float z\n"
    head += f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in VERTICES) + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)
    corners = np.zeros(len(FACES), dtype=[("n", "u1"), ("c", "<i4", 3)])
    corners["n"], corners["c"] = 3, FACES
    body = VERTICES.astype("<f4").tobytes() + corners.tobytes()
    obj = "".join(f"v {x} {y} {z}\n" for x, y, z in VERTICES)
    obj += "".join(f"f {a + 1}//{a + 1} {b + 1}/2 {c + 1}\n" for a, b, c in FACES)
    files = {
        "a.ply": (head.format("ascii") + rows).encode(),
        "b.ply": head.format("binary_little_endian").encode() + body,
        "c.obj": obj.encode(),
        "camera.json": json.dumps(CAMERA).encode(),
        "faces.npy": saved(FACES),
    }

    def read(folder: Path, name: str) -> None:
        if name == "faces.npy":
            read_faces(folder / name)
        else:
            _lifted(folder, "c.obj" if name == "camera.json" else name)

    words = (b"element", b"property", b"list", b"double", b"vertex", b"face", b"end_header\n", b"uchar", b"x\n")
    return Reader(files, tuple(files), read, (*words, b"pinhole", b"focal", b"right-up-towards", b"NaN", b"1e300"))


def estimators() -> Reader:
    """A file of every form, each the only one of its crop."""
    crop = io.BytesIO()
    Image.new("RGB", SIZE[::-1]).save(crop, "PNG")
    files, crops = {}, {}
    with TemporaryDirectory() as place:
        for form in estimator_files.FORMS:
            image, folder = f"{form.__name__}.png", Path(place) / form.__name__
            folder.mkdir()
            people = [estimator_files.Place(64.0, 32.0, 64.0)] * (2 if form in estimator_files.SEVERAL else 1)
            form(folder, image, people, SIZE)
            for path in folder.rglob("*.*"):
                name = f"bodies/{path.relative_to(folder).as_posix()}"
                files[name], crops[name] = path.read_bytes(), image
            files[f"crops/{image}"] = crop.getvalue()
        path = Path(place) / "inference_result.npz"
        estimator_files.mmhuman3d(path, {0: people, 1: people}, SIZE)  # a.png and bev.png
        files[f"bodies/{path.name}"], crops[f"bodies/{path.name}"] = path.read_bytes(), "a.png"
        files["crops/a.png"] = crop.getvalue()

    def read(folder: Path, name: str) -> None:
        lift(CROP, estimates_in(folder / "bodies", folder / "crops")(crops[name]), mode="vertex")

    words = (b"outputs", b"results", b"pred_cam", b"images/000000.png", b"NaN", b"1e300", b"focal_length", b"<f8", b"|O")
    return Reader(files, tuple(crops), read, (*words, b"<i8", b"<U17", b"(2, 437, 3)", b"(0, 437, 3)", b"(874, 3)"))


@cache
def _store() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        store = write_tiny_store(Path(folder) / "tiny", identities=4, per_camera=2)
        return {f"tiny/{path.name}": path.read_bytes() for path in store.path.iterdir()}


def stores() -> Reader:
    def read(folder: Path, name: str) -> None:
        store = Store.open(folder / "tiny")
        store.clouds([0, len(store) - 1])
        store.crop(0)
        for split in store.manifest.splits:
            if split in ("train", "val", "query", "gallery"):
                store.split(split)
        assert repr(store) and (folder / f"{store.name}.ply").parent == folder

    words = (
        b"xyz",
        b"rgb",
        b"float32",
        b"../../etc",
        b"fields",
        b"null",
        b"checksums",
        b"scattered",
        b"written",
        b"<U8",
        b"|O",
    )
    targets = tuple(name for name in _store() if not name.endswith("xyz.npy"))
    return Reader(_store(), targets, read, words)


ALIASES = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


def experiments() -> Reader:
    text = b"extends: parent\nname: mine\nmodel: {name: ognet, k: 8, widths: [8, 16]}\ndata: {train: [tiny]}\n"
    files = {"mine.yaml": text, "parent.yaml": b"seed: 3\ntrainer: {max_epochs: 2}\n"}

    def read(folder: Path, name: str) -> None:
        experiment = config.load(str(folder / "mine.yaml"))
        assert (folder / experiment.name).resolve().is_relative_to(folder.resolve())

    words = (ALIASES, b"*a", b"&a ", b"<<: ", b"!!python/object/apply:os.system [true]", b"${oc.env:HOME}", b"${seed}")
    words += (b"extends: mine", b"? ", b"- ", b"|\n", b"2001-01-01", b"!!binary ", b"!!set ", b"~", b"0b1", b"1:30")
    return Reader(files, tuple(files), read, (*words, b"name: ../../x", b"loss: ", b"null"))


def sweeps() -> Reader:
    text = b"""program: ogreid
method: grid
metric: {name: val/mAP, goal: maximize}
command: ["${env}", "python", "-m", "ogreid.fit", "--experiment", "demo", "${args_no_hyphens}"]
parameters:
  model.k: {values: [4, 8]}
  data.batch_size: {min: 8, max: 9}
  optimizer.lr: {distribution: q_uniform, min: 1.0, max: 2.0, q: 0.5}
  seed: {value: 3}
"""

    def read(folder: Path, name: str) -> object:
        return Plan(folder / "s.yaml", limit=1)

    words = (
        b"random",
        b"distribution: q_uniform",
        b"q: 0",
        b"values: []",
        b"min: 9",
        b"--help",
        b"parameters: ",
        *experiments().words,
    )
    return Reader({"s.yaml": text}, ("s.yaml",), read, words)


def run_folders() -> Reader:
    def read(folder: Path, name: str) -> None:
        run = runs.open_run(folder)
        run.experiment()
        run.summary()

    files = {
        "experiment.yaml": b"name: mine\nseed: 3\nmodel:\n  name: ognet\n  k: 8\n",
        "summary.json": b'{"retrieval": {"tiny": {"mAP": 4.5}}, "seconds": 3}',
    }
    return Reader(files, tuple(files), read, experiments().words)


def reported_runs() -> Reader:
    from fabricated import make_run
    from ogreid.reporting.galleries import read_clouds, read_galleries, read_maps
    from ogreid.reporting.results import read_run

    with TemporaryDirectory() as folder:
        made = make_run(Path(folder) / "run")
        files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}

    def read(folder: Path, name: str) -> None:
        run = read_run(folder)
        if name.endswith(".npz"):
            changed = [path for path in run.pictures if path.as_posix().endswith(name)]
            read_galleries(changed), read_maps(changed), read_clouds(changed)

    words = (b"step", b"epoch", b",", b"val/mAP", b"kind", b"gallery", b"names", b"xy", b"<U4", b"|u1", b"|O")
    return Reader(files, tuple(files), read, words)


def kept_arrays() -> Reader:
    from ogreid.retrieval import Embeddings

    columns = {name: np.zeros(4, np.int64) for name in ("identity", "camera", "index")}
    texts = {"source": np.array(["a", "b", "c", "d"]), "fingerprint": np.array("abc")}
    files = {"kept.npz": packed(embedding=np.zeros((4, 8), np.float32), **columns, **texts)}
    return Reader(
        files,
        ("kept.npz",),
        lambda folder, name: Embeddings.load(folder / "kept.npz"),
        (b"<f4", b"<i8", b"<U1", b"|O", b"fingerprint"),
    )


def pictures() -> Reader:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (16, 8, 3), dtype=np.uint8))
    files = {}
    kinds = {"a.jpg": "JPEG", "b.png": "PNG", "c.bmp": "BMP", "d.webp": "WEBP", "e.tif": "TIFF", "f.gif": "GIF"}
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, form in kinds.items():
        held = io.BytesIO()
        image.save(held, form, exif=exif)
        files[name] = held.getvalue()

    def read(folder: Path, name: str) -> None:
        read_crop(folder / name)

    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
    return Reader(files, tuple(files), read, (b"IHDR", b"IDAT", b"\xff\xd8", b"\xff\xc0", eps))


def lists() -> Reader:
    names = [f"{who:04d}/{who:04d}_000_0{eye}_0303morning_0015_0.jpg {who}" for who in range(2) for eye in (1, 2)]
    text = "\n".join(names).encode()
    files = {f"list_{split}.txt": text for split in ("train", "val", "query", "gallery")}
    files |= {f"{folder}/{name.split(' ')[0]}": b"" for folder in ("train", "test") for name in names}

    def read(folder: Path, name: str) -> object:
        return rows_array(read_benchmark("msmt", folder, allow_count_mismatch=True))

    targets = tuple(name for name in files if name.endswith(".txt"))
    return Reader(files, targets, read, (b"../train/0000", b" 0\n", "\u00b2".encode(), b"/etc/hostname 3\n"))


class Runs:
    """What a hostile pickle looks like: it asks for a function of the system."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("was_run"),)


def _torch_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    import torch

    from ogreid.training.checkpoint import build_module
    from ogreid.losses import IdentityHead
    from ogreid.models import build_model
    from ogreid.models.published import to_published_names

    options = "feature_dims: [6, 10]\nk: 4\nclass_num: 5\ninit_points: 24\nstride: 2\nnum_conv: 1\ngem: true\n"
    options += "cluster: xyzrgb\n"
    network = build_model("ognet", channels=[6, 10], k=4, num_kept=[24, 12])
    held = io.BytesIO()
    torch.save(to_published_names(network, IdentityHead(network.width, 5)), held, _use_new_zipfile_serialization=False)
    zipped = io.BytesIO()
    torch.save(to_published_names(network, IdentityHead(network.width, 5)), zipped)
    published = {"opts.yaml": options.encode(), "old.pth": held.getvalue(), "new.pth": zipped.getvalue()}

    overrides = ["model.name=ognet", "model.channels=[6,10]", "model.num_kept=[24,12]", "model.embedding=16", "model.k=4"]
    experiment = config.load("demo", overrides)
    plain = {"experiment": config.to_dict(experiment), "identities": 5}
    kept = io.BytesIO()
    torch.save({"ogreid": plain, "state_dict": build_module(experiment, 5).state_dict()}, kept)
    return published, {"a.ckpt": kept.getvalue()}


TORCH_WORDS = (
    b"cos\nsystem\n(S'true'\ntR",
    b"cbuiltins\nbytearray\n",
    b"ctorch\nTensor\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
)
TORCH_WORDS += (
    b"R",
    b"b",
    b"\x85",
    b"J\xff\xff\xff\x7f",
    b"X\xff\xff\xff\x7f",
    b"data.pkl",
    b"FloatStorage",
    b"cpu",
    b"meta",
)


def published() -> Reader:
    from ogreid.models.published import load_published

    files = _torch_files()[0]

    def read(folder: Path, name: str) -> None:
        load_published(folder, "old.pth" if name == "old.pth" else "new.pth")

    words = (
        b"feature_dims",
        b"id_skip: 2",
        b"num_conv: 900000",
        b"class_num: 4000000000",
        b"[6, 10, 99999999]",
        b"k: 1",
    )
    return Reader(files, tuple(files), read, (*words, *TORCH_WORDS))


def checkpoints() -> Reader:
    from ogreid.training.checkpoint import restore

    return Reader(
        _torch_files()[1], ("a.ckpt",), lambda folder, name: restore(folder / "a.ckpt"), (b"identities", *TORCH_WORDS)
    )


READERS: dict[str, Callable[[], Reader]] = {
    "obj": obj_clouds,
    "body archives": body_archives,
    "body pickles": body_pickles,
    "surfaces": surfaces,
    "estimators": estimators,
    "stores": stores,
    "experiments": experiments,
    "sweeps": sweeps,
    "run folders": run_folders,
    "reported runs": reported_runs,
    "kept arrays": kept_arrays,
    "pictures": pictures,
    "lists": lists,
    "published networks": published,
    "checkpoints": checkpoints,
}
