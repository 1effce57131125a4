"""Experiments are composed from YAML, and a wrong word is answered with the right one."""

from pathlib import Path

import pytest

from ogreid import config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments").mkdir()
    for name, text in {
        "parent": "model: {k: 5}\ntrainer: {max_epochs: 7}\n",
        "child": "extends: parent\nmodel: {k: 9}\n",
    }.items():
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
    return tmp_path


def test_a_child_changes_what_it_names_and_inherits_the_rest(folder):
    child = config.load("child", start=folder)
    assert (child.name, child.model.k, child.trainer["max_epochs"]) == ("child", 9, 7)
    assert child.trainer["check_val_every_n_epoch"] == 10  # a default of the schema stays beside what YAML says


def test_an_override_wins_over_the_file_and_is_read_as_yaml(folder):
    overrides = ["model.k=3", "data.train=[market,duke]", "trainer.max_time=null", "trainer.max_steps=5"]
    experiment = config.load("child", overrides, start=folder)
    assert (experiment.model.k, experiment.data.train) == (3, ["market", "duke"])
    assert (experiment.trainer["max_time"], experiment.trainer["max_steps"]) == (None, 5)


def test_experiments_are_looked_up_upward_from_the_working_directory_then_in_the_package(folder, monkeypatch):
    (below := folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(below)
    assert config.load("parent").model.k == 5
    assert config.load("market_circle").data.train == ["market"]
    assert {"parent", "market_circle", "demo"} <= set(config.experiment_names())


def test_an_experiment_survives_the_trip_through_yaml(folder):
    experiment = config.load("child", ["data.density=0.5", "trainer.max_time='00:01:00:00'"], start=folder)
    assert config.from_dict(config.to_dict(experiment)) == experiment
    (folder / "written.yaml").write_text(config.to_yaml(experiment))
    assert config.load(str(folder / "written.yaml")) == experiment


def test_settings_that_differ_come_with_what_the_change_means_on_resume(folder):
    old = config.load("child", start=folder)
    changes = {"model.k": "fixed", "seed": "warn", "trainer.max_steps": "extend", "trainer.precision": "warn"}
    overrides = ["model.k=3", "seed=4", "trainer.max_steps=9", "trainer.precision=bf16-mixed"]
    free = ["runs.root=x", "logger=[csv]", "wandb.tags=[a]", "data.num_workers=0", "trainer.log_every_n_steps=1"]
    changed = config.changed_settings(old, config.load("child", [*overrides, *free], start=folder))
    assert {key: resume for key, (*_, resume) in changed.items()} == changes
    assert changed["model.k"][:2] == (9, 3) and changed["trainer.max_steps"][:2] == (None, 9)
