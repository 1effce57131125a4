"""The performance goals beside the measurements: python -m benchmarks.goals, after python -m benchmarks."""

import json

from benchmarks.timing import RESULTS

STEP = "step_ognet_4x4096"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def milliseconds(timings):
    return {one["name"]: one["cpu"] for one in timings}


def ratio(timings, slow, fast="fused"):
    """How many times faster, or None where one of them was not installed."""
    spent = milliseconds(timings)
    return spent[slow] / spent[fast] if slow in spent else None


def goals():
    """(what, goal, measured); None where it was not measured."""
    operations, step, pipeline = read("operations")["operations"], read(STEP), read("pipeline")
    memory = {form: read(f"memory_ognet_{form}")["mebibytes"] for form in ("published", "fused")}
    spent, batch = milliseconds(pipeline["times"]), "EdgeConv, 4 x"
    yield "step, times published", ">= 5", ratio(step["step"], "published")
    yield "step, times published (aim)", ">= 8", ratio(step["step"], "published")
    yield "evaluation, times published", ">= 6", ratio(step["evaluation"], "published")
    yield "peak memory, share of published", "<= 0.5", memory["fused"] / memory["published"]
    yield "peak memory, share of published (aim)", "<= 0.3", memory["fused"] / memory["published"]
    for title, timings in operations.items():
        if title.startswith(batch) and title.endswith("k 20") and "published" in milliseconds(timings):
            least = ">= 5" if "3 -> 64" in title else ">= 10"
            yield f"{title}, times edge tensors", least, ratio(timings, "published")
    farthest = operations["farthest points, 8 x 4096 -> 768"]
    yield "farthest points, times the torch loop", ">= 25", ratio(farthest, "plain")
    yield "farthest points, times torch-quickfps", ">= 1", ratio(farthest, "torch-quickfps")
    near = operations["k nearest, 8 x 4096 x 3, k 20"]
    yield "k nearest, times dense", ">= 8", ratio(near, "plain")
    yield "k nearest, times scipy's tree", ">= 1", ratio(near, "scipy k-d tree")
    yield "ball query, times dense keys", ">= 100", ratio(operations["three balls, 8 x 768 in 4096"], "plain")
    yield "batches ready, times the step's need", ">= 5", spent["step"] / spent["ready"]
    yield "augmentation, share of the step", "<= 0.02", spent["augmentation alone"] / spent["step"]
    yield "embedding, times training's forward", ">= 1", spent["training's forward"] / spent["embedding"]
    yield "first compilation, seconds", "<= 20", pipeline["first_compilation"]


def met(goal, measured):
    sign, number = goal.split()
    return measured >= float(number) if sign == ">=" else measured <= float(number)


def main():
    print("| what | goal | measured | |", "|---|---|---|---|", sep="\n")
    for what, goal, measured in goals():
        if measured is None:
            print(f"| {what} | {goal} | not installed | not measured |")
        else:
            print(f"| {what} | {goal} | {measured:.3g} | {'met' if met(goal, measured) else 'missed'} |")


if __name__ == "__main__":
    main()
