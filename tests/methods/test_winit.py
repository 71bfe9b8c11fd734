"""WinIT and its family: the published definitions, closed forms, and the ways in which models are read."""

import itertools

import hypothesis
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import strategies as st
from torch import nn

import tsattr as ta
from tsattr.core.evaluation import choice
from tsattr.core.evaluator import Unsupported

from .. import reference_prefixes as slow
from ..conftest import seeded

b, g = ta.baselines, ta.groups
FEATURES, TIMES, N = 3, 9, 4
Divergence = ta.targets.Divergence


def series(n=3, times=TIMES, features=FEATURES, seed=0):
    values = np.random.default_rng(seed).normal(size=(n, features, times))
    coords = {"sample": np.arange(n) + 10, "feature": list("abcdefgh"[:features]), "time": np.arange(times) * 0.5}
    x = xr.DataArray(values, coords, ("sample", "feature", "time"))
    x.time.attrs["units"] = "h"
    return x


X = series()


class Reader(nn.Module):
    """Recurrent layers over (rows, feature, time), with one output for each time or the last one's."""

    def __init__(self, kind="GRU", layers=1, classes=1, every=True, **more):
        super().__init__()
        self.memory = getattr(nn, kind)(FEATURES, 6, layers, batch_first=True, **more)
        width = 6 * (1 + more.get("bidirectional", False))
        self.norm, self.head = nn.BatchNorm1d(width), nn.Linear(width, classes)
        self.every, self.one = every, classes == 1

    def forward(self, x):
        h = self.memory(x.transpose(1, 2))[0]
        h = h if self.every else h[:, -1:]
        y = self.head(self.norm(h.flatten(0, 1))).reshape(*h.shape[:2], -1) * 3
        y = y[..., 0] if self.one else y
        return y if self.every else y[:, 0]


class Causal(nn.Module):
    """Two convolutions that are padded before the series alone: each output sees 5 steps."""

    def __init__(self, classes=3, symmetric=False):
        super().__init__()
        self.first, self.second = nn.Conv1d(FEATURES, 5, 3), nn.Conv1d(5, classes, 3)
        self.pad = (1, 1) if symmetric else (2, 0)

    def forward(self, x):
        h = self.first(nn.functional.pad(x, self.pad)).relu()
        return self.second(nn.functional.pad(h, self.pad)).transpose(1, 2) * 3


class ByCells(nn.Module):
    """A recurrent model that no inspection can see through."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(FEATURES, 6), nn.Linear(6, 2)

    def forward(self, x):
        h, out = x.new_zeros(len(x), 6), []
        for t in range(x.shape[2]):
            h = self.cell(x[:, :, t], h)
            out.append(self.head(h) * 3)
        return torch.stack(out, 1)


class Projected(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.head = nn.LSTM(FEATURES, 6, proj_size=4), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.memory(x.permute(2, 0, 1))[0])[..., 0].T * 3


def gru(**settings):
    return seeded(lambda: Reader(**settings))


MODELS = {
    "gru": (gru(), ("time",), "recurrent state"),
    "gru, three classes": (gru(classes=3), ("time", "class"), "recurrent state"),
    "gru, two layers": (gru(layers=2), ("time",), "recurrent state"),
    "lstm, two layers, two classes": (gru(kind="LSTM", layers=2, classes=2), ("time", "class"), "recurrent state"),
    "lstm with projection": (seeded(Projected), ("time",), "recurrent state"),
    "rnn": (gru(kind="RNN"), ("time",), "recurrent state"),
    "gru, last step": (gru(every=False), None, "recurrent state"),
    "lstm, last step, three classes": (gru(kind="LSTM", classes=3, every=False), ("class",), "recurrent state"),
    "causal convolutions": (seeded(Causal), ("time", "class"), "one pass of 4 steps before"),
    "cells": (seeded(ByCells), ("time", "class"), "one pass"),
    "convolutions that look ahead": (
        seeded(lambda: Causal(symmetric=True)),
        ("time", "class"),
        "prefixes, of which the model sees 3 steps",
    ),
    "looks both ways": (gru(bidirectional=True), ("time",), "prefixes"),
}


every = pytest.mark.parametrize("name", MODELS)


def last_of(model, outputs):
    """The model as probabilities (classes,) of the last step of one prefix."""

    def probability(rows):
        y = model(rows)
        if outputs and outputs[0] == "time":
            y = y[:, -1]
        y = y.reshape(-1)
        return (torch.sigmoid(torch.stack([y[0], -y[0]])) if len(y) == 1 else y.softmax(0)).detach().numpy()

    return probability


class Draws:
    """A causal law of another's making: numbers by sample, start, stop, feature, time and draw."""

    causal = True

    def __init__(self, nested=False):
        self.nested = nested

    def value(self, sample, start, stop, feature, time, draw):
        seed = [int(sample), start, 0 if self.nested else stop, int(feature), time, int(draw)]
        return np.random.default_rng(seed).normal()

    def fill(self, x, absent, key):
        out = x.clone()
        for row, feature, time in absent.nonzero().tolist():
            inside = absent[row, feature].nonzero()[:, 0]
            start, stop = int(inside[0]), int(inside[-1]) + 1
            out[row, feature, time] = self.value(key.sample[row], start, stop, feature, time, key.draw[row])
        return out

    def of(self, sample):
        def law(start, stop, absent, draw):
            return np.array([[self.value(sample, start, stop, f, t, draw) for t in range(start, stop)] for f in absent])

        return law


def expected(name, kind="pd", draws=2, law=None, groups=None, x=X):
    model, outputs, _ = MODELS[name]
    groups = [[f] for f in range(FEATURES)] if groups is None else groups
    law = law or Draws()
    return np.stack(
        [
            slow.stretch_losses(last_of(model, outputs), one, law.of(who), N, draws, kind, groups)
            for one, who in zip(x.values, x.sample.values)
        ]
    )


# ------------------------------------------------------------------------------------------------------ the definition


@every
@pytest.mark.parametrize("kind", ["pd", "kl", "js"])
def test_the_published_definition(name, kind):
    model, outputs, reading = MODELS[name]
    if kind != "pd" and name not in ("gru", "lstm, last step, three classes"):
        pytest.skip("one model of one probability, one of several")
    ds = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2), outputs=outputs, target=Divergence(kind))
    assert ds.attrs["reading"] == reading
    want = np.stack([slow.winit(d) for d in expected(name, kind)])
    assert ds.attribution.dims == ("sample", "feature", "time", "lag")
    np.testing.assert_allclose(ds.attribution.values, want, atol=1e-9)
    assert (ds.status == "ok").all()
    d = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2, difference=False), outputs=outputs, target=Divergence(kind))
    losses = expected(name, kind)
    losses[:, :, 0] = 0
    np.testing.assert_allclose(d.attribution.values, losses, atol=1e-9)


