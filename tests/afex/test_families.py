"""The losses: slopes that are those of the loss, and the coefficients of scikit-learn's own regressions."""

import numpy as np
import pytest
from sklearn.linear_model import GammaRegressor, HuberRegressor, PoissonRegressor

from tsattr.afex.families import Gamma, Huber, Identity, Logit, Poisson, Softmax
from tsattr.afex.solve import Problem

FAMILIES = (Identity(), Logit(), Softmax(), Huber(0.7), Poisson(), Gamma())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
def test_slopes_are_those_of_the_loss(family):
    rng = np.random.default_rng(0)
    eta = rng.normal(size=(50, 3 if isinstance(family, Softmax) else 1))
    y = (
        np.eye(3)[rng.integers(3, size=50)]
        if eta.shape[1] == 3
        else rng.integers(1, 2 if isinstance(family, Logit) else 5, (50, 1)) * 1.0
    )
    gradient, curvature = family.derivatives(eta, y)
    for c in range(eta.shape[1]):
        step = 1e-6 * np.eye(eta.shape[1])[c]
        assert np.allclose((family.loss(eta - step, y) - family.loss(eta + step, y)) / 2e-6, gradient[:, c], atol=1e-7)
    assert (family.loss(eta, y) >= 0).all()
    assert (curvature > 0).all()
    perfect = (
        family.start(np.full((5, 1), 2.0), np.ones(5)) if eta.shape[1] == 1 and not isinstance(family, Logit) else None
    )
    if perfect is not None:
        assert np.allclose(family.loss(np.tile(perfect, (5, 1)), np.full((5, 1), 2.0)), 0)
        assert np.allclose(family.mean(perfect), 2)


@pytest.mark.parametrize("kind", [Poisson, Gamma, Huber])
def test_without_penalties_the_coefficients_are_those_of_the_textbook(kind):
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(400, 3)), rng.uniform(0.5, 2, 400)
    score = 0.5 + z @ [0.6, -0.3, 0.0]
    if kind is Huber:
        y = score + rng.standard_t(1.5, 400)
        other = HuberRegressor(alpha=0, epsilon=1.345, tol=1e-9, max_iter=10_000).fit(z, y, w)
        family = Huber(1.345 * other.scale_)
    else:
        y = rng.poisson(np.exp(score)) if kind is Poisson else np.exp(score) * rng.gamma(2.0, 0.5, 400)
        other = (PoissonRegressor if kind is Poisson else GammaRegressor)(alpha=0, tol=1e-10, max_iter=1000).fit(
            z, y, w
        )
        family = kind()
    found = Problem(z, y[:, None].astype(float), w, family, np.arange(3)).solve(
        np.full(3, 1e-12), tune=False, rounds=200
    )
    assert np.allclose(found.coef[:, 0], np.r_[other.intercept_, other.coef_], rtol=1e-3, atol=1e-4)


def test_the_width_is_that_of_normal_noise():
    y = np.random.default_rng(0).normal(size=(100_000, 1)) * 3
    wide = Huber().rescaled(np.zeros_like(y), y, np.ones(len(y)))
    assert wide.width == pytest.approx(3 * 1.345, rel=0.01)
    assert wide.rescaled(np.zeros_like(y), y, np.ones(len(y))) == wide
