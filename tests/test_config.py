"""Configuration: composition, and errors a person can act on."""

from pathlib import Path

import pytest

from ogreid import config
from ogreid.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    (experiments / "parent.yaml").write_text("model: {k: 5}\ntrainer: {max_epochs: 7}\n")
    (experiments / "child.yaml").write_text("extends: parent\nmodel: {k: 9}\n")
    (experiments / "circle_a.yaml").write_text("extends: circle_b\n")
    (experiments / "circle_b.yaml").write_text("extends: circle_a\n")
    (experiments / "typo.yaml").write_text("model: {kk: 9}\n")
    (experiments / "list.yaml").write_text("- a\n- b\n")
    (experiments / "broken.yaml").write_text("model: {k: \n")
    return tmp_path


def test_a_child_changes_what_it_names_and_inherits_the_rest(folder):
    child = config.load("child", start=folder)
    assert (child.name, child.model.k, child.trainer.max_epochs) == ("child", 9, 7)


def test_an_override_wins_over_the_file_and_is_read_as_yaml(folder):
    made = config.load("child", ["model.k=3", "data.train=[market,duke]", "trainer.max_time=null"], start=folder)
    assert (made.model.k, made.data.train, made.trainer.max_time) == (3, ["market", "duke"], None)


def test_the_search_goes_upward_from_the_working_directory(folder):
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    assert config.load("parent", start=below).model.k == 5


def test_a_name_not_found_upward_is_found_in_the_package(tmp_path):
    assert config.load("market_circle", start=tmp_path).data.train == ["market"]


def test_an_experiment_survives_the_trip_through_yaml(folder):
    made = config.load("child", ["data.density=0.5"], start=folder)
    assert config.from_dict(config.to_dict(made)) == made


def test_the_data_root_comes_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("OGREID_DATA", "elsewhere")
    assert config.load("child", start=folder).data.root == "elsewhere"


def test_only_what_differs_reaches_the_network(folder):
    assert config.load("child", start=folder).model.overrides() == {"k": 9}


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("chidl", [], "unknown experiment 'chidl'; did you mean child?"),
        ("child", ["k=8"], "'k=8': unknown key 'k'; did you mean model.k?"),
        ("child", ["modle.k=8"], "'modle.k=8': unknown key 'modle.k'; did you mean model.k or model.num_kept?"),
        ("child", ["learning_rate=1"], "'learning_rate=1': unknown key 'learning_rate'; --print-config lists all keys"),
        ("child", ["ops=plain"], "'ops=plain': 'ops' is a group; set one of ops.backend"),
        ("child", ["model.k"], "'model.k' is not group.key=value, for example model.k=8"),
        ("child", ["model.k=many"], "'model.k=many': Value 'many' of type 'str' could not be converted to Integer"),
        ("child", ["data.train=market"], "'data.train=market': expected a list, for example [market]"),
        ("child", ["loss.name=cirle"], "loss.name: 'cirle' is none of its values; did you mean circle?"),
        (
            "child",
            ["data.train=[a"],
            "'data.train=[a': the value is not readable as YAML: while parsing a flow sequence",
        ),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(folder, name, overrides, message):
    with pytest.raises(InputError) as caught:
        config.load(name, overrides, start=folder)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("typo", "unknown key 'model.kk'; did you mean model.k"),
        ("list", "expected settings (key: value)"),
        ("broken", "not readable as YAML"),
        ("circle_a", "extends itself through circle_a -> circle_b"),
    ],
)
def test_a_wrong_file_is_named(folder, name, message):
    with pytest.raises(InputError, match="experiments") as caught:
        config.load(name, start=folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", config.experiment_names(Path(__file__).parent))
def test_every_shipped_experiment_composes(name):
    assert config.load(name, start=Path(__file__).parent).name == Path(name).name
