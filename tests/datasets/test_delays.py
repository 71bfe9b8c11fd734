import numpy as np
import pytest
import xarray as xr

from tsattr.datasets import spike
from tsattr.datasets.delays import low_pass, narma


@pytest.fixture(scope="module")
def many():
    return spike(3000, seed=1)


@pytest.mark.parametrize("coefficients", [(0.5, 0.5, 1.5, 0.5), (0.3, 0.05, 1.5, 0.1)])
def test_the_recursion_is_the_published_one_whose_second_term_is_always_zero(coefficients):
    a0, a1, a2, a3 = coefficients
    u = np.random.default_rng(0).uniform(0, 0.5, 82)
    y = np.zeros(82)
    for t in range(2, 82):
        past = y[t - 2 : 2].sum()  # the slice as published: zeros, or empty
        y[t] = a0 * y[t - 1] + a1 * y[t - 1] * past + a2 * u[t - 2] * u[t] + a3
    np.testing.assert_allclose(narma(u[None], a0, a2, a3)[0], y[2:], rtol=1e-12)


def test_the_filter_is_a_causal_butterworth_of_order_6():
    impulse = np.zeros((1, 400))
    impulse[0, 50] = 1
    response = low_pass(impulse)[0]
    assert not response[:50].any()
    frequency = np.fft.rfftfreq(350, 1 / 30)
    warped = np.tan(np.pi * frequency[:-1] / 30) / np.tan(np.pi * 6.8 / 30)  # the bilinear transform's closed form
    np.testing.assert_allclose(np.abs(np.fft.rfft(response[50:]))[:-1], 1 / np.sqrt(1 + warped**12), atol=1e-6)


def test_series_follow_the_recipe_step_by_step():
    rng = np.random.default_rng((4, 1))
    u, noise = rng.uniform(0, 0.5, (3, 42)), rng.normal(0, 0.001, (3, 40))
    ds = spike(2, times=40, seed=4)
    recipe = [((0.5, 1.5, 0.5), 0.003, 0), ((0.5, 1.5, 0.5), 0.065, 0), ((0.3, 1.5, 0.1), 0, -0.5)]
    for feature, (a, trend, shift) in enumerate(recipe):
        z = narma(u[feature], *a) + noise[feature] + trend * np.arange(40)
        expected = low_pass(z / (z.max() - z.min()) + shift) + 1.5 * ds.spike[1, feature].values
        np.testing.assert_allclose(ds.x[1, feature], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("delay", [0, 1, 4, 100])
def test_the_label_follows_the_first_spike_of_the_first_feature(delay):
    ds = spike(300, delay=delay, seed=2)
    for one in range(300):
        at = np.flatnonzero(ds.spike[one, 0])
        truth, label = np.zeros((3, 80), bool), np.zeros(80, int)
        if at.size:
            truth[0, at[0]] = True
            label[at[0] + delay :] = 1
        np.testing.assert_array_equal(ds.truth[one], truth)
        np.testing.assert_array_equal(ds.label[one], label)
    assert ds.truth.any("time").sel(feature=0).sum() > 50


def test_the_truth_stays_where_the_label_would_come_after_the_end():
    ds = spike(3000, delay=4)
    late = ds.truth.sel(feature=0).isel(time=slice(-4, None)).any("time")
    assert late.sum() >= 5
    assert not ds.label[late.values].any()


def test_delay_changes_labels_only():
    xr.testing.assert_equal(spike(20)[["x", "truth"]], spike(20, delay=3)[["x", "truth"]])


def test_spikes_come_as_often_as_they_should(many):
    number = many.spike.sum("time").values.ravel()  # 9000 draws; bounds of 4 standard errors
    assert abs((number > 0).mean() - 0.3 * (1 - np.exp(-3))) < 4 * np.sqrt(0.285 * 0.715 / 9000)
    assert abs(number.mean() - 0.9) < 4 * np.sqrt((0.3 * 12 - 0.81) / 9000)
    assert abs(many.truth.sum(("feature", "time")).mean() - 0.285) < 4 * np.sqrt(0.285 * 0.715 / 3000)
    by_time = many.spike.sum(("sample", "feature")).values  # uniform: chi-squared on 79 degrees of freedom
    assert ((by_time - by_time.mean()) ** 2 / by_time.mean()).sum() < 79 + 4 * np.sqrt(2 * 79)


def test_layout(many):
    assert many.x.dims == many.truth.dims == ("sample", "feature", "time")
    assert many.x.shape == (3000, 3, 80)
    assert many.x.dtype == np.float32
    assert many.truth.dtype == bool
    assert (many.split[:2400] == "train").all()
    assert (many.split[2400:] == "test").all()


def test_sample_depends_on_seed_and_number_only():
    few, more, other = (spike(n, seed=s).drop_vars("split") for n, s in ((3, 5), (11, 5), (3, 6)))
    xr.testing.assert_identical(few, more.isel(sample=slice(3)))
    assert abs(few.x - other.x).mean() > 0.05
    assert abs(few.x[0] - few.x[1]).mean() > 0.05


def test_more_features_are_distractors_like_the_third():
    ds = spike(300, features=6)
    base = ds.x.where(~ds.spike).isel(time=slice(20, None)).mean(("sample", "time"))
    np.testing.assert_allclose(base[3:], base[2], atol=0.02)
    assert not ds.truth.isel(feature=slice(1, None)).any()
    assert spike(3, features=1, times=2).x.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"samples": 0}, ValueError, "samples is at least 1, not 0"),
        ({"delay": -1}, ValueError, "delay is at least 0, not -1"),
        ({"times": 1}, ValueError, "times is at least 2"),
        ({"features": 0}, ValueError, "features is at least 1"),
        ({"seed": -3}, ValueError, "seed is at least 0"),
        ({"samples": 2.5}, TypeError, "samples is an integer, not 2.5"),
        ({"delay": True}, TypeError, "delay is an integer"),
    ],
)
def test_wrong_settings(settings, error, words):
    with pytest.raises(error, match=words):
        spike(**{"samples": 2, **settings})
