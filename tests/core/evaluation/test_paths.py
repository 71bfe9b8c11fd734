"""Gradients along straight paths by lines: what is affine once a path, the same numbers, and plainly where that does not hold."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional as F

import tsattr as ta
from tsattr.core.evaluation import lines, paths
from tsattr.core.evaluation.lines import Lines, Points

b = ta.baselines
RNG = np.random.default_rng(0)
SHAPE = (3, 4, 24)
X = xr.DataArray(RNG.normal(size=SHAPE), dims=("sample", "lead", "time"))


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """By lines wherever they hold, however little they save."""
    for name, value in {"_CELLS": 1, "_ROWS": 1, "_WORTH": 0, "_GAIN": 1e9}.items():
        monkeypatch.setattr(paths, name, value)


def plainly(monkeypatch, *args, **kwargs):
    with monkeypatch.context() as m:
        m.setattr(paths, "_WORTH", np.inf)
        return ta.explain(*args, **kwargs)


def module(forward, *layers):
    """A model of some layers, in float64 and seeded."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return forward(x, *self.layers)

    net = Net().double().eval()
    rng = torch.Generator().manual_seed(1)
    for p in (*net.parameters(), *(buffer for buffer in net.buffers() if buffer.is_floating_point())):
        p.data = torch.rand(p.shape, generator=rng, dtype=torch.float64) - (0.5 if p.ndim > 1 else 0.1)
    return net


def head(y):
    """Not affine, of what may be any shape."""
    return torch.tanh(y).flatten(1).cumsum(1)[:, -2:]


WEIGHT = torch.as_tensor(RNG.normal(size=(24, 5)))
FIXED = torch.as_tensor(RNG.normal(size=(4, 24)))
AFFINE = {
    "linear": module(lambda x, f: head(f(x)), nn.Linear(24, 6)),
    "convolution": module(lambda x, f: head(f(x)), nn.Conv1d(4, 6, 5, 2, 2)),
    "round a circle": module(lambda x, f: head(f(x)), nn.Conv1d(4, 6, 5, padding=2, padding_mode="circular")),
    "two dims": module(lambda x, f: head(f(x[:, None])), nn.Conv2d(1, 3, 3, padding=1, bias=False)),
    "transposed convolution": module(lambda x, f: head(f(x)), nn.ConvTranspose1d(4, 3, 4, 2)),
    "normalised": module(lambda x, f, g: head(g(f(x))), nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)),
    "scaled": module(lambda x: head((x - FIXED.mean()) / 2 + 3 * x - FIXED * 0.1 - (1 - x))),
    "scaled by the axis": module(lambda x: head(x * FIXED + FIXED[:, :1])),
    "turned": module(lambda x: head(x.permute(0, 2, 1).unsqueeze(1).flatten(2).reshape(len(x), 4, -1))),
    "viewed": module(
        lambda x: head(0.1 * (x.view(x.size(0), -1) @ FIXED.repeat(2, 1).reshape(-1, 2) + x.mT.mean((1, 2))[:, None]))
    ),
    "matrix": module(lambda x: head(x @ WEIGHT)),
    "einsum": module(lambda x: head(torch.einsum("bct,tk->bck", x, WEIGHT))),
    "cut": module(lambda x: head(torch.cat([x[:, :2, 3:], x[..., 3:].narrow(1, 0, 1)], 1))),
    "stacked": module(lambda x: head(torch.stack([x, 2 * x], 2))),
    "pooled": module(lambda x: head(F.avg_pool1d(F.pad(x, (2, 1), value=0.7), 3))),
    "resized": module(lambda x: head(F.interpolate(x, 31, mode="linear"))),
    "residual": module(lambda x, f: head(f(x).relu() + x), nn.Conv1d(4, 4, 3, padding=1)),
    "dropped out": module(lambda x, f, g: head(g(f(x))), nn.Linear(24, 6), nn.Dropout(0.5)),
    "written into": module(lambda x, f: head(F.elu_(f(x).add_(1.0))), nn.Conv1d(4, 6, 3)),
    "a cell written": module(lambda x: head(_with_zero(x.clone()))),
    "all affine": module(lambda x, f: f(x.flatten(1)), nn.Linear(96, 2)),
    "by rows": module(lambda x: head(x + torch.arange(len(x))[:, None, None] * 0)),
    "GRU": module(lambda x, f: head(f(x.mT)[0]), nn.GRU(4, 5, batch_first=True)),
    "attention": module(lambda x, f: head(f(x.mT)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
}


def _with_zero(x):
    x[:, 0, 3] = 0.0
    return x


@pytest.mark.parametrize("name", AFFINE)
def test_lines_give_what_points_give(name, monkeypatch):
    args = AFFINE[name], X, ta.IntegratedGradients(b.Constant(0.3), steps=7, tolerance=10.0)
    target = {"target": [0, 1]}
    expected = plainly(monkeypatch, *args, **target)
    found = ta.explain(*args, **target)
    assert found.attrs["evaluation"] == "linewise"
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(found.model_evaluations, expected.model_evaluations)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whatever_the_batches(batch_size, dtype, monkeypatch):
    net = AFFINE["convolution"]
    net = nn.Sequential(net).to(getattr(torch, dtype))
    args = net, X.astype(dtype), ta.IntegratedGradients(b.Gaussian(0.5), draws=2, steps=5)
    expected = plainly(monkeypatch, *args, target=0)
    found = ta.explain(*args, target=0, batch_size=batch_size)
    net.double()
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    apart = abs(found.attribution - expected.attribution).max() / abs(expected.attribution).max()
    assert apart < tolerance
    assert (found.attrs.get("evaluation") == "linewise") == (batch_size > 1)


@pytest.mark.parametrize("join", [torch.add, torch.sub, torch.mul])
def test_one_row_that_is_left_over_is_no_constant(join, monkeypatch):
    net = module(lambda x, f: head(join(f(x).tanh(), x) + join(x, f(x).relu())), nn.Conv1d(4, 4, 3, padding=1))
    args = net, X, ta.IntegratedGradients(b.Constant(0.3), steps=7, tolerance=10.0)
    found, expected = ta.explain(*args, target=0, batch_size=4), plainly(monkeypatch, *args, target=0)
    assert found.attrs["evaluation"] == "linewise"
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-10, atol=1e-13)


