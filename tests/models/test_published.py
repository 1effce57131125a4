"""Released weights give the released numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid.losses import build_loss
from ogreid.models.published import load_published, to_published_names

GOLDEN = Path(__file__).parents[1] / "golden"
BACKENDS = ["plain", "auto"]


@pytest.fixture(params=["ognet", "ognet_deep"])
def folder(request):
    return GOLDEN / request.param


@pytest.fixture(params=BACKENDS)
def published(request, folder):
    network, head = load_published(folder, backend=request.param)
    expected = np.load(folder / "expected.npz")
    return (
        network,
        head,
        {name: torch.from_numpy(np.asarray(expected[name])) for name in expected.files if "names" not in name},
    )


def agree(ours, theirs, relative=1e-4):
    torch.testing.assert_close(ours, theirs, rtol=relative, atol=relative * float(theirs.abs().max()))


def test_embedding_and_logits_agree_in_evaluation(published):
    network, head, expected = published
    with torch.no_grad():
        embedding = network(expected["xyz"], expected["rgb"])
        agree(embedding, expected["embedding"])
        agree(head.classifier(embedding), expected["logits"])
        both = embedding + network(1.1 * expected["xyz"], expected["rgb"])
    agree(both / (both.norm(dim=1, keepdim=True) + 1e-6), expected["two_view_embedding"])


def test_losses_and_statistics_agree_in_training(published):
    network, head, expected = published
    network.train()
    loss = build_loss("circle", network.width, 10, dropout=0.0)
    loss.head.load_state_dict(head.state_dict())
    embedding = network(expected["xyz"], expected["rgb"])
    agree(embedding.detach(), expected["train_embedding"])
    terms = loss(embedding, expected["identity"])
    agree(terms["cross_entropy"].detach().double(), expected["train_cross_entropy"])
    agree(terms["circle"].detach().double(), expected["train_circle"])
    state = to_published_names(network, head)
    for name, value in expected.items():
        if name.startswith("after_step_"):
            agree(state[name.removeprefix("after_step_")], value)


def test_gradients_agree_in_training(published, folder):
    # In float64, because these networks are tiny and deep: noise of 1e-6 on the colors lets another member win a
    # maximum of the deep one, and moves half of its gradients by 3 %.
    network, head, expected = published
    loss = build_loss("circle", network.width, 10, dropout=0.0)
    loss.head.load_state_dict(head.state_dict())
    network, loss = network.double().train(), loss.double()
    embedding = network(expected["xyz"].double(), expected["rgb"].double())
    sum(loss(embedding, expected["identity"]).values()).backward()

    norms = gradient_norms(network, loss.head)
    names = np.load(folder / "expected.npz")["gradient_norm_names"].tolist()
    assert sorted(norms) == sorted(name for name in names if name != "logit_scale")
    theirs = dict(zip(names, expected["gradient_norms"].tolist(), strict=True))
    typical = float(expected["gradient_norms"].median())
    for name, norm in norms.items():
        # The bias of a convolution before BatchNorm has a gradient of exactly 0; both sides show rounding only.
        assert norm == pytest.approx(theirs[name], rel=1e-3, abs=1e-4 * typical), name


def gradient_norms(network, head):
    """Norms under the released names."""
    for parameter in [*network.parameters(), *head.parameters()]:
        parameter.data = parameter.grad
    state = to_published_names(network, head)
    return {
        name: float(value.double().norm())
        for name, value in state.items()
        if "running" not in name and "tracked" not in name
    }


def test_released_names_survive_a_round_trip(folder):
    network, head = load_published(folder)
    released = torch.load(folder / "model_last.pth", weights_only=True)
    ours = to_published_names(network, head)
    theirs = {name.removeprefix("module."): value for name, value in released.items()}
    theirs.pop("logit_scale")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
