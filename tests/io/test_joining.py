"""Samples put together again along the recording they were cut from."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr import ecg
from tsattr.datasets import simulate_ecg
from tsattr.io import join, split

from .records import annotated, signal


def by_loops(values, starts, overlap):
    """What the docstring says, cell by cell, of values (samples, cells)."""
    n, k = max(starts) + values.shape[1], values.shape[1]
    joined = np.full(n, np.nan)
    for t in range(n):
        top = bottom = 0.0
        for a, s in zip(values, starts):
            if 0 <= (j := t - s) < k and (overlap == "sum" or not np.isnan(a[j])):
                w = 1 - abs(2 * j + 1 - k) / (k + 1) if overlap == "centre" else 1.0
                top, bottom = top + w * a[j], bottom + w
        if bottom:
            joined[t] = top if overlap == "sum" else top / bottom
    return joined


@pytest.mark.parametrize("overlap", ["mean", "centre", "sum"])
@pytest.mark.parametrize(
    ("size", "starts"), [(4, [0, 4, 8]), (4, [0, 1, 2, 6]), (5, [9, 0, 3]), (1, [2, 0, 1]), (6, [0, 20])]
)
def test_cells_are_weighted_as_by_loops(overlap, size, starts):
    values = np.random.default_rng(0).normal(size=(len(starts), size))
    values[0, size // 2] = np.nan
    x = xr.DataArray(
        values,
        dims=("sample", "time"),
        coords={"sample": 3.5 + np.array(starts) * 0.25, "time": np.arange(size) * 0.25},
    )
    y = join(x if size > 1 else x.drop_vars("time").assign_coords(sample=starts), overlap=overlap)
    np.testing.assert_allclose(y, by_loops(values, starts, overlap), rtol=1e-13)
    if size > 1:
        np.testing.assert_allclose(y.time, 3.5 + np.arange(y.size) * 0.25)


@pytest.mark.parametrize("step", [None, "1s", "500ms", 150])
def test_what_split_cuts_is_joined_again(step):
    x = annotated([10, 260, 510, 999]).astype("float32")
    y = join(split(x, "1s", step=step))
    assert (y.dims, y.dtype) == (x.dims, x.dtype)
    xr.testing.assert_allclose(y, x, rtol=1e-6)
    np.testing.assert_array_equal(y.annotation, x.annotation)
    assert y.annotation.attrs == x.annotation.attrs
    assert y.attrs.pop("overlap", None) == (None if step in (None, "1s") else "mean")
    assert y.attrs == x.attrs


@pytest.mark.parametrize(
    "x",
    [
        signal(40),
        signal(40).drop_vars("time"),
        signal(40).assign_coords(time=pd.date_range("2001", periods=40, freq="h")),
    ],
)
@pytest.mark.parametrize("step", [8, 4, 2])
def test_of_dates_and_of_cells_without_labels_too(x, step):
    pieces = split(x, 8, step=step)
    whole = join(pieces, overlap="centre")
    xr.testing.assert_allclose(whole.drop_attrs(), x.drop_attrs())
    xr.testing.assert_allclose(join(pieces.isel(sample=slice(None, None, -1)), overlap="centre"), whole)


def test_the_attribution_of_a_long_record_adds_up_and_beats_count_once():
    record = simulate_ecg(1, duration=12, seed=5).squeeze("sample", drop=True)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12 * 200, 1)).double()
    pieces = split(record.ecg.astype(float), "2s", step="1s")
    ds = ta.explain(net, pieces, ta.IntegratedGradients(steps=4))
    over = join(ds.attribution, overlap="sum")
    assert over.sizes["time"] == record.sizes["time"]
    np.testing.assert_allclose(over.sum(), ds.attribution.sum(), rtol=1e-12)
    beats = ecg.beats(record.r_peak)
    sums = ecg.by_beat(over, beats)
    np.testing.assert_allclose(sums.signed.sum(), ds.attribution.sum(), rtol=1e-12)
    assert int(join(split(record.r_peak, "2s", step="1s")).sum()) == int(record.r_peak.sum())


def test_a_result_keeps_what_has_no_time():
    x = split(signal(), "1s")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(750, 1)).double()
    ds = ta.explain(net, x, ta.IntegratedGradients(steps=4))
    whole = join(ds)
    assert whole.attribution.sizes == {"lead": 3, "time": 1000}
    assert whole.attrs == ds.attrs
    kept = [name for name in ds.data_vars if "sample" in ds[name].dims and "time" not in ds[name].dims]
    assert kept
    for name in kept:
        xr.testing.assert_identical(whole[name], ds[name])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda x: join(x, overlap="max"), "overlap is one of mean, centre, sum, got 'max'"),
        (lambda x: join(x[0]), r"needs the dims 'sample' and 'time', as `split` gives them; no \['sample'\]"),
        (lambda x: join(x.drop_vars("sample")), "a coordinate 'sample' that says where each sample starts"),
        (lambda x: join(x.assign_coords(sample=[0.0, 1.0, 1.0, 2.0])), "samples start twice at 1.0"),
        (lambda x: join(x.assign_coords(sample=[0.0, 1.0, 2.0, 3.002])), "start between cells of 'time', 0.004 apart"),
        (lambda x: join(x.assign_coords(sample=list("abcd"))), "which say no place in a recording"),
        (lambda x: join(x[:0]), "0 samples, of which 0 have no place"),
        (lambda x: join(x.assign_coords(sample=[0.0, 1.0, np.nan, 3.0])), "4 samples, of which 1 have no place"),
        (lambda x: join(x[..., ::-1]), "'time' falls within a sample"),
        (lambda x: split(signal(), "1s", step="2s"), "a step of '2s' leaves out cells between samples of '1s'"),
    ],
)
def test_what_cannot_be_joined_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        wrong(split(signal(), "1s"))


def test_dates_of_no_sample_are_missing_and_complex_numbers_are_weighted():
    x = split(signal(), "1s").isel(sample=[0, 2])
    dates = x.copy(data=np.full(x.shape, np.datetime64("2020-01-01", "ns")))
    np.testing.assert_array_equal(np.isnat(join(dates).isel(lead=0)), np.repeat([False, True, False], x.sizes["time"]))
    over = split(signal(), "1s", step="0.5s")
    np.testing.assert_allclose(join(over * 1j, overlap="sum"), join(over.astype(float), overlap="sum") * 1j)


def test_samples_of_several_records_are_not_merged():
    a, b = (
        split(
            xr.DataArray(np.arange(6.0) + k, dims="time", coords={"time": 0.5 * np.arange(6) + start}), "1s"
        ).assign_coords(record=("sample", [name] * 3))
        for k, name, start in ((0, "100", 0.0), (50, "101", 1.5))
    )
    both = xr.concat([a, b], "sample")
    with pytest.raises(ValueError, match=r"several recordings \(record: 100, 101\).*join each by itself"):
        join(both)
    for name, one in both.groupby("record"):
        whole = a if name == "100" else b
        np.testing.assert_array_equal(join(one), join(whole))
