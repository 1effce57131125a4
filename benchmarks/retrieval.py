"""What evaluation costs: beside the bare matrix product, the argsort form and scikit-learn, and as the gallery grows.

python -m benchmarks.retrieval [--size market|msmt|growth|extremes|rerank|rerank-msmt] [--rounds 3]

Seconds are wall time, with the process's own CPU time in brackets (on a busy machine that one counts); memory is by how
much the peak rises above the embeddings. Evaluation and the bare product take turns, and the median is printed. Forms
marked ~ run on a part of the queries and are scaled up. Results go to benchmarks/results/retrieval_<size>.json.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.timing import save
from sklearn.metrics import average_precision_score

from ogreid.retrieval import evaluate_retrieval
from ogreid.retrieval.variants import reranked

SIZES = {"market": (3368, 19732, 750, 6), "msmt": (11659, 82161, 3060, 15)}
"""Queries, gallery rows, identities, cameras of the test sets."""
WIDTH = 512
NETWORKS = {"trained": (2.2, 0), "near random": (10, 0), "untrained": (10, 8)}
"""Noise round the centers of the identities, and how many times that all lean to one side. 2.2 gives about the mAP of
the paper on Market-1501; an untrained OG-Net's embeddings are as narrow a cone as the last ones (cosines of 0.98)."""


def scene(queries, gallery, identities, cameras, noise, lean=0):
    """Embeddings round identity centers."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((identities, WIDTH), dtype=np.float32)
    sides, aside = [], lean * noise * rng.standard_normal(WIDTH, dtype=np.float32)
    for rows in (queries, gallery):
        identity = rng.integers(0, identities, rows)
        embedding = rng.standard_normal((rows, WIDTH), dtype=np.float32)
        for first in range(0, rows, 4096):
            part = slice(first, first + 4096)
            embedding[part] = aside + centers[identity[part]] + noise * embedding[part]
        sides += [embedding, identity, rng.integers(0, cameras, rows)]
    return sides


def bare_product(query, gallery, block=(512, 2048)):
    """The matrix product of the same blocks and nothing else (8192 gallery rows at a time take 3 to 7 % longer)."""
    for first in range(0, len(query), block[0]):
        for start in range(0, len(gallery), block[1]):
            np.matmul(query[first : first + block[0]], gallery[start : start + block[1]].T)


def argsort_form(query, query_identity, query_camera, gallery, identity, camera):
    """As most code does it: the whole matrix, sorted; step AP."""
    scores = unit(query) @ unit(gallery).T
    order = np.argsort(-scores, axis=1)
    precisions = []
    for q, ranked in enumerate(order):
        hit = identity[ranked] == query_identity[q]
        hit = hit[~(hit & (camera[ranked] == query_camera[q]))]
        if hit.any():
            precisions.append(np.mean(np.arange(1, hit.sum() + 1) / (np.flatnonzero(hit) + 1)))
    return np.mean(precisions)


def sklearn_form(query, query_identity, query_camera, gallery, identity, camera):
    """One call of scikit-learn per query."""
    query, gallery = unit(query), unit(gallery)
    precisions = []
    for q in range(len(query)):
        hit = identity == query_identity[q]
        valid = ~(hit & (camera == query_camera[q]))
        if hit[valid].any():
            precisions.append(average_precision_score(hit[valid], gallery[valid] @ query[q]))
    return np.mean(precisions)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def timed(work):
    """The result, wall seconds, CPU seconds, and by how many GB the peak rose."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return result, wall, cpu, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1e6


def line(form, wall, cpu, memory, share, precision=None):
    about = "~" if share < 1 else " "
    worth = "" if precision is None else f"   mAP step {100 * precision:.4f}"
    print(f"{form:24} {about}{wall / share:8.2f} s ({cpu / share:7.2f}) {memory:7.2f} GB{worth}")


def compare(size, rounds):
    """One benchmark's size, every form."""
    report = {}
    for network, (noise, lean) in NETWORKS.items():
        rows = scene(*SIZES[size], noise, lean)
        evaluate_retrieval(*(column[:2000] for column in rows))  # compiles
        shape = f"{len(rows[0])} x {len(rows[3])}, D = {WIDTH}, {torch.get_num_threads()} threads"
        print(f"\n{size}: {shape}, {network}", flush=True)
        report[network] = beside_product(rows, rounds)
    save(f"retrieval_{size}", {"shape": shape, **report})
    others(size, scene(*SIZES[size], *NETWORKS["trained"]))


def beside_product(rows, rounds):
    """Evaluation and the bare product in turns."""
    ours, bare = [], []
    for _ in range(rounds):
        result, *cost = timed(lambda: evaluate_retrieval(*rows))
        ours.append(cost)
        bare.append(timed(lambda: bare_product(rows[0], rows[3]))[1:])
    peak = max(memory for *_, memory in ours)  # only the first round raises it
    ours, bare = ([statistics.median(column) for column in zip(*taken, strict=True)] for taken in (ours, bare))
    ours[2] = peak
    ratios = [ours[i] / bare[i] for i in (0, 1)]
    line("evaluation", *ours, 1, result.mean_average_precision_step)
    line("bare blockwise product", *bare, 1)
    print(f"{'':24} evaluation / product: {ratios[0]:.2f} wall, {ratios[1]:.2f} CPU", flush=True)
    names = ("wall", "cpu", "peak_gb")
    return {
        "evaluation": dict(zip(names, ours, strict=True)),
        "product": dict(zip(names, bare, strict=True)),
        "wall_ratio": ratios[0],
        "cpu_ratio": ratios[1],
        "mAP_step": 100 * result.mean_average_precision_step,
    }


