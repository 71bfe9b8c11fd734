"""Models that are no functions of their row are refused by what is seen; all others pass, whatever they round."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tsattr as ta

from ..conftest import Spy, relu_net, seeded, signals

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6)).astype(np.float32)
SERIES = RNG.normal(size=(5, 3, 20)).astype(np.float32)
TABLE = pd.DataFrame(
    {"a": [1.0, 2, 3, 4], "b": ["u", "v", "u", "w"], "c": [True, False, True, False], "i": [1, 2, 3, 4]}
)
CELLS = ta.Occlusion(ta.groups.Cells())
IN_TABLE = ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(TABLE))


class Counter(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x.sum(1) * self.calls


class Remembers(nn.Module):
    """A recurrent net that goes on from where it was."""

    def __init__(self):
        super().__init__()
        self.gru, self.state = nn.GRU(1, 4, batch_first=True), None

    def forward(self, x):
        start = self.state if self.state is not None and self.state.shape[1] == len(x) else None
        y, state = self.gru(x[..., None], start)
        self.state = state.detach()
        return y[:, -1, 0]


class Turned(nn.Module):
    """A recurrent net that takes the rows for time."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 4)

    def forward(self, x):
        return self.gru(x[:, None])[0][:, 0, 0]


def normed(layer):
    return lambda: nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), layer(), nn.ReLU(), nn.Flatten(), nn.Linear(80, 2))


def arrays(f):
    return lambda: ta.models.on_arrays(f)


COUPLED = {
    "less the mean of the batch": lambda: lambda x: (x - x.mean(0)).sum(1),
    "arrays less the mean of the batch": arrays(lambda x: (x - x.mean(0)).sum(1)),
    "softmax over the rows": lambda: lambda x: x.softmax(0).sum(1),
    "ranks in the batch": lambda: lambda x: x.sum(1).argsort().argsort(),
    "tiny": lambda: lambda x: 1e-25 * (x - x.mean(0)).sum(1),
    "on a large mean": lambda: lambda x: 273 + (x - x.mean(0)).sum(1),
    "one output of many": lambda: lambda x: torch.cat([x, (x - x.mean(0))[:, :1]], 1),
    "place in the batch": lambda: lambda x: x.sum(1) + torch.arange(len(x)),
    "rows as time": lambda: seeded(Turned).float(),
}
CHANCE = {
    "dropout": lambda: lambda x: functional.dropout(x, 0.1, training=True).sum(1),
    "noise": lambda: lambda x: x.sum(1) + torch.randn(len(x)),
    "arrays with noise": arrays(lambda x: x.sum(1) + np.random.rand(len(x))),  # noqa: NPY002
}
FROM_CALL_TO_CALL = {"counter": Counter, "state": lambda: seeded(Remembers).float()}


def tried(model, x, method=CELLS, **settings):
    settings.setdefault("target", lambda y: y.flatten(1).sum(1) if y.ndim > 1 else y)
    return ta.explain(model, x, method, **settings)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", COUPLED)
def test_a_model_that_looks_at_its_batch_is_refused(name, samples):
    with pytest.raises(ValueError, match=r"not a function of its row, as it depends on the other rows of the batch"):
        tried(COUPLED[name](), X[:samples])


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", CHANCE)
@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_a_model_that_draws_is_refused(name, samples, batch_size):
    which = "numpy" if "arrays" in name else "torch"
    with pytest.raises(ValueError, match=rf"as it draws random numbers \({which}\).*switch that off"):
        tried(CHANCE[name](), X[:samples], batch_size=batch_size)


@pytest.mark.parametrize("name", FROM_CALL_TO_CALL)
@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_a_model_that_remembers_earlier_calls_is_refused(name, batch_size):
    with pytest.raises(ValueError, match=r"as it is not the same from call to call.*keeps a state"):
        tried(FROM_CALL_TO_CALL[name](), X, batch_size=batch_size)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("batch_size", [2, 3, "auto"])
def test_batch_normalisation_without_statistics_is_refused_where_rows_meet(samples, batch_size):
    net = seeded(normed(lambda: nn.BatchNorm1d(4, track_running_stats=False))).float()
    with pytest.raises(ValueError, match="batch_size=1 asks about each row by itself"):
        tried(net, SERIES[:samples], ta.Saliency(), batch_size=batch_size)
    found = tried(net, SERIES[:samples], ta.Saliency(), batch_size=1)  # the way that the message names
    alone = tried(net, SERIES[:1], ta.Saliency(), batch_size=1)
    np.testing.assert_array_equal(found.attribution[:1], alone.attribution)


def test_a_table_is_tried_too():
    model = ta.models.on_frames(lambda d: d["a"] - d["a"].mean())
    for table in (TABLE, TABLE[:1]):
        with pytest.raises(ValueError, match="depends on the other rows of the batch"):
            tried(model, table, IN_TABLE, target=None)


