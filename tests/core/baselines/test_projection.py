import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.core import baselines as b
from tsattr.core.invertible import Invertible
from tsattr.testing.methods.state import Trap, same_state, state_of

from ... import reference
from ...conftest import coupling_net, linear_net, signals

X = signals(6)
ROWS = torch.as_tensor(X.values)
Margin, IG = ta.targets.Margin, ta.IntegratedGradients


class Plain(Invertible):
    """T(x) = x: a linear model."""

    def __init__(self, head=None):
        super().__init__()
        self.head = linear_net()[1] if head is None else head

    def features(self, x):
        return x.flatten(1)

    def inverse(self, y):
        return y.reshape(-1, *X.shape[1:])


class Broken(Plain):
    """Says what it is not."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        if fault == "headless":
            del self.head

    def features(self, x):
        return x if self.fault == "unflat" else super().features(x)

    def inverse(self, y):
        x = super().inverse(y)
        return {"off": x + 0.1, "nan": x + torch.nan, "flat": x.flatten(1)}.get(self.fault, x)

    def forward(self, x):
        return super().forward(x) * torch.arange(1, 4) if self.fault == "bent" else super().forward(x)


def margin(net, a, other):
    y = net(ROWS).detach()
    return (y[:, a] - y[torch.arange(len(y)), torch.as_tensor(other)]).numpy()


@pytest.mark.parametrize(("a", "other"), [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_the_identity_gives_the_projection_on_the_hyperplane_of_the_classes_themselves(a, other):
    """Whatever the pair, also not the first two of three classes."""
    net = Plain()
    w = (net.head.weight[a] - net.head.weight[other]).detach().numpy()
    m = margin(net, a, other)
    found = b.Projection.fit(net, X, a=a, b=other)
    expected = X.values.reshape(6, -1) - m[:, None] * w / (w @ w)
    np.testing.assert_allclose(found.value.values.reshape(6, -1), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.distance.values, np.abs(m) / np.linalg.norm(w), rtol=1e-10)
    np.testing.assert_allclose(found.feature_distance.values, found.distance.values, rtol=1e-10)
    nearest = b.Boundary.fit(net, X, a=a, b=other)
    np.testing.assert_allclose(nearest.value.values, found.value.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(nearest.distance.values, found.distance.values, rtol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"mixing": "orthogonal"}, {"blocks": 1}])
@pytest.mark.parametrize(("a", "other"), [(0, 1), (2, 1)])
def test_the_pre_image_is_that_of_the_slow_formula_and_its_classes_are_equal(settings, a, other):
    net = coupling_net(**settings)
    found = b.Projection.fit(net, X, a=a, b=other)
    slow = np.stack([reference.projection(net, x, a, other) for x in X.values])
    np.testing.assert_allclose(found.value.values, slow, rtol=0, atol=1e-11)
    y = net(torch.as_tensor(found.value.values)).detach()
    np.testing.assert_allclose(y[:, a], y[:, other], rtol=0, atol=1e-12)
    assert found.margin.values.max() < 1e-12
    np.testing.assert_allclose(found.difference.values, X.values - slow, rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        found.distance.values, np.linalg.norm((X.values - slow).reshape(6, -1), axis=1), rtol=1e-9
    )
    with torch.no_grad():
        apart = net.features(ROWS) - net.features(torch.as_tensor(slow))
    np.testing.assert_allclose(found.feature_distance.values, apart.norm(dim=1), rtol=1e-9)


def test_no_point_of_the_boundary_has_nearer_features_and_its_input_may_be_farther_than_that_of_boundary():
    net = coupling_net()
    found, nearest = (fit(net, X, a=0, b=2) for fit in (b.Projection.fit, b.Boundary.fit))
    with torch.no_grad():
        away = (net.features(torch.as_tensor(nearest.value.values)) - net.features(ROWS)).norm(dim=1).numpy()
    assert (away >= found.feature_distance.values * (1 - 1e-6)).all()
    assert (nearest.distance.values <= found.distance.values * (1 + 1e-6)).all()
    assert (nearest.distance.values < 0.999 * found.distance.values).any()


@pytest.mark.parametrize("settings", [{}, {"mixing": "orthogonal"}])
def test_a_path_from_it_sums_to_the_margin(settings):
    net = coupling_net(**settings)
    found = b.Projection.fit(net, X, a=0, b=2)
    ds = ta.explain(net, X, IG(found, tolerance=1e-9), target=Margin(0, 2))
    np.testing.assert_allclose(ds.reference, 0, atol=1e-12)
    np.testing.assert_allclose(ds.attribution.sum(("lead", "time")), margin(net, 0, 2), rtol=0, atol=1e-6)


def test_the_local_linear_form_is_the_gradient_there_times_the_difference():
    net = coupling_net()
    found = b.Projection.fit(net, X, a=1, b=0)
    ds = ta.explain(net, X, IG(found, steps=1, rule="left"), target=Margin(1, 0))
    there = torch.as_tensor(found.value.values).requires_grad_()
    y = net(there)
    slope = torch.autograd.grad((y[:, 1] - y[:, 0]).sum(), there)[0].numpy()
    np.testing.assert_allclose(ds.attribution, slope * (X.values - found.value.values), rtol=0, atol=1e-12)


def test_the_difference_is_labelled_as_the_samples():
    turned = X.transpose("time", "sample", "lead")
    found = b.Projection.fit(coupling_net(), X, a=0, b=1).difference
    labelled = xr.DataArray(found.values, found.coords, found.dims)
    moved = X - labelled
    assert moved.dims == X.dims
    again = b.Projection.fit(coupling_net(), moved, a=0, b=1)
    np.testing.assert_allclose(again.distance.values, 0, atol=1e-10)
    with pytest.raises(ValueError, match=r"made for rows of shape \(3, 12\), got \(12, 3\)"):
        b.Projection.fit(coupling_net(), turned, a=0)


def test_without_b_it_is_the_strongest_other_class():
    net = coupling_net()
    y = net(ROWS).detach()
    found = b.Projection.fit(net, X, a=1)
    for at in range(len(X)):
        other = max((0, 2), key=lambda k, at=at: y[at, k])
        alone = b.Projection.fit(net, X.isel(sample=[at]), a=1, b=other)
        np.testing.assert_allclose(alone.value.values[0], found.value.values[at], atol=1e-12)


def test_a_sample_of_zeros_is_one_like_others():
    net = coupling_net()
    found = b.Projection.fit(net, 0 * X, a=0, b=1)
    np.testing.assert_allclose(
        found.value.values[0], reference.projection(net, 0 * X.values[0], 0, 1), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("bias", [True, False])
def test_a_single_output_is_brought_to_zero(bias):
    torch.manual_seed(0)
    net = coupling_net()
    net.head = nn.Linear(36, 1, bias=bias, dtype=torch.float64)
    found = b.Projection.fit(net, X, a=0)
    np.testing.assert_allclose(net(torch.as_tensor(found.value.values)).detach(), 0, atol=1e-12)


def test_batches_company_and_order_of_samples_change_nothing():
    net, order = coupling_net(), [4, 0, 3]
    whole = b.Projection.fit(net, X, a=1)
    few = b.Projection.fit(net, X.isel(sample=order), a=1, batch_size=2)
    np.testing.assert_allclose(few.value.values, whole.value.values[order], rtol=0, atol=1e-12)


def test_float32_rows_for_a_float32_model():
    wide = b.Projection.fit(coupling_net(), X, a=1)
    narrow = b.Projection.fit(coupling_net().float(), X.astype(np.float32), a=1)
    np.testing.assert_allclose(narrow.value.values, wide.value.values, atol=1e-3)
    assert narrow.value.values.dtype == np.float64


@pytest.mark.parametrize("fails", [True, False])
def test_the_model_is_left_as_it_was(fails):
    net = coupling_net()
    trap = net.blocks[1].f = Trap(net.blocks[1].f, 3 if fails else 10**9)
    modes = [m.training for m in net.modules()]
    before = state_of(trap)
    if fails:
        with pytest.raises(ArithmeticError, match="the model fails"):
            b.Projection.fit(net, X, a=1)
    else:
        b.Projection.fit(net, X, a=1)
    same_state(trap, before)
    assert [m.training for m in net.modules()] == modes


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"a": 3}, IndexError, "a=3 and b=None must be among the model's 3 outputs, 0 to 2"),
        ({"a": 1, "b": 1}, ValueError, "a and b are both 1: a boundary has two sides"),
        ({"model": linear_net()}, TypeError, "models.Coupling.*got Sequential. Boundary.fit takes any model"),
        ({"a": 1.0}, TypeError, "a is a class by its place among the model's 3 outputs, an int, got 1.0"),
        ({"model": Plain(nn.Identity())}, TypeError, "with an nn.Linear as its head"),
        ({"model": Broken("headless")}, TypeError, "with an nn.Linear as its head"),
        ({"model": Plain(nn.Linear(5, 3).double())}, ValueError, r"gave \(6, 36\), and the head reads \(rows, 5\)"),
        ({"model": Broken("unflat")}, ValueError, r"gave \(6, 3, 12\), and the head reads \(rows, 36\); flatten\(1\)"),
        ({"x": X.astype("float32")}, TypeError, "about x in float32, and its parameters are float64"),
        ({"x": X.where(X.lead != "II")}, ValueError, "x has 72 missing cells.*Boundary.fit"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be"),
        ({"model": Broken("off")}, ValueError, r"misses x by up to 0.1 in 6 of 6 samples, .* tolerance=1.5e-08"),
        ({"model": Broken("nan")}, ValueError, r"misses x by up to nan in 6 of 6"),
        ({"model": Broken("flat")}, ValueError, r"inverse gave rows of shape \(6, 36\) for .* shape \(6, 3, 12\)"),
        ({"model": Broken("bent"), "b": 2}, ValueError, "f_a - f_b at the pre-image is up to .* in 6 of 6"),
    ],
)
def test_what_is_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        b.Projection.fit(**{"model": coupling_net(), "x": X, "a": 1} | settings)


def test_classes_without_a_boundary_between_them():
    net = coupling_net()
    with torch.no_grad():
        net.head.weight[2] = net.head.weight[1]
    with pytest.raises(ValueError, match="the same weights for class 1 and class 2"):
        b.Projection.fit(net, X, a=1, b=2)


def test_what_a_wrong_pair_of_biases_would_do_is_not_done():
    """The bias of the pair counts, not that of the first two classes: the authors' code took these whatever the pair."""
    net = Plain()
    with torch.no_grad():
        net.head.bias.copy_(torch.tensor([50.0, -50.0, 7.0]))
    found = b.Projection.fit(net, X, a=2, b=1)
    y = net(torch.as_tensor(found.value.values)).detach()
    np.testing.assert_allclose(y[:, 2], y[:, 1], atol=1e-10)


def test_other_samples_are_refused():
    found = b.Projection.fit(coupling_net(), X, a=1)
    other = X.assign_coords(sample=[f"q{i}" for i in range(6)])
    with pytest.raises(ValueError, match="the input of Projection lacks 6 of the input's labels"):
        ta.explain(linear_net(), other, IG(found), target=1)


def test_both_distances_are_printed():
    found = b.Projection.fit(coupling_net(), X, a=1, b=0)
    near, far = found.feature_distance.values, found.distance.values
    assert repr(found).startswith("Projection(<sample 6, lead 3, time 12: sha256 ")
    assert f"feature distance {near.min():.3g} to {near.max():.3g}, " in repr(found)
    assert f"input distance {far.min():.3g} to {far.max():.3g})" in repr(found)
    assert found == b.Projection.fit(coupling_net(), X, a=1, b=0)
    assert found != b.Projection.fit(coupling_net(), X, a=1, b=2)