def test_refined_and_ragged_and_with_context(monkeypatch):
    x = X.copy(deep=True)
    x[0, 1, 4:7] = np.nan
    net = AFFINE["normalised"]

    def model(x, scale):
        return net(torch.nan_to_num(x)) * scale[:, None]

    args = model, x, ta.IntegratedGradients(b.Blur(time=2.0), rule="gauss-legendre")
    more = {"target": 0, "context": {"scale": np.array([1.0, 2.0, 3.0])}}
    expected, found = plainly(monkeypatch, *args, **more), ta.explain(*args, **more)
    assert found.attrs["evaluation"] == "linewise"
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-10, atol=1e-13)
    assert np.isnan(found.attribution[0, 1, 4:7]).all()
    assert (found.steps == expected.steps).all()


def test_a_sample_without_finite_gradients_does_not_stop_the_others():
    def model(x):
        y = 1e3 - (x * FIXED).sum((1, 2))
        return torch.sqrt(y * (y > 0))  # where that is 0 its slope is 0 times infinity

    x = X.copy(deep=True)
    x[1] = 1e4 * np.sign(FIXED.numpy())
    with pytest.warns(ta.ExplanationWarning, match="^non-finite gradient: sample 1 "):
        ds = ta.explain(model, x, ta.IntegratedGradients(steps=5, rule="midpoint"))
    assert ds.attrs["evaluation"] == "linewise"
    assert ds.status.values.tolist()[1] == "non-finite gradient"
    assert np.isfinite(ds.attribution[[0, 2]]).all()


def test_a_wrong_rule_is_not_trusted(monkeypatch):
    net = AFFINE["turned"]

    def wrong(self, func, *args, view=False, **kwargs):
        return Lines(self.points, func(self.start, *args, **kwargs), 2 * func(self.direction, *args, **kwargs))

    monkeypatch.setattr(Lines, "both", wrong)
    args = net, X, ta.IntegratedGradients(steps=7)
    found = ta.explain(*args, target=0)
    assert found.attrs["evaluation"] == "not linewise: other outputs"
    expected = plainly(monkeypatch, *args, target=0)
    np.testing.assert_array_equal(found.attribution, expected.attribution)


