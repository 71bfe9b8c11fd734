import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

import tsattr as ta
from tsattr.edge import members as ensemble
from tsattr.testing.methods.state import state_of

from ..conftest import relu_net, seeded, signals
from ..test_laws import assert_same

X = signals()
b, g = ta.baselines, ta.groups
RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 3, 12))
EVENT = ("lead", "time")


def linear(w):
    return lambda x: (x * torch.as_tensor(w).to(x)).sum((1, 2))


LINEAR = ta.models.Ensemble([linear(w) for w in W])


@pytest.mark.parametrize("method", [ta.IntegratedGradients(b.Constant(0.1)), ta.Occlusion(g.Cells(), b.Constant(0.1))])
def test_linear_members_have_the_mean_weight_and_the_closed_form_error(method):
    ds = ta.explain(LINEAR, X, method)
    away = X - 0.1
    np.testing.assert_allclose(ds.attribution, W.mean(0) * away, rtol=0, atol=1e-12)
    spread = W.std(0, ddof=1) / 5**0.5
    np.testing.assert_allclose(ds.standard_error, spread * abs(away), rtol=0, atol=1e-12)
    predictions = np.einsum("klt,slt->ks", W, X)
    np.testing.assert_allclose(ds.prediction, predictions.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.prediction_sd, predictions.std(0, ddof=1), rtol=0, atol=1e-12)
    maps = (W[:, None] * away.values).reshape(5, 4, -1)
    for s in range(4):
        pairs = [spearmanr(maps[j, s], maps[k, s]).statistic for j, k in itertools.combinations(range(5), 2)]
        np.testing.assert_allclose(ds.agreement[s], np.mean(pairs), rtol=0, atol=1e-12)
    if "reference" in ds:
        np.testing.assert_allclose(ds.reference, 0.1 * W.sum((1, 2)).mean(), rtol=0, atol=1e-12)
        assert (ds.completeness_gap < 1e-12).all()
    assert ds.attribution.dims == X.dims
    assert ds.attribution.attrs["long_name"].startswith("attribution of")
    assert ds.standard_error.attrs["long_name"].startswith("standard error of")
    assert ds.attrs["members"] == "0, 1, 2, 3, 4"
    one = ta.explain(linear(W[0]), X, method)
    np.testing.assert_array_equal(ds.model_evaluations, 5 * one.model_evaluations)
    if "group_value" in ds:
        values = W.reshape(5, 1, -1) * away.values.reshape(1, 4, -1)
        np.testing.assert_allclose(ds.group_value, values.mean(0), rtol=0, atol=1e-12)
        expected = values.std(0, ddof=1) / 5**0.5
        np.testing.assert_allclose(ds.group_standard_error, expected, rtol=0, atol=1e-12)


def test_one_member_repeated_has_no_error_and_full_agreement():
    net = relu_net()
    ds = ta.explain(ta.models.Ensemble([net, net, net]), X, ta.IntegratedGradients(steps=5), target=1)
    alone = ta.explain(net, X, ta.IntegratedGradients(steps=5), target=1)
    for name in ("attribution", "prediction", "reference", "completeness_gap", "completeness_error", "steps"):
        np.testing.assert_allclose(ds[name], alone[name], rtol=1e-12, atol=1e-12)
    assert abs(ds.standard_error).max() < 1e-12
    assert ds.prediction_sd.max() < 1e-12
    np.testing.assert_allclose(ds.agreement, 1, rtol=0, atol=1e-12)


def test_opposite_maps_disagree_and_constant_ones_have_no_order():
    opposite = ta.models.Ensemble([linear(W[0]), linear(-W[0])])
    ds = ta.explain(opposite, X, ta.InputXGradient())
    np.testing.assert_allclose(ds.agreement, -1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.attribution, 0, rtol=0, atol=1e-12)
    flat = ta.models.Ensemble([linear(W[0]), linear(0 * W[0] + 1)])
    assert ta.explain(flat, X, ta.Saliency()).agreement.isnull().all()


def test_only_valid_cells_count():
    valid = xr.DataArray(np.arange(12) < 5, dims="time")
    ds = ta.explain(LINEAR, X, ta.Saliency(False), valid=valid)
    np.testing.assert_array_equal(ds.standard_error.isnull(), (~valid).broadcast_like(X))
    pairs = itertools.combinations(W[:, :, :5].reshape(5, -1), 2)
    np.testing.assert_allclose(ds.agreement, np.mean([spearmanr(*p).statistic for p in pairs]), rtol=0, atol=1e-12)


