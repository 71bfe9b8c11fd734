import copy
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

import tsattr as ta
from tsattr.core.axes import Axes
from tsattr.core.baselines import basic as b
from tsattr.core.keys import Key

LEADS = np.array(["I", "II", "V1"])
TIME = np.arange(60) / 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 60))


def ecg(n=2, **changes):
    settings = {"coords": {"lead": LEADS, "time": TIME}, "samples": n}
    return Axes(("lead", "time"), (3, 60), **settings | changes)


def fill(baseline, x, axes, absent=None, draw=0, seed=0):
    """One fill of every sample, all absent by default, as numpy."""
    x = torch.as_tensor(x)
    absent = torch.ones(x.shape, dtype=torch.bool) if absent is None else torch.as_tensor(absent).expand(x.shape)
    n = len(x)
    key = Key(seed, np.arange(n, dtype=np.uint64), torch.arange(n), torch.full((n,), draw))
    return b.bind(baseline, axes).fill(x, absent, key).numpy()


def array(values, **coords):
    return xr.DataArray(values, dims=tuple(coords), coords={d: c for d, c in coords.items() if c is not None})


TRAIN = array(RNG.normal(size=(50, 3, 60)), sample=None, lead=LEADS, time=TIME)
PEAKS = array(np.broadcast_to(np.arange(60) % 20 == 5, (50, 60)), sample=None, time=TIME)
EACH = {
    "constant": lambda: b.Constant(0.5),
    "constant by label": lambda: b.Constant({"I": 1.0, "II": 2.0, "V1": 3.0}),
    "constant array": lambda: b.Constant(array([1.0, 2.0, 3.0], lead=LEADS)),
    "mean": lambda: b.Mean(),
    "mean over all": lambda: b.Mean(("lead", "time")),
    "maximum distance": lambda: b.MaximumDistance(-1.0, 2.0),
    "maximum distance fitted": lambda: b.MaximumDistance.fit(TRAIN),
    "uniform": lambda: b.Uniform(-1.0, 2.0),
    "uniform fitted": lambda: b.Uniform.fit(TRAIN),
    "gaussian": lambda: b.Gaussian(0.5),
    "gaussian truncated": lambda: b.Gaussian(0.5, -1.0, 1.0),
    "blur": lambda: b.Blur(time="20ms"),
    "samples": lambda: b.Samples.fit(TRAIN),
    "mode": lambda: b.Mode.fit(TRAIN.round(1)),
    "typical": lambda: b.Typical.fit(TRAIN),
    "typical, observed": lambda: b.Typical.fit(TRAIN, observed=True),
    "mean, fitted": lambda: b.Mean.fit(TRAIN),
    "hold": lambda: b.Hold(),
    "bridge": lambda: b.Bridge(),
    "mixture": lambda: b.Mixture(b.Mean(), b.Uniform(-1.0, 2.0)),
    "conditional gaussian": lambda: b.ConditionalGaussian.fit(TRAIN),
    "conditional gaussian drawn": lambda: b.ConditionalGaussian.fit(TRAIN, "time", rank=5, draw=True),
    "autoregressive": lambda: b.AutoRegressive.fit(TRAIN, 3),
    "autoregressive drawn": lambda: b.AutoRegressive.fit(TRAIN, 3, draw=True),
    "autoregressive causal": lambda: b.AutoRegressive.fit(TRAIN, 3, causal=True),
    "phase randomised": lambda: b.PhaseRandomised(),
    "band stop": lambda: b.BandStop(10.0, 30.0),
    "climatology": lambda: b.Climatology.fit(TRAIN, by="50ms"),
    "median beat": lambda: b.MedianBeat.fit(TRAIN, PEAKS, window=("-50ms", "60ms")).at(PEAKS[:2]),
    "boundary": lambda: b.Boundary.fit(lambda x: x.sum((1, 2)), array(X, sample=None, lead=LEADS, time=TIME), a=0),
    "inpaint": lambda: b.Inpaint(),
    "inpaint with noise": lambda: b.Inpaint(("lead", "time"), noise=0.1),
}
# Found from the whole of a sample when they were made, whatever is asked later.
MADE_BEFORE = (b.MedianBeat, b.Boundary)


