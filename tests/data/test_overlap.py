"""A transfer set that shows people who are trained on is refused, and names that coincide by chance are not."""

import numpy as np
import pytest

from ogreid import ReIDDataModule
from ogreid.errors import InputError
from small_stores import small_store


@pytest.fixture
def setup(stores, tmp_path):
    """Sets up training on the store ``one``, made where it is missing, for the transfer sets that are named."""

    def call(*transfer, **one):
        if not (tmp_path / "data" / "one").exists():
            stores("one", seed=1, **one)
        settings = {"train": "one", "test": "one", "num_points": 64, "batch_size": 4, "num_workers": 0}
        ReIDDataModule(tmp_path / "data", **settings, transfer=transfer).setup("fit")

    return call


def test_crops_that_are_packed_again_under_other_folders_and_endings_are_refused(setup, stores, tmp_path):
    one = stores("one", seed=1)
    rows = one.rows.copy()
    rows["source"] = [f"all/{source.rpartition('/')[2]}.obj" for source in rows["source"]]
    xyz, rgb = one.raw(np.arange(len(one)))
    small_store(tmp_path / "data/again", rows, {"xyz": xyz[:, ::-1], "rgb": rgb[:, ::-1]}, order="written")
    with pytest.raises(InputError, match=r"again holds crops that are trained on, like train/.*\(one\)"):
        setup("again")


@pytest.mark.parametrize("names", [("market", "market"), ("cuhk", "cuhk_labeled")])
def test_a_store_of_the_same_benchmark_is_refused_whatever_its_colors(setup, stores, names):
    stores("like", seed=9, benchmark=names[1])
    with pytest.raises(InputError, match="like holds crops that are trained on"):
        setup("like", benchmark=names[0])


@pytest.mark.parametrize("names", [("market", "duke"), ("folder", "folder"), ("market", "folder")])
def test_names_that_coincide_are_not_refused_but_warned_of_in_own_folders(setup, stores, caplog, names):
    stores("like", seed=9, benchmark=names[1])
    setup("like", benchmark=names[0])
    assert len([one for one in caplog.messages if "16 of 32 crops of like" in one]) == ("folder" in names)


def test_other_people_of_the_same_benchmark_are_a_transfer_and_nothing_is_said(setup, stores, tmp_path, caplog):
    like = stores("like", seed=9, benchmark="market")
    rows = like.rows.copy()
    rows["identity"] += 100
    xyz, rgb = like.raw(np.arange(len(like)))
    small_store(tmp_path / "data/others", rows, {"xyz": xyz, "rgb": rgb}, benchmark="market")
    setup("others", benchmark="market")
    assert not caplog.messages


def test_the_people_of_a_synthetic_world_are_the_same_at_any_size(setup, stores, caplog):
    """Whose numbers a domain may begin again in its test split."""
    world = {"domain": "transit", "seed": 0}
    stores("smaller", seed=9, identities=6, benchmark="transit", creation=world | {"identities": 6})
    stores("elsewhere", seed=9, benchmark="transit", creation=world | {"seed": 1})
    setup("elsewhere", benchmark="transit", creation=world)
    assert not caplog.messages
    with pytest.raises(InputError, match="smaller holds people of transit, seed 0"):
        setup("smaller")
