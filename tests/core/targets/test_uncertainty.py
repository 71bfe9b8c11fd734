"""Uncertainty as a target: slow references, closed forms, saturation, what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import softmax
from torch import nn

import tsattr as ta
from tsattr.core.axes import Axes
from tsattr.core.targets.parsing import resolve

U = ta.targets.Uncertainty
RNG = np.random.default_rng(0)
CLASSES = {"class": np.array(["N", "S", "V"])}
MEMBERS = Axes(("member", "class"), (4, 3), CLASSES)
ONE = Axes(("class",), (3,), CLASSES)
Y = 2 * RNG.normal(size=(6, 4, 3))


def value(target, y, axes):
    y = torch.as_tensor(y, dtype=torch.float64)
    found = resolve(target).bind(axes)(y, y)
    assert found.shape == (len(y),)
    return found.numpy()


def entropy(p):
    return -sum(v * math.log(v) for v in p if v > 0)


def references(p):
    """The three entropies of probabilities (members, classes), by loops from the definitions."""
    members, classes = len(p), range(len(p[0]))
    mean = [sum(row[c] for row in p) / members for c in classes]
    kl = sum(row[c] * math.log(row[c] / mean[c]) for row in p for c in classes if row[c] > 0) / members
    return {
        "entropy": entropy(mean),
        "expected_entropy": sum(map(entropy, p)) / members,
        "mutual_information": kl,
    }


@pytest.mark.parametrize("kind", ["entropy", "expected_entropy", "mutual_information"])
@pytest.mark.parametrize("of", ["logits", "probability"])
def test_entropies_are_those_of_the_loops(kind, of):
    p = softmax(Y, -1)
    p[0, :, 1], p[1, 2] = 0.0, [0.0, 1.0, 0.0]
    p /= p.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        y = np.log(p) + 3.0 if of == "logits" else p
    expected = [references(rows.tolist())[kind] for rows in p]
    np.testing.assert_allclose(value(U(kind, of=of), y, MEMBERS), expected, rtol=0, atol=1e-14)


def test_the_entropy_is_that_of_the_data_and_that_of_the_model():
    total, data, model = (value(U(k), Y, MEMBERS) for k in ("entropy", "expected_entropy", "mutual_information"))
    np.testing.assert_allclose(total, data + model, rtol=0, atol=1e-14)
    assert (model > 0.01).all()
    assert (total <= math.log(3)).all()


def test_the_members_axis_may_be_anywhere():
    axes = Axes(("class", "member"), (3, 4), CLASSES)
    for target in (U(), U("mutual_information"), U("variance", "S")):
        np.testing.assert_array_equal(value(target, Y.transpose(0, 2, 1), axes), value(target, Y, MEMBERS))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_number_stands_for_two_classes(shape):
    y = Y[:, :, 0].reshape(6, 4, *shape)
    axes = Axes(("member", "output")[: 1 + len(shape)], (4, *shape))
    p = 1 / (1 + np.exp(-Y[:, :, 0]))
    for kind in ("entropy", "expected_entropy", "mutual_information"):
        expected = [references([[v, 1 - v] for v in rows])[kind] for rows in p]
        np.testing.assert_allclose(value(U(kind), y, axes), expected, rtol=0, atol=1e-14)
        found = value(U(kind, of="probability"), p.reshape(6, 4, *shape), axes)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_the_entropy_of_an_event():
    p = softmax(Y, -1)[:, :, 2]
    expected = [references([[v, 1 - v] for v in rows])["mutual_information"] for rows in p]
    event = ta.targets.Probability("V")
    np.testing.assert_allclose(value(U("mutual_information", event), Y, MEMBERS), expected, rtol=0, atol=1e-14)
    several = Axes(("member", "label"), (4, 3))  # labels that do not exclude each other
    p = 1 / (1 + np.exp(-Y[:, :, 1]))
    expected = [references([[v, 1 - v] for v in rows])["entropy"] for rows in p]
    np.testing.assert_allclose(value(U(target=lambda y: y[:, 1].sigmoid()), Y, several), expected, rtol=0, atol=1e-14)


def test_variances_of_values_of_a_class_and_of_a_region():
    np.testing.assert_allclose(value(U("variance"), Y[:, :, 0], Axes(("member",), (4,))), Y[:, :, 0].var(1), rtol=1e-12)
    p = softmax(Y, -1)
    for kind in ("variance", "variance_of_means"):
        found = value(U(kind, ta.targets.Probability("S")), Y, MEMBERS)
        np.testing.assert_allclose(found, p[:, :, 1].var(1), rtol=1e-12)
    field = Axes(("member", "lat", "lon"), (4, 3, 2), {"lat": np.array([-10.0, 0.0, 10.0])})
    y = RNG.normal(size=(5, 4, 3, 2))
    region = ta.targets.Region(lat=(0, 10), lon=(0, 1))
    np.testing.assert_allclose(value(U("variance", region), y, field), y[:, :, 1:].mean((2, 3)).var(1), rtol=1e-12)


def test_the_law_of_total_variance():
    y = RNG.normal(size=(5, 4, 2))
    axes = Axes(("member", "head"), (4, 2), {"head": np.array(["mean", "log variance"])})
    noise = lambda y: y[:, 1].exp()  # noqa: E731
    data, model, total = (
        value(U(k, "mean", noise), y, axes) for k in ("expected_variance", "variance_of_means", "variance")
    )
    np.testing.assert_allclose(data, np.exp(y[..., 1]).mean(1), rtol=1e-12)
    np.testing.assert_allclose(model, y[..., 0].var(1), rtol=1e-12)
    np.testing.assert_allclose(total, data + model, rtol=1e-12)
    # The mixture of the members' normal distributions has that variance.
    draws = y[0, :, 0] + np.exp(y[0, :, 1] / 2) * RNG.normal(size=(400_000, 4))
    np.testing.assert_allclose(draws.var(), total[0], rtol=0.02)


def test_one_model_has_an_entropy_and_the_variance_of_its_head():
    expected = [entropy(p) for p in softmax(Y[:, 0], -1)]
    np.testing.assert_allclose(value(U(), Y[:, 0], ONE), expected, rtol=0, atol=1e-14)
    head = Axes(("head",), (2,), {"head": np.array(["mean", "variance"])})
    y = np.abs(Y[:, 0, :2])
    for kind in ("variance", "expected_variance"):
        np.testing.assert_array_equal(value(U(kind, "mean", "variance"), y, head), y[:, 1])
        np.testing.assert_array_equal(value(U(kind, noise=1), y, head), y[:, 1])


@pytest.mark.parametrize("kind", ["expected_entropy", "mutual_information", "variance", "variance_of_means"])
def test_one_model_has_no_members_to_compare(kind):
    for axes in (ONE, Axes(("member", "class"), (1, 3))):
        with pytest.raises(ValueError, match="is between the members of an ensemble, and there is one model"):
            U(kind).bind(axes)


# ---- members that agree, certainty, gradients


@pytest.mark.parametrize("members", [2, 3, 7])
def test_members_that_agree_leave_nothing_to_the_model(members):
    y = torch.as_tensor(np.repeat(Y[:, :1], members, 1)).requires_grad_()
    axes = Axes(("member", "class"), (members, 3))
    for target in (U("mutual_information"), U("variance", 1), U("variance", ta.targets.Probability(1))):
        v = target.bind(axes)(y, y)
        assert (v == 0).all()
        (slope,) = torch.autograd.grad(v.sum(), y)
        assert (slope == 0).all()
    apart = torch.as_tensor(Y[:, :1]) * torch.linspace(1, 2, members, dtype=torch.float64)[:, None]
    both = torch.cat([y.detach(), apart]).requires_grad_()  # company changes nothing
    (slope,) = torch.autograd.grad(U("mutual_information").bind(axes)(both, both).sum(), both)
    assert (slope[:6] == 0).all()
    assert (slope[6:] != 0).any(-1).all()


def test_information_is_never_negative():
    nearly = RNG.normal(size=(200, 1, 3)) * (1 + 1e-9 * np.arange(4)[:, None])
    found = value(U("mutual_information"), nearly, MEMBERS)
    assert (found >= 0).all()
    assert found.max() < 1e-15


@pytest.mark.parametrize("size", [30.0, 1e3, 1e30, math.inf])
def test_certain_members_have_finite_values_and_gradients(size):
    agree = [[size, 0.0, -size], [size, 0.0, -size]]
    apart = [[size, 0.0, -size], [-size, 0.0, size]]
    if size == math.inf:  # classes that are masked out
        agree, apart = ([[0.0, -size, -size]] * 2, [[0.0, -size, -size], [-size, -size, 0.0]])
    y = torch.tensor([agree, apart], dtype=torch.float64, requires_grad=True)
    axes = Axes(("member", "class"), (2, 3))
    for kind, expected in (("entropy", math.log(2)), ("expected_entropy", 0.0), ("mutual_information", math.log(2))):
        v = U(kind).bind(axes)(y, y)
        np.testing.assert_allclose(v.detach(), [0.0, expected], rtol=0, atol=1e-11)
        (slope,) = torch.autograd.grad(v.sum(), y)
        assert slope.isfinite().all()
        p = y.detach().softmax(-1).requires_grad_()
        v = U(kind, of="probability").bind(axes)(p, p)
        np.testing.assert_allclose(v.detach(), [0.0, expected], rtol=0, atol=1e-11)
        (slope,) = torch.autograd.grad(v.sum(), p)
        assert slope.isfinite().all()


@pytest.mark.parametrize(
    "target",
    [U(), U("expected_entropy"), U("mutual_information"), U("variance", 1), U("variance", 0, lambda y: y[:, 1] ** 2)],
)
def test_gradients_are_those_of_finite_differences(target):
    bound = target.bind(MEMBERS)
    y = torch.as_tensor(Y).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: bound(y, y.detach()), y)
    assert torch.autograd.gradgradcheck(lambda y: bound(y, y.detach()), y[:1].detach().requires_grad_())


def test_what_is_not_finite_stays_so_and_where_it_is():
    y = Y.copy()
    y[2, 1, 0] = np.nan
    for target in (U(), U("mutual_information"), U("expected_entropy"), U("variance", 0)):
        np.testing.assert_array_equal(np.isnan(value(target, y, MEMBERS)), np.arange(6) == 2)


# ---- dropout of a linear model, a noise head of one lead


@pytest.mark.parametrize(("one_in", "inputs"), [(2, 5), (4, 3)])
def test_the_population_of_masks_of_a_linear_model_has_the_closed_form(one_in, inputs):
    w, x = torch.as_tensor(RNG.normal(size=inputs)), xr.DataArray(RNG.normal(size=(3, inputs)), dims=("sample", "k"))
    rate = 1 / one_in
    masks = [torch.tensor(m, dtype=torch.float64) for m in itertools.product(range(one_in), repeat=inputs)]
    every = ta.models.Ensemble([lambda x, m=m: x @ (w * (m > 0) / (1 - rate)) for m in masks])
    parts = rate / (1 - rate) * (w.numpy() * x) ** 2
    ds = ta.explain(every, x, ta.InputXGradient(), target=U("variance"))
    np.testing.assert_allclose(ds.prediction, parts.sum("k"), rtol=1e-12)
    np.testing.assert_allclose(ds.attribution, 2 * parts, rtol=1e-11, atol=1e-13)
    for method in (ta.IntegratedGradients(), ta.Occlusion(ta.groups.Cells()), ta.ShapleySampling(ta.groups.Cells())):
        ds = ta.explain(every, x, method, target=U("variance"))
        np.testing.assert_allclose(ds.attribution, parts, rtol=1e-9)


def test_many_passes_of_dropout_near_the_closed_form():
    net = nn.Sequential(nn.Dropout(0.3), nn.Linear(6, 1, bias=False)).double().eval()
    x = xr.DataArray(RNG.normal(size=(2, 6)), dims=("sample", "k"))
    w = net[1].weight.detach().numpy()[0]
    passes = 4000
    ds = ta.explain(ta.models.dropout(net, passes), x, ta.InputXGradient(), target=U("variance"))
    parts = 0.3 / 0.7 * (w * x) ** 2
    # A variance of near-normal numbers has the relative standard error sqrt(2 / passes): five of them.
    np.testing.assert_allclose(ds.prediction, parts.sum("k"), rtol=5 * (2 / passes) ** 0.5)
    assert np.corrcoef(ds.attribution.values.ravel(), 2 * parts.values.ravel())[0, 1] > 0.99


def test_a_noise_head_that_reads_one_lead_has_all_of_the_map_there():
    class Heads(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2)), nn.functional.softplus(x[:, 1].mean(1))], 1)

    x = xr.DataArray(RNG.normal(size=(3, 4, 8)), dims=("sample", "lead", "time"))
    given = {"target": U("variance", "mean", "variance"), "outputs": {"head": ["mean", "variance"]}}
    for method in (ta.IntegratedGradients(), ta.Saliency(), ta.Occlusion(ta.groups.Windows(time=2, lead=1))):
        size = abs(ta.explain(Heads(), x, method, **given).attribution).sum("time")
        assert (size.drop_isel(lead=1) == 0).all()
        assert (size.isel(lead=1) > 0.01).all()


# ---- what is refused, and how it is written


def test_settings_that_cannot_be():
    for bad, said in (
        ({"kind": "std"}, "kind is one of"),
        ({"of": "value"}, "of is 'logits' or 'probability'"),
        ({"kind": "variance", "of": "logits"}, "of is 'logits' or 'probability'"),
        ({"noise": 1}, "'entropy' has none"),
        ({"kind": "expected_variance"}, "say where they are, noise="),
    ):
        with pytest.raises(ValueError, match=said):
            U(**bad)


def test_outputs_that_cannot_be():
    cases = (
        (U(), Axes(("member",), (4,), scale="value"), r"is of probabilities, and the model gives values; Uncertainty\('variance'\)"),
        (U(), Axes(("member", "time", "class"), (4, 5, 3)), r"is of one distribution, but the outputs have axes {'time': 5, 'class': 3}"),
        (U(), Axes(("output_1", "output_2"), (4, 3)), "where one is of members, call it 'member' in outputs="),
        (U("variance"), MEMBERS, r"Predicted\(\) asks what is predicted of the intact sample: name it, such as target=ta.targets.Output"),
        (U("variance", ta.targets.Margin()), MEMBERS, "the same for every member"),
        (U("variance", ta.targets.Output(time=1)), MEMBERS, "no output axis 'time'"),
        (U("variance", U("mutual_information")), MEMBERS, "there is one model"),
        (U(of="logits"), Axes(("member", "class"), (4, 3), scale="probability"), "takes the outputs for logits"),
    )  # fmt: skip
    for target, axes, said in cases:
        with pytest.raises((ValueError, KeyError), match=said):
            target.bind(axes)
    p = softmax(Y, -1)
    for target, y, said in (
        (U(), p, "every row of the model's outputs lies in .0, 1. and sums to 1"),
        (U(of="probability"), Y, "are they logits"),
        (U(of="probability"), p / 2, "do not sum to 1"),
        (U(target=0), Y, "are they logits"),
        (U("variance", 0, 1), -np.abs(Y), "a predicted variance is -.*, and none is negative"),
    ):
        with pytest.raises(ValueError, match=said):
            value(target, y, MEMBERS)


def test_how_it_is_written():
    assert repr(U()) == "Uncertainty('entropy')"
    region = ta.targets.Region(lat=(-5, 5))
    assert repr(U("variance", region, noise="var")) == f"Uncertainty('variance', target={region!r}, noise='var')"
    assert U("entropy", of="logits") == U(of="logits") != U()
    assert not U().compares
    assert not U().keeps_units
