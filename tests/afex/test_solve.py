"""The solver against closed forms, other libraries and slow references."""

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.metrics import log_loss

from tsattr.afex.atoms import Bins, step_gains
from tsattr.afex.attention import Scores
from tsattr.afex.basis import Feature, Spline, knots_of, quantiles
from tsattr.afex.families import Identity, Logit, Softmax
from tsattr.afex.pairs import PairBasis, edge_gains, products, ranked, significant
from tsattr.afex.rows import canonical, held_out_rows
from tsattr.afex.significance import Fit, Score
from tsattr.afex.solve import LARGEST, Problem


def columns(n=200, m=5, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, m)) * rng.uniform(0.5, 2, m)
    return z - z.mean(0), rng


def test_given_penalties_are_ridge_regression():
    z, rng = columns()
    y, w = z @ [1.0, 0, -2, 0, 0.5] + 3 + rng.normal(size=200), rng.uniform(0.5, 2, 200)
    found = Problem(z, y[:, None], w, Identity(), np.zeros(5, int)).solve(np.full(1, 7.0), tune=False)
    ridge = Ridge(alpha=7.0).fit(z, y, w)
    assert np.allclose(found.coef[1:, 0], ridge.coef_)
    assert np.isclose(found.coef[0, 0], ridge.intercept_)


def test_tuned_penalties_are_those_of_the_marginal_likelihood():
    z, rng = columns(n=80, m=12)
    y = z @ rng.normal(size=12) * 0.3 + rng.normal(size=80)
    y -= y.mean()
    found = Problem(z, y[:, None], np.ones(80), Identity(), np.zeros(12, int)).solve(np.full(1, 8.0))

    def evidence(penalty, dispersion):  # of the model without an intercept
        cov = dispersion * (np.eye(80) + z @ z.T / penalty)
        return -0.5 * (np.linalg.slogdet(cov)[1] + y @ np.linalg.solve(cov, y))

    grid = np.exp(np.linspace(-2, 6, 161))
    noise = np.exp(np.linspace(-1, 1, 81)) * found.dispersion
    best = max((evidence(p, d), p, d) for p in grid for d in noise)
    assert np.isclose(np.log(found.penalty[0]), np.log(best[1]), atol=0.2)
    bayes = BayesianRidge(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, max_iter=1000).fit(z, y)
    assert np.allclose(found.coef[1:, 0], bayes.coef_, atol=0.02)


