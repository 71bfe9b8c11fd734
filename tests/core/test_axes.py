from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from tsattr.core.arrays import Array
from tsattr.core.axes import Axes


class Day(datetime):
    """Stands in for a cftime date: it has a calendar and subtracts."""

    calendar = "noleap"


LEADS = np.array(["I", "II", "V1"])
TIME = np.array([0.0, 0.1, 0.2, 0.3])
ECG = Axes(("lead", "time"), (3, 4), {"lead": LEADS, "time": TIME}, samples=2)


def along(coord, units=None, dim="time"):
    return Axes((dim,), (len(coord),), {dim: np.asarray(coord)}, {} if units is None else {dim: units})


@pytest.mark.parametrize(
    ("axes", "size", "cells"),
    [
        (along(np.arange(9) / 500), "50ms", 25),
        (along(np.arange(9.0), "ms"), "50ms", 50),
        (along(np.arange(9.0), "days since 2000-01-01"), "1week", 7),
        (along(pd.date_range("2000-01-01", periods=9, freq="6h")), "1day", 4),
        (along(pd.timedelta_range(0, periods=9, freq="30min")), "2h", 4),
        (along([Day(2000, 1, d) for d in range(1, 9)]), "3days", 3),
        (along(np.arange(90, -91, -2.5), dim="lat"), "5deg", 2),
        (along(np.arange(0, 360, 2), "degrees_east", dim="x"), "30deg", 15),
        (along([0, 2, 4], "km", dim="depth"), "500 m", 0.25),
        (along([0, 1, 2], "months", dim="season"), "1year", 12),
        (along(np.arange(4)), 3, 3),
        (along([350.0, 355.0, 0.0, 5.0], dim="lon"), "10deg", 2),
        (along([5, 0, 355, 350], dim="longitude"), "10deg", 2),
        (along([350, 10], dim="lon"), "10deg", 0.5),
        (along(list(pd.date_range("2024-10-27", periods=5, freq="h", tz="Europe/Berlin"))), "2h", 2),
    ],
)
def test_sizes_in_cells(axes, size, cells):
    assert axes.cells(axes.dims[0], size) == pytest.approx(cells, rel=1e-12)


@pytest.mark.parametrize(
    ("axes", "size", "message"),
    [
        (Axes(("time",), (4,)), "1s", "needs a coordinate on dim 'time', which has none; give an int number of cells"),
        (along(np.arange(4.0), dim="depth"), "1m", "dim 'depth' has unit 'none', which is not known"),
        (along(np.arange(4.0), "furlong"), "1s", "dim 'time' has unit 'furlong', which is not known"),
        (along(np.arange(4.0)), "5deg", "'5deg' is not a size along dim 'time', whose coordinate is a time"),
        (along(["a", "b"], dim="lead"), "1s", "dim 'lead' is labelled by .* int numbers of cells"),
        (along([0.0, 1.0, 5.0]), "1s", "dim 'time' is not evenly spaced; give the size in cells, or interpolate"),
        (
            along([0.0, 2.0, 1.0]),
            "1s",
            r"runs to and fro: 2.0 is followed by 1.0; sort it, x.sortby\('time'\), or give sizes",
        ),
        (along([0.0, np.nan, 1.0]), "1s", "has no value in cell 1; give it one"),
        (
            along([0.0, 1.0, 1.0]),
            "1s",
            r"has 1.0 twice; give every cell a place of its own, x.assign_coords\(time=...\), or give",
        ),
        (
            along([350, 0, 355, 10], dim="lon"),
            "5deg",
            "0 is followed by 355; put it in order from west to east, or give",
        ),
        (
            along(pd.DatetimeIndex(["2024-10-27T02:00", "2024-10-27T02:00", "2024-10-27T03:00"])),
            "2h",
            "'time' has 2024-10-27T02:00:00.* twice; .* such as the time in UTC, or give sizes in cells, as an int",
        ),
    ],
)
def test_sizes_that_do_not_fit(axes, size, message):
    with pytest.raises(ValueError, match=message):
        axes.cells(axes.dims[0], size)


def test_an_unknown_dim():
    with pytest.raises(KeyError, match=r"no dim 'tme' to work along; the input's dims are \['lead', 'time'\]"):
        ECG.cells("tme", 3)


@pytest.mark.parametrize(
    "coord", [[10.0, 7.0, 6.0], [0.0, 3.0, 4.0], np.array(["2001-01-01", "2001-01-04", "2001-01-05"], "M8[D]")]
)
def test_a_line_runs_forward_whatever_its_unit(coord):
    steps = np.diff(along(coord, "furlong").line("time"))
    np.testing.assert_allclose(steps / steps[1], [3, 1])


