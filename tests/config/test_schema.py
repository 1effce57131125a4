"""A field says which values it takes and what it may do on resume; the classes take what the groups hold."""

import inspect
from dataclasses import fields, is_dataclass
from typing import get_args

import lightning as L
import pytest

from ogreid import ReIDDataModule, ReIDModule
from ogreid.config import Augmentation, Data, Evaluation, Experiment, Loss, Model, Optimizer, check, options
from ogreid.config.constraints import Resume
from ogreid.errors import InputError
from ogreid.registry import LOSSES, resolve


def leaves(kind=Experiment):
    for one in fields(kind):
        yield from leaves(one.type) if is_dataclass(one.type) else [one]


def test_every_field_says_which_values_it_takes_and_what_it_may_do_on_resume():
    assert all({"constraint", "resume"} <= one.metadata.keys() for one in leaves())
    assert {one.metadata["resume"] for one in leaves()} <= set(get_args(Resume))
    (trainer,) = (one for one in fields(Experiment) if one.name == "trainer")
    known = inspect.signature(L.Trainer.__init__).parameters
    assert {*trainer.metadata["free"], *trainer.metadata["extend"], *trainer.default_factory()} <= known.keys()


def test_the_defaults_are_within_their_constraints():
    assert check(Experiment()) == Experiment()


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (Experiment(seed=-1), r"^seed: expected 0 to 4294967295|^seed: .*-1"),
        (Data(density=0.0), r"^density: expected more than 0, at most 1, got 0"),
        (Data(density=1.5), r"^density: .*at most 1, got 1\.5"),
        (Data(batch_size=1), r"^batch_size: expected 2 or more, got 1"),
        (Optimizer(lr=float("nan")), r"^lr: expected 0 or more, got nan"),
        (Evaluation(scales=[1.0, 0.0]), r"^scales: expected more than 0, got 0"),
        (Evaluation(scales=[]), r"^scales: .*empty"),
        (Model(channels=[1] * 65), r"^channels: .*at most 64"),
        (Data(augmentation=Augmentation(scale=[2.0, 1.0])), r"^augmentation\.scale: expected \[smallest, largest\]"),
        (Loss(name="cirle"), r"^name: .*circle"),
    ],
)
def test_a_value_out_of_its_range_is_refused_with_the_range(group, words):
    with pytest.raises(InputError, match=words):
        check(group)


@pytest.mark.parametrize("group", [Data(density=1.0), Data(density=None), Model(k=1), Augmentation(scale=[])])
def test_the_ends_of_a_range_and_the_variants_own_value_are_allowed(group):
    assert check(group) == group


def test_options_are_what_differs_from_the_variants_own():
    assert options(Model(k=9), "options", "freeze") == {"name": "ognet", "k": 9}


def parameters(kind):
    own = inspect.signature(kind).parameters.items()
    return {name: one.default for name, one in own if one.default is not inspect.Parameter.empty}


def test_the_modules_take_what_the_groups_hold_with_the_same_defaults():
    as_tuple = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(Data()).items()}
    data = parameters(ReIDDataModule)
    assert data.keys() - {"seed"} == as_tuple.keys()
    assert {name: (value,) if name in ("train", "test") else value for name, value in data.items()} == as_tuple | {
        "seed": 0,
        "augmentation": None,
    }
    module = parameters(ReIDModule)
    optimizer = options(Optimizer(), "name", "lr_factors", "swa_fraction", "ema_decay")
    assert module["optimizer"] == Optimizer().name
    assert {name: module[name] for name in optimizer} == optimizer
    classifier = {name: getattr(Loss(), name) for name in ("dropout", "label_smoothing", "neck")}
    assert {name: module[name] for name in classifier} == classifier
    assert (module["weights"], module["freeze"], module["lr_factors"]) == (Model().weights, (), None)
    assert list(module["scales"]) == Evaluation().scales
    pair = {name for loss in LOSSES for name in parameters(resolve("loss", LOSSES, loss))}
    assert pair == {one.name for one in fields(Loss)} - {"name", "options", *classifier}
