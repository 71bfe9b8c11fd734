from itertools import permutations

import numpy as np
import pytest

from tsattr.metrics import (
    against_truth,
    aup,
    aur,
    auroc,
    average_precision,
    chance,
    mean_rank,
    pointing_game,
    relevance_mass,
    relevance_rank,
    top1,
)

METRICS = [aup, aur, auroc, average_precision, mean_rank, pointing_game, relevance_mass, relevance_rank]
# What a constant map scores, given the share of truth.
CONSTANT = {
    auroc: lambda share: 0.5 + 0 * share,
    mean_rank: lambda share: 0.5 + 0 * share,
    aur: lambda share: 0 * share,
}


@pytest.mark.parametrize(
    ("metric", "expected"),
    # Ranking: in, out, in, out, out; truth of two cells.
    [
        (auroc, 5 / 6),
        (aup, (1 / 2 + 2 / 3 + 1 / 2 + 1) / 4),
        (aur, (1 + 1 / 2) / 2),
        (mean_rank, (4.5 + 2.5) / 2 / 5),
        (average_precision, (1 + 2 / 3) / 2),
        (pointing_game, 1),
        (relevance_mass, 8 / 15),
        (relevance_rank, 0.5),
    ],
)
def test_known_answers(metric, expected):
    score, truth = np.array([[1.0, 5.0, 3.0, 4.0, 2.0]]), np.array([[False, True, True, False, False]])
    np.testing.assert_allclose(metric(score, truth), [expected], rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_and_inverted_maps(metric):
    truth = np.zeros((2, 3, 4), dtype=bool)
    truth[0, 1], truth[1, :, 2] = True, True
    best = 1 - truth.mean((1, 2)) / 2 if metric is mean_rank else np.ones(2)
    np.testing.assert_allclose(metric(truth * 1.0, truth), best)
    worst = metric(1.0 - truth, truth)
    assert np.all(worst < 0.5)
    assert np.all(worst <= chance(metric, truth * 1.0, truth))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_map_scores_at_chance(metric, value):
    truth = np.zeros((2, 4, 5), dtype=bool)
    truth[0, :2, :3], truth[1, 0, 0] = True, True
    level = CONSTANT.get(metric, lambda share: share)(np.array([6 / 20, 1 / 20]))
    score = np.full(truth.shape, value)
    np.testing.assert_allclose(metric(score, truth), level, rtol=1e-12)
    np.testing.assert_allclose(chance(metric, score, truth), level, rtol=1e-12)
    if metric is not aur:  # its chance depends on the map
        other = np.random.default_rng(0).normal(size=truth.shape)
        np.testing.assert_allclose(chance(metric, other, truth), level, rtol=1e-12)


@pytest.mark.parametrize("metric", [m for m in METRICS if m is not average_precision])
def test_chance_is_the_mean_over_all_orders_of_the_cells(metric):
    score, truth = np.array([5.0, 1.0, 1.0, 0.5, 0.0, 2.0]), np.array([[True, False, False, True, False, False]])
    orders = np.array(list(permutations(score)))
    mean = metric(orders, np.repeat(truth, len(orders), 0)).mean()
    assert mean == pytest.approx(chance(metric, score[None], truth)[0], rel=1e-12)


@pytest.mark.parametrize("metric", [pointing_game, relevance_rank, auroc, mean_rank])
def test_ties_are_the_mean_over_their_orders(metric):
    score, truth = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([False, True, False, False, True])
    broken = [score + np.array([0, *order, 0]) for order in permutations([0.0, 0.1, 0.2])]
    np.testing.assert_allclose(
        metric(score[None], truth[None])[0],
        np.mean([metric(s[None], truth[None])[0] for s in broken]),
        rtol=1e-12,
    )


@pytest.mark.parametrize("metric", METRICS)
def test_cells_that_are_nan_take_no_part(metric):
    rng = np.random.default_rng(1)
    score, truth = rng.uniform(size=(3, 10)), np.arange(10) % 3 == np.arange(3)[:, None]
    padded = np.concatenate([score, np.full((3, 4), np.nan)], axis=1)
    inside = np.concatenate([truth, np.ones((3, 4), dtype=bool)], axis=1)
    np.testing.assert_array_equal(metric(padded, inside), metric(score, truth))
    np.testing.assert_array_equal(chance(metric, padded, inside), chance(metric, score, truth))


@pytest.mark.parametrize("metric", METRICS)
def test_without_truth_there_is_no_score(metric):
    score = np.array([[1.0, 2.0], [1.0, np.nan], [np.nan, np.nan], [1.0, 2.0]])
    truth = np.array([[False, False], [False, True], [True, True], [True, False]])
    assert np.isnan(metric(score, truth)).tolist() == [True, True, True, False]
    assert metric(score[:0], truth[:0]).shape == (0,)


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_is_its_samples(metric):
    rng = np.random.default_rng(2)
    score, truth = rng.uniform(size=(4, 3, 6)).round(1), rng.uniform(size=(4, 3, 6)) < 0.3
    single = [metric(score[i : i + 1], truth[i : i + 1])[0] for i in range(4)]
    np.testing.assert_array_equal(metric(score, truth), single)


def test_everything_true():
    score, truth = np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3), dtype=bool)
    assert np.isnan(auroc(score, truth)).all()
    for metric in (aup, average_precision, pointing_game, relevance_mass, relevance_rank):
        assert metric(score, truth) == [1.0]
    assert (aur(score, truth), mean_rank(score, truth)) == ([0.5], [0.5])


