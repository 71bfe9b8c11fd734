"""The joint law of a step: its algebra against the textbook and scipy, and what it learns of a process with a known law."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.core.baselines.joint import StepLaw, conditioned, negative_log_density
from tsattr.core.keys import Key

from ... import reference

RNG = np.random.default_rng(0)
PHI, NOISE, COPY = 0.7, 0.6, 0.3


def step(channels, rows=1):
    """Mean, factor and noise of random laws, and values."""
    shapes = [(rows, channels), (rows, channels, channels - 1), (rows, channels), (rows, channels)]
    mean, factor, noise, values = (torch.as_tensor(RNG.normal(size=s)) for s in shapes)
    return mean, factor, noise**2 + 0.1, values


def covariance_of(factor, noise):
    return (factor @ factor.mT + torch.diag_embed(noise)).numpy()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_conditioning_and_density_are_those_of_the_textbook(channels):
    rows = 12
    mean, factor, noise, values = step(channels, rows)
    present = torch.as_tensor(RNG.random((rows, channels)) < 0.5)
    present[0], present[1] = True, False
    found = conditioned(mean, factor, noise, values, present, None).numpy()
    cost = negative_log_density(mean, factor, noise, values, present).numpy()
    for r, covariance in enumerate(covariance_of(factor, noise)):
        mu, x, known = mean[r].numpy(), values[r].numpy(), present[r].numpy()
        np.testing.assert_allclose(found[r], reference.conditional(x, ~known, mu, covariance)[0], atol=1e-10)
        want = 0.0
        if known.any():
            among = covariance[np.ix_(known, known)]
            want = -stats.multivariate_normal(mu[known], among).logpdf(x[known]) - known.sum() / 2 * np.log(2 * np.pi)
        assert cost[r] == pytest.approx(want, abs=1e-9)


def test_draws_have_the_conditional_covariance():
    n = 40000
    mean, factor, noise, values = step(4)
    present = torch.tensor([[True, False, False, True]])
    numbers = tuple(torch.as_tensor(RNG.normal(size=(n, k))) for k in (3, 4))
    many = [v.expand(n, *v.shape[1:]) for v in (mean, factor, noise, values, present)]
    drawn = conditioned(*many, numbers)[:, 1:3].numpy()
    x, known = values[0].numpy(), present[0].numpy()
    want, among = reference.conditional(x, ~known, mean[0].numpy(), covariance_of(factor, noise)[0])
    scale = np.sqrt(np.diag(among))
    assert np.abs((drawn.mean(0) - want[1:3]) / scale).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(np.cov(drawn.T) / np.outer(scale, scale), among / np.outer(scale, scale), atol=0.03)


def test_one_factor_less_than_channels_makes_any_covariance():
    root = RNG.normal(size=(5, 5))
    covariance = root @ root.T
    least = np.linalg.eigvalsh(covariance)[0]
    sizes, directions = np.linalg.eigh(covariance - least * np.eye(5))
    factor = (directions * np.sqrt(np.maximum(sizes, 0)))[:, 1:]
    np.testing.assert_allclose(factor @ factor.T + least * np.eye(5), covariance, atol=1e-10)
    assert StepLaw(5, 4, 3).law(torch.zeros(2, 3))[1].shape == (2, 5, 4)


# ------------------------------------------------- a copied channel: a_t = phi a_t-1 + e, b_t = a_t + 0.3 u


def copies(n, times=14, seed=0):
    rng = np.random.default_rng(seed)
    a = np.zeros((n, times))
    a[:, 0] = rng.normal(size=n) * NOISE / np.sqrt(1 - PHI**2)
    for t in range(1, times):
        a[:, t] = PHI * a[:, t - 1] + NOISE * rng.normal(size=n)
    return np.stack([a, a + COPY * rng.normal(size=(n, times))], 1)


def labelled(values, **coords):
    return xr.DataArray(values, {"feature": ["a", "b"][: values.shape[1]], **coords}, ("sample", "feature", "time"))


AXES = Axes(("feature", "time"), (2, 14), {"feature": np.array(["a", "b"])}, samples=300)
START, LENGTH, N = 6, 4, 300


@pytest.fixture(scope="module")
def law():
    return b.JointGenerator.fit(labelled(copies(500)), hidden=8, epochs=60, learning_rate=0.01)


@pytest.fixture(scope="module")
def x():
    return torch.as_tensor(copies(N, seed=1))


def filled(law, x, *features, draws=1):
    """Values (draws, n, feature, length) of a window."""
    bound, gone = bind(law, AXES), torch.zeros(len(x), 2, dtype=torch.bool)
    gone[:, features] = True
    ahead, each = bound.ahead(x), torch.arange(len(x))
    keys = [Key(0, each.numpy().astype(np.uint64), each, np.full(len(x), d)) for d in range(draws)]
    start = torch.full((len(x),), START)
    return torch.stack([ahead(each, start, LENGTH, gone, k).transpose(1, 2) for k in keys]).numpy()


def test_a_series_given_the_other_at_the_same_time(law, x):
    """b given a is a, with sd 0.3; so is its spread over draws, at each step of the window."""
    a = x[:, 0, START : START + LENGTH].numpy()
    mean = filled(b.JointGenerator(law.fitted, law.hidden, draw=False), x, 1)[0, :, 1]
    assert np.sqrt(((mean - a) ** 2).mean()) < 0.12
    drawn = filled(law, x, 1, draws=20)[:, :, 1] - mean
    np.testing.assert_allclose(drawn.std((0, 1)), COPY, rtol=0.12)


def test_a_series_given_a_noisy_copy_of_it(law, x):
    """a_t given b_t and the past is the posterior of two normals; the filled steps are exactly known up to b's noise."""
    past = PHI * x[:, 0, START - 1].numpy()
    gain = NOISE**2 / (NOISE**2 + COPY**2)
    want = past + gain * (x[:, 1, START].numpy() - past)
    mean = filled(b.JointGenerator(law.fitted, law.hidden, draw=False), x, 0)[0, :, 0, 0]
    assert np.sqrt(((mean - want) ** 2).mean()) < 0.12
    drawn = filled(law, x, 0, draws=20)[:, :, 0, 0] - mean
    assert drawn.std() == pytest.approx(NOISE * np.sqrt(1 - gain), rel=0.12)


