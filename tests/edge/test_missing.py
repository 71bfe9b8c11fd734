"""A missing value as a value, and absence that is a missing value: closed forms, brute force, masks, and what is refused."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import tsattr as ta
from tsattr.core.samples import UnreadError

b, g = ta.baselines, ta.groups
EACH = g.Along("feature")
LAB = pd.DataFrame({"lab": [np.nan, 2.0], "age": [1.0, 1.0]})
REMOVES = {
    "occlusion": ta.Occlusion(EACH),
    "shapley": ta.ShapleySampling(EACH, draws=4),
    "kernel": ta.KernelShap(EACH),
    "interactions": ta.ShapleyInteractions(EACH),
}


@ta.models.on_frames
def not_measured(df):
    return 3.0 * df["lab"].isna() + df["age"]


@pytest.mark.parametrize("name", REMOVES)
def test_a_cell_that_is_missing_has_its_attribution(name):
    ds = ta.explain(not_measured, LAB, REMOVES[name], missing="value")
    np.testing.assert_allclose(ds.attribution, [[3, 1], [0, 1]], atol=1e-12)
    if "reference" in ds:
        np.testing.assert_allclose(ds.reference, 0, atol=1e-12)
        assert float(ds.completeness_gap.max()) < 1e-12
    assert ds.attrs["missing"] == "value"
    assert ds.status.values.tolist() == ["ok", "ok"]


def test_in_a_table_that_is_the_default_and_in_an_array_it_is_not():
    table = ta.explain(not_measured, LAB, ta.Occlusion(EACH))
    np.testing.assert_allclose(table.attribution, [[3, 1], [0, 1]])
    assert table.attrs["missing"] == "value"
    apart = ta.explain(not_measured, LAB, ta.Occlusion(EACH), missing="invalid")
    np.testing.assert_array_equal(apart.attribution, [[np.nan, 1], [0, 1]])
    assert apart.attrs["missing"] == "invalid"
    array = ta.models.on_arrays(lambda x: 3.0 * np.isnan(x[:, 0]) + x[:, 1])
    ds = ta.explain(array, LAB.to_numpy(), ta.Occlusion(g.Cells()))
    np.testing.assert_array_equal(ds.attribution, [[np.nan, 1], [0, 1]])
    assert "missing" not in ds.attrs


def test_a_column_that_nobody_measured_is_as_it_is():
    x = pd.DataFrame({"lab": [np.nan, np.nan], "age": [1.0, 3.0]})
    ds = ta.explain(not_measured, x, ta.Occlusion(EACH, b.Samples.fit(x), draws=2))
    np.testing.assert_allclose(ds.attribution, [[0, -1], [0, 1]])
    assert ds.status.values.tolist() == ["ok", "ok"]


def boosted():
    """Boosted trees on three columns, of which not being measured is informative, and a background with gaps."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(400, 3)), columns=["a", "b", "c"])
    y = x.a * x.b + np.where(rng.random(400) < 0.3, 2.0, 0.0)
    x = x.mask(pd.DataFrame({"a": False, "b": y > 1.5, "c": rng.random(400) < 0.2}))
    return HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(x, y), x


def shapley_of(model, row, background):
    """Shapley values against rows of a background, by all coalitions; missing cells are handed on from both."""
    columns, n = row.columns, row.shape[1]

    def worth(present):
        rows = background.copy()
        for k in present:
            rows[columns[k]] = row[columns[k]].iloc[0]
        return model.predict(rows).mean()

    out = np.zeros(n)
    for k in range(n):
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for others in itertools.combinations([j for j in range(n) if j != k], size):
                out[k] += weight * (worth((*others, k)) - worth(others))
    return out


def test_shapley_values_of_trees_that_read_what_is_missing():
    model, x = boosted()
    background, rows = x[50:60], x[x.b.isna()][:4]
    ds = ta.explain(model, rows, ta.KernelShap(EACH, b.Samples.fit(background), draws=10), missing="value")
    expected = [shapley_of(model, rows[k : k + 1], background) for k in range(len(rows))]
    np.testing.assert_allclose(ds.attribution, expected, atol=1e-9)
    assert abs(ds.attribution.sel(feature="b")).min() > 0.05  # what was not measured tells


