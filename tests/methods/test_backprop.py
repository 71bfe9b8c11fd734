import contextlib

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

import tsattr as ta
from tsattr.core.receptive import Leaky, Line, lines

from ..conftest import recurrent_net, relu_net, seeded, signals, smooth_net

X = signals()


@contextlib.contextmanager
def warned():
    with pytest.warns(ta.ExplanationWarning, match="fails weight-randomisation tests") as caught:
        yield
    assert len([w for w in caught if "randomisation" in str(w.message)]) == 1


def guided(model, x, **settings):
    with warned():
        return ta.explain(model, x, ta.GuidedBackprop(), **settings).attribution


# ---- guided backpropagation


def test_a_hidden_unit_with_a_negative_gradient_from_above_passes_nothing():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        net[2].weight.copy_(torch.tensor([[-1.0, -5.0]]))
    assert (guided(net, np.ones((1, 2))) == 0).all()
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([[-1.0, 5.0]]))
    np.testing.assert_array_equal(guided(net, np.ones((1, 2))), [[15, 20]])


def by_hand(weights, biases, x, target):
    """Guided backpropagation of a net of linear layers with ReLU between them, unit by unit."""
    before, value = [], x
    for layer, (w, b) in enumerate(zip(weights, biases)):
        z = np.array([b[row] + sum(w[row][col] * value[col] for col in range(len(value))) for row in range(len(w))])
        before.append(z)
        value = np.maximum(z, 0) if layer < len(weights) - 1 else z
    g = np.zeros(len(value))
    g[target] = 1
    for layer in reversed(range(len(weights))):
        if layer < len(weights) - 1:
            g = np.array([gi if zi > 0 and gi > 0 else 0 for gi, zi in zip(g, before[layer])])
        w = weights[layer]
        g = np.array([sum(g[row] * w[row][col] for row in range(len(w))) for col in range(len(w[0]))])
    return g


class Reused(nn.Module):
    """Two hidden layers and one ReLU for both."""

    def __init__(self, relu):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3)
        self.relu = relu

    def forward(self, x):
        return self.last(self.relu(self.second(self.relu(self.first(x)))))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("target", [0, 2])
def test_a_net_with_two_hidden_layers_equals_the_one_worked_by_hand(inplace, target):
    x = np.random.default_rng(0).normal(size=(4, 5))
    net = seeded(lambda: Reused(nn.ReLU(inplace)))
    weights, biases = zip(*((m.weight.tolist(), m.bias.tolist()) for m in (net.first, net.second, net.last)))
    expected = [by_hand(weights, biases, row, target) for row in x]
    assert not np.allclose(expected, ta.explain(net, x, ta.Saliency(False), target=target).attribution)
    np.testing.assert_allclose(guided(net, x, target=target), expected, rtol=0, atol=1e-12)
    several = nn.Sequential(net.first, nn.ReLU(inplace), net.second, nn.ReLU(inplace), net.last)
    np.testing.assert_allclose(guided(several, x, target=target), expected, rtol=0, atol=1e-12)


def test_guided_backpropagation_refuses_what_it_cannot_guide():
    with pytest.raises(
        ValueError, match=r"no nn.ReLU module in Sequential; where the model calls torch.relu or F.relu"
    ):
        ta.explain(smooth_net(), X, ta.GuidedBackprop(), target=0)
    with pytest.raises(TypeError, match="looks inside a torch module, and the model is a plain callable"):
        ta.explain(lambda x: x.sum((1, 2)), X, ta.GuidedBackprop())

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return functional.relu(self.relu(x - 0.1) - 0.2).sum((1, 2))

    model = Both()
    with warned(), pytest.raises(ValueError, match=r"applies ReLU 1 times outside of nn.ReLU modules"):
        ta.explain(model, X, ta.GuidedBackprop())
    assert not model.relu._forward_hooks


def test_a_wrong_model_is_refused_before_it_is_asked():
    asked = []
    net = smooth_net()
    net.register_forward_hook(lambda *_: asked.append(1))
    for method in (ta.GuidedBackprop(), ta.GradCAM("nowhere")):
        with pytest.raises((ValueError, KeyError)):
            ta.explain(net, X, method, target=0)
    assert not asked


# ---- where the cells of a layer lie

