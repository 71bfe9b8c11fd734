"""Draws from the pooled values of each series: frequencies, independence, and which series is whose."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.keys import Key

RNG = np.random.default_rng(0)
VALUES = RNG.exponential(size=(40, 3, 25)) * [[[1.0], [10.0], [100.0]]]
VALUES[RNG.random(VALUES.shape) < 0.3] = np.nan
TRAIN = xr.DataArray(VALUES, {"lead": ["I", "II", "V1"]}, ("sample", "lead", "time"))


def drawn(law, dims, shape, coords, n=400, seed=0):
    key = Key(seed, np.arange(n, dtype=np.uint64), torch.arange(n), np.zeros(n, int))
    rows = torch.zeros(n, *shape, dtype=torch.float64)
    bound = bind(law, Axes(dims, shape, coords, samples=n))
    assert bound.causal
    return bound.fill(rows, torch.ones_like(rows, dtype=torch.bool), key).numpy()


def test_values_are_those_that_occur_as_often_as_they_do():
    found = drawn(b.Marginal.fit(TRAIN), ("lead", "time"), (3, 9), {"lead": TRAIN.lead.values})
    for lead in range(3):
        pooled = VALUES[:, lead][~np.isnan(VALUES[:, lead])]
        assert np.isin(found[:, lead], pooled).all()
        assert stats.ks_2samp(found[:, lead].ravel(), pooled).pvalue > 0.01
    flat = found.reshape(400, -1)
    apart = np.corrcoef(flat.T)[np.triu_indices(27, 1)]
    assert np.abs(apart).max() < 5 / np.sqrt(400)  # of two cells of one series, and of two series


def test_every_value_of_a_short_series_is_drawn_equally_often():
    train = np.array([[1.0, 5.0, 2.0], [4.0, np.nan, 3.0]])
    found = drawn(b.Marginal.fit(train, dim="dim_1"), ("dim_1",), (3,), {}, n=4000)
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5]
    assert stats.chisquare(counts).pvalue > 0.01


def test_labels_and_orders():
    law = b.Marginal.fit(TRAIN.transpose("time", "lead", "sample"))
    coords = {"lead": np.array(["V1", "I"])}
    some = drawn(law, ("time", "lead"), (9, 2), coords)
    for k, lead in enumerate((2, 0)):
        assert np.isin(some[..., k], VALUES[:, lead]).all()
    turned = drawn(law, ("lead", "time"), (2, 9), coords)
    np.testing.assert_array_equal(turned, some.transpose(0, 2, 1))
    assert (drawn(law, ("lead", "time"), (2, 9), coords, seed=1) != turned).mean() > 0.9


def test_what_is_refused():
    with pytest.raises(KeyError, match="no dim 'time'"):
        b.Marginal.fit(TRAIN.rename(time="hour"))
    with pytest.raises(ValueError, match="1 series of the reference have no value at all"):
        b.Marginal.fit(TRAIN.where(TRAIN.lead != "II"))
    with pytest.raises(ValueError, match="lacks 1 of the input's labels along dim 'lead'"):
        bind(b.Marginal.fit(TRAIN), Axes(("lead", "time"), (1, 4), {"lead": np.array(["aVF"])}))
