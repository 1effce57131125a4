"""Cost of a training step of the small networks of the Market study, forward and backward, on a batch of 64.

python -m benchmarks.small_networks [--rounds 5] [--threads 1]
"""

import argparse
from functools import partial

import torch
from benchmarks.operations import clouds
from benchmarks.timing import alternate, save, table

from ogreid.models import build_model
from ogreid.models.summary import count_parameters

NARROW = {"channels": [24, 48, 96, 192], "num_kept": [128, 64, 32, 16], "k": 8}
NETWORKS = {
    "OG-Net, narrow": ("ognet", NARROW, 512, False),
    "PointNet++ MSG, quarter width": ("pointnet2_msg", {"width_mult": 0.25, "num_kept": [128, 32]}, 512, False),
    "ShuffleNetV2 at 128 x 64": ("shufflenetv2", {"size": [128, 64]}, 8192, False),
    "LiftedResNet": ("lifted_resnet", {}, 8192, False),
    "LiftedResNet, bfloat16": ("lifted_resnet", {}, 8192, True),
}
BATCH = 64


def step(network, xyz, rgb, half):
    """One forward and backward."""
    network.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        embedding = network(xyz, rgb)
    embedding.float().square().sum().backward()


def main():
    """Measure in turns, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    variants, parameters = {}, {}
    for label, (name, arguments, points, half) in NETWORKS.items():
        network, xyz = build_model(name, **arguments), clouds(BATCH, points)
        parameters[label] = count_parameters(network)
        variants[label] = partial(step, network, xyz, torch.rand(BATCH, points, 3) - 0.5, half)
    timings = alternate(variants, options.rounds)
    print("\n".join(table(f"training step, {BATCH} crops, {options.threads} thread(s)", timings, "OG-Net, narrow")))
    print("parameters:", ", ".join(f"{label} {count:,}" for label, count in parameters.items()))
    print(save("small_networks", {"timings": timings, "parameters": parameters}))


if __name__ == "__main__":
    main()
