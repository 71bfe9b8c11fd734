"""Every output at once: the result has the outputs' own dims, and each entry is that of a call by itself."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression

import tsattr as ta
from tests.conftest import Spy

Each, Output = ta.targets.Each, ta.targets.Output
X = xr.DataArray(
    np.random.default_rng(0).normal(size=(3, 4, 2)),
    dims=("sample", "lat", "lon"),
    coords={"sample": ["a", "b", "c"], "lat": [10.0, 20.0, 30.0, 40.0]},
)
LEADS = xr.DataArray([1, 3, 6], dims="lead", attrs={"units": "month"})
OUTPUTS = {"lead": LEADS, "lat": [5.0, 6.0], "lon": [100.0, 110.0]}
ONE = {"zero": ta.baselines.Constant(0.0)}
METHODS = {
    "saliency": ta.Saliency(absolute=False),
    "ig": ta.IntegratedGradients(steps=4),
    "occlusion": ta.Occlusion(ta.groups.Along("lat")),
    "shapley": ta.ShapleySampling(ta.groups.Along("lat"), draws=4),
    "expected gradients": ta.IntegratedGradients(ta.baselines.Gaussian(0.3), steps=1, draws=3),
}


def emulator():
    """Fields of three leads from one field: (rows, lead, lat, lon)."""
    torch.manual_seed(0)
    flat = torch.nn.Linear(8, 12).double()
    return torch.nn.Sequential(torch.nn.Flatten(), flat, torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 2, 2)))


NET = emulator()


@pytest.mark.parametrize("name", METHODS)
def test_each_entry_is_that_of_a_call_by_itself(name):
    method = METHODS[name]
    ds = ta.explain(NET, X, method, target=Each("lead", "lat", "lon"), outputs=OUTPUTS)
    assert ds.attribution.dims == ("sample", "lat", "lon", "lead", "output_lat", "output_lon")
    assert ds.prediction.dims == ("sample", "lead", "output_lat", "output_lon")
    for k, i, j in np.ndindex(3, 2, 2):
        alone = ta.explain(NET, X, method, target=Output.at(lead=k, lat=i, lon=j), outputs=OUTPUTS)
        one = ds.isel(lead=k, output_lat=i, output_lon=j)
        np.testing.assert_allclose(one.attribution, alone.attribution, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(one.prediction, alone.prediction, rtol=1e-12)
        if "group_value" in alone:
            np.testing.assert_allclose(one.group_value, alone.group_value, rtol=1e-12, atol=1e-14)


def test_labels_and_units_are_those_of_the_outputs():
    ds = ta.explain(NET, X, ta.Saliency(), target=Each(), outputs=OUTPUTS)
    assert ds.lead.values.tolist() == [1, 3, 6]
    assert ds.lead.attrs == {"units": "month"}
    assert ds.output_lat.values.tolist() == [5.0, 6.0]
    assert ds.lat.values.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert "target" not in ds.dims
    assert ds.attrs["target"] == "Each()"
    assert ds.attribution.attrs["long_name"] == "attribution of Each()"


def test_all_share_the_forward_passes():
    spy = Spy(NET)
    method = ta.Occlusion(ta.groups.Along("lat"))
    ds = ta.explain(lambda x: spy(x), X, method, target=Each(), outputs=OUTPUTS, check=False)
    alone = ta.explain(NET, X, method, target=Output.at(lead=0, lat=0, lon=0), outputs=OUTPUTS, check=False)
    assert spy.count == int(ds.model_evaluations.sum()) + ds.attrs["trial_rows"]
    assert ds.model_evaluations.values.tolist() == alone.model_evaluations.values.tolist()


def test_a_target_of_the_axes_that_are_left():
    region = ta.targets.Region(lat=(5, 5), lon=(100, 110))
    ds = ta.explain(NET, X, ta.IntegratedGradients(steps=4), target=Each("lead", target=region), outputs=OUTPUTS)
    for lead in (1, 3, 6):
        one = ta.targets.Region(lat=(5, 5), lon=(100, 110), lead=float(lead))
        alone = ta.explain(NET, X, ta.IntegratedGradients(steps=4), target=one, outputs=OUTPUTS)
        np.testing.assert_allclose(ds.attribution.sel(lead=lead), alone.attribution, rtol=1e-10, atol=1e-14)


def test_the_probability_of_each_class():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3)).double()
    settings = {"outputs": {"class": ["N", "S", "V"]}}
    ds = ta.explain(
        net, X, ta.Saliency(absolute=False), target=Each("class", target=ta.targets.Probability), **settings
    )
    assert ds["class"].values.tolist() == ["N", "S", "V"]
    np.testing.assert_allclose(ds.prediction.sum("class"), 1)
    np.testing.assert_allclose(ds.attribution.sum("class"), 0, atol=1e-12)
    alone = ta.explain(net, X, ta.Saliency(absolute=False), target=ta.targets.Probability("S"), **settings)
    np.testing.assert_allclose(ds.attribution.sel({"class": "S"}), alone.attribution, rtol=1e-12)


def test_the_class_at_each_time():
    def net(x):
        return torch.stack([x.cumsum(1), -x.cumsum(1)], 2)  # (rows, time, class)

    x = xr.DataArray(np.random.default_rng(0).normal(size=(2, 5)), dims=("sample", "time"))
    settings = {"outputs": {"time": None, "class": ["no", "yes"]}}
    ds = ta.explain(net, x, ta.Saliency(), target=Each("time", target=ta.targets.Probability("yes")), **settings)
    assert ds.attribution.dims == ("sample", "time", "output_time")
    later = np.arange(5)[:, None] > np.arange(5)  # by the input's time and the output's
    assert (ds.attribution.values[:, later] == 0).all()
    assert (ds.attribution.values[:, ~later] > 0).all()


def test_outputs_that_nobody_described_are_looked_at():
    ds = ta.explain(NET, X, ta.Saliency(), target=Each("output_1", "output_2", "output_3"))
    assert ds.attribution.sizes == {"sample": 3, "lat": 4, "lon": 2, "output_1": 3, "output_2": 2, "output_3": 2}
    named = ta.explain(NET, X, ta.Saliency(), target=Each(), outputs=OUTPUTS)
    np.testing.assert_allclose(ds.attribution, named.attribution)
    assert ds.attrs["trial_rows"] > named.attrs["trial_rows"]


def test_the_classes_of_an_estimator():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(frame, np.where(frame.a > 0, "high", np.where(frame.b > 0, "mid", "low")))
    method = ta.Occlusion(ta.groups.Along("feature"), ta.baselines.Mean.fit(frame))
    ds = ta.explain(model, frame[:4], method, target=Each("output"))
    assert ds.output.values.tolist() == ["high", "low", "mid"]
    np.testing.assert_allclose(ds.prediction.sum("output"), 1)
    assert ds.group_value.dims == ("sample", "group", "output")


def test_members_of_an_ensemble_and_a_dry_run():
    other = emulator()
    other[1].weight.data *= 2
    both = ta.models.Ensemble([NET, other])
    ds = ta.explain(both, X, ta.Saliency(), target=Each("lead", target=Output(lat=5.0, lon=100.0)), outputs=OUTPUTS)
    assert ds.standard_error.dims == ds.attribution.dims == ("sample", "lat", "lon", "lead")
    cost = ta.explain(NET, X, ta.Saliency(), target=Each(), outputs=OUTPUTS, dry_run=True)
    assert cost.attrs["rows"] > 0


def test_several_seeds():
    method = ta.ShapleySampling(ta.groups.Along("lat"), draws=2)
    target = Each("lead", target=Output(lat=5.0, lon=100.0))
    ds = ta.explain(NET, X, method, target=target, outputs=OUTPUTS, seed=[0, 1])
    runs = [ta.explain(NET, X, method, target=target, outputs=OUTPUTS, seed=s) for s in (0, 1)]
    np.testing.assert_allclose(ds.attribution, sum(r.attribution for r in runs) / 2, rtol=1e-12)


def test_one_entry_keeps_its_dim():
    ds = ta.explain(
        lambda x: x.sum((1, 2))[:, None], X, ta.Saliency(), target=Each("horizon"), outputs={"horizon": ["day 1"]}
    )
    assert ds.prediction.dims == ("sample", "horizon")


def test_results_go_to_file_and_back(tmp_path):
    ds = ta.explain(NET, X, ta.Occlusion(ta.groups.Along("lat")), target=Each(), outputs=OUTPUTS)
    ta.io.write_result(ds, tmp_path / "a.nc")
    xr.testing.assert_equal(ta.io.read_result(tmp_path / "a.nc"), ds)


def test_scores_have_the_outputs_dims():
    target = Each("lead", target=Output(lat=5.0, lon=100.0))
    ds = ta.explain(NET, X, ta.IntegratedGradients(steps=4), target=target, outputs=OUTPUTS)
    settings = {
        "outputs": OUTPUTS,
        "fills": ONE,
        "groups": ta.groups.Cells(),
        "steps": 4,
    }
    scores = ta.evaluate(NET, X, ds, target=target, **settings)
    assert scores.deletion.sizes["lead"] == 3
    alone = ta.explain(NET, X, ta.IntegratedGradients(steps=4), target=Output.at(lead=0, lat=0, lon=0), outputs=OUTPUTS)
    expected = ta.evaluate(NET, X, alone, target=Output.at(lead=0, lat=0, lon=0), **settings)
    np.testing.assert_allclose(scores.deletion.sel(lead=1), expected.deletion, rtol=1e-10)


def test_comparisons_take_it():
    target = Each("lead", target=Output(lat=5.0, lon=100.0))
    methods = {"IG": ta.IntegratedGradients(steps=4), "slope": ta.Saliency(absolute=False)}
    settings = {"fills": ONE, "groups": ta.groups.Cells(), "steps": 4, "resamples": 50}
    tb = ta.compare(NET, X, methods, target=target, outputs=OUTPUTS, **settings)
    named = {f"lead {k}": Output.at(lead=k, lat=0, lon=0) for k in range(3)}
    same = ta.compare(NET, X, methods, target=named, outputs=OUTPUTS, **settings)
    np.testing.assert_allclose(tb.score, same.score, rtol=1e-10)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (lambda: Each("horizon"), KeyError, "no output axis 'horizon'; the model's are"),
        (lambda: Each("lead"), ValueError, r"Each\('lead'\) leaves output axis 'lat' open: name it too, or .* target="),
        (lambda: Each("lead", "lead"), ValueError, "names every axis once"),
        (lambda: Each(1), TypeError, "names output axes, as Each"),
        (
            lambda: Each("lead", target=ta.targets.Margin),
            TypeError,
            "one of the classes Output, Probability, LogOdds, got Margin",
        ),
        (lambda: Each("lead", target=Each("lat")), TypeError, "name all axes in one"),
        (
            lambda: [Each("lead"), Output.at(lead=0, lat=0, lon=0)],
            TypeError,
            "stands for several targets, and is given by itself",
        ),
    ],
)
def test_what_cannot_be(target, error, message):
    with pytest.raises(error, match=message):
        ta.explain(NET, X, ta.Saliency(), target=target(), outputs=OUTPUTS)


@pytest.mark.parametrize("name", ["class", "lag", "fill", "time", "output_time"])
def test_an_axis_never_takes_a_name_that_is_taken(name):
    x = xr.DataArray(
        np.random.default_rng(0).normal(size=(3, 5, 1)),
        dims=("sample", "time", "output_time"),
        coords={"time": np.arange(5) / 10, "class": ("sample", ["N", "S", "N"]), "lag": 5},
    )
    settings = {"target": Each(name, "horizon"), "outputs": {name: [1, 2], "horizon": ["day 1", "day 2"]}}

    def net(x):
        return torch.stack([x.sum((1, 2)), x.prod(1)[:, 0]], 1)[:, :, None] * torch.tensor([1.0, 2.0])

    ds = ta.explain(net, x, ta.Saliency(), **settings)
    own = "output_output_time" if "time" in name else f"output_{name}"
    assert ds.attribution.dims == (*x.dims, own, "horizon")
    assert ds[own].values.tolist() == [1, 2]
    assert ds["class"].values.tolist() == ["N", "S", "N"]
    assert ds.lag.item() == 5
    tb = ta.compare(net, x, {"slope": ta.Saliency(), "given": ds}, **settings, fills=ONE, resamples=20)
    assert tb.deletion.sizes[own] == tb.deletion.sizes["horizon"] == 2


def test_lags_of_the_input_and_of_the_output():
    x = xr.DataArray(np.random.default_rng(0).normal(size=(2, 6, 1)), dims=("sample", "time", "feature"))

    def net(x):
        return torch.cat([x.cumsum(1), -2 * x.cumsum(1)], 2)  # (rows, time, lag)

    settings = {"outputs": {"time": None, "lag": ["a", "b"]}}
    ds = ta.explain(net, x, ta.WinIT(window=2), target=Each("lag"), **settings)
    assert ds.attribution.dims == ("sample", "time", "feature", "lag", "output_lag")
    xr.testing.assert_identical(
        ds.attribution,
        ta.explain(net, x, ta.WinIT(window=2), target=Each(), **settings).attribution.assign_attrs(
            ds.attribution.attrs
        ),
    )
    with pytest.raises(KeyError, match=r"no output axis 'time'.*this method reads the model at every time"):
        ta.explain(net, x, ta.WinIT(window=2), target=Each("time", "lag"), **settings)


def test_a_model_of_one_number_has_no_axes():
    ds = ta.explain(lambda x: x.sum((1, 2)), X, ta.Saliency(), target=Each())
    assert ds.attribution.dims == X.dims
    assert ds.prediction.dims == ("sample",)


def test_maps_are_matched_by_the_labels_of_the_outputs():
    target = Each("lead", target=Output(lat=5.0, lon=100.0))
    ds = ta.explain(NET, X, ta.IntegratedGradients(steps=4), target=target, outputs=OUTPUTS)
    settings = {"target": target, "outputs": OUTPUTS, "fills": ONE, "groups": ta.groups.Cells(), "steps": 4}
    scores = ta.evaluate(NET, X, ds, **settings)
    xr.testing.assert_allclose(ta.evaluate(NET, X, ds.sel(lead=[6, 1, 3]), **settings), scores)
    with pytest.raises(ValueError, match=r"along 'lead' is of \[1, 3\], and the model's outputs are \[1, 3, 6\]"):
        ta.evaluate(NET, X, ds.sel(lead=[1, 3]), **settings)
    with pytest.raises(ValueError, match=r"along 'lead' is of \[0, 1\], and"):
        ta.evaluate(NET, X, ds.sel(lead=[1, 3]).drop_vars("lead"), **settings)


def test_a_labelled_example_of_the_outputs_is_refused_the_names_of_results():
    truth = xr.DataArray(np.zeros((3, 2)), dims=("sample", "group"))
    with pytest.raises(ValueError, match="outputs names an axis 'group'"):
        ta.explain(lambda x: x.sum(2)[:, :2], X, ta.Saliency(), target=Each(), outputs=truth)


def test_outputs_that_never_have_a_value_are_told():
    land = torch.tensor([False, True, False])

    def net(x):
        return torch.where(land, torch.nan, x.sum((1, 2))[:, None])

    settings = {"target": Each("cell"), "outputs": {"cell": list("abc")}}
    with pytest.warns(ta.ExplanationWarning) as said:
        ds = ta.explain(net, X, ta.Saliency(), **settings)
    assert any("1 of 3 outputs are NaN for every sample" in str(w.message) for w in said)
    assert (ds.status == "non-finite output").all()
    known = [0, 2]
    settings["outputs"] = {"cell": ["a", "c"]}
    ds = ta.explain(lambda x: net(x)[:, known], X, ta.Saliency(), **settings)
    assert (ds.status == "ok").all()