def others(size, rows):
    """As most code does it."""
    share = 1.0 if size == "market" else 0.05
    part = [column[: int(share * len(rows[0]))] for column in rows[:3]]
    precision, *cost = timed(lambda: argsort_form(*part, *rows[3:]))
    line("matrix and argsort", *cost, share, precision)
    few = min(300, len(rows[0]))
    precision, *cost = timed(lambda: sklearn_form(*(column[:few] for column in rows[:3]), *rows[3:]))
    line("scikit-learn per query", *cost, few / len(rows[0]), precision)


def growth():
    """A thousand queries in ever larger galleries: time per score must not grow."""
    print(f"\n1000 queries, D = {WIDTH}", flush=True)
    report = {}
    for gallery in (10_000, 100_000, 1_000_000):
        rows = scene(1000, gallery, gallery // 25, 6, *NETWORKS["trained"])
        evaluate_retrieval(*(column[:2000] for column in rows))  # compiles
        _, wall, cpu, memory = timed(lambda rows=rows: evaluate_retrieval(*rows))
        rate = 1e9 * cpu / (1000 * gallery)
        print(
            f"gallery {gallery:9,}: {wall:7.2f} s ({cpu:7.2f}), {rate:5.1f} ns CPU per score, {memory:.2f} GB",
            flush=True,
        )
        report[gallery] = {"wall": wall, "cpu": cpu, "ns_per_score": rate, "peak_gb": memory}
    save("retrieval_growth", report)


EXTREMES = {
    "one person, 10 000 images": (1, 10_000, 2, 10_000),
    "the same, collapsed": (1, 10_000, 2, 10_000),
    "100 000 people, 2 images each": (100_000, 2, 6, 1_000),
    "1 000 people, 1 000 cameras": (1_000, 20, 1_000, 1_000),
}
"""People, images of each, cameras, and how many of the images are queries; one person has 10 000 others beside."""


def extremes():
    """Sets far from the usual size."""
    report = {}
    for name, (people, each, cameras, queries) in EXTREMES.items():
        rows = crowd(people, each, cameras, collapsed=name.endswith("collapsed"))
        query = [column[:queries] for column in rows]
        evaluate_retrieval(*(column[:50] for column in query), *(column[:2000] for column in rows))  # compiles
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew, so that the sets stand alone
        _, wall, cpu, memory = timed(lambda query=query, rows=rows: evaluate_retrieval(*query, *rows))
        print(f"{name:32} {queries} x {len(rows[1])}: {wall:7.2f} s ({cpu:7.2f}), {memory:.2f} GB", flush=True)
        embeddings = (query[0].nbytes + rows[0].nbytes) / 1e9
        report[name] = {"wall": wall, "cpu": cpu, "peak_gb": memory, "embeddings_gb": embeddings}
    save("retrieval_extremes", report)


def crowd(people, each, cameras, collapsed):
    """Embeddings round identity centers, or nearly all the same, and 10 000 others where there is one person."""
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(people), each)
    if people == 1:
        identity = np.concatenate([identity, np.arange(1, 10_001)])
    embedding = rng.standard_normal((len(identity), WIDTH), dtype=np.float32)
    centers = rng.standard_normal((identity.max() + 1, WIDTH), dtype=np.float32)
    for first in range(0, len(identity), 4096):
        part = slice(first, first + 4096)
        embedding[part] = 1 if collapsed else centers[identity[part]] + 2 * embedding[part]
    return [embedding, identity, np.arange(len(identity)) % cameras]


def rerank(size):
    """k-reciprocal re-ranking with its evaluation, after the plain way, on a network that is only fair."""
    rows = scene(*SIZES[size], noise=2.6)
    query, gallery = rows[:3], rows[3:]
    reranked([column[:400] for column in query], [column[:400] for column in gallery])  # compiles
    print(f"\n{size}, re-ranked: {len(query[0])} x {len(gallery[0])}, D = {WIDTH}", flush=True)
    report = {}
    for form, work in (("plain", lambda: evaluate_retrieval(*rows)), ("re-ranked", lambda: reranked(query, gallery))):
        result, wall, cpu, memory = timed(work)
        line(form, wall, cpu, memory, 1, result.mean_average_precision_step)
        report[form] = {"wall": wall, "cpu": cpu, "peak_gb": memory}
    total = len(query[0]) + len(gallery[0])
    print(f"{'':24} one dense matrix of all pairs would be {4e-9 * total**2:.1f} GB; the released form holds several")
    save(f"retrieval_rerank_{size}", report)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = ["market", "msmt", "growth", "extremes", "rerank", "rerank-msmt"]
    parser.add_argument("--size", choices=sizes, action="append", help="default: market and growth")
    parser.add_argument("--rounds", type=int, default=3, help="of evaluation and the bare product (%(default)s)")
    options = parser.parse_args()
    for size in options.size or ["market", "growth"]:
        if size == "growth":
            growth()
        elif size == "extremes":
            extremes()
        elif size.startswith("rerank"):
            rerank("msmt" if size.endswith("msmt") else "market")
        else:
            compare(size, options.rounds)


if __name__ == "__main__":
    main()