def test_tolerance_widens_along_the_last_axis_only():
    truth = np.zeros((1, 3, 9), dtype=bool)
    truth[0, 1, 4] = True
    point = np.zeros((1, 3, 9))
    near, far, beside = point.copy(), point.copy(), point.copy()
    near[0, 1, 6], far[0, 1, 7], beside[0, 2, 4] = 1, 1, 1
    assert [pointing_game(s, truth, tolerance=2)[0] for s in (near, far, beside)] == [1, 0, 0]
    assert chance(pointing_game, point, truth, tolerance=2)[0] == pytest.approx(5 / 27)
    unscored = np.where(truth, np.nan, 1.0)
    assert np.isnan(pointing_game(unscored, truth, tolerance=2)[0])


def test_top1_is_the_best_group():
    scores = np.array([[0.2, 0.7, 0.1], [0.5, 0.5, 0.0], [np.nan, 0.1, 0.2]])
    truth = np.array([[False, True, False], [True, False, False], [True, True, False]])
    np.testing.assert_array_equal(top1(scores, truth), [1.0, 0.5, 0.0])


@pytest.mark.parametrize("metric", METRICS)
def test_input_that_makes_no_sense_is_refused(metric):
    truth = np.array([[True, False]])
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(1, 2\)"):
        metric(np.ones((1, 3)), truth)
    with pytest.raises(ValueError, match="score\\[None\\]"):
        metric(np.ones(2), truth[0])
    with pytest.raises(TypeError, match="boolean, not int64"):
        metric(np.ones((1, 2)), truth.astype(np.int64))
    with pytest.raises(ValueError, match="1 are infinite"):
        metric(np.array([[1.0, np.inf]]), truth)


def test_mass_needs_one_sign():
    with pytest.raises(ValueError, match="-1"):
        relevance_mass(np.array([[1.0, -1.0]]), np.array([[True, False]]))


def by_hand(score, truth, of):
    """The mean of precision or recall over many thresholds, cell by cell."""
    scaled = (score - score.min()) / (score.max() - score.min())
    thresholds = (np.arange(20_000) + 0.5) / 20_000
    total = 0.0
    for tau in thresholds:
        above = scaled >= tau
        total += (above & truth).sum() / (above.sum() if of == "precision" else truth.sum())
    return total / len(thresholds)


@pytest.mark.parametrize("decimals", [1, 8])
def test_areas_over_the_threshold_are_what_thresholds_one_by_one_give(decimals):
    rng = np.random.default_rng(3)
    score, truth = rng.exponential(size=30).round(decimals), rng.uniform(size=30) < 0.3
    # Each of at most 30 steps is misplaced by at most half a grid cell.
    assert aup(score[None], truth[None])[0] == pytest.approx(by_hand(score, truth, "precision"), abs=30 / 40_000)
    assert aur(score[None], truth[None])[0] == pytest.approx(by_hand(score, truth, "recall"), abs=30 / 40_000)


@pytest.mark.parametrize("cells", [20, 400, 5000])
def test_areas_over_the_threshold_against_scikit_learn(cells):
    from sklearn.metrics import auc, precision_recall_curve

    rng = np.random.default_rng(4)
    score, truth = rng.uniform(size=cells), rng.uniform(size=cells) < 0.2
    precision, recall, threshold = precision_recall_curve(truth, (score - score.min()) / np.ptp(score))
    for metric, curve in ((aup, precision[:-1]), (aur, recall[:-1])):
        found = metric(score[None], truth[None])[0]
        # The same steps, ...
        assert found == pytest.approx((np.diff(threshold) * curve[1:]).sum(), rel=1e-12)
        # ... of which the authors' code joins the ends by straight lines.
        between = (np.diff(threshold) * np.abs(np.diff(curve))).sum() / 2
        assert abs(found - auc(threshold, curve)) <= between + 1e-12
        # Of evenly spread scores, neighbours are about 1 / cells apart.
        assert between < 4 / cells


def test_mean_rank_is_auroc_on_another_scale():
    rng = np.random.default_rng(5)
    score, truth = rng.uniform(size=(6, 4, 10)).round(1), rng.uniform(size=(6, 4, 10)) < 0.3
    share = truth.mean((1, 2))
    np.testing.assert_allclose(mean_rank(score, truth), share / 2 + (1 - share) * auroc(score, truth), rtol=1e-12)


def test_areas_do_not_depend_on_scale():
    rng = np.random.default_rng(6)
    score, truth = rng.normal(size=(3, 20)), rng.uniform(size=(3, 20)) < 0.4
    for metric in (aup, aur):
        np.testing.assert_allclose(metric(1e-30 * score - 1e-30, truth), metric(score, truth), rtol=1e-9)


def test_all_measures_at_once():
    rng = np.random.default_rng(7)
    score, truth = rng.uniform(size=(3, 20)), rng.uniform(size=(3, 20)) < 0.2
    found = against_truth(score, truth, tolerance=1)
    assert sorted(found) == sorted(f"{m.__name__}{end}" for m in METRICS for end in ("", "_chance"))
    for metric in METRICS:
        more = {"tolerance": 1} if metric is pointing_game else {}
        np.testing.assert_array_equal(found[metric.__name__], metric(score, truth, **more))
        np.testing.assert_array_equal(found[f"{metric.__name__}_chance"], chance(metric, score, truth, **more))
    signed = score - 0.5  # the mass is that of the positive part; the ranks are those of the signed scores
    found = against_truth(signed, truth)
    np.testing.assert_array_equal(found["auroc"], auroc(signed, truth))
    np.testing.assert_array_equal(found["relevance_mass"], relevance_mass(np.maximum(signed, 0), truth))
