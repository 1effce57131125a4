import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import benchmark_trees as trees
from ogreid.data import Store
from ogreid.data.datasets.bodies import crop_size
from ogreid.data.datasets.readers import read_benchmark, rows_array, synthetic_domains
from ogreid.data.datasets.sources import CropClouds, read_crop
from ogreid.data.datasets.synthetic_stores import Synthetic, ensure_synthetic, parse_synthetic
from ogreid.data.store.manifest import BLOCK
from ogreid.data.store.writing import pack
from ogreid.errors import InputError
from ogreid.lifting import lift, lift_surface, upright_template
from ogreid.synthetic import DOMAINS


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return trees.market(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def rows(root):
    return rows_array(read_benchmark("market", root, allow_count_mismatch=True))


@pytest.fixture(scope="module")
def many(rows):
    """Two blocks of rows, by repeating a few images."""
    return np.resize(rows, BLOCK + 3)


def packed(rows, source, target, **options):
    return pack(rows, source, target, name="tiny", benchmark="market", **options)


def same_bytes(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_packed_cloud_is_the_lifted_crop_in_scattered_order(tmp_path, root, rows):
    exact = packed(rows, CropClouds(root, dtype="float32"), tmp_path / "exact")
    crop = read_crop(root / rows["source"][0])
    np.testing.assert_array_equal(exact.crop(0), crop)
    points = lift(crop, upright_template()).astype(np.float32)
    cloud = np.concatenate(exact.clouds([0]), axis=2)[0]
    np.testing.assert_allclose(cloud[np.lexsort(cloud.T)], points[np.lexsort(points.T)], atol=1e-6)
    assert exact.manifest.splits == {"train": 4, "query": 4, "gallery": 6}
    assert (exact.manifest.mode, exact.manifest.order, exact.points) == ("raster", "scattered", 8192)
    vertex = packed(rows[:1], CropClouds(root, mode="vertex", dtype="float32"), tmp_path / "vertex")
    np.testing.assert_array_equal(vertex.clouds([0])[0][0], lift(crop, upright_template(), mode="vertex")[:, :3])
    assert vertex.crop(0) is None and vertex.manifest.order == "written"
    short = packed(rows[:1], CropClouds(root), tmp_path / "short")
    np.testing.assert_allclose(short.clouds([0])[0], exact.clouds([0])[0], atol=1e-3)


def test_extras_belong_to_their_points(tmp_path, root, rows):
    source = CropClouds(root, dtype="float32", extras=("foreground", "normal", "body"))
    store = packed(rows[:1], source, tmp_path / "tiny")
    foreground = store.field("foreground", [0])[0]
    template = upright_template()
    assert foreground.sum() == lift_surface(read_crop(root / rows["source"][0]), template).foreground.sum()
    faces = store.field("body", [0])[0, foreground, 0].astype(int)
    centers = template.vertices[template.faces[faces]].mean(axis=1)
    assert np.abs(centers - store.clouds([0])[0][0, foreground]).max() < 0.06
    lengths = np.linalg.norm(store.field("normal", [0])[0, foreground].astype(float), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_the_bytes_depend_neither_on_the_workers_nor_on_an_interruption(tmp_path, root, many):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(many, CropClouds(root), tmp_path / "resumed", progress=interrupt)
    assert (tmp_path / "resumed.part").is_dir() and not (tmp_path / "resumed").exists()
    steps = []
    packed(many, CropClouds(root), tmp_path / "resumed", progress=lambda *step: steps.append(step))
    assert steps == [(BLOCK + 3, BLOCK + 3)]  # the first block was not packed again
    packed(many, CropClouds(root), tmp_path / "two", workers=2)
    assert same_bytes(tmp_path / "resumed", tmp_path / "two")


KILLED = """
import os, signal, sys
from pathlib import Path
from ogreid.data.store.writing import pack
from ogreid.data.datasets.sources import CropClouds
import numpy as np

who = sys.argv.pop()
class Clouds(CropClouds):
    def cloud(self, source):
        return os.kill(os.getpid(), signal.SIGKILL) if who == "worker" else super().cloud(source)

root, rows, target = map(Path, sys.argv[1:])
pack(np.load(rows), Clouds(root), target, name="tiny", benchmark="market", workers=2,
     progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize(("who", "status", "blocks"), [("parent", -signal.SIGKILL, 1), ("worker", 1, 0)])
def test_a_pack_that_was_killed_resumes(tmp_path, root, rows, who, status, blocks):
    """From a script without a main guard, with a source of its own."""
    np.save(tmp_path / "rows.npy", np.resize(rows, 5 * BLOCK))
    (tmp_path / "script.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "script.py", root, tmp_path / "rows.npy", tmp_path / "tiny", who]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == status, answer.stderr
    assert ("WorkerError: a worker process was killed" in answer.stderr) == (who == "worker")
    assert (tmp_path / "tiny.part/finished.jsonl").read_text().count("\n") == blocks
    packed(np.load(tmp_path / "rows.npy"), CropClouds(root), tmp_path / "tiny")
    packed(np.load(tmp_path / "rows.npy"), CropClouds(root), tmp_path / "whole")
    assert same_bytes(tmp_path / "tiny", tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_image_is_named_and_nothing_is_left(tmp_path, workers):
    trees.market(tmp_path / "crops")
    bad = tmp_path / "crops/query/0003_c1s1_001051_00.jpg"
    bad.write_bytes(bad.read_bytes()[:100])
    rows = rows_array(read_benchmark("market", tmp_path / "crops", allow_count_mismatch=True))
    with pytest.raises(InputError, match=f"{bad}: not a readable image"):
        packed(np.resize(rows, BLOCK + 3), CropClouds(tmp_path / "crops"), tmp_path / "tiny", workers=workers)
    assert not list(tmp_path.glob("tiny*"))


def test_what_an_image_says_about_itself_is_obeyed(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    image, path, exif = Image.fromarray(colors), tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image.rotate(90, expand=True).save(path, exif=exif)
    np.testing.assert_array_equal(read_crop(path), colors)
    assert crop_size(path) == (128, 64)
    Image.fromarray(colors[..., 0].astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_crop(path), colors[..., :1].repeat(3, axis=2))
    image.putalpha(Image.fromarray(np.uint8(255) * (colors[..., 0] > 9)))
    for name in ("a.png", "a.webp"):
        image.save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read_crop(tmp_path / name), np.where(colors[..., :1] > 9, colors, 255))
    assert read_crop(trees.image(tmp_path / "large.png", 3, (128, 256))).shape == (128, 64, 3)
    Image.fromarray(colors[..., 0].astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a.tif: .*mode F"):
        read_crop(tmp_path / "a.tif")
    for name in ("a.gif", "b.tif", "b.png", "b.webp"):
        image.save(tmp_path / name, save_all=True, append_images=[image.rotate(180)])
        with pytest.raises(InputError, match=rf"{name}: .*2 frames or pages; expected one"):
            read_crop(tmp_path / name)


def test_a_store_that_does_not_fit_the_disk_is_refused_before_it_is_packed(tmp_path, root, rows, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="GB of disk"):
        packed(rows, CropClouds(root), tmp_path / "tiny")
    assert not list(tmp_path.glob("tiny*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extras": ("normals",)}, "did you mean normal"),
        ({"extras": ("normal",), "mode": "nearest"}, "only raster mode"),
        ({"mode": "vertex", "background": False}, "use raster"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(root, options, words):
    with pytest.raises(InputError, match=words):
        CropClouds(root, **options)


def test_a_synthetic_name_gives_domain_size_and_seed():
    assert parse_synthetic("plaza-160") == Synthetic("plaza", 160)
    assert parse_synthetic("winter-40-s3") == Synthetic("winter", 40, 3)
    assert parse_synthetic("plaza-8-s3-noisy") == Synthetic("plaza", 8, 3, "noisy")
    assert all(parse_synthetic(name).name == name for name in ("winter-40-s3", "plaza-8-exact", "plaza-8-s3-noisy"))
    assert [parse_synthetic(name) for name in ("market", "plaza", "nowhere-12", "plaza-160-x")] == [None] * 4
    assert set(synthetic_domains()) == set(DOMAINS)
    with pytest.raises(InputError, match="expected 4 to 100000"):
        parse_synthetic("plaza-2")


def test_a_missing_synthetic_store_is_made_once_however_many_runs_need_it(tmp_path, monkeypatch):
    def make_domain(domain, root, *, identities, seed=0, workers=1, progress=None):
        time.sleep(0.05)
        trees.market(root, identities // 2)
        calls.append((domain, identities, seed))

    def read_estimates(root):
        return {path.relative_to(root).as_posix(): upright_template() for path in root.rglob("*.jpg")}

    def ensure(_=None):
        return ensure_synthetic("plaza-4-s7", tmp_path, progress=lambda *step: steps.append(step))

    calls, steps = [], []
    stand_in = SimpleNamespace(APPEARANCE=1, make_domain=make_domain, read_estimates=read_estimates)
    monkeypatch.setitem(sys.modules, "ogreid.synthetic", stand_in)
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(ensure, range(3))) == {tmp_path / "plaza-4-s7"}
    assert calls == [("plaza", 4, 7)] and steps == [("plaza-4-s7: clouds", 14, 14)]
    assert (tmp_path / "synthetic/plaza-4-s7/query").is_dir()
    store = Store.open(tmp_path / "plaza-4-s7")
    store.verify()
    assert store.manifest.creation == {"domain": "plaza", "identities": 4, "seed": 7, "appearance": 1}
    stand_in.APPEARANCE = 2
    with pytest.raises(InputError, match=r"plaza-4-s7: made by another version"):
        ensure()
    with pytest.raises(InputError, match=r"did you mean plaza\?, as in plaza-160"):
        ensure_synthetic("plazza-8", tmp_path)