def test_other_gradients_are_not_trusted(monkeypatch):
    def halved(ctx, slope):
        return None, slope.sum(0, keepdim=True) / 2, None

    monkeypatch.setattr(lines._Made, "backward", staticmethod(halved))
    ds = ta.explain(AFFINE["linear"], X[:1], ta.IntegratedGradients(steps=7), target=0)
    assert ds.attrs["evaluation"] == "not linewise: other gradients"


def test_what_fails_later_goes_on_point_by_point(monkeypatch):
    asked = []

    def model(x):
        if isinstance(x, Lines):
            asked.append(len(x))
            if len(asked) == 3:
                raise RuntimeError("no more")
        return head(x @ WEIGHT)

    args = model, X, ta.IntegratedGradients(steps=7)
    found = ta.explain(*args, target=0, batch_size=4)
    assert found.attrs["evaluation"] == "linewise; not linewise: no more"
    expected = plainly(monkeypatch, *args, target=0)
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(found.model_evaluations, expected.model_evaluations)


@pytest.mark.parametrize("why", ["hook", "left", "few points"])
def test_where_lines_do_not_hold(why):
    net = nn.Sequential(AFFINE["linear"])
    method = {
        "hook": ta.IntegratedGradients(steps=5),
        "left": ta.IntegratedGradients(steps=5, rule="left"),
        "few points": ta.IntegratedGradients(steps=2),
    }[why]
    handle = net.register_forward_hook(lambda *_: None) if why == "hook" else None
    ds = ta.explain(net, X, method, target=0)
    if handle is not None:
        handle.remove()
    said = "not linewise: a hook of the model sees its activations" if why == "hook" else None
    assert ds.attrs.get("evaluation") == said


def test_a_dense_call_asks_about_each_point():
    args = AFFINE["linear"], X, ta.IntegratedGradients(steps=7)
    found, expected = (ta.explain(*args, target=0, evaluation=e) for e in ("dense", None))
    assert ("evaluation" in found.attrs, expected.attrs["evaluation"]) == (False, "linewise")
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-10, atol=1e-13)


def test_first_layers_are_asked_once_a_path():
    rows = []

    class Seen(nn.Linear):
        def forward(self, x):
            if isinstance(x, Lines):
                rows.append((len(x), len(x.direction), len(x.start)))
            return super().forward(x)

    net = nn.Sequential(nn.Flatten(), Seen(96, 3), nn.Tanh()).double()
    ta.explain(net, X, ta.IntegratedGradients(steps=10), target=0, batch_size=30)
    assert rows == [(2, 1, 1), (30, 3, 1)]


def test_a_trial_does_not_pay_for_a_small_call(monkeypatch):
    monkeypatch.undo()
    ds = ta.explain(AFFINE["linear"], X, ta.IntegratedGradients(steps=7), target=0)
    assert ("evaluation" not in ds.attrs, ds.attrs["trial_rows"]) == (True, 4)


@pytest.mark.parametrize("cells", [3, 5000])
def test_rows_of_lines_and_their_gradient(cells):
    t = torch.tensor([0.1, 0.5, 0.9, 0.2, 0.3])
    start, direction = torch.as_tensor(RNG.normal(size=(2, 2, cells)))
    points = Points(t.double(), [3, 2])
    line = torch.tensor([0, 0, 0, 1, 1])
    leaf = direction.clone().requires_grad_()
    rows = Lines(points, start, leaf.view_as(leaf)).whole()
    torch.testing.assert_close(rows, start[line] + t.double()[:, None] * direction[line])
    (rows * rows).sum().backward()
    expected = (2 * rows.detach() * t.double()[:, None]).reshape(5, -1)
    torch.testing.assert_close(leaf.grad, torch.stack([expected[:3].sum(0), expected[3:].sum(0)]))


def test_a_recurrent_model_is_tried_for_longer_calls_alone(monkeypatch):
    monkeypatch.setattr(paths, "_WORTH", 2**20)
    torch.manual_seed(0)
    cell, x = nn.GRU(3, 2, batch_first=True), torch.randn(8, 256, 3)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            return self.cell(x)[0][:, -1, 0]

    given = {"dims": ("sample", "time", "lead"), "check": False}
    for model, tried in ((Last(), False), (lambda x: cell(x)[0][:, -1, 0], True)):  # of a function nothing is known
        ds = ta.explain(model, x, ta.IntegratedGradients(steps=200), **given)
        assert (ds.attrs["trial_rows"] > 0) == tried