def test_shapley_values_where_cells_are_those_of_the_background():
    _, x = boosted()
    x = x.round().clip(-1, 1)  # three levels, so that most cells tie
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(x, x.a * x.c.fillna(2) + 2 * x.b.isna())
    background = x[50:60].assign(c=1.0)
    rows = pd.concat([background[:2], x[x.b.isna()][:2].assign(c=1.0)])
    ds = ta.explain(model, rows, ta.KernelShap(EACH, b.Samples.fit(background), draws=10), missing="value")
    expected = [shapley_of(model, rows[k : k + 1], background) for k in range(len(rows))]
    np.testing.assert_allclose(ds.attribution, expected, atol=1e-9)
    np.testing.assert_allclose(ds.attribution.sel(feature="c"), 0, atol=1e-9)  # no row of the background has another
    assert abs(ds.attribution.sel(feature="b")[2:]).min() > 0.05


def test_absent_is_not_measured():
    model, x = boosted()
    rows = x[~x.b.isna()][:5]
    ds = ta.explain(model, rows, ta.Occlusion(EACH, b.Missing()), missing="value")
    for k, column in enumerate(x.columns):
        without = model.predict(rows.assign(**{column: np.nan}))
        np.testing.assert_allclose(ds.attribution[:, k], model.predict(rows) - without, atol=1e-12)
    assert ds.attrs["baseline"] == "Missing()"


def test_the_usual_state_of_what_is_seldom_measured():
    train = pd.DataFrame({"lab": [np.nan] * 6 + [2.0] * 4, "ward": pd.Categorical([None] * 7 + ["icu"] * 3)})
    model = ta.models.on_frames(lambda df: 3.0 * df["lab"].isna() + 2.0 * df["ward"].isna())
    rows = train[5:8]
    ds = ta.explain(model, rows, ta.Occlusion(EACH, b.Mode.fit(train, missing="value")))
    np.testing.assert_allclose(ds.attribution, [[0, 0], [-3, 0], [-3, -2]])
    measured = ta.explain(model, rows, ta.Occlusion(EACH, b.Mode.fit(train)))
    np.testing.assert_allclose(measured.attribution, [[3, 2], [0, 2], [0, 0]])
    reads_no = ta.models.on_frames(lambda df: df["lab"])
    with pytest.raises(UnreadError, match="Mode takes 1 cells to be missing, as most of its reference does"):
        ta.explain(reads_no, rows[["lab"]][1:], ta.Occlusion(EACH, b.Mode.fit(train[["lab"]], missing="value")))


def test_a_category_that_was_not_recorded():
    frame = pd.DataFrame({"ward": pd.Categorical(["icu", "home", "icu"]), "age": [1.0, 2.0, 3.0]})
    model = ta.models.on_frames(lambda df: np.where(df["ward"].isna(), 5.0, np.where(df["ward"] == "icu", 1.0, 0.0)))
    ds = ta.explain(model, frame, ta.Occlusion(EACH, b.Missing()))
    assert ds.attribution.sel(feature="ward").values.tolist() == [-4.0, -5.0, -4.0]
    assert (ds.attribution.sel(feature="age") == 0).all()


def decay(x):
    """A cell that goes on from the last measurement and knows how long ago it was, as GRU-D does; (rows, 2, time)."""
    last, since = torch.zeros_like(x[:, :, 0]), torch.zeros_like(x[:, :, 0])
    for t in range(x.shape[2]):
        measured = ~torch.isnan(x[:, :, t])
        last = torch.where(measured, x[:, :, t], last)
        since = torch.where(measured, 0.0, since + 1)
    return (last * torch.exp(-since)).sum(1)


def test_the_mask_of_a_series():
    values = np.random.default_rng(0).normal(size=(3, 2, 5))
    values[0, 1, 3:] = np.nan
    x = xr.DataArray(values, dims=("sample", "feature", "time"))
    method = ta.Occlusion(g.Windows(time=1, feature=1), b.Missing())
    ds = ta.explain(decay, x, method, missing="value")
    rows = torch.as_tensor(values)
    for i, j, t in itertools.product(range(3), range(2), range(5)):
        without = rows[i : i + 1].clone()
        without[0, j, t] = np.nan
        expected = (decay(rows[i : i + 1]) - decay(without)).item()
        assert ds.attribution[i, j, t].item() == pytest.approx(expected, abs=1e-12)
    assert (ds.attribution[0, 1, 3:] == 0).all()  # it was not measured anyway
    shown = ta.explain(decay, x, ta.Occlusion(g.Windows(time=1, feature=1), b.Constant(1.0)), missing="value")
    assert (abs(shown.attribution[0, 1, 3:]) > 0).all()  # what measuring it would have changed


