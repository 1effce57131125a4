"""Triton's kernels, run by its interpreter on the CPU, against the forms they must equal."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
pytest.importorskip("triton", reason="comes with CUDA builds of torch; `pip install triton` for the interpreter")
from ogreid.ops import farthest_points, gather_points, nearest
from ogreid.ops.kernels import edges, edges_triton, points_triton
from ogreid.ops.neighbours import balls

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("skip_origin", [False, True])
@pytest.mark.parametrize(("points", "count"), [(9, 9), (70, 20), (128, 1)])
def test_farthest_points(points, count, skip_origin):
    xyz = 0.3 * random(2, points, 3)
    distance = torch.full((2, points), torch.inf)
    if skip_origin:
        distance[xyz.square().sum(2) <= 1e-3] = -1
    found = points_triton.farthest(xyz.to(DEVICE), distance.to(DEVICE), count)
    assert torch.equal(found.cpu(), farthest_points(xyz, count, skip_origin=skip_origin, backend="plain"))


@pytest.mark.parametrize("counts", [(3, 8), (1, 40)])
def test_balls(counts):
    xyz = 0.5 * random(2, 150, 3, seed=1)
    centres = torch.cat([gather_points(xyz, farthest_points(xyz, 7)), torch.full((2, 1, 3), 9.0)], 1)
    radii = (0.3, 0.6)
    squares = torch.tensor(radii).square()
    found = points_triton.balls(xyz.to(DEVICE), centres.to(DEVICE), squares.to(DEVICE), counts)
    for mine, other in zip(found, balls(xyz, centres, radii, counts, backend="plain"), strict=True):
        assert torch.equal(mine.cpu(), other)


@pytest.mark.parametrize("channels", [3, 16, 130])
def test_edges_forward_and_backward(channels):
    batch, points, k = 2, 21, 5
    source, centre, gradient = (random(batch, points, channels, seed=seed).to(DEVICE) for seed in range(3))
    graph = nearest(random(batch, points, 3, seed=3), k).to(DEVICE)
    sign = torch.where(random(channels, seed=4) < 0, -1.0, 1.0).to(DEVICE)
    terms = random(5, channels, seed=5).to(DEVICE)
    mine, mine_sums = edges_triton.gather(source, centre, graph, sign)
    theirs, their_sums = edges.gather(source.cpu(), centre.cpu(), graph.cpu(), sign.cpu())
    assert torch.equal(mine.slot.cpu(), theirs.slot) and torch.equal(mine.degree.cpu(), theirs.degree)
    pairs = [(mine.most, theirs.most), (mine.total, theirs.total), (mine_sums, their_sums)]
    pairs.append((edges_triton.blend(mine, centre, terms[:4]), edges.blend(theirs, centre.cpu(), terms[:4].cpu())))
    pairs.append(
        (edges_triton.sum_gradients(gradient, mine, centre), edges.sum_gradients(gradient.cpu(), theirs, centre.cpu()))
    )
    inputs = (gradient, source, centre, graph)
    pairs += zip(
        edges_triton.scatter(*inputs, mine, terms),
        edges.scatter(*(tensor.cpu() for tensor in inputs), theirs, terms.cpu()),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-4)