def test_several_targets_and_several_variables():
    two = [lambda x, w=w: torch.stack([linear(w)(x), -linear(w**2)(x)], 1) for w in W[:3]]
    ds = ta.explain(ta.models.Ensemble(two), X, ta.IntegratedGradients(), target=[0, 1])
    assert ds.agreement.dims == ds.prediction_sd.dims == ("sample", "target")
    for at in range(2):
        alone = ta.explain(ta.models.Ensemble(two), X, ta.IntegratedGradients(), target=at)
        assert_same(ds.isel(target=at, drop=True).transpose(..., *X.dims[1:], missing_dims="ignore"), alone)
    row = xr.DataArray([[40.0], [50.0], [60.0], [0.0]], dims=("sample", "vital"))
    both = [lambda ecg, row, w=w: linear(w)(ecg) + w[0, 0] * row[:, 0] for w in W[:3]]
    ds = ta.explain(ta.models.Ensemble(both), xr.Dataset({"ecg": X, "row": row}), ta.IntegratedGradients())
    np.testing.assert_allclose(ds.standard_error_row, W[:3, 0, 0].std(ddof=1) / 3**0.5 * row, rtol=1e-9)
    assert (ds.completeness_gap < 1e-9).all()
    whole = np.concatenate([(W[:3, None] * X.values).reshape(3, 4, -1), W[:3, 0, 0][:, None, None] * row.values], 2)
    pairs = itertools.combinations(whole[:, 0], 2)
    np.testing.assert_allclose(ds.agreement[0], np.mean([spearmanr(*p).statistic for p in pairs]), rtol=0, atol=1e-9)


def test_completeness_is_that_of_the_means():
    members = [relu_net(), relu_net()]
    with torch.no_grad():
        members[1][6].weight.mul_(torch.linspace(-1, 2, 30))
    method = ta.IntegratedGradients(b.Uniform(-2.0, 2.0), steps=2, draws=3)
    ds = ta.explain(ta.models.Ensemble(members), X, method, target=1)
    each = [ta.explain(m, X, method, target=1) for m in members]
    np.testing.assert_allclose(ds.attribution, (each[0].attribution + each[1].attribution) / 2, rtol=0, atol=1e-12)
    gap = ds.attribution.sum(EVENT) - (ds.prediction - ds.reference)
    np.testing.assert_allclose(ds.completeness_gap, abs(gap), rtol=0, atol=1e-12)
    assert (ds.completeness_gap <= (each[0].completeness_gap + each[1].completeness_gap) / 2 + 1e-12).all()
    scale = np.maximum(abs(ds.prediction - ds.reference), np.sqrt((ds.attribution**2).sum(EVENT)))
    np.testing.assert_allclose(ds.completeness_error, abs(gap) / scale, rtol=1e-9)


# ---- statuses, classes, costs, files


def test_the_gravest_status_counts():
    bad = lambda x: torch.where(x[:, 0, 0] > 0, torch.nan, linear(W[0])(x))  # noqa: E731
    ill = (X[:, 0, 0] > 0).values
    assert ill.any()
    assert not ill.all()
    with pytest.warns(ta.ExplanationWarning, match="non-finite output"):
        ds = ta.explain(ta.models.Ensemble([linear(W[0]), bad]), X, ta.Saliency())
    assert ds.status.values.tolist() == ["non-finite output" if i else "ok" for i in ill]
    np.testing.assert_array_equal(ds.attribution.isnull().all(EVENT), ill)
    np.testing.assert_array_equal(ds.agreement.isnull(), ill)


def test_members_that_predict_different_classes_are_named():
    one, other = ([0.0, 1.0, 0.5], [0.0, -1.0, 0.5])
    members = [lambda x, w=w: x.mean((1, 2))[:, None] * torch.tensor(w).to(x) for w in (one, one, other)]
    with pytest.warns(ta.ExplanationWarning, match="predict different classes for sample p0, p1, p2, p3, and each"):
        ds = ta.explain(ta.models.Ensemble(members), X, ta.Saliency())
    np.testing.assert_array_equal(ds.predicted, ta.explain(members[0], X, ta.Saliency()).predicted)
    assert "predicted" in ds


def test_a_dry_run_costs_the_sum_and_results_are_saved(tmp_path):
    method = ta.IntegratedGradients(steps=4)
    cost = ta.explain(LINEAR, X, method, dry_run=True)
    ds = ta.explain(LINEAR, X, method)
    np.testing.assert_array_equal(cost.model_evaluations, ds.model_evaluations)
    assert cost.attrs["rows"] == ds.model_evaluations.sum() + ds.attrs["trial_rows"]
    ds.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "a.nc"), ds)


@pytest.mark.parametrize("members", [[], [relu_net()], {"one": relu_net()}])
def test_an_ensemble_has_two_members(members):
    with pytest.raises(ValueError, match="at least two members, got"):
        ta.models.Ensemble(members)


