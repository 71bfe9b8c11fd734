import numpy as np
import pytest
import torch

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.keys import Key

from ... import reference
from .inputs import LEADS, TIME, TRAIN, X, array, ecg, fill

RNG = np.random.default_rng(0)

PHI = [1.2, -0.5]


def process(n, size, phi=PHI, scale=1.0, mean=0.0):
    """Series of a known process, after it has forgotten how it began."""
    out = np.zeros((n, size + 200))
    for t in range(size + 200):
        out[:, t] = scale * RNG.normal(size=n) + sum(p * out[:, t - 1 - j] for j, p in enumerate(phi) if t > j)
    return mean + out[:, 200:]


def fitted(phi, variance=1.0, mean=0.0):
    """A process with given coefficients: a reference is fitted, and its numbers put in place."""
    baseline = b.AutoRegressive.fit(array(process(4, 50, phi), sample=None, time=None), len(phi))
    back, k = list(phi), []
    while back:
        k.append(back[-1])
        back = [(u + k[-1] * v) / (1 - k[-1] ** 2) for u, v in zip(back[:-1], back[-2::-1])]
    baseline.fitted["reflection"][:] = k[::-1]
    baseline.fitted["variance"][...] = variance
    baseline.fitted["mean"][...] = mean
    return baseline


def line(n, samples=1):
    return Axes(("time",), (n,), samples=samples)


def test_one_gap_of_a_first_order_process():
    r, s2 = 0.7, 0.04
    baseline = fitted([r], variance=s2 / (1 - r**2))
    x = RNG.normal(size=(1, 9))
    absent = np.zeros(x.shape, bool)
    absent[0, 4] = True
    found = fill(baseline, x, line(9), absent)[0, 4]
    assert found == pytest.approx(r / (1 + r**2) * (x[0, 3] + x[0, 5]), rel=1e-12)
    n = 40000
    drawing = type(baseline)(baseline.fitted, draw=True)
    key = Key(0, np.zeros(n, np.uint64), torch.zeros(n, dtype=torch.int64), np.arange(n))
    rows = torch.as_tensor(x).expand(n, 9)
    drawn = bind(drawing, line(9)).fill(rows, torch.as_tensor(absent).expand(n, 9), key)[:, 4].numpy()
    assert drawn.mean() == pytest.approx(found, abs=5 * np.sqrt(s2 / n))
    assert drawn.var() == pytest.approx(s2 / (1 + r**2), rel=5 * np.sqrt(2 / n))


@pytest.mark.parametrize("phi", [[0.7], [1.2, -0.5], [0.3, -0.2, 0.4]])
@pytest.mark.parametrize("n", [3, 5, 30])
def test_gaps_are_filled_as_by_the_whole_covariance(phi, n):
    baseline = fitted(phi, 2.0, 1.0)
    covariance = reference.autoregressive_covariance(phi, 2.0, n)
    x = 1 + process(6, n, phi)
    absent = RNG.random(x.shape) < 0.4
    absent[:, 0] = False
    x[0, 0], x[1, n // 2] = np.nan, np.nan
    for row, gone, found in zip(x, absent, fill(baseline, x, line(n, 6), absent)):
        expected = reference.conditional(row, gone, np.ones(n), covariance)[0]
        there = ~np.isnan(row)
        np.testing.assert_allclose(found[there], expected[there], rtol=0, atol=1e-11)


def test_draws_have_the_covariance_of_the_process():
    n, phi = 30000, [1.2, -0.5]
    baseline = type(fitted(phi))(fitted(phi, 2.0).fitted, draw=True)
    covariance = reference.autoregressive_covariance(phi, 2.0, 6)
    key = Key(0, np.zeros(n, np.uint64), torch.zeros(n, dtype=torch.int64), np.arange(n))
    everything = torch.ones(n, 6, dtype=torch.bool)
    for causal in (False, True):
        bound = bind(type(baseline)(baseline.fitted, draw=True, causal=causal), line(6))
        drawn = bound.fill(torch.zeros(n, 6, dtype=torch.float64), everything, key).numpy()
        np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=2 * 6 / np.sqrt(n))
        assert np.abs(drawn.mean(0)).max() < 5 * np.sqrt(2.0 / n)


