"""Triton's kernels, run by its interpreter on the CPU, against the forms they must equal; and compiled, not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="comes with CUDA builds of torch; `pip install triton` for the interpreter")
from ogreid.ops import GateWeights, Moments, Norm, farthest_points, gather_points, group_perceptron, nearest
from ogreid.ops.edges import _EdgeBlend
from ogreid.ops.groups import _GroupPerceptron
from ogreid.ops.kernels import edges_numba as edges
from ogreid.ops.kernels import edges_triton, groups_triton, points_triton
from ogreid.ops.neighbors import balls

pytestmark = pytest.mark.thorough
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
    result = points_triton.farthest(xyz.to(DEVICE), distance.to(DEVICE), count)
    assert torch.equal(result.cpu(), farthest_points(xyz, count, skip_origin=skip_origin, backend="plain"))


@pytest.mark.parametrize(("points", "k"), [(9, 9), (70, 20), (128, 1)])
def test_nearest(points, k):
    xyz = random(2, points, 3, seed=6)
    result = points_triton.nearest(xyz.to(DEVICE), k)
    assert torch.equal(result.cpu(), nearest(xyz, k, backend="plain"))


def test_nearest_of_points_in_one_place_are_different_points():
    result = points_triton.nearest(torch.zeros(1, 6, 3, device=DEVICE), 4)
    assert all(len(set(row)) == 4 for row in result[0].tolist())


@pytest.mark.parametrize("counts", [(3, 8), (1, 40)])
def test_balls(counts):
    xyz = 0.5 * random(2, 150, 3, seed=1)
    centers = torch.cat([gather_points(xyz, farthest_points(xyz, 7)), torch.full((2, 1, 3), 9.0)], 1)
    radii = (0.3, 0.6)
    squares = torch.tensor(radii).square().tolist()
    result = points_triton.balls(xyz.to(DEVICE), centers.to(DEVICE), squares, counts)
    for mine, other in zip(result, balls(xyz, centers, radii, counts, backend="plain"), strict=True):
        assert torch.equal(mine.cpu(), other)


@pytest.mark.parametrize("channels", [3, 16, 130])
def test_edges_forward_and_backward(channels):
    batch, points, k = 2, 21, 5
    source, center, gradient = (random(batch, points, channels, seed=seed).to(DEVICE) for seed in range(3))
    graph = nearest(random(batch, points, 3, seed=3), k).to(DEVICE)
    sign = torch.where(random(channels, seed=4) < 0, -1.0, 1.0).to(DEVICE)
    terms = random(5, channels, seed=5).to(DEVICE)
    mine, mine_sums = edges_triton.gather(source, center, graph, sign)
    theirs, their_sums = edges.gather(source.cpu(), center.cpu(), graph.cpu(), sign.cpu())
    assert torch.equal(mine.slot.cpu(), theirs.slot) and torch.equal(mine.degree.cpu(), theirs.degree)
    pairs = [(mine.most, theirs.most), (mine.total, theirs.total), (mine_sums, their_sums)]
    pairs.append((edges_triton.blend(mine, center, terms[:4]), edges.blend(theirs, center.cpu(), terms[:4].cpu())))
    pairs.append(
        (edges_triton.sum_gradients(gradient, mine, center), edges.sum_gradients(gradient.cpu(), theirs, center.cpu()))
    )
    inputs = (gradient, source, center, graph)
    pairs += zip(
        edges_triton.scatter(*inputs, mine, terms),
        edges.scatter(*(tensor.cpu() for tensor in inputs), theirs, terms.cpu()),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("gated", [True, False])
def test_groups_forward_and_backward(monkeypatch, gated, running, dtype):
    """The whole operation with Triton's passes in the place of numba's, against the plain form."""
    batch, points, groups, members, channels, results, hidden = 2, 11, 35, 5, 19, 37, 2
    index = torch.randint(points, (batch, groups, members), generator=torch.Generator().manual_seed(7)).to(DEVICE)
    shapes = [(batch, points, channels), (batch, groups, channels), (channels,), (channels,)]
    shapes += [(hidden, channels), (hidden,), (channels, hidden), (channels,)] * gated
    shapes += [(results, channels), (results,), (results,)]
    leaves = [random(*shape, seed=seed, dtype=torch.float64).to(DEVICE, dtype) for seed, shape in enumerate(shapes)]
    moments = [Moments(random(c, seed=20).to(dtype), random(c).abs().to(dtype) + 0.1) for c in (channels, results)]

    def outcome(backend):
        given = [leaf.clone().requires_grad_() for leaf in leaves]
        p, q, scale, shift, *gate, weight, outer_scale, outer_shift = given
        inner, outer = (Norm(scale, shift), Norm(outer_scale, outer_shift))
        if running:
            inner, outer = (
                norm._replace(moments=Moments(*(m.to(DEVICE) for m in known)))
                for norm, known in zip((inner, outer), moments, strict=True)
            )
        gate = GateWeights(*gate) if gated else None
        result = group_perceptron(p, q, index, inner, gate, weight, outer, backend=backend)
        probe = torch.linspace(-1, 2, result.value.numel(), dtype=dtype, device=DEVICE).sin().view_as(result.value)
        return [
            result.value.detach(),
            *result.inner,
            *result.outer,
            *torch.autograd.grad((result.value * probe).sum(), given),
        ]

    expected = outcome("plain")
    monkeypatch.setattr("ogreid.ops.groups.kernels_of", lambda family, tensor: groups_triton)
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    largest = max(float(one.abs().max()) for one in expected)
    for mine, other in zip(outcome("fused"), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=bound, atol=bound * (float(other.abs().max()) + largest / 10))


class NotLaunched:
    """Stands for a kernel, and leaves its outputs as they are."""

    def __getitem__(self, grid):
        return lambda *inputs, **blocks: None


@pytest.fixture
def unlaunched(monkeypatch):
    """Everything around the kernels runs; the kernels do not."""
    for module in (edges_triton, groups_triton, points_triton):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, NotLaunched())
    monkeypatch.setattr("ogreid.ops.groups.kernels_of", lambda family, tensor: groups_triton)
    monkeypatch.setattr("ogreid.ops.edges.kernels_of", lambda family, tensor: edges_triton)


def test_the_host_never_waits_for_a_value(unlaunched):
    """Tensors without values stand for the device's.

    What asks for a value, or for a size that depends on values, would synchronize, and could not be captured in a CUDA
    graph.
    """

    def blank(*shape, dtype=torch.float32):
        return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=dtype == torch.float32)

    with pytest.raises((RuntimeError, NotImplementedError)):
        blank(3).sum().item()
    xyz = blank(2, 50, 3).detach()
    assert points_triton.farthest(xyz, xyz[..., 0], 7).shape == (2, 7)
    assert points_triton.nearest(xyz, 7).shape == (2, 50, 7)
    assert points_triton.balls(xyz, xyz[:, :9], [0.1, 0.2], [4, 8])[1].shape == (2, 9, 8)
    graph, members = blank(2, 50, 7, dtype=torch.int64), blank(2, 9, 5, dtype=torch.int64)
    wide, narrow, one = blank(2, 50, 12), blank(12), blank(())
    _EdgeBlend.apply(wide, wide, narrow, narrow, one, graph, Norm(narrow, narrow))[0].sum().backward()
    gate = blank(2, 12), blank(2), blank(12, 2), narrow
    norms = Norm(narrow, narrow), Norm(blank(20), blank(20))
    given = (wide, blank(2, 9, 12), narrow, narrow, *gate, blank(20, 12), *norms[1][:2])
    _GroupPerceptron.apply(members, *norms, *given)[0].sum().backward()
    assert given[-3].grad.shape == (20, 12)


@pytest.mark.parametrize("generation", ["80", "90"])
def test_every_kernel_becomes_a_program_of_the_gpu(generation, tmp_path):
    """Down to machine code, in another process, because here the interpreter has taken the compiler's place."""
    script = Path(__file__).parent / "triton_programs.py"
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ours = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, script, generation], env=kept | ours, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    programs = [line.split() for line in done.stdout.splitlines()]
    assert len({name for name, _, _ in programs}) == 12 and all(int(size) > 0 for _, _, size in programs)
