"""Adjusted scores and paired intervals: planted effects, coverage, and what must not be claimed."""

import numpy as np
import pytest
from scipy import stats

from tsattr.metrics import pairs


def test_an_additive_table_is_recovered_whatever_is_left_out():
    rng = np.random.default_rng(0)
    method, fill = rng.normal(size=5), rng.normal(size=4)
    table = method[:, None] + fill
    own = np.zeros((5, 4), bool)
    own[0, 0] = own[1, 1] = own[2, :2] = True
    spoilt = np.where(own, 99.0, table)  # what is left out has no say
    np.testing.assert_allclose(pairs.adjusted(spoilt, own), method + fill.mean(), atol=1e-12)


def test_with_nothing_left_out_it_is_the_mean():
    table = np.random.default_rng(1).normal(size=(3, 4, 6))
    np.testing.assert_allclose(pairs.adjusted(table, np.zeros((3, 4), bool)), table.mean(1), atol=1e-12)


def test_an_excuse_from_the_hardest_fill_is_no_advantage():
    # Both methods are alike; the second fill takes more away. A plain mean of the rest would favour the first method.
    table = np.array([[1.0, 9.0], [1.0, 0.0]])
    own = np.array([[False, True], [False, False]])
    found = pairs.adjusted(table, own)
    assert found[0] == pytest.approx(found[1])


def test_where_methods_share_no_fill_nothing_is_left_out():
    own = np.array([[False, True], [True, False]])
    assert not pairs.left_out(own).any()
    assert not pairs.left_out(np.array([[True, True], [False, False]])).any()
    table = np.array([[1.0, 2.0], [3.0, 5.0]])
    np.testing.assert_allclose(pairs.adjusted(table, own), [1.5, 4.0])


def test_a_sample_that_one_method_lacks_is_lost_to_all():
    table = np.ones((2, 2, 3))
    table[0, 0, 1] = np.nan
    found = pairs.adjusted(table, np.zeros((2, 2), bool))
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, [0, 2]]).all()


def binomial(experiments, chance=0.95, tail=1e-4):
    """The shares of covering intervals that a nominal coverage allows, but for one run of five thousand."""
    return stats.binom.isf([1 - tail, tail], experiments, chance) / experiments


@pytest.mark.parametrize("number", [2, 3, 6, 10, 40])
def test_intervals_of_few_blocks_cover_as_they_say(number):
    # percentile intervals cover .50, .73, .84 and .90 with 2, 3, 6 and 10
    values = np.random.default_rng(2).normal(1.0, 2.0, size=(2000, number, 4)).reshape(2000, -1)
    found = pairs.bootstrap(values, np.repeat(np.arange(number), 4), resamples=10)
    low, high = binomial(2000)
    assert low <= np.mean((found.low <= 1) & (found.high >= 1)) <= high


def test_intervals_of_unequal_blocks_cover():
    """Ten patients, three of whom have most of the samples; what a patient adds is common to all the patient's samples."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 20, 30, 40])
    values = rng.normal(size=(2000, 10))[:, patient] + 0.5 * rng.normal(size=(2000, len(patient)))
    found = pairs.bootstrap(values, patient, resamples=10)
    assert (
        0.95 <= np.mean((found.low <= 0) & (found.high >= 0)) <= 0.995
    )  # three count for most: it errs on the side of width
    equal = pairs.bootstrap(values[:, :10], resamples=10)
    assert np.mean(found.high - found.low) > 1.5 * np.mean(equal.high - equal.low)


def test_the_interval_of_equal_blocks_is_students():
    means = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    found = pairs.bootstrap(np.repeat(means, 3), np.repeat(np.arange(5), 3), level=0.9)
    expected = stats.t.interval(0.9, 4, means.mean(), stats.sem(means))
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)


def test_blocks_widen_the_interval_by_what_the_theory_says():
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=60), 10)  # ten copies of each: 60 numbers, not 600
    block = np.repeat(np.arange(60), 10)
    width = lambda f: float(f.high - f.low)  # noqa: E731
    alone, together = (width(pairs.bootstrap(values, b)) for b in (None, block))
    freedom = stats.t.isf(0.025, 59) / stats.t.isf(0.025, 599)
    assert together / alone == pytest.approx(freedom * np.sqrt(599 / 59), rel=1e-9)
    assert together == pytest.approx(width(pairs.bootstrap(values[::10])), rel=1e-9)


@pytest.mark.parametrize(("methods", "number"), [(10, 60), (10, 10), (4, 6), (3, 6)])
def test_equal_methods_are_rarely_told_apart_of_many_pairs(methods, number):
    # up to 45 pairs of equals: each by itself at 95 % would err in most experiments, together they err in one of twenty
    rng = np.random.default_rng(4)
    one, other = np.triu_indices(methods, 1)
    wrong = 0
    for k in range(400):
        scores = rng.normal(size=(methods, number))
        wrong += pairs.bootstrap(scores[one] - scores[other], resamples=500, seed=k).apart.any()
    assert wrong / 400 <= binomial(400, 0.06, 1e-3)[1]
    assert wrong / 400 >= binomial(400, 0.03, 1e-3)[0]  # nor is the test blunt


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(5)
    common = rng.normal(0, 5, size=200)  # what pairing takes away
    a, b = common + 0.5 + rng.normal(size=200), common + rng.normal(size=200)
    assert pairs.bootstrap(a - b).apart
    assert not pairs.bootstrap(a - rng.permutation(b)).apart


def test_equal_values_and_one_block():
    found = pairs.bootstrap(np.array([[0.0, 0, 0], [1, 1, 1]]))
    assert found.apart.tolist() == [False, True]
    assert found.low.tolist() == found.high.tolist() == [0, 1]
    found = pairs.bootstrap(np.arange(5.0), np.zeros(5))
    assert found.mean == 2
    assert np.isnan(found.low)
    assert not found.apart


def test_missing_values_are_left_out():
    v = np.array([1.0, np.nan, 3.0, np.nan, 2.0])
    assert pairs.bootstrap(v).mean == 2
    assert np.isnan(pairs.bootstrap(np.full(4, np.nan)).mean)


def test_one_seed_one_answer_and_blocks_that_do_not_fit():
    v = np.random.default_rng(6).normal(size=(3, 30)) + 0.4
    one, again = (pairs.bootstrap(v, seed=1) for _ in range(2))
    assert one.low.tolist() == again.low.tolist()
    assert one.apart.tolist() == again.apart.tolist()
    with pytest.raises(ValueError, match="blocks names 3 samples"):
        pairs.bootstrap(v[0], np.arange(3))


def test_rows_that_share_no_block_are_judged_together_too():
    values = np.full((2, 12), np.nan)
    values[0, :6], values[1, 6:] = 5 + np.arange(6) / 10, np.arange(6) - 2.5
    found = pairs.bootstrap(values)
    assert found.apart.tolist() == [True, False]


def test_intervals_are_those_of_bootstrap():
    values, block = np.random.default_rng(0).normal(size=(3, 2, 12)), np.arange(12) // 2
    values[0, 1, 3] = np.nan
    found = pairs.bootstrap(values, block, level=0.9)
    for ours, theirs in zip(pairs.intervals(values, block, level=0.9), (found.mean, found.low, found.high)):
        np.testing.assert_array_equal(ours, theirs)