def test_samples_that_are_alike_or_missing_have_made_up_company():
    with pytest.raises(ValueError, match="depends on the other rows"):
        tried(COUPLED["less the mean of the batch"](), np.repeat(X[:1], 4, 0))
    holes = X.copy()
    holes[0] = np.nan
    with pytest.raises(ValueError, match="depends on the other rows"):
        tried(lambda x: torch.nan_to_num(x - torch.nanmean(x, 0)).sum(1), holes)


HONEST = {
    "linear": lambda: seeded(lambda: nn.Linear(6, 2)).float(),
    "constant": lambda: lambda x: 0 * x.sum(1) + 3,
    "nothing": lambda: lambda x: 0 * x.sum(1),
    "not a number": lambda: lambda x: x.sum(1) * torch.nan,
    "saturated": lambda: lambda x: (100 * x).softmax(1),
    "cancellation": lambda: lambda x: (1e6 + 1e4 * x.sum(1)) - 1e6,
    "tiny": lambda: lambda x: 1e-30 * x.double().sum(1),
    "forest": lambda: RandomForestRegressor(5, random_state=0).fit(X, X.sum(1)),
    "pipeline": lambda: make_pipeline(StandardScaler(), LinearRegression()).fit(X, X.sum(1)),
    "draws to no effect": lambda: lambda x: x.sum(1) + 0 * torch.rand(len(x)),
    "squeezed": lambda: lambda x: x[:, :1].squeeze(),
    "whole numbers": lambda: lambda x: x.sum(1).long(),
    "truth": lambda: lambda x: x.sum(1) > 0,
    "half": lambda: lambda x: x.sum(1).half(),
}


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_model_passes(name, samples):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "non-finite output")
        assert "trial" not in tried(HONEST[name](), X[:samples]).attrs


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("layer", [lambda: nn.GroupNorm(2, 4), lambda: nn.BatchNorm1d(4), lambda: nn.Dropout(0.5)])
def test_a_deep_network_passes_in_any_precision(layer, samples, autocast):
    def deep():
        body = [nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), layer(), nn.ReLU()) for _ in range(12)]
        return nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), *body, nn.Flatten(), nn.Linear(80, 10))

    tried(seeded(deep).float().train(), SERIES[:samples], ta.Saliency(), autocast=autocast)


def test_numbers_that_stand_for_categories_are_not_made_up():
    embedding = nn.Embedding(5, 3)
    for x in ([[0.0, 4.0]], [[0.0, 4.0], [1.0, 2.0]]):
        tried(lambda x: embedding(x.long()).sum((1, 2)), np.array(x))
    for table in (TABLE, TABLE[:1]):
        tried(ta.models.on_frames(lambda d: d["a"] * (d["b"] == "u") + d["i"]), table, IN_TABLE, target=None)


def test_a_model_that_takes_no_made_up_row_is_tried_without():
    def only_this(x):
        if not (x == torch.as_tensor(X[:1])).all():
            raise IndexError("never seen")
        return x.sum(1)

    tried(only_this, X[:1], ta.InputXGradient())


def test_a_little_noise_is_told():
    with pytest.warns(ta.ExplanationWarning, match=r"not a function of its row, as it draws random numbers \(torch\)"):
        ds = tried(lambda x: 100 * x.sum(1) + torch.rand(len(x)), X)
    assert "Results vary by as much" in ds.attrs["trial"]


class Packed(nn.Module):
    """Outputs as long as the longest series of the batch."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x, lengths):
        y, _ = self.gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(y, batch_first=True)[0]


@pytest.mark.parametrize("lengths", [[5, 8, 20, 20, 12], [20, 20, 20, 20, 3], [3, 20, 3, 3, 20]])
@pytest.mark.parametrize("batch_size", [1, 2, "auto"])
@pytest.mark.parametrize("check", [True, False])
def test_outputs_as_long_as_the_longest_are_refused(lengths, batch_size, check):
    x = SERIES.transpose(0, 2, 1)
    valid = np.arange(20)[:, None] < np.array(lengths)[:, None, None]
    settings = {"context": {"lengths": np.array(lengths)}, "valid": np.broadcast_to(valid, x.shape), "check": check}
    settings |= {"dims": ("sample", "time", "feature"), "outputs": ("time", "unit"), "batch_size": batch_size}
    target = ta.targets.Output(time=-1, unit=1)
    if batch_size == "auto" and not check:  # one batch, one length
        return
    with pytest.raises(ValueError, match=r"the shape of the model's outputs varies: \(\d+, 4\) .* now \(\d+, 4\)"):
        tried(seeded(Packed).float(), x, ta.Saliency(), target=target, **settings)


class Padded(nn.Module):
    """A transformer that is told which places are padded."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 2)

    def forward(self, x, pad):
        return self.head(self.encoder(x, src_key_padding_mask=pad).mean(1))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_transformer_goes_one_way_in_all_calls(hidden):
    net = seeded(Padded)
    model = (lambda x, pad: net(x, pad)) if hidden else net
    x = RNG.normal(size=(5, 20, 8))
    pad = np.arange(20) >= np.array([5, 8, 20, 20, 12])[:, None]
    settings = {"dims": ("sample", "time", "feature"), "target": 1, "context": {"pad": pad}}
    settings["valid"] = np.broadcast_to(~pad[:, :, None], x.shape)
    method = ta.IntegratedGradients(ta.baselines.Mean("time"), steps=27)
    one, other = (ta.explain(model, x, method, batch_size=b, **settings) for b in (1, "auto"))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = net(torch.as_tensor(x), torch.as_tensor(pad))[:, 1].detach()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    for ds in (one, other):
        np.testing.assert_allclose(ds.prediction, expected, rtol=0, atol=1e-12)
        assert (ds.completeness_error < 0.01).all()


