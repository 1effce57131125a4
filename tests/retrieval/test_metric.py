"""The metric: the same bits on one, two and three processes, and no silent holes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from ogreid.errors import InputError
from ogreid.retrieval import RetrievalMetric, evaluate_retrieval
from retrieval_scenes import scene

QUERIES, GALLERY = 23, 78
TOTAL = QUERIES + GALLERY


def columns(width=20):
    """Embedding, identity, camera and index of a whole set, queries first."""
    rows = scene(0, queries=QUERIES, gallery=GALLERY, identities=7, width=width, noise=1.2)
    sides = (torch.from_numpy(np.concatenate([rows[i], rows[i + 3]])) for i in range(3))
    return [*sides, torch.arange(TOTAL)]


def feed(metric, samples, batch=8):
    for part in torch.as_tensor(samples, dtype=torch.int64).split(batch):
        if len(part):
            metric.update(*(column[part] for column in columns()))
    return metric


def whole(**options):
    return feed(RetrievalMetric(QUERIES, GALLERY, **options), range(TOTAL))


def expected():
    return evaluate_retrieval(*(c[:QUERIES] for c in columns()[:3]), *(c[QUERIES:] for c in columns()[:3]))


def bits(result):
    return [np.asarray(value).tobytes() for value in result]


SHARDS = {
    "strided": lambda rank, world: range(rank, TOTAL, world),
    "padded": lambda rank, world: [i % TOTAL for i in range(rank, TOTAL + (-TOTAL) % (4 * world), world)],
    "one rank has nothing": lambda rank, world: range(rank, TOTAL, world - 1) if rank < world - 1 else (),
    "all on the last": lambda rank, world: range(TOTAL) if rank == world - 1 else (),
    "a hole": lambda rank, world: range(rank, TOTAL - 1, world),
}
MIXED = "a rank is wider"


def _serve(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world in (3, 2):  # the third process leaves after the first round
        if rank < world:
            dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
            results = {name: _share(shard(rank, world)) for name, shard in SHARDS.items()}
            results[MIXED] = _mixed(rank, world)
            Path(folder, f"{world}-{rank}.pkl").write_bytes(pickle.dumps(results))
            dist.destroy_process_group()


def _share(samples):
    """The bits of the result, or the error; and how many samples a partial evaluation misses."""
    metric = feed(RetrievalMetric(QUERIES, GALLERY), samples)
    try:
        metric.compute()
        outcome = bits(metric.result)
    except InputError as error:
        outcome = str(error)
    metric.reset()
    return outcome, feed(RetrievalMetric(QUERIES, GALLERY, partial=True), samples).compute().get("missing", 0)


def _mixed(rank, world):
    """The error where the first process has another network than the others."""
    metric = RetrievalMetric(QUERIES, GALLERY)
    metric.update(*(column[rank::world] for column in columns(width=24 if rank == 0 else 20)))
    with pytest.raises(InputError) as refused:
        metric.compute()
    return str(refused.value)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """What each rank of 3 and of 2 real processes computes, per way of sharing the samples out."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_serve, (str(folder),), nprocs=3)
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pkl"))]


@pytest.mark.parametrize("shard", [name for name in SHARDS if name != "a hole"])
def test_every_rank_of_two_and_three_processes_has_the_same_bits_as_one(served, shard):
    assert [results[shard] for results in served] == [(bits(expected()), 0)] * 5


def test_every_rank_refuses_a_hole_and_embeddings_of_two_widths(served):
    for results in served:
        error, missing = results["a hole"]
        assert error.startswith("1 samples were never evaluated") and missing == 1
        assert results[MIXED].startswith("embeddings are 20 and 24 wide")


def test_one_process_in_any_order_gives_the_same_bits_and_keeps_the_samples():
    metric = feed(RetrievalMetric(QUERIES, GALLERY), np.random.default_rng(1).permutation(TOTAL))
    metric.compute()
    assert bits(metric.result) == bits(expected())
    assert torch.equal(metric.samples.index, torch.arange(TOTAL))
    query, gallery = metric.samples.sides(QUERIES)
    assert bits(evaluate_retrieval(*query, *gallery)) == bits(expected())


def test_compute_returns_what_is_logged():
    numbers = whole().compute()
    assert list(numbers) == ["rank1", "rank5", "rank10", "mAP", "mAP_step", "mINP", "unanswerable"]
    assert numbers.items() <= expected().summary().items()
    assert whole(average_precision="step").compute()["mAP"] == numbers["mAP_step"]
    skipped, zero = (whole(unanswerable=choice) for choice in ("skip", "zero"))
    for metric in (skipped, zero):
        metric.identity[1][0] = 99  # of a query
    assert zero.compute()["mAP"] == pytest.approx(skipped.compute()["mAP"] * skipped.result.answerable / QUERIES)


def test_reset_forgets_everything():
    metric = whole()
    metric.compute()
    metric.reset()
    assert metric.samples is metric.result is None
    feed(metric, range(TOTAL)).compute()
    assert bits(metric.result) == bits(expected())


def test_repeated_samples_count_once_and_tolerate_last_bits():
    metric = whole()
    embedding, *others = (column[:3] for column in columns())
    metric.update(embedding * 1.00001, *others)
    assert metric.compute()["mAP"] == expected().summary()["mAP"]


@pytest.mark.parametrize("changed", [0, 1, 2])
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_two_samples_of_one_index_must_agree(changed, value):
    metric, again = whole(), [column[5:7].clone() for column in columns()]
    again[changed][-1] += value if changed == 0 else 1
    metric.update(*again)
    with pytest.raises(InputError, match="sample 6 was evaluated twice"):
        metric.compute()


def test_a_sample_that_is_twice_not_finite_is_named():
    samples, metric = columns(), RetrievalMetric(QUERIES, GALLERY)
    samples[0][6] = float("nan")
    metric.update(*samples)
    metric.update(*(column[5:7] for column in samples))
    with pytest.raises(InputError, match=r"query embedding 6 .*not finite"):
        metric.compute()


def test_an_index_outside_the_set_and_an_empty_side_are_refused():
    with pytest.raises(InputError, match=f"from 0 to {TOTAL - 1}, outside the set of 23 queries and 77 gallery"):
        feed(RetrievalMetric(QUERIES, GALLERY - 1), range(TOTAL)).compute()
    for sizes in ((0, 5), (5, 0)):
        with pytest.raises(InputError, match="at least one query and one gallery sample"):
            RetrievalMetric(*sizes)


def test_missing_samples_are_refused_unless_a_part_is_accepted():
    with pytest.raises(InputError, match=f"10 samples were never evaluated: expected {TOTAL}, got {TOTAL - 10}"):
        feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL - 10)).compute()
    numbers = feed(RetrievalMetric(QUERIES, GALLERY, partial=True), range(TOTAL - 10)).compute()
    assert numbers["missing"] == 10 and 0 < numbers["mAP"] < 100


@pytest.mark.parametrize("seen", [range(9), range(QUERIES, TOTAL)])
def test_a_part_without_a_valid_query_is_not_a_number(seen):
    """Sanity checking often sees queries only."""
    metric = feed(RetrievalMetric(QUERIES, GALLERY, partial=True), seen)
    numbers = metric.compute()
    assert (numbers["missing"], metric.result.answerable) == (TOTAL - len(seen), 0)
    assert np.isnan(list(numbers.values())[:6]).all()
