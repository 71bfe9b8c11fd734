"""Wrong input: the error names the rule, the value and the fix, before any model call where labels and shapes can tell."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression

import tsattr as ta

LEADS, CLASSES = ["I", "II"], {"class": ["N", "S", "V"]}


class Spy:
    """Three outputs; counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x, **context):
        self.calls += 1
        return torch.stack([x.sum((1, 2)), x.square().sum((1, 2)), x.sin().sum((1, 2))], 1)


X = xr.DataArray(
    np.random.default_rng(0).normal(size=(3, 2, 10)),
    dims=("sample", "lead", "time"),
    coords={"lead": LEADS, "time": np.arange(10) / 10, "sample": ["a", "b", "c"]},
)
TRAIN = X.drop_vars("sample")
b, g = ta.baselines, ta.groups
IG, CELLS = ta.IntegratedGradients(steps=2), g.Cells()


def occlude(groups=CELLS, baseline=None):
    return ta.Occlusion(groups, baseline or ta.baselines.Constant(0.0))


def path(baseline):
    return ta.IntegratedGradients(baseline, steps=2)


# Each case: keyword arguments of explain, the error, its message.
KNOWN_BEFORE = {
    # x itself
    "a list": ({"x": [[1.0]]}, TypeError, "x is an xarray.DataArray or Dataset, a pandas DataFrame, .* got list"),
    "no sample dim": (
        {"x": X.rename(sample="record")},
        ValueError,
        r"x has no sample dim: its dims are \['record', 'lead', 'time'\]; .* x.expand_dims\('sample'\), else .* sample_dim=",
    ),
    "another sample dim": ({"sample_dim": "record"}, ValueError, "x has no dim 'record' to be the sample dim: its dims are"),
    "one sample without its dim": ({"x": X[0]}, ValueError, r"for one sample use x.expand_dims\('sample'\)"),
    "only the sample dim": ({"x": X[:, 0, 0]}, ValueError, r"no dim besides its sample dim 'sample'.*expand_dims\('feature'"),
    "dims too few": ({"x": X.values, "dims": ("sample", "time")}, ValueError, r"dims names 2 dims .* but x has shape \(3, 2, 10\)"),
    "dims for a labelled x": ({"dims": ("sample", "time", "lead")}, ValueError, r"x already has dims .*; dims=\(.* bare arrays"),
    "zero samples": ({"x": X[:0]}, ValueError, "x has no samples: dim 'sample' is empty"),
    "zero cells": ({"x": X[..., :0]}, ValueError, "x has no cells: dim 'time' is empty"),
    "integers": ({"x": X.astype(int)}, TypeError, r"x has dtype int64; attribution needs floating-point cells: give x.astype\('float32'\)"),
    "booleans": ({"x": X > 0}, TypeError, r"x has dtype bool; .* x.astype\('float32'\)"),
    "integers as torch": ({"x": torch.ones(2, 3, 4, dtype=torch.int64)}, TypeError, "x has dtype int64; .* floating-point"),
    "strings": ({"x": xr.DataArray([["a"]], dims=("sample", "time"))}, TypeError, "x has dtype <U1; .* a DataFrame for categories"),
    "complex": ({"x": X * 1j}, TypeError, "x has dtype complex128; attribution needs floating-point cells"),
    "bfloat16": ({"x": torch.ones(2, 2, 3, dtype=torch.bfloat16)}, TypeError, "x is bfloat16, which numpy does not have: give x.float"),
    "infinite": ({"x": X.where(X.sample != "b", np.inf)}, ValueError, "infinite values, in sample b; replace them, or make them NaN"),
    "duplicated columns": (
        {"x": pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])},
        ValueError,
        r"column names must be unique, these are not: \['a'\]",
    ),
    "a column of periods": (
        {"x": pd.DataFrame({"a": pd.period_range("2020", periods=2, freq="M")})},
        TypeError,
        "a model on tensors cannot take columns of categories",
    ),
    "an empty Dataset": ({"x": xr.Dataset(coords={"sample": [1, 2]})}, ValueError, "the Dataset has no variables to explain"),
    "a variable without samples": (
        {"x": xr.Dataset({"ecg": X, "rate": 360.0})},
        ValueError,
        r"variables \['rate'\] lack the sample dim 'sample'; give what is not explained in context=",
    ),
    "an integer variable": (
        {"x": xr.Dataset({"ecg": X, "age": ("sample", [1, 2, 3])})},
        TypeError,
        "variable 'age' has dtype int64",
    ),
    # valid
    "valid of another shape": ({"valid": np.ones((3, 2), bool)}, ValueError, r"valid has shape \(3, 2\), x has \(3, 2, 10\)"),
    "valid of numbers": ({"valid": np.ones(X.shape)}, TypeError, "valid is boolean, True where a cell counts, got float64"),
    "valid with another dim": (
        {"valid": xr.DataArray([True], dims="beat")},
        ValueError,
        "valid has dim 'beat', which the input lacks",
    ),
    "valid of no variable": (
        {"x": xr.Dataset({"ecg": X}), "valid": {"ecgs": X > 0}},
        KeyError,
        r"valid names 'ecgs', which is none of the variables \['ecg'\]",
    ),
    "valid for a Dataset": ({"x": xr.Dataset({"ecg": X}), "valid": X > 0}, TypeError, "valid for several variables is a Dataset or"),
    # method
    "a class": ({"method": ta.Saliency}, TypeError, r"method is an object with its settings: Saliency\(...\), not the class"),
    "a name": ({"method": "ig"}, TypeError, r"such as IntegratedGradients\(...\) or Occlusion\(...\), got 'ig'"),
    "a baseline that is a number": ({"method": ta.IntegratedGradients(0.0)}, TypeError, r"got 0.0; a number or an array is Constant"),
    "a baseline class": ({"method": path(ta.baselines.Mean)}, TypeError, r"Mean\(...\), not the class"),
    "groups class": ({"method": occlude(ta.groups.Cells)}, TypeError, r"Cells\(...\), not the class"),
    # baselines and groups that do not fit x
    "baseline of another shape": (
        {"method": path(ta.baselines.Constant(np.zeros((10, 2))))},
        ValueError,
        r"Constant baseline has shape \(10, 2\), but a sample has shape \(2, 10\) \(dims \['lead', 'time'\]\)",
    ),
    "baseline of other leads": (
        {"method": path(ta.baselines.Constant(xr.DataArray([0.0, 1.0], dims="lead", coords={"lead": ["I", "III"]})))},
        ValueError,
        r"Constant baseline lacks 1 of the input's labels along dim 'lead', such as \['II'\]",
    ),
    "reference of another length": (
        {"method": path(ta.baselines.Samples.fit(TRAIN[..., :8]))},
        ValueError,
        r"the reference of Samples lacks 2 of the input's labels along dim 'time', such as \[0.8",
    ),
    "reference of another shape": (
        {"method": path(ta.baselines.Samples.fit(np.zeros((5, 2, 8))))},
        ValueError,
        r"the reference of Samples has shape \(2, 8\), but a sample has shape \(2, 10\)",
    ),
    "window longer than the signal": (
        {"method": occlude(ta.groups.Windows(time="2s"))},
        ValueError,
        "a window of '2s' is longer than dim 'time', which spans 1 s",
    ),
    "window with another unit": (
        {"method": occlude(ta.groups.Windows(time="5deg"))},
        ValueError,
        "'5deg' is not a size along dim 'time', whose coordinate is a time",
    ),
    "window in units without coordinate": (
        {"x": X.drop_vars("time"), "method": occlude(ta.groups.Windows(time="200ms"))},
        ValueError,
        r"needs a coordinate on dim 'time', .* int number of cells, or assign one: x.assign_coords\(time=...\)",
    ),
    "window along no dim": ({"method": occlude(ta.groups.Windows(tme=2))}, KeyError, r"no dim 'tme' .* \['lead', 'time'\]"),
    "blur along no dim": ({"method": path(ta.baselines.Blur(tme=2))}, KeyError, r"no dim 'tme' .* \['lead', 'time'\]"),
    "one variable without its baseline": (
        {"x": xr.Dataset({"ecg": X, "eeg": X}), "method": path({"ecg": ta.baselines.Mean()})},
        KeyError,
        r"the baseline of several variables names each of \['ecg', 'eeg'\]; 'eeg' has none",
    ),
    "a baseline of no variable": (
        {"x": xr.Dataset({"ecg": X}), "method": path({"ecg": ta.baselines.Mean(), "age": ta.baselines.Mean()})},
        KeyError,
        "'age' is none of them",
    ),
    "one baseline that fits one variable": (
        {"x": xr.Dataset({"ecg": X, "age": ("sample", np.ones(3))}), "method": path(ta.baselines.Blur(time=2))},
        KeyError,
        "variable 'age': no dim 'time' to work along.*; a mapping gives each variable its own baseline",
    ),
    "groups that fit no variable": (
        {"x": xr.Dataset({"ecg": X, "age": ("sample", np.ones(3))}), "method": occlude(ta.groups.Windows(tme=2))},
        KeyError,
        "no dim 'tme' to work along.*; a mapping gives each variable its own groups",
    ),
    "a mapping for one variable": ({"method": path({"ecg": ta.baselines.Mean()})}, TypeError, "a mapping of baselines is for an input of several"),
    "reference of other leads": (
        {"method": path(ta.baselines.Constant(0.0)), "reference": TRAIN.assign_coords(lead=["I", "III"])},
        ValueError,
        r"the reference of explain lacks 1 of the input's labels along dim 'lead', such as \['II'\]",
    ),
    "reference without samples": (
        {"method": path(ta.baselines.Constant(0.0)), "reference": TRAIN[0]},
        ValueError,
        r"the reference has dims .*, none of them 'sample'; say which holds its samples",
    ),
    # target and outputs
    "no targets": ({"target": []}, ValueError, "target is an empty list: nothing to explain"),
    "unknown label": (
        {"target": "X", "outputs": CLASSES},
        KeyError,
        "no label 'X' on output axis 'class'; its labels are 'N', 'S', 'V'",
    ),
    "one unknown label of several": ({"target": ["N", "X"], "outputs": CLASSES}, KeyError, "no label 'X' on output axis 'class'"),
    "out of range": (
        {"target": 3, "outputs": CLASSES},
        IndexError,
        r"target 3 is out of range: output axis 'class' has 3 entries \(0 to 2\)",
    ),
    "another axis": ({"target": ta.targets.Output(time=0), "outputs": CLASSES}, KeyError, r"no output axis 'time'; the model's are"),
    "a boolean target": ({"target": True}, TypeError, "target is an int, a label, .* got True, and no output is labelled so"),
    "a target class": ({"target": ta.targets.Predicted}, TypeError, r"Predicted\(...\), not the class"),
    "a float target": ({"target": 0.5}, TypeError, "target is an int .* got 0.5"),
    # the model and how it is run
    "no model": ({"model": "resnet"}, TypeError, "the model is a torch module, a callable on tensors, .* got 'resnet'"),
    "a model class": ({"model": torch.nn.Linear}, TypeError, "the model is a torch module, a callable on tensors"),
    "an estimator class": ({"model": LogisticRegression}, TypeError, "or a fitted scikit-learn estimator, got"),
    "float64 for a float32 model": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3))},
        TypeError,
        r"x is float64, the model's parameters are float32; give x.astype\('float32'\), or convert the model",
    ),
    "a bfloat16 model": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3)).bfloat16()},
        TypeError,
        r"parameters are bfloat16; give the model in float64, model.to\(torch.float64\), or x as float32 with autocast='bfloat16'",
    ),
    "float64 for a float32 model under autocast": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3)), "autocast": "bfloat16"},
        TypeError,
        r"x is float64, the model's parameters are float32; give x.astype\('float32'\)",
    ),
    "a lazy model": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))},
        ValueError,
        "layers whose sizes are not known yet .*: call it once on some rows",
    ),
    "progress in words": ({"progress": "yes"}, TypeError, "progress is True, False or a callable .* got 'yes'"),
    "a dry run in words": ({"dry_run": "no"}, TypeError, "dry_run is True, False or 'rows', got 'no'"),
    "a check in words": ({"check": "no"}, TypeError, "check is True or False, got 'no'"),
    "a flag in words": ({"method": ta.Saliency(absolute="no")}, TypeError, "absolute of Saliency is True or False, got 'no'"),
    "a window step of 0 ms": (
        {"method": ta.Occlusion(g.Windows(time="200ms", step="0ms"))},
        ValueError,
        "step '0ms' makes no end of windows along 'time', more than 1000000; give a longer step",
    ),
    "a window step of 1 ns": (
        {"method": ta.Occlusion(g.Windows(time="200ms", step="1ns"))},
        ValueError,
        "step '1ns' makes .* windows along 'time', more than 1000000",
    ),
    "a constant that is true": (
        {"method": ta.Occlusion(g.Cells(), b.Constant(True))},
        TypeError,
        r"the baseline Constant\(value=True\) holds booleans",
    ),
    "a complex constant": ({"method": ta.Occlusion(g.Cells(), b.Constant(1j))}, TypeError, "holds complex numbers"),
    "an infinite constant": ({"method": ta.Occlusion(g.Cells(), b.Constant(np.inf))}, ValueError, "holds infinite values"),
    "samples of text": (
        {"method": ta.Occlusion(g.Cells(), b.Samples.fit(X.astype(str)))},
        TypeError,
        "the reference of Samples holds text, and the input numbers",
    ),
    "no rows": ({"batch_size": 0}, ValueError, "batch_size is 'auto' or a number of rows of at least 1, got 0"),
    "half a row": ({"batch_size": 2.5}, ValueError, "batch_size is 'auto' or .* got 2.5"),
    "an unknown autocast": ({"autocast": "float8"}, ValueError, "autocast is 'bfloat16', 'float16' or None, got 'float8'"),
    "half a seed": ({"seed": 0.5}, TypeError, "seed is a whole number, got 0.5"),
    "an unknown device": ({"device": "gpu"}, ValueError, "device 'gpu' cannot be used: .*; give device='cpu'"),
    "a device that holds nothing": ({"device": "meta"}, ValueError, "device 'meta' cannot be used"),
    "a dtype torch lacks": ({"x": X.astype(np.longdouble)}, TypeError, r"which torch does not have; give x.astype\('float64'\)"),
    "context of another length": (
        {"context": {"age": [1.0]}},
        ValueError,
        r"context 'age' has shape \(1,\); its first axis must hold the 3 samples",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN_BEFORE)