@every
def test_shared_draws_are_the_same_definition_with_one_draw_for_each_start(name):
    model, outputs, _ = MODELS[name]
    law = Draws(nested=True)
    ds = ta.explain(model, X, ta.WinIT(N, law, draws=2), outputs=outputs)
    want = np.stack([slow.winit(d) for d in expected(name, law=law)])
    np.testing.assert_allclose(ds.attribution.values, want, atol=1e-9)
    alone = ta.explain(model, X, ta.WinIT(N, law, draws=2, horizons="independent"), outputs=outputs)
    np.testing.assert_allclose(alone.attribution.values, want, atol=1e-9)


@pytest.mark.parametrize("how", ["mean", "max", "absmax", "sum"])
def test_aggregates(how):
    model, outputs, _ = MODELS["gru"]
    ds = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2, aggregate=how), outputs=outputs)
    want = [slow.aggregate(slow.winit(d), how) for d in expected("gru")]
    assert ds.attribution.dims == X.dims
    np.testing.assert_allclose(ds.attribution.values, np.stack(want), atol=1e-9)
    assert ds.standard_error.shape == X.shape


def test_standard_errors_are_those_of_the_draws():
    model, outputs, _ = MODELS["gru"]
    each = np.stack([slow.winit(expected("gru", draws=1, law=Shifted(s))[0]) for s in range(4)])
    ds = ta.explain(model, X[:1], ta.WinIT(N, Draws(), draws=4), outputs=outputs)
    np.testing.assert_allclose(ds.attribution.values[0], each.mean(0), atol=1e-9)
    np.testing.assert_allclose(ds.standard_error.values[0], each.std(0, ddof=1) / 2, atol=1e-9)
    mean = ta.explain(model, X[:1], ta.WinIT(N, Draws(), draws=4, aggregate="mean"), outputs=outputs)
    by_draw = np.stack([slow.aggregate(e, "mean") for e in each])
    np.testing.assert_allclose(mean.standard_error.values[0], by_draw.std(0, ddof=1) / 2, atol=1e-9)


class Shifted(Draws):
    """One draw of `Draws` as the first."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def value(self, sample, start, stop, feature, time, draw):
        return super().value(sample, start, stop, feature, time, draw + self.first)


@pytest.mark.parametrize("name", ["gru", "gru, last step", "causal convolutions"])
def test_groups_go_together(name):
    model, outputs, _ = MODELS[name]
    family = xr.DataArray([0, 1, 0], dims="feature", coords={"feature": X.feature})
    ds = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2, groups=g.Labelled(family)), outputs=outputs)
    want = np.stack([slow.winit(d) for d in expected(name, groups=[[0, 2], [1]])])
    np.testing.assert_allclose(ds.group_value.values, want, atol=1e-9)
    np.testing.assert_allclose(ds.attribution.values, want[:, [0, 1, 0]], atol=1e-9)
    assert ds.group.values.tolist() == ["0", "1"]


@pytest.mark.parametrize("name", ["gru", "gru, last step", "convolutions that look ahead"])
def test_the_last_prediction_alone_is_that_of_every(name):
    model, outputs, _ = MODELS[name]
    whole = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2), outputs=outputs)
    last = ta.explain(model, X, ta.WinIT(N, Draws(), draws=2, predictions="last"), outputs=outputs)
    a, lag = np.meshgrid(np.arange(TIMES), np.arange(N), indexing="ij")
    at_the_end = a + lag == TIMES - 1
    np.testing.assert_allclose(
        last.attribution.values[..., at_the_end], whole.attribution.values[..., at_the_end], atol=1e-12
    )
    rest = last.attribution.values[..., 1:, :][..., ~at_the_end[1:]]
    assert np.isnan(rest).all()


def test_a_model_of_whole_series_is_explained_at_its_end():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(FEATURES * TIMES, 2)))
    with pytest.raises(RuntimeError) as caught:
        ta.explain(model, X, ta.WinIT(N), outputs=("class",))
    assert any("predictions='last'" in note for note in caught.value.__notes__)
    ds = ta.explain(model, X, ta.WinIT(N, b.Constant(0.0), predictions="last", aggregate="sum"), outputs=("class",))
    shift = ta.explain(
        model, X, ta.Occlusion(g.Windows(time=1, feature=1), b.Constant(0.0)), target=Divergence("pd")
    ).attribution
    np.testing.assert_allclose(ds.attribution[..., -1], shift[..., -1], atol=1e-12)
    assert (ds.attribution[..., : TIMES - N] == 0).all()


def test_fit_and_feature_occlusion():
    for name in ("gru", "gru, three classes", "gru, last step"):
        model, outputs, _ = MODELS[name]
        ds = ta.explain(model, X, ta.FIT(Draws(), draws=3), outputs=outputs)
        want = [
            slow.fit(last_of(model, outputs), one, Draws().of(who), 3) for one, who in zip(X.values, X.sample.values)
        ]
        np.testing.assert_allclose(ds.attribution.values, np.stack(want), atol=1e-9)
        ds = ta.explain(model, X, ta.FeatureOcclusion(Draws(), draws=2), outputs=outputs)
        losses = expected(name)[..., 0]
        losses[:, :, 0] = 0
        np.testing.assert_allclose(ds.attribution.values, losses, atol=1e-9)


def test_fit_has_standard_errors_by_the_slope():
    model, outputs, _ = MODELS["gru"]
    many = [
        ta.explain(model, X[:1], ta.FIT(b.Uniform(-2.0, 2.0), draws=40), outputs=outputs, seed=s) for s in range(30)
    ]
    spread = np.std([m.attribution.values for m in many], axis=0, ddof=1)[..., 1:]
    said = np.mean([m.standard_error.values for m in many], axis=0)[..., 1:]
    assert np.median(said / spread) == pytest.approx(1, abs=0.15)


# -------------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("order", ["backward", "symmetric"])
def test_telescoping_and_bounds(order):
    model, outputs, _ = MODELS["gru"]
    for kind, most in (("pd", 2.0), ("js", np.log(2))):
        target = Divergence(kind)
        parts = ta.explain(model, X, ta.WinIT(N, Draws(), order=order), outputs=outputs, target=target).attribution
        whole = ta.explain(model, X, ta.WinIT(N, Draws(), difference=False), outputs=outputs, target=target).attribution
        assert float(abs(parts).max()) <= most
        for t in range(1, TIMES):
            lags = range(min(t, N))
            total = sum(parts.values[:, :, t - k, k] for k in lags)
            np.testing.assert_allclose(total, whole.values[:, :, t - lags[-1], lags[-1]], atol=1e-12)


def test_symmetric_is_the_mean_of_two_orders_of_a_game():
    """Against removal written out: of the window's cells of one feature, up to or from a on."""
    model, outputs, _ = MODELS["gru"]
    law = Draws(nested=True)
    ds = ta.explain(model, X[:1], ta.WinIT(N, law, draws=1, order="symmetric"), outputs=outputs)
    probability, x = last_of(model, outputs), X.values[0]
    for t in (1, 2, 5, 8):
        p = probability(torch.as_tensor(x[None, :, : t + 1]))
        low = max(1, t - N + 1)
        for f in range(FEATURES):

            def lost(first, stop, f=f, t=t, p=p):
                other = x[:, : t + 1].copy()
                if stop > first:
                    values = law.of(X.sample.values[0])(first, stop, np.array([f]), 0)
                    other[f, first:stop] = values[0]
                return slow.divergence("pd", p, probability(torch.as_tensor(other[None])))

            for a in range(low, t + 1):
                backward = lost(a, t + 1) - lost(a + 1, t + 1)
                forward = lost(low, a + 1) - lost(low, a)
                assert ds.attribution.values[0, f, a, t - a] == pytest.approx((backward + forward) / 2, abs=1e-9)


