"""The parts of the recipe: optimizer, warm-up, parts with their own rate, neck, averages, positive pairs."""

import numpy as np
import pytest
import torch
from torch import nn

from ogreid import ReIDModule, config
from ogreid.data.batch import CloudBatch
from ogreid.data.samplers import TrainingSampler, pk, positive_pairs, random_order
from ogreid.errors import InputError
from ogreid.losses import last_norm
from ogreid.training.optimizers import build_optimizer, lr_factor
from tiny_runs import content, fit_tiny, logged, weights

SMALL = {"channels": [8, 16], "num_kept": [16, 8], "k": 4, "embedding": 16}


def tiny_module(**arguments) -> ReIDModule:
    torch.manual_seed(0)
    return ReIDModule("ognet", model_options=SMALL, num_identities=4, dropout=0.0, **arguments)


@pytest.fixture
def batch() -> CloudBatch:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.arange(8)
    clouds = (torch.rand(8, 64, 3, generator=generator) - 0.5 for _ in range(2))
    return CloudBatch(*clouds, numbers // 2, numbers, numbers)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_each_optimizer_is_torchs_own_step(name, batch):
    numbers = {"adam": (torch.optim.Adam, {"amsgrad": True}), "adamw": (torch.optim.AdamW, {"amsgrad": True})}
    make, more = numbers.get(name, (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}))
    ours, theirs = tiny_module(), tiny_module()
    settings = config.Optimizer(name, lr=0.1, weight_decay=0.01)
    optimizers = build_optimizer(ours, settings), make(theirs.parameters(), lr=0.1, weight_decay=0.01, **more)
    for module, optimizer in zip((ours, theirs), optimizers, strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            sum(module.losses(batch).values()).backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "factors",
    [
        {"network": 0.1, "network.stages.0": 0.0},
        {"network": {"stages": {"0": 0.0, "1": 0.1}, "project": 0.1, "norm": 0.1}},
    ],
)
def test_parts_have_rates_of_their_own_and_the_longest_name_wins(factors):
    module = tiny_module()
    optimizer = build_optimizer(module, config.Optimizer(lr=2.0, lr_factors=factors))
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    for name, parameter in module.named_parameters():
        expected = 0.0 if name.startswith("network.stages.0.") else 0.2 if name.startswith("network.") else 2.0
        assert rates[id(parameter)] == expected, name


@pytest.mark.parametrize(("factors", "word"), [({"network.stage": 0.1}, "network.stages"), ({"head": -1}, "head")])
def test_a_part_that_is_not_there_or_a_negative_rate_is_refused(factors, word):
    with pytest.raises(InputError, match=word) as raised:
        build_optimizer(tiny_module(), config.Optimizer(lr_factors=factors))
    assert "\n" not in str(raised.value)


def test_the_learning_rate_rises_from_a_hundredth_and_then_follows_the_cosine():
    factor = lr_factor(config.Optimizer(lr_warmup=2, min_lr_ratio=0.1), epochs=10)
    plain = lr_factor(config.Optimizer(min_lr_ratio=0.1), epochs=10)
    assert [factor(0), factor(2), factor(5), factor(10)] == pytest.approx([0.01, plain(2), plain(5), 0.1])
    assert factor(1) == pytest.approx(0.505 * plain(1))


def test_a_run_with_warm_up_moves_the_rate_with_each_step(place):
    run = fit_tiny("trainer.max_epochs=2", "optimizer.lr_warmup=1", "optimizer.name=adamw", "optimizer.lr=0.01")
    factor = lr_factor(config.Optimizer(lr_warmup=1), epochs=2)
    assert logged(run, "lr") == pytest.approx([0.01 * factor(0.0), 0.01 * factor(1.0)])
    (group,) = content(run.last)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(0.01 * factor(2.0))


def test_a_neck_gives_the_pair_loss_the_embedding_before_the_last_norm(batch):
    module = tiny_module(loss="triplet", neck=True).train()
    before = {}
    module.network.norm.register_forward_pre_hook(lambda _, inputs: before.update(embedding=inputs[0]))
    terms = module.losses(batch)
    plain = tiny_module(loss="triplet").train().losses(batch)
    assert torch.equal(terms["triplet"], module.pair_loss(before["embedding"], batch.identity))
    assert not torch.equal(terms["triplet"], plain["triplet"])
    assert torch.equal(terms["cross_entropy"], plain["cross_entropy"])
    assert not module.network.norm._forward_pre_hooks.keys() - {next(iter(module.network.norm._forward_pre_hooks))}


def test_a_network_without_a_norm_has_no_neck():
    assert last_norm(nn.Sequential(first := nn.BatchNorm1d(4), nn.Linear(4, 4))) is first
    with pytest.raises(InputError, match=r"loss\.neck"):
        last_norm(nn.Linear(3, 4))


def test_the_exponential_average_is_the_result_of_a_run(place):
    steps = ["trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=1", "optimizer.ema_decay=0.25"]
    run = fit_tiny(*steps, "trainer.max_epochs=2")
    after = [weights(fit_tiny(*steps, f"trainer.max_steps={count}", "trainer.max_epochs=2").last) for count in (1, 2)]
    average = weights(run.average)
    assert run.result == run.average and run.summary()["last"]["tiny"]["queries"] == 8
    for name in (name for name, value in average.items() if value.is_floating_point()):
        # The first step starts the average.
        torch.testing.assert_close(average[name], 0.25 * after[0][name] + 0.75 * after[1][name], msg=name)


def test_two_averages_at_once_are_refused(place):
    with pytest.raises(InputError, match="ema_decay"):
        fit_tiny("optimizer.ema_decay=0.9", "optimizer.swa_fraction=0.5")


def by_hand(sampler: TrainingSampler) -> float:
    rows = list(sampler)
    batches = [rows[i : i + sampler.batch_size] for i in range(0, len(rows), sampler.batch_size)]
    pairs = [
        sum(sampler.identity[a] == sampler.identity[b] for i, a in enumerate(batch) for b in batch[:i])
        for batch in batches
    ]
    return float(np.mean(pairs))


@pytest.mark.parametrize("order", [pk, random_order])
def test_positive_pairs_are_counted_as_by_hand(order):
    identity = np.random.default_rng(0).integers(0, 9, 200)
    sampler = TrainingSampler(identity, order, num_instances=4, batch_size=16, seed=3)
    pairs, identities = positive_pairs(sampler)
    assert pairs == pytest.approx(by_hand(sampler))
    assert 1 <= identities <= 9
    if order is pk:
        assert pairs >= 4 * 6  # four identities, four clouds of each


def test_a_run_says_its_positive_pairs_and_warns_of_too_few(place, caplog, capsys):
    fit_tiny("trainer.max_epochs=1", "loss.name=triplet", "data.sampler=pk", "data.num_instances=4")
    assert "positive pairs" in capsys.readouterr().out and "positive pairs" not in caplog.text
    fit_tiny("trainer.max_epochs=1", "loss.name=triplet", "data.sampler=random", "data.batch_size=4")
    assert any("positive pairs" in one.message and one.levelname == "WARNING" for one in caplog.records)