def test_only_explain_takes_an_ensemble():
    ds = ta.explain(LINEAR, X, ta.Saliency())
    with pytest.raises(TypeError, match=r"only explain takes an Ensemble\(0: linear"):
        ta.evaluate(LINEAR, X, ds)


def test_estimators_of_scikit_learn():
    x = pd.DataFrame(RNG.normal(size=(40, 3)), columns=["a", "b", "c"])
    y = x["a"] - 2 * x["b"] + RNG.normal(size=40)
    fits = [LinearRegression().fit(x.sample(30, random_state=s), y.sample(30, random_state=s)) for s in range(4)]
    ds = ta.explain(ta.models.Ensemble(fits), x, ta.Occlusion(g.Cells()))
    w = np.array([f.coef_ for f in fits])
    np.testing.assert_allclose(ds.attribution, w.mean(0) * x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.standard_error, w.std(0, ddof=1) / 2 * abs(x), rtol=0, atol=1e-12)
    mixed = {"line": fits[0], "forest": RandomForestRegressor(5, random_state=0).fit(x, y)}
    ds = ta.explain(ta.models.Ensemble(mixed), x, ta.Occlusion(g.Cells()))
    assert ds.attrs["members"] == "line, forest"
    assert ds.attrs["model"] == "LinearRegression, RandomForestRegressor"
    kinds = np.where(y > 0, "up", "down")
    classes = [LogisticRegression(C=c).fit(x, kinds) for c in (0.1, 1.0)]
    ds = ta.explain(ta.models.Ensemble(classes), x, ta.Occlusion(g.Cells()), target="up")
    assert ds.sizes == {"sample": 40, "feature": 3, "group": 3}


# ---- seeds


def test_several_seeds():
    method = ta.IntegratedGradients(b.Uniform(-2.0, 2.0), steps=1, draws=4)
    ds = ta.explain(relu_net(), X, method, target=1, seed=[0, 1, 7])
    each = [ta.explain(relu_net(), X, method, target=1, seed=s) for s in (0, 1, 7)]
    maps = np.stack([r.attribution for r in each])
    np.testing.assert_allclose(ds.attribution, maps.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.standard_error, maps.std(0, ddof=1) / 3**0.5, rtol=0, atol=1e-12)
    assert ds.attrs["seed"] == "0, 1, 7"
    assert ds.attrs["members"] == "seed 0, seed 1, seed 7"
    assert (ds.agreement < 1).all()
    both = ensemble.runs(ta.models.Ensemble({"a": "x", "b": "y"}), [3, 4])
    assert both == {"a seed 3": ("x", 3), "a seed 4": ("x", 4), "b seed 3": ("y", 3), "b seed 4": ("y", 4)}
    for seeds in ([1], [], [2, 2], [1, 2, 1]):
        with pytest.raises(ValueError, match="several seeds are at least two different ones"):
            ta.explain(relu_net(), X, method, target=1, seed=seeds)


def test_results_that_do_not_belong_together_are_refused():
    a = ta.explain(linear(W[0]), X, ta.Saliency())
    with pytest.raises(ValueError, match="at least two results, got 1"):
        ensemble.combine({"a": a})
    with pytest.raises(ValueError, match="'attribution' has shape"):
        ensemble.combine({"a": a, "b": a.isel(sample=[0])})
    with pytest.raises(ValueError, match=r"'attribution' with dims .* is not in all of them"):
        ensemble.combine({"a": a, "b": a.isel(lead=0)})


# ---- dropout


def dropout_net(p=0.5):
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.Tanh(), nn.Dropout(p), nn.Linear(20, 3)))


def test_each_pass_is_one_thinned_network_for_all_rows():
    net = dropout_net(0.4)
    passes = ta.models.dropout(net, passes=200, seed=3)
    x = torch.as_tensor(X.values)
    hidden = net[:3](x).detach()
    outputs = []
    for member in passes.members:
        (hook,) = [net[4].register_forward_hook(lambda m, i, o: outputs.append(i[0].detach()))]
        member(x)
        hook.remove()
        kept = outputs[-1] / hidden
        assert ((kept == 0) | ((kept - 1 / 0.6).abs() < 1e-12)).all()
        assert (kept - kept[0]).abs().max() < 1e-12
    kept = torch.stack(outputs)[:, 0] != 0
    share = kept.double().mean(0).numpy()
    assert (abs(share - 0.6) < 5 * (0.24 / 200) ** 0.5).all()  # binomial, five standard deviations
    np.testing.assert_allclose(torch.stack(outputs).mean(0), share / 0.6 * hidden.numpy(), rtol=0, atol=1e-12)


