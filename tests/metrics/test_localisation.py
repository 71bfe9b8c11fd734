from itertools import permutations

import numpy as np
import pytest

from tsattr.metrics import (
    auroc,
    average_precision,
    chance,
    pointing_game,
    relevance_mass,
    relevance_rank,
    top1,
)

METRICS = [auroc, average_precision, pointing_game, relevance_mass, relevance_rank]


@pytest.mark.parametrize(
    ("metric", "expected"),
    # Ranking: in, out, in, out, out; truth of two cells.
    [
        (auroc, 5 / 6),
        (average_precision, (1 + 2 / 3) / 2),
        (pointing_game, 1),
        (relevance_mass, 8 / 15),
        (relevance_rank, 0.5),
    ],
)
def test_known_answers(metric, expected):
    score, truth = np.array([[1.0, 5.0, 3.0, 4.0, 2.0]]), np.array([[False, True, True, False, False]])
    np.testing.assert_allclose(metric(score, truth), [expected], rtol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_and_inverted_maps(metric):
    truth = np.zeros((2, 3, 4), dtype=bool)
    truth[0, 1], truth[1, :, 2] = True, True
    np.testing.assert_allclose(metric(truth * 1.0, truth), 1)
    worst = metric(1.0 - truth, truth)
    assert np.all(worst < 0.5)
    assert np.all(worst <= chance(metric, truth * 1.0, truth))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_map_scores_at_chance(metric, value):
    truth = np.zeros((2, 4, 5), dtype=bool)
    truth[0, :2, :3], truth[1, 0, 0] = True, True
    share = np.array([0.5, 0.5]) if metric is auroc else np.array([6 / 20, 1 / 20])
    score = np.full(truth.shape, value)
    np.testing.assert_allclose(metric(score, truth), share, rtol=1e-12)
    np.testing.assert_allclose(
        chance(metric, np.random.default_rng(0).normal(size=truth.shape), truth), share, rtol=1e-12
    )


@pytest.mark.parametrize("metric", [pointing_game, relevance_rank, auroc])
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
    for metric in (average_precision, pointing_game, relevance_mass, relevance_rank):
        assert metric(score, truth) == [1.0]


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
