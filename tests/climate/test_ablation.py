"""Ablation against closed forms, loops and brute-force bootstraps: what a planted model loses without its region or its past."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression
from torch import nn

import tsattr as ta
from tests.reference import interval_of_resamples
from tsattr.climate import area_weights, disc, distance, random_regions
from tsattr.climate.ablation import Retrain, ablation
from tsattr.climate.blocks import Blocks
from tsattr.climate.removals import ablated

ZERO = ta.baselines.Constant(0.0)
LAT, LON, LAGS = np.array([-60.0, -20.0, 20.0, 60.0]), np.arange(0.0, 360.0, 45.0), np.array([-3, -2, -1])


def histories(n=96, seed=0, land=True):
    """White noise (sample, lag, lat, lon), so that what one cell is worth is its own square."""
    values = np.random.default_rng(seed).normal(size=(n, 3, 4, 8))
    coords = {"sample": np.arange(n), "lag": LAGS, "lat": LAT, "lon": LON}
    x = xr.DataArray(values, dims=("sample", "lag", "lat", "lon"), coords=coords)
    return x.where((x.lat < 50) | (x.lon > 100)) if land else x


def kernel(x, length=4000.0, tau=1.0):
    km = distance(x, lat=20, lon=180)
    return np.exp(-km / length) * np.exp(xr.DataArray(LAGS, dims="lag", coords={"lag": LAGS}) / tau)


class Box(nn.Module):
    """The planted kernel's sum over the valid cells."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight.transpose("lag", "lat", "lon").values))

    def forward(self, x):
        return torch.nansum(x * self.weight, (1, 2, 3))


def planted():
    x = histories()
    w = kernel(x)
    y = (x * w).sum(["lag", "lat", "lon"])
    return Box(w), x, y, w


# --------------------------------------------------------------------------------------------------------- known answers


def test_a_planted_model_loses_what_the_cells_are_worth():
    """The truth is the model itself: without some cells it is wrong by exactly their sum."""
    model, x, y, w = planted()
    region = disc(x, 5000, lat=20, lon=180)
    ds = ablation(model, x, y, fill=ZERO, region=region, lags=(1, 2, 3), controls=12, chunk=17)
    assert ds.case.values.tolist() == ["intact", "keep region", "drop region", "last 1", "last 2", "last 3"]
    parts = {
        "intact": x.isel(lag=[]),
        "keep region": x.where(~region),
        "drop region": x.where(region),
        "last 1": x.sel(lag=[-3, -2]),
        "last 2": x.sel(lag=[-3]),
        "last 3": x.isel(lag=[]),
    }
    for case, gone in parts.items():
        lost = (gone * w).sum(["lag", "lat", "lon"])
        assert float(ds.rmse.sel(case=case)) == pytest.approx(float(np.sqrt((lost**2).mean())), abs=1e-12)
        assert float(ds.acc.sel(case=case)) == pytest.approx(float(xr.corr(y, y - lost)), abs=1e-12)
    np.testing.assert_allclose(ds.rmse_change, ds.rmse, atol=1e-12)  # nothing was lost at first
    assert ds.rmse_change_low.sel(case="drop region") > 0
    assert (ds.rmse_random.sel(case="drop region") < ds.rmse.sel(case="drop region")).all()
    assert (ds.rmse_random.sel(case="keep region") > ds.rmse.sel(case="keep region")).all()
    assert ds.rmse_random.sel(case="last 1").isnull().all()
    assert ds.rmse_random.dims == ("case", "control")
    assert ds.attrs["retrained"] == 0


def test_a_random_region_is_asked_as_the_region_is():
    model, x, y, _ = planted()
    region = disc(x, 5000, lat=20, lon=180)
    ds = ablation(model, x, y, fill=ZERO, region=region, controls=3, seed=5)
    valid = x[0].notnull().any("lag")
    for k, other in enumerate(random_regions(region, 3, valid=valid, seed=5)):
        alone = ablation(model, x, y, fill=ZERO, absent={"keep": ~other, "drop": other})
        for case in ("keep", "drop"):
            for name in ("rmse", "acc"):
                found = ds[f"{name}_random"].sel(case=f"{case} region").isel(control=k)
                assert float(found) == pytest.approx(float(alone[name].sel(case=case)), rel=1e-12)