@pytest.mark.parametrize("axes", [Axes(("time",), (3,)), along(["a", "b", "c"])])
def test_a_line_without_numbers_counts_cells(axes):
    assert axes.line("time").tolist() == [0, 1, 2]


# ---- alignment


def labelled(values, **coords):
    return Array.of(xr.DataArray(values, dims=tuple(coords), coords={d: c for d, c in coords.items() if c is not None}))


def test_align_by_label_in_any_order_of_dims_and_labels():
    full = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("lead", "time"), coords={"lead": LEADS, "time": TIME})
    for given in (
        full,
        full.T,
        full.isel(lead=[2, 0, 1], time=slice(None, None, -1)),
        full.assign_coords(time=TIME + 1e-12),
    ):
        np.testing.assert_array_equal(ECG.align(Array.of(given), "it"), full.values[None])


def test_align_takes_a_subset_of_dims_and_of_labels():
    assert ECG.align(Array.of(2.0), "it").shape == (1, 1, 1)
    more = labelled([9.0, 1.0, 3.0, 2.0], lead=["V6", "I", "V1", "II"])
    np.testing.assert_array_equal(ECG.align(more, "it"), [[[1.0], [2.0], [3.0]]])
    np.testing.assert_array_equal(ECG.align(Array.of({"V1": 3, "I": 1, "II": 2}), "it")[0, :, 0], [1, 2, 3])
    per_sample = ECG.align(labelled([5.0, 6.0], sample=None), "it")
    np.testing.assert_array_equal(per_sample, [[[5.0]], [[6.0]]])


def test_align_a_long_axis_by_nearest_values_in_any_order():
    n = 100_000  # all against all would be 80 GB
    time = np.arange(n) / 360
    shuffled = np.random.default_rng(0).permutation(n + 2)
    array = Array(shuffled - 1.0, ("time",), {"time": (shuffled - 1) / 360 * (1 + 1e-9)})
    np.testing.assert_array_equal(along(time).align(array, "it")[0], np.arange(n))
    with pytest.raises(ValueError, match=r"it lacks 1 of the input's labels along dim 'time', such as \[0.5\]"):
        along(np.array([0.0, 0.5])).align(Array(np.zeros(3), ("time",), {"time": np.array([0.0, 1.0, 0.4])}), "it")


def test_align_samples_by_label():
    axes = Axes((), (), samples=2, sample_coord=np.array(["p7", "p3"]))
    assert axes.align(labelled([3.0, 7.0], sample=["p3", "p7"]), "it").tolist() == [7.0, 3.0]


@pytest.mark.parametrize("double", ["p3", 3, 0.5, np.datetime64("2001-02-03")])
def test_labels_that_are_there_twice_are_matched_in_their_own_order_alone(double):
    other = {"p3": "p7", 3: 7, 0.5: 0.7}.get(double, np.datetime64("2001-05-31"))
    twice, once = np.array([double, other, double]), np.array([other, double])
    many, few = (Axes((), (), samples=len(own), sample_coord=own) for own in (twice, once))
    same = Array(np.arange(3.0), ("sample",), {"sample": twice})
    assert many.align(same, "it").tolist() == [0, 1, 2]
    for axes, given in ((many, same.coords["sample"][[1, 0, 2]]), (few, twice), (many, once)):
        with pytest.raises(
            ValueError, match=rf"'?{double}'? twice along dim 'sample': nothing says which is meant; give both"
        ):
            axes.align(Array(np.arange(float(len(given))), ("sample",), {"sample": given}), "it")


def test_align_a_bare_array_needs_the_shape_of_a_sample():
    values = np.arange(12.0).reshape(3, 4)
    for given in (values, torch.as_tensor(values)):
        np.testing.assert_array_equal(ECG.align(Array.of(given), "it"), values[None])


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (Array.of(np.zeros((4, 3))), ValueError, r"it has shape \(4, 3\), but a sample has shape \(3, 4\) \(dims"),
        (labelled([1.0, 2.0], month=None), ValueError, r"it has dim 'month', which the input lacks \(its dims"),
        (labelled([1.0, 2.0], time=None), ValueError, "it has 2 entries along dim 'time', the input has 4"),
        (labelled([1.0, 2.0], lead=["I", "II"]), ValueError, r"it lacks 1 .* along dim 'lead', such as \['V1'\]"),
        (labelled(np.zeros(4), time=TIME + 0.05), ValueError, "it lacks 4 of the input's labels along dim 'time'"),
        (Array.of({"I": 1.0, "aVR": 2.0}), KeyError, r"it names \['I', 'aVR'\], which are not labels of any one dim"),
        (Array.of({"I": 1.0}), ValueError, "it lacks 2 of the input's labels along dim 'lead'"),
    ],
)
def test_what_does_not_align(array, error, message):
    with pytest.raises(error, match=message):
        ECG.align(array, "it")
