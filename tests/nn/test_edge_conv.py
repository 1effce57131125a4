"""EdgeConv without edges against the layers of a textbook."""

import pytest
import torch
from torch import nn

from ogreid.models.layers.edge_conv import EdgeConv
from ogreid.models.layers.pooling import BLENDS
from ogreid.ops import nearest

KINDS = {"dtype": torch.float64}


def textbook(layer, norm, features, graph, share):
    """A 1x1 convolution of (x_j - x_i, x_i) and BatchNorm2d over (B, C, N, k), as the released code writes it."""
    near = torch.stack([cloud[edges] for cloud, edges in zip(features, graph, strict=True)])
    own = features.unsqueeze(2).expand_as(near)
    edges = torch.cat([near - own, own], 3).permute(0, 3, 1, 2)
    rows = norm(nn.functional.conv2d(edges, layer.linear.weight[:, :, None, None], layer.linear.bias))
    return (share * rows.amax(3) + (1 - share) * rows.mean(3)).transpose(1, 2)


def layers(blend, seed, backend):
    torch.manual_seed(seed)
    layer = EdgeConv(5, 7, blend=BLENDS[blend](), backend=backend).double()
    with torch.no_grad():
        layer.norm.weight.normal_()
        layer.norm.bias.normal_()
        layer.linear.bias.normal_()
    norm = nn.BatchNorm2d(7).double()
    norm.load_state_dict(layer.norm.state_dict())
    features = torch.randn(3, 30, 5, dtype=torch.float64, requires_grad=True)
    return layer, norm, features, nearest(torch.randn(3, 30, 3), 6)


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize(("blend", "share"), [("learned", 0.5), ("max", 1.0), ("mean", 0.0)])
@pytest.mark.parametrize("training", [True, False])
def test_two_products_for_each_point_are_one_for_each_edge(backend, blend, share, training):
    layer, norm, features, graph = layers(blend, 0, backend)
    layer.train(training)
    norm.train(training)
    for _ in range(2):  # the running statistics of the first pass matter to the second
        ours, theirs = layer(features, graph), textbook(layer, norm, features, graph, share)
        torch.testing.assert_close(ours, theirs)
    for name, value in norm.named_buffers():
        torch.testing.assert_close(layer.norm.get_buffer(name), value, msg=name)
    probe = torch.randn_like(ours)
    parameters = [features, layer.linear.weight]
    for mine, other in zip(
        torch.autograd.grad((ours * probe).sum(), parameters),
        torch.autograd.grad((theirs * probe).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_without_momentum_the_running_statistics_are_the_average_of_all_batches():
    layer, norm, features, graph = layers("learned", 1, "auto")
    layer.norm.momentum = norm.momentum = None  # as re-estimation after weight averaging sets it
    for scale in (1.0, 2.0, 0.5):
        layer(scale * features, graph)
        textbook(layer, norm, scale * features, graph, 0.5)
    torch.testing.assert_close(layer.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.norm.running_var, norm.running_var)


def test_the_order_of_neighbors_does_not_matter():
    layer, _, features, graph = layers("learned", 2, "auto")
    torch.testing.assert_close(layer(features, graph), layer(features, graph.flip(2)))


def test_the_gradient_passes_a_numerical_check():
    torch.manual_seed(3)
    layer = EdgeConv(2, 3).double()
    graph = nearest(torch.randn(2, 8, 3), 3)
    features = torch.randn(2, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, graph), [features])
