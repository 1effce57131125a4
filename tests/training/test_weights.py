"""A training starts from trained weights: what is loaded, what is new, what is refused, and what is said of it."""

import logging

import pytest
import torch

from ogreid import ReIDModule, fit
from ogreid.errors import InputError
from ogreid.training.weights import read_weights
from tiny_runs import call, content, fit_tiny, only_run, weights, without

EPOCH = ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
FROZEN = ["optimizer.lr=0", "optimizer.weight_decay=0"]  # nothing learns: what comes out is what went in


@pytest.fixture
def trained(place):
    return fit_tiny(*EPOCH)


def backbone(state):
    return {name: value for name, value in state.items() if name.startswith("network.") and "running" not in name}


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items() if value.is_floating_point())


def test_a_run_starts_from_another_and_keeps_the_classifier_of_the_same_stores(trained, caplog):
    caplog.set_level(logging.INFO, "ogreid")
    before = weights(trained.last)
    run = fit_tiny(*EPOCH, *FROZEN, f"model.weights={trained.folder}", "seed=5")
    after = weights(run.last)
    assert equal(backbone(before), after)
    assert torch.equal(after["head.classifier.weight"], before["head.classifier.weight"])
    assert any("from the weights" in record.message for record in caplog.records)
    assert run.summary()["weights"]["experiment"] == "small" and len(run.summary()["weights"]["sha256"]) == 64


def test_other_stores_get_a_new_classifier_and_one_line_says_so(trained, caplog):
    caplog.set_level(logging.INFO, "ogreid")
    run = fit_tiny(*EPOCH, *FROZEN, f"model.weights={trained.last}", "data.train=[tiny,other]")
    after = weights(run.last)
    assert equal(backbone(weights(trained.last)), after)
    assert len(after["head.classifier.weight"]) > len(weights(trained.last)["head.classifier.weight"])
    (said,) = [record.message for record in caplog.records if "classifier of" in record.message]
    assert "new" in said and "\n" not in said


def test_another_width_is_refused_with_both_shapes(trained):
    with pytest.raises(InputError) as raised:
        fit_tiny(*EPOCH, f"model.weights={trained.last}", "model.embedding=24")
    message = str(raised.value)
    assert "(16" in message and "(24" in message and str(trained.last) in message and "\n" not in message


def test_frozen_parts_keep_weights_and_statistics(trained):
    run = fit_tiny(*EPOCH, f"model.weights={trained.last}", "model.freeze=[stages.0]")
    before, after = weights(trained.last), weights(run.last)
    parts = [name for name in before if name.startswith("network.")]
    assert all(torch.equal(before[name], after[name]) for name in parts if name.startswith("network.stages.0."))
    assert not torch.equal(before["network.project.weight"], after["network.project.weight"])
    assert not torch.equal(before["network.norm.running_mean"], after["network.norm.running_mean"])


def test_a_part_that_the_network_does_not_have_cannot_be_frozen():
    with pytest.raises(InputError, match=r"model\.freeze.*stages\.0"):
        ReIDModule("ognet", freeze=["stages.00"])


def test_a_state_dict_with_the_prefixes_of_wrappers_is_a_start(trained, tmp_path):
    state = backbone(weights(trained.last)) | {
        name: value for name, value in weights(trained.last).items() if name.startswith("network.")
    }
    torch.save({f"module._orig_mod.{name}": value for name, value in state.items()}, tmp_path / "state.pth")
    module = ReIDModule.load_from_checkpoint(trained.last, map_location="cpu")
    options = {"model_options": module.hparams["model_options"]}
    started = ReIDModule(module.hparams["model"], **options, weights=tmp_path / "state.pth")
    assert equal(dict(module.network.state_dict()), started.network.state_dict())
    assert ReIDModule(module.hparams["model"], **options).hparams.keys() == started.hparams.keys()


def test_a_resumed_run_needs_the_weights_no_more_and_gives_the_same_bits(trained, place):
    moved = place / "start.ckpt"
    moved.write_bytes(trained.last.read_bytes())
    settings = [f"model.weights={moved}", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "seed=3"]
    whole = fit_tiny(*settings)
    part = fit_tiny(*settings, "trainer.max_steps=4")
    moved.unlink()
    assert fit.main(["--resume", str(part.folder), "trainer.max_steps=-1"]) == 0
    assert equal(weights(whole.last), weights(part.last))
    assert part.summary()["weights"] == whole.summary()["weights"] is not None
    assert content(part.last)["hyper_parameters"].get("weights") is None


def test_a_plain_load_does_not_look_for_the_weights_it_once_started_from(trained, place):
    moved = place / "start.ckpt"
    moved.write_bytes(trained.last.read_bytes())
    run = fit_tiny(*EPOCH, f"model.weights={moved}", "seed=4")
    moved.unlink()
    assert equal(weights(run.last), ReIDModule.load_from_checkpoint(run.last).state_dict())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"freeze": ["project.weight"]}, r"model\.freeze.*project"), ({"lr_factors": {"hed": 1}}, r"lr_factors.*head")],
)
def test_parts_are_refused_before_anything_is_made(arguments, words):
    with pytest.raises(InputError, match=words):
        ReIDModule("ognet", **arguments)


@pytest.mark.parametrize("part", ["ogreid", "datamodule_hyper_parameters", "hyper_parameters"])
def test_other_parts_of_a_checkpoint_may_hold_anything(trained, tmp_path, part):
    damaged = content(trained.last) | {part: [1, {"train": 3}]}
    torch.save(damaged, tmp_path / "odd.ckpt")
    network = {
        name.removeprefix("network."): value for name, value in weights(trained.last).items() if "network." in name
    }
    assert equal(network, read_weights(tmp_path / "odd.ckpt").network)


@pytest.mark.parametrize("bad", ["nothing.ckpt", "text.pth", "list.pth"])
def test_what_holds_no_weights_is_refused_by_its_name(tmp_path, bad):
    (tmp_path / "text.pth").write_text("no tensors")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=bad):
        read_weights(tmp_path / bad)


def test_two_processes_start_from_the_same_weights(trained, place):
    settings = [*without("data.batch_size", "trainer.devices"), *EPOCH, *FROZEN, "data.batch_size=4"]
    more = ["trainer.devices=2", "trainer.strategy=ddp", f"model.weights={trained.last}", "runs.root=together"]
    output, errors = call(place, "ogreid.fit", "--experiment", "small", *settings, *more)
    assert equal(backbone(weights(trained.last)), weights(only_run(place / "together").last))
    assert (output + errors).count("starts the network") == 1
