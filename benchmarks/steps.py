"""What a training step of a whole network costs: as the released code computes it, plain, fused and with torch-cluster.

python -m benchmarks.steps [--model ognet] [--batch 4] [--points 4096] [--threads 1] [--rounds 5] [--memory FORM]
                           [--compiled]

Also the time of each stage, and the distance to the limit: counted multiplications over what this machine does in a
matrix product, counted bytes over what it does in a copy, both measured in the same run. ``--memory FORM`` runs one
form alone and reports by how much the process's peak rose; ``--compiled`` lays ``torch.compile`` of the plain form
beside it.
"""

import argparse
import time
from unittest.mock import patch

import torch
from benchmarks.operations import FORMS as BACKENDS
from benchmarks.operations import clouds
from benchmarks.published_form import published_forward
from benchmarks.timing import alternate, limits, peak_memory, save, table

from ogreid.losses import build_loss
from ogreid.models import build_model
from ogreid.models.summary import count_flops, count_parameters
from ogreid.models.layers.abstraction import GroupBranch
from ogreid.models.layers.convolutions import EdgeConv
from ogreid.ops import farthest_points

FORMS = ("published", *BACKENDS)


def network_of(form, model):
    """Where the operations of one form live; ``compiled`` is the plain form through ``torch.compile``."""
    network = build_model(model, backend="fused" if form == "fused" else "plain")
    if form == "cluster":
        network.backend = "cluster"
    return torch.compile(network) if form == "compiled" else network


def off_no_origin(xyz, count, *, skip_origin, backend):
    """torch-cluster's sampler knows no rule about the origin: it is measured without."""
    return farthest_points(xyz, count, skip_origin=skip_origin and backend != "cluster", backend=backend)


def steps(model, batch, points, forms=FORMS, *, backward=True):
    """Training steps and evaluations by form; the same weights and clouds.

    ``cluster`` is the plain form with torch-cluster's k nearest and farthest points.
    """
    torch.manual_seed(0)
    xyz, rgb = clouds(batch, points), torch.rand(batch, points, 3) - 0.5
    identity = torch.arange(batch) // 2
    loss = build_loss("circle", 512, 751)
    networks = {form: network_of(form, model) for form in forms}

    def embed(form):
        network = networks[form]
        if form == "published":
            return published_forward(network, xyz, rgb)
        with patch("ogreid.models.ognet.farthest_points", off_no_origin):
            return network(xyz, rgb)

    def train(form):
        networks[form].train().zero_grad()
        value = sum(loss(embed(form), identity).values())
        if backward:
            value.backward()

    def judge(form):
        networks[form].eval()
        with torch.no_grad():
            embed(form)

    trained = {form: lambda form=form: train(form) for form in forms}
    return trained, {form: lambda form=form: judge(form) for form in forms}


def stages(model, batch, points):
    """Milliseconds of CPU time of every kernel in one fused step."""
    from ogreid.ops.kernels import edges_numba, groups_numba
    from ogreid.ops.kernels import points_numba

    spent = {}

    def clocked(name, kernel):
        def run(*inputs):
            start = time.thread_time()
            kernel(*inputs)
            spent[name] = spent.get(name, 0.0) + 1e3 * (time.thread_time() - start)

        return run

    kernels = [
        (module, name, value)
        for module in (edges_numba, groups_numba, points_numba)
        for name, value in vars(module).items()
        if hasattr(value, "py_func") and not name.startswith("_")  # compiled loops
    ]
    step = steps(model, batch, points, ("fused",))[0]["fused"]
    step()
    try:
        for module, name, kernel in kernels:
            setattr(module, name, clocked(name, kernel))
        start = time.process_time()
        step()
        whole = 1e3 * (time.process_time() - start)
    finally:
        for module, name, kernel in kernels:
            setattr(module, name, kernel)
    spent["everything else"] = whole - sum(spent.values())
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def counted_bytes(model, batch, points):
    """Bytes that a step must move: what each module takes and gives, three times; parameters, four times.

    Forward reads and writes them; backward reads them again and writes gradients of both; the optimizer does more, and
    is not part of the step.
    """
    seen = []
    network = build_model(model)
    for part in network.modules():
        if isinstance(part, EdgeConv | GroupBranch):
            part.register_forward_hook(lambda _, taken, given: seen.append(taken[0].numel() + given.numel()))
    with torch.no_grad():
        network(clouds(batch, points), torch.rand(batch, points, 3))
    return 4 * (3 * sum(seen) + 4 * count_parameters(network))


def distance(model, batch, points, milliseconds):
    """The step against what the machine could do if nothing but its multiplications, or its bytes, mattered."""
    machine = limits()
    published = 3 * batch * count_flops(build_model(model), points)  # forward, and twice as much backward
    moved = counted_bytes(model, batch, points)
    best = published / machine["gflops"] / 1e6
    return {
        **machine,
        "flops_of_plain_form": published,
        "bytes_of_fused_form": moved,
        "milliseconds_of_flops": best,
        "milliseconds_of_bytes": moved / machine["gb_per_s"] / 1e6,
        "times_the_flops": milliseconds / best,
    }


def measure(sizes, rounds, forms, suffix=""):
    """Every form by turns, the stages of the fused one, and how far it is from the limit; printed, and kept."""
    training, judging = steps(*sizes, forms)
    model, batch, points = sizes
    title = f"{model}, {batch} x {points}"
    trained, judged = alternate(training, rounds), alternate(judging, rounds)
    print(*table(f"{title}: forward and backward", trained, "published"), sep="\n")
    print(*table(f"{title}: evaluation", judged, "published"), sep="\n", flush=True)
    where = stages(*sizes)
    print(
        "\nstages of the fused step, ms of CPU:", *(f"  {name:24s} {ms:8.1f}" for name, ms in where.items()), sep="\n"
    )
    far = distance(*sizes, next(one.cpu for one in trained if one.name == "fused"))
    print(
        f"\nthe fused step takes {far['times_the_flops']:.2f} times as long as a matrix product with the plain form's"
        f" multiplications, which takes {far['milliseconds_of_flops']:.0f} ms;"
        f" the bytes it must move take {far['milliseconds_of_bytes']:.0f} ms"
    )
    report = {"step": trained, "evaluation": judged, "stages": where, "limit": far}
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
