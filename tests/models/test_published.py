"""Released weights give the released numbers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid.losses import CircleLoss
from ogreid.models.published import load_published, to_published_names

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(params=["ognet", "ognet_deep"])
def folder(request):
    return GOLDEN / request.param


@pytest.fixture(params=["plain", "auto"])
def published(request, folder):
    """Network, head and the recorded numbers."""
    recorded = np.load(folder / "expected.npz")
    expected = {name: torch.from_numpy(np.asarray(recorded[name])) for name in recorded.files if "names" not in name}
    return *load_published(folder, backend=request.param), expected


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
    network.train()  # the head stays in evaluation mode: the numbers are those without dropout
    embedding = network(expected["xyz"], expected["rgb"])
    agree(embedding.detach(), expected["train_embedding"])
    cross_entropy = head.cross_entropy(embedding, expected["identity"]).detach()
    agree(cross_entropy.double(), expected["train_cross_entropy"])
    agree(CircleLoss()(embedding, expected["identity"]).detach().double(), expected["train_circle"])
    state = to_published_names(network, head)
    for name, value in expected.items():
        if name.startswith("after_step_"):
            agree(state[name.removeprefix("after_step_")], value)


def test_gradients_agree_in_training(published, folder):
    # In float64, because these networks are tiny and deep: noise of 1e-6 on the colors lets another member win a
    # maximum of the deep one, and moves half of its gradients by 3 %.
    network, head, expected = published
    network, head = network.double().train(), head.double()
    embedding = network(expected["xyz"].double(), expected["rgb"].double())
    identity = expected["identity"]
    (head.cross_entropy(embedding, identity) + CircleLoss()(embedding, identity)).backward()

    norms = gradient_norms(network, head)
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
    state = to_published_names(network, head).items()
    return {name: float(value.norm()) for name, value in state if not re.search("running|tracked", name)}


def test_released_names_survive_a_round_trip(folder):
    network, head = load_published(folder)
    released = torch.load(folder / "model_last.pth", weights_only=True)
    ours = to_published_names(network, head)
    theirs = {name.removeprefix("module."): value for name, value in released.items()}
    theirs.pop("logit_scale")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
