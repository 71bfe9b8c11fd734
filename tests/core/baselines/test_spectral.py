import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from ... import reference
from .inputs import LEADS, TIME, X, ecg, fill


def surrogate(x, axes=None, **changes):
    return fill(b.PhaseRandomised(), x, axes or ecg(), **changes)


# ---- surrogates


@pytest.mark.parametrize("n", [60, 59])
def test_periodograms_and_cross_spectra_are_kept(n):
    x = X[..., :n]
    found = surrogate(x, Axes(("lead", "time"), (3, n), {"lead": LEADS, "time": TIME[:n]}, samples=2))
    before, after = np.fft.rfft(x), np.fft.rfft(found)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-10)
    cross = [v[:, :, None] * v[:, None].conj() for v in (before, after)]
    np.testing.assert_allclose(cross[1], cross[0], atol=1e-10)
    np.testing.assert_allclose(found.mean(-1), x.mean(-1), atol=1e-12)
    assert np.abs(found - x).max() > 0.5
    if n % 2 == 0:
        np.testing.assert_allclose(after[..., -1], before[..., -1], atol=1e-10)


def test_phases_are_uniform_and_of_each_draw():
    turns = np.array([np.fft.rfft(surrogate(X, draw=d))[0, 0, 1:30] / np.fft.rfft(X)[0, 0, 1:30] for d in range(300)])
    assert np.abs(turns.mean(0)).max() < 4 / np.sqrt(300)
    assert np.abs((turns[:, :-1] * turns[:, 1:].conj()).mean(0)).max() < 4 / np.sqrt(300)
    assert not np.allclose(surrogate(X, draw=1), surrogate(X, draw=2))


def test_a_series_with_ends_missing_is_that_of_its_known_stretch():
    x = X.copy()
    x[0, :, :7], x[0, :, 51:] = np.nan, np.nan
    x[0, 1, :9] = np.nan  # the stretch is the sample's: this lead is bridged back to its start
    found = surrogate(x)
    short = x[:1, :, 7:51].copy()
    short[0, 1, :2] = short[0, 1, 2]
    axes = Axes(("lead", "time"), (3, 44), {"lead": LEADS, "time": TIME[:44]})
    np.testing.assert_allclose(found[0, :, 7:51], surrogate(short, axes)[0], atol=1e-12)
    np.testing.assert_allclose(found[1], surrogate(X)[1], atol=1e-12)


def test_holes_are_bridged_and_the_spectrum_of_that_is_kept():
    x = X.copy()
    x[0, 0, 20:25] = np.nan
    bridged = x.copy()
    bridged[0, 0, 19:26] = np.linspace(x[0, 0, 19], x[0, 0, 25], 7)
    np.testing.assert_allclose(surrogate(x), surrogate(bridged), atol=1e-12)
    np.testing.assert_allclose(np.abs(np.fft.rfft(surrogate(x))), np.abs(np.fft.rfft(bridged)), atol=1e-10)


def test_a_table_of_one_series_and_other_dims():
    field = np.random.default_rng(1).normal(size=(2, 4, 20, 3))
    axes = Axes(("lat", "time", "lon"), (4, 20, 3), samples=2)
    found = surrogate(field, axes)
    np.testing.assert_allclose(np.abs(np.fft.rfft(found, axis=2)), np.abs(np.fft.rfft(field, axis=2)), atol=1e-10)
    flat = surrogate(X[:, 0], Axes(("time",), (60,), {"time": TIME}, samples=2))
    np.testing.assert_allclose(flat, surrogate(X)[:, 0], atol=1e-12)


# ---- bands


def wave(f, n=60, rate=200.0):
    """A cosine that mirroring continues; f is a multiple of rate / (2 n)."""
    return np.cos(2 * np.pi * f * (np.arange(n) + 0.5) / rate)


def stopped(x, low, high, axes=None):
    return fill(b.BandStop(low, high), x, axes or ecg())


@pytest.mark.parametrize(
    ("low", "high", "gone"),
    [(10, 30, {20}), (None, 30, {0, 5, 20}), (30, None, {40, 80}), (20, 20, {20}), (0, 5, {0, 5})],
)
def test_a_sinusoid_inside_the_band_vanishes_and_one_outside_is_kept(low, high, gone):
    for f in (0, 5, 20, 40, 80):
        x = np.broadcast_to(wave(f), X.shape).copy()
        np.testing.assert_allclose(stopped(x, low, high), 0 * x if f in gone else x, atol=1e-12)


