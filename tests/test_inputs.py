"""What x may be: arrays, Datasets, tables, padded and missing data; and what the model then gets."""

import functools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

import tsattr as ta
from tsattr.labels.tables import Codes

RNG = np.random.default_rng(0)


# ---- bare arrays


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda v: torch.as_tensor(v).requires_grad_()])
def test_numpy_and_torch_input(kind):
    values = RNG.normal(size=(3, 2, 4))
    w = torch.as_tensor(RNG.normal(size=(2, 4)))
    ds = ta.explain(lambda r: (r * w).sum((1, 2)), kind(values), ta.IntegratedGradients())
    assert ds.attribution.dims == ("sample", "dim_1", "dim_2")
    np.testing.assert_allclose(ds.attribution, w.numpy() * values, atol=1e-12)
    named = ta.explain(lambda r: r.sum((1, 2)), kind(values), ta.Saliency(), dims=("sample", "lead", "time"))
    assert named.attribution.dims == ("sample", "lead", "time")
    moved = ta.explain(lambda r: r.sum((1, 2)), kind(values), ta.Saliency(), dims=("lead", "time", "sample"))
    assert moved.prediction.sizes == {"sample": 4}


def test_another_byte_order_as_netcdf_3_files_have():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for dtype in (">f4", ">f8"):
        ds = ta.explain(lambda v: v[:, 0] * v[:, 1], x.astype(dtype), ta.InputXGradient())
        np.testing.assert_array_equal(ds.attribution, [[2.0, 2.0], [12.0, 12.0]])
        assert ds.attribution.dtype == np.dtype(dtype).newbyteorder("=")


def test_a_table_as_dataarray_for_an_estimator():
    x = RNG.normal(size=(40, 3))
    model = LinearRegression().fit(x, x @ [1.0, -2.0, 3.0])
    ds = ta.explain(model, x, ta.Occlusion(ta.groups.Cells()))
    np.testing.assert_allclose(ds.attribution, x * [1, -2, 3], atol=1e-12)
    assert ds.attrs["model"] == "LinearRegression"


# ---- NaN and valid


def masked_sum(rows):
    """Cell products that notice anything done to what is missing."""
    return torch.nan_to_num(rows, nan=50.0).square().sum((1, 2))


