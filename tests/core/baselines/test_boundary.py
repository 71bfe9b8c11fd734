import numpy as np
import pytest
import torch
import xarray as xr
from scipy import optimize

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.axes import Axes
from tsattr.core.baselines.fills import bind
from tsattr.testing.methods.state import Trap, same_state, state_of

from ...conftest import linear_net, recurrent_net, relu_net, signals, smooth_net

X, TRAIN = signals(6), signals(40, seed=2)
MATRIX = np.cov(TRAIN.values.reshape(40, -1).T) + 0.1 * np.eye(36)


def moved(boundary, x=X):
    return boundary.value.values - x.values


@pytest.mark.parametrize("matrix", [None, MATRIX])
def test_a_linear_model_gives_the_projection_on_the_hyperplane(matrix):
    net = linear_net()
    w = (net[1].weight[1] - net[1].weight[2]).detach().numpy()
    margin = (net(torch.as_tensor(X.values)) @ torch.tensor([0, 1.0, -1.0]).double()).detach().numpy()
    c = np.eye(36) if matrix is None else matrix
    expected = X.values.reshape(6, -1) - margin[:, None] * (c @ w) / (w @ c @ w)
    found = b.Boundary.fit(net, X, a=1, b=2, covariance=matrix)
    np.testing.assert_allclose(found.value.values.reshape(6, -1), expected, rtol=0, atol=1e-12)
    assert found.margin.values.max() < 1e-12


@pytest.mark.parametrize("make", [linear_net, relu_net, smooth_net, recurrent_net])
@pytest.mark.parametrize("covariance", [None, TRAIN])
def test_a_path_from_it_sums_to_the_margin(make, covariance):
    net = make()
    neutral = b.Boundary.fit(net, X, a=0, b=2, covariance=covariance)
    ds = ta.explain(net, X, ta.IntegratedGradients(neutral, steps=300), target=ta.targets.Margin(0, 2))
    margin = (net(torch.as_tensor(X.values))[:, [0, 2]] @ torch.tensor([1.0, -1.0]).double()).detach()
    assert (neutral.margin.values <= 1e-5 * np.abs(margin.numpy())).all()
    np.testing.assert_allclose(ds.prediction, margin, atol=1e-12)
    np.testing.assert_allclose(ds.attribution.sum(("lead", "time")), margin, rtol=0.01)