@pytest.fixture(params=list(EACH))
def baseline(request):
    return EACH[request.param]()


# ---- laws


def test_only_absent_cells_change_and_the_input_is_left_alone(baseline):
    absent = RNG.random(X.shape) < 0.3
    x = X.copy()
    filled = fill(baseline, x, ecg(), absent)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(filled[~absent], X[~absent])
    assert np.isfinite(filled).all()
    assert (filled[absent] != X[absent]).any()


def test_a_mask_may_broadcast(baseline):
    absent = np.zeros((2, 1, 60), bool)
    absent[..., 10:20] = True
    full = np.broadcast_to(absent, X.shape)
    np.testing.assert_array_equal(fill(baseline, X, ecg(), absent), fill(baseline, X, ecg(), full.copy()))


def test_rows_do_not_see_each_other(baseline):
    absent = RNG.random(X.shape) < 0.3
    together = fill(baseline, X, ecg(), absent)
    x = torch.as_tensor(X[1:])
    key = Key(0, np.array([1], np.uint64), torch.tensor([1]), torch.tensor([0]))
    alone = b.bind(baseline, ecg()).fill(x, torch.as_tensor(absent[1:]), key)
    np.testing.assert_allclose(together[1:], alone, rtol=0, atol=1e-12)


def test_missing_cells_inform_no_fill(baseline):
    """Another value under a NaN gives the same fill: what is missing is not known."""
    missing = np.zeros(X.shape, bool)
    missing[:, :, 15:18], missing[:, 1, 40] = True, True
    absent = np.zeros(X.shape, bool)
    absent[:, :, 18:25], absent[:, 1, 41] = True, True
    filled = fill(baseline, np.where(missing, np.nan, X), ecg(), absent)
    assert np.isfinite(filled[absent]).all()
    assert np.isnan(filled[missing]).all()


def test_float32_gives_the_same_values_in_float32(baseline):
    wide, narrow = (
        fill(baseline, X.astype(np.float32).astype(float), ecg()),
        fill(baseline, X.astype(np.float32), ecg()),
    )
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-5)


def test_causal_means_that_the_future_changes_nothing_before_it(baseline):
    changed = X.copy()
    changed[..., 30:] += 10.0
    absent = np.zeros(X.shape, bool)
    absent[..., 20:40] = True
    before = slice(20, 31)  # what is put at 30 depends on earlier times only, so not on the value at 30 either
    same = np.array_equal(
        fill(baseline, X, ecg(), absent)[..., before], fill(baseline, changed, ecg(), absent)[..., before]
    )
    assert same == (b.bind(baseline, ecg()).causal or isinstance(baseline, MADE_BEFORE))


def test_random_means_that_two_draws_differ(baseline):
    absent = np.broadcast_to(np.arange(60) % 7 < 3, X.shape).copy()
    one, other = (fill(baseline, X, ecg(), absent, draw=d) for d in (0, 1))
    assert baseline.random == bool((one != other).any())
    np.testing.assert_array_equal(fill(baseline, X, ecg(), absent, draw=0), one)


@pytest.mark.parametrize("name", EACH)
def test_frozen_comparable_and_printable(name):
    one, other = EACH[name](), EACH[name]()
    assert one == other == copy.deepcopy(one)
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert len(repr(one)) < 200
    field = next(iter(one.__dataclass_fields__))
    with pytest.raises(AttributeError):
        setattr(one, field, 1)