def test_the_past_that_was_not_measured():
    values = np.random.default_rng(0).normal(size=(2, 2, 6))
    x = xr.DataArray(values, dims=("sample", "feature", "time"))
    difference = ta.targets.Divergence("difference", of="value")
    method = ta.FeatureOcclusion(b.Missing(), draws=1, predictions="last")
    ds = ta.explain(lambda x: decay(x)[:, None], x, method, target=difference)
    for i, j, t in itertools.product(range(2), range(2), [5]):  # the last prediction alone is asked for
        until = torch.as_tensor(values[i : i + 1])
        without = until.clone()
        without[0, j, t] = np.nan
        expected = abs((decay(until) - decay(without)).item())
        assert abs(ds.attribution[i, j, t].item()) == pytest.approx(expected, abs=1e-12)
    assert ds.status.values.tolist() == ["ok", "ok"]


def paths(x):
    """The outputs of `decay` at each time, (rows, time)."""
    return torch.stack([decay(x[:, :, : t + 1]) for t in range(x.shape[2])], 1)


def series(n=3, times=6):
    """Series of which the first sample misses the end of one, and the same as a tensor."""
    values = np.random.default_rng(0).normal(size=(n, 2, times))
    values[0, 1, 3:] = np.nan
    return xr.DataArray(values, dims=("sample", "feature", "time")), torch.as_tensor(values)


DIFFERENCE = {"target": ta.targets.Divergence("difference", of="value"), "outputs": ("time",)}


def without(rows, feature, gone, values):
    """What `paths` loses at the end of a prefix where a feature is replaced at some times."""
    other = rows.clone()
    other[:, feature, gone] = values
    end = gone.stop - 1
    return (paths(rows)[:, end] - paths(other)[:, end]).numpy()


# With all measured the last measurement is all that the model sees of a series: how far back it looks shows where some is missing.
@pytest.mark.parametrize("missing", ["value", "invalid"])
def test_every_time_that_was_not_measured(missing):
    x, rows = series()
    ds = ta.explain(paths, x, ta.FeatureOcclusion(b.Missing(), draws=1), missing=missing, **DIFFERENCE)
    for j, t in itertools.product(range(2), range(1, 6)):
        expected = without(rows, j, slice(t, t + 1), np.nan)
        if missing == "invalid":
            expected = np.where(x[:, j, t].isnull(), np.nan, expected)
        np.testing.assert_allclose(ds.attribution[:, j, t], expected, atol=1e-12)
    assert ds.status.values.tolist() == ["ok"] * 3


VENT = pd.DataFrame({"MechVent": [1.0, np.nan, 1.0, np.nan], "age": [1.0, 1.0, 2.0, 2.0]})  # 1, or not measured


def test_a_column_that_is_1_or_not_measured_has_its_credit():
    """Of 2 for being ventilated: what its presence told, and its absence beside a background of which half are ventilated."""
    model = ta.models.on_frames(lambda df: 2.0 * df["MechVent"].notna() + df["age"].fillna(0))
    gone = ta.explain(model, VENT, ta.Occlusion(EACH, b.Missing()), missing="value").attribution
    np.testing.assert_array_equal(gone.sel(feature="MechVent"), [2, 0, 2, 0])
    background = b.Samples.fit(VENT)
    for method in (
        ta.Occlusion(EACH, background),
        ta.ShapleySampling(EACH, background, draws=8),
        ta.KernelShap(EACH, background),
    ):
        ds = ta.explain(model, VENT, method)  # in a table missing="value" is the default
        np.testing.assert_allclose(ds.attribution.sel(feature="MechVent"), [1, -1, 1, -1], atol=1e-9)


