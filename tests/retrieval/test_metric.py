"""The metric: the same bits on one, two and three processes, and no silent holes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from ogreid.errors import InputError
from ogreid.retrieval import judge
from ogreid.retrieval.metric import RetrievalMetric

QUERIES, GALLERY = 23, 78


def rows(seed=0, width=20):
    """Embedding, identity, camera and index of a whole set, query rows first."""
    rng = np.random.default_rng(seed)
    identity = np.concatenate([rng.integers(1, 8, QUERIES), rng.integers(-1, 8, GALLERY)])
    centers = rng.standard_normal((9, width))
    embedding = centers[identity] + 1.2 * rng.standard_normal((len(identity), width))
    camera = rng.integers(1, 4, len(identity))
    index = np.arange(len(identity))
    return [torch.from_numpy(column) for column in (embedding.astype(np.float32), identity, camera, index)]


def feed(metric, picked, batch=8):
    columns = rows()
    for part in torch.as_tensor(picked, dtype=torch.int64).split(batch):
        if len(part):
            metric.update(*(column[part] for column in columns))
    return metric


def expected():
    embedding, identity, camera, _ = rows()
    return judge(
        embedding[:QUERIES], identity[:QUERIES], camera[:QUERIES],
        embedding[QUERIES:], identity[QUERIES:], camera[QUERIES:],
    )  # fmt: skip


def bits(judgment):
    return [np.asarray(value).tobytes() for value in judgment]


TOTAL = QUERIES + GALLERY
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
            results = {name: _share(rows_of(rank, world)) for name, rows_of in SHARDS.items()}
            results[MIXED] = _mixed(rank, world)
            Path(folder, f"{world}-{rank}.pkl").write_bytes(pickle.dumps(results))
            dist.destroy_process_group()


def _share(picked):
    """The bits of the judgment, or the refusal; and how many rows a partial judgment missed."""
    metric = feed(RetrievalMetric(QUERIES, GALLERY), picked)
    try:
        whole = bits(metric.compute())
    except InputError as error:
        whole = str(error)
    metric.reset()
    return whole, feed(RetrievalMetric(QUERIES, GALLERY, partial=True), picked).compute().missing


def _mixed(rank, world):
    """The refusal where the first process has another network than the others."""
    metric = RetrievalMetric(QUERIES, GALLERY)
    picked = torch.arange(rank, TOTAL, world)
    embedding, identity, camera, index = (column[picked] for column in rows(width=24 if rank == 0 else 20))
    metric.update(embedding, identity, camera, index)
    with pytest.raises(InputError) as refused:
        metric.compute()
    return str(refused.value)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """What each rank of 3 and of 2 real processes computed, per way of sharing the rows out."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_serve, (str(folder),), nprocs=3)
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pkl"))]


@pytest.mark.parametrize("shard", [name for name in SHARDS if name != "a hole"])
def test_every_rank_of_two_and_three_processes_has_the_same_bits_as_one(served, shard):
    assert len(served) == 5
    for results in served:
        assert results[shard] == (bits(expected()), 0)


def test_a_hole_is_refused_by_every_rank(served):
    for results in served:
        whole, missing = results["a hole"]
        assert whole.startswith(f"1 of {TOTAL} rows never reached the judge")
        assert missing == 1


def test_every_rank_refuses_embeddings_of_two_widths(served):
    for results in served:
        assert results[MIXED].startswith("embeddings are 20 and 24 wide: widths are mixed")


def test_one_process_in_any_order_has_the_judges_bits():
    order = np.random.default_rng(1).permutation(TOTAL)
    metric = feed(RetrievalMetric(QUERIES, GALLERY), order)
    assert bits(metric.compute()) == bits(expected())
    assert metric.collected is not None
    assert torch.equal(metric.collected.index, torch.arange(TOTAL))
    assert torch.equal(metric.collected.embedding, rows()[0])


def test_conventions_reach_the_judge():
    step = feed(RetrievalMetric(QUERIES, GALLERY, average_precision="step"), range(TOTAL)).compute()
    assert step.mean_average_precision == expected().mean_average_precision_step


def test_reset_forgets_everything():
    metric = feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL))
    metric.compute()
    metric.reset()
    assert metric.collected is None
    assert bits(feed(metric, range(TOTAL)).compute()) == bits(expected())