def test_no_two_of_them_are_equal():
    every = [make() for make in EACH.values()]
    assert len(set(every)) == len({repr(u) for u in every}) == len(every)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b.Constant({"I": 1.0, "II": 2.0}), b.Constant({"II": 1.0, "I": 2.0})),
        (b.Samples.fit(TRAIN), b.Samples.fit(TRAIN.isel(lead=[1, 0, 2]).assign_coords(lead=LEADS))),
        (b.Samples.fit(TRAIN), b.Samples.fit(TRAIN.assign_coords(lead=["I", "II", "V2"]))),
        (b.Uniform.fit(TRAIN), b.Uniform.fit(TRAIN, (0, 1))),
    ],
)
def test_other_values_or_labels_are_another_baseline(one, other):
    assert one != other
    assert repr(one) != repr(other)


# ---- constants and means


def test_constant_by_label_per_sample_and_by_cell():
    x, axes = np.ones((2, 3, 60)), ecg()
    by_lead = np.array([1.0, 2.0, 3.0])
    for value in (
        {"V1": 3.0, "II": 2.0, "I": 1.0},
        array([3.0, 2.0, 1.0], lead=["V1", "II", "I"]),
        array([9.0, 3.0, 2.0, 1.0], lead=["V6", "V1", "II", "I"]),
    ):
        np.testing.assert_array_equal(fill(b.Constant(value), x, axes), np.broadcast_to(by_lead[:, None], x.shape))
    per_sample = fill(b.Constant(array([4.0, 5.0], sample=None)), x, axes)
    np.testing.assert_array_equal(per_sample[:, 0, 0], [4, 5])
    labelled = ecg(sample_coord=np.array([11, 12]))
    both = array([[6.0, 7.0], [1.0, 2.0], [0.0, 0.0]], lead=LEADS, sample=[12, 11])
    np.testing.assert_array_equal(fill(b.Constant(both), x, labelled)[..., 0], [[7, 2, 0], [6, 1, 0]])
    np.testing.assert_array_equal(fill(b.Constant(X[0]), x, axes)[1], X[0])


def test_mean_is_over_time_unless_told_otherwise():
    x = X.copy()
    x[0, 1, :30] = np.nan
    expected = np.broadcast_to(np.nanmean(x, 2, keepdims=True), X.shape)
    np.testing.assert_allclose(fill(b.Mean(), x, ecg()), expected, atol=1e-12)
    np.testing.assert_allclose(fill(b.Mean("lead"), X, ecg())[:, 0], X.mean(1), atol=1e-12)
    everything = fill(b.Mean(), X, Axes(("lead", "beat"), (3, 60)))
    np.testing.assert_allclose(everything, np.broadcast_to(X.mean((1, 2), keepdims=True), X.shape), atol=1e-12)


# ---- ranges


def test_maximum_distance_is_at_least_half_the_range_away():
    x = RNG.uniform(-1, 2, size=(2, 3, 60))
    far = fill(b.MaximumDistance(-1.0, 2.0), x, ecg())
    assert set(np.unique(far)) == {-1.0, 2.0}
    assert (np.abs(far - x) >= 1.5).all()
    tie = np.full((1, 3, 60), 0.5)
    assert (fill(b.MaximumDistance(-1.0, 2.0), tie, ecg(1)) == -1).all()  # x' = low where x >= the middle


def test_maximum_distance_gives_a_linear_model_w_sign_x_1_plus_size_of_x():
    x = RNG.uniform(-1, 1, size=(1, 3, 60))
    w = RNG.normal(size=x.shape)
    attribution = w * (x - fill(b.MaximumDistance(-1.0, 1.0), x, ecg(1)))
    np.testing.assert_allclose(attribution, w * np.sign(x) * (1 + np.abs(x)), atol=1e-12)


@pytest.mark.parametrize("dims", list(itertools.permutations(["sample", "lead", "time"])))
def test_fitted_ranges_are_quantiles_over_samples_and_time(dims):
    fitted = b.MaximumDistance.fit(TRAIN.transpose(*dims).where(TRAIN > -3), (0.1, 0.9))
    values = np.where(TRAIN > -3, TRAIN, np.nan)
    low, high = np.nanquantile(values, [0.1, 0.9], axis=(0, 2))
    far = fill(fitted, X, ecg())
    np.testing.assert_allclose(far.min((0, 2)), low, rtol=1e-12)
    np.testing.assert_allclose(far.max((0, 2)), high, rtol=1e-12)