def test_both_series_from_the_past_alone(law, x):
    """a_h steps on: phi^h a, variance s^2 (1 - phi^2h) / (1 - phi^2); b the same and 0.09 more, correlated with a."""
    drawn = filled(law, x, 0, 1, draws=60)
    for h in range(LENGTH):
        want = PHI ** (h + 1) * x[:, 0, START - 1].numpy()
        variance = NOISE**2 * (1 - PHI ** (2 * h + 2)) / (1 - PHI**2)
        assert np.sqrt(((drawn[:, :, 0, h].mean(0) - want) ** 2).mean()) < 0.2
        away = drawn[..., h] - drawn[..., h].mean(0)
        found = np.einsum("dnf,dng->fg", away, away) / (59 * N)
        np.testing.assert_allclose(found, variance + np.diag([0, COPY**2]), rtol=0.2)


def test_its_calibration_is_that_of_one_step(law):
    check = law.calibration(labelled(copies(300, seed=2)))
    sd = NOISE / np.sqrt(1 - PHI**2)
    want = np.sqrt((NOISE**2 / sd**2 + (NOISE**2 + COPY**2) / (sd**2 + COPY**2)) / 2)
    np.testing.assert_allclose(check.error, want, rtol=0.08)
    np.testing.assert_allclose(check.ratio, 1, atol=0.1)
    np.testing.assert_allclose([check.inside_50[0], check.inside_90[0]], [0.5, 0.9], atol=0.05)


def test_many_series_and_one():
    many = xr.DataArray(RNG.normal(size=(12, 70, 5)), dims=("sample", "feature", "time"))
    law = b.JointGenerator.fit(many, hidden=3, epochs=1)
    assert law.network().shape == (70, 34)
    x = torch.as_tensor(many.values)
    absent = torch.as_tensor(RNG.random(x.shape) < 0.5)
    key = Key(0, np.arange(12, dtype=np.uint64), torch.arange(12), np.zeros(12, int))
    assert torch.isfinite(bind(law, Axes(("feature", "time"), (70, 5), samples=12)).fill(x, absent, key)).all()
    one = b.JointGenerator.fit(many[:, 0], hidden=3, epochs=1)
    found = bind(one, Axes(("time",), (5,), samples=12)).fill(x[:, 0], absent[:, 0], key)
    assert torch.equal(found[~absent[:, 0]], x[:, 0][~absent[:, 0]])
    assert torch.isfinite(found).all()
