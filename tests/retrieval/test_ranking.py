"""The judge against golden numbers, a slow loop, scikit-learn, and inputs it must refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

import retrieval_scenes
from ogreid.errors import InputError
from ogreid.retrieval import RetrievalResult, judge, ranking
from retrieval_scenes import COLUMNS, scene


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return retrieval_scenes.golden()


def loop(query, query_identity, query_camera, gallery, gallery_identity, gallery_camera):
    """The protocol, one query and one gallery row at a time: ranks of the positives per query.

    Unit vectors are rounded to multiples of 2^-24 as documented; what ties then, ties exactly.
    """
    units = [rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True) for rows in (query, gallery)]
    scores = np.rint(units[0] * 2**24) @ np.rint(units[1] * 2**24).T
    ranks = []
    for q in range(len(query)):
        listed = []
        for g in range(len(gallery)):
            same = gallery_identity[g] == query_identity[q]
            if gallery_identity[g] == -1 or (same and gallery_camera[g] == query_camera[q]):
                continue
            listed.append((-scores[q, g], bool(same)))  # sorted: a negative before its tied positive
        ranks.append([at for at, (_, hit) in enumerate(sorted(listed), start=1) if hit])
    return ranks


def measures(ranks):
    step, trapezoid, penalty = [], [], []
    for hits in filter(None, ranks):
        at = [i / r for i, r in enumerate(hits, start=1)]
        before = [1.0 if r == 1 else (i - 1) / (r - 1) for i, r in enumerate(hits, start=1)]
        step.append(np.mean(at))
        trapezoid.append(np.mean([(a + b) / 2 for a, b in zip(at, before, strict=True)]))
        penalty.append(len(hits) / hits[-1])
    return np.mean(step), np.mean(trapezoid), np.mean(penalty)


def ranked(ranks, total):
    """Embeddings in which one query finds its positives at ``ranks`` of a gallery of ``total`` rows."""
    angle = np.linspace(0.1, 1.5, total)
    gallery = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    identity = np.full(total, 3)
    identity[np.array(ranks) - 1] = 7
    return np.array([[1.0, 0.0]]), np.array([7]), np.array([1]), gallery, identity, np.full(total, 2)


def same(left: RetrievalResult, right: RetrievalResult) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(left, right, strict=True))


def test_golden_numbers_over_answerable_queries(golden):
    judged = judge(*(golden[name] for name in COLUMNS))
    assert judged.answerable == golden["answerable"]
    np.testing.assert_array_equal(judged.cmc, golden["cmc_over_answerable"])
    assert judged.mean_average_precision == pytest.approx(float(golden["map_trapezoid_over_answerable"]), abs=1e-12)
    assert judged.mean_average_precision_step == pytest.approx(float(golden["map_step_over_answerable"]), abs=1e-12)


def test_golden_numbers_over_all_queries(golden):
    judged = judge(*(golden[name] for name in COLUMNS), unanswerable="zero")
    np.testing.assert_array_equal(judged.cmc, golden["cmc_over_all"])
    assert judged.mean_average_precision == pytest.approx(float(golden["map_trapezoid_over_all"]), abs=1e-12)


@pytest.mark.parametrize(
    ("ranks", "total", "step", "trapezoid"),
    [
        ((1, 2, 4, 7), 9, 0.830357, 0.811012),
        ((2,), 5, 0.5, 0.25),
        ((2, 5), 6, 0.45, 0.2875),
        ((1,), 1, 1.0, 1.0),
    ],
)
def test_worked_examples_of_both_definitions(ranks, total, step, trapezoid):
    judged = judge(*ranked(ranks, total))
    assert judged.mean_average_precision == pytest.approx(trapezoid, abs=5e-7)
    assert judged.mean_average_precision_step == pytest.approx(step, abs=5e-7)
    chosen = judge(*ranked(ranks, total), average_precision="step")
    assert chosen.mean_average_precision == judged.mean_average_precision_step


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_loop_over_every_pair(seed):
    rows = scene(seed, noise=1.0 + seed / 3)
    ranks = loop(*rows)
    judged = judge(*rows)
    step, trapezoid, penalty = measures(ranks)
    assert judged.mean_average_precision == pytest.approx(trapezoid, abs=1e-12)
    assert judged.mean_average_precision_step == pytest.approx(step, abs=1e-12)
    assert judged.mean_inverse_negative_penalty == pytest.approx(penalty, abs=1e-12)
    np.testing.assert_array_equal(judged.first_hit, [hits[0] if hits else 0 for hits in ranks])
    assert judged.rank(5) == np.mean([hits[0] <= 5 for hits in ranks if hits])


# Few directions of few values: nearly everything ties.
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_agrees_with_the_loop_where_scores_tie(data):
    queries, gallery = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 25))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    vectors = [rng.integers(-1, 2, (n, 3)) + np.array([0.5, 0.0, 0.0]) for n in (queries, gallery)]
    rows = []
    for n, embedding in zip((queries, gallery), vectors, strict=True):
        rows += [embedding, rng.integers(1, 4, n), rng.integers(1, 3, n)]
    ranks = loop(*rows)
    if not any(ranks):
        with pytest.raises(InputError, match="match from another camera"):
            judge(*rows)
        return
    judged = judge(*rows)
    step, trapezoid, penalty = measures(ranks)
    assert judged.mean_average_precision == pytest.approx(trapezoid)
    assert judged.mean_average_precision_step == pytest.approx(step)
    assert judged.mean_inverse_negative_penalty == pytest.approx(penalty)


def test_step_precision_is_scikit_learns():
    query, query_identity, query_camera, gallery, gallery_identity, gallery_camera = scene(11)
    judged = judge(
        query, query_identity, query_camera, gallery, gallery_identity, gallery_camera, average_precision="step"
    )
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (query, gallery)]
    compared = 0
    for q in range(len(query)):
        hit = gallery_identity == query_identity[q]
        valid = (gallery_identity != -1) & ~(hit & (gallery_camera == query_camera[q]))
        if (hit & valid).any():
            expected = average_precision_score(hit[valid], unit[1][valid] @ unit[0][q])
            assert judged.average_precision[q] == pytest.approx(expected)
            compared += 1
    assert compared == judged.answerable > 30


@pytest.mark.parametrize("block", [(1, 7), (7, 13), (64, 50), (1000, 100_000)])
def test_no_block_changes_a_bit(block):
    rows = scene(3, queries=70, gallery=300, width=300, noise=3.0)
    assert same(judge(*rows, block=block), judge(*rows))


def test_neither_order_nor_length_of_embeddings_matters():
    query, query_identity, query_camera, gallery, gallery_identity, gallery_camera = scene(5)
    order = np.random.default_rng(0).permutation(len(gallery))
    one = judge(query, query_identity, query_camera, gallery, gallery_identity, gallery_camera)
    other = judge(
        4 * query, query_identity, query_camera, gallery[order] / 2, gallery_identity[order], gallery_camera[order]
    )
    assert same(one, other)


def test_equal_embeddings_tie_wherever_they_lie():
    """Each positive has copies of another identity all over the gallery: every one must come first."""
    rng = np.random.default_rng(8)
    person, copies = rng.standard_normal((1, 512)).astype(np.float32), 40
    gallery = np.concatenate([person + 0 * rng.standard_normal((copies, 512)).astype(np.float32), -person])
    gallery = np.concatenate([gallery, rng.standard_normal((3000, 512)).astype(np.float32)])
    identity = np.full(len(gallery), 5)
    identity[17] = 1
    judged = judge(
        person + 0.3, np.array([1]), np.array([1]), gallery, identity, np.full(len(gallery), 2), block=(3, 129)
    )
    assert judged.first_hit[0] >= copies


def test_a_collapsed_network_scores_near_zero():
    _, query_identity, query_camera, _, gallery_identity, gallery_camera = rows = scene(1, gallery=600, identities=60)
    flat = [
        np.ones_like(rows[0]),
        query_identity,
        query_camera,
        np.ones_like(rows[3]),
        gallery_identity,
        gallery_camera,
    ]
    judged = judge(*flat)
    assert judged.rank(50) == 0
    assert judged.mean_average_precision < 0.02


def test_same_camera_matches_are_ignored():
    query, gallery = np.eye(2)[:1], np.array([[1, 0], [0.9, 0.1], [0.5, 0.5]])
    judged = judge(query, np.array([4]), np.array([1]), gallery, np.array([4, 4, 9]), np.array([1, 2, 2]))
    assert judged.first_hit[0] == 1
    assert judged.mean_average_precision == 1


def test_junk_is_removed_but_distractors_are_not():
    query, gallery = np.eye(2)[:1], np.array([[1, 0], [1, 0.01], [1, 0.5]])
    cameras = np.array([2, 2, 2])
    assert judge(query, np.array([4]), np.array([1]), gallery, np.array([-1, -1, 4]), cameras).first_hit[0] == 1
    assert judge(query, np.array([4]), np.array([1]), gallery, np.array([0, 0, 4]), cameras).first_hit[0] == 3


def test_unanswerable_queries_are_counted_and_left_out_or_zero():
    query, gallery = np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]])
    rows = query, np.array([1, 2]), np.array([1, 1]), gallery, np.array([1, 3]), np.array([2, 2])
    skipped, zero = judge(*rows), judge(*rows, unanswerable="zero")
    assert (skipped.answerable, skipped.unanswerable, zero.unanswerable) == (1, 1, 1)
    assert (skipped.mean_average_precision, zero.mean_average_precision) == (1.0, 0.5)
    assert (skipped.rank(1), zero.rank(1)) == (1.0, 0.5)
    assert np.isnan(skipped.average_precision[1])
    assert zero.average_precision[1] == 0


def test_precision_recall_curve_of_a_worked_example():
    curve = judge(*ranked((1, 2, 4, 7), 9)).precision
    assert curve.shape == (101,)
    np.testing.assert_allclose(curve[[0, 50, 51, 75, 76, 100]], [1, 1, 3 / 4, 3 / 4, 4 / 7, 4 / 7])


def test_summary_is_in_percent_and_counts():
    summary = judge(*ranked((2, 5), 6)).summary()
    assert list(summary) == ["rank1", "rank5", "rank10", "mAP", "mAP_step", "mINP", "queries", "unanswerable"]
    assert summary["mAP"] == pytest.approx(28.75)
    assert (summary["rank1"], summary["rank5"], summary["rank10"]) == (0, 100, 100)
    assert summary["mINP"] == pytest.approx(40)


def test_torch_of_any_precision_is_read_like_numpy():
    rows = scene(2)
    tensors = [torch.from_numpy(column) for column in rows]
    assert same(judge(*rows), judge(*tensors))
    halves = [t.bfloat16() if t.is_floating_point() else t.int() for t in tensors]
    rounded = [t.float() if t.is_floating_point() else t for t in halves]
    assert same(judge(*halves), judge(*rounded))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.full((2, 3), np.nan)}, "query embedding 0 holds a value that is not finite"),
        ({"gallery": np.array([[1, 0, 0], [0, 0, 0], [1, 1, 1.0]])}, "gallery embedding 1 is all zeros"),
        ({"gallery": np.array([[1, 0, 0], [0, np.inf, 0], [1, 1, 1.0]])}, "gallery embedding 1 holds"),
        ({"query": np.ones((2, 4))}, "query embeddings are 4 wide, gallery embeddings 3"),
        ({"query": np.eye(3)[:2].astype(str)}, "query embeddings are <U32, expected real numbers"),
        ({"query": np.ones(3)}, r"query embeddings have the shape \(3,\)"),
        ({"gallery": np.ones((0, 3)), "gallery_identity": np.ones(0, int)}, r"shape \(0, 3\)"),
        ({"gallery_identity": np.array([1, 2])}, r"gallery identities have the shape \(2,\), expected \(3,\)"),
        ({"query_camera": np.array([1.0, 2.0])}, "query cameras are float64, expected whole numbers"),
        ({"query_identity": np.array([8, 9])}, "none of the 2 queries has a match"),
        ({"gallery_identity": np.array([-1, -1, -1])}, "none of the 2 queries has a match"),
        ({"gallery_camera": np.array([1, 1, 1])}, "none of the 2 queries has a match from another camera"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    good = {
        "query": np.eye(3)[:2],
        "query_identity": np.array([1, 2]),
        "query_camera": np.array([1, 1]),
        "gallery": np.eye(3),
        "gallery_identity": np.array([1, 2, 3]),
        "gallery_camera": np.array([2, 2, 2]),
    }
    judge(**good)
    with pytest.raises(InputError, match=message) as refused:
        judge(**(good | change))
    assert "\n" not in str(refused.value)


def test_missing_identities_and_unknown_conventions_are_refused():
    """Called below `judge`, whose annotations the tests enforce."""
    with pytest.raises(InputError, match="query identities are missing"):
        ranking.integers("query identities", None, 3)
    with pytest.raises(InputError, match="unanswerable is 'drop', expected skip or zero"):
        ranking._check_choice("unanswerable", "drop", ("skip", "zero"))
