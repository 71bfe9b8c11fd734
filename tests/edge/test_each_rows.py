"""What every output at once costs: the rows of one output, and of gradients a backward pass each."""

import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tests.conftest import Spy

b, g = ta.baselines, ta.groups
SHAPE = (3, 6, 2)
X = xr.DataArray(np.random.default_rng(0).normal(size=SHAPE), dims=("sample", "time", "feature"))
GRADED = {
    "saliency": ta.Saliency(),
    "input x gradient": ta.InputXGradient(),
    "smoothgrad": ta.SmoothGrad(draws=3),
    "integrated gradients": ta.IntegratedGradients(steps=5),
    "expected gradients": ta.IntegratedGradients(b.Gaussian(0.3), steps=1, draws=3),
    "refined": ta.IntegratedGradients(rule="gauss-legendre"),
}
REMOVING = {
    "occlusion": ta.Occlusion(g.Windows(time=2, feature=1)),
    "occlusion, drawn": ta.Occlusion(g.Along("time"), b.Gaussian(0.3), draws=3),
    "shapley": ta.ShapleySampling(g.Along("time"), draws=4),
    "kernel shap": ta.KernelShap(g.Along("time"), coalitions=30),
    "interactions": ta.ShapleyInteractions(g.Along("time")),
    "rescaled": ta.TemporalRescaling(ta.Occlusion(g.Cells())),
    "winit": ta.WinIT(window=2, draws=1, predictions="last"),
    "feature occlusion": ta.FeatureOcclusion(b.Uniform(-1.0, 1.0), draws=2, predictions="last"),
}
METHODS = {**GRADED, **REMOVING}


class Counted(torch.autograd.Function):
    """The identity, which counts the backward passes through it and keeps the rows of each."""

    passes: list = []  # noqa: RUF012 - of one test at a time

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        Counted.passes.append(len(slope))
        return slope


def net(outputs):
    """Smooth, so that any number of path points says the same of each output, and no output differs in what it takes."""
    weights = torch.as_tensor(np.random.default_rng(1).normal(size=(12, 1)))
    turned = torch.arange(1, outputs + 1, dtype=torch.float64)

    def f(x):
        return torch.tanh(Counted.apply(x).flatten(1) @ weights) * turned

    return f


def outputs_of(n):
    """Described, so that nobody has to look at a row for them."""
    return {"horizon": range(n)}


def asked(method, outputs, target):
    Counted.passes.clear()
    spy = Spy(net(outputs))
    ds = ta.explain(lambda x: spy(x), X, method, target=target, outputs=outputs_of(outputs), check=False, batch_size=4)
    return ds, spy.count, list(Counted.passes)


@pytest.mark.parametrize("name", METHODS)
def test_rows_do_not_depend_on_how_many_outputs_there_are(name):
    method = METHODS[name]
    one, rows, passes = asked(method, 7, ta.targets.Output.at(horizon=0))
    each, together, all_passes = asked(method, 7, ta.targets.Each("horizon"))
    assert together == rows
    assert each.model_evaluations.values.tolist() == one.model_evaluations.values.tolist()
    assert len(all_passes) == 7 * len(passes)
    assert bool(passes) == (name in GRADED)
    np.testing.assert_allclose(each.attribution.isel(horizon=0), one.attribution, rtol=1e-12, atol=1e-14)


def test_a_backward_pass_of_one_output_goes_through_no_other():
    seen = []

    class Head(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.k = k
            return x.sum((1, 2))

        @staticmethod
        def backward(ctx, slope):
            seen.append(ctx.k)
            return slope[:, None, None].expand(-1, *SHAPE[1:]), None

    targets = [lambda y, k=k: Head.apply(y, k) for k in range(5)]
    ta.explain(lambda x: x, X, ta.Saliency(), target=targets, outputs=("time", "feature"), check=False)
    assert sorted(seen) == list(range(5))


def test_gradients_of_many_outputs_go_in_smaller_batches(monkeypatch):
    from tsattr.core import samples

    whole = ta.explain(net(40), X, ta.IntegratedGradients(steps=8), target=ta.targets.Each(), outputs=outputs_of(40))
    monkeypatch.setattr(samples, "_GRADIENTS", 40 * 12 * 8 * 5)  # five rows of twelve cells in float64
    spy = Spy(net(40))
    settings = {"target": ta.targets.Each(), "outputs": outputs_of(40), "check": False}
    ds = ta.explain(lambda x: spy(x), X, ta.IntegratedGradients(steps=8), **settings)
    graded = [len(rows) for with_slope, rows in spy.rows if with_slope]
    assert max(graded[1:]) == 5
    np.testing.assert_allclose(ds.attribution, whole.attribution, rtol=1e-12)
    asked_for = Spy(net(40))
    ta.explain(lambda x: asked_for(x), X, ta.IntegratedGradients(steps=8), batch_size=12, **settings)
    assert max(len(rows) for with_slope, rows in asked_for.rows if with_slope) == 12  # who names a size has it


def test_chunks_are_smaller_where_there_are_many_outputs(monkeypatch):
    from tsattr.edge import call

    monkeypatch.setattr(call, "_CHUNK", 12 * 8 * 10)
    x = xr.concat([X] * 4, "sample")
    sizes = []
    for target in (ta.targets.Output.at(0), ta.targets.Each()):
        settings = {"target": target, "outputs": outputs_of(10), "check": False, "batch_size": 10}
        spy = Spy(net(10))
        ta.explain(lambda x, spy=spy: spy(x), x, ta.Saliency(), **settings)
        sizes.append(max(len(rows) for _, rows in spy.rows))
    assert sizes == [10, 1]
