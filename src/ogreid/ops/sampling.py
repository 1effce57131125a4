"""Farthest point sampling, and gathering the sampled points."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ogreid.ops.backends import check_count, check_finite, choose_backend, detached, outside_graphs
from ogreid.ops.kernels import kernels_of

ORIGIN_SQUARED = 1e-3
"""Squared distance up to which the released sampler takes a point for the origin, and never selects it."""


def farthest_points(
    xyz: Float[Tensor, "B N 3"], count: int, *, skip_origin: bool = False, backend: str = "auto"
) -> Int[Tensor, "B count"]:
    """Greedy farthest points: each next one is the farthest from all before it; the first is index 0.

    The result is a prefix code: among the sampled points, the farthest ones are their first ones, in order.
    Ties go to the lowest index.

    Args:
        xyz: clouds of N points; half precision is sampled in float32.
        count: how many to sample, 1 to N.
        skip_origin: never select a point with ``|p|^2 <= 1e-3`` (but index 0), as the released CUDA operator does;
            where every point is that close, index 0 repeats.
        backend: ``plain``, ``fused``, ``cluster`` (without ``skip_origin``) or ``auto``.

    Raises:
        InputError: ``count`` outside 1 to N; a coordinate that is not finite.

    Source: Qi et al., PointNet++, NeurIPS 2017, section 3.2; Moenning and Dodgson 2003.
    """
    check_count("farthest points", count, xyz.shape[1])
    xyz = detached(check_finite("farthest points", xyz))
    form = choose_backend("farthest points" + " off the origin" * skip_origin, backend, xyz, cluster=not skip_origin)
    if form == "cluster":
        return _farthest_cluster(xyz, count)
    # Below every true distance: a point of -1 is the farthest only where all of them are.
    distance = torch.full_like(xyz[..., 0], torch.inf)
    if skip_origin:
        distance = distance.masked_fill(xyz.square().sum(-1) <= ORIGIN_SQUARED, -1.0)
    return (_farthest_fused if form == "fused" else _farthest_plain)(xyz, distance, count)


def _farthest_plain(xyz: Tensor, distance: Tensor, count: int) -> Tensor:
    clouds = torch.arange(len(xyz), device=xyz.device)
    index = [torch.zeros_like(clouds)]
    for _ in range(count - 1):
        distance = torch.minimum(distance, squared_distance(xyz, xyz[clouds, index[-1]].unsqueeze(1)))
        index.append(distance.argmax(-1))
    return torch.stack(index, 1)


@outside_graphs
def _farthest_fused(xyz: Tensor, distance: Tensor, count: int) -> Tensor:
    index: Tensor = kernels_of("points", xyz).farthest(xyz, distance, count)
    return index


@outside_graphs
def _farthest_cluster(xyz: Tensor, count: int) -> Tensor:
    """torch-cluster's sampler, from a fixed start.

    It samples ``ceil(ratio * N)`` points of each cloud: half a point less makes that exact in any rounding.
    """
    from torch_cluster import fps

    batch, points, _ = xyz.shape
    first = torch.arange(batch, device=xyz.device).mul(points).unsqueeze(1)
    cloud = torch.arange(batch, device=xyz.device).repeat_interleave(points)
    index: Tensor = fps(xyz.flatten(0, 1), cloud, ratio=(count - 0.5) / points, random_start=False)
    return index.view(batch, count) - first


def squared_distance(points: Tensor, others: Tensor) -> Tensor:
    """Squared distance of broadcast (..., 3) positions, axis by axis: the order of additions of every form."""
    x, y, z = (points - others).unbind(-1)
    return x * x + y * y + z * z


def gather_points(values: Float[Tensor, "B N C"], index: Int[Tensor, "B *M"]) -> Float[Tensor, "B *M C"]:
    """Row ``index`` of each cloud: ``out[b, ..., :] = values[b, index[b, ...], :]``.

    ``index_select`` on the flattened rows: the backward of ``values[index]`` is many times slower.
    """
    batch, points, channels = values.shape
    offset = torch.arange(batch, device=values.device).mul(points).view(batch, *[1] * (index.dim() - 1))
    rows = values.reshape(batch * points, channels).index_select(0, (index + offset).flatten())
    return rows.view(*index.shape, channels)