@pytest.mark.parametrize("missing", ["value", "invalid"])
def test_a_series_that_is_1_or_not_measured_has_its_credit(missing):
    """Hold() knows no other value than 1, so it says nothing; Missing() says what it told that somebody was ventilated."""
    values = np.full((1, 2, 6), np.nan)
    values[0, 0, [2, 3, 5]], values[0, 1] = 1.0, 3.0
    x = xr.DataArray(values, {"feature": ["MechVent", "HR"]}, ("sample", "feature", "time"))
    f = lambda x: 2.0 * (~torch.isnan(x[:, 0])).cumsum(1) + x[:, 1].nan_to_num()  # noqa: E731 - the hours on a ventilator so far
    told = ta.explain(f, x, ta.WinIT(3, b.Missing(), draws=1), missing=missing, **DIFFERENCE)
    here = told.attribution.sel(feature="MechVent").isel(sample=0, time=[2, 3, 5])
    np.testing.assert_allclose(here, np.where(here.isnull(), np.nan, 2.0))  # the first, too
    assert here.notnull().sum() == 7
    held = ta.explain(f, x, ta.WinIT(3, draws=1), missing="invalid", **DIFFERENCE).attribution
    assert (held.sel(feature="MechVent").fillna(0) == 0).all()


def test_a_window_that_was_not_measured():
    x, rows = series()
    ds = ta.explain(paths, x, ta.WinIT(3, b.Missing(), draws=1), missing="value", **DIFFERENCE)
    for j, t in itertools.product(
        range(2), range(1, 6)
    ):  # the importance at lag l, by the stretches that begin there and later
        for lag in range(min(3, 6 - t)):
            here = without(rows, j, slice(t, t + lag + 1), np.nan)
            later = without(rows, j, slice(t + 1, t + lag + 1), np.nan) if lag else 0.0
            np.testing.assert_allclose(ds.attribution[:, j, t].sel(lag=lag), here - later, atol=1e-12)


def test_samples_hand_on_what_was_not_measured_along_time():
    x, rows = series()
    train = np.random.default_rng(1).normal(size=(8, 2, 6))
    train[:4, 1] = np.nan
    known = b.Samples.fit(xr.DataArray(train, dims=x.dims))
    ds = ta.explain(paths, x, ta.FeatureOcclusion(known, draws=8), missing="value", **DIFFERENCE)
    for j, t in itertools.product(range(2), range(1, 6)):
        expected = np.mean([without(rows, j, slice(t, t + 1), row[j, t]) for row in train], 0)
        np.testing.assert_allclose(ds.attribution[:, j, t], expected, atol=1e-12)


@pytest.mark.parametrize("baseline", [b.Missing(), b.Constant(0.5)])
def test_what_one_series_misses_is_seen_in_company(baseline):
    x, _ = series()
    x = x.assign_coords(sample=["a", "b", "c"])
    method = ta.FeatureOcclusion(baseline, draws=1)
    whole = ta.explain(paths, x, method, missing="value", **DIFFERENCE)
    alone = ta.explain(paths, x[:1], method, missing="value", **DIFFERENCE)
    np.testing.assert_allclose(whole.attribution[:1], alone.attribution, atol=1e-12)


