"""Farthest points, k nearest neighbors, ball query in index order, and gathering."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ogreid.errors import InputError
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
    if form == "fused":
        return _run_kernel("farthest", xyz, distance, count)
    clouds = torch.arange(xyz.shape[0], device=xyz.device)  # not len(), which would fix B in an exported program
    index = [torch.zeros_like(clouds)]
    for _ in range(count - 1):
        distance = torch.minimum(distance, _squared_distance(xyz, xyz[clouds, index[-1]].unsqueeze(1)))
        index.append(distance.argmax(-1))
    return torch.stack(index, 1)


def nearest(points: Float[Tensor, "B N C"], k: int, *, backend: str = "auto") -> Int[Tensor, "B N k"]:
    """The k nearest points of each point by Euclidean distance, nearest first, the point itself among them.

    Where several points are equally far, which of them are taken is not specified (but the same on each run).

    Args:
        points: any number of dimensions; half precision is compared in float32.
        k: 1 to N.
        backend: ``plain``, ``fused``, ``cluster`` or ``auto``.

    Raises:
        InputError: ``k`` outside 1 to N; a coordinate that is not finite.
    """
    check_count("k nearest", k, points.shape[1])
    points = detached(check_finite("k nearest", points))
    form = choose_backend("k nearest", backend, points, cluster=True, triton=points.shape[2] == 3)
    if form == "plain":
        return nearest_of(points, points, k)
    return _nearest_cluster(points, k) if form == "cluster" else _run_kernel("nearest", points, k)


def nearest_of(points: Float[Tensor, "B N C"], centers: Float[Tensor, "B M C"], k: int) -> Int[Tensor, "B M k"]:
    """The k nearest ``points`` (1 to N) of each center, nearest first: the grouping that the paper's text describes."""
    check_count("k nearest", k, points.shape[1])
    # By differences: |p|^2 - 2 p q + |q|^2 cancels for near points, and near points are searched for.
    if torch.compiler.is_exporting():  # ONNX has no cdist
        distance = (detached(centers).unsqueeze(2) - detached(points).unsqueeze(1)).square().sum(-1)
        return distance.topk(k, largest=False, sorted=True).indices
    distance = torch.cdist(detached(centers), detached(points), compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(k, largest=False, sorted=True).indices


def ball(
    points: Float[Tensor, "B N 3"], centers: Float[Tensor, "B M 3"], radius: float, count: int, *, backend: str = "auto"
) -> Int[Tensor, "B M count"]:
    """The first ``count`` points, in index order, with squared distance below ``radius^2`` of each center.

    Fewer hits are padded with the first one; no hit at all gives index 0. Most balls of a body-like cloud hold many
    more points than ``count``, so the index order is part of the definition.

    Raises:
        InputError: a radius or a count that is not positive; a coordinate that is not finite; ``backend="cluster"``,
            whose ``radius`` selects other points on the CPU than on CUDA.

    Source: the released CUDA operator of PointNet++ (Qi et al. 2017).
    """
    return balls(points, centers, (radius,), (count,), backend=backend)[0]


def balls(
    points: Float[Tensor, "B N 3"],
    centers: Float[Tensor, "B M 3"],
    radii: Sequence[float],
    counts: Sequence[int],
    *,
    backend: str = "auto",
) -> tuple[Int[Tensor, "B M _"], ...]:
    """Several balls around the same centers at once: one scan serves every radius. See :func:`ball`."""
    for radius, count in zip(radii, counts, strict=True):
        if not (radius > 0 and count > 0):
            raise InputError(f"ball query: expected a positive radius and count, got {radius} and {count}")
    points, centers = (detached(check_finite("ball query", tensor)) for tensor in (points, centers))
    if choose_backend("ball query", backend, points) == "fused":
        return _balls_fused(points, centers, radii, counts)
    return tuple(_ball_plain(points, centers, radius, count) for radius, count in zip(radii, counts, strict=True))


def gather_points(values: Float[Tensor, "B N C"], index: Int[Tensor, "B *M"]) -> Float[Tensor, "B *M C"]:
    """Row ``index`` of each cloud: ``out[b, ..., :] = values[b, index[b, ...], :]``.

    ``index_select`` on the flattened rows: the backward of ``values[index]`` is many times slower.
    """
    batch, points, channels = values.shape
    offset = torch.arange(batch, device=values.device).mul(points).view(batch, *[1] * (index.dim() - 1))
    rows = values.reshape(batch * points, channels).index_select(0, (index + offset).flatten())
    return rows.view(*index.shape, channels)


def _squared_distance(points: Tensor, others: Tensor) -> Tensor:
    """Of broadcast (..., 3) positions, axis by axis: the order of additions of every form."""
    x, y, z = (points - others).unbind(-1)
    return x * x + y * y + z * z


def _ball_plain(points: Tensor, centers: Tensor, radius: float, count: int) -> Tensor:
    total = points.shape[1]
    square = torch.tensor(radius, dtype=points.dtype, device=points.device).square()  # in the precision of the points
    inside = _squared_distance(centers.unsqueeze(2), points.unsqueeze(1)) < square
    keys = torch.where(inside, torch.arange(total, device=points.device), total)
    hits = keys.topk(min(count, total), largest=False, sorted=True).values
    hits = functional.pad(hits, (0, count - hits.shape[-1]), value=total)
    first = hits[..., :1]
    return torch.where(hits < total, hits, torch.where(first < total, first, 0))


@outside_graphs
def _run_kernel(name: str, points: Tensor, *arguments: Any) -> Tensor:  # noqa: ANN401
    index: Tensor = getattr(kernels_of("points", points), name)(points, *arguments)
    return index


@outside_graphs
def _balls_fused(points: Tensor, centers: Tensor, radii: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    # In the precision of the points, as the released operator has it; here, where no graph is compiled.
    squares = [float(torch.tensor(radius, dtype=points.dtype).square()) for radius in radii]
    hits: tuple[Tensor, ...] = kernels_of("points", points).balls(points, centers, squares, counts)
    return hits


def _flat(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As torch-cluster takes clouds: all points (B N, C), the cloud of each; and each cloud's first point (B, 1, 1)."""
    clouds = torch.arange(len(points), device=points.device)
    return points.flatten(0, 1), clouds.repeat_interleave(points.shape[1]), clouds.view(-1, 1, 1) * points.shape[1]


@outside_graphs
def _nearest_cluster(points: Tensor, k: int) -> Tensor:
    """torch-cluster's search: a k-d tree on one thread of a CPU, a dense search on CUDA, for k up to 100."""
    from torch_cluster import knn

    if k > 100 and points.is_cuda:
        raise InputError(f"k nearest: torch-cluster on CUDA expects k <= 100, got {k}; use backend=auto or plain")
    rows, cloud, first = _flat(points)
    index: Tensor = knn(rows, rows, k, cloud, cloud)[1]
    return index.view(*points.shape[:2], k) - first


@outside_graphs
def _farthest_cluster(xyz: Tensor, count: int) -> Tensor:
    """torch-cluster's sampler, from a fixed start.

    It samples ``ceil(ratio * N)`` points of each cloud: half a point less makes that exact in any rounding.
    """
    from torch_cluster import fps

    rows, cloud, first = _flat(xyz)
    index: Tensor = fps(rows, cloud, ratio=(count - 0.5) / xyz.shape[1], random_start=False)
    return index.view(len(xyz), count) - first[..., 0]
