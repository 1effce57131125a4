import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import benchmark_trees as trees
from ogreid.data import Store
from ogreid.data.store.manifest import BLOCK
from ogreid.data.store.writing import pack
from ogreid.data.datasets.readers import read_benchmark, rows_array
from ogreid.data.datasets.sources import CropClouds, read_crop
from ogreid.data.datasets.synthetic_stores import Synthetic, ensure_synthetic, parse_synthetic
from ogreid.errors import InputError
from ogreid.lifting import Mesh, WeakCamera, lift, lift_surface, upright_template


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return trees.market(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def rows(root):
    return rows_array(read_benchmark("market", root, allow_count_mismatch=True))


def many(rows):
    """Enough rows for two blocks, by repeating a few pictures."""
    return np.resize(rows, BLOCK + 3)


def packed(rows, source, target, **options):
    return pack(rows, source, target, name="tiny", benchmark="market", **options)


def same_bytes(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_packed_cloud_is_the_lifted_crop_in_scattered_order(tmp_path, root, rows):
    store = packed(rows, CropClouds(root), tmp_path / "tiny")
    crop = read_crop(root / rows["source"][0])
    np.testing.assert_array_equal(store.picture(0), crop)
    points = lift(crop, upright_template())
    xyz, rgb = store.clouds([0])
    by_place = np.lexsort(np.concatenate([xyz[0], rgb[0]], axis=1).T)
    rounded = np.concatenate([points[:, :3].astype(np.float16), points[:, 3:]], axis=1)
    np.testing.assert_allclose(
        np.concatenate([xyz[0], rgb[0]], axis=1)[by_place], rounded[np.lexsort(rounded.T)], atol=1e-6
    )
    assert store.manifest.splits == {"train": 4, "query": 4, "gallery": 6}
    assert (store.manifest.mode, store.manifest.order, store.points) == ("raster", "scattered", 8192)


def test_float32_is_exact_and_float16_within_a_millimeter(tmp_path, root, rows):
    exact, _ = packed(rows[:1], CropClouds(root, dtype="float32"), tmp_path / "a").clouds([0])
    short, _ = packed(rows[:1], CropClouds(root), tmp_path / "b").clouds([0])
    points = lift(read_crop(root / rows["source"][0]), upright_template())
    np.testing.assert_array_equal(np.sort(exact[0], axis=0), np.sort(points[:, :3], axis=0))
    np.testing.assert_allclose(short, exact, atol=1e-3)


def test_vertex_mode_keeps_the_written_order(tmp_path, root, rows):
    store = packed(rows[:1], CropClouds(root, mode="vertex", dtype="float32"), tmp_path / "tiny")
    points = lift(read_crop(root / rows["source"][0]), upright_template(), mode="vertex")
    np.testing.assert_array_equal(store.clouds([0])[0][0], points[:, :3])
    assert store.picture(0) is None and store.manifest.order == "written"


def test_extras_stand_beside_their_points(tmp_path, root, rows):
    source = CropClouds(root, dtype="float32", extras=("foreground", "normal", "body"))
    store = packed(rows[:1], source, tmp_path / "tiny")
    lifted = lift_surface(read_crop(root / rows["source"][0]), upright_template())
    foreground = store.field("foreground", [0])[0]
    assert foreground.sum() == lifted.foreground.sum()
    faces = store.field("body", [0])[0, foreground, 0].astype(int)
    corners = upright_template().vertices[upright_template().faces[faces]]
    spread = np.abs(corners.mean(axis=1) - store.clouds([0])[0][0, foreground]).max()
    assert spread < 0.06  # every point lies on the face that its body coordinate names
    np.testing.assert_allclose(
        np.linalg.norm(store.field("normal", [0])[0, foreground].astype(float), axis=1), 1, atol=2e-3
    )


def test_the_bytes_do_not_depend_on_the_workers(tmp_path, root, rows):
    for workers in (1, 2):
        packed(many(rows), CropClouds(root), tmp_path / str(workers), workers=workers)
    assert same_bytes(tmp_path / "1", tmp_path / "2")


def test_an_interrupted_pack_continues_to_the_same_bytes(tmp_path, root, rows):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(many(rows), CropClouds(root), tmp_path / "tiny", progress=interrupt)
    assert (tmp_path / "tiny.part").is_dir() and not (tmp_path / "tiny").exists()
    seen = []
    packed(many(rows), CropClouds(root), tmp_path / "tiny", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(BLOCK + 3, BLOCK + 3)]  # the first block was not packed again
    packed(many(rows), CropClouds(root), tmp_path / "whole")
    assert same_bytes(tmp_path / "tiny", tmp_path / "whole")


KILLED = """
import os, signal, sys
from pathlib import Path
from ogreid.data.store.writing import pack
from ogreid.data.datasets.sources import CropClouds
import numpy as np

if __name__ == "__main__":
    root, rows, target = map(Path, sys.argv[1:])
    pack(np.load(rows), CropClouds(root), target, name="tiny", benchmark="market", workers=2,
         progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_pack_that_was_killed_with_its_workers_goes_on(tmp_path, root, rows):
    np.save(tmp_path / "rows.npy", np.resize(rows, 5 * BLOCK))
    (tmp_path / "killed.py").write_text(KILLED)
    order = [sys.executable, tmp_path / "killed.py", root, tmp_path / "rows.npy", tmp_path / "tiny"]
    assert subprocess.run(order, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / "tiny.part/finished.jsonl").read_text().count("\n") == 1
    seen = []
    packed(
        np.load(tmp_path / "rows.npy"), CropClouds(root), tmp_path / "tiny", progress=lambda *step: seen.append(step)
    )
    assert len(seen) == 4  # blocks that were not packed twice
    packed(np.load(tmp_path / "rows.npy"), CropClouds(root), tmp_path / "whole")
    assert same_bytes(tmp_path / "tiny", tmp_path / "whole")


def test_an_unreadable_picture_is_named_and_nothing_is_left(tmp_path, root):
    broken = tmp_path / "crops"
    trees.market(broken)
    bad = broken / "query/0003_c1s1_001051_00.jpg"
    bad.write_bytes(bad.read_bytes()[:100])
    rows = rows_array(read_benchmark("market", broken, allow_count_mismatch=True))
    for workers in (1, 2):
        with pytest.raises(InputError, match=f"{bad}: not a readable picture") as refusal:
            packed(many(rows), CropClouds(broken), tmp_path / "tiny", workers=workers)
        assert "\n" not in str(refusal.value)
        assert not list(tmp_path.glob("tiny*"))


def beside(source):
    return Mesh(upright_template().vertices, upright_template().faces, WeakCamera(1.0, (9.0, 0.0)))


def test_a_body_beside_its_crop_is_reported_with_the_crop(tmp_path, root, rows):
    with pytest.raises(InputError, match=r"0001_c1s1_000151_01.jpg: lifting: the body lies on columns"):
        packed(rows, CropClouds(root, beside), tmp_path / "tiny")


def test_crops_of_another_size_are_resized(tmp_path):
    large = trees.picture(tmp_path / "large.png", 3, (128, 256))
    small = trees.picture(tmp_path / "small.png", 3)
    assert read_crop(large).shape == (128, 64, 3)
    assert np.abs(read_crop(large).astype(int) - read_crop(small).astype(int)).mean() < 5


def test_the_disk_that_a_store_needs_is_known_before(tmp_path, root, rows, monkeypatch):
    store = packed(rows, CropClouds(root), tmp_path / "tiny")
    size = sum((store.path / f"{name}.npy").stat().st_size for name in store.fields)
    assert abs(size - bytes_needed(len(rows), CropClouds(root))) < 1000
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="GB of disk"):
        packed(rows, CropClouds(root), tmp_path / "other")
    assert not list(tmp_path.glob("other*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extras": ("normals",)}, "did you mean normal"),
        ({"extras": ("normal",), "mode": "nearest"}, "only raster mode"),
        ({"mode": "vertex", "background": False}, "as many points as the body"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(root, options, words):
    with pytest.raises(InputError, match=words):
        CropClouds(root, **options)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("plaza-160", Synthetic("plaza", 160)),
        ("winter-40-s3", Synthetic("winter", 40, 3)),
        ("market", None),
        ("plaza", None),
        ("nowhere-12", None),
        ("plaza-160-x", None),
    ],
)
def test_a_synthetic_name_tells_domain_size_and_seed(name, asked):
    assert parse_synthetic(name) == asked
    assert asked is None or asked.name == name


def test_too_few_synthetic_people_are_refused():
    with pytest.raises(InputError, match="expected 4 to 100000"):
        parse_synthetic("plaza-2")


class StandIn:
    """``ogreid.synthetic`` with its crops, but none of its work."""

    def __init__(self):
        self.DOMAINS, self.APPEARANCE = {"plaza": None}, 1
        self.made = []

    def make_domain(self, domain, root, *, identities, seed=0, workers=1, progress=None):
        trees.market(root, identities // 2)
        self.made.append((domain, identities, seed))
        progress(f"{root.name}: crops", 1, 1)

    def read_estimates(self, root):
        return {path.relative_to(root).as_posix(): upright_template() for path in root.rglob("*.jpg")}


def test_a_missing_synthetic_store_is_made_and_packed_once(tmp_path, monkeypatch):
    people, told = StandIn(), []
    monkeypatch.setitem(sys.modules, "ogreid.synthetic", people)
    for _ in range(2):
        path = ensure_synthetic("plaza-4-s7", tmp_path, progress=lambda *step: told.append(step))
    assert path == tmp_path / "plaza-4-s7"
    assert people.made == [("plaza", 4, 7)]
    assert told[0] == ("plaza-4-s7: crops", 1, 1) and told[-1] == ("plaza-4-s7: clouds", 14, 14)
    assert (tmp_path / "synthetic/plaza-4-s7/query").is_dir()
    assert Store.open(path).manifest.creation == {"domain": "plaza", "identities": 4, "seed": 7, "appearance": 1}
    people.APPEARANCE = 2
    with pytest.raises(InputError, match=r"plaza-4-s7: made by another version .* delete it and .* made again"):
        ensure_synthetic("plaza-4-s7", tmp_path)


def test_an_unknown_domain_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"no synthetic domain 'plazza-8'; did you mean plaza\?, as in plaza-160"):
        ensure_synthetic("plazza-8", tmp_path)


@pytest.mark.parametrize(("domain", "cameras"), [("platform", 2)])
def test_a_real_domain_is_made_read_and_packed(tmp_path, domain, cameras):
    store = Store.open(ensure_synthetic(f"{domain}-4", tmp_path))
    assert store.manifest.benchmark == domain
    assert all(len(store.split(split)) for split in ("train", "query", "gallery"))
    assert 1 < len(store.manifest.cameras) <= cameras
    judged = store.rows[store.split("query")]
    assert not set(judged["identity"]) & set(store.rows["identity"][store.split("train")])
    assert store.picture(0).std() > 5
