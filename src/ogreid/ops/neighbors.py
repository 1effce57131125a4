"""k nearest neighbors, and ball query in index order."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.ops.backends import check_count, check_finite, choose_backend, detached, outside_graphs
from ogreid.ops.kernels import kernels_of
from ogreid.ops.sampling import squared_distance


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
        return _nearest_plain(points, points, k)
    return _nearest_cluster(points, k) if form == "cluster" else _nearest_fused(points, k)


def nearest_of(points: Float[Tensor, "B N C"], centers: Float[Tensor, "B M C"], k: int) -> Int[Tensor, "B M k"]:
    """The k nearest ``points`` of each center, nearest first (the grouping that the paper's text describes).

    Raises:
        InputError: ``k`` outside 1 to N.
    """
    check_count("k nearest", k, points.shape[1])
    return _nearest_plain(detached(points), detached(centers), k)


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
    form = choose_backend("ball query", backend, points)
    if form == "fused":
        return _balls_fused(points, centers, radii, counts)
    return tuple(_ball_plain(points, centers, radius, count) for radius, count in zip(radii, counts, strict=True))


def _nearest_plain(points: Tensor, centers: Tensor, k: int) -> Tensor:
    # By differences: |p|^2 - 2 p q + |q|^2 cancels for near points, and near points are searched for.
    distance = torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(k, largest=False, sorted=True).indices


@outside_graphs
def _nearest_fused(points: Tensor, k: int) -> Tensor:
    index: Tensor = kernels_of("points", points).nearest(points, k)
    return index


@outside_graphs
def _nearest_cluster(points: Tensor, k: int) -> Tensor:
    """torch-cluster's search: a k-d tree on one thread of a CPU, a dense search on CUDA, for k up to 100."""
    from torch_cluster import knn

    if k > 100 and points.is_cuda:
        raise InputError(f"k nearest: torch-cluster on CUDA expects k <= 100, got {k}; use backend=auto or plain")
    batch, count, _ = points.shape
    first = torch.arange(batch, device=points.device).mul(count).view(-1, 1, 1)
    cloud = torch.arange(batch, device=points.device).repeat_interleave(count)
    rows = points.flatten(0, 1)
    index: Tensor = knn(rows, rows, k, cloud, cloud)[1]
    return index.view(batch, count, k) - first


def _ball_plain(points: Tensor, centers: Tensor, radius: float, count: int) -> Tensor:
    total = points.shape[1]
    square = torch.tensor(radius, dtype=points.dtype, device=points.device).square()  # in the precision of the points
    inside = squared_distance(centers.unsqueeze(2), points.unsqueeze(1)) < square
    keys = torch.where(inside, torch.arange(total, device=points.device), total)
    hits = keys.topk(min(count, total), largest=False, sorted=True).values
    hits = functional.pad(hits, (0, count - hits.shape[-1]), value=total)
    first = hits[..., :1]
    return torch.where(hits < total, hits, torch.where(first < total, first, 0))


@outside_graphs
def _balls_fused(points: Tensor, centers: Tensor, radii: Sequence[float], counts: Sequence[int]) -> tuple[Tensor, ...]:
    # In the precision of the points, as the released operator has it; here, where no graph is compiled.
    squares = [float(torch.tensor(radius, dtype=points.dtype).square()) for radius in radii]
    hits: tuple[Tensor, ...] = kernels_of("points", points).balls(points, centers, squares, counts)
    return hits
