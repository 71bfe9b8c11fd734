"""Masked arrays, as netCDF4 reads them: what is masked is missing, and the fill value underneath is no value."""

import numpy as np
import pytest
import torch

import tsattr as ta
from tsattr.core.arrays import Array
from tsattr.core.shift.detector import Detector

RNG = np.random.default_rng(0)
TRAIN, X = RNG.normal(size=(60, 6)), RNG.normal(size=(3, 6))
ICE = RNG.random(TRAIN.shape) < 0.1
NAN = np.where(ICE, np.nan, TRAIN)
MASKED = np.ma.masked_array(np.where(ICE, -9999.0, TRAIN), ICE)
b, CELLS = ta.baselines, ta.groups.Cells()


def model(rows):
    return rows.square().sum(1)


def logit(rows):
    return torch.where(rows.isnan(), 0, rows).sum(1)


def said(f, values):
    """What comes out, or what is said against it."""
    try:
        return f(values)
    except ValueError as error:
        return str(error)


FITS = {
    "Samples": b.Samples.fit,
    "Mode": b.Mode.fit,
    "MaximumDistance": b.MaximumDistance.fit,
    "Uniform": b.Uniform.fit,
    "Marginal": lambda r: b.Marginal.fit(r, dim="dim_1"),
    "AutoRegressive": lambda r: b.AutoRegressive.fit(r, 1, dim="dim_1"),
    "ConditionalGaussian": lambda r: b.ConditionalGaussian.fit(r, "dim_1"),
    "Generator": lambda r: b.Generator.fit(r, 2, dim="dim_1", epochs=2),
    "JointGenerator": lambda r: b.JointGenerator.fit(r, dim="dim_1", epochs=2),
    "Boundary": lambda r: b.Boundary.fit(logit, r, a=0),
    "Projection": lambda r: b.Projection.fit(ta.models.Coupling(6, 2).double(), r, a=0),
    "Constant": lambda r: b.Constant(r[0]),
    "Constant of labels": lambda r: b.Constant(dict(enumerate(r[0]))),
    "Detector": lambda r: Detector.fit(r, ta.core.axes.Axes(("dim_1",), (6,))).overall,
    "explain": lambda r: ta.explain(model, X, ta.Occlusion(CELLS, b.Mean()), reference=r)["shift"].values.tolist(),
    "x": lambda r: ta.explain(model, r, ta.Occlusion(CELLS, b.Mean())).attribution.values.tolist(),
    "truth": lambda r: ta.metrics.pointing_game(r, np.eye(60, 6) > 0).tolist(),
    "AFEX": lambda r: ta.AFEXRegressor(n_nets=1, max_epochs=2).fit(r, TRAIN[:, 0]).predict(X).tolist(),
    "a model's output": lambda r: ta.explain(
        ta.models.on_arrays(lambda x: r[: len(x), :1] + x[:, :1]), X, ta.Occlusion(CELLS), check=False
    ).prediction.values.tolist(),
}


@pytest.mark.filterwarnings("ignore::tsattr.ExplanationWarning")
@pytest.mark.parametrize("name", FITS)
def test_masked_is_missing(name):
    with_nan, with_mask = said(FITS[name], NAN), said(FITS[name], MASKED)
    assert repr(with_mask) == repr(with_nan)
    assert "9999" not in repr(with_mask)


def test_whole_numbers_that_are_masked_become_floats_and_others_stay():
    given = np.ma.masked_array([[1, 2], [3, -9999]], [[False, False], [False, True]])
    np.testing.assert_array_equal(Array.of(given).values, [[1.0, 2.0], [3.0, np.nan]])
    np.testing.assert_array_equal(Array.of([given[0], given[1]]).values, [[1.0, 2.0], [3.0, np.nan]])
    assert Array.of(given[:1]).values.dtype == given.dtype
    dates = np.ma.masked_array(np.array(["2001-01-01", "1900-01-01"], "M8[D]"), [False, True])
    assert np.isnat(Array.of(dates).values).tolist() == [False, True]


def test_flags_that_are_masked_are_refused_with_a_way():
    truth = np.ma.masked_array(np.ones((3, 6), bool), np.eye(3, 6) > 0)
    for call in (
        lambda: ta.explain(model, X, ta.Saliency(), valid=truth),
        lambda: ta.metrics.pointing_game(X, truth),
        lambda: ta.evaluate(model, X, ta.explain(model, X, ta.Saliency()), truth=truth),
    ):
        with pytest.raises(TypeError, match=r"itself masked: say what it is there, mask.filled\(False\)"):
            call()
    ds = ta.explain(model, X, ta.Saliency(), valid=truth.filled(False))
    np.testing.assert_array_equal(np.isnan(ds.attribution), np.eye(3, 6) > 0)