def test_the_nearest_point_of_a_sphere_and_of_an_ellipsoid():
    rows = np.random.default_rng(0).normal(size=(20, 4)) * 2
    ball = lambda x: (x**2).sum(1) - 1  # noqa: E731
    found = b.Boundary.fit(ball, rows, a=0)
    np.testing.assert_allclose(found.value.values, rows / np.linalg.norm(rows, axis=1)[:, None], atol=1e-5)
    c = np.diag([1.0, 4.0, 0.25, 1.0])
    found = b.Boundary.fit(ball, rows, a=0, covariance=c, steps=200).value.values
    for x, near in zip(rows, found):
        distance = lambda z, x=x: (z - x) @ np.linalg.inv(c) @ (z - x)  # noqa: E731
        best = optimize.minimize(distance, x / np.linalg.norm(x), method="SLSQP", constraints={"type": "eq", "fun": lambda z: z @ z - 1},
                                 options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
        assert distance(near) == pytest.approx(best.fun, rel=1e-4)


def test_a_smooth_network_is_met_at_a_point_from_which_the_way_back_is_along_the_gradient():
    """The condition of Lagrange: x - x' is a multiple of C grad."""
    net = smooth_net()
    matrix = torch.as_tensor(MATRIX)
    found = b.Boundary.fit(net, X, a=0, b=1, covariance=MATRIX, tolerance=1e-9, steps=300)
    rows = torch.as_tensor(found.value.values).requires_grad_(True)
    y = net(rows)
    gradient = torch.autograd.grad((y[:, 0] - y[:, 1]).sum(), rows)[0].reshape(6, -1) @ matrix
    cosine = torch.nn.functional.cosine_similarity(gradient, torch.as_tensor(moved(found)).reshape(6, -1))
    np.testing.assert_allclose(cosine.abs(), 1, atol=1e-7)


def test_without_b_it_is_the_strongest_other_class():
    net = relu_net()
    y = net(torch.as_tensor(X.values)).detach()
    found = b.Boundary.fit(net, X, a=1)
    for at in range(len(X)):
        other = max((k for k in (0, 2)), key=lambda k: y[at, k])
        alone = b.Boundary.fit(net, X.isel(sample=[at]), a=1, b=other)
        np.testing.assert_allclose(alone.value.values[0], found.value.values[at], atol=1e-12)


def test_batches_company_and_order_of_samples_change_nothing():
    net, order = smooth_net(), [4, 0, 3]
    whole = b.Boundary.fit(net, X, a=1, covariance=TRAIN)
    few = b.Boundary.fit(net, X.isel(sample=order), a=1, covariance=TRAIN, batch_size=2)
    np.testing.assert_allclose(few.value.values, whole.value.values[order], rtol=0, atol=1e-12)
    turned = X.transpose("time", "sample", "lead")
    other = b.Boundary.fit(lambda x: net(x.transpose(1, 2)), turned, a=1, covariance=TRAIN)
    np.testing.assert_allclose(other.value.values.transpose(0, 2, 1), whole.value.values, rtol=0, atol=1e-10)


def test_a_covariance_is_a_matrix_a_reference_or_a_fitted_normal():
    net = linear_net()
    fitted = b.ConditionalGaussian.fit(TRAIN, shrinkage=0.3)
    factor, noise = fitted.fitted["factor"][0], fitted.fitted["noise"][0]
    by_matrix = b.Boundary.fit(net, X, a=1, covariance=factor @ factor.T + np.diag(noise))
    np.testing.assert_allclose(moved(b.Boundary.fit(net, X, a=1, covariance=fitted)), moved(by_matrix), atol=1e-11)
    usual = b.Boundary.fit(net, X, a=1, covariance=b.ConditionalGaussian.fit(TRAIN))
    np.testing.assert_array_equal(moved(b.Boundary.fit(net, X, a=1, covariance=TRAIN)), moved(usual))


def test_missing_cells_stay_and_are_not_moved():
    holes = X.copy()
    holes[0, 1, 3:6] = np.nan
    net = relu_net()
    found = b.Boundary.fit(lambda x: net(torch.nan_to_num(x)), holes, a=1, covariance=TRAIN)
    np.testing.assert_array_equal(np.isnan(found.value.values), holes.isnull())
    assert found.margin.values.max() < 1e-5


def test_float32_rows_for_a_float32_model():
    wide, narrow = (
        b.Boundary.fit(smooth_net(), X, a=1),
        b.Boundary.fit(smooth_net().float(), X.astype(np.float32), a=1, tolerance=1e-4),
    )
    np.testing.assert_allclose(narrow.value.values, wide.value.values, atol=1e-3)


@pytest.mark.parametrize("last", [10**9, 1, 2])
def test_the_model_is_left_as_it_was(last):
    model = Trap(relu_net(), last)
    before = state_of(model)
    if last < 10:
        with pytest.raises(ArithmeticError, match="the model fails"):
            b.Boundary.fit(model, X, a=1)
    else:
        b.Boundary.fit(model, X, a=1)
    same_state(model, before)


def test_what_has_no_boundary_is_said_and_stays_near():
    positive = lambda x: (x**2).sum((1, 2)) + 1  # noqa: E731
    with pytest.warns(UserWarning, match=r"no class-neutral input for 6 of 6 samples: .* up to 1\b.*see .margin"):
        found = b.Boundary.fit(positive, X, a=0)
    np.testing.assert_allclose(found.margin.values, 1, atol=0.3)
    assert "margin<=1" in repr(found)
    flat = lambda x: 0 * x.sum((1, 2)) + 2  # noqa: E731
    with pytest.warns(UserWarning, match="6 of 6"):
        np.testing.assert_array_equal(moved(b.Boundary.fit(flat, X, a=0)), 0)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"a": 3}, IndexError, "a=3 and b=None must be among the model's 3 outputs, 0 to 2"),
        ({"a": 0, "b": -1}, IndexError, "b=-1"),
        ({"a": 1, "b": 1}, ValueError, "a and b are both 1: a boundary has two sides"),
        ({"a": "V"}, TypeError, "a is a class by its place among the model's 3 outputs, an int, got 'V'"),
        ({"a": 1, "b": True}, TypeError, "b is a class by its place .* got True"),
        (
            {"a": 1, "x": X.astype("float32")},
            TypeError,
            r"about x in float32, and its parameters are float64; convert x",
        ),
        ({"a": 1, "steps": 0}, ValueError, "steps is a whole number of at least 1"),
        (
            {"a": 1, "covariance": np.eye(5)},
            ValueError,
            r"a matrix of shape \(36, 36\), a reference .* got shape \(5, 5\)",
        ),
        ({"a": 1, "covariance": -np.eye(36)}, ValueError, "symmetric and positive definite"),
        ({"a": 1, "model": lambda x: x}, ValueError, r"one for each class, the model gave \(6, 3, 12\)"),
    ],
)
def test_what_is_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        b.Boundary.fit(**{"model": linear_net(), "x": X, **settings})


def test_other_samples_are_refused():
    found = b.Boundary.fit(linear_net(), X, a=1)
    other = X.assign_coords(sample=[f"q{i}" for i in range(6)])
    with pytest.raises(ValueError, match="the input of Boundary lacks 6 of the input's labels"):
        ta.explain(linear_net(), other, ta.IntegratedGradients(found), target=1)
    bare = b.Boundary.fit(linear_net(), X.values, a=1)
    with pytest.raises(ValueError, match=r"fitted to an input of shape \(6, 3, 12\), this one has \(2, 3, 12\)"):
        bind(bare, Axes(("lead", "time"), (3, 12), samples=2))


def test_provenance():
    one = b.Boundary.fit(linear_net(), X, a=1)
    assert isinstance(one.value.values, np.ndarray)
    assert "Boundary(<sample 6, lead 3, time 12: sha256" in repr(one)
    assert ", a=1, b=None, covariance=None, margin<=" in repr(one)
    assert one == b.Boundary.fit(linear_net(), xr.DataArray(X), a=1)
    assert one != b.Boundary.fit(linear_net(), X, a=1, covariance=TRAIN)
