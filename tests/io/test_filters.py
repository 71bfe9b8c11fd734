"""Resampling and filters, and gaps in their way."""

import numpy as np
import pytest
import scipy.signal

from tsattr.io import read_wfdb, write_wfdb

from .records import RATE, amplitude, signal, sine


@pytest.mark.parametrize("resample", [100.0, 125.0, 360.0, 500.0])
def test_resampling_keeps_a_sine(tmp_path, resample):
    x = read_wfdb(write_wfdb(sine(7.0), tmp_path / "s"), resample=resample)
    assert x.attrs["sampling_rate"] == resample
    assert x.sizes["time"] == round(20 * resample)
    np.testing.assert_allclose(x.time, np.arange(x.sizes["time"]) / resample)
    size, phase = amplitude(x, 7.0)
    assert size == pytest.approx(1, abs=0.003)
    assert phase == pytest.approx(0, abs=0.002)


def test_resampling_removes_what_would_alias(tmp_path):
    header = write_wfdb(sine(80.0), tmp_path / "s")
    assert amplitude(read_wfdb(header), 80.0)[0] == pytest.approx(1, abs=1e-3)
    assert amplitude(read_wfdb(header, resample=100.0), 20.0)[0] < 0.01


def test_resampling_is_scipys_away_from_the_ends(tmp_path):
    header = write_wfdb(signal(), tmp_path / "s")
    x = read_wfdb(header, dtype="float64")
    y = read_wfdb(header, resample=100.0, dtype="float64")
    expected = scipy.signal.resample_poly(x.values, 2, 5, axis=1)
    np.testing.assert_allclose(y[:, 30:-30], expected[:, 30:-30], atol=1e-12)


def test_each_run_is_resampled_on_the_common_grid_and_gaps_stay(tmp_path):
    x = sine(3.0)
    x[0, 1003:2006] = np.nan  # edges on no point of the new grid
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=100.0)
    gap = (y.time >= 1003 / RATE - 1e-9) & (y.time < 2006 / RATE - 1e-9)
    np.testing.assert_array_equal(np.isnan(y[0]), gap)
    expected = np.sin(2 * np.pi * 3.0 * y.time)
    assert np.nanmax(np.abs(y[0] - expected)) < 0.04  # the worst is at the ends of runs
    inner = slice(10, 390)
    assert np.abs(y[0, inner] - expected[inner]).max() < 0.004


@pytest.mark.parametrize("resample", [100.0, 360.0])
def test_a_ramp_stays_a_ramp_up_to_its_ends(tmp_path, resample):
    x = signal(200, ("II",))
    x[0] = np.arange(200) - 100
    x[0, :90] = np.nan
    x[0, 111:] = np.nan
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=resample)[0]
    expected = y.time * RATE - 100
    assert np.nanmax(np.abs(y - expected)) < 0.02  # the ripple of the filter; constant extension is off by 0.2


@pytest.mark.parametrize("how", [{"resample": 100.0}, {"resample": 400.0}, {"band": (0.5, 40.0)}])
def test_nothing_crosses_a_gap(tmp_path, how):
    x = signal(2000)
    x[:, 900:950] = np.nan
    other = x.copy()
    other[:, :900] = 5.0
    a = read_wfdb(write_wfdb(x, tmp_path / "a"), **how)
    b = read_wfdb(write_wfdb(other, tmp_path / "b"), **how)
    after = a.time >= 950 / RATE
    np.testing.assert_array_equal(a[:, after.values], b[:, after.values])
    assert not np.array_equal(a[:, :100], b[:, :100])
    assert np.isfinite(a[:, after.values]).all()


@pytest.mark.parametrize(
    ("band", "kept", "removed"),
    [((5.0, 20.0), 10.0, 1.0), ((5.0, 20.0), 10.0, 60.0), ((None, 20.0), 1.0, 60.0), ((5.0, None), 60.0, 1.0)],
)
def test_the_band_keeps_what_is_inside_and_removes_what_is_outside(tmp_path, band, kept, removed):
    size, phase = amplitude(read_wfdb(write_wfdb(sine(kept), tmp_path / "in"), band=band), kept)
    assert size == pytest.approx(1, abs=0.01)
    assert phase == pytest.approx(0, abs=1e-3)
    assert amplitude(read_wfdb(write_wfdb(sine(removed), tmp_path / "out"), band=band), removed)[0] < 0.002


def test_the_amplitude_is_halved_at_the_limit(tmp_path):
    x = read_wfdb(write_wfdb(sine(20.0), tmp_path / "s"), band=(None, 20.0))
    assert amplitude(x, 20.0)[0] == pytest.approx(0.5, abs=0.002)
    assert "Butterworth" in x.attrs["processing"]


def test_a_run_too_short_to_filter_is_missing_and_said_so(tmp_path):
    x = signal(500, ("II",))
    x[0, 200:210] = np.nan
    x[0, 220:230] = np.nan
    header = write_wfdb(x, tmp_path / "s")
    with pytest.warns(UserWarning, match="10 samples lie in runs of 27 samples or less"):
        y = read_wfdb(header, band=(0.5, 40.0))
    assert np.isnan(y[0, 200:230]).all()
    assert np.isfinite(y[0, :200]).all()
    assert np.isfinite(y[0, 230:]).all()


def test_a_single_sample_between_gaps_is_resampled_to_itself(tmp_path):
    x = signal(500, ("II",))
    x[0, :] = np.nan
    x[0, 100] = 0.7
    y = read_wfdb(write_wfdb(x, tmp_path / "s"), resample=50.0)
    assert np.flatnonzero(np.isfinite(y[0])).tolist() == [20]
    assert y[0, 20].item() == pytest.approx(0.7, rel=2e-3)
