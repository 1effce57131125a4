"""Set abstraction: branches and groupings; tests/models compares the sum of all scales."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogreid.models.layers.abstraction import GroupBranch


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def textbook(branch, xyz, centers, features, index):
    """``concat(x_j - x_i, f_j)`` through 1x1 convolutions and BatchNorm2d, laid out as (B, C, M, S)."""

    def conv(linear, rows):
        return functional.conv2d(rows, linear.weight[:, :, None, None], linear.bias)

    clouds = zip(torch.cat([xyz, features], 2), index, strict=True)
    members = torch.stack([cloud[near] for cloud, near in clouds])
    members[..., :3] -= centers.unsqueeze(2)
    first, second = (nn.BatchNorm2d(norm.num_features).double() for norm in (branch.inner_norm, branch.outer_norm))
    rows = first(conv(branch.inner, members.permute(0, 3, 1, 2)))
    if branch.gate is not None:
        rows = rows * conv(branch.gate.expand, functional.silu(conv(branch.gate.reduce, rows))).sigmoid()
    return second(conv(branch.outer, rows)).relu().amax(3).transpose(1, 2), first, second


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("gate", [True, False])
def test_a_branch_is_the_published_stack_of_layers(backend, gate):
    torch.manual_seed(0)
    branch = GroupBranch(5, 30, 8, gate=gate, backend=backend).double()
    xyz, features = random(2, 40, 3), random(2, 40, 5, seed=1)
    index = torch.randint(40, (2, 6, 4))
    centers = xyz[:, :6]
    expected, first, second = textbook(branch, xyz, centers, features, index)
    torch.testing.assert_close(branch(torch.cat([xyz, features], 2), centers, index), expected)
    for ours, theirs in ((branch.inner_norm, first), (branch.outer_norm, second)):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_gradients_lie_as_their_parameters_do(kind):
    """The gate's one hidden channel makes a matrix of one column; DDP warns where its gradient lies as a row."""
    branch = GroupBranch(5, 8, 6, gate=True, backend="fused").to(kind)
    index = torch.zeros(2, 3, 4, dtype=torch.int64)
    branch(random(2, 10, 8, dtype=kind), random(2, 3, 3, dtype=kind), index).sum().backward()
    assert branch.gate.expand.weight.shape == (8, 1)
    for name, parameter in branch.named_parameters():
        assert parameter.grad.stride() == parameter.stride(), name