def test_skill_of_a_field_by_a_loop():
    """Area-weighted over latitude and longitude, land left out, leads kept apart."""
    rng = np.random.default_rng(0)
    x = histories(20, land=False)
    y = x.isel(lag=2, drop=True).expand_dims(lead=[1, 6], axis=1) + xr.DataArray(
        rng.normal(size=(20, 2, 4, 8)), dims=("sample", "lead", "lat", "lon")
    )
    y[:, 0, 1, 3] = np.nan
    f = lambda x: torch.stack([x[:, 2], 0.5 * x[:, 1]], 1)  # noqa: E731
    gone = xr.DataArray(LON < 100, dims="lon", coords={"lon": LON})
    ds = ablation(f, x, y, fill=ZERO, absent={"west": gone})
    assert ds.rmse.dims == ("case", "lead")
    for case, cut in (("intact", x), ("west", x.where(~gone, 0))):
        for k in range(2):
            prediction = (cut.values[:, 2], 0.5 * cut.values[:, 1])[k]
            truth, total = y.values[:, k], np.zeros(6)
            for s in range(20):
                for j, lat in enumerate(LAT):
                    for i in range(8):
                        a, b, w = prediction[s, j, i], truth[s, j, i], np.cos(np.deg2rad(lat))
                        if not np.isnan(b):
                            total += w * np.array([1, a, b, a * a, b * b, a * b])
            _, a, b, aa, bb, ab = total / total[0]
            assert float(ds.rmse.sel(case=case)[k]) == pytest.approx(np.sqrt(aa - 2 * ab + bb), rel=1e-10)
            assert float(ds.acc.sel(case=case)[k]) == pytest.approx(
                (ab - a * b) / np.sqrt((aa - a * a) * (bb - b * b)), rel=1e-10
            )
    weights = area_weights(y).broadcast_like(y[0, 0])
    one = xr.DataArray(f(torch.as_tensor(x.values))[:, 0].numpy(), dims=("sample", "lat", "lon"), coords=y[:, 0].coords)
    corr = xr.corr(one, y.isel(lead=0), dim=["sample", "lat", "lon"], weights=weights)
    assert float(ds.acc.sel(case="intact")[0]) == pytest.approx(float(corr), rel=1e-9)