# (kernel, stride, padding, dilation) of each layer; a string for the pooling layers
SPECS = {
    "pointwise": [("conv", 1, 1, 0, 1)],
    "same padding": [("conv", 3, 1, 1, 1)] * 3,
    "no padding": [("conv", 5, 1, 0, 1)] * 3,
    "much padding": [("conv", 3, 1, 9, 1)],
    "strides": [("conv", 7, 2, 3, 1), ("conv", 5, 2, 2, 1), ("conv", 3, 2, 1, 1)],
    "even kernels": [("conv", 4, 2, 1, 1), ("conv", 4, 2, 0, 1), ("conv", 2, 2, 0, 1)],
    "dilated": [("conv", 3, 1, 1, 1), ("conv", 3, 1, 0, 4), ("conv", 3, 1, 16, 8)],
    "max-pooling": [("conv", 3, 1, 1, 1), ("max", 2, 2, 0, 1)] * 3,
    "deep max-pooling": [("conv", 3, 1, 1, 1), ("max", 2, 2, 0, 1)] * 4,
    "as a residual net begins": [("conv", 15, 2, 7, 1), ("max", 3, 2, 1, 1), ("conv", 7, 2, 3, 1)],
    "mean-pooling": [("conv", 5, 1, 2, 1), ("avg", 4, 4, 0, 1), ("conv", 5, 1, 0, 1)],
}


def stack(spec, seed=0, channels=4):
    """The layers of a specification with random weights."""
    layers, before = [], 2
    for kind, k, s, p, d in spec:
        if kind == "conv":
            layers += [nn.Conv1d(before, channels, k, s, p, d), nn.BatchNorm1d(channels), nn.ReLU()]
            before = channels
        else:
            layers.append(nn.MaxPool1d(k, s, p) if kind == "max" else nn.AvgPool1d(k, s, p))
    return seeded(lambda: nn.Sequential(*layers), seed)


def centre(spec):
    """(first, step): each layer moves the centre by half its reach less its padding, in steps of the strides so far."""
    first, step = 0.0, 1
    for _, k, s, p, d in spec:
        first += ((k - 1) / 2 * d - p) * step
        step *= s
    return first, step


@pytest.mark.parametrize("n", [200, 411])
@pytest.mark.parametrize("name", SPECS)
def test_centres_of_receptive_fields_are_those_of_the_closed_form(name, n):
    for seed in range(3):
        x = torch.randn(8, 2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        with Leaky():
            y = stack(SPECS[name], seed)(x)
        assert lines(y, x) == [Line(1, *centre(SPECS[name]), y.shape[2])]


def test_two_axes_and_their_order():
    x = torch.randn(8, 3, 40, 50, dtype=torch.float64, requires_grad=True)
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, (5, 3), (1, 2), (2, 0)), nn.MaxPool2d(2)))
    with Leaky():
        y, turned = net(x), net(x.transpose(2, 3))
    assert lines(y, x) == [Line(1, 0.5, 2.0, 20), Line(2, 2.0, 4.0, 12)]
    assert [(line.axis, line.first, line.step) for line in lines(turned, x)] == [(2, 0.5, 2.0), (1, 2.0, 4.0)]


@pytest.mark.parametrize("dilation", [1, 2])
def test_functional_layers_and_inputs_without_channels(dilation):
    conv = seeded(lambda: nn.Conv1d(1, 3, 3, stride=2))
    x = torch.randn(8, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with Leaky():
        y = functional.max_pool1d(functional.relu(conv(x[:, None])), 3, dilation=dilation).relu()
    assert lines(y, x) == [Line(0, 1 + 2.0 * dilation, 6.0, y.shape[2])]


def test_one_channel_through_much_max_pooling():
    for seed in range(10):  # of 64 cells in a window the gradient passes one
        net = seeded(lambda: nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), *[nn.MaxPool1d(4) for _ in range(3)]), seed)
        x = torch.randn(
            8, 1, 1600, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True
        )
        with Leaky():
            y = net(x)
        assert lines(y, x) == [Line(1, 31.5, 64.0, 25)]


def test_a_reversed_axis_runs_backwards():
    x = torch.randn(4, 2, 30, dtype=torch.float64, requires_grad=True)
    y = seeded(lambda: nn.Conv1d(2, 3, 3, padding=1))(x.flip(2))
    assert lines(y, x) == [Line(1, 29.0, -1.0, 30)]


