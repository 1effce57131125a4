"""Values that a setting may not take are refused in one line, before anything is made."""

import pytest

from ogreid import config
from ogreid.config import constraints
from ogreid.config import Experiment


def test_every_rule_is_about_a_setting_that_exists():
    known = set(config._leaves())
    assert set(constraints.CHOICES) | set(constraints.RANGES) | set(constraints.FILLED) <= known


def test_the_defaults_keep_every_rule():
    plain = config.to_dict(Experiment())
    for key in config._leaves():
        value = plain
        for part in key.split("."):
            value = value[part]
        assert constraints.complaint(key, value) is None, key


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "seed: -1 is out of range; expected 0 to 4294967295"),
        ("data.density", 0.0, "data.density: 0.0 is out of range; expected more than 0, at most 1"),
        ("data.density", 1.5, "data.density: 1.5 is out of range; expected more than 0, at most 1"),
        ("optimizer.lr", float("nan"), "optimizer.lr: nan is out of range; expected 0 or more"),
        ("evaluation.scales", [1.0, 0.0], "evaluation.scales: 0.0 is out of range; expected more than 0"),
        ("evaluation.scales", [], "evaluation.scales: the list is empty; name one at least"),
        ("data.augmentation.scale", [2.0, 1.0], "data.augmentation.scale: [2.0, 1.0] is no range"),
        ("loss.name", "cirle", "loss.name: 'cirle' is none of its values; did you mean circle?"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_the_range(key, value, message):
    assert constraints.complaint(key, value).startswith(message)


@pytest.mark.parametrize(("key", "value"), [("data.density", 1.0), ("data.density", None), ("model.k", 1)])
def test_the_ends_of_a_range_and_the_variants_own_value_are_allowed(key, value):
    assert constraints.complaint(key, value) is None