METHODS = {
    "ig": ta.IntegratedGradients(tolerance=0.1),
    "ig mean": ta.IntegratedGradients(ta.baselines.Mean(), steps=3),
    "eg": ta.IntegratedGradients(ta.baselines.Uniform(-1.0, 1.0), steps=1, draws=4),
    "cells": ta.Occlusion(ta.groups.Cells()),
    "windows": ta.Occlusion(ta.groups.Windows(time=3, step=2), ta.baselines.Bridge()),
    "blur": ta.Occlusion(ta.groups.Along("lead"), ta.baselines.Blur(time=1.5)),
    "saliency": ta.Saliency(),
    "gradient": ta.InputXGradient(),
    "smooth": ta.SmoothGrad(draws=4),
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def signal():
    return xr.DataArray(
        RNG.normal(size=(3, 2, 8)),
        dims=("sample", "lead", "time"),
        coords={"lead": ["I", "II"], "time": np.arange(8.0), "sample": [10, 20, 30]},
    )


def test_missing_cells_get_no_attribution_and_are_never_changed(method):
    x = signal()
    gone = RNG.random(x.shape) < 0.25
    x = x.where(~gone)
    seen = []

    def model(rows):
        seen.append(torch.isnan(rows).detach().numpy())
        return masked_sum(rows)

    ds = ta.explain(model, x, method, batch_size=1)
    np.testing.assert_array_equal(np.isnan(ds.attribution), gone)
    allowed = {m.tobytes() for m in gone}
    assert {m[0].tobytes() for m in seen} == allowed
    assert (ds.status == "ok").all()


def test_a_gradient_that_is_not_finite_at_missing_cells_only_does_no_harm(method):
    x = signal()
    x[:, :, 2] = np.nan

    def model(r):
        return torch.where(torch.isnan(r), 0.0, r**2).sum((1, 2))  # d(r**2) is NaN where r is, and 0 NaN is NaN

    ds = ta.explain(model, x, method)
    assert (ds.status == "ok").all()
    np.testing.assert_allclose(ds.attribution, ta.explain(masked_sum, x, method).attribution, atol=1e-12)


def test_valid_and_nan_are_the_same_thing(method):
    x = signal()
    length = np.array([8, 5, 3])
    valid = xr.DataArray(np.arange(8) < length[:, None], dims=("sample", "time"), coords={"sample": x.sample})
    known = torch.as_tensor(valid.values)[:, None, :]

    def ragged(rows, which):
        return torch.where(known[which], rows, 0).square().sum((1, 2))

    index = {"which": np.arange(3)}
    padded = ta.explain(ragged, x.where(valid, 99.0), method, valid=valid, context=index)
    missing = ta.explain(ragged, x.where(valid), method, context=index)
    np.testing.assert_array_equal(np.isnan(padded.attribution), ~np.broadcast_to(valid.values[:, None], x.shape))
    for name in ("attribution", "prediction", "completeness_gap", "group_value"):
        if name in padded:
            np.testing.assert_allclose(padded[name], missing[name], atol=1e-12)


def test_padding_never_reaches_the_model_changed_and_does_not_matter(method):
    x = signal()
    valid = np.ones(x.shape, bool)
    valid[:, :, 6:] = False

    def model(rows):
        assert (rows[:, :, 6:] == 99).all()
        return rows[:, :, :6].square().sum((1, 2))

    padded = ta.explain(model, x.where(valid, 99.0), method, valid=valid)
    assert np.isnan(padded.attribution[..., 6:]).all()
    # Draws follow the shape of the input; a blur reflects at the end of the dim, and leaves padding out.
    if getattr(method, "draws", 1) == 1 and method != METHODS["blur"]:
        short = ta.explain(lambda r: r.square().sum((1, 2)), x[..., :6], method)
        np.testing.assert_allclose(padded.attribution[..., :6], short.attribution, atol=1e-10)


def test_a_group_without_valid_cells_is_not_asked_for():
    x = signal()
    x[1, 0] = np.nan
    ds = ta.explain(masked_sum, x, ta.Occlusion(ta.groups.Along("lead")))
    np.testing.assert_array_equal(np.isnan(ds.group_value), [[False, False], [True, False], [False, False]])
    assert ds.model_evaluations.values.tolist() == [3, 2, 3]


def test_unlabelled_cells_get_no_attribution():
    x = signal()
    waves = xr.DataArray(["P", "P", "", "QRS", "QRS", "", "T", "T"], dims="time", coords={"time": x.time})
    ds = ta.explain(lambda r: r.sum((1, 2)), x, ta.Occlusion(ta.groups.Labelled(waves)))
    assert ds.group.values.tolist() == ["P", "QRS", "T"]
    np.testing.assert_array_equal(np.isnan(ds.attribution[0, 0]), waves == "")
    np.testing.assert_allclose(ds.group_value.sel(group="QRS"), x[..., 3:5].sum(("lead", "time")), atol=1e-12)


# ---- several variables


@pytest.fixture
def case():
    return xr.Dataset(
        {
            "ecg": (("lead", "sample", "time"), RNG.normal(size=(2, 3, 5)).astype("float32")),
            "age": ("sample", [61.0, 48.0, 70.0], {"units": "years"}),
        },
        coords={"sample": ["a", "b", "c"], "lead": ["I", "II"], "time": np.arange(5) / 10},
    )


def joint(ecg, age):
    """Rows of ecg are (lead, time) in float32, of age numbers in float64; not additive over the two."""
    assert ecg.dtype == torch.float32
    assert age.dtype == torch.float64
    return ecg.double().square().sum((1, 2)) * age / 50 + torch.tanh(age / 40)


def test_a_dataset_is_explained_jointly_and_completely(case):
    ds = ta.explain(joint, case, ta.IntegratedGradients(steps=64, rule="gauss-legendre"))
    assert set(ds) >= {"attribution_ecg", "attribution_age", "prediction", "status"}
    assert ds.attribution_ecg.dims == ("lead", "sample", "time")
    assert ds.attribution_ecg.dtype == np.float32
    assert ds.attribution_age.dims == ("sample",)
    assert ds.attribution_age.dtype == np.float64
    assert ds.attribution_age.attrs["input_units"] == "years"
    total = ds.attribution_ecg.sum(("lead", "time")) + ds.attribution_age
    np.testing.assert_allclose(total, ds.prediction - ds.reference, rtol=1e-6)
    assert (ds.completeness_error < 1e-6).all()
    # Along the straight path the product x^2 y shares 2 : 1.
    product = (case.ecg.astype("float64") ** 2).sum(("lead", "time")) * case.age / 50
    np.testing.assert_allclose(ds.attribution_ecg.sum(("lead", "time")), 2 / 3 * product, rtol=1e-5)


def test_baselines_and_groups_by_variable(case):
    baselines = {"ecg": ta.baselines.Mean(), "age": ta.baselines.Constant(50.0)}
    groups = {"ecg": ta.groups.Windows(time="300ms"), "age": ta.groups.Cells()}
    ds = ta.explain(joint, case, ta.Occlusion(groups, baselines))
    assert ds.group.values.tolist() == ["ecg: time=0..0.2", "ecg: time=0.3..0.4", "age: all"]
    ecg, age = (torch.as_tensor(case[k].transpose("sample", ...).values) for k in ("ecg", "age"))
    expected = joint(ecg, age) - joint(ecg, torch.full_like(age, 50.0))
    np.testing.assert_allclose(ds.attribution_age, expected, rtol=1e-12)
    flat = ecg.clone()
    flat[..., 3:] = ecg.mean(2, keepdim=True)
    np.testing.assert_allclose(ds.group_value[:, 1], joint(ecg, age) - joint(flat, age), rtol=1e-5)
    assert (ds.attribution_ecg.isel(time=3) == ds.attribution_ecg.isel(time=4)).all()
    assert ds.attrs["baseline"] == repr(baselines)


def test_one_groups_object_takes_what_lacks_its_dim_as_a_whole(case):
    ds = ta.explain(joint, case, ta.Occlusion(ta.groups.Along("lead")))
    assert ds.group.values.tolist() == ["ecg: I", "ecg: II", "age: all"]


def test_references_of_one_training_set_stay_together(case):
    train = xr.Dataset(
        {
            "ecg": (
                ("sample", "lead", "time"),
                np.arange(7.0, dtype="float32")[:, None, None] * np.ones((1, 2, 5), "float32"),
            ),
            "age": ("sample", np.arange(7.0)),
        },
        coords={"lead": ["I", "II"], "time": case.time},
    )
    pairs = set()

    def model(ecg, age):
        if age[0] < 10:
            pairs.update(zip(ecg[:, 0, 0].tolist(), age.tolist()))
        return ecg.double().sum((1, 2)) + age

    each = {k: ta.baselines.Samples.fit(train[k]) for k in ("ecg", "age")}
    whole = {"ecg": ta.groups.Windows(time=5), "age": ta.groups.Cells()}
    ta.explain(model, case, ta.IntegratedGradients(each, steps=1, rule="midpoint", draws=7))
    ends = {p for p in pairs if p[0] % 1 == 0 and p[1] % 1 == 0}
    assert ends == {(float(k), float(k)) for k in range(7)}
    assert len(ta.explain(model, case, ta.Occlusion(whole, each, draws=2)).group) == 2


def test_valid_by_variable(case):
    mask = {"ecg": case.ecg > -0.5}
    ds = ta.explain(lambda ecg, age: ecg.double().sum((1, 2)) + age, case, ta.Saliency(), valid=mask)
    np.testing.assert_array_equal(np.isnan(ds.attribution_ecg), ~mask["ecg"])
    assert np.isfinite(ds.attribution_age).all()


def test_a_dataset_for_numpy_models(case):
    model = ta.models.on_arrays(lambda ecg, age: ecg.sum((1, 2)) + age)
    ds = ta.explain(model, case, ta.Occlusion(ta.groups.Cells()))
    np.testing.assert_allclose(ds.attribution_ecg, case.ecg, atol=1e-5)
    np.testing.assert_allclose(ds.attribution_age, case.age, rtol=1e-6)


# ---- context


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = torch.nn.GRU(2, 5, batch_first=True).double()
        self.head = torch.nn.Linear(6, 3).double()

    def forward(self, x, lengths, age):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x.nan_to_num().transpose(1, 2), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(torch.cat([self.gru(packed)[1][0], age[:, None]], 1))


LENGTHS = np.array([8, 5, 3])
AGE = np.array([0.3, -0.2, 1.0])
PADDED = np.arange(8) < LENGTHS[:, None]


@pytest.mark.parametrize("rows", [2, "auto"])
def test_context_travels_with_its_rows(method, rows):
    x = signal()
    valid = xr.DataArray(PADDED, dims=("sample", "time"))
    net = Recurrent()
    context = {"lengths": LENGTHS, "age": AGE}
    ds = ta.explain(net, x, method, target=[0, 2], context=context, valid=valid, batch_size=rows)
    for i, length in enumerate(LENGTHS):
        alone = ta.explain(
            net, x[[i]], method, target=[0, 2], context={k: v[[i]] for k, v in context.items()}, valid=valid[[i]]
        )
        np.testing.assert_allclose(ds.attribution[[i]], alone.attribution, atol=1e-12)
        np.testing.assert_allclose(ds.prediction[[i]], alone.prediction, atol=1e-12)
        assert np.isnan(ds.attribution[i, :, length:]).all()
        assert np.isfinite(ds.attribution[i, :, :length]).all()


def test_context_may_be_labelled():
    x = signal()
    age = xr.DataArray(AGE, dims="sample", coords={"sample": x.sample})
    found = ta.explain(lambda r, age: r.sum((1, 2)) * age, x, ta.Saliency(), context={"age": age})
    np.testing.assert_allclose(found.attribution[:, 0, 0], np.abs(AGE))
    static = xr.DataArray(RNG.normal(size=(4, 3)), dims=("field", "sample"))
    ta.explain(lambda r, s: r.sum((1, 2)) * s[:, 3], x, ta.Saliency(), context={"s": static})


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        ({"age": [1.0, 2.0]}, ValueError, r"context 'age' has shape \(2,\); its first axis must hold the 3 samples"),
        ({"age": 1.0}, ValueError, r"context 'age' has shape \(\)"),
        ({"age": ["a", "b", "c"]}, TypeError, "context 'age' has dtype <U1; give numbers, one entry for each sample"),
        ({"age": xr.DataArray([1.0] * 3, dims="record")}, ValueError, "none of them the sample dim 'sample'"),
        (
            {"age": xr.DataArray([1.0] * 3, dims="sample", coords={"sample": [30, 20, 10]})},
            ValueError,
            "context 'age' has other sample labels than x; align them first",
        ),
    ],
)
def test_context_that_does_not_fit(context, error, message):
    with pytest.raises(error, match=message):
        ta.explain(lambda r, age: r.sum((1, 2)), signal(), ta.Saliency(), context=context)