def test_cells_that_see_everything_divide_the_last_axes_evenly():
    x = torch.randn(4, 2, 12, dtype=torch.float64, requires_grad=True)
    dense = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 15), nn.Unflatten(1, (5, 3))))
    assert lines(dense(x), x) == [Line(1, 1.5, 4.0, 3)]
    causal = torch.cumsum(x, 2)  # one end moves, the other is always the start
    assert lines(causal, x) == [Line(1, 0.0, 1.0, 12)]
    with pytest.raises(ValueError, match="the layer's output has 3 axes after its channels"):
        lines(dense(x).reshape(4, 5, 3, 1, 1), x)


def test_interpolation_between_centres():
    line = Line(0, 1.0, 2.0, 3)  # centres at 1, 3, 5
    maps = torch.tensor([[2.0, 4.0, 0.0]], dtype=torch.float64)
    expected = np.interp(np.arange(8), [1, 3, 5], [2, 4, 0])
    np.testing.assert_allclose(line.interpolate(maps, 1, 8)[0], expected, rtol=0, atol=1e-12)


# ---- Grad-CAM


def even_handed(spec):
    """The layers with weights that are the same at all places, so that a symmetric bump stays one, and a linear head."""
    net = stack(spec, channels=2)
    for m in net.modules():
        if isinstance(m, nn.Conv1d):
            nn.init.constant_(m.weight, 1 / m.kernel_size[0])
            nn.init.zeros_(m.bias)
    head = nn.Linear(2, 1).double()
    nn.init.ones_(head.weight)
    return nn.Sequential(net, nn.AdaptiveAvgPool1d(1), nn.Flatten(), head).eval()


@pytest.mark.parametrize("name", SPECS)
def test_a_bump_comes_out_where_it_is_to_half_a_sample(name):
    net = even_handed(SPECS[name])
    last = str(len(net[0]) - 1)
    step = centre(SPECS[name])[1]
    t = np.arange(600)
    places = np.array([271.0, 300.0, 313.5, 322.25])
    bumps = np.exp(-0.5 * ((t - places[:, None]) / (2 * step + 2)) ** 2)
    x = xr.DataArray(np.stack([bumps, 0 * bumps], 1), dims=("sample", "lead", "time"))
    found = ta.explain(net, x, ta.GradCAM(f"0.{last}")).attribution
    assert (found.isel(lead=0).values == found.isel(lead=1).values).all()
    at = (found * t).sum("time") / found.sum("time")
    assert (abs(at.isel(lead=0) - places) < 0.5).all()