def test_any_sinusoid_away_from_the_edges():
    n, rate = 2000, 200.0
    axes = Axes(("time",), (n,), {"time": np.arange(n) / rate})
    away = np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) / rate
    for f, left, inside in ((12.345, 0.0, 2.345), (3.21, 1.0, 6.79), (47.0, 1.0, 27.0)):
        x = np.sin(2 * np.pi * f * np.arange(n) / rate + 0.3)[None]
        # The bend at the ends leaks as 1 over the distance from them and over that of f from the band's edge.
        assert (np.abs(stopped(x, 10.0, 20.0, axes) - left * x)[0] < 1 / (np.pi * inside * away)).all()


def test_it_is_the_projection_out_of_the_band():
    np.testing.assert_allclose(stopped(X, 10, 30), reference.band_stop(X, 10, 30, 200), atol=1e-12)
    once = stopped(X, 12.0, 44.0)
    np.testing.assert_allclose(stopped(once, 12.0, 44.0), once, atol=1e-12)
    assert abs((once * (X - once)).sum()) < 1e-10
    np.testing.assert_allclose(stopped(X, None, 30) + stopped(X, 30.1, None), X, atol=1e-12)


def test_a_linear_model_is_credited_with_the_band_alone():
    x = xr.DataArray(X, dims=("sample", "lead", "time"), coords={"lead": LEADS, "time": TIME})
    weight = torch.as_tensor(np.random.default_rng(3).normal(size=(3, 60)))
    ds = ta.explain(lambda x: (x * weight).sum((1, 2)), x, ta.IntegratedGradients(b.BandStop(10, 30)))
    band = X - reference.band_stop(X, 10, 30, 200)
    np.testing.assert_allclose(ds.attribution, weight.numpy() * band, atol=1e-11)


def test_known_stretches_and_holes():
    x = X.copy()
    x[:, :, 50:] = np.nan
    x[0, 0, 20:23] = np.nan
    bridged = x.copy()
    bridged[0, 0, 19:24] = np.linspace(x[0, 0, 19], x[0, 0, 23], 5)
    found = stopped(x, 10, 30)[..., :50]
    np.testing.assert_allclose(found, reference.band_stop(bridged[..., :50], 10, 30, 200), atol=1e-12)


@pytest.mark.parametrize(
    ("coords", "units", "low"),
    [
        ({"time": np.arange(60) * 5.0}, {"time": "ms"}, 10),
        ({"time": np.datetime64("2020-01-01", "ms") + np.arange(60) * np.timedelta64(5, "ms")}, {}, 10),
        ({"time": np.arange(60) * 0.005}, {"time": "furlong"}, 10),
        ({}, {}, 0.05),
    ],
)
def test_frequencies_are_in_hz_or_cycles_per_unit_or_cell(coords, units, low):
    axes = Axes(("lead", "time"), (3, 60), coords, units, samples=2)
    np.testing.assert_allclose(stopped(X, low, 3 * low, axes), stopped(X, 10, 30), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((None, None), "needs low, high or both"),
        ((5.0, 2.0), "needs low <= high, got low=5.0, high=2.0"),
        ((-1.0, 2.0), "needs low >= 0, a frequency, or None, got -1.0"),
        (("5Hz", None), "got '5Hz'"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        b.BandStop(*settings)


def test_what_does_not_fit_the_input():
    with pytest.raises(ValueError, match=r"holds no frequency of 60 cells .* multiples of 1.667 below 100; widen"):
        bind(b.BandStop(2.0, 3.0), ecg())
    with pytest.raises(ValueError, match="holds no frequency"):
        bind(b.BandStop(100.0, None), ecg())
    with pytest.raises(ValueError, match="has one cell, which has none"):
        bind(b.BandStop(2.0, 9.0), Axes(("time",), (1,)))
    uneven = ecg(coords={"lead": LEADS, "time": TIME**2})
    for baseline in (b.BandStop(2.0, 9.0), b.PhaseRandomised()):
        with pytest.raises(ValueError, match="not evenly spaced"):
            bind(baseline, uneven)
        with pytest.raises(KeyError, match="no dim 'time'"):
            bind(baseline, Axes(("lat",), (5,)))