# ---- tables


def patients(n=80):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(30, 90, n),
            "sex": rng.choice(["F", "M"], n),
            "smoker": rng.random(n) < 0.4,
            "unit": pd.Categorical(rng.choice(["ward", "icu"], n), categories=["ward", "icu", "home"]),
            "visits": rng.integers(0, 9, n),
        },
        index=[f"p{i}" for i in range(n)],
    )
    label = np.where(frame.age / 60 + (frame.sex == "F") + frame.smoker + rng.normal(size=n) > 2, "ill", "well")
    return frame, label


@pytest.fixture(scope="module")
def clinic():
    frame, label = patients()
    numbers = ["age", "visits"]
    pipeline = make_pipeline(
        ColumnTransformer(
            [("n", StandardScaler(), numbers), ("c", OneHotEncoder(handle_unknown="ignore"), ["sex", "smoker", "unit"])]
        ),
        LogisticRegression(),
    )
    return frame, pipeline.fit(frame, label)


def test_a_pipeline_on_raw_columns_one_column_one_cell(clinic):
    frame, pipeline = clinic
    x = frame[:6]
    ds = ta.explain(
        pipeline, x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(frame), draws=80), target="ill"
    )
    assert ds.attribution.dims == ("sample", "feature")
    assert ds.feature.values.tolist() == list(frame.columns)
    assert ds.sample.values.tolist() == list(x.index)
    assert ds.attrs["target"] == "ill"
    at = list(pipeline.classes_).index("ill")
    np.testing.assert_allclose(ds.prediction, pipeline.predict_proba(x)[:, at], rtol=1e-12)
    for column in frame.columns:  # 80 draws without replacement from 80: the mean over the whole reference
        swapped = [pipeline.predict_proba(x.assign(**{column: [v] * 6}).astype(x.dtypes))[:, at] for v in frame[column]]
        np.testing.assert_allclose(ds.attribution.sel(feature=column), ds.prediction - np.mean(swapped, 0), atol=1e-12)


