"""Verification against plain loops over all pairs and against scikit-learn, whatever the block and the threads."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

import retrieval_scenes
from ogreid.errors import InputError
from ogreid.retrieval import verify
from ogreid.retrieval.unit_vectors import unit_vectors

GRID = 2.0**20


def scene(seed=0, **options):
    """Sides with distractors, junk, and rows that are equal to the bit."""
    sides = retrieval_scenes.scene(seed, **options)
    for side in (0, 3):
        sides[side][len(sides[side]) // 2] = sides[side][0]
    return sides


def looped(query, identity, camera, gallery, others, cameras, same_camera=False):
    """(score, whether genuine, query, gallery row) of every pair that counts."""
    left, right = (unit_vectors(rows, "row").astype(np.float64) for rows in (query, gallery))
    pairs = []
    for q, one in enumerate(left):
        for g, other in enumerate(right):
            genuine = identity[q] == others[g]
            if identity[q] == -1 or others[g] == -1 or (camera[q] == cameras[g] and (genuine or not same_camera)):
                continue
            pairs.append((float(np.dot(one, other)), bool(genuine), q, g))
    return pairs


def rates(pairs, threshold):
    """False and true positive rate by counting."""
    accepted = {kind: [score >= threshold for score, genuine, *_ in pairs if genuine == kind] for kind in (False, True)}
    return [sum(own) / len(own) for own in accepted.values()]


@pytest.mark.parametrize("same_camera", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_rate_is_that_of_plain_loops(seed, same_camera):
    sides = scene(seed)
    pairs = looped(*sides, same_camera=same_camera)
    result = verify(*sides, same_camera=same_camera)
    assert result.genuine.sum() + result.impostor.sum() == len(pairs)
    for threshold, *own in list(zip(result.threshold, *result.rates, strict=False))[:: len(result.threshold) // 30]:
        assert own == rates(pairs, threshold)
    levels = sorted({np.floor(score * GRID) / GRID for score, *_ in pairs})
    assert levels == result.threshold.tolist()
    for rate in (0.3, 0.1, 0.01, 1e-4):
        threshold, true, false = result.at(rate)
        assert [false, true] == rates(pairs, threshold) and false <= rate
        below = max(level for level in levels if level < threshold)
        assert rates(pairs, below)[0] > rate  # so there is no lower one


@pytest.mark.parametrize("seed", range(3))
def test_rates_and_equal_error_are_those_of_scikit_learn(seed):
    sides = scene(seed, queries=60, gallery=150)
    pairs = looped(*sides)
    result = verify(*sides)
    scores, genuine = np.array([np.floor(one[0] * GRID) / GRID for one in pairs]), [one[1] for one in pairs]
    false, true, thresholds = roc_curve(genuine, scores, drop_intermediate=False)
    np.testing.assert_array_equal(thresholds[1:], result.threshold[::-1])
    for own, theirs in zip(result.rates, (false, true), strict=True):
        np.testing.assert_allclose(own[::-1], theirs, rtol=1e-12)
    line = np.linspace(0, 1, 1_000_001)
    crossing = line[np.argmin(np.abs(1 - np.interp(line, false, true) - line))]
    assert result.equal_error_rate == pytest.approx(crossing, abs=2e-6) or np.diff(false).max() > 0.1
    assert result.at(0.1).true_positive_rate == true[false <= 0.1].max()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_no_block_and_no_number_of_threads_changes_a_bit(kind):
    sides = [kind(side) for side in scene(7, queries=30, gallery=90)]
    before, results = torch.get_num_threads(), []
    try:
        for threads, block in ((1, (256, 2048)), (2, (7, 13)), (4, (1, 1))):
            torch.set_num_threads(threads)
            results.append(verify(*sides, block=block))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            for own, theirs in zip(one, two, strict=True) if isinstance(one, tuple) else [(one, two)]:
                np.testing.assert_array_equal(own, theirs)
    assert results[0].summary() == results[1].summary()


def test_the_hardest_pairs_are_the_first_of_all_by_score_then_number():
    sides = scene(3)
    pairs, result = looped(*sides), verify(*sides, errors=25)
    for own, genuine, sign in ((result.false_accepts, False, -1), (result.false_rejects, True, 1)):
        order = sorted((sign * score, q, g) for score, kind, q, g in pairs if kind == genuine)[:25]
        got = list(zip((sign * own.score).tolist(), own.query.tolist(), own.gallery.tolist(), strict=True))
        assert got == order
    few = verify(*sides, errors=10_000).false_rejects
    assert len(few.score) == sum(one[1] for one in pairs) and len(verify(*sides, errors=0).false_accepts.score) == 0


def test_a_collapsed_network_errs_in_half_of_the_pairs_and_a_perfect_one_never():
    sides = scene(1)
    sides[0], sides[3] = np.ones_like(sides[0]), np.ones_like(sides[3])
    result = verify(*sides)
    assert result.equal_error_rate == 0.5 and result.at(1e-3)[1:] == (0, 0) and result.at(1).true_positive_rate == 1
    assert result.at(1e-3).threshold > result.threshold[-1]
    for side in (0, 3):
        sides[side] = np.eye(12)[sides[side + 1]]
    result = verify(*sides)
    assert result.equal_error_rate == 0 and result.at(1e-4)[:2] == (1, 1) and result.summary()["tpr"]["0.001"] == 100


def test_the_interval_holds_the_threshold_and_shrinks_with_the_number_of_identities():
    lengths = []
    for identities in (8, 200):
        result = verify(*scene(2, queries=400, gallery=1200, identities=identities))
        low, high = result.intervals([0.01])[0]
        assert low - 1e-3 <= result.at(0.01).threshold <= high + 1e-3
        lengths.append(high - low)
    assert lengths[1] < lengths[0] / 2


def test_the_interval_is_about_that_of_drawing_identities_by_hand():
    """Of whole recounts, in which a pair of two identities counts as often as both were drawn."""
    sides = scene(4, queries=200, gallery=400, identities=40, noise=1.0)
    sides[4] = np.maximum(sides[4], 1)
    result, pairs = verify(*sides), [one for one in looped(*sides) if not one[1]]
    rng, thresholds = np.random.default_rng(1), []
    score = np.array([one[0] for one in pairs])
    order, owners = np.argsort(-score), np.array([(sides[1][q], sides[4][g]) for _, _, q, g in pairs])
    for _ in range(300):
        drawn = np.bincount(rng.integers(1, 41, 40), minlength=41)
        weight = drawn[owners].prod(axis=1)[order]
        thresholds.append(score[order][np.searchsorted(np.cumsum(weight), 0.02 * weight.sum())])
    low, high = np.quantile(thresholds, [0.025, 0.975])
    own = result.intervals([0.02])[0]
    assert own == pytest.approx((low, high), abs=0.4 * (high - low))
    assert 0.6 < (own[1] - own[0]) / (high - low) < 1.4


def test_shares_of_the_histogram_are_percentages_between_the_ends():
    shown = verify(*scene(5)).histogram(20)
    assert len(shown["genuine"]) == 20 and sum(shown["genuine"]) == pytest.approx(100, abs=1e-3)
    assert sum(shown["impostor"]) == pytest.approx(100, abs=1e-3) and -1 <= shown["low"] < shown["high"] <= 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({1: np.zeros(40, int), 4: np.ones(150, int)}, "one person"),
        ({2: np.ones(40, int), 5: np.ones(150, int)}, "pair"),
    ],
)
def test_sides_without_a_pair_of_one_kind_are_refused(changes, word):
    sides = scene()
    for side, values in changes.items():
        sides[side] = values
    with pytest.raises(InputError, match=word) as refused:
        verify(*sides)
    assert "\n" not in str(refused.value)


def test_a_rate_outside_0_and_1_is_refused():
    with pytest.raises(InputError, match="rate"):
        verify(*scene()).at(0)
