"""What a whole offline run gives W&B, read back from its file; and what no file shows where people may not be shown."""

import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wandb

from conftest import make_place
from ogreid import ReIDModule, fit
from ogreid.runs import STAMP
from tiny_runs import only_run, without
from wandb_log import ended, items, of_kind

pytestmark = pytest.mark.thorough

SETTINGS = [*without("wandb"), "wandb.mode=offline", "wandb.tags=[mine]", "data.transfer=[other]"]
DRAWINGS = {"map_by_identity", "map_by_camera", "transfer", "verification", "scores"}
"""Images in which nobody is shown."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nothing there says where W&B is."""
    place = make_place(tmp_path_factory.mktemp("tracked"), tiny={}, other={"identities": 6, "seed": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DATA_DIR", STAMP):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.2")  # older ones first look at the machine after 15 s
        wandb.teardown()  # which has read the environment already where another test came before
        yield place


def offline(root, *settings):
    """A run with W&B offline."""
    fit.main(["--experiment", "small", *SETTINGS, f"runs.root={root}", *settings])
    return only_run(root)


def log_of(root):
    (log,) = (only_run(root).folder / "wandb").glob("offline-run-*/*.wandb")
    return log


@pytest.fixture(scope="module")
def resumed(folder):
    """A run that stopped half-way and was resumed: its two offline files, in the order of time."""
    run = offline("shown", "trainer.max_epochs=4", "trainer.max_steps=4")
    assert fit.main(["--resume", str(run.folder), "trainer.max_steps=-1"]) == 0
    logs = sorted((run.folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    return SimpleNamespace(run=run, logs=logs)


def test_a_resumed_run_is_the_same_run_with_the_whole_experiment(resumed):
    first, second = (of_kind(log, "run")[0] for log in resumed.logs)
    assert first.run_id == second.run_id == resumed.run.tracking_id
    assert first.run_group == "small" and set(first.tags) == {"small", "ognet", "circle", "mine"}
    settings = items(first.config.update)
    assert settings["model"]["channels"] == [8, 16] and settings["optimizer"]["lr"] == 0.01 and settings["seed"] == 0


def test_evaluations_are_drawn_over_epochs_and_the_best_mean_is_the_summary(resumed):
    named = {metric.name: metric for metric in of_kind(resumed.logs[0], "metric") if metric.name}
    assert named["val/tiny/mAP"].step_metric == "epoch" and named["val/tiny/mAP"].summary.max
    for name in ("val/mAP", "val/tiny/rank1", "transfer/tiny->other/mAP"):
        assert named[name].step_metric == "epoch" and not named[name].summary.max
    (others,) = (metric for metric in of_kind(resumed.logs[0], "metric") if metric.glob_name)
    assert (others.glob_name, others.step_metric) == ("*", "trainer/global_step")


def test_every_step_and_every_evaluation_is_logged_once_and_the_machine_too(resumed):
    rows = [items(row.item) for log in resumed.logs for row in of_kind(log, "history")]
    assert [row["trainer/global_step"] for row in rows if "train/loss" in row] == list(range(8))
    assert [row["epoch"] for row in rows if "val/tiny/mAP" in row] == [1, 3]
    assert all("transfer/tiny->other/rank1" in row for row in rows if "val/mAP" in row)
    assert sum("lr" in row for row in rows) == 4
    machine = {item.key for log in resumed.logs for stats in of_kind(log, "stats") for item in stats.item}
    assert {"memory_percent", "proc.memory.rssMB"} <= machine


def test_galleries_clouds_curves_and_tables_are_handed_over(resumed):
    rows = [items(row.item) for row in of_kind(resumed.logs[1], "history")]
    shown, pairs = (row for row in rows if any(name.startswith("pictures/") for name in row))
    kinds = {name.split("/_type")[0]: kind for name, kind in shown.items() if name.endswith("/_type")}
    for on in ("tiny", "other"):
        assert kinds[f"pictures/{on}/galleries"] == "image-file"
        assert kinds[f"pictures/{on}/cloud"] == "object3D-file"
        assert kinds[f"pictures/{on}/cmc_table"] == "table-file"
        assert pairs[f"pictures/{on}/scores/_type"] == "image-file" and 0 <= pairs[f"verification/{on}/eer"] <= 100
    assert pairs["pictures/verification/_type"] == "image-file"
    assert kinds["tables/transfer"] == "table-file" and kinds["pictures/transfer"] == "image-file"


def test_the_resulting_checkpoint_and_the_report_are_artifacts_where_they_lie(resumed):
    artifacts = {one.name: one for one in of_kind(resumed.logs[1], "artifact") if one.type in ("model", "report")}
    assert {name: one.type for name, one in artifacts.items()} == {"small": "model", "small-report": "report"}
    for name, file in (("small", resumed.run.result), ("small-report", resumed.run.folder / "report.html")):
        (entry,) = artifacts[name].manifest.contents
        assert Path(entry.local_path) == file.resolve() and entry.size == file.stat().st_size
    staged = [entry.local_path for one in of_kind(resumed.logs[1], "artifact") for entry in one.manifest.contents]
    assert all(Path(path).is_relative_to(resumed.run.folder.resolve()) for path in staged)


def test_a_run_ends_when_it_ends(resumed):
    """Else the next one in the same process would be written into it."""
    assert [[end.exit_code for end in ended(log)] for log in resumed.logs] == [[0], [0]]


def test_a_run_that_dies_has_failed(folder, monkeypatch):
    monkeypatch.setattr("ogreid.training.train.write_report", lambda *_: (_ for _ in ()).throw(RuntimeError("died")))
    with pytest.raises(RuntimeError, match="died"):
        offline("died", "trainer.max_epochs=1")
    assert [end.exit_code for end in ended(log_of("died"))] == [1]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, (1, 1, 0)), (signal.SIGINT, (0, 255, 130))])
def test_a_run_that_is_asked_to_stop_has_not_failed(folder, monkeypatch, number, expected):
    """Preempted, with a status that is not 0: W&B would call it finished otherwise, and a sweep not resume it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may have been started in the background
    step, root = ReIDModule.training_step, f"stopped-{number.name}"
    monkeypatch.setattr(ReIDModule, "training_step", lambda *a: (os.kill(os.getpid(), number), step(*a))[1])
    with pytest.raises(SystemExit) as left:
        offline(root)
    (end,) = ended(log_of(root))
    assert (len(of_kind(log_of(root), "preempting")), end.exit_code, left.value.code) == expected


def test_where_people_may_not_be_shown_no_file_of_the_run_shows_them(resumed):
    unseen = offline("unseen", "runs.pictures=false", "trainer.max_epochs=2")
    assert [path for path in unseen.folder.rglob("*") if shows_people(path)] == []
    shown = {path.name.split("_")[0] for path in resumed.run.folder.rglob("*") if shows_people(path)}
    kinds = {f"{on}-{kind}.npz" for on in ("tiny", "other") for kind in ("galleries", "cloud", "pairs")}
    assert shown == {"report.html", "galleries", "cloud"} | kinds  # the search finds them where they are


def shows_people(path):
    """Whether there is an image or a colored cloud in a file, but for drawings that show nobody."""
    if not path.is_file():
        return False
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return any(arrays[name].dtype == np.uint8 for name in arrays.files)
    content = path.read_bytes()
    if path.suffix == ".html":
        return b"data:image" in content or b"data-count" in content
    drawn = re.split(r"_\d+_", path.name)[0] in DRAWINGS
    signatures = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
    return path.name.endswith(".pts.json") or (content.startswith(signatures) and not drawn)