def test_targets_know_what_an_estimator_gives(clinic):
    frame, pipeline = clinic
    x, usual = frame[:6], {"age": 60.0, "sex": "F", "smoker": True, "unit": "icu", "visits": 3}
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(usual))
    at = pipeline.classes_.tolist().index("ill")
    p = pipeline.predict_proba(x)
    for model, where in ((pipeline, "ill"), (ta.models.on_frames(pipeline.predict_proba), at)):
        ds = ta.explain(model, x, method, target=[ta.targets.Probability(where), ta.targets.LogOdds(where)])
        np.testing.assert_allclose(ds.prediction[:, 0], p[:, at], rtol=1e-14)
        np.testing.assert_allclose(ds.prediction[:, 1], np.log(p[:, at] / p[:, 1 - at]), rtol=1e-13)
        shift = ta.explain(model, x, method, target=ta.targets.Divergence())
        assert shift.attrs["target"] == "Divergence('pd', of='probability')"
        without = pipeline.predict_proba(x.assign(sex="F"))[:, at]
        np.testing.assert_allclose(shift.attribution.sel(feature="sex"), 2 * abs(p[:, at] - without), atol=1e-14)


def test_a_regression_of_several_outputs_asks_for_one(clinic):
    frame, _ = clinic
    x = frame[["age", "visits"]].to_numpy(float)
    model = LinearRegression().fit(x, x @ [[1.0, 0.0], [2.0, 3.0]])
    method = ta.Occlusion(ta.groups.Cells())
    for given in (model, ta.models.on_arrays(model.predict)):
        with pytest.raises(ValueError, match=r"gives 2 values, .* along 'output' \(0, 1\), such as target=0"):
            ta.explain(given, x[:3], method)
    ds = ta.explain(model, x[:3], method, target=[0, 1])
    np.testing.assert_allclose(ds.attribution[..., 1], x[:3] * [0.0, 3.0], atol=1e-9)
    ta.explain(LinearRegression().fit(x, x[:, 0]), x[:3], method)  # a single one