class Masked(torch.nn.Module):
    """A GRU-D-like cell: values decay to 0 while they are missing, and the mask is an input beside them (Che et al., 2018)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cell = torch.nn.GRUCell(4, 3, dtype=torch.float64)
        self.out = torch.nn.Linear(3, 1, dtype=torch.float64)
        self.rate = torch.nn.Parameter(torch.tensor([0.3, 0.8], dtype=torch.float64))

    def forward(self, x):
        last, since, hidden, found = torch.zeros_like(x[..., 0]), 0.0, x.new_zeros(len(x), 3), []
        for t in range(x.shape[2]):
            measured = ~torch.isnan(x[..., t])
            last = torch.where(measured, x[..., t], last)
            since = torch.where(measured, 0.0, since + 1)
            seen = torch.cat([last * torch.exp(-self.rate * since), measured.to(x)], 1)
            hidden = self.cell(seen, hidden)
            found.append(self.out(hidden)[:, 0])
        return torch.stack(found, 1)


def test_the_mask_of_a_network_is_explained_by_removing_it():
    x, rows = series()
    net = Masked().eval()
    with torch.no_grad():
        y = net(rows)
        ds = ta.explain(net, x, ta.FeatureOcclusion(b.Missing(), draws=1), missing="value", **DIFFERENCE)
        windows = ta.Occlusion(g.Windows(time=2, feature=1), b.Missing())
        ends = ta.explain(net, x, windows, target=5, outputs=("time",), missing="value")
        for j, t in itertools.product(range(2), range(1, 6)):
            other = rows.clone()
            other[:, j, t] = torch.nan
            np.testing.assert_allclose(ds.attribution[:, j, t], y[:, t] - net(other)[:, t], atol=1e-12)
        for j, t in itertools.product(range(2), range(0, 6, 2)):
            other = rows.clone()
            other[:, j, t : t + 2] = torch.nan
            np.testing.assert_allclose(ends.attribution[:, j, t], y[:, 5] - net(other)[:, 5], atol=1e-12)
    assert (ds.attribution[0, 1, 3:] == 0).all()
    assert (abs(ds.attribution[0, 0, 1:]) > 1e-4).all()


def test_metrics_take_values_away():
    model, x = boosted()
    rows = x[:6]
    maps = ta.explain(model, rows, ta.Occlusion(EACH, b.Missing()), missing="value")
    scores = ta.evaluate(model, rows, maps, fills={"missing": b.Missing()}, groups=EACH, steps=3, missing="value")
    curve = scores.deletion_curve.sel(ranking="absolute", fill="missing")
    np.testing.assert_allclose(curve.isel(share=0), model.predict(rows), atol=1e-12)
    nothing = model.predict(rows * np.nan)
    np.testing.assert_allclose(curve.isel(share=-1), nothing, atol=1e-12)


def seldom_measured(n=40):
    """A table of which the model goes by whether `lab` is missing, and where that is."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(2 * n, 3)), columns=["lab", "age", "other"])
    x = x.mask(pd.DataFrame(rng.random((2 * n, 3)) < [0.5, 0.0, 0.5], columns=x.columns))
    model = ta.models.on_frames(lambda df: 3.0 * df["lab"].isna() + 0.1 * df["age"].fillna(0.0))
    truth = xr.DataArray(np.zeros((n, 3), bool), dims=("sample", "feature"), coords={"feature": list(x.columns)})
    return model, x[:n], x[n:], truth.where(truth.feature != "lab", True)


def test_comparisons_and_truth_count_what_was_not_measured():
    model, x, train, truth = seldom_measured()
    methods = {
        "samples": ta.Occlusion(EACH, b.Samples.fit(train), draws=40),
        "mean": ta.Occlusion(
            EACH, b.Mean.fit(train)
        ),  # which knows no missing cell: where one is measured nothing moves
        "missing": ta.Occlusion(EACH, b.Missing()),  # and the other way round
    }
    scores = ta.compare(model, x, methods, truth=truth, reference=train, groups=EACH, resamples=50)
    found = scores.pointing_game.sel(ranking="absolute")
    gone = x["lab"].isna().to_numpy()
    assert (found.sel({"method": "samples"}) == 1).all()
    assert (found.sel({"method": "mean"})[gone] == 1).all()
    assert (found.sel({"method": "missing"})[~gone] == 1).all()
    assert (found.sel({"method": "mean"})[~gone] == 0).all()
    assert (found.sel({"method": "missing"})[gone] == 0).all()
    assert "samples" in scores.attrs["recommendation"]
    maps = ta.explain(model, x, methods["samples"])
    apart = ta.evaluate(model, x, maps, truth=truth, groups=EACH, fills={"samples": b.Samples.fit(train)}, draws=40)
    np.testing.assert_array_equal(apart.pointing_game.sel(ranking="absolute"), found.sel({"method": "samples"}))
    emptied = apart.deletion_curve.sel(ranking="absolute", fill="samples").isel(share=-1)
    np.testing.assert_allclose(emptied, np.asarray(model.f(train)).mean(), atol=1e-12)


