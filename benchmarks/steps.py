"""What a training step of a whole network costs: as the released code computes it, plain, and fused.

python -m benchmarks.steps [--model ognet] [--batch 4] [--points 4096] [--threads 1] [--rounds 3] [--memory FORM]

Also the time of each stage, and the distance to the limit: counted multiplications over what this machine does in a
matrix product, bytes of parameters and features over what it does in a copy, both measured in the same run.
``--memory FORM`` runs one form alone and reports by how much the process's peak rose.
"""

import argparse
import time

import torch
from benchmarks.operations import clouds
from benchmarks.published_form import published_forward
from benchmarks.timing import alternate, limits, peak_memory, save, table

from ogreid.losses import build_loss
from ogreid.models import build_model
from ogreid.models.table import count_flops, count_parameters

FORMS = ("published", "plain", "fused")


def steps(model, batch, points):
    """Training steps and evaluations by form; the same weights and clouds."""
    torch.manual_seed(0)
    xyz, rgb = clouds(batch, points), torch.rand(batch, points, 3) - 0.5
    identity = torch.arange(batch) // 2
    loss = build_loss("circle", 512, 751)
    networks = {form: build_model(model, backend="fused" if form == "fused" else "plain") for form in FORMS}

    def embed(form):
        network = networks[form]
        return published_forward(network, xyz, rgb) if form == "published" else network(xyz, rgb)

    def train(form):
        networks[form].train().zero_grad()
        sum(loss(embed(form), identity).values()).backward()

    def judge(form):
        networks[form].eval()
        with torch.no_grad():
            embed(form)

    trained = {form: lambda form=form: train(form) for form in FORMS}
    return trained, {form: lambda form=form: judge(form) for form in FORMS}


def stages(model, batch, points):
    """Milliseconds of CPU time of every kernel in one fused step."""
    from ogreid.ops.kernels import edges, group_passes
    from ogreid.ops.kernels import points as searches

    spent = {}

    def clocked(name, kernel):
        def run(*inputs):
            start = time.thread_time()
            kernel(*inputs)
            spent[name] = spent.get(name, 0.0) + 1e3 * (time.thread_time() - start)

        return run

    kernels = [
        (module, name, value)
        for module in (edges, group_passes, searches)
        for name, value in vars(module).items()
        if hasattr(value, "py_func") and not name.startswith("_")  # compiled loops
    ]
    step = steps(model, batch, points)[0]["fused"]
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


def distance(model, batch, points, milliseconds):
    """The step against what the machine could do if nothing but its multiplications mattered."""
    machine = limits()
    flops = 3 * batch * count_flops(build_model(model), points)  # forward, and twice as much backward
    best = flops / machine["gflops"] / 1e6
    bytes_moved = 3 * 4 * count_parameters(build_model(model))
    return {
        **machine,
        "flops_of_plain_form": flops,
        "milliseconds_of_arithmetic": best,
        "milliseconds_of_parameters": bytes_moved / machine["gb_per_s"] / 1e6,
        "times_the_arithmetic": milliseconds / best,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ognet")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--points", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", choices=FORMS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = (options.model, options.batch, options.points)
    training, judging = steps(*sizes)
    if options.memory:
        before = peak_memory()
        training[options.memory]()
        print(f"{options.memory}: peak memory rose by {peak_memory() - before:.0f} MiB")
        return
    title = f"{options.model}, {options.batch} x {options.points}"
    trained, judged = alternate(training, options.rounds), alternate(judging, options.rounds)
    print(*table(f"{title}: forward and backward", trained, "published"), sep="\n")
    print(*table(f"{title}: evaluation", judged, "published"), sep="\n", flush=True)
    where = stages(*sizes)
    print(
        "\nstages of the fused step, ms of CPU:", *(f"  {name:24s} {ms:8.1f}" for name, ms in where.items()), sep="\n"
    )
    far = distance(*sizes, trained[-1].wall)
    print(f"\nthe fused step takes {far['times_the_arithmetic']:.1f} times the arithmetic of the plain form")
    report = {"step": trained, "evaluation": judged, "stages": where, "limit": far}
    print("written:", save(f"step_{options.model}_{options.batch}x{options.points}", report))


if __name__ == "__main__":
    main()