def test_the_last_layer_says_that_outputs_are_probabilities(clinic):
    rows = np.random.default_rng(0).normal(size=(4, 3))
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.Softmax(1))).double()
    ds = ta.explain(net, rows, ta.Saliency(), target=ta.targets.Probability(1))
    np.testing.assert_allclose(ds.prediction, net(torch.as_tensor(rows))[:, 1].detach(), rtol=1e-15)
    with pytest.raises(ValueError, match="give of='probability'"):
        ta.explain(lambda x: net(x), rows, ta.Saliency(), target=ta.targets.Probability(1))


def test_mode_of_a_table(clinic):
    frame, pipeline = clinic
    tens = frame.assign(age=frame.age.round(-1))
    x, mode = frame[:6], tens.mode().iloc[0]
    ds = ta.explain(pipeline, x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Mode.fit(tens)), target=0)
    for column in frame.columns:
        usual = x.assign(**{column: [mode[column]] * 6}).astype(x.dtypes)
        expected = pipeline.predict_proba(x)[:, 0] - pipeline.predict_proba(usual)[:, 0]
        np.testing.assert_allclose(ds.attribution.sel(feature=column), expected, atol=1e-14)
    with pytest.warns(UserWarning, match=r"no value of age is more frequent than others.* takes the median there"):
        ds = ta.explain(pipeline, x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Mode.fit(frame)), target=0)
    usual = x.assign(age=frame.age.median())
    expected = pipeline.predict_proba(x)[:, 0] - pipeline.predict_proba(usual)[:, 0]
    np.testing.assert_allclose(ds.attribution.sel(feature="age"), expected, atol=1e-12)


def test_a_typical_row_of_a_table(clinic):
    frame, pipeline = clinic
    x = frame[:6]
    typical = {"age": frame.age.median(), "visits": frame.visits.quantile(interpolation="lower")}
    typical |= frame[["sex", "smoker", "unit"]].mode().iloc[0].to_dict()
    ds = ta.explain(pipeline, x, ta.Occlusion(ta.groups.Cells(), ta.baselines.Typical.fit(frame)), target=0)
    for column, value in typical.items():
        usual = x.assign(**{column: [value] * 6}).astype(x.dtypes)
        expected = pipeline.predict_proba(x)[:, 0] - pipeline.predict_proba(usual)[:, 0]
        np.testing.assert_allclose(ds.attribution.sel(feature=column), expected, atol=1e-14)


def test_means_of_columns_are_fitted(clinic):
    frame, _ = clinic
    x = frame[["age", "visits"]]
    model, method = (
        ta.models.on_frames(lambda d: 2 * d.age - d.visits),
        functools.partial(ta.Occlusion, ta.groups.Cells()),
    )
    ds = ta.explain(model, x[:4], method(ta.baselines.Mean.fit(x)))
    np.testing.assert_allclose(ds.attribution, (x[:4] - x.mean()) * [2, -1], rtol=1e-12)
    with pytest.raises(ValueError, match=r"columns of a table have none in common; use Mean.fit\(train\)"):
        ta.explain(model, x[:4], method(ta.baselines.Mean()))
    with pytest.raises(TypeError, match=r"holds categories or dates.* use Typical.fit"):
        ta.baselines.Mean.fit(frame)


