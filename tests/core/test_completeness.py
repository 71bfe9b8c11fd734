"""How far a map's sum is from what it should be: one rule for methods, scores, ensembles and reports."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.completeness import incompleteness
from tsattr.labels.results import completeness

X = xr.DataArray(np.random.default_rng(0).normal(size=(4, 5)), dims=("sample", "time"))


def squares(x):
    return (x**2).sum(1)


def test_the_error_is_relative_to_the_change_or_to_contributions_that_cancel():
    total, change, size = torch.tensor([[3.0, 1.0, 0.0, torch.nan], [2.0, 0.0, 0.0, 1.0], [1.0, 4.0, 0.0, 1.0]])
    gap, error = incompleteness(total, change, size)
    np.testing.assert_array_equal(gap, [1, 1, 0, np.nan])
    np.testing.assert_array_equal(error, [0.5, 0.25, 0, np.nan])


@pytest.mark.parametrize("steps", [1, 2])
def test_explain_evaluate_and_an_ensemble_of_one_model_say_the_same(steps):
    zero = ta.baselines.Constant(0.0)
    ds = ta.explain(squares, X, ta.IntegratedGradients(zero, steps=steps, rule="gauss-legendre"))
    found = completeness(
        ds.attribution.sum("time"), ds.prediction - ds.reference, (ds.attribution**2).sum("time") ** 0.5
    )
    np.testing.assert_allclose(ds.completeness_gap, found["completeness_gap"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.completeness_error, found["completeness_error"], rtol=0, atol=1e-12)
    scores = ta.evaluate(squares, X, ds, fills={"zero": zero}, metrics=["completeness"])
    np.testing.assert_allclose(scores.completeness.sel(fill="zero"), ds.completeness_error, rtol=0, atol=1e-12)
    twice = ta.explain(
        ta.models.Ensemble([squares, squares]), X, ta.IntegratedGradients(zero, steps=steps, rule="gauss-legendre")
    )
    np.testing.assert_allclose(twice.completeness_error, ds.completeness_error, rtol=0, atol=1e-12)
    assert twice.completeness_gap.attrs == twice.completeness_error.attrs == ds.completeness_gap.attrs