def test_forecasts_are_the_expectation_given_the_past():
    phi, n = [1.2, -0.5], 20
    baseline = type(fitted(phi))(fitted(phi, 2.0, 1.0).fitted, causal=True)
    covariance = reference.autoregressive_covariance(phi, 2.0, n)
    x = 1 + process(4, n, phi)
    absent = np.zeros(x.shape, bool)
    absent[0, 5:9], absent[1, :3], absent[2, 1], absent[3, [4, 6, 7, 19]] = True, True, True, True
    for row, gone, found in zip(x, absent, fill(baseline, x, line(n, 4), absent)):
        np.testing.assert_allclose(found, reference.forecast(row, gone, 1.0, covariance), rtol=0, atol=1e-11)
    assert bind(baseline, line(n, 4)).causal
    assert not bind(fitted(phi), line(n, 4)).causal


def test_the_fit_is_burgs_and_finds_a_known_process():
    train = array(process(30, 400, scale=0.3, mean=5.0), sample=None, time=None)
    baseline = b.AutoRegressive.fit(train, 2)
    np.testing.assert_allclose(baseline.coefficients, PHI, atol=0.03)
    mean, variance, phi = reference.burg(list(train.values[:5]), 3)
    small = b.AutoRegressive.fit(train[:5], 3)
    np.testing.assert_allclose(small.coefficients, phi, rtol=1e-12)
    np.testing.assert_allclose([small.fitted["mean"], small.fitted["variance"]], [mean, variance], rtol=1e-12)


def test_missing_cells_of_the_reference_are_left_out():
    values = process(200, 100)
    values[RNG.random(values.shape) < 0.1] = np.nan
    baseline = b.AutoRegressive.fit(array(values, sample=None, time=None), 2)
    np.testing.assert_allclose(baseline.coefficients, PHI, atol=0.05)


def test_each_channel_has_its_own_process_matched_by_label():
    turned = b.AutoRegressive.fit(TRAIN.isel(lead=[2, 0, 1]).transpose("time", "sample", "lead"), 2)
    absent = np.broadcast_to(np.arange(60) % 9 < 4, X.shape).copy()
    found = fill(b.AutoRegressive.fit(TRAIN, 2), X, ecg(), absent)
    np.testing.assert_allclose(fill(turned, X, ecg(), absent), found, atol=1e-12)
    for lead in range(3):
        alone = b.AutoRegressive.fit(TRAIN.isel(lead=[lead]), 2)
        axes = Axes(("lead", "time"), (1, 60), {"lead": LEADS[[lead]], "time": TIME}, samples=2)
        np.testing.assert_allclose(fill(alone, X[:, [lead]], axes, absent[:, [lead]]), found[:, [lead]], atol=1e-12)


def test_a_constant_channel_stays_constant():
    train = array(np.full((3, 60), 4.0), sample=None, time=None)
    drawing = b.AutoRegressive.fit(train, 2, draw=True)
    np.testing.assert_array_equal(fill(drawing, np.zeros((1, 60)), line(60)), np.full((1, 60), 4.0))


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"order": 0}, ValueError, "order is a whole number of at least 1"),
        ({"order": 60}, ValueError, "order=60 needs series of more cells along 'time'; the reference has 60"),
        ({"dim": "beat"}, KeyError, "no dim 'beat'"),
        ({"sample_dim": "record"}, ValueError, "none of them 'record'"),
    ],
)
def test_what_is_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        b.AutoRegressive.fit(TRAIN, **{"order": 2, **settings})


def test_an_input_with_uneven_times_is_refused():
    with pytest.raises(ValueError, match="dim 'time' is not evenly spaced"):
        bind(b.AutoRegressive.fit(TRAIN, 2), ecg(coords={"lead": LEADS, "time": TIME**2}))


def test_provenance():
    one = b.AutoRegressive.fit(TRAIN, 2)
    assert "mean, variance, reflection of 50 samples (lead 3, time 60); order=2: sha256" in repr(one)
    assert len({one, b.AutoRegressive.fit(TRAIN, 2), b.AutoRegressive.fit(TRAIN, 2, draw=True),
                b.AutoRegressive.fit(TRAIN, 3), b.AutoRegressive.fit(TRAIN[1:], 2)}) == 4  # fmt: skip