def test_a_reference_with_missing_cells_is_handed_on_to_a_model_that_reads_them():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    x = x.mask(rng.random(x.shape) < 0.3)
    model = ta.models.on_frames(lambda d: d.fillna({"a": 2.0, "b": -1.0, "c": 5.0}) @ [1.0, 10.0, 100.0])
    filled = x.fillna({"a": 2.0, "b": -1.0, "c": 5.0})
    rows = x[:6].dropna()
    for method in (ta.KernelShap, ta.Occlusion):
        ds = ta.explain(model, rows, method(ta.groups.Cells(), ta.baselines.Samples.fit(x)))
        np.testing.assert_allclose(ds.attribution, (rows - filled.mean()) * [1, 10, 100], atol=1e-10)
        assert ds.attrs["draws"] == 40
    complete = lambda v: LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0]).predict(v)  # noqa: E731
    by_hand = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    missing = int(x.isna().sum().sum())
    for given in (ta.models.on_arrays(complete), lambda v: v @ by_hand):
        with pytest.raises(ValueError, match=rf"has {missing} missing cells, .* does not read NaN .*dropna"):
            ta.explain(given, rows.to_numpy(), ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(x.to_numpy())))
    path = ta.IntegratedGradients(ta.baselines.Samples.fit(x.to_numpy()))
    with pytest.raises(ValueError, match=r"gives NaN at .* cells that are present"):
        ta.explain(lambda v: v @ by_hand, rows.to_numpy(), path)


def test_the_model_gets_the_columns_as_they_were_given(clinic):
    frame, _ = clinic
    x = frame[:5].assign(seen=pd.date_range("2001-01-01", periods=5), note=["a", None, "b", "a", "a"])
    x["count"] = pd.array([1, 2, None, 4, 5], dtype="Int64")
    x["alive"] = pd.array([True, None, False, True, True], dtype="boolean")
    x.iloc[1, 0] = np.nan
    rows = []

    def model(rows_):
        rows.append(rows_)
        return rows_["age"].fillna(0.0)

    ds = ta.explain(
        ta.models.on_frames(model),
        x,
        ta.Occlusion(ta.groups.Cells(), ta.baselines.Samples.fit(x)),
        batch_size=5,
        check=False,
    )
    pd.testing.assert_frame_equal(rows[0], x)
    plain = ["age", "sex", "smoker", "unit", "visits", "seen", "note", "alive"]
    assert rows[0].dtypes[plain].tolist() == x.dtypes[plain].tolist()
    assert all(row.dtypes["visits"] == x.dtypes["visits"] for row in rows)
    assert not np.isnan(ds.attribution).any()


def test_codes_go_there_and_back():
    frame = pd.DataFrame(
        {
            "i8": np.array([1, -2, 3], "int8"),
            "u": np.array([1, 2, 3], "uint16"),
            "f4": np.array([0.5, np.nan, 2], "float32"),
            "flag": [True, False, True],
            "word": ["x", "y", "x"],
            "mixed": ["x", None, "z"],
            "cat": pd.Categorical(["lo", "hi", None], categories=["lo", "mid", "hi"], ordered=True),
            "day": pd.to_datetime(["2001-01-01 00:00:00", None, "1999-05-31 12:34:56"]),
            "zone": pd.to_datetime(["2001-01-01", "2001-02-01", "2001-03-01"]).tz_localize("Europe/Berlin"),
        }
    )
    codes = Codes.of(frame)
    rows = codes.encode(frame)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(rows), frame.isna())
    pd.testing.assert_frame_equal(codes.decode(rows), frame, check_dtype=False)
    assert codes.decode(rows)["cat"].dtype == frame["cat"].dtype
    assert codes.decode(np.array([[1.5] * 2 + [0.0] * 7]))["i8"].tolist() == [1.5]


@pytest.mark.parametrize(
    "baseline",
    [
        ta.baselines.Mean(),
        ta.baselines.Gaussian(1.0),
        ta.baselines.Uniform(0.0, 1.0),
        ta.baselines.MaximumDistance(0.0, 1.0),
    ],
)
def test_arithmetic_baselines_are_refused_on_categories(clinic, baseline):
    frame, pipeline = clinic
    with pytest.raises(
        TypeError, match=r"columns \['sex', 'smoker', 'unit'\] hold categories; use Samples.fit\(reference\), Mode.fit"
    ):
        ta.explain(pipeline, frame[:3], ta.Occlusion(ta.groups.Cells(), baseline))