def test_a_group_of_no_use_is_left_out_and_a_useful_one_is_not():
    z, rng = columns(n=400, m=10)
    y = z[:, :5] @ [1.0, 1, 1, 1, 1] + rng.normal(size=400)
    found = Problem(z, y[:, None], np.ones(400), Identity(), np.repeat([0, 1], 5)).solve(np.full(2, 40.0))
    assert found.penalty[0] < 10
    assert found.penalty[1] > 100
    assert np.abs(found.coef[6:]).max() < 0.05
    empty = Problem(z, z[:, :1] * 2, np.ones(400), Identity(), np.r_[0, np.ones(9, int)]).solve(
        np.array([1.0, LARGEST])
    )
    assert np.allclose(empty.coef[:, 0], [0, 2, *[0] * 9], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_given_penalties_are_logistic_regression(classes):
    z, rng = columns(n=300)
    label = np.digitize(z @ [1.0, 0, -1, 0, 0.5] + rng.logistic(size=300), [0, 1.5][: classes - 1])
    w = rng.uniform(0.5, 2, 300)
    y, family = ((label[:, None] == 1).astype(float), Logit()) if classes == 2 else (np.eye(3)[label], Softmax())
    found = Problem(z, y, w, family, np.zeros(5, int)).solve(np.full(1, 2.0), tune=False)
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(z, label, w)
    assert np.allclose(found.coef[1:].T, peer.coef_, atol=1e-5)
    shift = found.coef[0] - peer.intercept_
    assert np.allclose(shift - shift.mean() * (classes > 2), 0, atol=1e-5)


@pytest.mark.parametrize("family", [Identity(), Logit(), Softmax()])
def test_slopes_are_derivatives_of_the_loss(family):
    rng = np.random.default_rng(0)
    k = 3 if isinstance(family, Softmax) else 1
    eta, y = rng.normal(size=(6, k)), np.eye(3)[rng.integers(3, size=6)][:, :k]
    gradient, curvature = family.derivatives(eta, y)
    h = 1e-4
    for c in range(k):
        step = h * np.eye(k)[c]
        up, down = family.loss(eta + step, y), family.loss(eta - step, y)
        assert np.allclose((down - up) / (2 * h), gradient[:, c], atol=1e-6)
        second = (up - 2 * family.loss(eta, y) + down) / h**2
        assert np.allclose(second * (k / (k - 1) if k > 1 else 1), curvature[:, c], atol=1e-5)


def test_a_sign_holds_and_where_it_is_free_nothing_changes():
    z, rng = columns()
    y = (z @ [1.0, -1, 0.5, 0, 0] + rng.normal(size=200))[:, None]
    free = Problem(z, y, np.ones(200), Identity(), np.zeros(5, int)).solve(np.ones(1), tune=False)
    bound = Problem(z, y, np.ones(200), Identity(), np.zeros(5, int), np.array([1, 1, 0, 0, 0], bool))
    found = bound.solve(np.ones(1), tune=False)
    assert found.coef[2, 0] == 0 > free.coef[2, 0]
    without = Problem(z[:, [0, 2, 3, 4]], y, np.ones(200), Identity(), np.zeros(4, int)).solve(np.ones(1), tune=False)
    assert np.allclose(found.coef[[0, 1, 3, 4, 5], 0], without.coef[:, 0])


def test_gains_of_steps_are_those_of_refits():
    z, rng = columns(n=60, m=2)
    x, w = rng.normal(size=60), rng.uniform(0.5, 2, 60)
    y, penalty = rng.normal(size=60), np.array([0.5, 2.0])

    def loss(z, penalty):
        problem = Problem(z, y[:, None], w, Identity(), np.arange(z.shape[1]))
        found = problem.solve(penalty, tune=False)
        return w @ (y - found.eta[:, 0]) ** 2 + penalty @ found.coef[1:, 0] ** 2, found.eta

    before, eta = loss(z, penalty)
    bins = Bins.of(x, np.ones(60, bool), w)
    gain = step_gains(bins, Score((y[:, None] - eta) * w[:, None], np.tile(w[:, None], (1, 1))), z, penalty, w)
    looked = [t for t in range(len(bins.thresholds)) if gain[t] > 0]
    assert len(looked) > 20
    for t in looked[::5]:
        step = (x > bins.thresholds[t]).astype(float)
        after, _ = loss(np.column_stack([z, step - np.average(step, weights=w)]), np.r_[penalty, 1e-9])
        assert np.isclose(before - after, gain[t], rtol=1e-4, atol=1e-6)


def test_gains_of_edges_are_those_of_tables():
    rng = np.random.default_rng(0)
    x, cell, r, h = rng.normal(size=200), rng.integers(3, size=200), rng.normal(size=200), rng.uniform(0.5, 2, 200)
    bins = Bins.of(x, np.ones(200, bool), np.ones(200))
    gain = edge_gains(bins, np.eye(3)[cell], Score(r[:, None], h[:, None]), np.ones(200))
    for t in (40, 100, 150):
        expected = 0.0
        for c in range(3):
            parts = [(cell == c) & (side == (x > bins.thresholds[t])) for side in (True, False)]
            expected += sum(r[p].sum() ** 2 / h[p].sum() for p in parts) - r[cell == c].sum() ** 2 / h[cell == c].sum()
        assert np.isclose(gain[t], expected)


def test_the_true_pair_is_ranked_first_and_pure_noise_passes_no_test():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (1000, 6))
    w = np.ones(1000)
    bases = [PairBasis.of(Feature.fit(x[:, j], w), x[:, j], w) for j in range(6)]
    allowed = ~np.eye(6, dtype=bool)
    noise = rng.normal(size=1000)
    for truth, pair in ((x[:, 1] * x[:, 4], (1, 4)), (np.sign(x[:, 0]) * np.sign(x[:, 5]), (0, 5)), (0 * noise, None)):
        state = Fit(Identity(), np.zeros((1000, 1)), (truth + noise)[:, None], w, 1.0)
        found = ranked(bases, state, allowed, 10)
        passed = significant(found, 30)
        assert [c.pair for c in passed] == ([pair] if pair else [])


@pytest.mark.parametrize("classes", [2, 3])
def test_gains_of_classes_are_likelihood_ratios(classes):
    rng = np.random.default_rng(0)
    v, y = rng.normal(size=(300, 3)), rng.integers(classes, size=300)
    shares = np.bincount(y) / 300
    if classes == 2:
        family, hot, start = Logit(), (y == 1)[:, None].astype(float), np.log(shares[1:] / shares[:1])
    else:
        family, hot, start = Softmax(), np.eye(classes)[y], np.log(shares) - np.log(shares).mean()
    columns = np.column_stack([np.ones(300), v])
    gain = Fit(family, np.tile(start, (300, 1)), hot, np.ones(300), 1.0).gain(columns)
    best = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(v, y)
    expected = 2 * (log_loss(y, np.tile(shares, (300, 1))) - log_loss(y, best.predict_proba(v))) * 300
    assert np.isclose(gain, expected, rtol=1e-3)


