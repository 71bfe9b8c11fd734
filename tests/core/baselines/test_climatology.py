import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from .inputs import fill

RNG = np.random.default_rng(0)

MONTHS = np.arange("1981-01", "1991-01", dtype="M8[M]").astype("M8[ns]")
LAT = np.array([-30.0, 0.0, 30.0])


def fields(dates, seed=0, dim="sample"):
    """A seasonal cycle of its own at each latitude, and weather."""
    month = dates.astype("M8[M]").astype(int) % 12
    cycle = np.array([3.0, 0.0, -5.0])[:, None] * np.cos(2 * np.pi * month / 12) + LAT[:, None]
    values = (cycle + np.random.default_rng(seed).normal(size=cycle.shape)).T
    return xr.DataArray(values, dims=(dim, "lat"), coords={dim: dates, "lat": LAT}, attrs={"units": "degC"})


TRAIN = fields(MONTHS)
LATER = fields(np.array(["2001-03-15", "2002-12-01", "2003-07-31"], dtype="M8[ns]"), seed=1)
CLIM = TRAIN.groupby("sample.month").mean()
WEIGHT = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def net(x):
    return torch.tanh((x * WEIGHT).sum(-1) / 30)


def test_samples_that_are_dates_get_the_mean_of_their_month():
    baseline = b.Climatology.fit(TRAIN, by="month", dim="sample")
    axes = Axes(("lat",), (3,), {"lat": LAT}, samples=3, sample_coord=LATER["sample"].values)
    expected = CLIM.sel(month=[3, 12, 7]).values
    np.testing.assert_allclose(fill(baseline, LATER.values, axes), expected, atol=1e-12)
    turned = Axes(("lat",), (2,), {"lat": LAT[[2, 0]]}, samples=3, sample_coord=LATER["sample"].values)
    np.testing.assert_allclose(fill(baseline, LATER.values[:, [2, 0]], turned), expected[:, [2, 0]], atol=1e-12)


@pytest.mark.parametrize("order", [("sample", "time", "lat"), ("lat", "sample", "time")])
def test_a_time_dim_of_each_sample(order):
    # Two members over the same years; the reference's samples are pooled with its times.
    members = xr.concat([fields(MONTHS, seed, "time") for seed in (0, 1)], "sample").transpose(*order)
    x = fields(MONTHS[:7], 2, "time").expand_dims("sample")
    expected = members.mean("sample").groupby("time.month").mean().sel(month=range(1, 8)).transpose("month", "lat")
    baseline = b.Climatology.fit(members)
    ds = ta.explain(lambda x: (x * WEIGHT).sum((1, 2)), x, ta.IntegratedGradients(baseline, steps=1))
    np.testing.assert_allclose(ds.attribution[0], WEIGHT.numpy() * (x[0].values - expected.values), atol=1e-12)


def test_a_climatology_of_itself_gets_nothing():
    usual = CLIM.sel(month=TRAIN["sample.month"]).drop_vars("month")
    baseline = b.Climatology.fit(TRAIN, dim="sample")
    ds = ta.explain(net, usual, ta.IntegratedGradients(baseline, steps=4))
    assert (abs(ds.attribution) < 1e-12).all()
    refit = b.Climatology.fit(usual, dim="sample")
    np.testing.assert_allclose(refit.fitted["mean"], baseline.fitted["mean"], atol=1e-12)


def test_raw_values_and_anomalies_get_the_same():
    baseline = b.Climatology.fit(TRAIN, dim="sample")
    usual = CLIM.sel(month=LATER["sample.month"]).drop_vars("month")
    anomaly = LATER - usual
    raw = ta.explain(
        lambda x, usual: net(x - usual) ** 2, LATER, ta.IntegratedGradients(baseline), context={"usual": usual}
    )
    found = ta.explain(lambda x: net(x) ** 2, anomaly, ta.IntegratedGradients(b.Constant(0.0)))
    np.testing.assert_allclose(raw.attribution, found.attribution, atol=1e-12)


def hours(calendar=None):
    if calendar:
        pytest.importorskip("cftime", reason="dates of other calendars are cftime's")
        return xr.date_range("2001-01-01", periods=4 * 366, freq="6h", calendar=calendar, use_cftime=True).values
    return np.datetime64("2000-01-01", "ns") + np.arange(4 * 366) * np.timedelta64(6, "h")


@pytest.mark.parametrize("by", ["month", "dayofyear", "hour"])
@pytest.mark.parametrize("calendar", [None, "noleap", "360_day"])
def test_the_parts_of_the_calendar(by, calendar):
    dates = hours(calendar)
    x = xr.DataArray(RNG.normal(size=(1, len(dates))), dims=("sample", "time"), coords={"time": dates})
    expected = x.groupby(f"time.{by}").mean().sel({by: x[f"time.{by}"]})
    axes = Axes(("time",), (len(dates),), {"time": dates})
    np.testing.assert_allclose(fill(b.Climatology.fit(x, by), x.values, axes), expected, atol=1e-12)