def test_two_classes_from_one_number_and_their_signs():
    one, two = gru(), gru(classes=2)
    pd = ta.explain(one, X, ta.WinIT(1, Draws(), draws=1), outputs=("time",)).attribution
    signed = ta.explain(one, X, ta.WinIT(1, Draws(), draws=1), outputs=("time",), target=Divergence("signed"))
    np.testing.assert_allclose(pd, 2 * abs(signed.attribution), atol=1e-12)
    assert float(signed.attribution.min()) < 0 < float(signed.attribution.max())
    said = ta.explain(
        lambda x: two(x).softmax(-1),
        X,
        ta.WinIT(N, Draws()),
        outputs=("time", "class"),
        target=Divergence(of="probability"),
    )
    logits = ta.explain(two, X, ta.WinIT(N, Draws()), outputs=("time", "class"))
    np.testing.assert_allclose(said.attribution, logits.attribution, atol=1e-12)


def test_delay_is_found_at_its_lag():
    """p_t = sigmoid(w x_0,t-2): nothing at lags 0 and 1 and for other features; 2 |p - p'| at lag 2; nothing beyond."""
    delay, w = 2, 1.7

    def model(x):
        return w * nn.functional.pad(x[:, 0], (delay, 0))[:, : x.shape[2]]

    ds = ta.explain(model, X, ta.WinIT(5, b.Constant(0.0)), outputs=("time",)).attribution
    p = 1 / (1 + np.exp(-w * X.values[:, 0]))
    want = np.zeros((len(X), FEATURES, TIMES, 5))
    want[:, 0, 1:, delay] = 2 * abs(p - 0.5)[:, 1:]
    want[np.isnan(ds.values)] = np.nan
    np.testing.assert_allclose(ds.values, want, atol=1e-12)
    reach = np.isfinite(ds.values[0, 0]).sum(1)
    assert reach[1:].tolist() == [min(5, TIMES - a) for a in range(1, TIMES)]


def test_linear_gaussian_process():
    """An AR(1) forecast as the law and a readout of the present: the credit of an observation is its innovation.

    With y_t = w x_t, D(a, t) = w (x_t - phi^(t-a+1) x_a-1), so I(a, t) = w phi^(t-a) (x_a - phi x_a-1).
    """
    phi, w = 0.8, 2.0
    rng = np.random.default_rng(0)
    x = np.zeros((2, 1, 30))
    x[..., 0] = rng.normal(size=(2, 1))
    for t in range(1, 30):
        x[..., t] = phi * x[..., t - 1] + rng.normal(size=(2, 1)) * 0.6

    class Forecast:
        causal = nested = True

        def fill(self, x, absent, key):
            out = x.clone()
            for t in range(1, x.shape[2]):
                out[:, :, t] = torch.where(absent[:, :, t], phi * out[:, :, t - 1], out[:, :, t])
            return out

    ds = ta.explain(
        lambda x: w * x[:, 0],
        xr.DataArray(x, dims=("sample", "feature", "time")),
        ta.WinIT(6, Forecast(), draws=1),
        outputs=("time",),
        target=Divergence("difference"),
    ).attribution.values
    for a in range(1, 30):
        for k in range(min(6, 30 - a)):
            innovation = x[:, 0, a] - phi * x[:, 0, a - 1]
            np.testing.assert_allclose(ds[:, 0, a, k], w * phi**k * innovation, atol=1e-12)


def test_regression_and_other_targets():
    model = gru()
    by_shift = ta.explain(model, X, ta.WinIT(N, Draws()), outputs=("time",), target=Divergence("difference"))
    by_output = ta.explain(model, X, ta.WinIT(N, Draws()), outputs=("time",), target=ta.targets.Output())
    np.testing.assert_allclose(by_shift.attribution, by_output.attribution, atol=1e-12)
    both = ta.explain(model, X, ta.WinIT(N, Draws()), outputs=("time",), target=[Divergence(), Divergence("js")])
    assert both.attribution.dims == ("sample", "feature", "time", "lag", "target")
    one = ta.explain(model, X, ta.WinIT(N, Draws()), outputs=("time",))
    np.testing.assert_allclose(both.attribution.isel(target=0), one.attribution, atol=1e-12)


def test_what_is_not_used_is_zero_and_the_future_plays_no_part():
    model = seeded(lambda: Reader())
    with torch.no_grad():
        model.memory.weight_ih_l0[:, 1] = 0
    ds = ta.explain(model, X, ta.WinIT(N, b.Hold()), outputs=("time",)).attribution
    used = np.isfinite(ds.values[:, 1])
    assert (ds.values[:, 1][used] == 0).all()
    later = X.copy()
    later[..., 6:] = -3
    other = ta.explain(model, later, ta.WinIT(N, b.Hold()), outputs=("time",)).attribution
    before = (ds.time + ds.lag * 0.5 < 3.0).values
    np.testing.assert_allclose(other.values[..., before], ds.values[..., before], atol=1e-12)


def test_what_is_put_back_as_it_was_costs_nothing():
    class Same:
        causal = nested = True

        def fill(self, x, absent, key):
            return x

    ds = ta.explain(gru(), X, ta.WinIT(N, Same()), outputs=("time",)).attribution.values
    np.testing.assert_allclose(ds[np.isfinite(ds)], 0, atol=1e-12)