def test_ranges_of_a_table_are_by_column_and_by_dims_one_names():
    frame = pd.DataFrame({"a": [0.0, 10.0], "b": [5.0, 6.0]})
    table = Axes(("feature",), (2,), {"feature": np.array(["a", "b"])})
    np.testing.assert_array_equal(fill(b.MaximumDistance.fit(frame, (0, 1)), [[1.0, 6.0]], table), [[10, 5]])
    per_month = b.MaximumDistance.fit(TRAIN.rename(time="month"), (0, 1), over=())
    assert per_month.low.values.shape == (3, 60)
    with pytest.raises(ValueError, match=r"none of them 'record'; say which holds its samples: sample_dim="):
        b.Uniform.fit(TRAIN, sample_dim="record")


@pytest.mark.parametrize("kind", [b.MaximumDistance, b.Uniform])
def test_a_range_runs_upwards(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs low <= high, got low=2.0, high=1.0"):
        kind(2.0, 1.0)


def test_uniform_draws_by_channel():
    low, high = {"I": -1.0, "II": 0.0, "V1": 5.0}, {"I": 1.0, "II": 3.0, "V1": 5.5}
    drawn = np.stack([fill(b.Uniform(low, high), X, ecg(), draw=d) for d in range(40)], -1)
    for c, name in enumerate(low):
        values = drawn[:, c].reshape(-1)
        assert stats.kstest(values, "uniform", (low[name], high[name] - low[name])).pvalue > 0.01
    flat = drawn.reshape(-1, 40)
    assert np.abs(np.corrcoef(flat[:50]) - np.eye(50)).max() < 5 / np.sqrt(40)
    assert not np.array_equal(drawn[..., 0], fill(b.Uniform(low, high), X, ecg(), seed=1))


# ---- noise


def test_gaussian_is_centred_on_the_input():
    sigma = {"I": 0.1, "II": 1.0, "V1": 3.0}
    drawn = np.stack([fill(b.Gaussian(sigma), X, ecg(), draw=d) for d in range(40)])
    for c, s in enumerate(sigma.values()):
        assert stats.kstest(((drawn - X)[:, :, c] / s).reshape(-1), "norm").pvalue > 0.01


@pytest.mark.parametrize(
    ("centre", "sigma", "low", "high"),
    [
        (0.0, 1.0, -1.0, 1.0),
        (0.9, 0.5, -1.0, 1.0),
        (0.2, 2.0, 0.0, None),
        (0.2, 0.5, None, 0.3),
        (3.0, 0.5, -1.0, 1.0),
        (-4.0, 1.0, 0.0, 2.0),
    ],
)
def test_gaussian_is_truncated_not_clipped(centre, sigma, low, high):
    x = np.full((20, 3, 60), centre)
    drawn = fill(b.Gaussian(sigma, low, high), x, ecg(20)).reshape(-1)
    a, z = (-np.inf if low is None else low - centre) / sigma, (np.inf if high is None else high - centre) / sigma
    assert stats.kstest(drawn, stats.truncnorm(a, z, centre, sigma).cdf).pvalue > 0.01
    assert len(np.unique(drawn)) == len(drawn)  # no mass on a bound


def test_a_very_wide_gaussian_is_uniform_and_a_far_input_comes_inside():
    wide = fill(b.Gaussian(1e6, -1.0, 1.0), X, ecg())
    assert stats.kstest(wide.reshape(-1), "uniform", (-1, 2)).pvalue > 0.01
    for far in (-500.0, 500.0):
        inside = fill(b.Gaussian(0.5, -1.0, 1.0), np.full_like(X, far), ecg())
        np.testing.assert_allclose(inside, np.sign(far), atol=0.01)
        assert (np.abs(inside) <= 1).all()


def test_gaussian_bounds_by_channel():
    low = array([-1.0, 0.0, 5.0], lead=LEADS)
    drawn = fill(b.Gaussian(1.0, low, low + 0.5), X, ecg())
    assert ((drawn >= low.values[:, None]) & (drawn <= low.values[:, None] + 0.5)).all()


@pytest.mark.parametrize("sigma", [0.0, -1.0, {"I": 1.0, "II": 0.0}])
def test_gaussian_needs_a_width(sigma):
    with pytest.raises(ValueError, match="Gaussian needs sigma > 0, got"):
        b.Gaussian(sigma)


# ---- blur


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


# ---- references


def small_reference(n=5):
    return array(np.arange(n)[:, None, None] + RNG.random((n, 3, 60)) / 2, sample=None, lead=LEADS, time=TIME)


def test_samples_are_drawn_without_replacement_and_start_again_when_used_up():
    reference = small_reference()
    drawn = np.stack([fill(b.Samples.fit(reference), X, ecg(), draw=d) for d in range(12)])
    index = np.floor(drawn[:, :, 0, 0]).astype(int)
    np.testing.assert_array_equal(drawn, reference.values[index])
    for sample in (0, 1):
        for lap in (index[:5, sample], index[5:10, sample]):
            assert sorted(lap) == [0, 1, 2, 3, 4]
    assert not np.array_equal(index[:5, 0], index[:5, 1])
    assert not np.array_equal(index[:5, 0], index[5:10, 0])


def test_every_reference_sample_is_as_likely_at_every_draw():
    reference = b.Samples.fit(small_reference(4))
    axes, x = ecg(1600), np.zeros((1600, 3, 60))
    for draw in (0, 2, 4):
        first = np.floor(fill(reference, x, axes, draw=draw)[:, 0, 0])
        assert stats.chisquare(np.bincount(first.astype(int), minlength=4)).pvalue > 0.01


@pytest.mark.parametrize("dims", list(itertools.permutations(["sample", "lead", "time"])))
def test_samples_are_aligned_by_label_whatever_their_order(dims):
    reference = small_reference()
    mixed = reference.isel(lead=[2, 0, 1], time=slice(None, None, -1)).transpose(*dims)
    expected = fill(b.Samples.fit(reference), X, ecg(), draw=3)
    np.testing.assert_array_equal(fill(b.Samples.fit(mixed), X, ecg(), draw=3), expected)
    named = mixed.rename(sample="record")
    np.testing.assert_array_equal(fill(b.Samples.fit(named, sample_dim="record"), X, ecg(), draw=3), expected)


def test_samples_from_a_bare_array_and_from_a_table():
    reference = small_reference()
    bare = fill(b.Samples.fit(reference.values), X, Axes(("lead", "time"), (3, 60)))
    np.testing.assert_array_equal(bare, fill(b.Samples.fit(reference), X, ecg()))
    table = Axes(("feature",), (2,), {"feature": np.array(["a", "b"])})
    frame = pd.DataFrame({"b": [1.0, 2.0], "a": [10.0, 20.0]})
    both = {tuple(fill(b.Samples.fit(frame), [[0.0, 0.0]], table, draw=d)[0]) for d in (0, 1)}
    assert both == {(10, 1), (20, 2)}


def test_a_missing_cell_of_the_reference_stays_missing():
    reference = small_reference().copy()
    reference[2, 1, 7] = np.nan
    drawn = np.stack([fill(b.Samples.fit(reference), X, ecg(), draw=d)[0] for d in range(5)])
    row = drawn[np.floor(drawn[:, 0, 0]) == 2][0]
    assert np.isnan(row).sum() == np.isnan(row[1, 7]) == 1
    assert b.bind(b.Samples.fit(reference), ecg()).gaps == 1


def test_typical_is_the_median_of_what_is_known():
    values = np.array([[1.0, 4.0, 0.5], [3.0, np.nan, 0.1], [np.nan, 7.0, 0.3], [8.0, 9.0, 0.2]])
    table = Axes(("feature",), (3,))
    np.testing.assert_allclose(fill(b.Typical.fit(values), np.zeros((1, 3)), table), [[3, 7, 0.25]], rtol=1e-15)
    wave = xr.DataArray(values.reshape(2, 2, 3).round(0), dims=("sample", "lead", "time"))
    np.testing.assert_array_equal(b.Typical.fit(wave).row.values, np.nanmin(wave, 0))  # the lower of two


def test_typical_of_words_dates_and_gaps():
    frame = pd.DataFrame(
        {
            "word": ["b", "a", None, "a", "b"],
            "day": pd.to_datetime(["2001-05-01", "2001-01-01", "2001-03-01", None, "2001-02-01"]),
            "flag": [True, True, False, True, False],
            "count": pd.array([4, None, 1, 3, 2], dtype="Int64"),
            "ward": pd.Categorical([7, 7, 9, 9, 9]),
            "gaps": [0.0, np.nan, 0.0, 0.6, 1.2],
        }
    )
    row = b.Typical.fit(frame).row
    assert row.values.tolist() == ["a", pd.Timestamp("2001-02-01"), True, 2, 9, 0.3]
    central = b.Typical.fit(frame.drop(columns="day"), observed=True).row
    assert central.values.tolist() == ["a", True, 3, 9, 0.6]  # the nearest of three complete rows
    with pytest.raises(ValueError, match="missing in all samples of the reference"):
        b.Typical.fit(frame.assign(gaps=np.nan))
    with pytest.raises(ValueError, match="every sample of the reference has missing cells"):
        b.Typical.fit(frame.loc[[1, 2], ["word", "count"]], observed=True)


def test_mode_leaves_missing_values_out_and_needs_a_value_that_stands_out():
    values = np.array([0.0, 0.0, 0.0, *[np.nan] * 6, 0.5, 1.0, 1.1, 0.9, 0.2])[:, None]
    one = Axes(("feature",), (1,), {"feature": np.array(["dose"], object)})
    assert fill(b.Mode.fit(values), np.ones((1, 1)), one).item() == 0
    measured = np.random.default_rng(0).normal(size=(400, 1))
    for reference in (measured, np.concatenate([measured, measured[:30]])):
        with pytest.raises(ValueError, match="no value of dose is more frequent than others"):
            b.bind(b.Mode.fit(reference), one)
    assert fill(b.Mode.fit(measured.round(0)), np.ones((1, 1)), one).item() == 0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            small_reference().drop_vars("lead").isel(lead=[0, 1]),
            "the reference of Samples has 2 entries along dim 'lead'",
        ),
        (
            small_reference().isel(lead=[0, 1]),
            r"the reference of Samples lacks 1 .* along dim 'lead', such as \['V1'\]",
        ),
        (small_reference().isel(lead=0, drop=True), "the reference of Samples has shape .* per sample, the input"),
        (
            small_reference().values[:, :2],
            r"the reference of Samples has shape \(2, 60\), but a sample has shape \(3, 60\)",
        ),
        (small_reference().expand_dims("beat"), "the reference of Samples has dim 'beat', which the input lacks"),
    ],
)
def test_a_reference_that_does_not_fit(reference, message):
    with pytest.raises(ValueError, match=message):
        fill(b.Samples.fit(reference), X, ecg())


