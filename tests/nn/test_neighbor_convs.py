"""The rival graph convolutions, each against its formula by loops, and their gradients."""

import pytest
import torch
from torch.nn import functional

from ogreid.models import build_model
from ogreid.models.layers.neighbor_convs import AttentionConv, SageConv, SumConv
from ogreid.ops import nearest


@pytest.fixture
def cloud():
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    return features, nearest(torch.randn(2, 9, 3, generator=generator), 4, backend="plain")


def _sum(conv, x, i, others):
    return sum(conv.own(x[i]) + conv.other(x[j]) for j in others if j != i)


def _sage(conv, x, i, others):
    return conv.own(x[i]) + conv.other(torch.stack([x[j] for j in others]).mean(0))


def _attention(conv, x, i, others):
    mapped = conv.linear(x)
    scores = torch.stack([conv.receiver(mapped[i]) + conv.sender(mapped[j]) for j in others])
    return (functional.leaky_relu(scores, 0.2).softmax(0) * torch.stack([mapped[j] for j in others])).sum(0)


@pytest.mark.parametrize(("kind", "formula"), [(SumConv, _sum), (SageConv, _sage), (AttentionConv, _attention)])
def test_a_convolution_is_its_formula(cloud, kind, formula):
    features, graph = cloud
    conv = kind(3, 5).double().eval()  # a fresh BatchNorm in evaluation only divides by sqrt(1 + eps)
    expected = torch.stack(
        [
            torch.stack([formula(conv, features[b], i, graph[b, i].tolist()) for i in range(9)])
            for b in range(len(features))
        ]
    )
    torch.testing.assert_close(conv(features, graph), expected / (1 + conv.norm.eps) ** 0.5)


@pytest.mark.parametrize("kind", [SumConv, SageConv, AttentionConv])
def test_gradients_are_those_of_finite_differences(cloud, kind):
    features, graph = cloud
    conv = kind(3, 2).double()
    conv.norm.momentum = 0.0  # repeated calls must not move the statistics
    assert torch.autograd.gradcheck(lambda x: conv(x, graph), (features.requires_grad_(),))


@pytest.mark.parametrize("convolution", ["sum", "sage", "gat"])
def test_the_network_takes_them_by_name(convolution):
    network = build_model("ognet", widths=[8, 16], kept=[16, 8], k=4, convolution=convolution, embedding=12)
    generator = torch.Generator().manual_seed(1)
    xyz, rgb = torch.randn(2, 2, 64, 3, generator=generator)
    assert network(xyz, rgb).shape == (2, 12)
