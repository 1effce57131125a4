"""OG-Net as the released code computes it: the baseline of every ratio.

Edge tensors of ``(x_j - x_i, x_i)`` through a convolution, dense distances and top-k for graphs and balls, a torch loop
for farthest points in every module. It uses the parameters of a network of ours.
"""

import torch
from torch.nn import functional

from ogreid.ops import ball, farthest_points, gather_points, nearest


def edge_conv(layer, features, graph):
    """A 1x1 convolution and BatchNorm over (B, 2 C, N, k)."""
    near = gather_points(features, graph)
    own = features.unsqueeze(2).expand_as(near)
    edges = torch.cat([near - own, own], 3).permute(0, 3, 1, 2).contiguous()
    rows = functional.conv2d(edges, layer.linear.weight[:, :, None, None], layer.linear.bias)
    rows = batch_norm(layer.norm, rows)
    share = layer.blend()
    return (share * rows.amax(3) + (1 - share) * rows.mean(3)).transpose(1, 2)


def batch_norm(norm, rows):
    """As ``nn.BatchNorm2d``, over any layout with channels second."""
    return functional.batch_norm(
        rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )


def branch_rows(branch, xyz, centers, features, index):
    """A stack of 1x1 convolutions over (B, C + 3, M, S), then the maximum."""
    members = torch.cat([gather_points(xyz, index) - centers.unsqueeze(2), gather_points(features, index)], 3)
    rows = functional.conv2d(members.permute(0, 3, 1, 2).contiguous(), branch.inner.weight[:, :, None, None])
    rows = batch_norm(branch.inner_norm, rows)
    if branch.gate is not None:
        reduce, expand = branch.gate.reduce, branch.gate.expand
        hidden = functional.silu(functional.conv2d(rows, reduce.weight[:, :, None, None], reduce.bias))
        rows = rows * functional.conv2d(hidden, expand.weight[:, :, None, None], expand.bias).sigmoid()
    rows = functional.relu(
        batch_norm(branch.outer_norm, functional.conv2d(rows, branch.outer.weight[:, :, None, None]))
    )
    return rows.amax(3).transpose(1, 2)


def abstraction(reduction, xyz, kept, features):
    """The sum of three branches around the kept points."""
    centers = gather_points(xyz, kept)
    scales = zip(reduction.branches, reduction.radii, reduction.num_samples, strict=True)
    rows = [
        branch_rows(branch, xyz, centers, features, ball(xyz, centers, radius, samples, backend="plain"))
        for branch, radius, samples in scales
    ]
    return centers, torch.stack(rows).sum(0)


def published_forward(network, xyz, rgb):
    """The embedding of a network of the published architecture."""
    features, counts = rgb, iter(network.num_kept)
    for number, stage in enumerate(network.stages):
        before = features
        for convolution in stage.convolutions:
            last = number == len(network.stages) - 1
            space = torch.cat([xyz, features], 2) if last else xyz
            features = edge_conv(convolution, features, nearest(space, network.k, backend="plain"))
            features = functional.leaky_relu(features, 0.2)
        if stage.reduction is not None:
            kept = farthest_points(xyz, next(counts), skip_origin=True, backend="plain")
            xyz, features = abstraction(stage.reduction, xyz, kept, features)
            before = gather_points(before, kept)
        if stage.far is not None:
            features = stage.far(before, features)
    return network.norm(network.project(torch.cat([features.amax(1), features.mean(1)], 1)))