def test_the_mean_over_the_passes_nears_the_whole_network():
    net = dropout_net(0.3)
    ds = ta.explain(ta.models.dropout(net, passes=100), X, ta.InputXGradient(), target=1)
    whole = ta.explain(net, X, ta.InputXGradient(), target=1)
    # What follows the dropout is linear: in the mean over masks the maps are those of the whole network.
    assert (abs(ds.attribution - whole.attribution) < 5 * ds.standard_error + 1e-12).all()
    assert (abs(ds.prediction - whole.prediction) < 5 * ds.prediction_sd / 10).all()
    assert (ds.standard_error > 0).mean() > 0.9
    assert ((ds.agreement > 0.3) & (ds.agreement < 0.999)).all()


def test_batches_order_and_seeds_of_dropout():
    run = lambda x=X, seed=0, **kw: ta.explain(  # noqa: E731
        ta.models.dropout(dropout_net(), 3, seed), x, ta.IntegratedGradients(steps=3), target=0, **kw
    )
    usual = run()
    assert_same(run(batch_size=1), usual)
    assert_same(run(X[::-1])[{"sample": slice(None, None, -1)}], usual)
    assert_same(run(X[[2]]), usual.isel(sample=[2]))
    assert not np.allclose(run(seed=1).attribution, usual.attribution)


def test_channels_are_dropped_whole_and_every_call_has_a_mask_of_its_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.twice = nn.Dropout1d(0.5), nn.Dropout(0.5, inplace=True)

        def forward(self, x):
            return torch.stack([self.drop(x), self.twice(x.clone()), self.twice(x.clone())], 1)

    net = Net().eval()
    for member in ta.models.dropout(net, 5).members:
        kept = member(torch.ones(2, 8, 6, dtype=torch.float64))
        assert (kept[:, 0] == kept[:1, 0, :, :1]).all()
        assert not torch.equal(kept[:, 1], kept[:, 2])
        assert set(kept.unique().tolist()) <= {0.0, 2.0}


def test_the_module_is_left_as_it_was():
    net = dropout_net().train()
    before = state_of(net)
    ta.explain(ta.models.dropout(net, 2), X, ta.Saliency(), target=0)

    def broken(module, inputs):
        raise ArithmeticError("fails")

    hook = net[4].register_forward_pre_hook(broken)
    with pytest.raises(ArithmeticError, match="fails"):
        ta.explain(ta.models.dropout(net, 2), X, ta.Saliency(), target=0)
    hook.remove()
    after = state_of(net)
    assert all(torch.equal(tensor, after[0][name]) for name, tensor in before[0].items())
    assert before[1] == after[1]


def test_what_cannot_be_thinned_is_refused():
    with pytest.raises(TypeError, match="thins a torch module, got function"):
        ta.models.dropout(linear(W[0]))
    with pytest.raises(ValueError, match=r"Sequential has no nn.Dropout module with p > 0"):
        ta.models.dropout(dropout_net(0.0))
    with pytest.raises(ValueError, match="passes is a whole number"):
        ta.models.dropout(dropout_net(), passes=0)

    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x.permute(2, 0, 1)).sum((0, 2))

    with pytest.raises(ValueError, match=r"'drop' gets \(12, 4, 3\) for 4 rows; it must have the rows first"):
        ta.explain(ta.models.dropout(TimeFirst(), 2), X, ta.Saliency(), check=False)


def test_what_all_runs_would_say_is_said_once():
    def net(x):
        return torch.stack([x.sum((1, 2)), 2 * x.sum((1, 2)), 3 * x.sum((1, 2))], 1)

    outside = ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Constant(50.0))
    outputs = {"class": [1, 2, 3]}
    many = ta.models.Ensemble([net, lambda x: 2 * net(x)])
    for run in (
        lambda: ta.explain(net, X, outside, target=2, outputs=outputs, seed=[0, 1, 2]),
        lambda: ta.explain(many, X, outside, target=2, outputs=outputs),
        lambda: ta.climate.pooled(net, X, outside, target=2, outputs=outputs, chunk=1),
    ):
        for _ in range(2):  # the next call says it again
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                run()
            assert sum("is a label, of entry 1" in str(w.message) for w in said) == 1
            texts = [str(w.message) for w in said]
            assert len(texts) == len(set(texts))


def test_rows_of_trials_are_summed_over_those_that_say_them():
    def net(x):
        return x.sum((1, 2))

    tried, spared = (ta.explain(net, X, ta.Saliency(), check=check) for check in (True, False))
    old = spared.copy()
    del old.attrs["trial_rows"]
    assert (tried.attrs["trial_rows"], spared.attrs["trial_rows"]) == (4, 0)
    for results in ((tried, tried), (tried, old), (old, tried)):
        expected = sum(r.attrs.get("trial_rows", 0) for r in results)
        assert ensemble.combine(dict(zip("ab", results))).attrs["trial_rows"] == expected