def test_a_saturated_model_gives_no_nan():
    class Sure(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0] * 1e4, -x[:, 0] * 1e4, x[:, 1]], -1)

    for kind in ("pd", "kl", "js", "signed"):
        for model, of in ((Sure(), "logits"), (lambda x: Sure()(x).softmax(-1), "probability")):
            ds = ta.explain(
                model, X, ta.WinIT(N, b.Constant(0.0)), outputs=("time", "class"), target=Divergence(kind, of=of)
            )
            assert (ds.status == "ok").all()
            inside = np.isfinite(ds.attribution.values)
            assert inside.mean() == np.isfinite(ta.explain(gru(), X, ta.WinIT(N), outputs=("time",)).attribution).mean()


# ----------------------------------------------------------------------------------------------------------- invariance


@pytest.mark.parametrize("name", ["gru", "gru, last step", "causal convolutions", "looks both ways"])
@pytest.mark.parametrize("law", [b.Hold(), b.Uniform(-2.0, 2.0)])
def test_batches_order_company_and_dims_change_nothing(name, law):
    model, outputs, _ = MODELS[name]
    method = ta.WinIT(N, law, draws=2, order="symmetric")
    want = ta.explain(model, X, method, outputs=outputs)
    for other in (
        ta.explain(model, X, method, outputs=outputs, batch_size=1),
        ta.explain(model, X, method, outputs=outputs, batch_size=7),
        ta.explain(model, X[[2, 0, 1]], method, outputs=outputs).isel(sample=[1, 2, 0]),
        xr.concat([ta.explain(model, X[[k]], method, outputs=outputs) for k in range(len(X))], "sample"),
    ):
        xr.testing.assert_allclose(other.attribution, want.attribution, atol=1e-9)
        xr.testing.assert_allclose(other.standard_error, want.standard_error, atol=1e-9)
    turned = ta.explain(
        lambda x: model(x.transpose(1, 2)), X.transpose("time", "sample", "feature"), method, outputs=outputs
    )
    xr.testing.assert_allclose(turned.attribution.transpose(*want.attribution.dims), want.attribution, atol=1e-9)


def test_the_model_is_left_as_it_was_also_after_an_error():
    model = gru().train()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    ta.explain(model, X, ta.WinIT(N), outputs=("time",))

    class Broken:
        causal = True

        def fill(self, x, absent, key):
            raise KeyError("broken")

    with pytest.raises(KeyError):
        ta.explain(model, X, ta.WinIT(N, Broken()), outputs=("time",))
    assert model.training
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def test_missing_cells_are_not_perturbed_and_have_no_attribution():
    x = X.copy()
    x[0, 0, 3:6] = np.nan
    seen = []

    def model(rows):
        seen.append(rows.clone())
        return torch.nan_to_num(rows).cumsum(2).sum(1)

    ds = ta.explain(model, x, ta.WinIT(N, b.Hold()), outputs=("time",))
    assert np.isnan(ds.attribution[0, 0, 3:6]).all()
    assert np.isfinite(ds.attribution[0, 0, 2, 0])
    shown = torch.cat([r for r in seen if r.shape[2] == TIMES])
    assert set(torch.isnan(shown).sum((1, 2)).tolist()) <= {0, 3, *range(TIMES * FEATURES + 1)}
    known = X.isnull()
    known[0, 0, 3:6] = True
    filled = ta.explain(lambda r: r.cumsum(2).sum(1), X.fillna(0), ta.WinIT(N), outputs=("time",), valid=~known)
    assert np.isnan(filled.attribution[0, 0, 3:6]).all()
    assert (ds.status == "ok").all()


@pytest.mark.parametrize(("features", "times"), [(1, 9), (3, 2), (1, 1), (3, 1)])
def test_short_and_single_series(features, times):
    x = series(2, times, features)
    model = lambda x: x.cumsum(2).sum(1)  # noqa: E731
    for method in (ta.WinIT(N), ta.WinIT(N, order="symmetric"), ta.FeatureOcclusion(), ta.FIT(b.Constant(0.0))):
        ds = ta.explain(model, x, method, outputs=("time",))
        assert (ds.status == "ok").all()
        assert (ds.attribution.isel(time=0).fillna(0) == 0).all()
    flat = x.isel(feature=0, drop=True)
    ds = ta.explain(lambda x: x.cumsum(1), flat, ta.WinIT(N), outputs=("time",))
    assert ds.attribution.dims == ("sample", "time", "lag")


# ------------------------------------------------------------------------------------------------------- time and cost


def test_windows_in_physical_time():
    even = ta.explain(gru(), X, ta.WinIT("2h", b.Hold()), outputs=("time",))
    cells = ta.explain(gru(), X, ta.WinIT(4, b.Hold()), outputs=("time",))
    np.testing.assert_array_equal(even.attribution, cells.attribution)
    assert even.lag.values.tolist() == [0, 1, 2, 3]
    assert even.lag_time.values.tolist() == [0, 0.5, 1, 1.5]
    assert even.lag_time.attrs["units"] == "h"
    hours = [0.0, 1.0, 1.5, 2.0, 6.0, 6.5, 9.0, 9.5, 10.0]
    uneven = X.assign_coords(time=("time", hours, {"units": "h"}))
    ds = ta.explain(gru(), uneven, ta.WinIT("2h", b.Hold()), outputs=("time",))
    known = np.isfinite(ds.attribution.values[0, 0])
    for a in range(1, TIMES):
        want = [a + k < TIMES and hours[a + k] - hours[a] < 2 for k in range(known.shape[1])]
        assert known[a].tolist() == want
    assert "lag_time" not in ds.coords


def test_steps_are_those_of_the_formulas():
    n, s = N, 2
    starts = sum(min(t, n) for t in range(1, TIMES))
    steps = {
        "independent": TIMES + FEATURES * s * sum(k + 1 for t in range(1, TIMES) for k in range(min(t, n))),
        "shared": TIMES + FEATURES * s * (TIMES - 1) * n,
    }
    for horizons, want in steps.items():
        ds = ta.explain(gru(), X, ta.WinIT(n, Draws(), draws=s, horizons=horizons), outputs=("time",))
        assert (ds.model_steps == want).all()
        assert (
            ds.attrs["trial_steps"] <= 4 * 6 * TIMES
        )  # four series, to see that the cached state gives what the model gives
    counted = slow.Counter(gru())
    slow.stretch_losses(
        last_of(counted, ("time",)), X.values[0], Draws().of(10), n, s, "pd", [[f] for f in range(FEATURES)]
    )
    assert counted.steps == slow.steps_of(TIMES, FEATURES, s, n)
    assert counted.calls == (TIMES - 1) + FEATURES * s * starts
    assert (slow.steps_of(80, 3, 3, 10), slow.steps_of(200, 3, 3, 10)) == (292_859, 1_827_119)


