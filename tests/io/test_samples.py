"""Recordings cut into samples of equal length."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsattr.core.keys import sample_ids
from tsattr.io import read_input, split, write_netcdf

from .records import CODES, RATE, annotated, counts, signal


@pytest.mark.parametrize("length", ["1s", "1000 ms", 250, np.int64(250)])
def test_cells_go_where_they_should(length):
    x = annotated([10, 260, 510, 999])
    y = split(x, length)
    assert y.dims == ("sample", "lead", "time")
    for i in range(4):
        np.testing.assert_array_equal(y[i], x[:, 250 * i : 250 * i + 250])
    np.testing.assert_array_equal(y.sample, [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(y.time, np.arange(250) / RATE)
    np.testing.assert_allclose((y.sample + y.time).values.ravel(), x.time)
    assert (y.sample.attrs["units"], y.time.attrs["units"]) == ("s", "s")
    assert y.attrs == x.attrs
    assert y.lead.values.tolist() == ["I", "II", "V1"]


def test_coordinates_along_the_dim_are_cut_too():
    y = split(annotated([10, 260, 510, 999]), "1s").annotation
    assert y.dims == ("sample", "time")
    assert y.dtype == np.int16
    assert np.argwhere(y.values).tolist() == [[0, 10], [1, 10], [2, 10], [3, 249]]
    assert counts(y) == {"N": 4}
    assert y.attrs["flag_meanings"] == CODES["flag_meanings"]


def test_a_recording_that_starts_later_keeps_its_times_in_the_samples_coordinate():
    x = signal().isel(time=slice(250, 750))
    y = split(x, "1s")
    np.testing.assert_array_equal(y.sample, [1.0, 2.0])
    np.testing.assert_allclose(y.time, np.arange(250) / RATE, atol=1e-12)
    assert y.time[0] == 0


def test_the_rest_is_dropped_and_said_so():
    with pytest.warns(
        UserWarning,
        match=r"the last 100 of 1000 cells along 'time' \(from 3.6 on\) .* sample of '1.2s' and are dropped",
    ) as caught:
        y = split(signal(), "1.2s")
    assert caught[0].filename == __file__
    assert dict(y.sizes) == {"sample": 3, "lead": 3, "time": 300}


def test_the_whole_is_one_sample():
    assert dict(split(signal(), "4s").sizes) == {"sample": 1, "lead": 3, "time": 1000}
    assert dict(split(signal(), 1).sizes) == {"sample": 1000, "lead": 3, "time": 1}
    assert dict(split(signal(1), 1).sizes) == {"sample": 1, "lead": 3, "time": 1}


def test_variables_of_a_dataset_that_have_the_dim_are_cut():
    x = signal()
    ds = xr.Dataset({"ecg": x, "mean": x.mean("lead"), "age": 61, "gain": ("lead", [1, 2, 3])}, attrs={"site": "A"})
    y = split(ds, "2s")
    assert y.ecg.dims == ("sample", "lead", "time")
    assert y["mean"].dims == ("sample", "time")
    assert y.age.dims == ()
    assert y.gain.dims == ("lead",)
    assert y.attrs == ds.attrs
    xr.testing.assert_identical(y.ecg, split(x, "2s").rename("ecg"))


def test_without_a_coordinate_samples_are_known_by_their_first_cell():
    y = split(signal().drop_vars("time"), 500)
    assert y.sample.values.tolist() == [0, 500]
    assert "time" not in y.coords
    with pytest.raises(ValueError, match="needs a coordinate on dim 'time'"):
        split(signal().drop_vars("time"), "1s")


def test_dates_become_starts_and_time_differences():
    time = pd.date_range("2001-02-03", periods=48, freq="h")
    x = xr.DataArray(np.arange(48.0), dims="time", coords={"time": time})
    y = split(x, "1day")
    assert y.sample.values.tolist() == time[::24].values.tolist()
    assert y.time.dtype.kind == "m"
    np.testing.assert_array_equal(y.sample + y.time, time.values.reshape(2, 24))


def test_other_dims_and_names():
    x = xr.DataArray(np.arange(12.0).reshape(6, 2), dims=("lat", "lon"), coords={"lat": np.arange(50.0, 44.0, -1.0)})
    y = split(x, "3deg", dim="lat", sample_dim="band")
    assert y.dims == ("band", "lat", "lon")
    assert y.band.values.tolist() == [50.0, 47.0]
    assert y.lat.values.tolist() == [0.0, -1.0, -2.0]


def test_months_of_unlike_length_make_years():
    x = xr.DataArray(np.arange(60), dims="time", coords={"time": pd.date_range("2000-01-01", periods=60, freq="MS")})
    assert split(x, 12).sample.dt.year.values.tolist() == [2000, 2001, 2002, 2003, 2004]


def test_samples_are_saved_and_known_by_their_start(tmp_path):
    y = split(annotated([5]).rename("ecg"), "1s")
    write_netcdf(y, tmp_path / "a.nc")
    xr.testing.assert_identical(read_input(tmp_path / "a.nc"), y)
    assert len(set(sample_ids(y.sample.values, 4).tolist())) == 4


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"length": "5s"}, "a sample of '5s' is longer than dim 'time', which has 1000 cells"),
        (None, {"length": 1001}, "a sample of 1001 is longer than dim 'time'"),
        (None, {"length": 0}, "number of cells >= 1 or an extent with a unit, such as '10s', got 0"),
        (None, {"length": True}, "got True"),
        (None, {"length": 2.5}, "got 2.5"),
        (None, {"length": "1.501s"}, r"'1.501s' is 375.25 cells along 'time', .* such as 375, or resample"),
        (None, {"length": "1ms"}, "is 0.25 cells along 'time'"),
        (None, {"length": "250"}, "an extent is a number with a unit"),
        (None, {"length": "2deg"}, "'2deg' is not a size along dim 'time'"),
        (None, {"length": "1s", "dim": "lead"}, "labelled by"),
        (None, {"length": 1, "dim": "lead"}, r"dim 'lead' is labelled by .* drop them first, x.drop_vars\('lead'\)"),
        (None, {"length": 1, "dim": "tiem"}, r"no dim 'tiem' to cut; the dims are \['lead', 'time'\]"),
        (None, {"length": 1, "sample_dim": "time"}, "'time' is there already"),
        (
            lambda x: x.expand_dims("sample"),
            {"length": 1},
            r"'sample' is there already: .* x.isel\(sample=0, drop=True\)",
        ),
        (lambda x: x.assign_coords(sample="p1"), {"length": 1}, "'sample' is there already"),
        (
            lambda x: x[:, np.r_[:600, 700:1000]],
            {"length": 450},
            r"coordinate of dim 'time' is uneven \(a gap\?\).* x.drop_vars\('time'\)",
        ),
        (lambda x: x[:, np.r_[:600, 700:1000]], {"length": "1s"}, "not evenly spaced"),
        (lambda x: x[:, :0], {"length": "1s"}, "dim 'time' has no cells to cut"),
        (lambda x: x[:, :1], {"length": "1s"}, "longer than dim 'time', which has 1 cells"),
    ],
)
def test_what_cannot_be_cut(change, options, message):
    x = signal() if change is None else change(signal())
    with pytest.raises(ValueError, match=message):
        split(x, **options)


def test_a_gap_between_samples_is_no_matter():
    x = signal()[:, np.r_[:600, 700:1000]]
    y = split(x, 300)
    np.testing.assert_allclose(y.sample, [0, 1.2, 2.8])
    np.testing.assert_allclose((y.sample + y.time).values.ravel(), x.time)
