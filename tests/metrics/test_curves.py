"""Curves with closed forms."""

import numpy as np
import pytest

from tsattr import metrics

SHARE = np.linspace(0, 1, 11)


def test_area_of_a_line_and_of_uneven_shares():
    assert metrics.area(1 - SHARE, SHARE) == pytest.approx(0.5)
    uneven = np.array([0, 0.1, 0.7, 1.0])
    assert metrics.area(3 * uneven + 1, uneven) == pytest.approx(2.5)  # the trapezoidal rule is exact for lines
    assert metrics.area(np.ones((2, 3, 11)), SHARE).shape == (2, 3)


def test_drop_reads_between_the_shares():
    curve = (1 - SHARE) ** 2
    assert metrics.drop(curve, SHARE, 0.2) == pytest.approx(1 - 0.64)
    assert metrics.drop(curve, SHARE, 0.25) == pytest.approx(1 - (0.64 + 0.49) / 2)
    assert metrics.drop(curve, SHARE, 0.0) == 0
    assert metrics.drop(curve, SHARE, 1.0) == 1


def test_signs_do_not_cancel_in_the_cumulative_change():
    # up by 1 and down by 1: nothing is left of it in the area of the drop
    curve = np.array([0.0, 1.0, 0.0])
    assert metrics.area(curve - curve[0], np.array([0, 0.5, 1])) == 0.5
    assert metrics.cumulative_change(curve, [0, 0.5, 1]) == pytest.approx((0 + 1) / 2 * 0.5 + (1 + 2) / 2 * 0.5)
    assert metrics.cumulative_change(-curve, [0, 0.5, 1]) == metrics.cumulative_change(curve, [0, 0.5, 1])
    # the same steps early and late
    early, late = [0.0, 1, 1, 1], [0.0, 0, 0, 1]
    assert metrics.cumulative_change(early, [0, 0.3, 0.6, 1]) > metrics.cumulative_change(late, [0, 0.3, 0.6, 1])


def test_correlation_and_misfit_of_subsets():
    rng = np.random.default_rng(0)
    change = rng.normal(size=(4, 30))
    assert metrics.sensitivity_n(2 * change + 3, change) == pytest.approx(np.ones(4))
    assert metrics.sensitivity_n(-change, change) == pytest.approx(-np.ones(4))
    noise = rng.normal(size=(4, 30))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(noise, change)]
    np.testing.assert_allclose(metrics.sensitivity_n(noise, change), expected, rtol=1e-12)
    assert np.isnan(metrics.sensitivity_n(np.full((4, 30), 0.1), change)).all()  # rounding is no variation
    assert metrics.infidelity(change, change) == pytest.approx(np.zeros(4))
    assert metrics.infidelity(5 * change, change) == pytest.approx(np.zeros(4))
    assert metrics.infidelity(3 * change, change, scaled=False) == pytest.approx(np.full(4, 4.0))
    assert metrics.infidelity(np.zeros((4, 30)), change) == pytest.approx(np.ones(4))
    best = (noise * change).sum(1) / (noise**2).sum(1)
    expected = ((best[:, None] * noise - change) ** 2).mean(1) / (change**2).mean(1)
    np.testing.assert_allclose(metrics.infidelity(noise, change), expected, rtol=1e-12)
    assert (metrics.infidelity(noise, change) <= 1).all()


@pytest.mark.parametrize(
    ("curve", "share", "words"),
    [
        ([1.0, 0.0], [0.0, 0.5], "from 0 to 1"),
        ([1.0, 0.0, 0.0], [0.0, 1.0], "shares along the last axis"),
        ([1.0], [0.0], "at least two"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0], "rise"),
    ],
)
def test_shares_that_make_no_curve(curve, share, words):
    with pytest.raises(ValueError, match=words):
        metrics.area(curve, share)


def test_a_drop_outside_the_shares():
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.drop([1.0, 0.0], [0.0, 1.0], 1.5)
