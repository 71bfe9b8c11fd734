"""Adjusted scores and paired intervals: planted effects, coverage, and what must not be claimed."""

import numpy as np
import pytest

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


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = [
        (found := pairs.bootstrap(rng.normal(1.0, 2.0, size=80), resamples=400, seed=k)).low <= 1.0 <= found.high
        for k in range(300)
    ]
    assert 0.90 < np.mean(covered) < 0.98  # of 300 experiments, about 3 standard errors round 0.95


def test_blocks_widen_the_interval_by_what_the_theory_says():
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=60), 10)  # ten copies of each: 60 numbers, not 600
    block = np.repeat(np.arange(60), 10)
    width = lambda f: float(f.high - f.low)  # noqa: E731
    alone, together = (width(pairs.bootstrap(values, b, resamples=4000)) for b in (None, block))
    assert together / alone == pytest.approx(np.sqrt(10), rel=0.08)
    once = width(pairs.bootstrap(values[::10], resamples=4000))
    assert together == pytest.approx(once, rel=0.05)


def test_equal_methods_are_rarely_told_apart_of_many_pairs():
    # 45 pairs of equals: each by itself at 95 % would err in most experiments, together they err in one of twenty
    rng = np.random.default_rng(4)
    one, other = np.triu_indices(10, 1)
    wrong = 0
    for k in range(100):
        scores = rng.normal(size=(10, 60))
        wrong += pairs.bootstrap(scores[one] - scores[other], resamples=500, seed=k).apart.any()
    assert wrong <= 14  # binomial: P(more than 14 of 100 at 0.05) < 0.0005


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
    v = np.random.default_rng(6).normal(size=30)
    assert pairs.bootstrap(v, seed=1).low == pairs.bootstrap(v, seed=1).low != pairs.bootstrap(v, seed=2).low
    with pytest.raises(ValueError, match="blocks names 3 samples"):
        pairs.bootstrap(v, np.arange(3))