def test_gain_of_a_separating_column_is_bounded_by_the_loss_there_is():
    y = np.repeat([0.0, 1.0], 50)[:, None]
    state = Fit(Logit(), np.zeros((100, 1)), y, np.ones(100), 1.0)
    assert 0.99 * 200 * np.log(2) < state.gain(2 * y - 1) <= 200 * np.log(2)


def test_gain_does_not_depend_on_what_was_taken_off_first():
    rng = np.random.default_rng(0)
    v, y = rng.normal(size=(200, 2)), (rng.random((200, 1)) < 0.3).astype(float)
    state = Fit(Logit(), np.full((200, 1), -1.0), y, np.ones(200), 1.0)
    shifted = Fit(Logit(), state.eta + v[:, :1], y, np.ones(200), 1.0)
    assert np.isclose(shifted.gain(v, removed=v[:, :1]), state.gain(v))


def test_products_pair_every_column_with_every_other():
    a, b = np.arange(6.0).reshape(2, 3), np.array([[1.0, 10.0], [2.0, 20.0]])
    assert products(a, b)[1].tolist() == [3 * 2, 3 * 20, 4 * 2, 4 * 20, 5 * 2, 5 * 20]


def test_quantiles_and_knots_count_weights_as_rows():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=50), rng.integers(1, 4, 50).astype(float)
    again = np.repeat(x, w.astype(int))
    shares = np.linspace(0.01, 0.99, 23)
    assert np.array_equal(quantiles(x, w, shares), quantiles(again, np.ones(len(again)), shares))
    knots = knots_of(x, w, 7)
    assert len(knots) == 7
    assert x.min() < knots.min() < knots.max() < x.max()


def test_a_spline_has_no_straight_part_and_spans_smooth_curves():
    rng = np.random.default_rng(0)
    u, w = rng.uniform(-2, 2, 2000), np.ones(2000)
    z = Spline.fit(u, w)(u)
    z = z - z.mean(0)
    assert np.abs(z.T @ (u - u.mean())).max() < 1e-8 * len(u)
    for curve in (np.sin(3 * u), np.exp(u), np.abs(u)):
        base = np.column_stack([np.ones_like(u), u, z])
        left = curve - base @ np.linalg.lstsq(base, curve, rcond=None)[0]
        assert left.var() < 1e-3 * curve.var()


def test_scores_of_attention():
    z, rng = columns(m=3)
    y = z[:, :1] + rng.normal(size=(200, 1))
    alpha = Scores(z, y, np.ones(200), "correlation").weights[:, 0]
    assert np.allclose(alpha, [np.corrcoef(c, y[:, 0])[0, 1] for c in z.T])
    assert np.allclose(Scores(z, y, np.ones(200), "softmax").weights[:, 0], np.exp(alpha) / np.exp(alpha).sum())


def test_rows_in_canonical_order():
    rng = np.random.default_rng(0)
    x, y, w = rng.integers(3, size=(30, 2)).astype(float), rng.integers(2, size=(30, 1)).astype(float), np.ones(30)
    x[::7, 0] = np.nan
    order = rng.permutation(30)
    a, b = canonical(x, y, w), canonical(x[order], y[order], w)
    assert all(np.array_equal(u, v, equal_nan=True) for u, v in zip(a, b))
    assert a[2].sum() == 30
    assert len(np.unique(np.column_stack(a[:2]), axis=0)) == len(a[0])
    scaled = canonical(x, y, w / 30)
    assert np.allclose(scaled[2], a[2])
    held = held_out_rows(100, 0.2, rng)
    assert held.reshape(-1, 5).sum(1).tolist() == [1] * 20


def test_rows_that_weights_are_worth():
    rng = np.random.default_rng(0)
    own, again, y = (
        rng.normal(size=(40, 1)),
        rng.integers(3, size=(40, 1)).astype(float),
        np.tile([[0.0], [1.0]], (20, 1)),
    )
    w = np.r_[np.full(20, 1.0), np.full(20, 3.0)]
    kish = 80**2 / 200  # the classes have equal shares, so that all rows have the same say in these
    unequal = 120 * (20 * 25 + 20 * 5) / (20 * 25 + 20 * 25)  # shares 1/6 and 5/6: squares 25/36 and 1/36
    for x, given, rows in (
        (own, w, kish),  # each row is known by its value
        (own, 7 * w, kish),
        (again, w, 80),
        (again, 7 * w, 80),
        (again, w / 3, kish),
        (again, 1 + 4 * y[:, 0], unequal),  # of classes
        (again, np.full(40, 0.2), 40),
    ):
        assert np.isclose(canonical(x, y, given)[2].sum(), rows)
