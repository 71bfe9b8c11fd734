"""Means and modes as baselines."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from .inputs import X, ecg, fill


def test_mean_is_over_time_unless_told_otherwise():
    x = X.copy()
    x[0, 1, :30] = np.nan
    expected = np.broadcast_to(np.nanmean(x, 2, keepdims=True), X.shape)
    np.testing.assert_allclose(fill(b.Mean(), x, ecg()), expected, atol=1e-12)
    np.testing.assert_allclose(fill(b.Mean("lead"), X, ecg())[:, 0], X.mean(1), atol=1e-12)
    everything = fill(b.Mean(), X, Axes(("lead", "beat"), (3, 60)))
    np.testing.assert_allclose(everything, np.broadcast_to(X.mean((1, 2), keepdims=True), X.shape), atol=1e-12)


def test_a_fitted_mean_is_over_the_time_known_by_its_attributes():
    train = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4), dims=("sample", "t", "place"), coords={"t": ("t", [0.0, 1, 2], {"axis": "T"})}
    )
    np.testing.assert_array_equal(b.Mean.fit(train).values.values, train.values.mean((0, 1)))


def test_mode_is_the_most_frequent_value_the_smallest_at_a_tie():
    table = Axes(("feature",), (3,), {"feature": np.array(["a", "b", "c"])})
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, 2.0, 1.0, 2.0], "b": [7.0, 7.0, 3.0, 3.0, 9.0], "c": [4.0, np.nan, 4.0, 5.0, 5.0]}
    )
    np.testing.assert_array_equal(fill(b.Mode.fit(frame), np.zeros((1, 3)), table), [[2, 3, 4]])


def test_mode_takes_what_most_rows_miss_to_be_missing():
    frame = pd.DataFrame(
        {
            "a": [np.nan, np.nan, np.nan, 1.0, 1.0],  # three of five
            "b": [np.nan, np.nan, 2.0, 7.0, 7.0],
            "c": [0.11, 0.12, np.nan, 0.13, 0.14],
        }
    )
    nothing = np.zeros((1, 3))
    table = Axes(("feature",), (3,), {"feature": np.array(["a", "b", "c"], object)})
    np.testing.assert_array_equal(fill(b.Mode.fit(frame, missing="value"), nothing, table), [[np.nan, 7.0, 0.11]])
    np.testing.assert_array_equal(fill(b.Mode.fit(frame), nothing, table), [[1.0, 7.0, 0.11]])
    half = frame[["a"]].iloc[1:]  # no more than half
    one = Axes(("feature",), (1,), {"feature": np.array(["a"], object)})
    assert fill(b.Mode.fit(half, missing="value"), np.zeros((1, 1)), one).item() == 1
    seldom = np.concatenate([np.random.default_rng(0).normal(size=40), [np.nan] * 60])[:, None]
    assert np.isnan(fill(b.Mode.fit(seldom, missing="value"), np.zeros((1, 1)), one)).all()
    with pytest.raises(ValueError, match="no value of a is more frequent than others"):
        bind(b.Mode.fit(seldom), one)
    with pytest.raises(ValueError, match="missing is one of"):
        b.Mode.fit(frame, missing="left out")


def test_mode_leaves_missing_values_out_and_needs_a_value_that_stands_out():
    values = np.array([0.0, 0.0, 0.0, *[np.nan] * 6, 0.5, 1.0, 1.1, 0.9, 0.2])[:, None]
    one = Axes(("feature",), (1,), {"feature": np.array(["dose"], object)})
    assert fill(b.Mode.fit(values), np.ones((1, 1)), one).item() == 0
    measured = np.random.default_rng(0).normal(size=(400, 1))
    for reference in (measured, np.concatenate([measured, measured[:30]])):
        with pytest.raises(ValueError, match="no value of dose is more frequent than others"):
            bind(b.Mode.fit(reference), one)
    assert fill(b.Mode.fit(measured.round(0)), np.ones((1, 1)), one).item() == 0
