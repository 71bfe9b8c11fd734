import numpy as np
import pytest
from scipy.stats import kstest

from tsattr.metrics import sample_key, smooth_random, white_random

DIMS = ("lead", "time")


def bumps(n=3, leads=4, times=50, seed=0):
    """Smooth maps of unlike size in each lead."""
    rng = np.random.default_rng(seed)
    kernel = np.exp(-0.5 * (np.arange(-10, 11) / 3) ** 2)
    noise = rng.normal(size=(n, leads, times + 20)) * (1 + np.arange(leads))[:, None]
    return np.apply_along_axis(np.convolve, -1, noise, kernel, mode="valid") + 0.3


def autocorrelation(channel):
    """Circular, at every lag along every axis, cell by cell."""
    lags = np.ndindex(channel.shape)
    return np.array([(channel * np.roll(channel, lag, range(channel.ndim))).mean() for lag in lags])


def same_up_to_order(a, b):
    np.testing.assert_allclose(np.sort(a, axis=0), np.sort(b, axis=0), rtol=0, atol=1e-10 * np.abs(a).max())


@pytest.mark.parametrize("times", [50, 51, 1])
def test_each_surrogate_channel_has_the_autocorrelation_of_its_source(times):
    m = bumps(times=times)
    found = smooth_random(m, sample_key(3), DIMS)
    for source, surrogate in zip(m, found):
        same_up_to_order(*(np.stack([autocorrelation(c) for c in v]) for v in (source, surrogate)))
        np.testing.assert_allclose(np.sort(surrogate.mean(1)), np.sort(source.mean(1)), rtol=1e-10)
        if times > 1:
            assert not np.isclose(source, surrogate).all()


@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (1, 9)])
def test_fields_keep_their_autocorrelation_along_all_continuous_dims(shape):
    m = bumps(2, 3, shape[0] * shape[1]).reshape(2, 3, *shape)
    found = smooth_random(m, sample_key(2), ("variable", "lat", "lon"))
    for source, surrogate in zip(m, found):
        same_up_to_order(*(np.stack([autocorrelation(c) for c in v]) for v in (source, surrogate)))


def test_channels_keep_what_they_share():
    one = bumps(1, 1)
    m = np.concatenate([one, -2 * one], axis=1)
    found = smooth_random(m, sample_key(1), DIMS)[0]
    a, b = found - found.mean(1, keepdims=True)
    assert abs(np.corrcoef(a, b)[0, 1] + 1) < 1e-12


@pytest.mark.parametrize("leads", [1, 4])
def test_on_average_a_control_knows_nothing(leads):
    m, draws = bumps(1, leads)[0], 600
    for control in (smooth_random, white_random):
        keys = (sample_key(1, draw=draw) for draw in range(draws))
        r = np.array([[np.corrcoef(s, c)[0, 1] for s, c in zip(m, control(m[None], k, DIMS)[0])] for k in keys])
        assert np.all(np.abs(r.mean(0)) < 3 * r.std(0) / np.sqrt(draws))
        assert (r.std() > 0.2) == (control is smooth_random)


def test_every_channel_takes_every_place():
    m = bumps(1)
    power = m[0].var(1)
    found = np.array([smooth_random(m, sample_key(1, draw=d), DIMS)[0].var(1) for d in range(400)])
    came_from = np.abs(found[..., None] - power).argmin(-1)
    share = np.array([[np.mean(came_from[:, place] == lead) for lead in range(4)] for place in range(4)])
    assert np.all(np.abs(share - 0.25) < 3.5 * np.sqrt(0.25 * 0.75 / 400))


def test_white_is_uniform():
    found = white_random(np.zeros((5, 4, 200)), sample_key(5), DIMS)
    assert kstest(found.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(found[:, :, 1:].ravel(), found[:, :, :-1].ravel())[0, 1]) < 3 / np.sqrt(found.size)


def test_missing_cells_stay_missing_and_do_not_inform():
    m = bumps()
    m[0, :, 40:] = np.nan  # a padded end
    m[1, 2] = np.nan  # a lead that is not there
    m[2, 0, 7] = np.nan  # a gap
    for control in (smooth_random, white_random):
        np.testing.assert_array_equal(np.isnan(control(m, sample_key(3), DIMS)), np.isnan(m))
    found = smooth_random(m, sample_key(3), DIMS)
    alone = smooth_random(m[:1, :, :40], sample_key(1), DIMS)
    np.testing.assert_array_equal(found[0, :, :40], alone[0])
    there = [0, 1, 3]
    same_up_to_order(*(np.stack([autocorrelation(c) for c in v[1, there]]) for v in (m, found)))
    nothing = np.full((1, 2, 3), np.nan)
    assert np.isnan(smooth_random(nothing, sample_key(1), DIMS)).all()


@pytest.mark.parametrize("control", [smooth_random, white_random])
def test_company_order_and_order_of_dims_change_nothing(control):
    m, labels = bumps(), np.array(["a", "b", "c"])
    found = control(m, sample_key(3, labels=labels), DIMS)
    for i in (2, 0):
        np.testing.assert_array_equal(control(m[[i]], sample_key(1, labels=labels[[i]]), DIMS)[0], found[i])
    turned = control(m.transpose(0, 2, 1), sample_key(3, labels=labels), DIMS[::-1])
    np.testing.assert_array_equal(turned.transpose(0, 2, 1), found)
    assert not np.isclose(control(m, sample_key(3, labels=labels, seed=1), DIMS), found).all()
    assert not np.isclose(control(m, sample_key(3, labels=labels, draw=1), DIMS), found).all()


def test_a_table_is_shuffled():
    m = np.array([[1.0, 2.0, np.nan, 4.0]])
    found = [smooth_random(m, sample_key(1, draw=d), ("feature",))[0] for d in range(20)]
    assert all(sorted(f[[0, 1, 3]]) == [1, 2, 4] and np.isnan(f[2]) for f in found)
    assert len({tuple(f[[0, 1, 3]]) for f in found}) > 3
    assert smooth_random(m[:0], sample_key(0), ("feature",)).shape == (0, 4)


def test_maps_need_names_of_their_dims():
    for control in (smooth_random, white_random):
        with pytest.raises(ValueError, match=r"\(3, 4, 50\) but dims \('time',\)"):
            control(bumps(), sample_key(3), ("time",))
        with pytest.raises(ValueError, match="1 cells are infinite"):
            control(np.array([[np.inf, 1.0]]), sample_key(1), ("time",))
