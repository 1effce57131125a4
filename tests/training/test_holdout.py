"""With val=holdout, identities of the training split choose the epoch, and the test sets are looked at once."""

import json

import numpy as np
import pytest

from ogreid import ReIDDataModule, evaluate
from ogreid.data.dataset import holdout_set, split_identities
from ogreid.data.store.mapped import Store
from ogreid.errors import InputError
from tiny_runs import content, fit_tiny, logged, logged_rows, same, weights

HOLDOUT = ["data.val=holdout", "data.holdout=0.3", "trainer.check_val_every_n_epoch=1"]


@pytest.fixture
def store(place) -> Store:
    return Store.open(place / "data" / "tiny")


def test_identities_are_withheld_whole_and_the_same_whatever_the_seed(place, store):
    rows = store.split("train")
    kept, withheld = split_identities(store, rows, 0.3)
    identity = store.rows["identity"]
    assert not set(identity[kept]) & set(identity[withheld])
    assert sorted([*kept, *withheld]) == sorted(rows)
    for seed in (0, 7):
        data = ReIDDataModule("data", train="tiny", test="tiny", val="holdout", holdout=0.3, num_points=8, seed=seed)
        data.setup("fit")
        assert data.num_identities == len(set(identity[kept]))
        assert set(data.holdout_sets[0].rows) == set(withheld)
        assert sorted(data.train_set.row) == sorted(kept)


def test_every_withheld_identity_with_two_cameras_asks_once_from_each(store):
    rows = store.split("train")
    evaluated = holdout_set("x", store, rows)
    identity, camera = store.rows["identity"], store.rows["camera"]
    queries = [(identity[row], camera[row]) for row in evaluated.rows[: evaluated.num_queries]]
    cameras = {one: set(camera[rows][identity[rows] == one]) for one in set(identity[rows])}
    assert sorted(queries) == sorted((one, each) for one, own in cameras.items() if len(own) > 1 for each in own)
    assert np.array_equal(evaluated.rows[evaluated.num_queries :], rows)


def test_a_run_is_judged_by_the_epoch_that_withheld_identities_chose(place):
    run = fit_tiny(*HOLDOUT, "trainer.max_epochs=3", "data.transfer=[other]")
    choice, summary = run.summary()["choice"], run.summary()
    curve = logged(run, "val/mAP")[:3]
    assert choice["epoch"] == 1 + int(np.argmax(curve))
    assert choice["holdout"]["tiny-holdout"]["mAP"] == pytest.approx(max(curve), abs=1e-4)
    assert set(summary["retrieval"]) == {"tiny"} and set(summary["transfer"]) == {"other"}
    assert not any(name.startswith("val/tiny/") for row in logged_rows(run) for name, value in row.items() if value)
    assert run.result == run.best and content(run.best)["epoch"] == choice["epoch"] - 1
    assert evaluate.main(["--checkpoint", str(run.folder), "--on", "tiny", "--json", "numbers.json"]) == 0
    numbers = json.loads((place / "numbers.json").read_text())["retrieval"]["tiny"]
    assert numbers == summary["retrieval"]["tiny"]
    assert "held-out" in (run.folder / "report.html").read_text()


def test_a_resumed_run_chooses_the_same_epoch(place):
    settings = [*HOLDOUT, "trainer.max_epochs=3", "seed=2"]
    whole = fit_tiny(*settings)
    part = fit_tiny(*settings, "trainer.max_steps=3")
    resumed = fit_tiny("trainer.max_steps=-1", resume=str(part.folder))
    assert same(weights(whole.best), weights(resumed.best))
    assert whole.summary()["retrieval"] == resumed.summary()["retrieval"]


def test_an_averaged_network_is_judged_where_there_is_no_epoch_to_choose(place):
    run = fit_tiny(*HOLDOUT, "trainer.max_epochs=2", "optimizer.ema_decay=0.5")
    assert run.summary()["choice"]["epoch"] is None and run.result == run.average


@pytest.mark.parametrize("share", [0.9, 0.0, 1.0])
def test_a_share_that_leaves_nobody_to_train_or_to_choose_is_refused(place, store, share):
    with pytest.raises(InputError, match="holdout"):
        if share in (0.0, 1.0):
            ReIDDataModule("data", train="tiny", test="tiny", val="holdout", holdout=share)
        else:
            split_identities(store, store.split("train"), 0.99)