class Counted(nn.Module):
    """Counts the rows that a model is asked for."""

    def __init__(self, model):
        super().__init__()
        self.model, self.rows = model, 0

    def forward(self, x):
        self.rows += len(x)
        return self.model(x)


class Filter(nn.Module):
    """Sees three steps."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Conv1d(FEATURES, 1, 3)

    def forward(self, x):
        return self.filter(nn.functional.pad(x, (2, 0)))[:, 0]


EVERY, AT_END = {"outputs": ("time",)}, {"target": Divergence("difference")}
ASKED = {
    "recurrent": (lambda: gru(), EVERY),
    "deep": (lambda: seeded(lambda: Reader("LSTM", 2)), EVERY),
    "filter": (lambda: Filter().double(), EVERY),
    "one pass": (lambda: lambda x: x.cumsum(2).sum(1), EVERY),
    "looks ahead": (lambda: lambda x: x.flip(2).cumsum(2).flip(2).sum(1), EVERY),
    "at the end": (lambda: lambda x: x.mean((1, 2))[:, None], AT_END),
    "at the end, recurrent": (lambda: seeded(lambda: Reader(every=False)), AT_END),
}
COSTS = {
    "hold": ta.WinIT(N),
    "draws": ta.WinIT(N, b.Uniform(0.0, 1.0), draws=2),
    "independent": ta.WinIT(N, b.Uniform(0.0, 1.0), draws=2, horizons="independent"),
    "symmetric": ta.WinIT(N, b.Uniform(0.0, 1.0), draws=2, order="symmetric"),
    "last": ta.WinIT(N, predictions="last"),
    "feature occlusion": ta.FeatureOcclusion(draws=2),
    "augmented occlusion": ta.AugmentedOcclusion(b.Uniform(0.0, 1.0), draws=2),
    "fit": ta.FIT(b.Uniform(0.0, 1.0), draws=2),
}


@pytest.mark.parametrize("times", [1, 2, TIMES])
@pytest.mark.parametrize("model", ASKED)
@pytest.mark.parametrize("method", COSTS)
def test_what_a_dry_run_says_is_what_it_costs(method, model, times):
    make, more = ASKED[model]
    more = more if method != "fit" else {k: v for k, v in more.items() if k != "target"}
    counted, x = Counted(make()), X.isel(time=slice(times))
    cost = ta.explain(counted, x, COSTS[method], dry_run="rows", **more)
    assert counted.rows == 0
    ds = ta.explain(counted, x, COSTS[method], **more)
    assert counted.rows == int(ds.model_evaluations.sum()) + ds.attrs.get("trial_rows", 0) <= cost.attrs["rows"]
    assert (cost.model_evaluations_least <= ds.model_evaluations).all()
    assert (ds.model_evaluations <= cost.model_evaluations).all()


def test_provenance():
    ds = ta.explain(gru(), X, ta.WinIT(N, b.Uniform(0.0, 1.0), draws=2), outputs=("time",))
    assert "WinIT(window=4" in ds.attrs["method"]
    assert "timing" not in ds.attrs["method"]
    assert ds.attrs["target"] == "Divergence('pd', of='logits')"


# -------------------------------------------------------------------------------------------------------- wrong settings


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (ta.WinIT(N, b.Bridge()), "must be causal, and"),
        (ta.WinIT("10min"), "shorter than every step"),
        (ta.WinIT(N, groups=g.Windows(time=3)), "whole series"),
        (ta.WinIT(N, groups=g.Labelled(X.astype(int).clip(0))), "same in all samples"),
    ],
)
def test_wrong_settings(method, words):
    with pytest.raises(ValueError, match=words):
        ta.explain(gru(), X, method, outputs=("time",))


def test_wrong_values():
    for settings in (
        {"window": 0},
        {"draws": 0},
        {"aggregate": "median"},
        {"order": "forward"},
        {"horizons": "both"},
        {"predictions": "first"},
        {"order": "symmetric", "difference": False},
    ):
        with pytest.raises(ValueError, match=r"is one of|at least 1|difference=True"):
            ta.explain(gru(), X, ta.WinIT(**settings), outputs=("time",))
    with pytest.raises(KeyError, match="no dim 'hour'"):
        ta.explain(gru(), X, ta.WinIT(dim="hour"), outputs=("time",))
    with pytest.raises(TypeError, match="one DataArray"):
        ta.explain(lambda a, b: a, xr.Dataset({"a": X, "b": X}), ta.WinIT(), outputs=("time",))
    with pytest.raises(ValueError, match="one output for each cell"):
        ta.explain(lambda x: x[:, 0, ::2], X, ta.WinIT(), outputs=("time",))
    with pytest.raises(ValueError, match="of='probability'"):
        ta.explain(lambda x: x.transpose(1, 2).softmax(2), X, ta.WinIT(), outputs=("time", "class"))
    with pytest.raises(ValueError, match="are they logits"):
        ta.explain(gru(), X, ta.WinIT(), outputs=("time",), target=Divergence(of="probability"))


def test_a_target_of_one_time_needs_a_map_made_beforehand():
    last, path = ta.targets.Output(time=-1), ta.IntegratedGradients(steps=4)
    for outputs in (("time",), {"time": X.time.values}):
        with pytest.raises(KeyError, match=r"reads the model at every time.*leave target=None.*give compare the map"):
            ta.compare(gru(), X, {"winit": ta.WinIT(N), "path": path}, outputs=outputs, target=last)
    made = ta.explain(gru(), X, ta.WinIT(N, aggregate="mean"), outputs=("time",))
    table = ta.compare(gru(), X, {"winit": made, "path": path}, outputs=("time",), target=last)
    assert np.isfinite(table.gap.isel(method=0)).all()


# ---------------------------------------------------------------------------------------- models that fool a careless trial


class Attends(nn.Module):
    """A recurrent layer whose states are pooled over all of the past: its memory is not its state."""

    def __init__(self, every):
        super().__init__()
        self.memory, self.score, self.every = nn.GRU(FEATURES, 6, batch_first=True), nn.Linear(6, 1), every

    def forward(self, x):
        h = self.memory(x.transpose(1, 2))[0]
        weight = self.score(h).exp()
        pooled = ((weight * h).cumsum(1) / weight.cumsum(1)).sum(2)
        return pooled if self.every else pooled[:, -1:]


class Remembers(nn.Module):
    """A recurrent layer, and beside it whether a threshold was ever passed."""

    def __init__(self):
        super().__init__()
        self.memory = nn.GRU(FEATURES, 6, batch_first=True)

    def forward(self, x):
        return self.memory(x.transpose(1, 2))[0].sum(2) + (x[:, 0] - 1).relu().cummax(1).values


class Scaled(nn.Module):
    def __init__(self, inner, factor):
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x):
        return self.factor * self.inner(x)


def quiet_start():
    """SampleSeries of which all but one are small, the first step 0."""
    x = 0.1 * series(6).copy()
    x[5] *= 20
    x[:, :, 0] = 0
    return x


AWKWARD = {
    "small outputs that look ahead": (Scaled(seeded(lambda: Causal(symmetric=True)), 1e-6), ("time", "output")),
    "small outputs of pooled states": (Scaled(seeded(lambda: Attends(False)), 1e-6), ("output",)),
    "small outputs of pooled states, each step": (Scaled(seeded(lambda: Attends(True)), 1e-5), ("time",)),
    "an event that most samples lack": (seeded(Remembers), ("time",)),
    "a sum that takes a missing value for 0": (lambda x: x.nan_to_num().sum(1).cumsum(1), ("time",)),
    "a count of events": (lambda x: (x > 0.8).to(x.dtype).sum(1).cumsum(1), ("time",)),
    "a count of events, at the end": (lambda x: (x > 0.8).to(x.dtype).sum((1, 2))[:, None], ("output",)),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("turned", [False, True])
def test_no_way_of_reading_is_taken_that_gives_other_numbers(name, turned):
    model, outputs = AWKWARD[name]
    x = quiet_start()
    x = x.isel(sample=slice(None, None, -1)).copy() if turned else x
    target = Divergence("difference", where=0 if len(outputs) > 1 else None)
    method = ta.WinIT(N, b.Constant(0.3), draws=1, difference=False)
    found = ta.explain(model, x, method, outputs=outputs, target=target).attribution

    def last(rows):
        y = model(rows)[0].detach()
        return float((y[-1] if outputs[0] == "time" else y).reshape(-1)[0])

    for s, one in enumerate(torch.tensor(x.values)):
        for f, t in itertools.product(range(FEATURES), range(1, TIMES)):
            for lag in range(min(t, N)):
                other = one[None, :, : t + 1].clone()
                other[:, f, t - lag :] = 0.3
                want = last(one[None, :, : t + 1]) - last(other)
                assert float(found[s, f, t - lag, lag]) == pytest.approx(want, abs=1e-6 * float(found.std()))


class FromState(nn.Module):
    """Recurrent layers of some kind, and what is read of them: each step, or the last."""

    def __init__(self, kind, layers, first, each, bias, dropout):
        super().__init__()
        self.first, self.each = first, each
        with torch.random.fork_rng():
            torch.manual_seed(layers)
            self.layer = kind(FEATURES, 4, layers, bias=bias, batch_first=first, dropout=dropout if layers > 1 else 0.0)
            self.head = nn.Linear(4, 2)

    def forward(self, x):
        y = self.layer(x.transpose(1, 2) if self.first else x.permute(2, 0, 1))[0]
        y = self.head(y if self.first else y.transpose(0, 1))
        return y if self.each else y[:, -1]


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    st.builds(
        FromState,
        st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]),
        st.integers(1, 3),
        *(st.booleans() for _ in range(3)),
        st.sampled_from([0.0, 0.5]),
    ),
    st.sampled_from([(torch.float64, 1e-10), (torch.float32, 1e-5)]),
    st.sampled_from([{}, {"horizons": "independent"}, {"order": "symmetric"}, {"predictions": "last"}]),
)
def test_from_a_state_it_is_what_prefixes_give(model, precision, how):
    dtype, tolerance = precision
    model, x = model.to(dtype).eval(), series(2, 7).astype(str(dtype).removeprefix("torch."))
    method = ta.WinIT(3, b.Uniform(-1.0, 1.0), draws=2, **how)
    outputs = ("time", "output") if model.each else None
    found = ta.explain(model, x, method, outputs=outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "recurrent_layers", lambda module: [])
        patch.setattr(choice.OnePass, "tried", refused)
        plain = ta.explain(model, x, method, outputs=outputs)
    assert found.attrs["reading"] == "recurrent state"
    assert plain.attrs["reading"].startswith("prefixes")
    scale = float(abs(plain.attribution).max())
    np.testing.assert_allclose(found.attribution, plain.attribution, rtol=0, atol=tolerance * scale)


def refused(*_):
    raise Unsupported("not asked for")


def test_small_effects_of_float32_models_are_not_rounded_away():
    for scale in (1.0, 1e-5, 1e-9):
        ds = ta.explain(
            lambda x, k=scale: k * x.cumsum(-1).sum(1),
            X.astype("float32"),
            ta.WinIT(N, b.Constant(0.0), draws=1),
            outputs=("time",),
            target=Divergence("difference"),
        )
        want = np.where(np.isnan(ds.attribution), np.nan, X.values[..., None] * scale)
        want[:, :, 0] = np.where(np.isnan(want[:, :, 0]), np.nan, 0)
        np.testing.assert_allclose(ds.attribution, want, atol=2e-6 * scale)


@pytest.mark.parametrize("predictions", ["every", "last"])
@pytest.mark.parametrize("settings", [{}, {"aggregate": "mean"}, {"aggregate": "absmax"}, {"order": "symmetric"}])
def test_a_padded_series_is_explained_as_it_is_without_the_padding(predictions, settings):
    lengths = np.array([TIMES, 4, 6])
    valid = xr.DataArray(np.arange(TIMES) < lengths[:, None], dims=("sample", "time")).broadcast_like(X)
    weights = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)

    def at_end(x, lengths):
        state = (x * weights[:, None]).sum(1).cumsum(1).sin()
        if predictions == "every":
            return state
        return state.gather(1, (lengths.clamp(max=x.shape[2]) - 1)[:, None])

    method = ta.WinIT(N, b.Constant(0.2), draws=1, predictions=predictions, **settings)
    outputs = ("time",) if predictions == "every" else ("output",)
    more = {"outputs": outputs, "target": Divergence("difference")}
    padded = ta.explain(at_end, X.where(valid, 7.0), method, valid=valid, context={"lengths": lengths}, **more)
    for s, n in enumerate(lengths):
        alone = X.isel(sample=[s], time=slice(0, n))
        want = ta.explain(at_end, alone, method, context={"lengths": lengths[[s]]}, **more).attribution[0]
        found = padded.attribution[s].isel(time=slice(0, n))
        found = found.isel(lag=slice(0, want.sizes["lag"])) if "lag" in found.dims else found
        np.testing.assert_allclose(found, want, atol=1e-12)
        assert padded.attribution[s].isel(time=slice(n, None)).isnull().all()


def test_what_was_never_measured_before_cannot_be_lost_by_holding():
    x = xr.full_like(X, 80.0)
    x[:, 1, :4] = np.nan
    f = lambda x: x.nan_to_num().sum(1)  # noqa: E731
    more = {"outputs": ("time",), "target": Divergence("difference")}
    ds = ta.explain(f, x, ta.WinIT(N, aggregate="sum"), **more)
    assert (ds.attribution.fillna(0) == 0).all()
    told = ta.explain(f, x, ta.WinIT(N, b.Hold(otherwise=70.0), aggregate="sum", difference=False), **more)
    assert float(told.attribution[0, 1, 4]) == 10 * N  # known as 70, seen as 80, over N predictions


SHIFT = {"outputs": ("time",), "target": Divergence("difference")}
AT_FIRST = {
    "hold": ta.WinIT(N),
    "constant": ta.WinIT(N, b.Constant(3.0)),
    "sum": ta.WinIT(N, b.Constant(3.0), aggregate="sum"),
    "absmax": ta.WinIT(N, aggregate="absmax"),
    "losses": ta.WinIT(N, difference=False),
    "symmetric": ta.WinIT(N, b.Constant(3.0), order="symmetric"),
    "symmetric, hold": ta.WinIT(N, order="symmetric"),
    "independent": ta.WinIT(N, b.Constant(3.0), horizons="independent"),
    "feature occlusion": ta.FeatureOcclusion(b.Constant(3.0)),
    "fit": ta.FIT(b.Constant(3.0)),
}


@pytest.mark.parametrize("missing", ["invalid", "value"])
@pytest.mark.parametrize("name", AT_FIRST)
def test_a_series_first_measured_later_is_one_that_begins_there(name, missing):
    f = lambda x: torch.tanh(x.nan_to_num()).cumsum(2).sum(1)  # noqa: E731 - what is not measured adds nothing
    late = X.where(X.time >= X.time[4])
    more = {"outputs": ("time",)} if name == "fit" else SHIFT
    found = ta.explain(f, late, AT_FIRST[name], missing=missing, **more).attribution
    assert (found.isel(time=slice(4)).fillna(0) == 0).all()
    found = found.isel(time=slice(4, None))
    want = ta.explain(f, X.isel(time=slice(4, None)), AT_FIRST[name], **more).attribution
    assert (found.isel(time=0).fillna(0) == 0).all()
    assert (abs(want).fillna(0) > 0).any("time").all()
    np.testing.assert_allclose(found, want, atol=1e-12)


def test_a_series_that_begins_beside_others():
    """Of f_t = sum of x up to t, losing x from a on by a constant c gives I(a, t) = x_a - c; of the first observation 0."""
    x = X.copy()
    x[:, 1, :4] = np.nan
    f = lambda x: x.nan_to_num().cumsum(2).sum(1)  # noqa: E731
    for order in ("backward", "symmetric"):
        ds = ta.explain(f, x, ta.WinIT(N, b.Constant(3.0), order=order), **SHIFT).attribution
        want = (x - 3.0).expand_dims(lag=N).transpose(*ds.dims).values.copy()
        want[:, :, 0] = want[:, 1, 4] = 0
        known = np.isfinite(ds.values)
        np.testing.assert_allclose(ds.values[known], want[known], atol=1e-12)
        assert known[:, 1, 4:6].all()
    both = ta.explain(f, x, ta.WinIT(N, b.Constant(3.0), groups=g.Labelled(FAMILY)), **SHIFT).group_value
    lost = (x.fillna(3.0) - 3.0).isel(feature=slice(0, 2))
    lost[:, 1, 4] = 0  # the first of its series stays, whoever goes with it
    np.testing.assert_allclose(both.isel(group=0, time=slice(1, 6), lag=0), lost.sum("feature")[:, 1:6], atol=1e-12)


FAMILY = xr.DataArray(["a", "a", "b"], dims="feature")


def held(x, group, start, missing):
    """Series (features, times) with the last value before `start` held, of one that begins later its first, which stays."""
    out = x.copy()
    for c in group:
        seen = np.flatnonzero(~np.isnan(x[c]))
        for t in range(start, x.shape[1]):
            if seen.size and t > seen[0] and (missing == "value" or not np.isnan(x[c, t])):
                out[c, t] = x[c, seen[seen < max(start, seen[0] + 1)][-1]]
    return out


@pytest.mark.parametrize("missing", ["invalid", "value"])
def test_a_series_that_begins_later_brings_no_shift_to_its_group(missing):
    """WinIT by holding, of two series that go together and begin at different times, by loops over prefixes."""
    x = X.where((X.feature != "b") | X.time.isin(X.time[[4, 5, 7]])).where((X.feature != "a") | (X.time > X.time[1]))
    f = lambda x: torch.tanh(x.nan_to_num(0.5)).cumsum(2).sum(1)  # noqa: E731
    found = ta.explain(f, x, ta.WinIT(N, groups=g.Labelled(FAMILY)), missing=missing, **SHIFT).group_value
    for s, one in enumerate(x.values):
        lost = np.full((2, TIMES, N), np.nan)
        for k, a, n in np.ndindex(*lost.shape):
            if 0 < a <= a + n < TIMES:
                rows = np.stack([one, held(one, [[0, 1], [2]][k], a, missing)])[:, :, : a + n + 1]
                before, after = f(torch.tensor(rows))[:, -1].tolist()
                lost[k, a, n] = before - after
        np.testing.assert_allclose(found[s], np.where(np.isnan(lost), found[s], slow.winit(lost)), atol=1e-12)
    only = lambda x: torch.tanh(x[:, 1].nan_to_num(0.5)).cumsum(1)  # noqa: E731 - a model that reads but the later one
    alone = ta.explain(only, x, ta.WinIT(N, groups=g.Labelled(FAMILY)), missing=missing, **SHIFT).group_value
    assert (alone.isel(group=0, time=slice(5)).fillna(0) == 0).all()
    assert (abs(alone.isel(group=0, time=5, lag=0)) > 0).all()


class Unknown:
    """Knows nothing of the samples at some positions."""

    causal = True

    def __init__(self, *positions):
        self.positions = positions

    def fill(self, x, absent, key):
        lost = torch.as_tensor(np.isin(key.position.cpu().numpy(), self.positions)).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(absent, torch.where(lost, torch.nan, 0.0), x)


FAMILY_OF_METHODS = [ta.WinIT, ta.FeatureOcclusion, ta.AugmentedOcclusion, ta.FIT]


@pytest.mark.parametrize("method", FAMILY_OF_METHODS)
def test_a_baseline_of_missing_values_is_never_an_importance_of_zero(method):
    settings = {"window": N} if method is ta.WinIT else {}
    with pytest.warns(ta.ExplanationWarning, match="^no baseline: sample 11 "):
        ds = ta.explain(gru(), X, method(baseline=Unknown(1), **settings), outputs=("time",))
    assert ds.status.values.tolist() == ["ok", "no baseline", "ok"]
    assert ds.attribution[1].isnull().all()
    assert np.isfinite(ds.attribution[0, :, 1]).any()
    with pytest.raises(ValueError, match="the baseline gives NaN at"):
        ta.explain(gru(), X, method(baseline=Unknown(0, 1, 2), **settings), outputs=("time",))


class Silent:
    def fill(self, x, absent, key):
        return torch.where(absent, 0.0, x)


@pytest.mark.parametrize("method", FAMILY_OF_METHODS)
@pytest.mark.parametrize("baseline", [Silent(), b.Mixture(Silent(), b.Constant(0.0)), b.Bridge(), b.Mean()])
def test_a_baseline_that_does_not_say_that_it_is_causal_is_refused(method, baseline):
    settings = {"window": N} if method is ta.WinIT else {}
    with pytest.raises(ValueError, match="must be causal, and this one looks at later times, or does not say"):
        ta.explain(gru(), X, method(baseline=baseline, **settings), outputs=("time",))


def test_a_probability_taken_for_a_logit_is_said():
    risk = lambda x: torch.sigmoid(x.sum(1).cumsum(1))  # noqa: E731
    x = series(30)
    with pytest.warns(UserWarning, match="of='probability'"):
        ta.explain(risk, x, ta.WinIT(N), outputs=("time",))
    ta.explain(risk, x, ta.WinIT(N), outputs=("time",), target=Divergence(of="probability"))


def test_the_default_follows_the_dim_and_settings_are_checked_early():
    assert ta.WinIT(dim="step").baseline == b.Hold("step")
    with pytest.raises(TypeError, match="baseline"):
        ta.AugmentedOcclusion()
    with pytest.raises((TypeError, ValueError), match="window"):
        ta.WinIT(window=2.5)
    with pytest.raises(ValueError, match=r"name the axis of the outputs, outputs=\('time',\)"):
        ta.explain(lambda x: x.sum(1), X, ta.WinIT(N))
    with pytest.raises(ValueError, match=r"descends.*sortby\('time'\)"):
        ta.explain(gru(), X.isel(time=slice(None, None, -1)), ta.WinIT(N), outputs=("time",))


@pytest.mark.parametrize("settings", [{}, {"aggregate": "sum"}, {"order": "symmetric"}, {"difference": False}])
def test_the_direction_of_each_shift(settings):
    model, outputs, _ = MODELS["gru"]
    method = ta.WinIT(N, b.Hold(), draws=1, **settings)
    ds = ta.explain(model, X, method, outputs=outputs)
    signed = ta.explain(model, X, method, outputs=outputs, target=Divergence("signed"))
    np.testing.assert_allclose(ds.signed_shift, signed.attribution, atol=1e-12)
    assert ds.signed_shift.dims == ds.attribution.dims
    assert "signed_shift" not in signed  # its attribution has the direction
    assert signed.attribution.attrs["says_direction"] == ds.signed_shift.attrs["says_direction"] == 1
    assert "says_direction" not in ds.attribution.attrs
    said = torch.sigmoid(model(torch.tensor(X.values))).detach().numpy()
    for result in (ds, signed):
        np.testing.assert_allclose(result.output_over_time, said, atol=1e-12)


def test_the_direction_is_that_of_the_class_that_is_likeliest_at_the_end():
    model, outputs, _ = MODELS["causal convolutions"]
    p = model(torch.tensor(X.values)).detach().softmax(-1).numpy()
    last, likeliest = p[:, -1].argmax(-1), p.argmax(-1)
    assert (likeliest != last[:, None]).any()
    ds = ta.explain(model, X, ta.WinIT(N, draws=1), outputs=outputs)
    for s, c in enumerate(last):
        np.testing.assert_allclose(ds.output_over_time[s], p[s, :, c], atol=1e-12)
        one = ta.explain(
            model, X[s : s + 1], ta.WinIT(N, draws=1), outputs=outputs, target=Divergence("signed", where=c)
        )
        np.testing.assert_allclose(ds.signed_shift[s], one.attribution[0], atol=1e-12)


@pytest.mark.parametrize("aggregate", ["max", "absmax"])
def test_the_direction_is_that_at_the_lag_of_the_extreme(aggregate):
    model, outputs, _ = MODELS["gru"]
    by_lag = ta.explain(model, X, ta.WinIT(N, draws=1), outputs=outputs)
    ds = ta.explain(model, X, ta.WinIT(N, draws=1, aggregate=aggregate), outputs=outputs)
    later = {"time": slice(1, None)}
    ranked = (by_lag.attribution if aggregate == "max" else abs(by_lag.attribution)).isel(later)
    want = by_lag.signed_shift.isel(later).isel(lag=ranked.fillna(-np.inf).argmax("lag"))
    np.testing.assert_allclose(ds.signed_shift.isel(later), want, atol=1e-12)


def test_what_the_model_says_over_time_ends_with_the_series_and_needs_every_prediction():
    lengths = np.array([TIMES, 4, 6])
    valid = xr.DataArray(np.arange(TIMES) < lengths[:, None], dims=("sample", "time")).broadcast_like(X)
    f = lambda x: x.nan_to_num().cumsum(2).sum(1)  # noqa: E731
    ds = ta.explain(f, X, ta.WinIT(N), valid=valid, **SHIFT)
    want = X.sum("feature").cumsum("time").where(np.arange(TIMES) < lengths[:, None])
    np.testing.assert_allclose(ds.output_over_time, want, atol=1e-12)  # of a difference, the output in its units
    two = ta.explain(f, X, ta.WinIT(N), outputs=("time",), target=[Divergence("pd"), Divergence("difference")])
    assert two.output_over_time.dims == ("sample", "time", "target")
    np.testing.assert_allclose(two.signed_shift.isel(target=1), two.attribution.isel(target=1), atol=1e-12)
    assert "output_over_time" not in ta.explain(f, X, ta.WinIT(N, predictions="last"), **SHIFT)


def test_lags_of_dates_are_times():
    dates = np.datetime64("2020-01-01", "ns") + np.arange(TIMES) * np.timedelta64(6, "h")
    ds = ta.explain(gru(), X.assign_coords(time=dates), ta.WinIT(N), outputs=("time",))
    assert ds.lag_time.values[1] == np.timedelta64(6, "h")