def test_what_labels_and_shapes_can_tell_is_raised_before_any_model_call(case):
    changes, error, message = KNOWN_BEFORE[case]
    spy = Spy()
    with pytest.raises(error, match=message):
        ta.explain(**{"model": spy, "x": X, "method": IG, "target": 0} | changes)
    assert spy.calls == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ta.IntegratedGradients(steps=0), "steps is a whole number of at least 1, got 0"),
        (lambda: ta.IntegratedGradients(draws=1.5), "draws is a whole number of at least 1, got 1.5"),
        (lambda: ta.IntegratedGradients(max_steps=True), "max_steps is a whole number of at least 1, got True"),
        (
            lambda: ta.IntegratedGradients(rule="trapezoid"),
            "rule is 'auto', 'midpoint', 'gauss-legendre' or 'left', got 'trapezoid'",
        ),
        (lambda: ta.IntegratedGradients(tolerance=0), "tolerance must be > 0, got 0"),
        (lambda: ta.Occlusion(CELLS, draws=0), "draws is a whole number of at least 1, got 0"),
        (lambda: ta.SmoothGrad(noise=0), "SmoothGrad needs noise > 0, got 0"),
        (lambda: ta.SmoothGrad(draws=-1), "draws is a whole number of at least 1, got -1"),
    ],
)
def test_settings_are_checked_where_they_are_written(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- what only the model's outputs can tell


@pytest.mark.parametrize("method", [IG, occlude(ta.groups.Along("lead")), ta.Saliency()])
@pytest.mark.parametrize(
    ("target", "outputs", "error", "message"),
    [
        (3, None, IndexError, r"target 3 is out of range: output axis 'output' has 3 entries \(0 to 2\)"),
        ("V", None, KeyError, r"'V' is a label, but output axis 'output' has none; name them, e.g. outputs=\{'output'"),
        (0, {"class": ["N", "S"]}, ValueError, "outputs gives 2 labels for axis 'class', but the model's output has 3"),
        (
            0,
            ("time", "class"),
            ValueError,
            r"outputs names 2 axes .*, but the model's output has shape \(3,\) per sample",
        ),
    ],
)
def test_what_the_first_output_tells_is_raised_after_one_call(method, target, outputs, error, message):
    spy = Spy()
    with pytest.raises(error, match=message):
        ta.explain(spy, X, method, target=target, outputs=outputs, batch_size=1)
    assert spy.calls == 1


def test_a_model_that_loses_rows():
    with pytest.raises(
        ValueError, match=r"returned shape \(2, 10\) for 3 rows; .* one output for each row, rows first"
    ):
        ta.explain(lambda x: x.sum(0), X, IG, target=0, check=False)


def test_a_model_on_strings():
    with pytest.raises(TypeError, match="the model gives values of dtype <U1; explain a number, such as predict_proba"):
        ta.explain(ta.models.on_arrays(lambda x: np.array(["a"] * len(x))), X, occlude())


def test_a_baseline_with_holes():
    train = TRAIN.where(TRAIN.time != 0.3)
    with pytest.raises(
        ValueError, match=r"the baseline gives NaN at .* cells that are present in the input; give it a reference"
    ):
        ta.explain(Spy(), X, path(ta.baselines.Samples.fit(train)), target=0)


def test_a_baseline_of_your_own_that_changes_the_shape():
    class Crop:
        def fill(self, x, absent, key):
            return x[:, :1]

    with pytest.raises(ValueError, match=r"baseline .*Crop.* gave shape \(3, 1, 10\) for rows of shape \(3, 2, 10\)"):
        ta.explain(Spy(), X, path(Crop()), target=0)


# ---- trouble that is a sample's own: named in one warning, and no error


def test_an_all_missing_sample_is_a_status_and_a_warning():
    x = X.where(X.sample != "b")
    with pytest.warns(ta.ExplanationWarning, match=r"^all missing: sample b \(see the variable `status`\)$"):
        ds = ta.explain(lambda r: Spy()(r.nan_to_num()), x, IG, target=0)
    assert ds.status.values.tolist() == ["ok", "all missing", "ok"]


def test_non_finite_outputs_are_a_status_and_a_warning():
    def model(r):
        y = Spy()(r)
        return torch.where((r[:, :1, 0] > 50), torch.nan, y)

    x = X.copy()
    x.loc[{"sample": ["a", "c"]}] += 100.0
    with pytest.warns(ta.ExplanationWarning, match="^non-finite output: sample a, c "):
        ds = ta.explain(model, x, occlude(ta.groups.Along("lead")), target=0)
    assert ds.status.values.tolist() == ["non-finite output", "ok", "non-finite output"]
    assert np.isfinite(ds.attribution.sel(sample="b")).all()


def test_a_module_in_float32_takes_float32_and_mixed_variables_are_named():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3))
    assert ta.explain(net, X.astype("float32"), IG, target=0).attribution.dtype == "float32"

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, ecg, age):
            return self.net(ecg) + age[:, None]

    both = xr.Dataset({"ecg": X.astype("float32"), "age": ("sample", np.ones(3))})
    with pytest.raises(TypeError, match="variable 'age' is float64, the model's parameters are float32"):
        ta.explain(Two(), both, IG, target=0)


@pytest.mark.parametrize("value", [1e300, -1e39])
def test_values_too_large_for_the_inputs_numbers_are_refused_by_name(value):
    x = xr.DataArray(np.ones((3, 2, 8), np.float32), dims=("sample", "feature", "time"))
    cells = ta.groups.Cells()
    for baseline in (ta.baselines.Constant(value), ta.baselines.Samples.fit(0 * x.astype(float) + value)):
        for method in (ta.Occlusion(cells, baseline), ta.IntegratedGradients(baseline), ta.WinIT(3, baseline, draws=1)):
            outputs = ("time",) if isinstance(method, ta.WinIT) else None
            target = None if outputs else ta.targets.Output(0)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "the constant baseline")
                with pytest.raises(
                    ValueError, match=r"infinite values in float32, whose largest number is 3.4e\+38.*float64"
                ):
                    ta.explain(lambda x: x.sum(1), x, method, outputs=outputs, target=target)
    wide = ta.explain(lambda x: x.sum((1, 2)), 1 + 0 * x.astype(float), ta.Occlusion(cells, ta.baselines.Constant(3.0)))
    np.testing.assert_array_equal(wide.attribution, -2)
