"""Losses re-derived by loops; degenerate batches; overflow; agreement with an independent library."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import CircleLoss as IndependentCircle

from ogreid.errors import InputError
from ogreid.losses import CircleLoss, IdentityHead, NoPairLoss, TripletLoss, circle_loss, triplet_loss
from ogreid.registry import LOSSES, resolve


def batch(rows=12, identities=4, seed=0, width=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64), torch.arange(rows) % identities


def circle_terms(embedding, identity, pairs, margin, gamma):
    """Exponents of the positive and the negative pairs."""
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    positive, negative = [], []
    for i, j in pairs:
        s = float(unit[i] @ unit[j])
        if identity[i] == identity[j]:
            positive.append(-gamma * max(0.0, 1 + margin - s) * (s - 1 + margin))
        else:
            negative.append(gamma * max(0.0, s + margin) * (s - margin))
    return positive, negative


def softplus_of_sums(positive, negative):
    return math.log1p(sum(map(math.exp, positive)) * sum(map(math.exp, negative)))


@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 8.0), (0.4, 3.0)])
def test_circle_loss_counts_each_unordered_pair_of_the_batch_once(margin, gamma):
    embedding, identity = batch()
    pairs = [(i, j) for i in range(12) for j in range(i)]
    expected = softplus_of_sums(*circle_terms(embedding, identity, pairs, margin, gamma))
    assert float(circle_loss(embedding, identity, margin=margin, gamma=gamma)) == pytest.approx(expected)


def test_circle_loss_by_anchor_is_the_mean_over_complete_rows():
    embedding, identity = batch()
    identity[0] = 99  # alone: no positive
    each = []
    for i in range(1, 12):
        terms = circle_terms(embedding, identity, [(i, j) for j in range(12) if j != i], 0.25, 8.0)
        each.append(softplus_of_sums(*terms))
    loss = circle_loss(embedding, identity, gamma=8.0, pairs="anchor")
    assert float(loss) == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize("seed", range(3))
def test_circle_loss_by_anchor_agrees_with_pytorch_metric_learning(seed):
    embedding, identity = batch(seed=seed)
    independent = IndependentCircle(m=0.25, gamma=64)
    for width in (embedding, embedding * 7):
        torch.testing.assert_close(circle_loss(width, identity, pairs="anchor"), independent(width, identity))


@pytest.mark.parametrize("pairs", ["batch", "anchor"])
def test_circle_loss_does_not_look_at_lengths(pairs):
    embedding, identity = batch()
    lengths = torch.linspace(0.1, 50, 12, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(
        circle_loss(embedding * lengths, identity, pairs=pairs), circle_loss(embedding, identity, pairs=pairs)
    )


@pytest.mark.parametrize("pairs", ["batch", "anchor"])
@pytest.mark.parametrize("identity", [[0] * 6, list(range(6))])
@pytest.mark.parametrize("loss", [circle_loss, triplet_loss])
def test_a_batch_without_positives_or_negatives_costs_nothing(loss, identity, pairs):
    embedding = torch.randn(6, 4).requires_grad_()
    options = {"pairs": pairs} if loss is circle_loss else {}
    cost = loss(embedding, torch.tensor(identity), **options)
    cost.backward()
    assert cost == 0
    assert embedding.grad.eq(0).all()


def test_the_weights_of_circle_loss_are_constants_to_the_gradient():
    embedding, identity = batch()
    leaf = embedding.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(circle_loss(leaf, identity, gamma=8.0), leaf)
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).tril(-1)

    def fixed(x):  # the same sum with the weights taken at `embedding`
        s = (x / x.norm(dim=1, keepdim=True)) @ (x / x.norm(dim=1, keepdim=True)).T
        same = (identity[:, None] == identity).tril(-1)
        other = (identity[:, None] != identity).tril(-1)
        positive = (-8 * (1.25 - cosine).clamp_min(0) * (s - 0.75))[same].logsumexp(0)
        return torch.nn.functional.softplus(
            positive + (8 * (cosine + 0.25).clamp_min(0) * (s - 0.25))[other].logsumexp(0)
        )

    again = embedding.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(fixed(again), again)[0], gradient)


def test_circle_loss_survives_half_precision_and_a_huge_gamma():
    embedding, identity = batch()
    leaf = embedding.half().requires_grad_()
    cost = circle_loss(leaf, identity, gamma=1e4)
    cost.backward()
    assert cost.dtype == torch.float32
    assert cost.isfinite()
    assert leaf.grad.isfinite().all()


def test_an_unknown_kind_of_pairs_is_refused():
    with pytest.raises(InputError, match=r"batch.*anchor"):
        circle_loss(*batch(), pairs="all")


def test_triplet_loss_takes_the_farthest_positive_and_the_nearest_negative():
    embedding, identity = batch()
    distance = torch.cdist(embedding, embedding)
    each = []
    for i in range(12):
        positive = max(float(distance[i, j]) for j in range(12) if j != i and identity[j] == identity[i])
        negative = min(float(distance[i, j]) for j in range(12) if identity[j] != identity[i])
        each.append(max(0.0, positive - negative + 0.3))
    assert float(triplet_loss(embedding, identity)) == pytest.approx(sum(each) / 12)
    unit = torch.nn.functional.normalize(embedding, dim=1)
    normalized = triplet_loss(5 * embedding, identity, normalize=True)
    assert float(normalized) == pytest.approx(float(triplet_loss(unit, identity)))


def test_triplet_loss_of_equal_rows_has_a_finite_gradient():
    embedding = torch.ones(4, 3).requires_grad_()
    triplet_loss(embedding, torch.tensor([0, 0, 1, 1])).backward()
    assert embedding.grad.isfinite().all()


def test_a_fresh_classifier_knows_nothing():
    head = IdentityHead(512, 751)
    assert sum(parameter.numel() for parameter in head.parameters()) == 385_263
    logits = head(torch.randn(5, 512))
    assert float(logits.detach().abs().max()) < 1e-3
    cost = head.cross_entropy(torch.randn(5, 512), torch.arange(5))
    assert float(cost.detach()) == pytest.approx(math.log(751), abs=1e-3)


def test_label_smoothing_spreads_the_target_evenly():
    torch.manual_seed(0)
    head = IdentityHead(6, 4, dropout=0.0, label_smoothing=0.2).double()
    torch.nn.init.normal_(head.classifier.weight)
    embedding, identity = batch()
    logs = head(embedding).log_softmax(1)
    target = torch.full((12, 4), 0.05, dtype=torch.float64)
    target[torch.arange(12), identity] += 0.8
    torch.testing.assert_close(head.cross_entropy(embedding, identity), -(target * logs).sum(1).mean())


def test_dropout_changes_the_logits_in_training_only():
    head, embedding = IdentityHead(6, 4), torch.randn(12, 6)
    torch.nn.init.normal_(head.classifier.weight)
    assert not torch.equal(head(embedding), head(embedding))
    head.eval()
    assert torch.equal(head(embedding), head(embedding))


def test_circle_loss_is_divided_by_the_batch_as_published():
    embedding, identity = batch()
    torch.testing.assert_close(CircleLoss()(embedding, identity), circle_loss(embedding, identity) / 12)
    anchor = circle_loss(embedding, identity, pairs="anchor")
    torch.testing.assert_close(CircleLoss(pairs="anchor")(embedding, identity), anchor)


def test_modules_take_their_numbers_and_nothing_else():
    embedding, identity = batch()
    expected = circle_loss(embedding, identity, margin=0.4, gamma=8.0) / 12
    torch.testing.assert_close(CircleLoss(margin=0.4, gamma=8.0)(embedding, identity), expected)
    expected = triplet_loss(embedding, identity, margin=0.7)
    torch.testing.assert_close(TripletLoss(margin=0.7)(embedding, identity), expected)
    assert NoPairLoss()(embedding, identity) == 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_registered_loss_is_a_scalar_with_a_gradient(name):
    embedding, identity = batch()
    leaf = embedding.float().requires_grad_()
    loss = resolve("loss", LOSSES, name)()(leaf, identity)
    assert loss.shape == ()
    if name != "ce":
        loss.backward()
        assert leaf.grad.abs().sum() > 0


def test_an_unknown_loss_gets_the_nearest_names_and_a_head_needs_identities():
    with pytest.raises(InputError, match="did you mean circle"):
        resolve("loss", LOSSES, "circel")
    with pytest.raises(InputError, match="at least 1"):
        IdentityHead(6, 0)
