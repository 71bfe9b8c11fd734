"""Baselines of fields: what they are made of, what they put where, and what they say of themselves."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr import climate as c
from tsattr.labels.parsing import read

b, g = ta.baselines, ta.groups
RNG = np.random.default_rng(3)
TIMES = pd.date_range("1996-03-01", periods=72, freq="MS")
SST = xr.DataArray(
    20 + 5 * np.cos(2 * np.pi * np.arange(72) / 12)[:, None, None] + RNG.normal(size=(72, 2, 3)),
    dims=("time", "lat", "lon"),
    coords={"time": TIMES, "lat": [5.0, -5.0], "lon": [0.0, 120.0, 240.0]},
    attrs={"units": "degC"},
)
X, _ = c.histories(SST, lags=5)
X = X.isel(sample=slice(20, None, 7))


def replaced(baseline, x=X, draws=1):
    """What takes the place of every cell: of a sum, the input less its attribution."""
    ds = ta.explain(lambda x: x.flatten(1).sum(1), x, ta.Occlusion(g.Cells(), baseline, draws=draws), batch_size=4096)
    return x - ds.attribution


def first_draw(baseline, x=X, seed=0):
    rows = torch.as_tensor(np.array(x.values))
    inputs = read(x, None, None, None)
    from tsattr.core.keys import Key, sample_ids

    key = Key(seed, sample_ids(inputs.sample_coord, len(x)), torch.arange(len(x)), np.zeros(len(x), np.int64))
    return inputs.bind(baseline, "baseline").fill(rows, torch.ones_like(rows, dtype=torch.bool), key).numpy()


def test_a_period_is_its_mean():
    state = c.State.period(SST, "1997", "1998")
    expected = np.mean([SST.values[t] for t in range(72) if TIMES[t].year in (1997, 1998)], 0)
    np.testing.assert_allclose(replaced(state), np.broadcast_to(expected, X.shape), rtol=1e-12)
    assert state.source == "mean of 24 times, 1997-01-01..1998-12-01"
    one = c.State.period(SST, "1997-12")
    np.testing.assert_array_equal(one.value.values, SST.sel(time="1997-12-01"))
    with pytest.raises(ValueError, match="the field has no time between 1880 and 1890"):
        c.State.period(SST, "1880", "1890")


def test_a_neutral_composite_by_an_index():
    index = c.nino34(SST - SST.mean("time"))
    neutral = abs(index) < 3
    state = c.State.composite(SST, neutral, "neutral")
    expected = np.mean([SST.values[t] for t in range(72) if abs(float(index[t])) < 3], 0)
    np.testing.assert_allclose(state.value.values, expected, rtol=1e-12)
    assert state.source.startswith(f"neutral, mean of {int(neutral.sum())} times, ")
    with pytest.raises(ValueError, match="no time at which the condition holds"):
        c.State.composite(SST, abs(index) > 99)
    with pytest.raises(TypeError, match="where is boolean along 'time'"):
        c.State.composite(SST, index)
    with pytest.raises(ValueError, match="align"):
        c.State.composite(SST, neutral.isel(time=slice(9)))


def test_an_ensemble_mean_is_that_of_each_samples_own_time():
    members = xr.concat([X + k for k in range(3)], "member")
    np.testing.assert_allclose(replaced(c.State.ensemble(members)), X + 1, rtol=1e-12)
    shuffled = c.State.ensemble(members.isel(sample=slice(None, None, -1)))
    np.testing.assert_allclose(replaced(shuffled), X + 1, rtol=1e-12)


def test_the_climatology_of_each_lags_own_month():
    x = X.assign_coords(lag=[-5, -4, -3, -2, -1])
    clim = b.Climatology.fit(SST.sel(time=slice("1997", "2000")))
    expected = np.empty(X.shape)
    for s in range(X.sizes["sample"]):
        for k in range(5):
            month = pd.Timestamp(X.time.values[s, k]).month
            chosen = [SST.values[t] for t in range(72) if TIMES[t].month == month and 1997 <= TIMES[t].year <= 2000]
            expected[s, k] = np.mean(chosen, 0)
    np.testing.assert_allclose(replaced(clim, x), expected, rtol=1e-12)
    for order in (("lag", "lon", "sample", "lat"), ("lat", "sample", "lon", "lag")):
        turned = x.transpose(*order)
        np.testing.assert_allclose(replaced(clim, turned).transpose(*X.dims), expected, rtol=1e-12)
    assert "48 times 1997-01-01..2000-12-01" in repr(clim)


def test_a_climatology_by_cftime_and_a_composite_climatology():
    dates = xr.date_range("1996-03-01", periods=72, freq="MS", calendar="noleap", use_cftime=True)
    field = SST.assign_coords(time=dates)
    x = c.histories(field, lags=5)[0].isel(sample=slice(20, None, 7))
    np.testing.assert_allclose(replaced(b.Climatology.fit(field), x), replaced(b.Climatology.fit(SST)), rtol=1e-12)
    warm = SST.isel(time=np.arange(72) >= 36)
    found = replaced(b.Climatology.fit(warm))
    january = np.mean([SST.values[t] for t in range(36, 72) if TIMES[t].month == 1], 0)
    at = np.argwhere(X.time.dt.month.values == 1)
    assert len(at)
    for s, k in at:
        np.testing.assert_allclose(found[s, k], january, rtol=1e-12)


def test_raw_fields_with_a_climatology_are_anomalies_with_zero():
    clim = SST.groupby("time.month").mean("time")
    anomalies = SST.groupby("time.month") - clim
    x_anomaly, _ = c.histories(anomalies, lags=5)
    x_anomaly = x_anomaly.sel(sample=X.sample)
    usual = torch.as_tensor((X - x_anomaly).values)
    w = torch.as_tensor(RNG.normal(size=(5 * 6, 4)))
    net = lambda x: (x.flatten(1) @ w).tanh().sum(1)  # noqa: E731
    raw = lambda x, usual: net(x - usual)  # noqa: E731
    method = ta.IntegratedGradients(b.Climatology.fit(SST), steps=20, rule="gauss-legendre")
    a = ta.explain(raw, X, method, context={"usual": usual.numpy()})
    zero = ta.IntegratedGradients(b.Constant(0.0), steps=20, rule="gauss-legendre")
    expected = ta.explain(net, x_anomaly, zero)
    np.testing.assert_allclose(a.attribution, expected.attribution, rtol=1e-9, atol=1e-12)


# ---- persistence


def test_persistence_repeats_the_last_state_whatever_the_order():
    last = X.isel(lag=-1, drop=True).broadcast_like(X)
    np.testing.assert_array_equal(first_draw(c.Persistence()), last.transpose(*X.dims))
    backward = X.isel(lag=slice(None, None, -1))
    np.testing.assert_array_equal(first_draw(c.Persistence(), backward), last.transpose(*X.dims))
    with pytest.raises(KeyError, match="no dim 'time'"):
        replaced(c.Persistence("time"))


def test_persistence_takes_the_last_known_value_where_ice_came():
    x = X.copy(deep=True)
    x[0, 3:, 0, 0] = np.nan
    x[1, :, 1, 1] = np.nan
    found = first_draw(c.Persistence(), x)
    np.testing.assert_array_equal(found[0, :, 0, 0], np.full(5, x.values[0, 2, 0, 0]))
    np.testing.assert_array_equal(found[0, :, 1, 2], np.full(5, x.values[0, 4, 1, 2]))
    ds = ta.explain(lambda x: torch.nan_to_num(x).flatten(1).sum(1), x, ta.IntegratedGradients(c.Persistence()))
    np.testing.assert_array_equal(np.isnan(ds.attribution), np.isnan(x))
    assert float(abs(ds.completeness_gap).max()) < 1e-9


# ---- draws


@pytest.mark.parametrize("by", ["month", "season"])
def test_draws_are_of_the_samples_own_season(by):
    train, _ = c.histories(SST.sel(time=slice("1999")), lags=5)
    method = ta.IntegratedGradients(c.SameSeason.fit(train, by=by), steps=1, draws=12, per_draw=True)
    x = X.isel(sample=slice(3))
    ds = ta.explain(lambda x: x.flatten(1).sum(1), x, method)
    drawn = (x - ds.attribution_draw).transpose("sample", "draw", ...)  # of a sum
    season = lambda month: month if by == "month" else month % 12 // 3  # noqa: E731
    for s in range(3):
        mine = season(int(x.sample.dt.month[s]))
        pool = train.isel(sample=[season(int(m)) == mine for m in train.sample.dt.month])
        which = [np.flatnonzero(np.isclose(pool, d).all((1, 2, 3))) for d in drawn[s].values]
        assert all(len(w) == 1 for w in which)
        first = [int(w[0]) for w in which[: pool.sizes["sample"]]]
        assert len(set(first)) == min(12, pool.sizes["sample"])  # without replacement


def test_what_same_season_refuses():
    train, _ = c.histories(SST.sel(time=slice("1996-03", "1996-09")), lags=5)
    with pytest.raises(ValueError, match=r"no sample of month \[.*\], which the input has"):
        replaced(c.SameSeason.fit(train))
    with pytest.raises(ValueError, match="needs the dates of the input's samples"):
        replaced(c.SameSeason.fit(train), X.drop_vars("sample"))
    with pytest.raises(ValueError, match="needs the dates of the reference's samples"):
        replaced(c.SameSeason.fit(train.drop_vars("sample")))
    with pytest.raises(ValueError, match="by is 'month' or 'season', got 'day'"):
        c.SameSeason.fit(train, by="day")


def test_a_surrogate_along_the_lags_keeps_each_places_spectrum():
    x, _ = c.histories(SST, lags=24)
    x = x.isel(sample=slice(3))
    found = first_draw(b.PhaseRandomised("lag"), x)
    power = lambda v: abs(np.fft.rfft(v, axis=1))  # noqa: E731
    np.testing.assert_allclose(power(found), power(x.values), rtol=1e-9)
    assert abs(found - x.values).max() > 0.5


# ---- what they say of themselves


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (c.State.period(SST, "1997", "1998"), "State(mean of 24 times, 1997-01-01..1998-12-01: <lat 2, lon 3: sha256 "),
        (c.State(20.0, "mild"), "State(mild: 20.0)"),
        (c.State(20.0), "State(20.0)"),
        (c.Persistence(), "Persistence(dim='lag')"),
        (b.Climatology.fit(SST), "72 times 1996-03-01..2002-02-01"),
    ],
)
def test_provenance_is_kept_in_the_file(baseline, words, tmp_path):
    ds = ta.explain(lambda x: x.flatten(1).sum(1), X, ta.IntegratedGradients(baseline, steps=1))
    ds.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as back:
        assert words in back.attrs["baseline"]
        assert back.attribution.attrs["input_units"] == "degC"
        xr.testing.assert_equal(back.time, X.time)


def test_states_compare_by_value():
    assert c.State.period(SST, "1997") == c.State.period(SST, "1997")
    assert c.State.period(SST, "1997") != c.State.period(SST, "1998")
    assert len({c.State(1.0), c.State(1.0), c.State(1.0, "other")}) == 2


def zero_on(x, value=0.0, **settings):
    return ta.explain(
        lambda x: torch.nan_to_num(x).flatten(1).sum(1),
        x,
        ta.IntegratedGradients(b.Constant(value), steps=1),
        **settings,
    )


def test_a_zero_baseline_on_absolute_fields_warns():
    poles = SST - xr.DataArray([0, 20], dims="lat")  # zero lies in the range of the field, but not of most places
    levels = SST + xr.DataArray([0.0, 40, -60], dims="lon")
    with pytest.warns(
        ta.ExplanationWarning, match=r"at 100% of the places of x the baseline Constant\(value=0.0\) lies more"
    ):
        zero_on(c.histories(levels, lags=5)[0])
    zero_on(c.histories(SST - SST.mean("time"), lags=5)[0])
    zero_on(c.histories(poles, lags=5)[0])  # half of the places are no majority
    zero_on(c.histories(levels, lags=5)[0].isel(sample=slice(2)))  # ten values say little
    masked = c.histories(levels.where(levels.lon > 0), lags=5)[0]
    with pytest.warns(ta.ExplanationWarning, match="at 100% of the places"):
        zero_on(masked)
    with pytest.warns(ta.ExplanationWarning, match="of the places of x"):
        zero_on(masked.isel(sample=slice(2)), reference=masked)


def test_input_times_gradient_counts_from_zero_too():
    levels = SST + xr.DataArray([0.0, 40, -60], dims="lon")
    with pytest.warns(ta.ExplanationWarning, match="at 100% of the places of x"):
        ta.explain(lambda x: torch.nan_to_num(x).flatten(1).sum(1), c.histories(levels, lags=5)[0], ta.InputXGradient())


def test_a_record_that_runs_backwards_has_the_same_periods():
    assert c.State.period(SST.isel(time=slice(None, None, -1)), "2001", "2002") == c.State.period(SST, "2001", "2002")
