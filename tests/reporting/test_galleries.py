"""Pictures of retrieval: the files show the right crops in the right order; W&B gets what they hold."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from ogreid.errors import InputError
from ogreid.reporting.galleries import gallery_sheet, write_pictures
from ogreid.reporting.media import set_media, transfer_media
from ogreid.retrieval import evaluate_retrieval

ROWS = np.arange(5, 45)  # the store's first rows are for training
QUERIES = 8


class PaintedStore:
    """A store whose every crop is painted in its own row number."""

    def __init__(self, *, in_pixel_order=True):
        self.in_pixel_order = in_pixel_order
        self.rows = np.zeros(45, dtype=[("source", "U20")])
        self.rows["source"] = [f"query/{row:04}.jpg" for row in range(45)]

    def crop(self, index):
        return np.full((128, 64, 3), index, dtype=np.uint8) if self.in_pixel_order else None

    def clouds(self, indices):
        grid = np.stack(np.meshgrid(np.arange(64), np.arange(128)), axis=-1).reshape(-1, 2)
        xyz = np.concatenate([grid, np.ones((len(grid), 1))], axis=1)[None].astype(np.float32)
        return np.repeat(xyz, len(indices), 0), np.stack([np.full((8192, 3), i / 255, np.float32) for i in indices])


def sample_columns():
    rng = np.random.default_rng(0)
    identity = np.concatenate([np.arange(QUERIES), rng.integers(-1, QUERIES, len(ROWS) - QUERIES)])
    embedding = rng.standard_normal((QUERIES, 6))[identity] + 0.8 * rng.standard_normal((len(ROWS), 6))
    camera = np.concatenate([np.ones(QUERIES, dtype=int), rng.integers(1, 4, len(ROWS) - QUERIES)])
    return embedding.astype(np.float32), identity, camera


def result_of(embedding, identity, camera):
    sides = (slice(QUERIES), slice(QUERIES, None))
    return evaluate_retrieval(*(column[side] for side in sides for column in (embedding, identity, camera)))


def pictures_of(folder, sample=None, *, store=None, index=None, **options):
    sample = sample_columns() if sample is None else sample
    index = np.arange(len(sample[0])) if index is None else index
    columns = map(torch.from_numpy, (*sample, index))
    samples = SimpleNamespace(**dict(zip(("embedding", "identity", "camera", "index"), columns, strict=True)))
    evaluated = SimpleNamespace(name="painted/8", store=store or PaintedStore(), rows=ROWS, num_queries=QUERIES)
    return write_pictures(folder, evaluated, samples, result_of(*sample).average_precision, **options)


@pytest.mark.parametrize("in_pixel_order", [True, False])
def test_galleries_show_the_rows_they_name(tmp_path, in_pixel_order):
    files = pictures_of(tmp_path / "pictures", store=PaintedStore(in_pixel_order=in_pixel_order))
    assert {path.name for path in files.values()} == {f"painted-8-{kind}.npz" for kind in files}
    arrays = np.load(files["galleries"])
    assert arrays["gallery"].shape == (len(arrays["kind"]), 10, 128, 64, 3)
    shown = arrays["names"] != ""
    names = [*arrays["query_name"], *arrays["names"][shown]]
    for name, image in zip(names, [*arrays["query"], *arrays["gallery"][shown]], strict=True):
        assert (image == int(name[6:10])).all()
    np.testing.assert_allclose(np.load(files["cloud"])["xyz"].mean(axis=0), 0, atol=1e-3)


def test_the_best_query_has_the_best_precision(tmp_path):
    arrays = np.load(pictures_of(tmp_path, each=1)["galleries"])
    precision = result_of(*sample_columns()).average_precision
    assert arrays["kind"].tolist() == ["best", "median", "worst"]
    assert arrays["average_precision"][[0, 2]].tolist() == [np.nanmax(precision), np.nanmin(precision)]
    hits = arrays["correct"] & (arrays["names"] != "")
    assert hits[0].sum() >= hits[2].sum()


def test_a_short_gallery_ends_in_empty_places(tmp_path):
    embedding, identity, camera = (column[:12] for column in sample_columns())
    identity[8:], camera[8:] = [0, 1, 2, 3], 2
    arrays = np.load(pictures_of(tmp_path, (embedding, identity, camera))["galleries"])
    empty = {key: arrays[key][:, 4:] for key in ("names", "correct", "scores", "gallery")}
    assert (empty["names"] == "").all() and not empty["correct"].any()
    assert np.isnan(empty["scores"]).all() and (empty["gallery"] == 255).all()


def test_the_index_says_which_rows_the_samples_of_an_evaluation_cut_short_are(tmp_path):
    index = np.concatenate([np.arange(QUERIES), np.arange(20, 40)])
    sample = tuple(column[index] for column in sample_columns())
    names = np.load(pictures_of(tmp_path, sample, index=index)["galleries"])["names"]
    assert {int(name[6:10]) for name in names[names != ""]} <= set(ROWS[20:].tolist())


def test_the_sheet_frames_the_right_green_and_the_wrong_red(tmp_path):
    arrays = np.load(pictures_of(tmp_path)["galleries"])
    lists, sheet = len(arrays["kind"]), gallery_sheet(arrays, frame=4)
    assert sheet.shape == (lists * 136, 11 * 72, 3)
    cells = sheet.reshape(lists, 136, 11, 72, 3).transpose(0, 2, 1, 3, 4)
    np.testing.assert_array_equal(cells[:, 1:, 0, 0, 1] > cells[:, 1:, 0, 0, 0], arrays["correct"])
    np.testing.assert_array_equal(cells[:, 1:, 4:-4, 4:-4], arrays["gallery"])
    np.testing.assert_array_equal(cells[:, 0, 4:-4, 4:-4], arrays["query"])


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="taken"):
        pictures_of(tmp_path / "taken")


def test_without_people_there_is_a_map_alone(tmp_path):
    files = pictures_of(tmp_path, people=False)
    assert list(files) == ["map"] and [path.name for path in tmp_path.iterdir()] == ["painted-8-map.npz"]
    arrays, (_, identity, camera) = np.load(files["map"]), sample_columns()
    assert set(arrays.files) == {"xy", "identity", "camera"} and arrays["xy"].shape == ((identity > 0).sum(), 2)
    np.testing.assert_array_equal(arrays["identity"], identity[identity > 0])
    np.testing.assert_array_equal(arrays["camera"], camera[identity > 0])
    kinds = {name.rpartition("/")[2] for name in set_media("painted", result_of(*sample_columns()), files)}
    assert kinds == {"map_by_identity", "map_by_camera", "cmc", "precision_recall"}


def test_an_offline_run_holds_every_picture_and_curve(tmp_path):
    files, result = pictures_of(tmp_path / "pictures", each=1), result_of(*sample_columns())
    run = wandb.init(dir=tmp_path, mode="offline", settings=wandb.Settings(silent=True, console="off"))
    run.log(set_media("p", result, files) | transfer_media("a + b", {"p": result}))
    media = Path(run.dir) / "media"
    run.finish()

    def only(kind, name):
        (path,) = media.glob(f"{kind}/{name}_*")
        return path

    sheet = np.asarray(Image.open(only("images", "pictures/p/galleries")))
    np.testing.assert_array_equal(sheet, gallery_sheet(np.load(files["galleries"])))
    for name in ("p/map_by_identity", "p/map_by_camera", "transfer"):
        assert only("images", f"pictures/{name}").suffix == ".png"
    cmc = json.loads(only("table", "pictures/p/cmc_table").read_text())["data"]
    np.testing.assert_allclose(cmc, np.stack([np.arange(1, len(cmc) + 1), 100 * result.cmc[:50]], axis=1))
    curve = json.loads(only("table", "pictures/p/precision_recall_table").read_text())["data"]
    np.testing.assert_allclose(np.array(curve)[:, 1], 100 * result.precision)
    (row,) = json.loads(only("table", "tables/transfer").read_text())["data"]
    assert row[:3] == ["a + b", "p", pytest.approx(100 * result.mean_average_precision)]
    cloud = np.array(json.loads(only("object3D", "pictures/p/cloud").read_text()))
    np.testing.assert_allclose(cloud[:, 1], -np.load(files["cloud"])["xyz"][:, 1], atol=1e-4)  # y up