def test_repeated_rows_count_once_and_tolerate_last_bits():
    metric = feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL))
    embedding, identity, camera, index = (column[:3] for column in rows())
    metric.update(embedding * 1.00001, identity, camera, index)
    assert metric.compute().mean_average_precision == expected().mean_average_precision


@pytest.mark.parametrize("changed", ["embedding", "identity", "camera"])
def test_two_rows_of_one_index_must_agree(changed):
    metric = feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL))
    columns = dict(zip(("embedding", "identity", "camera", "index"), (c[5:7] for c in rows()), strict=True))
    columns[changed] = columns[changed] + 1
    metric.update(**columns)
    with pytest.raises(InputError, match="row 5 reached the judge twice"):
        metric.compute()


@pytest.mark.parametrize("where", [slice(5, 7), slice(6, 7)])
def test_a_repeated_row_that_is_not_a_number_is_not_dropped(where):
    metric = feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL))
    embedding, identity, camera, index = (column[where] for column in rows())
    embedding = embedding.clone()
    embedding[-1, 3] = float("nan")
    metric.update(embedding, identity, camera, index)
    with pytest.raises(InputError, match="row 6 reached the judge twice"):
        metric.compute()


def test_a_row_that_is_twice_not_a_number_is_told_so():
    embedding, identity, camera, index = rows()
    embedding[6] = float("nan")
    metric = RetrievalMetric(QUERIES, GALLERY)
    metric.update(embedding, identity, camera, index)
    metric.update(embedding[5:7], identity[5:7], camera[5:7], index[5:7])
    with pytest.raises(InputError, match="query embedding 6 holds a value that is not finite"):
        metric.compute()


@pytest.mark.parametrize(("apart", "collapsed"), [(1e-6, True), (1e-2, False)])
def test_a_collapse_is_seen_whatever_the_lengths(apart, collapsed):
    embedding, identity, camera, index = rows()
    length = torch.linspace(1, 50, TOTAL)[:, None]
    metric = RetrievalMetric(QUERIES, GALLERY)
    metric.update(length * (1 + apart * embedding), identity, camera, index)
    metric.compute()
    assert metric.collected.collapsed() is collapsed


def test_an_index_outside_the_set_is_refused():
    metric = feed(RetrievalMetric(QUERIES, GALLERY - 1), range(TOTAL))
    with pytest.raises(InputError, match=f"from 0 to {TOTAL - 1}, outside the set of 23 query and 77 gallery"):
        metric.compute()


def test_mixed_widths_are_refused():
    metric = feed(RetrievalMetric(QUERIES, GALLERY), range(TOTAL - 1))
    _, identity, camera, index = (column[-1:] for column in rows())
    metric.update(torch.ones(1, 3), identity, camera, index)
    with pytest.raises(InputError, match="3 and 20 wide: widths are mixed"):
        metric.compute()


def test_mixed_widths_do_not_pass_for_their_mean():
    """Three rows of 4 numbers and three of 6 are as many numbers as six rows of 5."""
    metric, three = RetrievalMetric(3, 3), torch.arange(3)
    metric.update(torch.eye(3, 4), three, three, three)
    metric.update(torch.eye(3, 6), three, three + 1, three + 3)
    with pytest.raises(InputError, match="4 and 6 wide"):
        metric.compute()


def test_missing_rows_are_refused_unless_the_result_is_called_partial():
    seen = range(0, TOTAL - 10)
    with pytest.raises(InputError, match=f"10 of {TOTAL} rows never reached the judge"):
        feed(RetrievalMetric(QUERIES, GALLERY), seen).compute()
    judged = feed(RetrievalMetric(QUERIES, GALLERY, partial=True), seen).compute()
    assert judged.partial
    assert judged.summary()["missing"] == 10
    assert 0 < judged.mean_average_precision < 1


def test_a_part_in_which_nothing_can_be_judged_is_not_a_number():
    """Sanity checking often sees query rows only."""
    judged = feed(RetrievalMetric(QUERIES, GALLERY, partial=True), range(9)).compute()
    assert (judged.missing, judged.answerable) == (TOTAL - 9, 0)
    assert np.isnan(list(judged.summary().values())[:6]).all()


@pytest.mark.parametrize(("queries", "gallery"), [(0, 5), (5, 0)])
def test_an_empty_side_is_refused_before_any_work(queries, gallery):
    with pytest.raises(InputError, match="needs query and gallery rows"):
        RetrievalMetric(queries, gallery)
