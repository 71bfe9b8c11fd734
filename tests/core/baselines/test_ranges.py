"""The far end of the valid range, and uniform draws from it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tsattr.core import baselines as b
from tsattr.core.axes import Axes

from .inputs import TRAIN, X, ecg, fill

RNG = np.random.default_rng(0)


def test_maximum_distance_is_at_least_half_the_range_away():
    x = RNG.uniform(-1, 2, size=(2, 3, 60))
    far = fill(b.MaximumDistance(-1.0, 2.0), x, ecg())
    assert set(np.unique(far)) == {-1.0, 2.0}
    assert (np.abs(far - x) >= 1.5).all()
    tie = np.full((1, 3, 60), 0.5)
    assert (fill(b.MaximumDistance(-1.0, 2.0), tie, ecg(1)) == -1).all()  # x' = low where x >= the middle


def test_maximum_distance_gives_a_linear_model_w_sign_x_1_plus_size_of_x():
    x = RNG.uniform(-1, 1, size=(1, 3, 60))
    w = RNG.normal(size=x.shape)
    attribution = w * (x - fill(b.MaximumDistance(-1.0, 1.0), x, ecg(1)))
    np.testing.assert_allclose(attribution, w * np.sign(x) * (1 + np.abs(x)), atol=1e-12)


@pytest.mark.parametrize("dims", list(itertools.permutations(["sample", "lead", "time"])))
def test_fitted_ranges_are_quantiles_over_samples_and_time(dims):
    fitted = b.MaximumDistance.fit(TRAIN.transpose(*dims).where(TRAIN > -3), (0.1, 0.9))
    values = np.where(TRAIN > -3, TRAIN, np.nan)
    low, high = np.nanquantile(values, [0.1, 0.9], axis=(0, 2))
    far = fill(fitted, X, ecg())
    np.testing.assert_allclose(far.min((0, 2)), low, rtol=1e-12)
    np.testing.assert_allclose(far.max((0, 2)), high, rtol=1e-12)


def test_ranges_of_a_table_are_by_column_and_by_dims_one_names():
    frame = pd.DataFrame({"a": [0.0, 10.0], "b": [5.0, 6.0]})
    table = Axes(("feature",), (2,), {"feature": np.array(["a", "b"])})
    np.testing.assert_array_equal(fill(b.MaximumDistance.fit(frame, (0, 1)), [[1.0, 6.0]], table), [[10, 5]])
    per_month = b.MaximumDistance.fit(TRAIN.rename(time="month"), (0, 1), over=())
    assert per_month.low.values.shape == (3, 60)
    with pytest.raises(ValueError, match=r"none of them 'record'; say which holds its samples: sample_dim="):
        b.Uniform.fit(TRAIN, sample_dim="record")


@pytest.mark.parametrize("kind", [b.MaximumDistance, b.Uniform])
def test_a_range_runs_upwards(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs low <= high, got low=2.0, high=1.0"):
        kind(2.0, 1.0)


def test_uniform_draws_by_channel():
    low, high = {"I": -1.0, "II": 0.0, "V1": 5.0}, {"I": 1.0, "II": 3.0, "V1": 5.5}
    drawn = np.stack([fill(b.Uniform(low, high), X, ecg(), draw=d) for d in range(40)], -1)
    for c, name in enumerate(low):
        values = drawn[:, c].reshape(-1)
        assert stats.kstest(values, "uniform", (low[name], high[name] - low[name])).pvalue > 0.01
    flat = drawn.reshape(-1, 40)
    assert np.abs(np.corrcoef(flat[:50]) - np.eye(50)).max() < 5 / np.sqrt(40)
    assert not np.array_equal(drawn[..., 0], fill(b.Uniform(low, high), X, ecg(), seed=1))
