"""Every reader of files that somebody else may have written, with small files that it takes."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np
from PIL import Image

import posed_people
from conftest import write_tiny_store
from fabricated import make_run
from lifting import estimator_files
from ogreid import config
from ogreid.data import Store
from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.datasets.fitted_bodies import FittedBodies, fit_crops
from ogreid.data.datasets.obj import read_obj
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import read_crop
from ogreid.lifting import lift, upright_template
from ogreid.lifting.fitting import Acceptance
from ogreid.lifting.readers.estimators import read_body, read_faces
from ogreid.lifting.readers.landmark_files import LandmarkFiles, read_landmarks
from ogreid.runs import Run
from ogreid.sweeps.plan import Plan

__all__ = ["READERS", "Reader"]

SIZE = (128, 64)
CROP = np.full((128, 64, 3), 90, np.uint8)
BODY = upright_template()
VERTICES, FACES = BODY.vertices[:400], BODY.faces[(BODY.faces < 400).all(axis=1)]
CAMERA = {"type": "weak", "scale": 0.9, "translation": [0.0, 0.0], "order": "s(x+t)"}
BODY_CAMERA = {"pred_cam": np.array([0.8, 0.1, 0.0]), "box_center": np.array([32.0, 64.0]), "box_size": np.array(128.0)}
READERS: dict[str, Callable[[], "Reader"]] = {}


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        files: a folder that it accepts, by file name.
        read: reads the changed file of a folder, and uses what was read as the program would.
        words: text that is known in such files.
        targets: the files that are changed, one at a time; all where none are named.
        forms: whether each target is a form of its own, with a soak of its own.
    """

    files: Mapping[str, bytes]
    read: Callable[[Path, str], object]
    words: tuple[bytes, ...] = ()
    targets: tuple[str, ...] = ()
    forms: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", self.targets or tuple(self.files))


def reader(function: Callable[[], Reader]) -> Callable[[], Reader]:
    READERS[function.__name__.replace("_", " ")] = function
    return function