def test_intervals_are_those_of_resampled_blocks():
    model, x, y, _ = planted()
    y = y + np.random.default_rng(1).normal(size=96)
    gone = disc(x, 5000, lat=20, lon=180)
    ds = ablation(model, x, y, fill=ZERO, absent={"gone": gone}, blocks=Blocks(10, resamples=60), chunk=40)
    f = {"intact": model(torch.as_tensor(x.values)).detach().numpy()}
    f["gone"] = model(torch.as_tensor(x.where(~gone, 0).where(x.notnull()).values)).detach().numpy()
    of = {name: [] for name in ("rmse", "acc", "rmse_change", "acc_change")}
    for w in Blocks(10, resamples=60).weights(10).astype(int):
        drawn = np.repeat(np.arange(96), w[np.arange(96) // 10])
        rmse, acc = (
            {k: np.sqrt(((v - y.values)[drawn] ** 2).mean()) for k, v in f.items()},
            {k: np.corrcoef(v[drawn], y.values[drawn])[0, 1] for k, v in f.items()},
        )
        for name, score in (("rmse", rmse), ("acc", acc)):
            of[name].append(score["gone"])
            of[f"{name}_change"].append(score["gone"] - score["intact"])
    for name, values in of.items():
        share, center = np.array([10] * 9 + [6]) / 96, float(ds[name].sel(case="gone"))
        low, high = interval_of_resamples(values, Blocks(10, resamples=60).weights(10), share, center, 0.95)
        low, high = np.clip([low, high], {"rmse": 0, "acc": -1}.get(name, -np.inf), {"acc": 1}.get(name, np.inf))
        assert float(ds[f"{name}_low"].sel(case="gone")) == pytest.approx(low, rel=1e-9)
        assert float(ds[f"{name}_high"].sel(case="gone")) == pytest.approx(high, rel=1e-9)


def test_targets_are_read_from_the_outputs():
    x = histories(30, land=False)
    f = lambda x: x.sum(1)  # noqa: E731
    y = xr.DataArray(np.random.default_rng(0).normal(size=(30, 2)), dims=("sample", "target"))
    boxes = [ta.targets.Region(lat=(-30, 0), lon=(0, 90)), ta.targets.Region(lat=(0, 30), lon=(0, 360))]
    settings = {"outputs": {"lat": LAT, "lon": LON}, "fill": ZERO, "lags": (1,)}
    both = ablation(f, x, y, target=boxes, **settings)
    for k in range(2):
        one = ablation(f, x, y[:, k], target=boxes[k], **settings)
        np.testing.assert_allclose(both.rmse.isel(target=k), one.rmse, rtol=1e-12)
    mean = x.sum("lag").sel(lat=-20, lon=[0, 45, 90]).mean("lon")
    error = np.sqrt(((mean - y[:, 0]) ** 2).mean())
    assert float(both.rmse.isel(case=0, target=0)) == pytest.approx(float(error), rel=1e-10)


# -------------------------------------------------------------------------------------------------------------- fills


def test_ablated_fills_as_occlusion_does():
    x = histories(6)
    gone = disc(x, 5000, lat=20, lon=180)
    for fill in (
        ZERO,
        ta.baselines.Samples.fit(histories(30, seed=1)),
        ta.baselines.Gaussian(0.5),
        ta.baselines.Bridge("lag"),
    ):
        cut = ablated(x.transpose("lat", "sample", "lon", "lag"), gone, fill, seed=4)
        assert cut.dims == ("lat", "sample", "lon", "lag")
        cut = cut.transpose(*x.dims)
        xr.testing.assert_equal(cut.where(~gone), x.where(~gone))
        labels = xr.where(gone, 0, -1)
        model = Box(kernel(x))
        ds = ta.explain(model, x, ta.Occlusion(ta.groups.Labelled(labels), fill, draws=1), seed=4)
        change = model(torch.as_tensor(x.values)) - model(torch.as_tensor(cut.values))
        np.testing.assert_allclose(ds.group_value[:, 0], change.detach(), rtol=1e-10)


def test_draws_and_chunks():
    model, x, y, _ = planted()
    gone = disc(x, 5000, lat=20, lon=180)
    fill = ta.baselines.Gaussian(1.0)
    settings = {"fill": fill, "absent": {"gone": gone}, "draws": 3, "seed": 2}
    whole = ablation(model, x, y, **settings)
    xr.testing.assert_allclose(whole, ablation(model, x, y, chunk=7, **settings), rtol=1e-10)
    errors = [
        (model(torch.as_tensor(ablated(x, gone, fill, draw=d, seed=2).values)).detach().numpy() - y.values) ** 2
        for d in range(3)
    ]
    assert float(whole.rmse.sel(case="gone")) == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-12)


def test_what_goes_may_differ_between_samples():
    model, x, y, w = planted()
    gone = (x.sample % 3 == 0) & (x.lat > 0)
    cut = ablated(x, gone, ZERO)
    xr.testing.assert_equal(cut, xr.where(gone & x.notnull(), 0.0, x).transpose(*x.dims))
    ds = ablation(model, x, y, fill=ZERO, absent={"north": gone}, chunk=7)
    lost = (x.where(gone) * w).sum(["lag", "lat", "lon"])
    assert float(ds.rmse.sel(case="north")) == pytest.approx(float(np.sqrt((lost**2).mean())), rel=1e-10)


def test_land_is_never_touched_and_valid_is_kept():
    x = histories(5)
    valid = x.lat < 40
    cut = ablated(x, xr.ones_like(x.lat, dtype=bool), ZERO, valid=valid.broadcast_like(x))
    xr.testing.assert_equal(cut.where(~valid), x.where(~valid))
    assert (cut.where(valid & x.notnull(), 0) == 0).all()
    xr.testing.assert_equal(cut.isnull(), x.isnull())
    model, x, y, w = planted()
    ds = ablation(model, x, y, fill=ZERO, absent={"all": xr.ones_like(x.lat, dtype=bool)}, valid=valid)
    lost = (x.where(valid) * w).sum(["lag", "lat", "lon"])
    assert float(ds.rmse.sel(case="all")) == pytest.approx(float(np.sqrt((lost**2).mean())), rel=1e-10)


def test_the_model_is_left_as_it_was():
    model, x, y, _ = planted()
    model.train()
    state = torch.get_rng_state()
    ablation(model, x, y, fill=ZERO, lags=(1,))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------------------------------------------- retraining


def test_retraining_finds_what_the_rest_can_tell():
    """Two cells that are copies: a frozen model loses one of them, a retrained one reads the other."""
    rng = np.random.default_rng(0)

    def data(n):
        twin = rng.normal(size=(n, 1))
        values = np.concatenate([twin, twin, rng.normal(size=(n, 1))], 1)
        x = xr.DataArray(values, dims=("sample", "lat"), coords={"lat": [0.0, 10.0, 20.0]})
        return x, xr.DataArray(values[:, 0] + values[:, 2], dims="sample")

    (x0, y0), (x1, y1) = data(200), data(100)
    calls = []

    def train(x, y):
        calls.append(x)
        w = torch.as_tensor(np.linalg.lstsq(x.values, y.values)[0])
        return lambda rows: rows @ w

    gone = {f"cell {k}": xr.DataArray(np.arange(3) == k, dims="lat", coords={"lat": x0.lat}) for k in (0, 2)}
    frozen = ablation(train(x0, y0), x1, y1, fill=ZERO, absent=gone)
    calls.clear()
    again = ablation(Retrain(train, x0, y0), x1, y1, fill=ZERO, absent=gone)
    assert len(calls) == 3
    assert float(abs(calls[1][:, 0]).max()) == 0  # what goes in testing goes in training
    assert float(again.rmse.sel(case="cell 0")) < 1e-10
    assert float(frozen.rmse.sel(case="cell 0")) > 0.4
    lost = float(np.sqrt((x1[:, 2] ** 2).mean()))
    assert float(frozen.rmse.sel(case="cell 2")) == pytest.approx(lost, rel=1e-6)
    assert float(again.rmse.sel(case="cell 2")) == pytest.approx(lost, rel=0.05)
    assert again.attrs["retrained"] == 1


# -------------------------------------------------------------------------------------------------------- random regions


def sphere(step=10.0):
    lat, lon = np.arange(-90 + step / 2, 90, step), np.arange(0.0, 360.0, step)
    return xr.DataArray(np.zeros((len(lat), len(lon))), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})


