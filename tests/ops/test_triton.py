"""Triton's kernels, run by its interpreter on the CPU, against the forms they must equal; and compiled, not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="comes with CUDA builds of torch; `pip install triton` for the interpreter")
from ogreid.ops import Moments, Norm, balls, farthest_points, gather_points, nearest
from ogreid.ops.edges import _EdgeBlend
from ogreid.ops.groups import _GroupPerceptron
from ogreid.ops.kernels import edges_numba, edges_triton, groups_triton, points_triton
from operation_cases import assert_forms_agree, group_case, outcome, perceive, random

pytestmark = pytest.mark.thorough
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("skip_origin", [False, True])
@pytest.mark.parametrize(("points", "count"), [(9, 9), (70, 20), (128, 1)])
def test_farthest_points(points, count, skip_origin):
    xyz = 0.3 * random(2, points, 3, dtype=torch.float32)
    distance = torch.full((2, points), torch.inf)
    if skip_origin:
        distance[xyz.square().sum(2) <= 1e-3] = -1
    result = points_triton.farthest(xyz.to(DEVICE), distance.to(DEVICE), count)
    assert torch.equal(result.cpu(), farthest_points(xyz, count, skip_origin=skip_origin, backend="plain"))


@pytest.mark.parametrize(("points", "k"), [(9, 9), (70, 20), (128, 1)])
def test_nearest(points, k):
    xyz = random(2, points, 3, seed=6, dtype=torch.float32)
    result = points_triton.nearest(xyz.to(DEVICE), k)
    assert torch.equal(result.cpu(), nearest(xyz, k, backend="plain"))


def test_nearest_of_points_in_one_place_are_different_points():
    result = points_triton.nearest(torch.zeros(1, 6, 3, device=DEVICE), 4)
    assert all(len(set(row)) == 4 for row in result[0].tolist())


@pytest.mark.parametrize("counts", [(3, 8), (1, 40)])
def test_balls(counts):
    xyz = 0.5 * random(2, 150, 3, seed=1, dtype=torch.float32)
    centers = torch.cat([gather_points(xyz, farthest_points(xyz, 7)), torch.full((2, 1, 3), 9.0)], 1)
    radii = (0.3, 0.6)
    squares = torch.tensor(radii).square().tolist()
    result = points_triton.balls(xyz.to(DEVICE), centers.to(DEVICE), squares, counts)
    for mine, other in zip(result, balls(xyz, centers, radii, counts, backend="plain"), strict=True):
        assert torch.equal(mine.cpu(), other)


@pytest.mark.parametrize("channels", [3, 16, 130])
def test_edges_forward_and_backward(channels):
    batch, points, k = 2, 21, 5
    inputs = [random(batch, points, channels, seed=seed, dtype=torch.float32) for seed in range(3)]  # gradient last
    graph = nearest(random(batch, points, 3, seed=3, dtype=torch.float32), k)
    sign = torch.where(random(channels, seed=4, dtype=torch.float32) < 0, -1.0, 1.0)
    terms = random(5, channels, seed=5, dtype=torch.float32)

    def outcome(kernels, device):
        source, center, gradient, near, signs, factors = (t.to(device) for t in (*inputs, graph, sign, terms))
        extremes, sums = kernels.gather(source, center, near, signs)
        results = [*extremes, sums, kernels.blend(extremes, center, factors[:4])]
        results.append(kernels.sum_gradients(gradient, extremes, center))
        return [*results, *kernels.scatter(gradient, source, center, near, extremes, factors)]

    for one, other in zip(outcome(edges_triton, DEVICE), outcome(edges_numba, "cpu"), strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-4)  # of integers: equal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("gated", [True, False])
def test_groups_forward_and_backward(monkeypatch, gated, running, dtype):
    """The whole operation with Triton's passes in the place of numba's, against the plain form."""
    leaves, index, moments = group_case((2, 11, 35, 5, 19, 37, 2), 7, gated=gated, running=running)
    leaves = [leaf.to(DEVICE, dtype) for leaf in leaves]
    moments = [known and Moments(*(part.to(DEVICE, dtype) for part in known)) for known in moments]
    monkeypatch.setattr("ogreid.ops.groups.kernels_of", lambda family, tensor: groups_triton)
    largest = max(float(one.abs().max()) for one in outcome(perceive, "plain", leaves, index.to(DEVICE), moments))
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    assert_forms_agree(perceive, (leaves, index.to(DEVICE), moments), bound, largest / 10)


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
    leaves = (wide, blank(2, 9, 12), narrow, narrow, *gate, blank(20, 12), *norms[1][:2])
    _GroupPerceptron.apply(members, *norms, *leaves)[0].sum().backward()
    assert leaves[-3].grad.shape == (20, 12)


@pytest.mark.parametrize("generation", ["80", "90"])
def test_every_kernel_becomes_a_program_of_the_gpu(generation, tmp_path):
    """Down to machine code, in another process, because here the interpreter has taken the compiler's place."""
    script = Path(__file__).parent / "triton_programs.py"
    compiler = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    compiler |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    command = [sys.executable, script, generation]
    process = subprocess.run(command, env=compiler, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    programs = [line.split() for line in process.stdout.splitlines()]
    assert len({name for name, _, _ in programs}) == 12 and all(int(size) > 0 for _, _, size in programs)