def test_cftime_samples():
    cftime = pytest.importorskip("cftime", reason="dates of other calendars are cftime's")
    dates = np.array([cftime.DatetimeNoLeap(2001, m, 1) for m in range(1, 13)])
    x = xr.DataArray(np.arange(12.0)[:, None], dims=("sample", "lat"), coords={"sample": dates})
    axes = Axes(("lat",), (1,), samples=2, sample_coord=dates[[4, 11]])
    np.testing.assert_array_equal(fill(b.Climatology.fit(x, dim="sample"), np.zeros((2, 1)), axes), [[4], [11]])


def test_harmonics_are_the_least_squares_fit_and_reach_phases_that_do_not_occur():
    waves = lambda m: np.stack([1 + 0 * m, np.cos(2 * np.pi * (m - 1) / 12), np.sin(2 * np.pi * (m - 1) / 12)], 1)  # noqa: E731
    some = TRAIN.where(~TRAIN["sample.month"].isin([2, 3]), drop=True)[:-3]
    seen = some["sample.month"].values
    expected = waves(np.arange(1, 13)) @ np.linalg.lstsq(waves(seen), some.values, rcond=None)[0]
    found = b.Climatology.fit(some, dim="sample", harmonics=1)
    np.testing.assert_allclose(found.fitted["mean"], expected, atol=1e-10)
    every = b.Climatology.fit(TRAIN, dim="sample", harmonics=0).fitted["mean"]
    np.testing.assert_allclose(every, np.broadcast_to(TRAIN.mean("sample"), (12, 3)), atol=1e-12)
    with pytest.raises(ValueError, match="harmonics=5 needs 11 phases of the cycle; the reference has 10"):
        b.Climatology.fit(some, dim="sample", harmonics=5)


def test_missing_cells_are_left_out():
    holes = TRAIN.where(TRAIN["sample.year"] > 1982)
    kept = TRAIN.sel(sample=TRAIN["sample.year"] > 1982)
    one, other = (b.Climatology.fit(t, dim="sample").fitted["mean"] for t in (holes, kept))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_numeric_cycle_starts_at_zero_whatever_the_piece():
    t = np.arange(30) * 0.1
    wave = np.sin(2 * np.pi * t / 0.5)
    train = xr.DataArray(wave[None], dims=("sample", "time"), coords={"time": t})
    baseline = b.Climatology.fit(train, by="500ms")
    piece = Axes(("time",), (7,), {"time": t[13:20] * 1000}, {"time": "ms"})
    np.testing.assert_allclose(fill(baseline, np.zeros((1, 7)), piece)[0], wave[13:20], atol=1e-12)
    with pytest.raises(ValueError, match="another number of steps in the cycle than the input's 10"):
        bind(baseline, Axes(("time",), (20,), {"time": np.arange(20) * 0.05}))


@pytest.mark.parametrize(
    ("reference", "settings", "message"),
    [
        (TRAIN.values, {}, "needs a reference with a coordinate along dim 'time', its times"),
        (TRAIN, {}, "coordinate along dim 'time'"),
        (TRAIN, {"dim": "lat"}, "by='month' needs dates along dim 'lat', whose coordinate is float64"),
        (TRAIN, {"dim": "sample", "by": "week"}, "by is one of month, dayofyear, hour along dates, got 'week'"),
        (
            xr.DataArray(np.zeros((1, 9)), dims=("sample", "time"), coords={"time": np.arange(9) / 10}),
            {"by": "250ms"},
            "by='250ms' is 2.5 steps of dim 'time'; a cycle is a whole number of steps",
        ),
    ],
)
def test_a_reference_that_is_refused(reference, settings, message):
    with pytest.raises(ValueError, match=message):
        b.Climatology.fit(reference, **settings)


def test_an_input_that_does_not_fit_a_climatology():
    half = b.Climatology.fit(TRAIN.where(TRAIN["sample.month"] < 7, drop=True), dim="sample")
    axes = Axes(("lat",), (3,), {"lat": LAT}, samples=3, sample_coord=LATER["sample"].values)
    with pytest.raises(ValueError, match=r"lacks month \[7, 12\], .* or with harmonics="):
        bind(half, axes)
    with pytest.raises(ValueError, match="dim 'sample' has no coordinate"):
        bind(half, Axes(("lat",), (3,), {"lat": LAT}, samples=3))


def test_provenance_of_a_climatology():
    baseline = b.Climatology.fit(TRAIN, dim="sample")
    assert "mean of 120 times 1981-01-01..1990-12-01, lat 3; cycle=12, harmonics=None: sha256" in repr(baseline)
    assert baseline == b.Climatology.fit(TRAIN.copy(), dim="sample")
    assert baseline != b.Climatology.fit(TRAIN[:-12], dim="sample")