def test_random_regions_are_discs_of_equal_area_elsewhere():
    y = sphere()
    region = disc(y, 2500, lat=5, lon=180)
    land = (y.lon > 250) & (y.lat > 0)
    found = random_regions(region, 40, valid=~land, seed=1)
    size = area_weights(y).broadcast_like(y)
    wanted = float(size.where(region).sum())
    area = size.where(found).sum(["lat", "lon"])
    assert float(abs(area - wanted).max()) <= 0.5 * float(size.max())
    assert not (found & (region | land)).any()
    assert len(np.unique(found.values.reshape(40, -1), axis=0)) > 30
    one = found[0]
    centre = size.where(one, 0)
    spread = [
        float(distance(y, lat=float(la), lon=float(lo)).where(one).max())
        for la in y.lat
        for lo in y.lon
        if one.sel(lat=la, lon=lo)
    ]
    assert min(spread) < 1.7 * 2500  # a disc: every cell is near some cell of it
    assert float(centre.sum()) > 0
    xr.testing.assert_identical(found, random_regions(region, 40, valid=~land, seed=1))


def test_centres_are_drawn_by_area():
    y = sphere(20.0)
    region = (y.lat == 0) & (y.lon == 180)
    found = random_regions(region, 600, seed=0)
    polar = float(found.sel(lat=[-80, -60, 60, 80]).any(["lat", "lon"]).mean())
    share = float(area_weights(y).sel(lat=[-80, -60, 60, 80]).sum() / area_weights(y).sum())
    assert polar == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 600))


def test_where_there_is_no_room_a_region_may_overlap():
    y = sphere(30.0)
    region = (y.lat > -50) & (y.lon >= 0)
    found = random_regions(region, 5)
    size = area_weights(y).broadcast_like(y)
    assert float(size.where(region).sum()) > 0.5 * float(size.sum())
    assert float(abs(size.where(found).sum(["lat", "lon"]) - size.where(region).sum()).max()) <= 0.5
    with pytest.raises(ValueError, match="holds 72 of 72 valid cells"):
        random_regions(xr.ones_like(y, dtype=bool), 2)
    with pytest.raises(ValueError, match="holds 0 of 72 valid cells"):
        random_regions(xr.zeros_like(y, dtype=bool), 2)
    with pytest.raises(TypeError, match="a region is boolean"):
        random_regions(y, 2)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_refusals():
    model, x, y, _ = planted()
    with pytest.raises(ValueError, match="nothing to take away"):
        ablation(model, x, y, fill=ZERO)
    with pytest.raises(ValueError, match="y has 95 samples, x has 96"):
        ablation(model, x, y[:95], fill=ZERO, lags=(1,))
    with pytest.raises(ValueError, match="other labels along 'sample'"):
        ablation(model, x, y.assign_coords(sample=y.sample + 1), fill=ZERO, lags=(1,))
    with pytest.raises(ValueError, match=r"outputs have shape \(96,\), y has"):
        ablation(model, x, x.isel(lag=0, drop=True), fill=ZERO, lags=(1,))
    with pytest.raises(TypeError, match="absent is boolean"):
        ablation(model, x, y, fill=ZERO, absent={"a": x.lat})
    with pytest.raises(ValueError, match=r"absent.*'depth'"):
        ablation(model, x, y, fill=ZERO, absent={"a": xr.DataArray([True], dims="depth")})
    with pytest.raises(KeyError, match="a dim 'month' with a coordinate"):
        ablation(model, x, y, fill=ZERO, lags=(1,), lag="month")
    with pytest.raises(ValueError, match="draws is a whole number"):
        ablation(model, x, y, fill=ZERO, lags=(1,), draws=0)