def test_pools_take_them_as_values():
    model, x, train, _ = seldom_measured()
    method = ta.Occlusion(EACH, b.Mean.fit(train))
    pool = ta.climate.Pool(blocks=10)
    for at in (slice(0, 15), slice(15, 40)):
        pool = pool.update(ta.explain(model, x[at], method))
    found = pool.result()["mean"].sel(feature="lab")
    assert found.item() == pytest.approx(3 * x["lab"].isna().mean(), abs=1e-12)


def test_how_far_off_the_data_it_is():
    model, x = boosted()
    ds = ta.explain(model, x[:4], ta.Occlusion(EACH, b.Missing()), reference=x[100:200], missing="value")
    assert ds["shift"].dims == ("sample", "group")
    assert np.isfinite(ds["shift"].sel(group="a")).all()


@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_never_missing_is_far_off_when_it_is(labelled):
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(400, 3)), columns=["often", "seldom", "never"])
    x = x.mask(pd.DataFrame(rng.random((400, 3)) < [0.5, 0.05, 0.0], columns=x.columns))
    if labelled:
        x["ward"] = pd.Categorical(rng.choice(["icu", "home"], 400))
    model = ta.models.on_frames(lambda df: df["often"].isna() + 0.1 * df["never"].isna() + df["seldom"].fillna(0.0))
    ds = ta.explain(model, x[:40], ta.Occlusion(EACH, b.Missing()), reference=x[40:])
    shift = ds["shift"].mean("sample")
    assert shift.sel(group="often") < 1 < shift.sel(group="never")
    assert shift.sel(group="often") < shift.sel(group="seldom") < shift.sel(group="never")
    if labelled:
        assert shift.sel(group="ward") > 1
    assert (ds.shift_intact < 1).mean() > 0.9
    assert ds.detector_auc > 0.7


def test_a_fill_that_takes_measurements_away_is_off_data_that_never_miss_any():
    rng = np.random.default_rng(0)
    whole = pd.DataFrame(rng.normal(size=(160, 4)), columns=list("abcd"))
    holes = whole.mask(rng.random(whole.shape) < 0.5)
    model = ta.models.on_frames(lambda df: 3.0 * df["a"].isna() + df["b"].fillna(0.0))
    methods = {"missing": ta.Occlusion(EACH, b.Missing())}
    share = {}
    for name, x in {"whole": whole, "holes": holes}.items():
        settings = {"groups": EACH, "fills": {"missing": b.Missing()}, "reference": x[40:], "resamples": 20}
        share[name] = ta.compare(model, x[:40], methods, **settings).fill_shift.item()
    assert share["whole"] > 0.9
    assert share["holes"] < 0.5


def test_padding_stays_padding():
    x = np.array([[[1.0, np.nan, 3.0]]])
    valid = np.array([[[True, True, False]]])
    f = ta.models.on_arrays(lambda x: np.nan_to_num(x, nan=10.0).sum((1, 2)))
    ds = ta.explain(f, x, ta.Occlusion(g.Cells(), b.Constant(0.0)), missing="value", valid=valid)
    np.testing.assert_array_equal(ds.attribution[0, 0], [1.0, 10.0, np.nan])


def test_order_and_company_change_nothing():
    model, x = boosted()
    method = ta.KernelShap(EACH, b.Samples.fit(x[50:60]), draws=10)
    whole = ta.explain(model, x[:6], method, missing="value")
    one = ta.explain(model, x[4:5], method, missing="value", batch_size=3)
    np.testing.assert_allclose(one.attribution, whole.attribution[4:5], atol=1e-12)
    turned = ta.explain(model, x[:6][::-1], method, missing="value")
    np.testing.assert_allclose(turned.attribution[::-1], whole.attribution, atol=1e-12)


def test_the_baseline_keeps_the_laws_of_baselines():
    ta.testing.check_baseline(b.Missing())


def test_a_pipeline_that_imputes():
    x = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [2.0, 4.0, np.nan]})
    pipe = make_pipeline(SimpleImputer(), LinearRegression()).fit(x, [1.0, 2.0, 5.0])
    ds = ta.explain(pipe, x, ta.Occlusion(EACH, b.Missing()), missing="value")
    for k, column in enumerate(x.columns):
        expected = pipe.predict(x) - pipe.predict(x.assign(**{column: np.nan}))
        np.testing.assert_allclose(ds.attribution[:, k], expected, atol=1e-12)
    assert (ds.attribution.values[np.isnan(x)] == 0).all()