def content(write: Callable[[IO[bytes]], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def words(text: bytes) -> tuple[bytes, ...]:
    return tuple(text.split())


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lift_body(folder: Path, name: str) -> None:
    mesh = read_body(folder / name, SIZE)
    lift(CROP, mesh, mode="vertex" if mesh.faces is None else "raster")


@reader
def obj_clouds() -> Reader:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f} {i / 9:.6f} 0.2 1" for i, (x, y, z) in enumerate(VERTICES[:9])]
    text = "\n".join(["# cloud", *lines, "f 1 2 3", ""]).encode()
    return Reader({"a.obj": text}, lambda folder, name: read_obj(folder / name), (b"v ", b"f ", b"e5"))


@reader
def body_archives() -> Reader:
    archive = content(lambda file: np.savez(file, pred_vertices=VERTICES[None], faces=FACES, **BODY_CAMERA))
    known = words(b"pred_vertices.npy pred_cam.npy <f4 <f8 |O |S9 <U1 <c16 <M8[s] True")
    return Reader({"a.npz": archive}, lift_body, (*known, b"(400, 3)"))


@reader
def body_pickles() -> Reader:
    people = {"verts": VERTICES[None], "cam": np.array([[0.9, 0, 0]]), "center_confs": np.array([[0.8]], np.float32)}
    archive = content(lambda file: np.savez(file, results=np.array(people, dtype=object)))
    calls = (b"cos\nsystem\n(S'true'\ntR", b"cbuiltins\neval\n", b"cposix\nsystem\n", b"c_codecs\nencode\n")
    sizes = (b"\x96" + b"\xff" * 5 + b"\0\0\0", b"\x8d" + b"\xff" * 5 + b"\0\0\0", b"\x8b\xff\xff\xff\x7f")
    known = words(b"\x94 \x93 R b } ( t ] a O8 f4 r\xff\xff\xff\x7f")
    return Reader({"a.npz": archive}, lift_body, (*calls, b"cnumpy\ndtype\n", *known, *sizes))


@reader
def landmark_files() -> Reader:
    points = np.random.default_rng(0).uniform(5, 60, (33, 3)) / [1, 1, 60]
    space = {"world": points, "presence": np.array(0.8), "mask": np.ones(SIZE, bool)}
    texts = {
        "a.json": json.dumps([{"points": points[:17].tolist()}] * 2).encode(),
        "b.json": json.dumps({"keypoints": points.tolist(), "world": points.tolist(), "presence": 0.7}).encode(),
        "c.npz": content(lambda file: np.savez(file, points=points[:, :2], scores=points[:, 2], **space)),
    }

    def read(folder: Path, name: str) -> None:
        for one in read_landmarks(folder / name, *SIZE):
            Acceptance().outcome(one, posed_people.FITTER.fit(one, *SIZE), None)

    return Reader(texts, read, words(b"people instances scores keypoint_scores points.npy <f8 |O NaN 1e300 [[]] {}"))


@reader
def fitted_bodies() -> Reader:
    with TemporaryDirectory() as place:
        folder = Path(place)
        (name,) = posed_people.write_people(folder / "crops", folder / "landmarks", identities=1, cameras=1)
        fit_crops([name], folder / "crops", LandmarkFiles(folder / "landmarks"), folder=folder)
        text = (folder / "bodies.npz").read_bytes()

    def read(folder: Path, file: str) -> None:
        bodies = FittedBodies.load(folder / file)
        for crop in bodies.names:
            bodies.mask(crop)
            lift(CROP, bodies(crop))

    return Reader({"bodies.npz": text}, read, words(b"names.npy outcome.npy pose.npy camera.npy <f4 |u1 <U14 True"))


@reader
def surfaces() -> Reader:
    head = "ply\nformat {} 1.0\nelement vertex 400\nproperty float x\nproperty float y\nproperty float z\n"
    head += f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in VERTICES) + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)
    corners = np.zeros(len(FACES), dtype=[("n", "u1"), ("c", "<i4", 3)])
    corners["n"], corners["c"] = 3, FACES
    obj = "".join(f"v {x} {y} {z}\n" for x, y, z in VERTICES)
    obj += "".join(f"f {a + 1}//{a + 1} {b + 1}/2 {c + 1}\n" for a, b, c in FACES)
    files = {
        "a.ply": (head.format("ascii") + rows).encode(),
        "b.ply": head.format("binary_little_endian").encode() + VERTICES.astype("<f4").tobytes() + corners.tobytes(),
        "c.obj": obj.encode(),
        "camera.json": json.dumps(CAMERA).encode(),
        "faces.npy": content(lambda file: np.save(file, FACES)),
    }

    def read(folder: Path, name: str) -> None:
        if name == "faces.npy":
            read_faces(folder / name)
        else:
            lift_body(folder, "c.obj" if name == "camera.json" else name)

    known = words(b"element property list double vertex face uchar pinhole focal right-up-towards NaN 1e300")
    return Reader(files, read, (*known, b"end_header\n", b"x\n"))


@reader
def estimators() -> Reader:
    """A file of every form, each the only one of its crop."""
    crop = content(lambda file: Image.new("RGB", SIZE[::-1]).save(file, "PNG"))
    files, crops = {}, {}
    with TemporaryDirectory() as place:
        for form in estimator_files.FORMS:
            image, folder = f"{form.__name__}.png", Path(place) / form.__name__
            folder.mkdir()
            people = [estimator_files.Place(64.0, 32.0, 64.0)] * (2 if form in estimator_files.SEVERAL else 1)
            form(folder, image, people, SIZE)
            for name, text in files_in(folder).items():
                files[f"bodies/{name}"], crops[f"bodies/{name}"] = text, image
            files[f"crops/{image}"] = crop
        path = Path(place) / "inference_result.npz"
        estimator_files.mmhuman3d(path, {0: people, 1: people}, SIZE)  # a.png and bev.png
        files[f"bodies/{path.name}"], crops[f"bodies/{path.name}"] = path.read_bytes(), "a.png"
        files["crops/a.png"] = crop

    def read(folder: Path, name: str) -> None:
        lift(CROP, estimates_in(folder / "bodies", folder / "crops")(crops[name]), mode="vertex")

    known = words(b"outputs results pred_cam images/000000.png NaN 1e300 focal_length <f8 |O <i8 <U17")
    return Reader(files, read, (*known, b"(2, 437, 3)", b"(0, 437, 3)", b"(874, 3)"), tuple(crops), forms=True)


