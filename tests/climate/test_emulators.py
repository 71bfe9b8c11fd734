"""Normalisers inside the model, and errors as what is explained."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr import climate as c

RNG = np.random.default_rng(5)
LAT, LON = np.array([50.0, 0.0, -50.0]), np.array([0.0, 90.0, 180.0, 270.0])
X = xr.DataArray(
    15 + 3 * RNG.normal(size=(4, 2, 3, 4)),
    dims=("sample", "lag", "lat", "lon"),
    coords={"lag": [-2, -1], "lat": LAT, "lon": LON},
)
X = X.where(~((X.lat == 0) & (X.lon == 90)))
MEAN = X.mean(("sample", "lag"))
STD = np.sqrt(((X - MEAN) ** 2).mean(("sample", "lag")))  # under numpy 2.0 std warns of land
OUTPUTS = {"lat": X.lat, "lon": X.lon}
TRUTH = xr.DataArray(RNG.normal(size=(4, 3, 4)), dims=("sample", "lat", "lon"), coords={"lat": LAT, "lon": LON})


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1), nn.Flatten(1, 2)
        ).double()


REGION = ta.targets.Region(c.area_weights(X), lon=(0, 180))


def test_physical_fields_through_the_normaliser_are_normalised_ones():
    model = net()
    z = ((X - MEAN) / STD).fillna(0)
    usual = c.State(MEAN + 2 * STD, "warm")
    method = ta.IntegratedGradients(usual, steps=8, rule="gauss-legendre")
    ds = ta.explain(c.normalised(model, X, MEAN, STD, fill=0.0), X, method, target=REGION, outputs=OUTPUTS)
    two = ta.IntegratedGradients(ta.baselines.Constant(2.0), steps=8, rule="gauss-legendre")
    expected = ta.explain(model, z, two, target=REGION, outputs=OUTPUTS, valid=X.notnull())
    np.testing.assert_allclose(ds.attribution, expected.attribution, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ds.prediction, expected.prediction, rtol=1e-12)
    assert ds.attribution.isnull().sum() == 8


@pytest.mark.parametrize("order", [("lon", "sample", "lat", "lag"), ("sample", "lat", "lag", "lon")])
def test_statistics_are_matched_by_label(order):
    x = X.transpose(*order)
    flat = c.normalised(lambda z: z.flatten(1).nansum(1), x, MEAN.isel(lat=[2, 0, 1]).T, STD.isel(lon=[3, 1, 0, 2]))
    found = ta.explain(flat, x, ta.Saliency()).prediction
    np.testing.assert_allclose(found, ((X - MEAN) / STD).sum(("lag", "lat", "lon")), rtol=1e-12, atol=1e-12)


def test_the_wrapped_module_is_still_a_module():
    model = net()
    wrapped = c.normalised(model, X, 15.0, 3.0, fill=0.0)
    assert next(wrapped.parameters()) is next(model.parameters())
    assert wrapped.mean_0.dtype == torch.float64
    assert c.normalised(model, X.astype("float32"), 15.0, 3.0).mean_0.dtype == torch.float32
    ds = ta.explain(wrapped, X, ta.GradCAM("model.2"), target=REGION, outputs=OUTPUTS)
    assert ds.attribution.notnull().any()


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.0, 0.0, "std is not above 0 in 1 cells; give std.where"),
        (0.0, STD.where(STD.lat < 9, -1.0), "std is not above 0 in 4 cells"),
        (X.mean("lat"), 1.0, "mean varies along 'sample'"),
        (MEAN.isel(lat=slice(2)), 1.0, "mean lacks 1 of the input's labels along dim 'lat'"),
        (0.0, STD.rename(lon="x"), "std has dim 'x', which the input lacks"),
    ],
)
def test_statistics_that_do_not_fit(mean, std, message):
    with pytest.raises(ValueError, match=message):
        c.normalised(net(), X, mean, std)


def test_each_of_several_variables_has_its_own_statistics():
    inputs = xr.Dataset({"sst": X, "wind": 2 * X.isel(lat=slice(2)).rename(lat="y")})
    model = lambda sst, wind, age: sst.flatten(1).nansum(1) * wind.flatten(1).nansum(1) + age  # noqa: E731
    mean = inputs.mean(("sample", "lag"))
    std = np.sqrt(((inputs - mean) ** 2).mean(("sample", "lag")))
    physical = c.normalised(model, inputs, mean, std)
    ds = ta.explain(physical, inputs, ta.Saliency(), context={"age": np.arange(4.0)})
    z = (inputs - mean) / std
    expected = z["sst"].sum(("lag", "lat", "lon")) * z["wind"].sum(("lag", "y", "lon")) + np.arange(4.0)
    np.testing.assert_allclose(ds.prediction, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="std_wind is not above 0 in 1 cells"):
        c.normalised(model, inputs, {"sst": 0.0, "wind": 0.0}, {"sst": 1.0, "wind": 0.0})
    for some in ({"sst": 0.0}, 0.0):
        with pytest.raises(KeyError, match=r"mean has none for variable '.*'; give one for each"):
            c.normalised(model, inputs, some, std)


# ---- skill


def test_the_loss_of_each_sample_is_the_target():
    model, filled = net(), X.fillna(15.0)
    weights = c.area_weights(X) * c.box(X, lon=(0, 180))
    y = model(torch.as_tensor(filled.values)).detach().numpy()
    error = y - TRUTH
    targets = {
        "rmse": ta.targets.RootMeanSquare(weights),
        "bias": ta.targets.Region(weights),
        "mse": lambda e: (e**2).mean((1, 2)),
    }
    method = ta.Occlusion(ta.groups.Along("lag"), ta.baselines.Constant(15.0))
    ds = ta.explain(c.errors(model), filled, method, target=targets, context={"truth": TRUTH}, outputs=OUTPUTS)
    expected = {
        "rmse": np.sqrt((error**2).weighted(weights).mean(("lat", "lon"))),
        "bias": error.weighted(weights).mean(("lat", "lon")),
        "mse": (error**2).mean(("lat", "lon")),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ds.prediction.sel(target=name), values, rtol=1e-9)
    without = filled.where(filled.lag == -1, 15.0)  # the first lag taken away
    other = model(torch.as_tensor(without.values)).detach().numpy() - TRUTH
    gone = expected["mse"] - (other**2).mean(("lat", "lon"))
    np.testing.assert_allclose(ds.group_value.sel(target="mse")[:, 0], gone, rtol=1e-8, atol=1e-12)


def test_the_truth_goes_with_its_sample():
    model, filled = net(), X.fillna(15.0).assign_coords(sample=[3, 1, 4, 5])
    truth = TRUTH.assign_coords(sample=[3, 1, 4, 5])
    loss = ta.targets.RootMeanSquare(c.area_weights(X), lon=(0, 360))
    run = lambda x, y: ta.explain(  # noqa: E731
        c.errors(model), x, ta.Saliency(), target=loss, context={"truth": y}, outputs=OUTPUTS, batch_size=3
    )
    whole = run(filled, truth)
    for s in (0, 3):
        one = run(filled.isel(sample=[s]), truth.isel(sample=[s]))
        np.testing.assert_allclose(one.attribution[0], whole.attribution[s], rtol=1e-12)
    with pytest.raises(ValueError, match="'truth' has other sample labels than x"):
        run(filled, truth.isel(sample=[1, 0, 2, 3]))


def test_missing_truth_without_weight_does_no_harm():
    filled, weights = X.fillna(15.0), c.area_weights(X) * X.notnull().all(("sample", "lag"))
    loss = ta.targets.RootMeanSquare(weights)
    ds = [
        ta.explain(c.errors(net()), filled, ta.Saliency(), target=loss, context={"truth": t}, outputs=OUTPUTS)
        for t in (TRUTH, TRUTH.where(weights > 0))
    ]
    xr.testing.assert_identical(*ds)
    assert (ds[0].status == "ok").all()


def test_a_truth_of_another_shape():
    with pytest.raises(ValueError, match=r"the truth has shape \(4, 4, 3\), the forecast \(4, 3, 4\)"):
        ta.explain(
            c.errors(net()),
            X.fillna(0.0),
            ta.Saliency(),
            target=REGION,
            context={"truth": TRUTH.transpose("sample", "lon", "lat")},
            outputs=OUTPUTS,
            check=False,
        )