def test_a_reference_needs_samples():
    with pytest.raises(ValueError, match="the reference has no samples"):
        b.Samples.fit(small_reference().isel(sample=slice(0)))
    with pytest.raises(ValueError, match="none of them 'sample'; say which holds its samples"):
        b.Samples.fit(small_reference().isel(sample=0))


def test_mode_is_the_most_frequent_value_the_smallest_at_a_tie():
    table = Axes(("feature",), (3,), {"feature": np.array(["a", "b", "c"])})
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, 2.0, 1.0, 2.0], "b": [7.0, 7.0, 3.0, 3.0, 9.0], "c": [4.0, np.nan, 4.0, 5.0, 5.0]}
    )
    np.testing.assert_array_equal(fill(b.Mode.fit(frame), np.zeros((1, 3)), table), [[2, 3, 4]])


# ---- fills from neighbours


def reference_bridge(line, absent, where, otherwise):
    out = line.copy()
    present = ~absent & ~np.isnan(line)
    out[absent] = np.interp(where[absent], where[present], line[present]) if present.any() else otherwise
    return out


def reference_hold(line, absent, where, otherwise):
    out, last = line.copy(), otherwise
    for i, v in enumerate(line):
        if absent[i]:
            out[i] = last
        elif not np.isnan(v):
            last = v
    return out