def test_one_channel_with_pooling_and_a_linear_head_gives_cam():
    net = seeded(lambda: nn.Sequential(nn.Conv1d(3, 1, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(1, 3)))
    a = net[0](torch.as_tensor(X.values)).detach().numpy()[:, 0]
    for target in range(3):
        cam = net[3].weight[target, 0].item() * a / X.sizes["time"]  # y = w mean_t A_t + b
        found = ta.explain(net, X, ta.GradCAM(), target=target).attribution
        np.testing.assert_allclose(found.isel(lead=1), np.maximum(cam, 0), rtol=0, atol=1e-12)
        signed = ta.explain(net, X, ta.GradCAM(relu=False), target=target).attribution
        np.testing.assert_allclose(signed.isel(lead=2), cam, rtol=0, atol=1e-12)


class Strided(nn.Module):
    """A convolution whose output is written over by a ReLU, and a head that is not linear."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv1d(3, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4 * 6, 3)

    def after(self, a):
        return torch.tanh(self.head(self.relu(a).flatten(1)))

    def forward(self, x):
        return self.after(self.body(x))


def test_several_targets_equal_a_slow_reference_cell_by_cell():
    net = seeded(Strided)
    targets = [0, 2]
    found = ta.explain(net, X, ta.GradCAM(), target=targets).attribution
    for s, x in enumerate(X.values):
        a = net.body(torch.as_tensor(x)[None]).detach()
        for j, target in enumerate(targets):
            slope = np.zeros(a.shape[1:])
            for k, t in np.ndindex(slope.shape):  # central differences
                up, down = a.clone(), a.clone()
                up[0, k, t] += 1e-6
                down[0, k, t] -= 1e-6
                slope[k, t] = (net.after(up) - net.after(down))[0, target].item() / 2e-6
            coarse = np.maximum(sum(slope[k].mean() * a[0, k].numpy() for k in range(4)), 0)
            expected = np.interp(np.arange(12), 2.0 * np.arange(6), coarse)
            for lead in range(3):
                np.testing.assert_allclose(found[s, lead, :, j], expected, rtol=0, atol=1e-9)


def test_fields_in_two_dimensions_whatever_the_order_of_dims():
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(60, 1))
    )
    x = xr.DataArray(np.random.default_rng(0).normal(size=(2, 2, 8, 10)), dims=("sample", "level", "lat", "lon"))
    found = ta.explain(net, x, ta.GradCAM()).attribution
    a = net[0](torch.as_tensor(x.values)).detach()
    b = a.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(net[1:](b).sum(), b)
    coarse = (g.mean((2, 3), keepdim=True) * a).sum(1).clamp(min=0)
    np.testing.assert_allclose(found[:, 0, ::2, ::2], coarse, rtol=0, atol=1e-12)
    between = (coarse[:, :, :-1] + coarse[:, :, 1:]) / 2
    np.testing.assert_allclose(found[:, 1, ::2, 1:-1:2], between, rtol=0, atol=1e-12)

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.permute(0, 3, 2, 1))

    turned = ta.explain(Turned(), x.transpose("sample", "lon", "lat", "level"), ta.GradCAM()).attribution
    xr.testing.assert_allclose(turned.transpose(*found.dims), found, rtol=0, atol=1e-12)


def test_the_last_convolution_is_taken_and_named():
    ds = ta.explain(smooth_net(), X, ta.GradCAM(), target=0)
    assert ds.attrs["method"] == "GradCAM(layer='2', relu=True)"
    named = ta.explain(smooth_net(), X, ta.GradCAM("2"), target=0)
    np.testing.assert_array_equal(ds.attribution, named.attribution)
    assert not np.allclose(ds.attribution, ta.explain(smooth_net(), X, ta.GradCAM("0"), target=0).attribution)


def test_invalid_cells_get_nan():
    valid = xr.DataArray(np.arange(12) < 7, dims="time")
    found = ta.explain(relu_net(), X, ta.GradCAM(), target=0, valid=valid).attribution
    np.testing.assert_array_equal(found.isnull(), (~valid).broadcast_like(X))
    whole = ta.explain(relu_net(), X, ta.GradCAM(), target=0).attribution
    xr.testing.assert_identical(found.isel(time=slice(7)), whole.isel(time=slice(7)))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, padding=1)
        self.aside = nn.Conv1d(3, 3, 1)

    def forward(self, x):
        self.aside(x)
        return self.conv(self.conv(x)).sum(2)


@pytest.mark.parametrize(
    ("net", "layer", "error", "match"),
    [
        (relu_net, "6.conv", KeyError, r"no layer '6.conv' in Sequential; name one .* \['0'\]"),
        (
            recurrent_net,
            None,
            KeyError,
            r"no convolution in Recurrent; name one with layer=..., such as \['gru', 'head'\]",
        ),
        (recurrent_net, "gru", ValueError, "gives tuple for 8 rows"),
        (relu_net, "5", ValueError, r"gives \(8, 30\) for 8 rows; GradCAM needs \(rows, channels, positions...\)"),
        (lambda: seeded(Twice), "conv", ValueError, "'conv' is used 2 times for one prediction"),
        (lambda: seeded(Twice), "aside", ValueError, "1 of 1 targets do not depend on layer 'aside'"),
    ],
)
def test_layers_that_cannot_be_mapped_are_refused_and_no_hook_stays(net, layer, error, match):
    model = net()
    with pytest.raises(error, match=match):
        ta.explain(model, X, ta.GradCAM(layer), target=0)
    assert not any(m._forward_hooks for m in model.modules())


def test_several_variables_are_refused():
    two = xr.Dataset({"a": X, "b": X.isel(lead=0, drop=True)})
    with pytest.raises(TypeError, match="GradCAM explains an input of one variable, got 2"):
        ta.explain(relu_net(), two, ta.GradCAM(), target=0)