def test_arithmetic_baselines_do_on_a_table_of_numbers():
    frame = patients()[0][["age", "visits"]]
    model = LinearRegression().fit(frame, 2 * frame.age - 3 * frame.visits)
    reference = ta.baselines.MaximumDistance.fit(frame, (0, 1))
    ds = ta.explain(model, frame[:4], ta.Occlusion(ta.groups.Cells(), reference))
    low, high = frame.min().to_numpy(float), frame.max().to_numpy(float)
    values = frame[:4].to_numpy(float)
    far = np.where(values >= (low + high) / 2, low, high)
    np.testing.assert_allclose(ds.attribution, (values - far) * [2, -3], atol=1e-9)


def test_constants_for_a_table(clinic):
    frame, pipeline = clinic
    usual = {"age": 60.0, "sex": "F", "smoker": False, "unit": "home", "visits": 2}
    ds = ta.explain(pipeline, frame[:6], ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(usual)), target="ill")
    at = list(pipeline.classes_).index("ill")
    for column, value in usual.items():
        swapped = frame[:6].assign(**{column: value}).astype(frame.dtypes)
        expected = pipeline.predict_proba(frame[:6])[:, at] - pipeline.predict_proba(swapped)[:, at]
        np.testing.assert_allclose(ds.attribution.sel(feature=column), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0.0, TypeError, r"0.0 is no category of column 'sex' \('F', 'M'\); use Samples.fit\(reference\), Mode.fit"),
        ({"age": 60.0, "sex": "F"}, ValueError, "Constant baseline lacks 3 of the input's labels along dim 'feature'"),
        ({"aeg": 60.0}, KeyError, r"Constant baseline names \['aeg'\], which are not labels of any one dim"),
        (
            {"age": "old", "sex": "F", "smoker": True, "unit": "icu", "visits": 0},
            TypeError,
            r"column 'age' of the input holds float64, which \['old'\] does not fit",
        ),
        (
            {"age": 9, "sex": "F", "smoker": "no", "unit": "icu", "visits": 0},
            TypeError,
            "'no' is no category of column",
        ),
    ],
)
def test_constants_that_do_not_fit_a_table(clinic, value, error, message):
    frame, pipeline = clinic
    with pytest.raises(error, match=message):
        ta.explain(pipeline, frame[:3], ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(value)))


def test_a_constant_outside_a_columns_range_warns_and_names_it(clinic):
    frame, pipeline = clinic
    odd = {"age": 500.0, "sex": "F", "smoker": False, "unit": "home", "visits": 2}
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(odd))
    with pytest.warns(
        ta.ExplanationWarning, match=r"outside the observed range of x: age \[3[^,]*, [^,]*\]; an absent value"
    ):
        ta.explain(pipeline, frame[:3], method, reference=frame[frame.columns[::-1]])


def test_columns_named_by_numbers():
    frame = pd.DataFrame({0: [1.0, 2.0, 3.0], 1: ["a", "b", "a"]})
    model = ta.models.on_frames(lambda d: d[0] * (d[1] == "a"))
    for baseline in (ta.baselines.Samples.fit(frame[[1, 0]]), ta.baselines.Constant({0: 1.0, 1: "b"})):
        ds = ta.explain(model, frame, ta.Occlusion(ta.groups.Cells(), baseline, draws=3))
        assert ds.feature.values.tolist() == [0, 1]
    np.testing.assert_allclose(ds.attribution, [[0, 1], [0, 0], [2, 3]])


def test_labels_come_from_the_estimator_and_outputs_may_rename_the_axis(clinic):
    frame, pipeline = clinic
    method = ta.Occlusion(ta.groups.Cells(), ta.baselines.Typical.fit(frame))
    well = ta.explain(pipeline, frame[:4], method, target=["well", "ill"], outputs="diagnosis")
    assert well.target.values.tolist() == ["well", "ill"]
    np.testing.assert_allclose(well.attribution.sum("target"), 0, atol=1e-12)
    assert ta.explain(pipeline, frame[:4], method).attrs["target"] == "Predicted()"


