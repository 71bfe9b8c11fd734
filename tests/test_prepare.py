"""A prepared call: what `explain` gives, without trying the model again, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tsattr as ta

from .conftest import Spy, linear_net, relu_net
from .test_laws import METHODS, NET, X, case

pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails weight-randomisation:tsattr.ExplanationWarning")
OCCLUSION = ta.Occlusion(ta.groups.Cells())


def assert_same(prepared: xr.Dataset, explained: xr.Dataset) -> None:
    """Equal to the last bit, but for the rows of trials."""
    own, trials = (ds.attrs.pop("trial_rows", None) for ds in (prepared, explained))
    assert own is None or own <= trials
    xr.testing.assert_identical(prepared, explained)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_what_explain_gives(name):
    of = case(name)
    prepared = ta.prepare(of.model, of.x.isel(sample=slice(0, 2)), of.method, **of.settings)
    assert_same(prepared(of.x), ta.explain(of.model, of.x, of.method, **of.settings))


def test_any_number_of_samples_of_any_labels():
    prepared = ta.prepare(NET, X.isel(sample=[0]), ta.Saliency(), target=1)
    other = xr.concat([X, X + 1], "sample").assign_coords(sample=np.arange(2 * len(X)))
    assert_same(prepared(other), ta.explain(NET, other, ta.Saliency(), target=1))
    unlabelled = other.drop_vars(["sample", "age", "device"], errors="ignore")
    assert_same(prepared(unlabelled), ta.explain(NET, unlabelled, ta.Saliency(), target=1))


def table(n=8, seed=0):
    rng = np.random.default_rng(seed)
    index = [f"p{seed}{k}" for k in range(n)]
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "c": list("xyz" * n)[:n]}, index)


def pipeline():
    train = table(40)
    parts = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["c"]))
    return make_pipeline(parts, LogisticRegression()).fit(train, train.a + (train.c == "x") > 0)


REMOVAL = ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(table(40)), 3)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (pipeline, REMOVAL),
        (pipeline, ta.KernelShap(ta.groups.Cells(), ta.baselines.Samples.fit(table(40)), 20, 2)),
        (lambda: ta.models.last_step(pipeline()), REMOVAL),
        (
            lambda: ta.models.last_step(pipeline()),
            ta.IntegratedGradients(ta.baselines.Samples.fit(table(40)), steps=3, draws=2),
        ),
    ],
)
def test_tables(model, method):
    prepared = ta.prepare(model(), table(), method)
    assert_same(prepared(table(3, 5)), ta.explain(model(), table(3, 5), method))


def test_datasets_bare_arrays_and_functions_on_arrays():
    two = xr.Dataset({"ecg": X, "dose": ("sample", np.linspace(-1, 1, len(X)))})

    def model(ecg, dose):
        return NET(ecg)[:, 0] * dose

    prepared = ta.prepare(model, two.isel(sample=[0]), ta.InputXGradient())
    assert_same(prepared(two), ta.explain(model, two, ta.InputXGradient()))
    on_arrays = ta.models.on_arrays(lambda x: x[:, 0] * x[:, 1])
    for rows in (np.ones((3, 2)), torch.ones(3, 2)):
        assert_same(ta.prepare(on_arrays, rows[:1], OCCLUSION)(rows), ta.explain(on_arrays, rows, OCCLUSION))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": [0, 1]},
        {"target": ta.targets.Each("class"), "outputs": ("class",)},
        {"target": [0, 1]},
        {"reference": xr.concat([X] * 10, "sample").assign_coords(sample=range(10 * len(X)))},
    ],
)
def test_every_kind_of_call(settings):
    method = ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Uniform(-1.0, 1.0), 2)
    settings = {"target": 1} | settings
    prepared = ta.prepare(NET, X.isel(sample=[0, 1]), method, **settings)
    assert_same(prepared(X), ta.explain(NET, X, method, **settings))


def test_an_ensemble():
    members = ta.models.Ensemble([relu_net(), linear_net()])
    prepared = ta.prepare(members, X.isel(sample=[0, 1]), ta.Saliency(), target=1)
    assert_same(prepared(X), ta.explain(members, X, ta.Saliency(), target=1))


def test_valid_and_context_are_of_each_call():
    def model(x, scale):
        return (x * scale[:, None, None]).sum((1, 2))

    valid, scale = xr.ones_like(X, bool), np.arange(1.0, 1 + len(X))
    valid[0, 0] = False
    prepared = ta.prepare(model, X, OCCLUSION, valid=valid, context={"scale": scale})
    last = X.isel(sample=slice(1, None))
    given = {"valid": valid.isel(sample=slice(1, None)), "context": {"scale": scale[1:]}}
    assert_same(prepared(last, **given), ta.explain(model, last, OCCLUSION, **given))
    for name in given:
        with pytest.raises(ValueError, match=f"prepared with {name}="):
            prepared(last, **{k: v for k, v in given.items() if k != name})


def test_the_model_is_tried_once_and_asked_for_its_samples_alone():
    spy = Spy(NET)
    prepared = ta.prepare(spy, X, ta.Saliency(), target=1)
    assert spy.count == 4  # two rows side by side, and one of them twice
    spy.rows.clear()
    ds = prepared(X.isel(sample=[0]))
    assert spy.count == int(ds.model_evaluations.sum()) == 2
    assert ds.attrs["trial_rows"] == 0


def test_without_a_check_the_model_is_not_asked_before_the_first_call():
    spy = Spy(NET)
    ta.prepare(spy, X, ta.Saliency(), target=1, check=False)
    assert spy.rows == []


def test_a_model_that_is_no_function_of_its_row_is_refused_when_it_is_prepared():
    with pytest.raises(ValueError, match="the model is not a function of its row"):
        ta.prepare(lambda x: x.sum((1, 2)) * x.mean(), X, ta.Saliency())


def test_settings_and_labels_are_checked_when_it_is_prepared():
    with pytest.raises(TypeError, match=r"method is an object with its settings"):
        ta.prepare(NET, X, ta.Saliency)
    with pytest.raises(KeyError, match="depth"):
        ta.prepare(NET, X, ta.Occlusion(ta.groups.Along("depth")), target=1)
    with pytest.raises(TypeError, match=r"prepare\(\) got an unexpected keyword argument 'targets'"):
        ta.prepare(NET, X, ta.Saliency(), targets=1)
    with pytest.raises(IndexError):
        ta.prepare(NET, X, ta.Saliency(), target=7)


@pytest.mark.parametrize(
    ("other", "kind", "match"),
    [
        (lambda: X.transpose("time", "sample", "lead"), ValueError, r"give x.transpose\('sample', 'lead', 'time'\)"),
        (lambda: X.isel(time=slice(0, -1)), ValueError, "cells along 'time', and the call was prepared for"),
        (lambda: X.assign_coords(lead=["I", "II", "V6"]), ValueError, "labels 'I', 'II', 'V6' along 'lead'"),
        (lambda: X.assign_coords(time=X.time + 1e-3), ValueError, "labels .* along 'time'"),
        (lambda: X.drop_vars("lead"), ValueError, "no labels along 'lead'"),
        (lambda: X.assign_coords(time=X.time.assign_attrs(units="ms")), ValueError, "'time' of x is in 'ms'"),
        (lambda: X.astype("float32"), TypeError, r"dtype float32, .* give x.astype\('float64'\)"),
        (lambda: X.rename(lead="channel"), ValueError, "the dims"),
        (lambda: X.isel(lead=0), ValueError, "the dims"),
        (lambda: X.rename(sample="beat"), ValueError, "no sample dim"),
        (lambda: xr.Dataset({"ecg": X}), KeyError, r"x has the variables \['ecg'\]"),
        (lambda: xr.full_like(X, np.inf), ValueError, "infinite"),
    ],
)
def test_samples_that_are_not_alike_are_refused(other, kind, match):
    prepared = ta.prepare(NET, X, ta.Saliency(), target=1)
    with pytest.raises(kind, match=match):
        prepared(other())


def test_tables_that_are_not_alike_are_refused():
    prepared = ta.prepare(pipeline(), table(), REMOVAL)
    with pytest.raises(TypeError, match=r"column 'b' has dtype int64.* x.astype\(x_like.dtypes\)"):
        prepared(table().assign(b=1))
    with pytest.raises(ValueError, match=r"the columns \['b', 'a', 'c'\], .* give x\[x_like.columns\]"):
        prepared(table()[["b", "a", "c"]])
    with pytest.raises(ValueError, match=r"no column 'c', .* give it, or"):
        prepared(table()[["a", "b"]])
    levels = lambda *names: table().assign(c=pd.Categorical(["x"] * 8, names))  # noqa: E731
    prepared = ta.prepare(ta.models.on_frames(lambda df: df["a"]), levels("x", "y"), REMOVAL)
    with pytest.raises(TypeError, match=r"categories \['x'\], .* categories \['x', 'y'\]: give x.astype"):
        prepared(levels("x"))
    with pytest.raises(TypeError, match=r"categories \['x', 'y', 'z'\], .*: prepare a call that knows 'z'"):
        prepared(levels("x", "y", "z"))
    numbers = table()[["a", "b"]]
    labels = {"sample": numbers.index.to_numpy(), "feature": np.array(["a", "b"], object)}
    array = xr.DataArray(numbers.to_numpy(), labels, ("sample", "feature"))
    prepared = ta.prepare(ta.models.on_frames(lambda df: df["a"]), numbers, OCCLUSION)
    with pytest.raises(TypeError, match="x is an array, and the call was prepared for a table"):
        prepared(array)


def test_trouble_with_a_sample_is_told_at_each_call():
    prepared = ta.prepare(lambda x: x.sum(1).sqrt(), np.ones((1, 2)), ta.Saliency())
    with pytest.warns(ta.ExplanationWarning, match="non-finite gradient"):
        ds = prepared(np.array([[1.0, -1.0], [1.0, 1.0]]))
    assert ds.status.values.tolist() == ["non-finite gradient", "ok"]


def test_a_doubt_stands_in_every_result():
    def nearly(x):
        return x.sum(1) + 1e-2 * x.mean()

    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    with pytest.warns(ta.ExplanationWarning, match="not a function of its row"):
        prepared = ta.prepare(nearly, x, ta.Saliency())
    assert "not a function of its row" in prepared(x).attrs["trial"]


def test_the_model_is_left_as_it_was_between_calls():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(X[0].size, 2), torch.nn.Dropout()).double().train()
    prepared = ta.prepare(model, X, ta.Saliency(), target=1)
    random = torch.get_rng_state()
    first = prepared(X)
    assert model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    with torch.no_grad():
        model[1].weight.mul_(2)
    np.testing.assert_allclose(prepared(X).attribution, 2 * first.attribution)


def test_it_says_what_it_is():
    prepared = ta.prepare(NET, X, ta.Saliency(), target=1)
    assert repr(prepared) == f"prepare(Saliency(absolute=True), for samples of lead 3, time {X.sizes['time']})"