@pytest.mark.parametrize(("kind", "slow"), [(b.Bridge, reference_bridge), (b.Hold, reference_hold)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bridge_and_hold_against_a_loop(kind, slow, data):
    rows, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8))
    steps = data.draw(st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=n, max_size=n))
    where = np.cumsum(steps)
    cells = st.sampled_from(["present", "missing", "absent", "absent and missing"])
    state = np.array(data.draw(st.lists(st.lists(cells, min_size=n, max_size=n), min_size=2 * rows, max_size=2 * rows)))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(2 * rows, n))
    x[(state == "missing") | (state == "absent and missing")] = np.nan
    absent = (state == "absent") | (state == "absent and missing")
    expected = np.stack([slow(v, a, where, -7.0) for v, a in zip(x, absent)])
    first = Axes(("time", "lead"), (n, 2), {"time": where})
    swapped = [v.reshape(rows, 2, n).transpose(0, 2, 1) for v in (x, absent, expected)]
    np.testing.assert_allclose(fill(kind(otherwise=-7.0), swapped[0], first, swapped[1]), swapped[2], atol=1e-12)
    last = Axes(("lead", "time"), (2, n), {"time": where})
    together = [v.reshape(rows, 2, n) for v in (x, absent, expected)]
    np.testing.assert_allclose(fill(kind(otherwise=-7.0), together[0], last, together[1]), together[2], atol=1e-12)


