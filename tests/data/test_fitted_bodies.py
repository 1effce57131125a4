"""Bodies fitted to the landmarks of crops: estimated once, resumed, counted, packed."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from ogreid import embed, pack, search
from ogreid.data import Store
from ogreid.data.datasets import fitted_bodies
from ogreid.data.datasets.fitted_bodies import FittedBodies, fit_crops
from ogreid.errors import InputError
from ogreid.lifting import upright_template
from ogreid.lifting.fitting import OUTCOMES, intersection_over_union, silhouette
from ogreid.lifting.readers.landmark_files import LandmarkFiles
from ogreid.retrieval import Embeddings
from posed_people import draw_person, write_people

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")


@pytest.fixture
def people(tmp_path):
    """Six crops; the landmarks of one are missing, those of one are of nobody."""
    names = write_people(tmp_path / "crops", tmp_path / "landmarks")
    (tmp_path / "landmarks/0003_c2_0.json").unlink()
    nobody = tmp_path / "landmarks/0003_c1_0.json"
    nobody.write_text(json.dumps(json.loads(nobody.read_text()) | {"presence": 0.1}))
    return names


def packed(place, name, *more):
    order = [name, "--images", str(place / "crops"), "--data", str(place / "data"), "--workers", "1"]
    assert pack.main([*order, *more]) == 0


def test_a_store_is_packed_with_fitted_bodies_and_counts_them(tmp_path, people, caplog):
    caplog.set_level("INFO")
    packed(tmp_path, "mine", "--landmarks", str(tmp_path / "landmarks"))
    store = Store.open(tmp_path / "data/mine")
    counts = dict.fromkeys(OUTCOMES, 0) | {"fitted": 8, "no landmarks": 2, "no person": 2}  # query and gallery
    assert store.manifest.creation["clouds"] == counts and store.manifest.creation["bodies"] == "fitted"
    assert store.manifest.creation["fit"]["error"] == 4 and "landmarks" in store.manifest.creation["fit"]
    assert "8 of 12 bodies fitted; upright: 2 no landmarks, 2 no person" in caplog.text
    assert store.fields == ("xyz", "rgb")  # these landmarks come without masks
    bodies = FittedBodies.load(tmp_path / "data/mine-bodies/bodies.npz")
    assert bodies.names == tuple(sorted(people)) and bodies("0003_c1_0.png") is upright_template()
    for seed, name in enumerate(people[:4]):
        seen, truth = (silhouette(mesh, 128, 64) for mesh in (bodies(name), draw_person(seed).mesh))
        assert intersection_over_union(seen, truth) > 0.6


def test_the_same_command_estimates_once_and_packs_the_same_bytes(tmp_path, people, monkeypatch):
    packed(tmp_path, "mine", "--landmarks", str(tmp_path / "landmarks"))
    file = tmp_path / "data/mine-bodies/bodies.npz"
    before, digest = file.read_bytes(), Store.open(tmp_path / "data/mine").digest
    monkeypatch.setattr(fitted_bodies, "estimate_crop", None)
    packed(tmp_path, "mine", "--landmarks", str(tmp_path / "landmarks"), "--overwrite")
    assert file.read_bytes() == before and Store.open(tmp_path / "data/mine").digest == digest
    packed(tmp_path, "again", "--bodies", str(file), "--name", "mine", "--to", str(tmp_path / "again"))
    assert Store.open(tmp_path / "again").digest == digest
    (tmp_path / "landmarks/0001_c1_0.json").unlink()
    fresh = ["--landmarks", str(tmp_path / "landmarks"), "--overwrite"]
    with pytest.raises(InputError, match=r"bodies.npz: of other crops, landmarks or thresholds; --overwrite"):
        fit_crops(people, tmp_path / "crops", LandmarkFiles(tmp_path / "landmarks"), folder=file.parent)
    monkeypatch.undo()
    packed(tmp_path, "mine", *fresh)
    assert Store.open(tmp_path / "data/mine").manifest.creation["clouds"]["no landmarks"] == 4


def test_shards_estimate_their_own_crops_and_merge_to_the_whole(tmp_path, people, monkeypatch):
    monkeypatch.setattr("ogreid.data.store.writing.BLOCK", 4)
    monkeypatch.setattr("ogreid.data.store.mapped.BLOCK", 4)
    monkeypatch.setattr("ogreid.data.store.manifest.BLOCK", 4)
    landmarks = ["--landmarks", str(tmp_path / "landmarks")]
    packed(tmp_path, "mine", *landmarks, "--to", str(tmp_path / "whole/mine"))
    for shard in ("1/2", "2/2"):
        packed(tmp_path, "mine", *landmarks, "--shard", shard)
    packed(tmp_path, "mine", "--merge")
    merged, whole = Store.open(tmp_path / "data/mine"), Store.open(tmp_path / "whole/mine")
    np.testing.assert_array_equal(merged.raw(range(6))[0], whole.raw(range(6))[0])
    assert merged.manifest.text == whole.manifest.text


def test_worker_processes_change_no_byte(tmp_path, people, monkeypatch):
    monkeypatch.setattr(fitted_bodies, "CHUNK", 2)
    source, progress = LandmarkFiles(tmp_path / "landmarks"), []
    for workers in (1, 2):
        bar = lambda done, total: progress.append((done, total))  # noqa: E731
        fit_crops(people, tmp_path / "crops", source, folder=tmp_path / str(workers), workers=workers, progress=bar)
    assert (tmp_path / "1/bodies.npz").read_bytes() == (tmp_path / "2/bodies.npz").read_bytes()
    assert progress == [(2, 6), (4, 6), (6, 6)] * 2
    assert {path.name for path in (tmp_path / "1").iterdir()} == {"bodies.npz", ".bodies.npz.lock"}


@dataclass
class Masked:
    """The landmarks of files with a mask, one attempt that fails first; it may be interrupted."""

    files: LandmarkFiles
    most: int = 1000
    calls: int = 0
    settings: tuple = ()

    def __post_init__(self):
        self.settings = self.files.settings

    def __call__(self, source, image):
        self.calls += 1
        if self.calls > self.most:
            raise KeyboardInterrupt
        for one in self.files(source, image):
            mask = silhouette(draw_person(int(source[3]) * 2 - 2 + int(source[6]) - 1).mesh, image.height, image.width)
            yield type(one)(one.points[::-1], one.scores, one.presence, None, mask)
            yield type(one)(one.points, one.scores, one.presence, one.world, mask)


def test_an_interrupted_estimation_is_resumed(tmp_path, people, monkeypatch):
    monkeypatch.setattr(fitted_bodies, "CHUNK", 2)
    source = Masked(LandmarkFiles(tmp_path / "landmarks"), most=4)
    with pytest.raises(KeyboardInterrupt):
        fit_crops(people, tmp_path / "crops", source, folder=tmp_path / "bodies")
    source.calls, source.most = 0, 1000
    resumed = fit_crops(people, tmp_path / "crops", source, folder=tmp_path / "bodies")
    assert source.calls == 2
    at_once = fit_crops(people, tmp_path / "crops", Masked(source.files), folder=tmp_path / "other")
    assert resumed.path.read_bytes() == at_once.path.read_bytes()
    assert at_once.counts()["fitted"] == 4 and at_once.counts(people[:2] * 2)["fitted"] == 4


def test_the_mask_is_stored_as_foreground(tmp_path, people, monkeypatch):
    monkeypatch.setattr("ogreid.data.packing.landmark_source", lambda folder, network: Masked(LandmarkFiles(folder)))
    packed(tmp_path, "mine", "--landmarks", str(tmp_path / "landmarks"))
    store = Store.open(tmp_path / "data/mine")
    assert store.fields == ("xyz", "rgb", "foreground")
    bodies = FittedBodies.load(tmp_path / "data/mine-bodies/bodies.npz")
    for row, name in enumerate(store.rows["source"].tolist()):
        mask = bodies.mask(name)
        if mask is None:
            mask = silhouette(upright_template(), 128, 64)
        assert store.field("foreground", [row]).sum() == mask.sum() > 1000
    assert bodies.mask("0003_c2_0.png") is None and bodies.mask("0001_c1_0.png") is not None


def test_crops_of_any_size_keep_their_proportions(tmp_path):
    (name,) = write_people(tmp_path / "crops", tmp_path / "landmarks", identities=1, cameras=1, size=(300, 90))
    bodies = fit_crops([name, name], tmp_path / "crops", LandmarkFiles(tmp_path / "landmarks"))
    seen, truth = (silhouette(mesh, 300, 90) for mesh in (bodies(name), draw_person(0, size=(300, 90)).mesh))
    assert bodies.names == (name,) and intersection_over_union(seen, truth) > 0.6


def test_images_are_embedded_and_searched_with_fitted_bodies(tmp_path, people, caplog):
    landmarks = ["--landmarks", str(tmp_path / "landmarks"), "--data", str(tmp_path / "data")]
    packed(tmp_path, "mine", "--landmarks", str(tmp_path / "landmarks"))
    histogram, target = ["--model", "histogram"], tmp_path / "all.npz"
    caplog.set_level("INFO")
    assert embed.main([*histogram, *landmarks, "--input", str(tmp_path / "crops"), "--to", str(target)]) == 0
    assert "4 of 6 bodies fitted" in caplog.text
    assert len(Embeddings.load(target).source) == 6
    query = ["--query", str(tmp_path / "crops/0002_c1_0.png"), "--to", str(tmp_path / "ranking.json")]
    assert search.main([*histogram, *landmarks, "--gallery", "mine", *query]) == 0
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    assert ranking["results"][0]["source"] == "0002_c1_0.png" and ranking["hint"] == ""
    bodies = ["--bodies", str(tmp_path / "data/mine-bodies/bodies.npz"), "--data", str(tmp_path / "data")]
    assert search.main([*histogram, *bodies, "--gallery", "mine", *query]) == 0
    assert json.loads((tmp_path / "ranking.json").read_text())["results"] == ranking["results"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--bodies", "estimate"], r"no landmark network; `make pose` fetches it"),
        (["--bodies", "nowhere.npz"], r"nowhere.npz: not a file of fitted bodies"),
        (["--pose-model", "x"], r"require --bodies estimate"),
        (["--bodies", "x.npz", "--landmarks", "y"], r"require --bodies estimate"),
        (["--landmarks", "x", "--pose-model", "y"], r"expected one source of landmarks"),
        (["--bodies", "estimate", "--meshes", "x"], r"expected one source of bodies"),
        (["--landmarks", "nowhere"], r"nowhere: no such folder"),
        (["--landmarks", "."], r"no landmarks of any of 6 crops"),
    ],
)
def test_what_cannot_be_estimated_is_refused_before_packing(tmp_path, people, monkeypatch, more, reason):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match=reason) as error:
        packed(tmp_path, "mine", *more)
    assert "\n" not in str(error.value) and not (tmp_path / "data/mine").exists()


def test_a_store_without_fitted_bodies_and_published_clouds_are_refused(tmp_path, people):
    packed(tmp_path, "mine")
    landmarks = ["--landmarks", str(tmp_path / "landmarks")]
    with pytest.raises(InputError, match="already packed without fitted bodies"):
        packed(tmp_path, "mine", *landmarks)
    with pytest.raises(InputError, match="--bodies and --published"):
        pack.main(["market", "--published", "x", *landmarks, "--data", str(tmp_path)])
    with pytest.raises(InputError, match="--bodies requires images"):
        words = ["--model", "histogram", "--input", "mine", "--to", "a.npz", "--bodies", "estimate"]
        embed.main([*words, "--data", str(tmp_path / "data")])


def test_a_crop_without_an_estimate_is_refused_by_name(tmp_path, people):
    bodies = fit_crops(people[:2], tmp_path / "crops", LandmarkFiles(tmp_path / "landmarks"), folder=tmp_path)
    Image.new("RGB", (64, 128)).save(tmp_path / "crops/0009_c1_0.png")
    with pytest.raises(InputError, match=r"no fitted body of 0001_c1_0.png in .*bodies.npz|0009_c1_0.png"):
        bodies("0009_c1_0.png")
    with pytest.raises(InputError, match="no fitted body of"):
        packed(tmp_path, "mine", "--bodies", str(bodies.path))