def test_a_constant_prediction_has_no_correlation():
    x = histories(24)
    y = (x * kernel(x)).sum(["lag", "lat", "lon"])
    ds = ablation(Box(kernel(x)), x, y, fill=ZERO, absent={"all": xr.ones_like(x.lat, dtype=bool)})
    assert np.isnan(ds.acc.sel(case="all"))
    assert float(ds.rmse.sel(case="all")) == pytest.approx(float(np.sqrt((y**2).mean())))


# ------------------------------------------------------------------------------------------------- matched by label


def fields():
    """A model that gives the last month's field, and its truth."""
    x = histories(24, land=False)
    return (lambda rows: rows[:, -1]), x, x.isel(lag=-1, drop=True), {"lat": x.lat, "lon": x.lon}


@pytest.mark.parametrize(
    "other",
    [
        lambda y: y.sortby("lat", ascending=False),
        lambda y: y.roll(lon=3, roll_coords=True),
        lambda y: y.transpose("lon", "sample", "lat"),
        lambda y: y.assign_coords(lat=y.lat.astype(np.float32)),
    ],
)
def test_truth_in_another_order_is_matched_by_its_labels(other):
    model, x, y, outputs = fields()
    region = disc(x, 5000, lat=20, lon=180)
    settings = {"fill": ZERO, "region": region, "controls": 2, "outputs": outputs}
    expected = ablation(model, x, y, **settings)
    assert float(expected.rmse.sel(case="intact")) == 0
    xr.testing.assert_allclose(ablation(model, x, other(y), **settings), expected)


def test_named_targets_are_matched_by_their_names():
    model, x, y, outputs = fields()
    places = {"here": {"lat": 20.0, "lon": 180.0}, "there": {"lat": -20.0, "lon": 45.0}}
    truth = xr.concat([y.sel(p, drop=True) for p in places.values()], pd.Index(list(places), name="target"))
    settings = {"fill": ZERO, "lags": (1,), "outputs": outputs}
    settings["target"] = {name: ta.targets.Output(**place) for name, place in places.items()}
    expected = ablation(model, x, truth, **settings)
    assert expected.rmse.sel(case="intact").values.tolist() == [0, 0]
    found = ablation(model, x, truth[::-1], **settings)
    xr.testing.assert_allclose(found.sel(target=list(places)), expected)
    with pytest.raises(
        ValueError, match=r"the model lacks 1 of y's labels along dim 'target', such as \['elsewhere'\]"
    ):
        ablation(model, x, truth.assign_coords(target=["here", "elsewhere"]), **settings)


def test_truth_that_the_outputs_do_not_have_is_refused():
    model, x, y, outputs = fields()
    settings = {"fill": ZERO, "lags": (1,), "outputs": outputs}
    with pytest.raises(ValueError, match=r"the model lacks 1 of y's labels along dim 'lat', such as \[61.0\]"):
        ablation(model, x, y.assign_coords(lat=[-60.0, -20.0, 20.0, 61.0]), **settings)
    with pytest.raises(
        ValueError, match=r"y has dims \['sample', 'y', 'lon'\], outputs= calls the model's \['lat', 'lon'\]"
    ):
        ablation(model, x, y.drop_vars("lat").rename(lat="y"), **settings)
    with pytest.raises(ValueError, match=r"axes .*'lat', 'lon'.* y has dims .*'sample', 'lat'"):
        ablation(model, x, y.isel(lon=0, drop=True), **settings)


def test_fields_by_any_name_are_summed_over_space_by_area():
    model, x, y, _ = fields()
    expected = ablation(model, x, y + 1, fill=ZERO, lags=(1,), weights=area_weights(y))
    names = {"lat": "latitude", "lon": "longitude"}
    found = ablation(model, x.rename(names), (y + 1).rename(names), fill=ZERO, lags=(1,))
    xr.testing.assert_allclose(found, expected)


