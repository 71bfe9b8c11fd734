"""`compare`: the same numbers as `evaluate`, nothing claimed that cannot be told, and no look at the truth."""

import functools
import inspect
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tsattr as ta
from tsattr.compare import CONTROLS
from tsattr.labels import parsing

from .conftest import Spy, linear_net, relu_net, signals
from .test_laws import METHODS, SETTINGS, case

X, TRAIN = signals(24, seed=5), signals(5, seed=2)
b, g = ta.baselines, ta.groups
NET = relu_net()
FILLS = {"zero": b.Constant(0.0), "mean": b.Mean(), "bridge": b.Bridge()}
METHODS_HERE = {
    "IG zero": ta.IntegratedGradients(steps=9, rule="midpoint"),
    "IG mean": ta.IntegratedGradients(b.Mean(), steps=9, rule="midpoint"),
    "EG": ta.IntegratedGradients(b.Samples.fit(TRAIN), steps=1, draws=5),
    "saliency": ta.Saliency(),
    "occlusion": ta.Occlusion(g.Windows(time=4, lead=1), b.Bridge()),
}
settings = {"target": 1, "fills": FILLS, "groups": g.Windows(time=2, lead=1), "steps": 6, "subsets": 8}
compare = functools.partial(ta.compare, **settings)


@functools.cache
def table() -> xr.Dataset:
    return compare(NET, X, METHODS_HERE)


def test_the_input_is_labelled_once_for_all_methods_members_and_seeds(monkeypatch):
    labelled, read = [], parsing._read
    monkeypatch.setattr(parsing, "_read", lambda *given: labelled.append(0) or read(*given))
    compare(NET, X[:6], METHODS_HERE)
    assert len(labelled) == 1
    ta.explain(ta.models.Ensemble([NET, linear_net()]), X[:3], ta.Saliency(), target=1, seed=[0, 1])
    assert len(labelled) == 2


