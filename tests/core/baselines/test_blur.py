"""The blur against scipy's Gaussian filter."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tsattr.core import baselines as b
from tsattr.core.axes import Axes

from .inputs import TIME, X, ecg, fill

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3, 30.0, 75.0, 300.0])
def test_blur_is_scipys_gaussian_filter_with_reflecting_edges(sigma):
    expected = ndimage.gaussian_filter1d(X, sigma, axis=2, mode="reflect")
    np.testing.assert_allclose(fill(b.Blur(time=sigma), X, ecg()), expected, atol=1e-12)


def test_blur_along_several_dims_wraps_round_the_globe():
    lat, lon = np.linspace(90, -90, 37), np.arange(0, 360, 5.0)
    field = RNG.normal(size=(1, 37, 72))
    globe = Axes(("lat", "lon"), (37, 72), {"lat": lat, "lon": lon}, periodic=frozenset({"lon"}))
    expected = ndimage.gaussian_filter1d(field, 2.0, axis=1, mode="reflect")
    expected = ndimage.gaussian_filter1d(expected, 40.0, axis=2, mode="wrap")
    np.testing.assert_allclose(fill(b.Blur(lat="10deg", lon="200deg"), field, globe), expected, atol=1e-12)
    turned = fill(b.Blur(lon="30deg"), np.roll(field, 20, 2), globe)
    np.testing.assert_allclose(turned, np.roll(fill(b.Blur(lon="30deg"), field, globe), 20, 2), atol=1e-12)


@pytest.mark.parametrize("sigma", [5e3, 1e12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_blur_longer_than_the_series_is_the_mean_of_the_whole(sigma, dtype):
    n = X.shape[2]
    expected = np.broadcast_to(X.mean(2, keepdims=True), X.shape)
    x = X.astype(dtype)
    np.testing.assert_allclose(
        fill(b.Blur(time=sigma), x, ecg()), expected, atol=1e-6 if dtype == np.float32 else 1e-12
    )
    known = RNG.random(X.shape) > 0.2
    found = fill(b.Blur(time=sigma), np.where(known, x, np.nan), ecg())
    mean = np.where(known, X, 0).sum(2, keepdims=True) / known.sum(2, keepdims=True)
    np.testing.assert_allclose(found, np.broadcast_to(mean, X.shape), atol=1e-6 if dtype == np.float32 else 1e-12)
    globe = Axes(("lon",), (n,), {"lon": np.arange(n) * 360.0 / n}, periodic=frozenset({"lon"}))
    found = fill(b.Blur(lon=sigma), X[:, 0], globe)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, 0], found.shape), atol=1e-12)


@pytest.mark.parametrize("sigma", [10.0, 40.0, 160.0])
def test_kernels_of_every_length_are_scipys_round_a_circle(sigma):
    field = RNG.normal(size=(2, 36))
    globe = Axes(("lon",), (36,), {"lon": np.arange(36) * 10.0}, periodic=frozenset({"lon"}))
    expected = ndimage.gaussian_filter1d(field, sigma, axis=1, mode="wrap")
    np.testing.assert_allclose(fill(b.Blur(lon=sigma), field, globe), expected, atol=1e-12 if sigma < 144 else 1e-4)


@pytest.mark.parametrize(
    ("coord", "units", "size", "cells"),
    [
        (TIME, None, "50ms", 10),
        (TIME * 1000, "ms", "0.05 s", 10),
        (pd.date_range("2001-01-01", periods=60, freq="6h").to_numpy(), None, "36h", 6),
        (TIME[::-1], None, "15ms", 3),
    ],
)
def test_blur_in_the_units_of_the_coordinate(coord, units, size, cells):
    axes = ecg(coords={"time": coord}, units={} if units is None else {"time": units})
    np.testing.assert_allclose(fill(b.Blur(time=size), X, axes), fill(b.Blur(time=cells), X, ecg()), atol=1e-12)


def test_blur_leaves_missing_cells_out_by_normalised_convolution():
    known = RNG.random(X.shape) > 0.2
    x = np.where(known, X, np.nan)
    above, below = (ndimage.gaussian_filter1d(v, 2.0, axis=2) for v in (np.where(known, X, 0), known * 1.0))
    np.testing.assert_allclose(fill(b.Blur(time=2), x, ecg()), above / below, atol=1e-12)
    constant = fill(b.Blur(time=2), np.where(known, 3.0, np.nan), ecg())
    np.testing.assert_allclose(constant, 3.0, atol=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_blur_scales_a_sinusoid(sigma):
    n = 360
    axes = Axes(("lon",), (n,), {"lon": np.arange(n) * 1.0}, periodic=frozenset({"lon"}))
    w = 2 * np.pi * 12 / n
    wave = np.sin(w * np.arange(n))[None]
    blurred = fill(b.Blur(lon=sigma), wave, axes)
    factor = np.exp(-(sigma**2) * w**2 / 2)
    np.testing.assert_allclose(blurred, factor * wave, atol=2e-4)  # the kernel ends at four sigma
    taps = np.exp(-0.5 * (np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1) / sigma) ** 2)
    exact = (taps * np.cos(w * (np.arange(len(taps)) - len(taps) // 2))).sum() / taps.sum()
    np.testing.assert_allclose(blurred, exact * wave, atol=1e-12)
    assert factor == pytest.approx(exact, rel=2e-3)


def test_blur_never_mixes_channels():
    x = np.zeros((1, 3, 60))
    x[0, 1] = RNG.normal(size=60)
    blurred = fill(b.Blur(time=3), x, ecg(1))
    assert not blurred[0, [0, 2]].any()
    assert blurred[0, 1].any()


@pytest.mark.parametrize(
    ("baseline", "error", "message"),
    [
        (lambda: b.Blur(), ValueError, "at least one dim, like Blur"),
        (lambda: b.Blur(time=0), ValueError, "standard deviation > 0 along dim 'time', got 0"),
        (lambda: b.Blur(time="5deg"), ValueError, "'5deg' is not a size along dim 'time'"),
        (lambda: b.Blur(tme=3), KeyError, "no dim 'tme' to work along"),
        (lambda: b.Blur(lead="5mm"), ValueError, "dim 'lead' is labelled by"),
    ],
)
def test_a_blur_that_does_not_fit(baseline, error, message):
    with pytest.raises(error, match=message):
        fill(baseline(), X, ecg())
