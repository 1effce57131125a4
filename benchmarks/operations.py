"""Cost of each operation: plain, fused, torch-cluster and other libraries, for growing points, neighbors and clouds.

python -m benchmarks.operations [--threads 1] [--rounds 5] [--quick]

torch-cluster (`make cluster`) and torch-quickfps (`pip install torch-quickfps`) are measured if they are installed.

Ratios are of CPU time: on a busy machine wall time says little. Clouds are body-like: half a cylinder, half a plane.
"""

import argparse
import importlib.util

import torch
from benchmarks.published_form import edge_conv
from benchmarks.timing import alternate, save, table

from ogreid.models.layers.convolutions import EdgeConv
from ogreid.ops import balls, farthest_points, gather_points, nearest

RADII, SAMPLES = (0.1, 0.2, 0.4), (8, 16, 32)


def clouds(batch, points, seed=0):
    """Positions (B, N, 3) in random order: the visible side of a standing cylinder, and a wall behind it.

    The sizes are chosen so that the share of distinct members of balls in each module is that of clouds lifted from
    synthetic data: 100, 100, 96 and 82 %.
    """
    generator = torch.Generator().manual_seed(seed)
    half = points // 2
    angle, height = torch.rand(2, batch, half, generator=generator).unbind()
    body = torch.stack([0.15 * (3.1416 * angle).cos(), 1.5 * height - 0.75, 0.15 * (3.1416 * angle).sin()], 2)
    wall = torch.rand(batch, points - half, 3, generator=generator) * torch.tensor([0.8, 1.7, 0.0])
    both = torch.cat([body, wall - torch.tensor([0.4, 0.85, 0.0])], 1)
    return both[:, torch.randperm(points, generator=generator)].contiguous()


def installed(package):
    return importlib.util.find_spec(package) is not None


FORMS = ["plain", "fused"] + ["cluster"] * installed("torch_cluster")


def sampling(batch, points, count):
    """Farthest points: a loop in torch, ours, torch-cluster, torch-quickfps; all from the first point."""
    xyz = clouds(batch, points)
    variants = {form: lambda form=form: farthest_points(xyz, count, backend=form) for form in FORMS}
    if installed("torch_quickfps"):
        from torch_quickfps import sample_idx

        variants["torch-quickfps"] = lambda: sample_idx(xyz, count, start_idx=0)
    return variants


def neighbors(batch, points, k, channels=3):
    """K nearest: dense distances and top-k, ours, torch-cluster, scipy's tree."""
    from scipy.spatial import cKDTree

    space = clouds(batch, points) if channels == 3 else torch.randn(batch, points, channels)
    variants = {form: lambda form=form: nearest(space, k, backend=form) for form in FORMS}
    return {**variants, "scipy k-d tree": lambda: [cKDTree(cloud).query(cloud, k) for cloud in space.numpy()]}


def groups(batch, points, count):
    """Three balls around every kept point: dense, and in one scan."""
    xyz = clouds(batch, points)
    centers = gather_points(xyz, farthest_points(xyz, count))
    return {form: lambda form=form: balls(xyz, centers, RADII, SAMPLES, backend=form) for form in ("plain", "fused")}


def convolution(batch, points, channels, width, k):
    """EdgeConv forward and backward: with and without edge tensors."""
    graph = nearest(clouds(batch, points), k)
    features = torch.randn(batch, points, channels, requires_grad=True)
    layers = {form: EdgeConv(channels, width, backend=form) for form in ("plain", "fused")}

    def step(run, layer):
        layer.zero_grad()
        run(features, graph).square().sum().backward()

    runs = {"published": lambda: step(lambda f, g: edge_conv(layers["plain"], f, g), layers["plain"])}
    return {**runs, **{form: lambda layer=layer: step(layer, layer) for form, layer in layers.items()}}


def sizes_of_the_network():
    """Title -> variants at the sizes of OG-Net."""
    return {
        "farthest points, 8 x 4096 -> 768": sampling(8, 4096, 768),
        "k nearest, 8 x 4096 x 3, k 20": neighbors(8, 4096, 20),
        "k nearest, 8 x 192 x 259, k 20": neighbors(8, 192, 20, 259),
        "three balls, 8 x 768 in 4096": groups(8, 4096, 768),
        **{
            f"EdgeConv, 4 x {points}, {a} -> {b}, k 20": convolution(4, points, a, b, 20)
            for points, a, b in ((4096, 3, 64), (768, 64, 128), (384, 128, 256), (192, 256, 512))
        },
    }


def growing_sizes():
    """Title -> variants with more points, neighbors and clouds."""
    sizes = (1024, 2048, 4096, 8192)
    return {
        **{f"farthest points, 4 x {points} -> 768": sampling(4, points, 768) for points in sizes},
        **{f"k nearest, 4 x {points} x 3, k 20": neighbors(4, points, 20) for points in sizes},
        **{f"three balls, 4 x 768 in {points}": groups(4, points, 768) for points in sizes},
        **{f"k nearest, 4 x 4096 x 3, k {k}": neighbors(4, 4096, k) for k in (4, 8, 16, 32, 64)},
        **{f"EdgeConv, 4 x 768, 64 -> 128, k {k}": convolution(4, 768, 64, 128, k) for k in (4, 8, 16, 32, 64)},
        **{f"k nearest, {batch} x 4096 x 3, k 20": neighbors(batch, 4096, 20) for batch in (1, 2, 16)},
        **{f"EdgeConv, {batch} x 768, 64 -> 128, k 20": convolution(batch, 768, 64, 128, 20) for batch in (1, 2, 16)},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only the sizes of OG-Net; three rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    plan = sizes_of_the_network() if options.quick else {**sizes_of_the_network(), **growing_sizes()}
    report = {}
    for title, variants in plan.items():
        report[title] = alternate(variants, min(options.rounds, 3) if options.quick else options.rounds)
        against = "published" if "published" in variants else "plain"
        print(*table(title, report[title], against), sep="\n", flush=True)
    print("\nwritten:", save("operations", {"operations": report}))


if __name__ == "__main__":
    main()
