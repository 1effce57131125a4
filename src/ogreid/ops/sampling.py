"""Farthest point sampling, and picking the sampled points."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ogreid.errors import InputError
from ogreid.ops.backends import Form, choose_backend, finite, outside_graphs

__all__ = ["ORIGIN_SQUARED", "farthest_points", "gather_points", "squared_distance"]

ORIGIN_SQUARED = 1e-3
"""Squared distance up to which the released sampler takes a point for the origin, and never selects it."""


def farthest_points(
    xyz: Float[Tensor, "B N 3"], count: int, *, skip_origin: bool = False, backend: str = "auto"
) -> Int[Tensor, "B count"]:
    """Greedy farthest points: each next one is the farthest from all before it; the first is index 0.

    The result is a prefix code: among the kept points, the farthest ones are their first ones, in order.
    Ties go to the lowest index.

    Args:
        xyz: clouds of N points; half precision is sampled in float32.
        count: how many to keep, 1 to N.
        skip_origin: never select a point with ``|p|^2 <= 1e-3`` (but index 0), as the released CUDA operator does;
            where every point is that close, index 0 repeats.
        backend: ``plain``, ``fused``, ``cluster`` (without ``skip_origin``) or ``auto``.

    Raises:
        InputError: ``count`` outside 1 to N; a coordinate that is not finite.

    Source: Qi et al., PointNet++, NeurIPS 2017, section 3.2; Moenning and Dodgson 2003.
    """
    points = xyz.shape[1]
    if not 1 <= count <= points:
        raise InputError(f"farthest points: {count} asked of {points} points; keep 1 to {points}, or give more points")
    xyz = finite("farthest points", xyz)
    xyz = xyz.detach()
    xyz = xyz.float() if xyz.dtype in (torch.float16, torch.bfloat16) else xyz
    forms: tuple[Form, ...] = ("plain", "fused") if skip_origin else ("plain", "fused", "cluster")
    form = choose_backend("farthest points" + " off the origin" * skip_origin, backend, xyz, forms, triton=True)
    if form == "cluster":
        return _farthest_cluster(xyz, count)
    return (_farthest_fused if form == "fused" else _farthest_plain)(xyz, count, skip_origin)


def _first_distances(xyz: Tensor, skip_origin: bool) -> Tensor:
    """(B, N) of infinity; -1 where a point is never to be kept.

    That is below every true distance, so such a point is the farthest only where all of them are.
    """
    distance = torch.full_like(xyz[..., 0], torch.inf)
    return distance.masked_fill(xyz.square().sum(-1) <= ORIGIN_SQUARED, -1.0) if skip_origin else distance


def _farthest_plain(xyz: Tensor, count: int, skip_origin: bool) -> Tensor:
    distance = _first_distances(xyz, skip_origin)
    clouds = torch.arange(len(xyz), device=xyz.device)
    last = torch.zeros_like(clouds)
    chosen = [last]
    for _ in range(count - 1):
        distance = torch.minimum(distance, squared_distance(xyz, xyz[clouds, last].unsqueeze(1)))
        last = distance.argmax(-1)
        chosen.append(last)
    return torch.stack(chosen, 1)


@outside_graphs
def _farthest_fused(xyz: Tensor, count: int, skip_origin: bool) -> Tensor:
    if xyz.is_cuda:
        from ogreid.ops.kernels.points_triton import farthest

        return farthest(xyz, _first_distances(xyz, skip_origin), count)
    from ogreid.ops.kernels.points_numba import farthest_of_cloud
    from ogreid.ops.kernels.threads import share

    axes = xyz.movedim(2, 0).contiguous().numpy()  # (3, B, N)
    spare, kept = _first_distances(xyz, skip_origin).numpy(), torch.empty(len(xyz), count, dtype=torch.int64)

    share(lambda cloud: farthest_of_cloud(*axes[:, cloud], spare[cloud], kept[cloud].numpy()), len(xyz))
    return kept


@outside_graphs
def _farthest_cluster(xyz: Tensor, count: int) -> Tensor:
    """torch-cluster's sampler, from a fixed start.

    It keeps ``ceil(ratio * N)`` points of each cloud: half a point less than asked makes that exact in any rounding.
    """
    from torch_cluster import fps

    batch, points, _ = xyz.shape
    cloud = torch.arange(batch, device=xyz.device).repeat_interleave(points)
    chosen: Tensor = fps(xyz.flatten(0, 1), cloud, ratio=(count - 0.5) / points, random_start=False)
    return chosen.view(batch, count) - torch.arange(batch, device=xyz.device).mul(points).unsqueeze(1)


def squared_distance(points: Tensor, others: Tensor) -> Tensor:
    """Squared distance of broadcast (..., 3) positions, axis by axis: the order of additions that every form keeps."""
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
