"""Noise round the input."""

import numpy as np
import pytest
from scipy import stats

from tsattr.core import baselines as b

from .inputs import LEADS, X, array, ecg, fill


def test_gaussian_is_centred_on_the_input():
    sigma = {"I": 0.1, "II": 1.0, "V1": 3.0}
    drawn = np.stack([fill(b.Gaussian(sigma), X, ecg(), draw=d) for d in range(40)])
    for c, s in enumerate(sigma.values()):
        assert stats.kstest(((drawn - X)[:, :, c] / s).reshape(-1), "norm").pvalue > 0.01


@pytest.mark.parametrize(
    ("centre", "sigma", "low", "high"),
    [
        (0.0, 1.0, -1.0, 1.0),
        (0.9, 0.5, -1.0, 1.0),
        (0.2, 2.0, 0.0, None),
        (0.2, 0.5, None, 0.3),
        (3.0, 0.5, -1.0, 1.0),
        (-4.0, 1.0, 0.0, 2.0),
    ],
)
def test_gaussian_is_truncated_not_clipped(centre, sigma, low, high):
    x = np.full((20, 3, 60), centre)
    drawn = fill(b.Gaussian(sigma, low, high), x, ecg(20)).reshape(-1)
    a, z = (-np.inf if low is None else low - centre) / sigma, (np.inf if high is None else high - centre) / sigma
    assert stats.kstest(drawn, stats.truncnorm(a, z, centre, sigma).cdf).pvalue > 0.01
    assert len(np.unique(drawn)) == len(drawn)  # no mass on a bound


def test_a_very_wide_gaussian_is_uniform_and_a_far_input_comes_inside():
    wide = fill(b.Gaussian(1e6, -1.0, 1.0), X, ecg())
    assert stats.kstest(wide.reshape(-1), "uniform", (-1, 2)).pvalue > 0.01
    for far in (-500.0, 500.0):
        inside = fill(b.Gaussian(0.5, -1.0, 1.0), np.full_like(X, far), ecg())
        np.testing.assert_allclose(inside, np.sign(far), atol=0.01)
        assert (np.abs(inside) <= 1).all()


def test_gaussian_bounds_by_channel():
    low = array([-1.0, 0.0, 5.0], lead=LEADS)
    drawn = fill(b.Gaussian(1.0, low, low + 0.5), X, ecg())
    assert ((drawn >= low.values[:, None]) & (drawn <= low.values[:, None] + 0.5)).all()


@pytest.mark.parametrize("sigma", [0.0, -1.0, {"I": 1.0, "II": 0.0}])
def test_gaussian_needs_a_width(sigma):
    with pytest.raises(ValueError, match="Gaussian needs sigma > 0, got"):
        b.Gaussian(sigma)
