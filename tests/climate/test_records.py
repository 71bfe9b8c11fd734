"""Histories cut from a record, and labels along them."""

import re

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tsattr as ta
from tsattr import climate as c

g = ta.groups
MONTHS = pd.date_range("2001-01-01", periods=20, freq="MS")


def record(times=MONTHS, dtype=np.float32):
    rng = np.random.default_rng(1)
    return xr.DataArray(
        rng.normal(size=(2, len(times), 3)).astype(dtype),
        dims=("lat", "time", "lon"),
        coords={"time": times, "lat": [5.0, -5.0], "lon": [0.0, 120.0, 240.0]},
        attrs={"units": "degC"},
    )


def noleap(n):
    return [cftime.DatetimeNoLeap(2001 + k // 12, 1 + k % 12, 16) for k in range(n)]


def thirty(n):
    return [cftime.Datetime360Day(2001 + k // 12, 1 + k % 12, 30) for k in range(n)]


@pytest.mark.parametrize("times", [MONTHS, MONTHS + pd.offsets.MonthEnd(), noleap(20), thirty(20)])
@pytest.mark.parametrize("chunked", [False, True])
def test_every_history_and_what_comes_after_it(times, chunked):
    field = record(times)
    x, y = c.histories(field.chunk(time=7) if chunked else field, lags=4, lead=[1, 3])
    assert (x.chunks is not None) == (y.chunks is not None) == chunked
    x, y = x.load(), y.load()
    assert x.dims == ("sample", "lag", "lat", "lon")
    assert y.dims == ("sample", "lead", "lat", "lon")
    assert x.sizes["sample"] == y.sizes["sample"] == 20 - 3 - 3
    assert x.dtype == field.dtype
    assert x.attrs == y.attrs == field.attrs
    for s in range(x.sizes["sample"]):
        assert x.sample.values[s] == field.time.values[s + 3]
        for k, lag in enumerate([-4, -3, -2, -1]):
            at = s + 4 + lag
            assert x.lag.values[k] == lag
            assert x.time.values[s, k] == field.time.values[at]
            np.testing.assert_array_equal(x[s, k], field.isel(time=at))
        for k, lead in enumerate([1, 3]):
            assert y.time.values[s, k] == field.time.values[s + 3 + lead]
            np.testing.assert_array_equal(y[s, k], field.isel(time=s + 3 + lead))
    xr.testing.assert_equal(y.sample.drop_vars("sample"), x.sample.drop_vars("sample"))
    assert x.lag.units == y.lead.units == "month"


def test_histories_share_the_records_memory():
    field = record()
    x, _ = c.histories(field, lags=12)
    assert x.data.strides[0] == x.data.strides[1]  # a step of the sample and of the lag are one step of the record
    x, y = c.histories(field, lags=12, lead=1)
    assert "lead" not in y.dims
    assert int(y.lead) == 1
    assert y.dims == ("sample", "lat", "lon")


def test_variables_on_two_grids():
    field = record()
    both = xr.Dataset({"sst": field, "wind": field.isel(lon=slice(2)).rename(lat="y", lon="x")})
    x, y = c.histories(both, lags=3, lead=2)
    alone, truth = c.histories(field, lags=3, lead=2)
    xr.testing.assert_identical(x["sst"].drop_vars(("x", "y"), errors="ignore"), alone.rename("sst"))
    xr.testing.assert_identical(y["sst"].drop_vars(("x", "y"), errors="ignore"), truth.rename("sst"))
    assert x["wind"].dims == ("sample", "lag", "y", "x")


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (pd.date_range("2001-02-27", periods=20, freq="D"), "day"),
        (pd.date_range("2001-02-27", periods=20, freq="h"), "h"),
        (pd.date_range("2001-06-30", periods=20, freq="YS"), "year"),
        (pd.date_range("2001-06-30", periods=20, freq="10D"), None),
        (pd.date_range("2001-06-30", periods=20, freq="QS"), None),
        (xr.date_range("2001-01-01", periods=20, freq="D", calendar="noleap", use_cftime=True), "day"),
        (np.arange(20), None),
    ],
)
def test_the_unit_of_a_step(times, unit):
    x, _ = c.histories(record(times), lags=2)
    assert x.lag.attrs.get("units") == unit


def test_a_record_without_times_has_numbers_alone():
    x, y = c.histories(record().drop_vars("time"), lags=2, lead=1)
    assert set(x.coords) == {"lag", "lat", "lon"}
    assert set(y.coords) == {"lead", "lat", "lon"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lags": 0}, "lags and leads are numbers of steps of at least 1, got lags=0"),
        ({"lags": 2, "lead": [0, 1]}, "of at least 1, got lags=2"),
        ({"lags": 15, "lead": 6}, "15 lags and a lead of 6 need 21 steps along 'time'; the record has 20"),
    ],
)
def test_histories_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        c.histories(record(), **settings)


DAYS = pd.date_range("2001-01-01", periods=20, freq="D")


@pytest.mark.parametrize("times", [MONTHS, MONTHS + pd.offsets.MonthEnd(), noleap(20), DAYS, 0.1 * np.arange(20)])
@pytest.mark.parametrize("gap", [[6], [6, 7, 8], [15]])
def test_a_gap_is_refused_where_it_is(times, gap):
    field = record(times)
    ends = (re.escape(str(field.time.values[k])) for k in (gap[0] - 1, gap[-1] + 1))
    with pytest.raises(ValueError, match=r"'time' is not evenly spaced: {} is followed by {};".format(*ends)):
        c.histories(field.drop_isel(time=gap), lags=2)


@pytest.mark.parametrize("times", [MONTHS, noleap(20), DAYS, np.arange(20)])
def test_a_record_that_runs_backwards_or_repeats_itself_is_refused(times):
    field = record(times)
    for wrong in (field[:, ::-1], field.isel(time=[0, 1, 2, 2, 3])):
        with pytest.raises(ValueError, match=r"'time' does not increase: .*sort it"):
            c.histories(wrong, lags=2)


def test_netcdf_keeps_a_history(tmp_path):
    x, y = c.histories(record(), lags=3, lead=[1, 6])
    for name, data in (("x", x), ("y", y)):
        data.rename(name).to_netcdf(tmp_path / f"{name}.nc")
        with xr.open_dataarray(tmp_path / f"{name}.nc") as back:
            xr.testing.assert_identical(back.load(), data.rename(name))


# ---- labels


def test_bins_hold_their_lower_edge():
    lag = xr.DataArray(np.arange(-7, 0), dims="lag", attrs={"units": "month"})
    found = c.bins(lag, [-6, -3, 0])
    assert found.values.tolist() == [-1, 0, 0, 0, 1, 1, 1]
    assert found.flag_meanings == "-6..-3month -3..0month"
    far = xr.DataArray([np.nan, 0.0, 999.9, 1000.0, 5000.0], dims="lon", attrs={"units": "km"})
    assert c.bins(far, [0, 1000, 2000]).values.tolist() == [-1, 0, 0, 1, -1]
    with pytest.raises(ValueError, match="increasing numbers, got"):
        c.bins(far, [0, 0])


def test_a_partition_names_its_regions():
    y = record().isel(time=0)
    masks = {"north pacific": c.box(y, lat=(0, 90), lon=(100, 250)), "rest": c.box(y, lat=(-90, 0))}
    found = c.partition(masks)
    assert found.values.tolist() == [[-1, 0, 0], [1, 1, 1]]
    assert found.flag_meanings == "north_pacific rest"
    assert c.partition(masks, rest="elsewhere").values.tolist() == [[2, 0, 0], [1, 1, 1]]
    with pytest.raises(ValueError, match=r"regions \['a', 'b'\] overlap"):
        c.partition({"a": y.lat > 0, "b": y.lat > -9, "c": y.lat > 99})


def test_crossed_labels_are_every_combination_that_occurs():
    x, _ = c.histories(record(), lags=3)
    basin = xr.DataArray(["pacific", "", "indian"], dims="lon", coords={"lon": x.lon})
    late = c.bins(x.lag, [-2, -1, 0])
    season = x.time.dt.season
    found = c.crossed(basin, late, season)
    names = found.flag_meanings.split()
    assert set(found.dims) == {"sample", "lag", "lon"}
    for s in range(4):
        for k in range(3):
            for j in range(3):
                parts = (str(basin.values[j]), ["", "-2..-1month", "-1..0month"][k], str(season.values[s, k]))
                number = int(found.isel(sample=s, lag=k, lon=j))
                assert (names[number] if number >= 0 else None) == ("/".join(parts) if all(parts) else None)
    assert len(names) == len(set(names)) == int(found.max()) + 1


def test_numbers_without_names_cross_too():
    a = xr.DataArray([3, -1, 7], dims="lon")
    found = c.crossed(a, xr.DataArray([0, 1], dims="lag"))
    assert found.flag_meanings == "3/0 3/1 7/0 7/1"
    assert found.sel(lag=1).values.tolist() == [1, -1, 3]


def test_labels_are_groups():
    x, _ = c.histories(record(dtype=float), lags=3)
    groups = {
        "seasons": g.Labelled(x.time.dt.season),
        "rings": g.Labelled(c.bins(c.distance(x, lat=5, lon=0), [0, 2000, 1e5])),
        "regions by lag": g.Labelled(c.crossed(c.partition({"a": x.lat > 0}, "b"), c.bins(x.lag, [-3, -1, 0]))),
    }
    names = {
        k: ta.explain(lambda x: x.flatten(1).sum(1), x, ta.Occlusion(v)).group.values.tolist()
        for k, v in groups.items()
    }
    assert names["seasons"] == ["DJF", "JJA", "MAM", "SON"]
    assert names["rings"] == ["0..2000km", "2000..100000km"]
    assert names["regions by lag"] == ["a/-3..-1month", "a/-1..0month", "b/-3..-1month", "b/-1..0month"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decimal_years_are_evenly_spaced_in_any_precision(dtype):
    years = (1970 + np.arange(50) / 12).astype(dtype)
    x, _ = c.histories(record(years), lags=3)
    assert x.sizes["sample"] == 48
    with pytest.raises(ValueError, match=r"not evenly spaced: .*field.reindex\(time=...\)"):
        c.histories(record(years).drop_isel(time=20), lags=3)