def test_cells_that_open_later_count_for_the_controls():
    model, x, y, _ = planted()
    region = disc(x, 5000, lat=20, lon=180)
    ice = x.where(~region | (x.sample >= 10))
    ds = ablation(model, ice, y, fill=ZERO, region=region, controls=3, chunk=7)
    assert ds.sizes["control"] == 3


def test_cells_said_to_be_invalid_are_no_controls():
    x = histories(24, land=False)
    land = (x.lat[...] > 0) & (x.lon < 200)
    land = land.transpose("lat", "lon")
    region = disc(x, 5000, lat=-20, lon=270) & ~land
    y = x.where(~land).isel(lag=-1, drop=True).mean(["lat", "lon"])

    def model(rows):
        return torch.nanmean(torch.where(torch.as_tensor(land.values), torch.nan, rows)[:, -1].flatten(1), 1)

    settings = {"fill": ta.baselines.Constant(1.0), "region": region, "controls": 12}
    expected = ablation(model, x.where(~land), y, **settings)
    for valid in (~land, (~land).isel(lat=slice(None, None, -1)), (~land).expand_dims(sample=x.sample)):
        xr.testing.assert_allclose(ablation(model, x.where(~land, 0), y, valid=valid, **settings), expected)


def test_the_classes_of_a_classifier_are_matched_by_label():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    model = LogisticRegression().fit(x, np.array(["a", "b", "c"])[x.argmax(1)])
    table = xr.DataArray(x, dims=("sample", "feature"))
    y = xr.DataArray(model.predict_proba(x), dims=("sample", "class"), coords={"class": model.classes_})
    first = xr.DataArray([True, False, False], dims="feature")
    for outputs in (None, ("class",)):
        ds = ablation(model, table, y[:, ::-1], fill=ZERO, absent={"first": first}, outputs=outputs)
        np.testing.assert_allclose(ds.rmse.sel(case="intact"), 0, atol=1e-12)
        assert ds["class"].values.tolist() == ["c", "b", "a"]


def test_a_truth_of_another_lead_is_refused():
    model, x, y, outputs = fields()
    settings = {"fill": ZERO, "lags": (1,), "outputs": {"lead": [1.0], **outputs}}
    one = lambda rows: model(rows)[:, None]  # noqa: E731
    assert float(ablation(one, x, y.assign_coords(lead=1.0), **settings).rmse[0]) == 0
    with pytest.raises(ValueError, match=r"the model lacks 1 of y's labels along dim 'lead', such as \[6.0\]"):
        ablation(one, x, y.assign_coords(lead=6.0), **settings)


@pytest.mark.parametrize("labels", [["d", "a", "b", "c"], [1e-5, 2e-5, 3e-5, 4e-5]])
def test_labels_that_are_the_same_match_whatever_they_are(labels):
    x = xr.DataArray(np.random.default_rng(0).normal(size=(24, 4)), dims=("sample", "f"), coords={"f": labels})
    first = xr.DataArray([True, False, False, False], dims="f")
    ds = ablation(lambda rows: rows, x, x, fill=ZERO, absent={"first": first}, outputs={"f": labels}, over=("f",))
    assert float(ds.rmse[0]) == 0


@pytest.mark.parametrize("n", [94, 128])
def test_conventions_and_precisions_of_a_grid_do_not_matter(n):
    lat = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(n)[0]))
    coords = {"lag": [-1], "lat": lat, "lon": [0.0, 90.0, 180.0, 270.0]}
    x = xr.DataArray(
        np.random.default_rng(0).normal(size=(12, 1, n, 4)), dims=("sample", "lag", "lat", "lon"), coords=coords
    )
    y = x.isel(lag=0, drop=True)
    west = y.assign_coords(lat=lat.astype(np.float32), lon=[0.0, 90.0, 180.0, -90.0])[:, ::-1].sortby("lon")
    region = disc(x, 3000, lat=0, lon=90)
    settings = {"fill": ZERO, "controls": 0, "outputs": {"lat": lat, "lon": x.lon}}
    expected = ablation(lambda rows: rows[:, -1], x, y, region=region, **settings)
    found = ablation(lambda rows: rows[:, -1], x, west, region=region[::-1], weights=area_weights(y)[::-1], **settings)
    xr.testing.assert_allclose(found, expected)
