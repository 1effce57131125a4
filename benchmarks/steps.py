"""Cost of a training step of a whole network: as the released code computes it, plain, fused and with torch-cluster.

python -m benchmarks.steps [--model ognet] [--batch 4] [--points 4096] [--threads 1] [--rounds 5] [--memory FORM]
                           [--compiled]

Also the time of each stage, and the distance to the machine's limit: counted multiplications at the rate of a matrix
product, counted bytes at the rate of a copy, both measured in the same run. ``--memory FORM`` runs one form alone and
reports by how much the process's peak rises; ``--compiled`` adds ``torch.compile`` of the plain form.
"""

import argparse
import inspect
import time
from contextlib import ExitStack
from unittest.mock import patch

import torch
from benchmarks.operations import FORMS as BACKENDS
from benchmarks.operations import clouds
from benchmarks.published_form import published_forward
from benchmarks.timing import alternate, limits, peak_memory, save, table

from ogreid.losses import IdentityHead, circle_loss
from ogreid.models import build_model
from ogreid.models.layers.abstraction import GroupBranch
from ogreid.models.layers.convolutions import EdgeConv
from ogreid.models.summary import count_flops, count_parameters
from ogreid.ops import farthest_points
from ogreid.ops.kernels import edges_numba, groups_numba, points_numba

FORMS = ("published", *BACKENDS)


def network_of(form, model):
    """The network with the operations of one form; ``compiled`` is the plain form through ``torch.compile``."""
    network = build_model(model, backend="fused" if form == "fused" else "plain")
    if form == "cluster":
        network.backend = "cluster"
    return torch.compile(network) if form == "compiled" else network


def sample(xyz, count, *, skip_origin, backend):
    """torch-cluster's sampler cannot skip the origin: it is measured without."""
    return farthest_points(xyz, count, skip_origin=skip_origin and backend != "cluster", backend=backend)


def steps(model, batch, points, forms=FORMS, *, backward=True):
    """Training steps and evaluations by form, with the same weights and clouds.

    ``cluster`` is the plain form with torch-cluster's k nearest and farthest points.
    """
    torch.manual_seed(0)
    xyz, rgb = clouds(batch, points), torch.rand(batch, points, 3) - 0.5
    identity = torch.arange(batch) // 2
    head = IdentityHead(512, 751)
    networks = {form: network_of(form, model) for form in forms}

    def embed(form):
        network = networks[form]
        if form == "published":
            return published_forward(network, xyz, rgb)
        with patch("ogreid.models.ognet.farthest_points", sample):
            return network(xyz, rgb)

    def train(form):
        networks[form].train().zero_grad()
        embedding = embed(form)
        loss = head.cross_entropy(embedding, identity) + circle_loss(embedding, identity)
        if backward:
            loss.backward()

    def evaluate(form):
        networks[form].eval()
        with torch.no_grad():
            embed(form)

    return tuple({form: lambda form=form, run=run: run(form) for form in forms} for run in (train, evaluate))


def stages(model, batch, points):
    """Milliseconds of CPU time of every kernel in one fused step."""
    spent = {}

    def timed(name, kernel):
        def run(*inputs):
            start = time.process_time()
            output = kernel(*inputs)
            spent[name] = spent.get(name, 0.0) + 1e3 * (time.process_time() - start)
            return output

        return run

    step = steps(model, batch, points, ("fused",))[0]["fused"]
    step()
    with ExitStack() as patches:
        for module in (edges_numba, groups_numba, points_numba):
            for name, kernel in inspect.getmembers(module, inspect.isfunction):
                if kernel.__module__ == module.__name__ and not name.startswith("_"):
                    label = f"{module.__name__.rpartition('.')[2].removesuffix('_numba')}, {name}"
                    patches.enter_context(patch.object(module, name, timed(label, kernel)))
        start = time.process_time()
        step()
        total = 1e3 * (time.process_time() - start)
    spent["everything else"] = total - sum(spent.values())
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def counted_bytes(model, batch, points):
    """Bytes that a step must move: inputs and outputs of each module three times, parameters four times.

    Forward reads and writes them; backward reads them again and writes the gradients of both. The optimizer is not part
    of the step.
    """
    sizes = []
    network = build_model(model)
    for part in network.modules():
        if isinstance(part, EdgeConv | GroupBranch):
            part.register_forward_hook(lambda _, inputs, output: sizes.append(inputs[0].numel() + output.numel()))
    with torch.no_grad():
        network(clouds(batch, points), torch.rand(batch, points, 3))
    return 4 * (3 * sum(sizes) + 4 * count_parameters(network))


def distance(model, batch, points, milliseconds):
    """The step beside its multiplications at the rate of a matrix product, and its bytes at the rate of a copy."""
    machine = limits()
    flops = 3 * batch * count_flops(build_model(model), points)  # forward, and twice as much backward
    moved = counted_bytes(model, batch, points)
    best = flops / machine["gflops"] / 1e6
    return {
        **machine,
        "flops_of_plain_form": flops,
        "bytes_of_fused_form": moved,
        "milliseconds_of_flops": best,
        "milliseconds_of_bytes": moved / machine["gb_per_s"] / 1e6,
        "times_the_flops": milliseconds / best,
    }


def measure(sizes, rounds, forms, suffix=""):
    """Time every form in turns, the stages of the fused one, and its distance to the limit; printed and saved."""
    model, batch, points = sizes
    title = f"{model}, {batch} x {points}"
    training, evaluation = (alternate(variants, rounds) for variants in steps(*sizes, forms))
    print(*table(f"{title}: forward and backward", training, "published"), sep="\n")
    print(*table(f"{title}: evaluation", evaluation, "published"), sep="\n", flush=True)
    spent = stages(*sizes)
    print(
        "\nstages of the fused step, ms of CPU:", *(f"  {name:24s} {ms:8.1f}" for name, ms in spent.items()), sep="\n"
    )
    limit = distance(*sizes, next(one.cpu for one in training if one.name == "fused"))
    print(
        f"\nthe fused step takes {limit['times_the_flops']:.2f} times as long as a matrix product with the plain form's"
        f" multiplications, which takes {limit['milliseconds_of_flops']:.0f} ms;"
        f" the bytes it must move take {limit['milliseconds_of_bytes']:.0f} ms"
    )
    report = {"step": training, "evaluation": evaluation, "stages": spent, "limit": limit}
    print("written:", save(f"step_{model}_{batch}x{points}{suffix}", report))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ognet")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--points", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=("published", "plain", "fused"))
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = (options.model, options.batch, options.points)
    if options.memory:
        run = steps(*sizes, (options.memory,))[0][options.memory]
        before = peak_memory()
        run()
        rise = peak_memory() - before
        print(f"{options.memory}: peak memory rose by {rise:.0f} MiB")
        save(f"memory_{options.model}_{options.memory}", {"mebibytes": rise})
        return
    if options.compiled:
        measure(sizes, options.rounds, ("plain", "compiled", "fused"), "_compiled")
    else:
        measure(sizes, options.rounds, FORMS)


if __name__ == "__main__":
    main()