@pytest.mark.parametrize(
    "coord",
    [
        np.cumsum([1.0, 0.1, 3.0, 2.0, 0.5, 1.0]),
        -np.cumsum([1.0, 0.1, 3.0, 2.0, 0.5, 1.0]),
        np.datetime64("2001-01-01", "h") + np.cumsum([1, 2, 24, 5, 1, 7]).astype("m8[h]"),
    ],
    ids=["irregular", "descending", "dates"],
)
@pytest.mark.parametrize("dim", ["time", "depth"])
def test_bridge_is_exact_on_a_line(coord, dim):
    where = (coord - coord[0]) / (np.timedelta64(1, "h") if coord.dtype.kind == "M" else 1.0)
    line = (3.0 - 2.0 * where)[None]
    absent = np.array([[False, True, True, False, True, False]])
    axes = Axes((dim,), (6,), {dim: coord})
    np.testing.assert_allclose(fill(b.Bridge(dim), np.where(absent, 99.0, line), axes, absent), line, atol=1e-12)


def test_a_gap_at_an_edge_takes_the_nearest_present_value():
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    axes = Axes(("time",), (5,), {"time": np.arange(5.0)})
    ends = np.array([[True, True, False, False, True]])
    np.testing.assert_array_equal(fill(b.Bridge(), x, axes, ends), [[3, 3, 3, 4, 4]])
    np.testing.assert_array_equal(fill(b.Hold(otherwise=-1.0), x, axes, ends), [[-1, -1, 3, 4, 4]])
    assert (fill(b.Bridge(otherwise=8.0), x, axes) == 8).all()
    assert (fill(b.Hold(otherwise=8.0), x, axes) == 8).all()


# ---- binding


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (0.0, r"got 0.0; a number or an array is Constant\(...\)"),
        (b.Mean, r"an object with its settings: Mean\(...\), not the class"),
        ({"ecg": b.Mean()}, "a mapping of baselines is for an input of several variables"),
    ],
)
def test_what_is_no_baseline(thing, message):
    with pytest.raises(TypeError, match=message):
        b.bind(thing, ecg())


