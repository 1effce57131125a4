"""Who is near whom: k nearest neighbors, and ball query in index order."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.ops.backends import choose_backend, finite, outside_graphs
from ogreid.ops.sampling import squared_distance

__all__ = ["ball", "balls", "nearest", "nearest_of"]


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
    count = points.shape[1]
    if not 1 <= k <= count:
        raise InputError(f"k nearest: k = {k} asked of {count} points; take k from 1 to {count}, or give more points")
    points = finite("k nearest", points)
    points = _full_precision(points)
    in_space = points.shape[2] == 3
    form = choose_backend("k nearest", backend, points, ("plain", "fused", "cluster"), triton=in_space)
    if form == "plain":
        return _nearest_plain(points, points, k)
    if form == "cluster":
        return _nearest_cluster(points, k)
    return _nearest_fused_3d(points, k) if in_space else _nearest_fused(points, k)


def nearest_of(points: Float[Tensor, "B N C"], centers: Float[Tensor, "B M C"], k: int) -> Int[Tensor, "B M k"]:
    """The k nearest ``points`` of each center, nearest first (the grouping that the paper's text describes).

    Raises:
        InputError: ``k`` outside 1 to N.
    """
    count = points.shape[1]
    if not 1 <= k <= count:
        raise InputError(f"k nearest: k = {k} asked of {count} points; take k from 1 to {count}, or give more points")
    return _nearest_plain(_full_precision(points), _full_precision(centers), k)


def ball(
    points: Float[Tensor, "B N 3"],
    centers: Float[Tensor, "B M 3"],
    radius: float,
    count: int,
    *,
    backend: str = "auto",
) -> Int[Tensor, "B M count"]:
    """The first ``count`` points, in index order, with squared distance below ``radius^2`` of each center.

    Fewer hits are padded with the first one; no hit at all gives index 0. Most balls of a body-like cloud hold many
    more points than are kept, so the index order is part of the definition.

    Raises:
        InputError: a radius or a count that is not positive; a coordinate that is not finite; ``backend="cluster"``,
            whose ``radius`` keeps another set on the CPU than on CUDA.

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
            raise InputError(f"ball query: radius {radius} with {count} samples; both must be positive")
    points, centers = finite("ball query", points), finite("ball query", centers)
    if backend == "cluster":
        raise InputError(
            "ball query: has no cluster form, because torch-cluster's `radius` keeps different points on CPU and CUDA; "
            "use backend=auto, fused or plain"
        )
    points, centers = _full_precision(points), _full_precision(centers)
    form = choose_backend("ball query", backend, points, ("plain", "fused"), triton=True)
    if form == "fused":
        return _balls_fused(points, centers, radii, counts)
    return tuple(_ball_plain(points, centers, radius, count) for radius, count in zip(radii, counts, strict=True))


def _full_precision(points: Tensor) -> Tensor:
    points = points.detach()
    return points.float() if points.dtype in (torch.float16, torch.bfloat16) else points


def _distances(points: Tensor, centers: Tensor) -> Tensor:
    # By differences: |p|^2 - 2 p q + |q|^2 cancels for near points, and near points are what is asked for.
    return torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist")


def _nearest_plain(points: Tensor, centers: Tensor, k: int) -> Tensor:
    return _distances(points, centers).topk(k, largest=False, sorted=True).indices


@outside_graphs
def _nearest_cluster(points: Tensor, k: int) -> Tensor:
    """torch-cluster's search: a k-d tree on one thread of a CPU, a dense search on CUDA.

    Raises:
        InputError: k above 100 on CUDA, where its kernel ends.
    """
    from torch_cluster import knn

    if k > 100 and points.is_cuda:
        raise InputError(f"k nearest: k = {k}, torch-cluster on CUDA stops at 100; use backend=auto or plain")
    batch, count, _ = points.shape
    cloud = torch.arange(batch, device=points.device).repeat_interleave(count)
    rows = points.flatten(0, 1)
    found: Tensor = knn(rows, rows, k, cloud, cloud)[1]
    return found.view(batch, count, k) - torch.arange(batch, device=points.device).mul(count).view(-1, 1, 1)


def _ball_plain(points: Tensor, centers: Tensor, radius: float, count: int) -> Tensor:
    total = points.shape[1]
    squared = squared_distance(centers.unsqueeze(2), points.unsqueeze(1))
    order = torch.arange(total, device=points.device)
    keys = torch.where(squared < _square(radius, points), order, total)
    hits = keys.topk(min(count, total), largest=False, sorted=True).values
    hits = functional.pad(hits, (0, count - hits.shape[-1]), value=total)
    first = hits[..., :1]
    return torch.where(hits < total, hits, torch.where(first < total, first, 0))


def _square(radius: float, points: Tensor) -> float:
    """``radius^2`` in the precision of the points, as the released operator has it."""
    return float(torch.tensor(radius, dtype=points.dtype).square())


FAR = 1e18
"""Where padding lies: its square is still a single-precision number."""


@outside_graphs
def _nearest_fused_3d(points: Tensor, k: int) -> Tensor:
    """On the CPU, boxes of a few points each, sorted into slabs along the widest axis and cut along the next one."""
    if points.is_cuda:
        from ogreid.ops.kernels import points_triton

        return points_triton.nearest(points, k)
    from ogreid.ops.kernels.points_numba import LEAF, nearest_of_leaves
    from ogreid.ops.kernels.threads import runs_of_rows, share

    batch, count, _ = points.shape
    widest, next_widest = points.std(1, correction=0).sum(0).argsort(descending=True)[:2].tolist()
    slab = LEAF * math.ceil(math.sqrt(count / LEAF))
    slabs = math.ceil(count / slab)
    padded = functional.pad(points, (0, 0, 0, slabs * slab - count), value=FAR)
    order = padded[..., widest].argsort(1).view(batch, slabs, slab)
    across = padded[..., next_widest].gather(1, order.flatten(1)).view_as(order).argsort(2)
    order = order.gather(2, across).flatten(1)  # (B, slabs * slab)
    leaves = padded.gather(1, order.unsqueeze(2).expand_as(padded)).view(batch, -1, LEAF, 3)
    axes = leaves.permute(0, 3, 1, 2).contiguous()  # (B, 3, leaves, LEAF)
    out = torch.empty(batch, count, k, dtype=torch.int64)
    boxes = (axes.amin(3), axes.amax(3))
    space, low, high, numbers, found = (tensor.numpy() for tensor in (axes, *boxes, order.view(batch, -1, LEAF), out))
    runs = runs_of_rows(batch, axes.shape[2], length=32)

    def search(run: int) -> None:
        cloud, start, stop = runs[run]
        nearest_of_leaves(space[cloud], low[cloud], high[cloud], numbers[cloud], count, start, stop, found[cloud])

    share(search, len(runs))
    return out


@outside_graphs
def _nearest_fused(points: Tensor, k: int) -> Tensor:
    """A product for all distances, then the smallest of each row."""
    from ogreid.ops.kernels.points_numba import smallest_of_rows
    from ogreid.ops.kernels.threads import runs_of_rows, share

    # Around the mean: |p|^2 - 2 p q cancels less. |q|^2 is the same along a row and is left out.
    centered = points - points.mean(1, keepdim=True)
    with torch.autocast("cpu", enabled=False):  # which would round the product to half precision
        rank = torch.baddbmm(centered.square().sum(2).unsqueeze(1), centered, centered.mT, alpha=-2)  # (B, N, N)
    out = torch.empty(*points.shape[:2], k, dtype=torch.int64)
    rows, found = rank.flatten(0, 1).numpy(), out.flatten(0, 1).numpy()
    runs = runs_of_rows(1, len(rows))
    share(lambda run: smallest_of_rows(rows, *runs[run][1:], found), len(runs))
    return out


@outside_graphs
def _balls_fused(points: Tensor, centers: Tensor, radii: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    if points.is_cuda:
        from ogreid.ops.kernels import points_triton

        return points_triton.balls(points, centers, [_square(radius, points) for radius in radii], counts)
    from ogreid.ops.kernels.points_numba import balls_of_cloud
    from ogreid.ops.kernels.threads import runs_of_rows, share

    axes = points.movedim(2, 0).contiguous().numpy()  # (3, B, N)
    around = centers.contiguous().numpy()
    squares = np.array([_square(radius, points) for radius in radii], dtype=around.dtype)
    first = np.concatenate([[0], np.cumsum(counts)])
    out = torch.empty(*centers.shape[:2], int(first[-1]), dtype=torch.int64)
    found, runs = out.numpy(), runs_of_rows(*centers.shape[:2])

    def scan(run: int) -> None:
        cloud, start, stop = runs[run]
        balls_of_cloud(*axes[:, cloud], around[cloud], squares, first, start, stop, found[cloud])

    share(scan, len(runs))
    return torch.split(out, list(counts), 2)