# ---- what is refused


def test_a_model_that_does_not_read_it_is_quoted():
    x = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 4.0, 1.0]})
    model = LinearRegression().fit(x, [1.0, 2.0, 5.0])
    with pytest.raises(UnreadError, match=r"absent means not measured, Missing.*does not read NaN .*contains NaN"):
        ta.explain(model, x, ta.Occlusion(EACH, b.Missing()))
    with pytest.raises(ValueError, match=r"its output is NaN.*take another baseline, such as Samples"):
        ta.explain(lambda x: x.sum(1), torch.ones(1, 3), ta.Occlusion(g.Cells(), b.Missing()))


def no_nan(x):
    if torch.isnan(x).any():
        raise RuntimeError("NaN is not for me")
    return x.cumsum(2).sum(1)


@pytest.mark.parametrize(
    ("model", "said"), [(no_nan, "NaN is not for me"), (lambda x: x.cumsum(2).sum(1), "its output is NaN")]
)
@pytest.mark.parametrize("baseline", [b.Missing(), b.Mixture(b.Missing(), b.Constant(0.0))])
@pytest.mark.parametrize("method", [ta.WinIT, ta.FIT])
def test_methods_along_time_quote_it_too(model, said, baseline, method):
    window = {"window": 2} if method is ta.WinIT else {}
    with pytest.raises(UnreadError, match=rf"absent means not measured, Missing\(\).*does not read NaN \({said}\)"):
        ta.explain(model, series()[0].fillna(1.0), method(baseline=baseline, draws=2, **window), outputs=("time",))


def test_of_several_variables_that_of_the_one_is_quoted():
    x = xr.Dataset({"labs": (("sample", "lab"), [[1.0, 2.0]]), "age": (("sample", "item"), [[5.0]])})
    model = lambda labs, age: labs.nan_to_num().sum(1) + age.sum(1)  # noqa: E731
    of_labs = ta.Occlusion(g.Cells(), {"labs": b.Missing(), "age": b.Constant(5.0)})
    assert ta.explain(model, x, of_labs).attribution_labs.values.tolist() == [[1.0, 2.0]]
    with pytest.raises(UnreadError, match=r"absent means not measured, Missing\(\)"):
        ta.explain(model, x, ta.Occlusion(g.Cells(), b.Missing()))
    mixed = b.Mixture(b.Constant(0.0), b.Missing())
    with pytest.raises(UnreadError, match=r"absent means not measured, Missing\(\)"):
        ta.explain(model, x, ta.Occlusion(g.Cells(), mixed, draws=2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m, x: ta.explain(m, x, ta.Saliency(), missing="value"),
            TypeError,
            "no way in small steps .* Saliency walks",
        ),
        (
            lambda m, x: ta.explain(m, x, ta.IntegratedGradients(b.Missing())),
            TypeError,
            r"Missing\(\) is no end of a path",
        ),
        (
            lambda m, x: ta.explain(m, x, ta.Occlusion(g.Cells()), missing="zero"),
            ValueError,
            "missing is one of .*'value'",
        ),
    ],
)
def test_what_cannot_be(call, error, message):
    with pytest.raises(error, match=message):
        call(lambda x: x.sum(1), torch.ones(1, 3))


@pytest.mark.parametrize("settings", [{}, {"missing": "value"}, {"missing": "invalid"}])
def test_the_last_step_says_of_it_what_the_pipeline_says(settings):
    x = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [2.0, 4.0, np.nan]})
    pipe = make_pipeline(SimpleImputer(), LinearRegression()).fit(x, [1.0, 2.0, 5.0])
    method = ta.ShapleySampling(EACH, b.Constant({"a": 1.0, "b": 0.5}), draws=2)
    whole = ta.explain(pipe, x, method, **settings)
    last = ta.explain(ta.models.last_step(pipe), x, method, **settings)
    np.testing.assert_allclose(last.attribution, whole.attribution, atol=1e-12)
    assert np.isnan(whole.attribution).any() == (settings.get("missing") == "invalid")
    assert last.attrs["missing"] == whole.attrs["missing"]