def test_a_gradient_method_on_an_estimator_names_occlusion(clinic):
    frame, pipeline = clinic
    mode = ta.baselines.Mode.fit(frame)
    with pytest.raises(TypeError, match="IntegratedGradients needs gradients, and Pipeline has none; use Occlusion"):
        ta.explain(pipeline, frame[:3], ta.IntegratedGradients(mode))
    with pytest.raises(TypeError, match=r"Saliency needs gradients, and .* has none; use Occlusion"):
        ta.explain(ta.models.on_arrays(lambda v: v.sum(1)), np.ones((2, 3)), ta.Saliency())


def test_a_tensor_model_cannot_take_categories(clinic):
    with pytest.raises(TypeError, match=r"cannot take columns of categories; give the whole pipeline .*on_frames"):
        ta.explain(torch.nn.Linear(5, 2), clinic[0][:3], ta.Occlusion(ta.groups.Cells()))


def test_a_classifier_without_probabilities_names_the_way_round(clinic):
    x = RNG.normal(size=(20, 2))
    model = LinearSVC().fit(x, x[:, 0] > 0)
    with pytest.raises(TypeError, match=r"without predict_proba; explain its margin: .*decision_function.*Calibrated"):
        ta.explain(model, x, ta.Occlusion(ta.groups.Cells()))
    ds = ta.explain(ta.models.on_arrays(model.decision_function), x, ta.Occlusion(ta.groups.Cells()))
    np.testing.assert_allclose(ds.attribution, x * model.coef_, atol=1e-12)


# ---- signals into numpy models


def test_three_dims_into_a_numpy_model_and_a_pipeline_that_flattens():
    x = signal()
    w = RNG.normal(size=(2, 8))
    ds = ta.explain(ta.models.on_arrays(lambda v: (v * w).sum((1, 2))), x, ta.Occlusion(ta.groups.Cells()))
    np.testing.assert_allclose(ds.attribution, x * w, atol=1e-12)
    flatten = FunctionTransformer(lambda v: v.reshape(len(v), -1))
    pipeline = make_pipeline(flatten, LinearRegression())
    train = RNG.normal(size=(40, 2, 8))
    pipeline.fit(train, (train * w).sum((1, 2)))
    ds = ta.explain(pipeline, x, ta.Occlusion(ta.groups.Along("lead")))
    np.testing.assert_allclose(ds.group_value, (x * w).sum("time"), atol=1e-12)


@pytest.mark.parametrize("method", [ta.IntegratedGradients(), ta.Occlusion(ta.groups.Cells()), ta.SmoothGrad(draws=2)])
def test_padding_may_hold_infinities(method):
    x = np.array([[1.0, 2.0, np.inf], [3.0, 4.0, -np.inf]])
    seen = []

    def model(rows):
        seen.append(rows.detach()[:, 2])
        return rows[:, :2].prod(1)

    ds = ta.explain(model, x, method, valid=np.array([[True, True, False]] * 2))
    assert np.isfinite(ds.attribution[:, :2]).all()
    assert np.isnan(ds.attribution[:, 2]).all()
    assert torch.isinf(torch.cat(seen)).all()


def test_an_estimator_of_signals_is_given_them_whole():
    class Estimator:  # as time series classifiers take them: (case, channel, time)
        classes_ = np.array(["flat", "steep"])

        def predict_proba(self, x):
            assert x.shape[1:] == (2, 4)
            p = 1 / (1 + np.exp(-x[:, 0].sum(1)))
            return np.stack([1 - p, p], 1)

    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    ds = ta.explain(Estimator(), x, ta.Occlusion(ta.groups.Along("dim_1")), target="steep")
    np.testing.assert_allclose(ds.group_value[:, 0], 1 / (1 + np.exp(-x[:, 0].sum(1))) - 0.5)
    assert (ds.group_value[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("x", "way"),
    [
        ([[1.0, 2.0]], r"got list; give numpy.array\(x\)"),
        ({"a": [1.0]}, r"got dict; give pandas.DataFrame\(x\)"),
        (pd.Series([1.0], name="a"), r"got Series; give x.to_frame\(\)"),
        (scipy.sparse.eye(3, format="csr"), r"give x.toarray\(\)"),
        (np.zeros(3, [("a", "f8"), ("b", "f8")]), r"records with the fields \['a', 'b'\]; give pandas.DataFrame\(x\)"),
    ],
)
def test_other_containers_are_refused_with_what_to_make_of_them(x, way):
    with pytest.raises(TypeError, match=way):
        ta.explain(lambda r: r.sum(1), x, ta.Occlusion(ta.groups.Cells()))
