import contextlib
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import tsattr as ta
from tsattr.core.evaluation.receptive import Leaky, Line, lines

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


class Written(torch.autograd.Function):
    """A ReLU that the graph does not show."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class Own(nn.Module):
    """A ReLU of one's own, of which torch knows nothing by name."""

    def forward(self, z):
        return z.clamp(min=0)


RELUS = {
    "nn.ReLU": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "in place on a view": lambda z: functional.relu(z.view(-1, 1, z.shape[1]), inplace=True).flatten(1),
    "module of one's own": Own(),
    "F.relu": functional.relu,
    "torch.relu": torch.relu,
    "method in place": lambda z: z.relu_(),
    "clamp with a tensor": lambda z: torch.clamp(z, torch.zeros_like(z)),
    "clamp_min": lambda z: z.clamp_min(0.0),
    "threshold": nn.Threshold(0.0, 0.0),
    "hardtanh": nn.Hardtanh(0.0, 1e9),
    "maximum": lambda z: torch.maximum(torch.zeros((), dtype=z.dtype), z),
    "fmax": lambda z: torch.fmax(z, torch.zeros_like(z)),
    "checkpoint": lambda z: checkpoint(functional.relu, z, use_reentrant=False),
}


@pytest.mark.parametrize("name", RELUS)
def test_every_relu_is_guided_whatever_made_it(name):
    x = np.random.default_rng(0).normal(size=(4, 5))
    net = seeded(lambda: Reused(None))
    weights, biases = zip(*((m.weight.tolist(), m.bias.tolist()) for m in (net.first, net.second, net.last)))
    net.relu = RELUS[name]
    expected = [by_hand(weights, biases, row, 1) for row in x]
    np.testing.assert_allclose(guided(net, x, target=1), expected, rtol=0, atol=1e-13)


def test_a_clamp_that_is_no_relu_is_not_guided():
    x = np.random.default_rng(0).normal(size=(4, 5))
    net = seeded(lambda: Reused(nn.ReLU()))
    plain = ta.explain(net.first, x, ta.Saliency(False), target=1).attribution

    class Capped(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = net.first

        def forward(self, x):
            return torch.maximum(self.first(x), torch.tensor(-9.0).double()).clamp(-9, 9) + 0 * x.relu().sum(1)[:, None]

    np.testing.assert_allclose(guided(Capped(), x, target=1), plain, rtol=0, atol=1e-15)


def test_guided_backpropagation_refuses_what_it_cannot_guide():
    with warned(), pytest.raises(ValueError, match=r"finds no ReLU in the graph of Sequential, so there is nothing to"):
        ta.explain(smooth_net(), X, ta.GuidedBackprop(), target=0)
    with pytest.raises(TypeError, match="looks inside a torch module, and the model is a plain callable"):
        ta.explain(lambda x: x.sum((1, 2)), X, ta.GuidedBackprop())
    net = seeded(lambda: Reused(Written.apply))
    with (
        warned(),
        pytest.raises(ValueError, match=r"cannot see the ReLUs inside WrittenBackward; give the module itself"),
    ):
        ta.explain(net, np.ones((1, 5)), ta.GuidedBackprop(), target=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of torch.compile at work
@pytest.mark.parametrize("used", [False, True])
def test_a_compiled_model_is_guided_or_refused(used):
    net = seeded(lambda: Reused(nn.ReLU()))
    x = np.random.default_rng(0).normal(size=(4, 5))
    expected = guided(net, x, target=1)
    for backend in ("eager", "aot_eager"):
        compiled = torch.compile(net, backend=backend)
        if used:
            ta.explain(compiled, x, ta.Saliency(), target=1)
        if backend == "eager":
            np.testing.assert_allclose(guided(compiled, x, target=1), expected, rtol=0, atol=1e-13)
        else:
            with warned(), pytest.raises(ValueError, match=r"inside CompiledFunctionBackward; .* torch.compile"):
                ta.explain(compiled, x, ta.GuidedBackprop(), target=1)


def test_a_wrong_model_is_refused_before_it_is_asked():
    asked = []
    net = smooth_net()
    net.register_forward_hook(lambda *_: asked.append(1))
    with pytest.raises(KeyError):
        ta.explain(net, X, ta.GradCAM("nowhere"), target=0)
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


class Saving(nn.Module):
    """Two blocks, which run again in the backward pass where checkpoints save memory."""

    def __init__(self, saves):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(3, 3, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(2)
        )
        self.saves = saves

    def forward(self, x):
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.saves == "reentrant") if self.saves else block(x)
        return x.square().mean(2)


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.0.0", "blocks.1.0"])
def test_checkpoints_change_nothing(layer):
    expected, found = (
        ta.explain(seeded(partial(Saving, saves)), X, ta.GradCAM(layer), target=1) for saves in (False, True)
    )
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=0, atol=1e-15)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of torch, in a pass without gradients
def test_checkpoints_through_which_no_gradient_comes_are_refused():
    with pytest.raises(
        TypeError, match="checkpoints with use_reentrant=True, through which no gradient at the input can be"
    ):
        ta.explain(seeded(lambda: Saving("reentrant")), X, ta.Saliency(), target=1)


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
        self.never = nn.Conv1d(3, 3, 1)

    def forward(self, x):
        self.aside(x)
        return self.conv(self.conv(x)).sum(2)


def scripted(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        return torch.jit.script(net)


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
        (lambda: scripted(relu_net()), None, TypeError, "it is TorchScript, which hides them"),
        (lambda: torch.compile(relu_net(), backend="eager"), None, TypeError, r"it went through torch.compile"),
        (lambda: nn.Sequential(scripted(relu_net())), None, TypeError, "its part '0' is TorchScript"),
        (lambda: seeded(Twice), "never", ValueError, "'never' is not called for a prediction; name one that is"),
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


def test_layers_of_what_hides_them_are_refused_with_the_way():
    net = nn.Sequential(nn.Conv1d(3, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(40, 2)).eval()
    x = torch.ones(4, 3, 20)
    rows = ({0: torch.export.Dim("rows", min=1, max=64)},)
    with pytest.raises(TypeError, match="it was exported, which hides them; give the module that it was made from"):
        ta.explain(torch.export.export(net, (x,), dynamic_shapes=rows).module(), x, ta.GradCAM(), target=0)
    traced = ta.explain(torch.fx.symbolic_trace(net), x, ta.GradCAM(), target=0)  # a graph that does call its layers
    np.testing.assert_array_equal(traced.attribution, ta.explain(net, x, ta.GradCAM(), target=0).attribution)


@pytest.mark.filterwarnings("ignore:GuidedBackprop fails:tsattr.ExplanationWarning")
@pytest.mark.filterwarnings(
    "ignore:None of the inputs have requires_grad"
)  # of the checkpoint, where no gradient is asked for
def test_checkpoints_without_gradients_are_refused_with_the_way():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv1d(3, 2, 3, padding=1), nn.Linear(40, 1)

        def forward(self, x):
            return self.head(checkpoint(lambda z: self.conv(z).relu(), x, use_reentrant=True).flatten(1))

    for method in (ta.GradCAM(), ta.GuidedBackprop()):
        with pytest.raises(ValueError, match="use_reentrant=False"):
            ta.explain(Net().eval(), torch.ones(4, 3, 20), method)