def test_anything_with_a_fill_is_a_baseline():
    class Flip:
        def fill(self, x, absent, key):
            return torch.where(absent, -x, x)

    np.testing.assert_array_equal(fill(Flip(), X, ecg()), -X)


@pytest.mark.parametrize(
    "name",
    [
        k
        for k in EACH
        if k
        not in ("constant", "constant by label", "constant array", "samples", "mode", "typical", "typical, observed")
    ],
)
def test_arithmetic_on_categories_is_refused(name):
    nominal = ecg(nominal=np.ones((3, 60), bool), coords={"lead": LEADS, "time": TIME})
    with pytest.raises(TypeError, match=r"does arithmetic, but columns .* hold categories; use Samples.fit.*Mode.fit"):
        b.bind(EACH[name](), nominal)


def test_joined_baselines_fill_each_its_own_view_with_its_own_draws():
    axes = Axes(("feature",), (4,))
    part = b.bind(b.Uniform(0.0, 1.0), axes)
    joined = b.Joined(
        ((slice(0, 4), (4,), part), (slice(4, 8), (4,), part), (slice(8, 9), (), b.bind(b.Constant(7.0), Axes((), ()))))
    )
    x = torch.zeros(2, 9, dtype=torch.float64)
    absent = torch.ones(2, 9, dtype=torch.bool)
    absent[:, 1] = False
    out = joined.fill(
        x, absent, Key(0, np.arange(2, dtype=np.uint64), torch.arange(2), torch.zeros(2, dtype=torch.long))
    )
    assert (out[:, 1] == 0).all()
    assert (out[:, 8] == 7).all()
    assert len(torch.unique(out[:, [0, 2, 3, 4, 5, 6, 7]])) == 14
    assert joined.causal


TIMES = {"axis": {"axis": "T"}, "standard name": {"standard_name": "time", "units": "seconds since 2000-01-01"}}


@pytest.mark.parametrize("attrs", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize(
    "baseline", [b.Mean(), b.Hold(), b.Bridge(), b.PhaseRandomised(), b.BandStop(low=0.1, high=0.3)], ids=repr
)
def test_time_is_known_by_its_attributes_whatever_it_is_called(baseline, attrs):
    values = np.random.default_rng(0).normal(size=(2, 3, 8))
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(8.0)})
    other = x.rename(time="t").assign_coords(t=("t", np.arange(8.0), attrs))
    cells, half = ta.groups.Along("lead"), ta.groups.Windows(t=4)
    for named, found in ((cells, cells), (ta.groups.Windows(time=4), half)):
        right = ta.explain(lambda r: r.square().sum((1, 2)), x, ta.Occlusion(named, baseline))
        np.testing.assert_array_equal(
            ta.explain(lambda r: r.square().sum((1, 2)), other, ta.Occlusion(found, baseline)).attribution,
            right.attribution,
        )


def test_a_fitted_mean_is_over_the_time_known_by_its_attributes():
    train = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4), dims=("sample", "t", "place"), coords={"t": ("t", [0.0, 1, 2], {"axis": "T"})}
    )
    np.testing.assert_array_equal(b.Mean.fit(train).values.values, train.values.mean((0, 1)))


def test_the_typical_level_of_what_has_no_order_is_the_most_frequent_one():
    frame = pd.DataFrame({"raw": [b"z", b"z", b"a"], "mixed": pd.Series([1, "a", "a"], dtype=object)})
    assert b.Typical.fit(frame).row.values.tolist() == [b"z", "a"]
    with pytest.raises(TypeError, match=r"^notes holds dict, which has no typical value"):
        b.Typical.fit(pd.DataFrame({"notes": [{"a": 1}, {"a": 2}]}))
    with pytest.raises(ValueError, match=r"^notes is missing in all samples"):
        b.Typical.fit(pd.DataFrame({"age": [1, 2], "notes": [None, None]}))