# ---- what it costs, and how often it is made


def test_rows_of_the_trial_are_counted():
    for batch_size, expected in ((1, 3), (2, 4), ("auto", 4)):
        spy = Spy(lambda x: x.sum(1))
        cost = ta.explain(spy, X, CELLS, batch_size=batch_size, dry_run="rows")
        assert not spy.rows
        ds = ta.explain(spy, X, CELLS, batch_size=batch_size)
        assert ds.attrs["trial_rows"] == cost.attrs["trial_rows"] == expected
        assert spy.count == cost.attrs["rows"] == int(ds.model_evaluations.sum()) + expected
        assert batch_size == "auto" or len(spy.rows) == cost.attrs["model_calls"]
        assert max(len(rows) for _, rows in spy.rows) <= (35 if batch_size == "auto" else batch_size)


def test_a_trial_is_made_once():
    x, y = signals(), xr.zeros_like(signals())
    spy = Spy(relu_net())
    kinds = {"a": ta.Saliency(), "b": ta.Occlusion(ta.groups.Along("lead")), "c": xr.ones_like(y)}
    table = ta.compare(spy, x, kinds, target=1, metrics=["deletion"], resamples=10)
    assert table.attrs["trial_rows"] == 4
    assert spy.count == table.attrs["rows"]
    spies = [Spy(relu_net()), Spy(relu_net())]
    both = ta.explain(ta.models.Ensemble(spies), x, ta.Saliency(), target=1, seed=[0, 1])
    assert both.attrs["trial_rows"] == 8
    assert sum(s.count for s in spies) == int(both.model_evaluations.sum()) + 8
    cost = ta.explain(ta.models.Ensemble(spies), x, ta.Saliency(), target=1, seed=[0, 1], dry_run="rows")
    assert cost.attrs["rows"] == sum(s.count for s in spies)
    spy = Spy(relu_net())
    ds = ta.explain(spy, x, ta.Saliency(), target=1)
    before = spy.count
    sc = ta.evaluate(spy, x, ds, target=1, metrics=["deletion"])
    assert spy.count - before == int(sc.model_evaluations.sum()) + sc.attrs["trial_rows"]
    spy = Spy(relu_net())
    ta.climate.pooled(spy, x, ta.Saliency(), target=1, chunk=2)
    assert spy.count == 2 * len(x) + 4


def test_the_trial_may_be_spared():
    spy = Spy(lambda x: x.sum(1))
    ds = ta.explain(spy, X, CELLS, check=False)
    assert spy.count == int(ds.model_evaluations.sum())
    assert ds.attrs["trial_rows"] == 0
    tried(COUPLED["less the mean of the batch"](), X, check=False)


def test_an_error_of_the_model_says_that_it_was_a_trial():
    with pytest.raises(RuntimeError) as caught:
        ta.explain(lambda x: x @ torch.ones(7), X, ta.Saliency())
    assert any("trial of the model on two rows; check=False spares it" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("check", [True, False])
def test_a_norm_of_the_batch_that_takes_no_single_row_is_refused_by_name(check):
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)).float()
    with pytest.raises(ValueError, match=r"not a function of its row.*track_running_stats=True"):
        tried(net, X, batch_size=1 if check else 4, check=check)


def test_a_model_exported_for_one_size_of_batch_is_refused_with_the_way():
    net = seeded(lambda: nn.Linear(6, 1)).float().eval()
    fixed = torch.export.export(net, (torch.as_tensor(X),)).module()
    with pytest.raises(ValueError, match=r"exported model does not take a batch of 2 rows .* dynamic_shapes"):
        tried(fixed, X)
    free = torch.export.export(
        net, (torch.as_tensor(X),), dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=8192)},)
    )
    np.testing.assert_array_equal(tried(free.module(), X).attribution, tried(net, X).attribution)
