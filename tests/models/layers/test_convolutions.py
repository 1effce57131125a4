"""Graph convolutions against the layers of a textbook, their formulas by loops, and their gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogreid.models.layers.convolutions import BLENDS, AttentionConv, EdgeConv, SageConv, SumConv
from ogreid.ops import nearest


def textbook(layer, norm, features, graph, weight):
    """A 1x1 convolution of (x_j - x_i, x_i) and BatchNorm2d over (B, C, N, k), as the released code writes it."""
    near = torch.stack([cloud[edges] for cloud, edges in zip(features, graph, strict=True)])
    own = features.unsqueeze(2).expand_as(near)
    edges = torch.cat([near - own, own], 3).permute(0, 3, 1, 2)
    rows = norm(functional.conv2d(edges, layer.linear.weight[:, :, None, None], layer.linear.bias))
    return (weight * rows.amax(3) + (1 - weight) * rows.mean(3)).transpose(1, 2)


def layers(blend, seed, backend):
    torch.manual_seed(seed)
    layer = EdgeConv(5, 7, blend=BLENDS[blend], backend=backend).double()
    with torch.no_grad():
        for value in (layer.norm.weight, layer.norm.bias, layer.linear.bias):
            value.normal_()
    norm = nn.BatchNorm2d(7).double()
    norm.load_state_dict(layer.norm.state_dict())
    features = torch.randn(3, 30, 5, dtype=torch.float64, requires_grad=True)
    return layer, norm, features, nearest(torch.randn(3, 30, 3), 6)


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize(("blend", "weight"), [("learned", 0.5), ("max", 1.0), ("mean", 0.0)])
@pytest.mark.parametrize("training", [True, False])
def test_two_products_per_point_are_one_per_edge(backend, blend, weight, training):
    layer, norm, features, graph = layers(blend, 0, backend)
    layer.train(training)
    norm.train(training)
    for _ in range(2):  # the running statistics of the first pass matter to the second
        ours, theirs = layer(features, graph), textbook(layer, norm, features, graph, weight)
        torch.testing.assert_close(ours, theirs)
    for name, value in norm.named_buffers():
        torch.testing.assert_close(layer.norm.get_buffer(name), value, msg=name)
    probe, parameters = torch.randn_like(ours), [features, layer.linear.weight]
    gradients = (torch.autograd.grad((result * probe).sum(), parameters) for result in (ours, theirs))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_without_momentum_the_running_statistics_are_the_average_of_all_batches():
    layer, norm, features, graph = layers("learned", 1, "auto")
    layer.norm.momentum = norm.momentum = None  # as re-estimation after weight averaging sets it
    for scale in (1.0, 2.0, 0.5):
        layer(scale * features, graph)
        textbook(layer, norm, scale * features, graph, 0.5)
    torch.testing.assert_close(layer.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.norm.running_var, norm.running_var)


def _sum(conv, x, i, others):
    return sum(conv.own(x[i]) + conv.other(x[j]) for j in others if j != i)


def _sage(conv, x, i, others):
    return conv.own(x[i]) + conv.other(torch.stack([x[j] for j in others]).mean(0))


def _attention(conv, x, i, others):
    mapped = conv.linear(x)
    scores = torch.stack([conv.receiver(mapped[i]) + conv.sender(mapped[j]) for j in others])
    return (functional.leaky_relu(scores, 0.2).softmax(0) * torch.stack([mapped[j] for j in others])).sum(0)


@pytest.fixture
def cloud():
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    return features, nearest(torch.randn(2, 9, 3, generator=generator), 4, backend="plain")


@pytest.mark.parametrize(("kind", "formula"), [(SumConv, _sum), (SageConv, _sage), (AttentionConv, _attention)])
def test_a_convolution_is_its_formula(cloud, kind, formula):
    conv = kind(3, 5).double().eval()  # a fresh BatchNorm in evaluation only divides by sqrt(1 + eps)
    expected = [
        torch.stack([formula(conv, x, i, edges[i].tolist()) for i in range(9)]) for x, edges in zip(*cloud, strict=True)
    ]
    torch.testing.assert_close(conv(*cloud), torch.stack(expected) / (1 + conv.norm.eps) ** 0.5)


@pytest.mark.parametrize("kind", [EdgeConv, SumConv, SageConv, AttentionConv])
def test_gradients_are_those_of_finite_differences(cloud, kind):
    features, graph = cloud
    conv = kind(3, 2).double()
    conv.norm.momentum = 0.0  # repeated calls must not move the statistics
    assert torch.autograd.gradcheck(lambda x: conv(x, graph), (features.requires_grad_(),))