@reader
def stores() -> Reader:
    with TemporaryDirectory() as folder:
        write_tiny_store(Path(folder) / "tiny", identities=4)
        write_tiny_store(Path(folder) / "tracked", identities=4, tracklets=True)
        files = files_in(Path(folder))

    def read(folder: Path, name: str) -> None:
        store = Store.open(folder / name.partition("/")[0])
        store.clouds([0, len(store) - 1])
        store.crop(0)
        for split in store.manifest.splits:
            if split in ("train", "val", "query", "gallery"):
                store.split(split)
        assert repr(store) and (folder / f"{store.name}.ply").parent == folder

    known = words(b"xyz rgb float32 ../../etc fields null checksums scattered written tracklet <U8 <i8 |O")
    return Reader(files, read, known, tuple(name for name in files if not name.endswith(("xyz.npy", ".lock"))))


@reader
def experiments() -> Reader:
    text = b"extends: parent\nname: mine\nmodel: {name: ognet, k: 8, channels: [8, 16]}\ndata: {train: [tiny]}\n"
    files = {"mine.yaml": text, "parent.yaml": b"seed: 3\ntrainer: {max_epochs: 2}\n"}

    def read(folder: Path, name: str) -> None:
        experiment = config.load(str(folder / "mine.yaml"))
        assert (folder / experiment.name).resolve().is_relative_to(folder.resolve())

    known = words(b"*a ${oc.env:HOME} ${seed} 2001-01-01 ~ 0b1 1:30 null")
    known += (b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", b"!!python/object/apply:os.system [true]", b"&a ")
    known += (b"<<: ", b"extends: mine", b"? ", b"- ", b"|\n", b"!!binary ", b"!!set ", b"name: ../../x", b"loss: ")
    return Reader(files, read, known)


@reader
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
    known = (b"random", b"distribution: q_uniform", b"q: 0", b"values: []", b"min: 9", b"--help", b"parameters: ")
    return Reader({"s.yaml": text}, lambda folder, name: Plan(folder / name, limit=1), (*known, *experiments().words))


@reader
def run_folders() -> Reader:
    files = {
        "experiment.yaml": b"name: mine\nseed: 3\nmodel:\n  name: ognet\n  k: 8\n",
        "summary.json": b'{"retrieval": {"tiny": {"mAP": 4.5}}, "seconds": 3}',
    }

    def read(folder: Path, name: str) -> None:
        run = Run.open(folder)
        run.experiment()
        run.summary()

    return Reader(files, read, experiments().words)


@reader
def reported_runs() -> Reader:
    from ogreid.reporting.galleries import read_clouds, read_galleries, read_maps
    from ogreid.reporting.pairs import read_pairs
    from ogreid.reporting.results import read_run

    with TemporaryDirectory() as folder:
        files = files_in(make_run(Path(folder) / "run"))

    def read(folder: Path, name: str) -> None:
        run = read_run(folder)
        if name.endswith(".npz"):
            changed = [path for path in run.pictures if path.as_posix().endswith(name)]
            read_galleries(changed), read_maps(changed), read_clouds(changed)
            read_pairs(changed, run.summary["verification"])

    return Reader(files, read, words(b"step epoch , val/mAP kind gallery names xy <U4 |u1 |O"))


@reader
def embeddings() -> Reader:
    from ogreid.retrieval import Embeddings

    columns = {name: np.zeros(4, np.int64) for name in ("identity", "camera", "index")}
    columns |= {"source": np.array(["a", "b", "c", "d"]), "fingerprint": np.array("abc")}
    archive = content(lambda file: np.savez(file, embedding=np.zeros((4, 8), np.float32), **columns))
    known = words(b"<f4 <i8 <U1 |O fingerprint")
    return Reader({"a.npz": archive}, lambda folder, name: Embeddings.load(folder / name), known)


@reader
def images() -> Reader:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    forms = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
    files = {f"a.{form}": content(lambda file, form=form: image.save(file, form, exif=exif)) for form in forms}
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
    known = (*words(b"IHDR IDAT \xff\xd8 \xff\xc0"), eps)
    return Reader(files, lambda folder, name: read_crop(folder / name), known)


@reader
def lists() -> Reader:
    names = [f"{who:04d}/{who:04d}_000_0{eye}_0303morning_0015_0.jpg {who}" for who in range(2) for eye in (1, 2)]
    targets = {f"list_{split}.txt": "\n".join(names).encode() for split in ("train", "val", "query", "gallery")}
    images = {f"{folder}/{name.split(' ')[0]}": b"" for folder in ("train", "test") for name in names}

    def read(folder: Path, name: str) -> object:
        return rows_array(read_benchmark("msmt", folder, allow_count_mismatch=True))

    known = (b"../train/0000", b" 0\n", "\u00b2".encode(), b"/etc/hostname 3\n")
    return Reader({**targets, **images}, read, known, tuple(targets))


PICKLED = (b"cos\nsystem\n(S'true'\ntR", b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n")
PICKLED += (b"ctorch._utils\n_rebuild_tensor_v2\n", b"J\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f")
PICKLED += words(b"R b \x85 data.pkl FloatStorage cpu meta")


@reader
def published_networks() -> Reader:
    import torch
    import torch._dynamo  # which torch else imports under watch, where it makes a folder

    from ogreid.losses import IdentityHead
    from ogreid.models import build_model
    from ogreid.models.published import load_published, to_published_names

    options = "feature_dims: [6, 10]\nk: 4\nclass_num: 5\ninit_points: 24\nstride: 2\nnum_conv: 1\ngem: true\n"
    network = build_model("ognet", channels=[6, 10], k=4, num_kept=[24, 12])
    state = to_published_names(network, IdentityHead(network.width, 5))
    files = {
        "opts.yaml": (options + "cluster: xyzrgb\n").encode(),
        "old.pth": content(lambda file: torch.save(state, file, _use_new_zipfile_serialization=False)),
        "new.pth": content(lambda file: torch.save(state, file)),
    }

    def read(folder: Path, name: str) -> None:
        load_published(folder, "old.pth" if name == "old.pth" else "new.pth")

    known = (b"id_skip: 2", b"num_conv: 900000", b"class_num: 4000000000", b"[6, 10, 99999999]", b"k: 1")
    return Reader(files, read, (b"feature_dims", *known, *PICKLED))


@reader
def checkpoints() -> Reader:
    """As a run writes them, and as any Trainer does."""
    import torch

    from ogreid import ReIDDataModule, ReIDModule
    from ogreid.training.checkpoint import load_checkpoint

    model = {"channels": [6, 10], "num_kept": [24, 12], "embedding": 16, "k": 4}
    module = ReIDModule("ognet", model_options=model, loss="triplet", num_identities=5)
    plain = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    plain |= {"datamodule_hyper_parameters": dict(ReIDDataModule().hparams)}
    run = {**plain, "ogreid": {"experiment": config.to_dict(config.load("demo"))}}
    both = {"a.ckpt": plain, "b.ckpt": run}
    files = {name: content(lambda file, name=name: torch.save(both[name], file)) for name in both}
    known = words(b"hyper_parameters num_identities model_options num_points inputs loss_options")
    return Reader(files, lambda folder, name: load_checkpoint(folder / name), (*known, *PICKLED))
