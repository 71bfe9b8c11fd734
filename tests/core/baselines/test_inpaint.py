import numpy as np
import pytest

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind

from ... import reference
from .inputs import LEADS, X, ecg, fill

RNG = np.random.default_rng(0)

SPHERE = Axes(("lat", "lon"), (5, 8), periodic=frozenset({"lon"}), samples=3)
FIELD = RNG.normal(size=(3, 5, 8))


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_along_one_dim_it_is_the_straight_line_from_cell_to_cell(share):
    absent = RNG.random(X.shape) < share
    absent[..., 30] = False
    expected = [reference.bridge(x, gone, np.arange(60)) for x, gone in zip(X, absent)]
    np.testing.assert_allclose(fill(b.Inpaint(), X, ecg(), absent), expected, rtol=0, atol=1e-12)


def test_a_line_and_a_plane_are_found_again():
    line = np.broadcast_to(2 + 3 * np.arange(60.0), X.shape).copy()
    absent = np.zeros(X.shape, bool)
    absent[..., 5:17] = absent[..., 40] = True
    np.testing.assert_allclose(fill(b.Inpaint(), line, ecg(), absent), line, atol=1e-10)
    lat, lon = np.indices((9, 11))
    plane = (1.0 + 2 * lat - 0.5 * lon)[None]
    inside = np.zeros(plane.shape, bool)
    inside[0, 2:7, 3:9] = True
    axes = Axes(("lat", "lon"), (9, 11))
    np.testing.assert_allclose(fill(b.Inpaint(("lat", "lon")), plane, axes, inside), plane, atol=1e-12)
    assert not np.allclose(fill(b.Inpaint("lon"), plane**2, axes, inside), plane**2)


@pytest.mark.parametrize("periodic", [False, True])
def test_over_two_dims_it_is_the_weighted_mean_of_eight_neighbours(periodic):
    axes = SPHERE if periodic else Axes(("lat", "lon"), (5, 8), samples=3)
    x = FIELD.copy()
    x[0, 2, 2:5] = x[1, 0, 0] = np.nan
    absent = RNG.random(x.shape) < 0.5
    found = fill(b.Inpaint(("lat", "lon")), x, axes, absent)
    for row, gone, values in zip(x, absent, found):
        expected = reference.road(row, gone, (False, periodic))
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)
    turned = Axes(("lon", "lat"), (8, 5), periodic=axes.periodic, samples=3)
    other = fill(b.Inpaint(("lat", "lon")), x.transpose(0, 2, 1), turned, absent.transpose(0, 2, 1))
    np.testing.assert_allclose(other.transpose(0, 2, 1), found, rtol=0, atol=1e-12)


def test_a_periodic_line_wraps():
    x = np.arange(8.0)[None]
    absent = np.isin(np.arange(8), [0, 7])[None]
    axes = Axes(("lon",), (8,), periodic=frozenset({"lon"}))
    np.testing.assert_allclose(fill(b.Inpaint("lon"), x, axes, absent)[0, [7, 0]], [6 - 5 / 3, 1 + 5 / 3])
    np.testing.assert_allclose(fill(b.Inpaint("lon"), x, Axes(("lon",), (8,)), absent)[0, [7, 0]], [6, 1])


def test_missing_neighbours_are_dropped_and_what_nothing_reaches_is_a_constant():
    x = np.array([[1.0, 2.0, np.nan, 4.0, 5.0, np.nan, 7.0]])
    absent = np.array([[False, True, False, True, True, False, True]])
    axes = Axes(("time",), (7,))
    found = fill(b.Inpaint(otherwise=-9.0), x, axes, absent)
    np.testing.assert_array_equal(found, [[1, 1, np.nan, -9, -9, np.nan, -9]])
    everything = fill(b.Inpaint(otherwise=2.0), X, ecg())
    np.testing.assert_array_equal(everything, np.full(X.shape, 2.0))


def test_noise_is_a_share_of_each_channels_deviation():
    absent = np.broadcast_to(np.arange(60) % 4 == 1, X.shape).copy()
    x = X * np.array([1.0, 10.0, 100.0])[:, None]
    plain = fill(b.Inpaint(), x, ecg(), absent)
    noisy = np.stack([fill(b.Inpaint(noise=0.5), x, ecg(), absent, draw=d) for d in range(200)])
    ratio = (noisy - plain).std(0) / x.std(-1, keepdims=True)
    np.testing.assert_allclose(ratio[absent].reshape(2, 3, -1).mean(-1), 0.5, rtol=0.05)
    np.testing.assert_array_equal(noisy[:, ~absent], np.broadcast_to(x[~absent], noisy[:, ~absent].shape))
    assert (
        np.abs((noisy - plain).mean(0)[absent] / np.broadcast_to(x.std(-1, keepdims=True), x.shape)[absent]).max() < 0.2
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": ()}, r"one dim or two unlike ones, got dims=\(\)"),
        ({"dims": ("a", "b", "c")}, "one dim or two"),
        ({"dims": ("time", "time")}, "two unlike ones"),
        ({"noise": -0.1}, "needs noise >= 0, a share of the standard deviation, got -0.1"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        b.Inpaint(**settings)


def test_an_input_without_the_dim():
    with pytest.raises(KeyError, match="no dim 'time'"):
        bind(b.Inpaint(), Axes(("lead",), (3,), {"lead": LEADS}))