def test_every_keyword_is_shown_with_its_default_and_another_is_refused():
    for verb in (ta.explain, ta.evaluate, ta.compare):
        shown = inspect.signature(verb).parameters
        assert not [p for p in shown.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
        defaults = {name: shown[name].default for name in ("target", "batch_size", "check", "seed", "progress")}
        assert defaults == {"target": None, "batch_size": "auto", "check": True, "seed": 0, "progress": False}
        with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'; it takes target, outputs, "):
            verb(NET, X, next(iter(METHODS_HERE.values())) if verb is ta.explain else METHODS_HERE, batchsize=3)


def test_scores_are_those_of_evaluate():
    for name, method in METHODS_HERE.items():
        ds = ta.explain(NET, X, method, target=1)
        alone = ta.evaluate(NET, X, ds, **settings)
        here = table().sel({"method": name})
        for k in (
            "deletion_curve",
            "insertion_curve",
            "gap",
            "sufficiency",
            "sensitivity_n",
            "infidelity",
            "completeness",
        ):
            np.testing.assert_allclose(here[k], alone[k], rtol=0, atol=1e-12, err_msg=f"{name} {k}")
        np.testing.assert_array_equal(here.model_evaluations, ds.model_evaluations)


def test_rows_are_shared_between_methods():
    once, twice = Spy(NET), Spy(NET)
    maps = {"a": ta.explain(NET, X, METHODS_HERE["IG zero"], target=1)}
    alone = compare(once, X, maps, controls=False, check=False)
    double = compare(twice, X, maps | {"b": maps["a"]}, controls=False, check=False)
    assert twice.count == once.count == int(alone.test_evaluations.sum())
    np.testing.assert_array_equal(double.gap.sel({"method": "b"}), alone.gap.sel({"method": "a"}))


def test_no_baseline_takes_its_own_test():
    own = table().own_fill.to_series().unstack()
    assert own.loc["IG zero"].to_dict() == {"zero": True, "mean": False, "bridge": False}
    assert own.loc["IG mean"].to_dict() == {"zero": False, "mean": True, "bridge": False}
    assert own.loc["occlusion"].to_dict() == {"zero": False, "mean": False, "bridge": True}
    assert not own.loc[["EG", "saliency", *CONTROLS]].to_numpy().any()
    mixed = {"m": ta.IntegratedGradients(b.Mixture(b.Mean(), b.Constant(0.0)), steps=2, draws=2)}
    assert compare(NET, X, mixed, metrics="gap").own_fill.sel({"method": "m"}).values.tolist() == [True, True, False]
    inside = ta.TemporalRescaling(
        ta.Occlusion(ta.groups.Cells(), b.Bridge()), ta.groups.Cells(), baseline=b.Constant(0.0)
    )
    others = {"rescaled": inside, "implied": ta.InputXGradient()}
    own = compare(NET, X, others, metrics="gap", check=False).own_fill.sel({"method": list(others)}).values
    assert own.tolist() == [[True, False, True], [True, False, False]]
    # The score is fitted without those cells: whatever stands there changes nothing.
    expected = ta.metrics.adjusted(
        table()
        .gap.sel(ranking="signed")
        .mean("sample")
        .where(~table().own_fill, 1e6)
        .transpose("method", "fill")
        .values,
        table().own_fill.values,
    )
    np.testing.assert_allclose(table().score.sel(measure="gap", ranking="signed"), expected, atol=1e-9)


def test_differences_are_paired_and_turned_so_that_more_is_better():
    here = table().sel(ranking="signed")
    for measure in ("gap", "deletion", "infidelity"):
        one = here.sel(measure=measure)
        sign = -1 if table()[measure].attrs["better"] == "lower" else 1
        expected = sign * (one.score - one.score.rename(method="method_other"))
        filled = one.difference.where(~np.eye(one.sizes["method"], dtype=bool))
        np.testing.assert_allclose(filled, expected.where(~np.eye(one.sizes["method"], dtype=bool)), atol=1e-12)
        assert ((one.difference_low <= filled) & (filled <= one.difference_high)).where(filled.notnull(), True).all()
        np.testing.assert_allclose(
            one.difference_low.transpose("method_other", "method").values, -one.difference_high.values
        )
        assert (one.distinguishable.values == one.distinguishable.values.T).all()


def test_the_true_map_of_an_additive_model_is_found_and_equals_are_not_told_apart():
    net = linear_net()
    same = ta.IntegratedGradients(steps=1)
    methods = {
        "one": same,
        "other": ta.IntegratedGradients(steps=3),
        "reversed": -ta.explain(net, X, same, target=1).attribution,
    }
    found = compare(net, X, methods, fills={"mean": b.Mean(), "bridge": b.Bridge(), "samples": b.Samples.fit(TRAIN)})
    here = found.sel(measure="gap", ranking="signed")
    assert bool(here.distinguishable.sel({"method": "one", "method_other": "reversed"}))
    assert bool(here.distinguishable.sel({"method": "one", "method_other": "random"}))
    assert not bool(here.distinguishable.sel({"method": "one", "method_other": "other"}))
    assert abs(float(here.difference.sel({"method": "one", "method_other": "other"}))) < 1e-12
    words = found.attrs["recommendation"]
    assert words.startswith("one comes first")
    assert "other cannot be told from it" in words
    assert "reversed (random and smooth random)" in words


def test_the_controls_stand_at_their_expectation():
    many = signals(200, seed=9)
    found = compare(linear_net(), many, {"IG": ta.IntegratedGradients(steps=1)}, metrics=["gap", "sensitivity_n"])
    for control in CONTROLS:
        for measure in ("gap", "sensitivity_n"):
            one = found.sel({"measure": measure, "ranking": "signed", "method": control})
            error = float(one.score_high - one.score_low) / 4
            assert abs(float(one.score)) < 4 * error
    assert found.control.values.tolist() == [False, True, True]


def test_noise_is_not_recommended():
    rng = np.random.default_rng(0)
    noise = {name: xr.DataArray(rng.normal(size=X.shape), dims=X.dims, coords=X.coords) for name in "ab"}
    words = compare(NET, X, noise).attrs["recommendation"]
    assert words.startswith("No map can be recommended")


def test_the_recommendation_does_not_look_at_the_truth():
    truth = xr.zeros_like(X, dtype=bool)
    truth[:, 0, :3] = True
    found = compare(NET, X, METHODS_HERE, truth=truth)
    assert found.attrs["recommendation"] == table().attrs["recommendation"]
    assert "average_precision" in found.measure
    assert found.average_precision_chance.notnull().all()
    only = compare(NET, X, METHODS_HERE, truth=truth, metrics=[])
    assert "without looking at the truth" in only.attrs["recommendation"]


@pytest.mark.parametrize("budget", [30, 64])
def test_one_budget_for_all(budget):
    methods = METHODS_HERE | {
        "shapley": ta.ShapleySampling(g.Along("lead"), draws=3),
        "kernel": ta.KernelShap(g.Windows(time=6, lead=1), draws=2),
        "smooth": ta.SmoothGrad(draws=3),
    }
    found = compare(NET, X, methods, budget=budget, metrics="gap")
    rows = found.model_evaluations.isel(method=~found.control)
    assert (rows <= budget).all()
    for name in ("IG zero", "EG", "shapley", "kernel", "smooth"):  # what can use it does
        assert (rows.sel({"method": name}) > 0.75 * budget).all(), name
    assert "same budget" not in found.attrs["recommendation"]
    assert "same budget" in table().attrs["recommendation"]


@pytest.mark.parametrize("name", SETTINGS)
def test_within_keeps_to_the_budget(name):
    x, method, net = signals(), METHODS[name], case(name).model
    rows = ta.explain(net, x, method, target=1, dry_run=True).attrs["rows"] // len(x)
    for budget in (rows, 2 * rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ta.ExplanationWarning)
            found = ta.compare(net, x, {"m": method}, target=1, budget=budget, metrics="completeness", controls=False)
        assert (found.model_evaluations <= budget).all()


def test_what_cannot_keep_to_a_budget_is_said():
    methods = {
        "IG": ta.IntegratedGradients(),
        "rescaled": ta.TemporalRescaling(ta.Saliency()),
        "rescaled draws": ta.TemporalRescaling(ta.SmoothGrad(draws=50), g.Windows(time=6), g.Windows(time=6)),
        "made before": ta.explain(NET, X, ta.IntegratedGradients(steps=60), target=1),
        "of unknown cost": ta.explain(NET, X, ta.Saliency(), target=1).attribution,
    }
    found = compare(NET, X, methods, budget=30, metrics="gap")
    rows = found.model_evaluations.max("sample").values
    assert rows[0] == 30 < rows[1]
    assert rows[2] <= 30
    assert found.over_budget.values.tolist() == [False, True, False, True, False, False, False]
    said = rf"Over the budget of 30 rows a sample, and so left out of this recommendation: rescaled \(up to {rows[1]:.4g}\) and made before \(up to 62\)\."
    assert re.search(said, found.attrs["recommendation"])
    assert (
        "Over the budget"
        not in compare(NET, X, {"IG": methods["IG"]}, budget=30, metrics="gap").attrs["recommendation"]
    )


def energy(x):
    return (x[:, :, ::5] ** 2).sum((1, 2))


def test_what_is_over_the_budget_is_not_recommended_even_where_it_would_win():
    fills = {"zero": b.Constant(0.0), "mean": b.Mean()}
    ask = functools.partial(ta.compare, energy, X, metrics="gap", rankings=["signed"], fills=fills)
    rescaled = ta.TemporalRescaling(ta.Saliency(), threshold=0.0)
    methods = {"coarse": ta.Occlusion(g.Windows(time=10)), "rescaled": rescaled}
    free, held = ask(methods), ask(methods, budget=10)
    rows = int(free.model_evaluations.sel({"method": "rescaled"}).max())
    assert rows > 10
    assert free.attrs["recommendation"].startswith("Use rescaled: ")
    assert not held.attrs["recommendation"].startswith("Use rescaled")
    said = held.attrs["recommendation"].replace(f"left out of this recommendation: rescaled (up to {rows}).", "")
    assert len(said) < len(held.attrs["recommendation"])
    assert "rescaled" not in said
    np.testing.assert_array_equal(held.score, free.score)  # it is explained and tested all the same
    alone = ask({"rescaled": rescaled}, budget=10).attrs["recommendation"]
    assert alone.startswith("No method keeps to the budget of 10 rows a sample: give more rows.\nOver the budget")


def test_rows_that_a_method_may_take_are_known_beforehand():
    method = ta.WinIT(3, draws=1, aggregate="sum", predictions="last")
    most = ta.explain(energy, X, method, dry_run=True).model_evaluations.max().item()
    ask = functools.partial(ta.compare, energy, X, {"winit": method}, metrics="gap", fills={"mean": b.Mean()})
    found = ask(budget=most - 1)
    assert (found.model_evaluations.isel(method=0) < most - 1).all()
    assert found.over_budget.values.tolist() == [True, False, False]
    assert f"winit (up to {most})." in found.attrs["recommendation"]
    assert not ask(budget=most).over_budget.any()


def test_a_budget_that_allows_nothing():
    with pytest.raises(ValueError, match="a budget of 5 rows a sample allows no draws of Occlusion"):
        compare(NET, X, {"o": METHODS_HERE["occlusion"]}, budget=5)
    with pytest.raises(
        ValueError, match=r"shares 20 rows a sample among \d+ maps: a budget of \d rows a sample allows no steps"
    ):
        compare(NET, X, {"r": ta.TemporalRescaling(METHODS_HERE["IG zero"])}, budget=20)


def test_blocks_by_name_or_array():
    patient = np.repeat(np.arange(6), 4)
    named = X.assign_coords(patient=("sample", patient))
    one, other = compare(NET, named, METHODS_HERE, blocks="patient"), compare(NET, X, METHODS_HERE, blocks=patient)
    np.testing.assert_array_equal(one.score_low, other.score_low)
    assert one.attrs["blocks"] == 6
    assert (one.score_low != table().score_low).any()
    assert "fewer than 20 blocks" in one.attrs["recommendation"]


def test_labels_netcdf_and_one_seed_one_answer(tmp_path):
    table().to_netcdf(tmp_path / "t.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "t.nc"), table())
    again = compare(NET, X, METHODS_HERE)
    left = [k for k in again if k != "seconds"]
    xr.testing.assert_identical(again[left], table()[left])
    assert table().sample.equals(X.sample)
    assert table().method.values.tolist() == [*METHODS_HERE, *CONTROLS]


def test_agreement_of_the_maps():
    a = table().agreement.sel({"method": "IG zero"})
    assert float(a.sel(method_other="IG zero")) == pytest.approx(1)
    maps = [ta.explain(NET, X, METHODS_HERE[k], target=1).attribution.values.reshape(24, -1) for k in ("IG zero", "EG")]
    from scipy.stats import spearmanr

    expected = np.mean([spearmanr(p, q).statistic for p, q in zip(*maps)])
    assert float(a.sel(method_other="EG")) == pytest.approx(expected)


def test_several_targets():
    found = ta.compare(NET, X, {"IG": ta.IntegratedGradients(steps=4)}, target=[0, 1], fills=FILLS, metrics="gap")
    assert found.gap.dims == ("method", "sample", "fill", "ranking", "target")
    assert found.score.notnull().all()


def test_a_table_of_categories():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=30), "b": rng.choice(["x", "y"], 30), "c": rng.normal(size=30)})
    model = ta.models.on_frames(lambda f: 3 * f["a"] * (f["b"] == "x") - f["c"])
    methods = {
        "typical": ta.Occlusion(g.Cells(), b.Typical.fit(frame)),
        "shapley": ta.ShapleySampling(g.Cells(), b.Samples.fit(frame), draws=4),
    }
    found = ta.compare(model, frame, methods, fills={"typical": b.Typical.fit(frame), "samples": b.Samples.fit(frame)})
    assert found.score.sel(measure="gap", ranking="signed").notnull().all()


@pytest.mark.parametrize(
    ("methods", "more", "error", "words"),
    [
        ({}, {}, TypeError, "a mapping from names to methods"),
        (ta.Saliency(), {}, TypeError, "a mapping from names to methods"),
        ({"random": ta.Saliency()}, {}, ValueError, "'random' is the name of a control"),
        ({"s": ta.Saliency()}, {"blocks": "patient"}, KeyError, "no coordinate 'patient' along its samples"),
        ({"s": ta.Saliency()}, {"blocks": [1, 2]}, ValueError, "one label for each of the 24 samples"),
        ({"s": ta.Saliency()}, {"budget": 0}, ValueError, "budget is a whole number"),
        ({"s": ta.Saliency}, {}, TypeError, "not the class"),
    ],
)
def test_bad_settings(methods, more, error, words):
    with pytest.raises(error, match=words):
        compare(NET, X, methods, **more)


def test_trouble_names_the_method():
    method = ta.IntegratedGradients(tolerance=1e-9, max_steps=9)
    with pytest.warns(ta.ExplanationWarning, match="IG: not converged"):
        ta.compare(NET, X, {"IG": method}, target=1, fills=FILLS, metrics="gap")
