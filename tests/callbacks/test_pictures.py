"""Pictures of retrieval: what is written shows the right crops in the right order."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from ogreid.training.callbacks.embeddings import KeepEmbeddings
from ogreid.training.callbacks.pictures import Pictures
from ogreid.training.callbacks.galleries import collect_galleries, collect_map, gallery_sheet, portrait
from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.errors import InputError
from ogreid.retrieval import judge
from ogreid.retrieval.metric import RetrievalMetric
from ogreid.training.loggers import ProjectWandbLogger

ROWS = np.arange(5, 45)  # the store's first rows are for training
QUERIES = 8


class PaintedStore:
    """A store whose every crop is painted in its own row number."""

    name = "painted"

    def __init__(self, *, in_pixel_order=True):
        self.in_pixel_order = in_pixel_order
        self.rows = np.zeros(45, dtype=[("source", "U20")])
        self.rows["source"] = [f"query/{row:04}.jpg" for row in range(45)]

    def picture(self, index):
        return np.full((128, 64, 3), index, dtype=np.uint8) if self.in_pixel_order else None

    def clouds(self, indices):
        grid = np.stack(np.meshgrid(np.arange(64), np.arange(128)), axis=-1).reshape(-1, 2)
        xyz = np.concatenate([grid, np.ones((len(grid), 1))], axis=1)[None].astype(np.float32)
        return np.repeat(xyz, len(indices), 0), np.stack([np.full((8192, 3), i / 255, np.float32) for i in indices])


def columns(seed=0):
    rng = np.random.default_rng(seed)
    identity = np.concatenate([np.arange(QUERIES), rng.integers(-1, QUERIES, len(ROWS) - QUERIES)])
    embedding = rng.standard_normal((QUERIES, 6))[identity] + 0.8 * rng.standard_normal((len(ROWS), 6))
    camera = np.concatenate([np.ones(QUERIES, dtype=int), rng.integers(1, 4, len(ROWS) - QUERIES)])
    return embedding.astype(np.float32), identity, camera


def judged_by_hand():
    embedding, identity, camera = columns()
    query, gallery = (
        [c[part] for c in (embedding, identity, camera)] for part in (slice(QUERIES), slice(QUERIES, None))
    )
    return judge(*query, *gallery)


@pytest.mark.parametrize("in_pixel_order", [True, False])
def test_galleries_show_the_rows_they_name(tmp_path, in_pixel_order):
    store = PaintedStore(in_pixel_order=in_pixel_order)
    galleries, cloud = collect_galleries(store, ROWS, QUERIES, *columns(), tmp_path / "pictures")
    held = np.load(galleries)
    assert held["found"].shape == (len(held["kind"]), 10, 128, 64, 3)
    for asked, picture in zip(held["query_name"], held["query"], strict=True):
        assert (picture == int(asked[6:10])).all()
    shown = held["names"] != ""
    assert shown.any()
    for name, picture in zip(held["names"][shown], held["found"][shown], strict=True):
        assert (picture == int(name[6:10])).all()
    xyz = np.load(cloud)["xyz"]
    np.testing.assert_allclose(xyz.mean(axis=0), 0, atol=1e-3)


def test_the_best_query_has_the_best_precision(tmp_path):
    held = np.load(collect_galleries(PaintedStore(), ROWS, QUERIES, *columns(), tmp_path)[0])
    precision = judged_by_hand().average_precision
    assert held["average_precision"][0] == np.nanmax(precision)
    assert held["average_precision"][held["kind"] == "worst"].min() == np.nanmin(precision)
    hits = held["correct"] & (held["names"] != "")
    assert hits[0].sum() >= hits[list(held["kind"]).index("worst")].sum()


def test_a_short_gallery_is_filled_up_with_nothing(tmp_path):
    embedding, identity, camera = (column[:12] for column in columns())
    identity[8:] = [0, 1, 2, 3]
    camera[8:] = 2
    held = np.load(collect_galleries(PaintedStore(), ROWS[:12], QUERIES, embedding, identity, camera, tmp_path)[0])
    assert (held["names"][:, 4:] == "").all()
    assert np.isnan(held["scores"][:, 4:]).all()
    assert not held["correct"][:, 4:].any()


def test_the_sheet_frames_the_right_green_and_the_wrong_red(tmp_path):
    held = np.load(collect_galleries(PaintedStore(), ROWS, QUERIES, *columns(), tmp_path)[0])
    sheet = gallery_sheet(held, frame=4)
    lists = len(held["kind"])
    assert sheet.shape == (lists * 136, 11 * 72, 3)
    cells = sheet.reshape(lists, 136, 11, 72, 3).transpose(0, 2, 1, 3, 4)
    green = cells[:, 1:, 0, 0, 1] > cells[:, 1:, 0, 0, 0]
    np.testing.assert_array_equal(green, held["correct"])
    np.testing.assert_array_equal(cells[:, 1:, 4:-4, 4:-4], held["found"])
    np.testing.assert_array_equal(cells[:, 0, 4:-4, 4:-4], held["query"])


def test_a_portrait_shows_the_nearest_point():
    xyz = np.array([[0, 0, 1.0], [0, 0, 0.5], [1, 2, 1.0]], dtype=np.float32)
    rgb = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    picture = portrait(xyz, rgb)
    assert picture[0, 0].tolist() == [0, 255, 0]
    assert picture[-1, -1].tolist() == [0, 0, 255]


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="pictures cannot be written there"):
        collect_galleries(PaintedStore(), ROWS, QUERIES, *columns(), tmp_path / "taken")


def test_the_map_holds_what_it_says(tmp_path):
    held = np.load(collect_map(*columns(), tmp_path, "painted"))
    _, identity, camera = columns()
    real = identity > 0
    assert held["xy"].shape == (real.sum(), 2)
    np.testing.assert_array_equal(held["identity"], identity[real])
    np.testing.assert_array_equal(held["camera"], camera[real])


@pytest.fixture
def judged_trainer(monkeypatch):
    """What a callback sees after a validation, with a W&B logger that remembers."""
    metric = RetrievalMetric(QUERIES, len(ROWS) - QUERIES)
    metric.update(*(torch.from_numpy(column) for column in columns()), torch.arange(len(ROWS)))
    judge_callback = RetrievalEvaluation()
    judge_callback.metrics, judge_callback.judgments = {0: metric}, {"painted-8": metric.compute()}
    judged = SimpleNamespace(name="painted-8", store=PaintedStore(), rows=ROWS, queries=QUERIES)
    for stand_in in ("ReIDDataModule", "WandbLogger"):
        monkeypatch.setattr(f"ogreid.training.callbacks.pictures.{stand_in}", SimpleNamespace)
    tracked = {}
    return SimpleNamespace(
        datamodule=SimpleNamespace(retrieval_sets=[judged], data=SimpleNamespace(train=["painted-8", "other"])),
        callbacks=[judge_callback],
        is_global_zero=True,
        sanity_checking=False,
        loggers=[SimpleNamespace(experiment=SimpleNamespace(log=tracked.update))],
        tracked=tracked,
    )


def test_the_callback_writes_the_sets_of_the_last_validation(tmp_path, judged_trainer):
    Pictures(tmp_path, each=1).on_fit_end(judged_trainer, None)
    names = [f"painted-8-{kind}.npz" for kind in ("cloud", "galleries", "map")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert isinstance(judged_trainer.tracked["pictures/painted-8/galleries"], wandb.Image)
    assert isinstance(judged_trainer.tracked["pictures/painted-8/cloud"], wandb.Object3D)
    expected = np.nanmax(judged_by_hand().average_precision)
    assert np.load(tmp_path / "painted-8-galleries.npz")["average_precision"][0] == expected


def test_where_people_may_not_be_shown_nothing_shows_them(tmp_path, judged_trainer):
    Pictures(tmp_path, people=False).on_fit_end(judged_trainer, None)
    assert [path.name for path in tmp_path.iterdir()] == ["painted-8-map.npz"]
    assert set(np.load(tmp_path / "painted-8-map.npz").files) == {"xy", "identity", "camera"}
    shown = {name.removeprefix("pictures/painted-8/") for name in judged_trainer.tracked}
    drawn = {"map_by_identity", "map_by_camera", "cmc", "precision_recall", "pictures/transfer", "tables/transfer"}
    assert shown == drawn


def test_an_offline_run_holds_every_picture_and_curve(tmp_path, judged_trainer, monkeypatch):
    monkeypatch.setattr("ogreid.training.callbacks.pictures.WandbLogger", ProjectWandbLogger)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logger = ProjectWandbLogger(save_dir=tmp_path, offline=True, settings=wandb.Settings(silent=True, console="off"))
    judged_trainer.loggers = [logger]
    Pictures(tmp_path / "pictures", each=1).on_fit_end(judged_trainer, None)
    media = Path(logger.experiment.dir) / "media"
    logger.experiment.finish()

    def only(kind, name):
        (path,) = media.glob(f"{kind}/{name}_*")
        return path

    held = np.load(tmp_path / "pictures" / "painted-8-galleries.npz")
    sheet = np.asarray(Image.open(only("images", "pictures/painted-8/galleries")))
    np.testing.assert_array_equal(sheet, gallery_sheet(held))
    for name in ("painted-8/map_by_identity", "painted-8/map_by_camera", "transfer"):
        assert only("images", f"pictures/{name}").suffix == ".png"
    judged = judged_by_hand()
    cmc = json.loads(only("table", "pictures/painted-8/cmc_table").read_text())["data"]
    np.testing.assert_allclose(cmc, np.stack([np.arange(1, len(cmc) + 1), 100 * judged.cmc[:50]], axis=1))
    curve = json.loads(only("table", "pictures/painted-8/precision_recall_table").read_text())["data"]
    np.testing.assert_allclose(np.array(curve)[:, 1], 100 * judged.precision)
    (row,) = json.loads(only("table", "tables/transfer").read_text())["data"]
    assert row[:2] == ["painted-8 + other", "painted-8"]
    assert row[2] == pytest.approx(100 * judged.mean_average_precision)
    cloud = np.array(json.loads(only("object3D", "pictures/painted-8/cloud").read_text()))
    assert cloud.shape == (8192, 6)
    xyz = np.load(tmp_path / "pictures" / "painted-8-cloud.npz")["xyz"]
    np.testing.assert_allclose(cloud[:, 1], -xyz[:, 1], atol=1e-4)  # y up


def test_embeddings_are_kept_with_what_they_are_of(tmp_path, judged_trainer):
    KeepEmbeddings(tmp_path / "embeddings").on_validation_end(judged_trainer, None)
    held = np.load(tmp_path / "embeddings" / "painted-8.npz")
    embedding, identity, camera = columns()
    np.testing.assert_array_equal(held["embedding"], embedding)
    np.testing.assert_array_equal(held["identity"], identity)
    np.testing.assert_array_equal(held["camera"], camera)
    np.testing.assert_array_equal(held["row"], ROWS)
    assert held["query"].sum() == QUERIES
    assert held["source"][0] == "query/0005.jpg"


def test_only_the_first_process_writes(tmp_path, judged_trainer):
    judged_trainer.is_global_zero = False
    Pictures(tmp_path).on_fit_end(judged_trainer, None)
    KeepEmbeddings(tmp_path).on_validation_end(judged_trainer, None)
    assert list(tmp_path.iterdir()) == []
