"""The evaluation against golden numbers, a slow loop, scikit-learn, and inputs it must refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

import retrieval_scenes
from ogreid.errors import InputError
from ogreid.retrieval import evaluate_retrieval, judge
from ogreid.retrieval.protocol import evaluate_scores
from retrieval_scenes import COLUMNS, scene


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return retrieval_scenes.golden()


def exact_scores(query, gallery):
    """Cosines of unit vectors that are rounded to multiples of 2^-24 as documented, times 2^48: what ties, ties."""
    units = [rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True) for rows in (query, gallery)]
    return np.rint(units[0] * 2**24) @ np.rint(units[1] * 2**24).T


def loop(query, query_identity, query_camera, gallery, gallery_identity, gallery_camera):
    """The protocol, one query and one gallery row at a time: ranks of the positives per query."""
    scores = exact_scores(query, gallery)
    ranks = []
    for q in range(len(query)):
        rows = []
        for g in range(len(gallery)):
            same = gallery_identity[g] == query_identity[q]
            if gallery_identity[g] == -1 or (same and gallery_camera[g] == query_camera[q]):
                continue
            rows.append((-scores[q, g], bool(same)))  # sorted: a negative before its tied positive
        ranks.append([at for at, (_, hit) in enumerate(sorted(rows), start=1) if hit])
    return ranks


def check_against_loop(rows):
    """All numbers of the result; returns how many queries are valid."""
    ranks, step, trapezoid, penalty = loop(*rows), [], [], []
    for hits in filter(None, ranks):
        at = [i / r for i, r in enumerate(hits, start=1)]
        before = [1.0 if r == 1 else (i - 1) / (r - 1) for i, r in enumerate(hits, start=1)]
        step.append(np.mean(at))
        trapezoid.append((np.mean(at) + np.mean(before)) / 2)
        penalty.append(len(hits) / hits[-1])
    if step:
        result = evaluate_retrieval(*rows)
        assert result.mean_average_precision == pytest.approx(np.mean(trapezoid), abs=1e-12)
        assert result.mean_average_precision_step == pytest.approx(np.mean(step), abs=1e-12)
        assert result.mean_inverse_negative_penalty == pytest.approx(np.mean(penalty), abs=1e-12)
        np.testing.assert_array_equal(result.first_hit, [hits[0] if hits else 0 for hits in ranks])
        assert result.rank(5) == np.mean([hits[0] <= 5 for hits in ranks if hits])
    return len(step)


def ranked(ranks, total):
    """Embeddings in which one query finds its positives at ``ranks`` of a gallery of ``total`` rows."""
    angle = np.linspace(0.1, 1.5, total)
    identity = np.full(total, 3)
    identity[np.array(ranks) - 1] = 7
    gallery = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.array([[1.0, 0.0]]), np.array([7]), np.array([1]), gallery, identity, np.full(total, 2)


def assert_same(left, right):
    for name, one, other in zip(left._fields, left, right, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize(("unanswerable", "over"), [("skip", "answerable"), ("zero", "all")])
def test_golden_numbers(golden, unanswerable, over):
    result = judge(*(golden[name] for name in COLUMNS), unanswerable=unanswerable)
    assert result.answerable == golden["answerable"]
    np.testing.assert_array_equal(result.cmc, golden[f"cmc_over_{over}"])
    assert result.mean_average_precision == pytest.approx(float(golden[f"map_trapezoid_over_{over}"]), abs=1e-12)
    if unanswerable == "skip":
        assert result.mean_average_precision_step == pytest.approx(float(golden["map_step_over_answerable"]), abs=1e-12)


WORKED = [((1, 2, 4, 7), 9, 0.830357, 0.811012), ((2,), 5, 0.5, 0.25), ((2, 5), 6, 0.45, 0.2875), ((1,), 1, 1.0, 1.0)]


@pytest.mark.parametrize(("ranks", "total", "step", "trapezoid"), WORKED)
def test_worked_examples_of_both_definitions(ranks, total, step, trapezoid):
    result = evaluate_retrieval(*ranked(ranks, total))
    assert result.mean_average_precision == pytest.approx(trapezoid, abs=5e-7)
    assert result.mean_average_precision_step == pytest.approx(step, abs=5e-7)
    chosen = evaluate_retrieval(*ranked(ranks, total), average_precision="step")
    assert chosen.mean_average_precision == result.mean_average_precision_step


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_loop_over_every_pair(seed):
    assert check_against_loop(scene(seed, noise=1.0 + seed / 3)) > 30


# Few directions of few values: nearly everything ties.
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_agrees_with_the_loop_where_scores_tie(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = []
    for n in (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 25))):
        embedding = rng.integers(-1, 2, (n, 3)) + np.array([0.5, 0.0, 0.0])
        rows += [embedding, rng.integers(1, 4, n), rng.integers(1, 3, n)]
    if not check_against_loop(rows):
        with pytest.raises(InputError, match="match from another camera"):
            evaluate_retrieval(*rows)


def test_step_precision_is_scikit_learns():
    query, query_identity, query_camera, gallery, gallery_identity, gallery_camera = rows = scene(11)
    result, scores, compared = evaluate_retrieval(*rows, average_precision="step"), exact_scores(query, gallery), 0
    for q in range(len(query)):
        hit = gallery_identity == query_identity[q]
        valid = (gallery_identity != -1) & ~(hit & (gallery_camera == query_camera[q]))
        if (hit & valid).any():
            expected = average_precision_score(hit[valid], scores[q, valid])
            assert result.average_precision[q] == pytest.approx(expected)
            compared += 1
    assert compared == result.answerable > 30


@pytest.mark.parametrize("block", [(1, 7), (7, 13), (64, 50), (1000, 100_000)])
def test_no_block_changes_a_bit(block):
    rows = scene(3, queries=70, gallery=300, width=300, noise=3.0)
    assert_same(evaluate_retrieval(*rows, block=block), evaluate_retrieval(*rows))


def test_neither_order_nor_length_of_embeddings_matters():
    query, query_identity, query_camera, gallery, gallery_identity, gallery_camera = rows = scene(5)
    order = np.random.default_rng(0).permutation(len(gallery))
    moved = gallery[order] / 2, gallery_identity[order], gallery_camera[order]
    assert_same(evaluate_retrieval(*rows), evaluate_retrieval(4 * query, query_identity, query_camera, *moved))


def test_invalid_queries_are_counted_and_left_out_or_zero():
    rows = np.eye(2), np.array([1, 2]), np.array([1, 1]), np.eye(2), np.array([1, 3]), np.array([2, 2])
    skipped, zero = evaluate_retrieval(*rows), evaluate_retrieval(*rows, unanswerable="zero")
    assert (skipped.answerable, skipped.unanswerable, zero.unanswerable) == (1, 1, 1)
    assert (skipped.mean_average_precision, zero.mean_average_precision) == (1.0, 0.5)
    assert (skipped.rank(1), zero.rank(1)) == (1.0, 0.5)
    assert np.isnan(skipped.average_precision[1])
    assert zero.average_precision[1] == 0


def test_precision_recall_curve_of_a_worked_example():
    curve = evaluate_retrieval(*ranked((1, 2, 4, 7), 9)).precision
    assert curve.shape == (101,)
    np.testing.assert_allclose(curve[[0, 50, 51, 75, 76, 100]], [1, 1, 3 / 4, 3 / 4, 4 / 7, 4 / 7])


def test_summary_is_in_percent_and_counts():
    summary = evaluate_retrieval(*ranked((2, 5), 6)).summary()
    assert list(summary) == ["rank1", "rank5", "rank10", "mAP", "mAP_step", "mINP", "queries", "unanswerable"]
    assert list(summary.values()) == pytest.approx([0, 100, 100, 28.75, 45, 40, 1, 0])


def test_torch_of_any_precision_is_read_like_numpy():
    rows = scene(2)
    tensors = [torch.from_numpy(column) for column in rows]
    assert_same(evaluate_retrieval(*rows), evaluate_retrieval(*tensors))
    halves = [t.bfloat16() if t.is_floating_point() else t.int() for t in tensors]
    rounded = [t.float() if t.is_floating_point() else t for t in halves]
    assert_same(evaluate_retrieval(*halves), evaluate_retrieval(*rounded))


@pytest.mark.parametrize("length", [2.0**-1000, 1e-30, 1e30, 2.0**1000])
def test_the_length_of_finite_embeddings_does_not_matter(length):
    """Squares of the first and the last leave the range of float64."""
    query, identity, camera, gallery, *others = scene(2)
    query, gallery = (np.rint(4 * rows.astype(np.float64)) + 0.25 for rows in (query, gallery))
    scaled = evaluate_retrieval(query * length, identity, camera, gallery * length, *others)
    assert_same(scaled, evaluate_retrieval(query, identity, camera, gallery, *others))
    if 1e-38 < length < 1e38:
        small = evaluate_retrieval((query * length).astype(np.float32), identity, camera, gallery, *others)
        assert small.mean_average_precision == pytest.approx(scaled.mean_average_precision, abs=1e-3)


@pytest.mark.parametrize("unanswerable", ["skip", "zero"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_embeddings_are_evaluated_alike(seed, unanswerable):
    query, identity, camera, gallery, *others = scene(seed, queries=25, gallery=90, identities=6)
    query, gallery = (np.rint(3 * rows) + 0.25 for rows in (query, gallery))  # some tie
    scores, columns = exact_scores(query, gallery), (identity, camera, *others)
    expected = evaluate_retrieval(query, identity, camera, gallery, *others, unanswerable=unanswerable)
    assert_same(evaluate_scores([scores[:10], scores[10:]], *columns, unanswerable=unanswerable), expected)


GOOD = {
    "query": np.eye(3)[:2],
    "query_identity": np.array([1, 2]),
    "query_camera": np.array([1, 1]),
    "gallery": np.eye(3),
    "gallery_identity": np.array([1, 2, 3]),
    "gallery_camera": np.array([2, 2, 2]),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.full((2, 3), np.nan)}, "query embedding 0 holds a value that is not finite"),
        ({"gallery": np.array([[1, 0, 0], [0, 0, 0], [1, 1, 1.0]])}, "gallery embedding 1 is all zeros"),
        ({"gallery": np.array([[1, 0, 0], [0, np.inf, 0], [1, 1, 1.0]])}, "gallery embedding 1 holds"),
        ({"query": np.ones((2, 4))}, "query embeddings are 4 wide, gallery embeddings 3"),
        ({"query": np.eye(3)[:2].astype(str)}, "query embeddings are <U32"),
        ({"query": np.ones(3)}, r"got \(3,\)"),
        ({"gallery": np.ones((0, 3)), "gallery_identity": np.ones(0, int)}, r"got \(0, 3\)"),
        ({"gallery_identity": np.array([1, 2])}, r"gallery identities have the shape \(2,\), expected \(3,\)"),
        ({"query_camera": np.array([1.0, 2.0])}, "query cameras are float64, expected integers"),
        ({"gallery_identity": np.array([1, 2, -1]).astype(np.uint16)}, "uint16 and hold 65535, which -1 .* use int64"),
        ({"gallery_identity": np.array([1, 2, -2]).astype(np.uint64)}, "uint64 and hold 18446744073709551614"),
        ({"query_identity": np.array([8, 9])}, "none of the 2 queries has a match"),
        ({"gallery_identity": np.array([-1, -1, -1])}, "none of the 2 queries has a match"),
        ({"gallery_camera": np.array([1, 1, 1])}, "none of the 2 queries has a match from another camera"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    evaluate_retrieval(**GOOD)
    with pytest.raises(InputError, match=message) as refused:
        evaluate_retrieval(**(GOOD | change))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("blocks", "change", "message"),
    [
        ([np.zeros((1, 3))], {}, "scores of 1 queries, expected 2"),
        ([np.zeros((2, 4))], {}, r"scores of shape \(2, 4\) from query 0 on"),
        ([np.zeros((1, 3)), np.zeros((2, 3))], {}, "from query 1 on"),
        ([np.full((2, 3), np.nan)], {}, "queries 0 to 1 hold NaN"),
        ([np.zeros((2, 3))], {"query_camera": np.zeros(3, int)}, r"query cameras have the shape \(3,\)"),
        ([np.zeros((2, 3))], {"gallery_identity": np.zeros(3)}, "gallery identities are float64"),
    ],
)
def test_scores_that_do_not_fit_are_refused(blocks, change, message):
    columns = {name: column for name, column in GOOD.items() if name not in ("query", "gallery")}
    with pytest.raises(InputError, match=message):
        evaluate_scores(blocks, **(columns | change))
