"""Laws of fields: what the order of the dims, the direction of a latitude, the cut of a circle, land and chunks may not change."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr import climate as c

b, g, t = ta.baselines, ta.groups, ta.targets
LAT, LON = np.arange(60.0, -61, -30), np.arange(0.0, 360, 30)
RNG = np.random.default_rng(11)
TIMES = pd.date_range("1999-05-01", periods=60, freq="MS")
RECORD = xr.DataArray(
    RNG.normal(size=(60, 5, 12)).cumsum(0) / 3,
    dims=("time", "lat", "lon"),
    coords={
        "time": TIMES,
        "lat": ("lat", LAT, {"units": "degrees_north"}),
        "lon": ("lon", LON, {"units": "degrees_east"}),
    },
    attrs={"units": "K"},
)
LAND = c.box(RECORD, lat=(0, 60), lon=(330, 60))
DIMS = ("sample", "lag", "lat", "lon")
pytestmark = pytest.mark.filterwarnings("ignore:GuidedBackprop fails")  # its own caution
TRAIN = c.histories(RECORD.isel(time=slice(42)), lags=4)[0]
X = c.histories(RECORD.isel(time=slice(42, None)), lags=4)[0].isel(sample=[0, 5, 9])


class Emulator(nn.Module):
    """Histories (rows, lag, lat, lon) to maps (rows, lead, lat, lon), round the circle of longitude; land is 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3, padding=(1, 0))
        self.relu = nn.ReLU()
        self.head = nn.Conv2d(5, 2, 3, padding=(1, 0))

    def forward(self, x):
        round_ = lambda v: torch.cat([v[..., -1:], v, v[..., :1]], -1)  # noqa: E731
        return self.head(round_(self.relu(self.conv(round_(torch.nan_to_num(x))))))


def emulator():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return Emulator().double().eval()


class Reordered(nn.Module):
    """The emulator for another layout of its input: `way` takes rows of it back to the emulator's own."""

    def __init__(self, way):
        super().__init__()
        self.model, self.way = emulator(), way

    def forward(self, x):
        return self.model(self.way(x))


OUTPUTS = {"lead": [1, 6], "lat": LAT, "lon": LON}
TARGET = t.Region(c.area_weights(RECORD) * c.box(RECORD, lat=(-30, 30), lon=(270, 30)), lead=6.0)
REGIONS = c.partition({"tropics": c.box(RECORD, lat=(-30, 30)), "north": c.box(RECORD, lat=(60, 60))}, rest="south")
BOXES = g.Windows(lat=1, lon="90deg", lag=2, step={"lon": "60deg"})
WARM = c.State.composite(RECORD, c.nino34(RECORD.sel(lat=[0]).interp(lon=[215.0])) > 0, "warm")
METHODS = {
    "saliency": ta.Saliency(),
    "input x gradient": ta.InputXGradient(),
    "ig, climatology": ta.IntegratedGradients(b.Climatology.fit(RECORD), steps=5, rule="midpoint"),
    "ig, state": ta.IntegratedGradients(WARM, steps=5, rule="midpoint"),
    "ig, persistence, refined": ta.IntegratedGradients(c.Persistence(), tolerance=0.1),
    "expected gradients, season": ta.IntegratedGradients(c.SameSeason.fit(TRAIN, by="season"), steps=1, draws=6),
    "expected gradients, samples": ta.IntegratedGradients(b.Samples.fit(TRAIN), steps=1, draws=6),
    "ig, surrogates": ta.IntegratedGradients(b.PhaseRandomised("lag"), steps=3, draws=3),
    "occlusion, boxes, climatology": ta.Occlusion(BOXES, b.Climatology.fit(RECORD)),
    "occlusion, blur": ta.Occlusion(BOXES, b.Blur(lon="20deg", lat="15deg")),
    "occlusion, bridge": ta.Occlusion(BOXES, b.Bridge("lag")),
    "occlusion, seasons": ta.Occlusion(g.Labelled(X.time.dt.season), b.Mean("lag")),
    "occlusion, rings by lag": ta.Occlusion(
        g.Labelled(c.crossed(c.bins(c.distance(X, lat=0, lon=0), [0, 5000, 3e4]), c.bins(X.lag, [-4, -1, 0]))),
        b.Constant(0.1),
    ),
    "shapley, regions": ta.ShapleySampling(g.Labelled(REGIONS), b.Constant(0.1), draws=4),
    "occlusion, windows that do not divide": ta.Occlusion(
        g.Windows(lat="70deg", lon="100deg", lag=3, step={"lat": "60deg"}), b.Constant(0.1)
    ),
    "shapley, windows": ta.ShapleySampling(g.Windows(lat=2, lon=5, lag=3), b.Constant(0.1), draws=3),
    "shapley, along": ta.ShapleySampling(g.Along("lat", "lon"), b.Constant(0.1), draws=2),
    "kernel shap, windows": ta.KernelShap(g.Windows(lat=2, lon="90deg", lag=3), WARM, coalitions=60),
    "kernel shap, regions": ta.KernelShap(g.Labelled(REGIONS), WARM),
    "grad-cam": ta.GradCAM("model.relu"),
    "guided backpropagation": ta.GuidedBackprop(),
}
# Where the model is looked at from inside, a map is laid out by the order of the input's dims.
OUTSIDE = [name for name in METHODS if name != "grad-cam"]


def attribution(x, way=lambda rows: rows, method="saliency", **settings):
    target = settings.pop("target", TARGET)
    return ta.explain(Reordered(way), x, METHODS[method], target=target, outputs=OUTPUTS, **settings).attribution


@functools.cache
def plain(method, land=False):
    return attribution(X.where(~LAND) if land else X, method=method)


def same(a, b, name=""):
    """Equal to the last bit, but where a fill is a sum over neighbours that are taken in another order."""
    if "blur" in name or "bridge" in name or "zonal" in name:
        xr.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    else:
        xr.testing.assert_equal(a, b)


@pytest.mark.parametrize("name", METHODS)
def test_the_table_says_something(name):
    found = plain(name)
    assert found.dims == DIMS
    assert float(abs(found).max()) > 0
    assert {"time", "lag", "lat", "lon", "sample"} <= set(found.coords)
    xr.testing.assert_identical(found.time, X.time)
    assert found.attrs["input_units"] == "K"


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("order", [("lon", "sample", "lag", "lat"), ("sample", "lat", "lag", "lon")])
def test_permuting_dims_permutes_the_answer(name, order):
    inner = [d for d in order if d != "sample"]
    back = [0, *(1 + inner.index(d) for d in DIMS[1:])]
    found = attribution(X.transpose(*order), lambda rows: rows.permute(back), name)
    assert found.dims == order
    same(found.transpose(*DIMS), plain(name), name)


@pytest.mark.parametrize("name", OUTSIDE)
def test_flipping_latitude_flips_the_answer(name):
    found = attribution(X.isel(lat=slice(None, None, -1)), lambda rows: rows.flip(2), name)
    same(found.isel(lat=slice(None, None, -1)), plain(name), name)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("shift", [6, -1])
def test_rolling_longitude_rolls_the_answer(name, shift):
    found = attribution(X.roll(lon=shift, roll_coords=True), lambda rows: rows.roll(-shift, 3), name)
    same(found.roll(lon=-shift, roll_coords=True), plain(name), name)


WEST = {"lon": [(x + 180) % 360 - 180 for x in LON]}


@pytest.mark.parametrize("groups", [BOXES, g.Windows(lon=3, lag=2), g.Windows(lon=5, lat=2, step=2)])
def test_the_convention_of_the_longitudes_does_not_matter(groups):
    method = ta.Occlusion(groups, b.Constant(0.1))
    west = X.assign_coords(lon=("lon", WEST["lon"], X.lon.attrs)).sortby("lon")
    model = Reordered(lambda rows: rows.roll(6, 3))
    found = ta.explain(model, west, method, target=TARGET, outputs=OUTPUTS)
    expected = ta.explain(emulator(), X, method, target=TARGET, outputs=OUTPUTS)
    same(
        found.attribution.assign_coords(lon=found.lon % 360).sortby("lon").drop_attrs(),
        expected.attribution.drop_attrs(),
    )
    np.testing.assert_allclose(found.group_value, expected.group_value, rtol=1e-12, atol=1e-12)


def test_an_emulator_that_is_the_same_all_round_gives_maps_that_roll_with_the_target():
    near = lambda lon: t.Region(c.box(RECORD, lat=(0, 0), lon=(lon - 30, lon + 30)), lead=1.0)  # noqa: E731
    for name in ("saliency", "ig, climatology", "occlusion, boxes, climatology"):
        method = METHODS[name]
        if "climatology" in name:  # the same all round, too
            zonal = RECORD.mean("lon")
            method = (
                ta.IntegratedGradients(b.Climatology.fit(zonal), steps=5)
                if name[0] == "i"
                else ta.Occlusion(g.Windows(lat=1, lon="60deg", step={"lon": "30deg"}), b.Climatology.fit(zonal))
            )
        a = ta.explain(emulator(), X, method, target=near(0), outputs=OUTPUTS).attribution
        rolled = X.roll(lon=4, roll_coords=False)
        found = ta.explain(emulator(), rolled, method, target=near(120), outputs=OUTPUTS).attribution
        same(found.roll(lon=-4, roll_coords=False), a, "zonal")


# ---- land


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [0.0, 1e6])
def test_what_lies_under_land_never_changes_an_ocean_value(name, value):
    """Land as NaN, and land as anything at all that is declared invalid, where the model looks at neither."""
    sea = (~LAND).values
    blind = lambda rows: torch.where(torch.as_tensor(sea), rows, 0.0)  # noqa: E731
    garbage = X.where(~LAND, value)
    found = attribution(garbage, blind, name, valid=~LAND)
    expected = attribution(X.where(~LAND), blind, name)
    xr.testing.assert_equal(found, expected)
    np.testing.assert_array_equal(expected.isnull(), np.broadcast_to(LAND, expected.shape))


@pytest.mark.parametrize("name", ["ig, climatology", "occlusion, boxes, climatology", "kernel shap, regions"])
def test_baselines_fitted_on_seas_alone_are_those_of_the_whole(name):
    """A reference with land as NaN gives every ocean value as a reference with land does."""
    sea = RECORD.where(~LAND)
    other = {
        "ig, climatology": ta.IntegratedGradients(b.Climatology.fit(sea), steps=5, rule="midpoint"),
        "occlusion, boxes, climatology": ta.Occlusion(BOXES, b.Climatology.fit(sea)),
        "occlusion, windows that do not divide": ta.Occlusion(
            g.Windows(lat="70deg", lon="100deg", lag=3, step={"lat": "60deg"}), b.Constant(0.1)
        ),
        "shapley, windows": ta.ShapleySampling(g.Windows(lat=2, lon=5, lag=3), b.Constant(0.1), draws=3),
        "shapley, along": ta.ShapleySampling(g.Along("lat", "lon"), b.Constant(0.1), draws=2),
        "kernel shap, windows": ta.KernelShap(g.Windows(lat=2, lon="90deg", lag=3), WARM, coalitions=60),
        "kernel shap, regions": ta.KernelShap(
            g.Labelled(REGIONS),
            c.State(xr.DataArray(WARM.value.values, dims=("lat", "lon")).where(~LAND.drop_vars(("lat", "lon")))),
        ),
    }
    x = X.where(~LAND)
    found = ta.explain(Reordered(lambda r: r), x, other[name], target=TARGET, outputs=OUTPUTS).attribution
    xr.testing.assert_equal(found, plain(name, land=True))


def test_sea_ice_comes_and_goes():
    """A mask of each lag and sample: what is frozen gets no value, and the others those of a model that never sees it."""
    ice = (X.lat == 60) & (X.time.dt.month < 4)
    assert 0 < int(ice.sum()) < ice.size
    method = ta.IntegratedGradients(b.Climatology.fit(RECORD), tolerance=1e-3)
    with_ice = X.where(~ice)
    ds = ta.explain(emulator(), with_ice, method, target=TARGET, outputs=OUTPUTS)
    assert bool((ds.attribution.isnull() == ice).all())
    assert float(ds.completeness_error.max()) < 0.01
    clim = RECORD.groupby("time.month").mean()
    full = clim.sel(month=X.time.dt.month).drop_vars("month").where(~ice)
    start = ta.explain(emulator(), full.transpose(*DIMS), ta.Saliency(), target=TARGET, outputs=OUTPUTS)
    np.testing.assert_allclose(ds.reference, start.prediction, rtol=1e-12)


def test_a_baseline_that_lacks_an_ocean_cell_is_refused():
    holes = RECORD.where(RECORD.lon != 90)
    with pytest.raises(ValueError, match="the baseline gives NaN at 20 cells that are present in the input"):
        ta.explain(
            emulator(),
            X.isel(sample=[0]),
            ta.IntegratedGradients(b.Climatology.fit(holes)),
            target=TARGET,
            outputs=OUTPUTS,
        )


# ---- chunks


@pytest.mark.parametrize("name", METHODS)
def test_chunked_is_in_memory(name):
    field = RECORD.chunk(time=9, lat=2)
    x = c.histories(field.isel(time=slice(42, None)), lags=4)[0].isel(sample=[0, 5, 9])
    assert x.chunks is not None
    xr.testing.assert_identical(attribution(x, method=name), plain(name))


def test_baselines_from_chunked_references():
    chunked = RECORD.chunk(time=10)
    for fit in (
        b.Climatology.fit,
        lambda r: c.State.period(r, "2000"),
        lambda r: b.Samples.fit(c.histories(r, lags=4)[0]),
    ):
        method = [ta.IntegratedGradients(fit(r), steps=2, draws=2) for r in (chunked, RECORD)]
        a, e = (ta.explain(emulator(), X, m, target=TARGET, outputs=OUTPUTS).attribution for m in method)
        xr.testing.assert_allclose(a, e, rtol=1e-12)


# ---- targets


def test_regions_and_leads_share_one_forward_pass():
    boxes = {"nino": c.box(RECORD, lat=(-30, 30), lon=(180, 240)), "seam": c.box(RECORD, lat=(0, 0), lon=(-60, 60))}
    area = c.area_weights(RECORD)
    targets = {
        f"{name}, lead {lead}": t.Region(area * box, lead=float(lead)) for name, box in boxes.items() for lead in (1, 6)
    }
    targets["west less east"] = t.Difference(
        t.Region(area * boxes["nino"], lead=6.0), t.Region(area * boxes["seam"], lead="6")
    )
    targets["point"] = t.Output(lead="6", lat=-30.0, lon=330.0)
    rows = []

    class Spy(Emulator):
        def forward(self, x):
            rows.append(len(x))
            return super().forward(x)

    with torch.random.fork_rng():
        torch.manual_seed(2)
        spy = Spy().double()
    method = ta.IntegratedGradients(WARM, steps=7, rule="midpoint")
    ds = ta.explain(spy, X, method, target=targets, outputs=OUTPUTS, check=False)
    assert sum(rows) == int(ds.model_evaluations.sum()) == len(X) * (1 + 1 + 7)
    assert ds.target.values.tolist() == list(targets)
    assert ds.attribution.dims == (*DIMS, "target")
    maps = emulator()(torch.as_tensor(X.values.copy())).detach().numpy()
    maps = xr.DataArray(maps, dims=("sample", "lead", "lat", "lon"), coords=OUTPUTS)
    for name, box in boxes.items():
        for lead in (1, 6):
            expected = maps.sel(lead=lead).weighted(area * box).mean(("lat", "lon"))
            np.testing.assert_allclose(ds.prediction.sel(target=f"{name}, lead {lead}"), expected, rtol=1e-12)
    by_lead = ds.prediction.sel(target=["nino, lead 6", "seam, lead 6"])
    np.testing.assert_allclose(ds.prediction.sel(target="west less east"), by_lead[:, 0] - by_lead[:, 1], rtol=1e-9)
    np.testing.assert_allclose(ds.prediction.sel(target="point"), maps.sel(lead=6, lat=-30, lon=330), rtol=1e-12)
    for name, target in targets.items():
        one = ta.explain(emulator(), X, method, target=target, outputs=OUTPUTS)
        same(ds.attribution.sel(target=name, drop=True).drop_attrs(), one.attribution.drop_attrs())


def test_a_pattern_is_a_target():
    eof = RECORD.isel(time=0, drop=True) - RECORD.isel(time=0).mean()
    maps = emulator()(torch.as_tensor(X.values.copy())).detach().numpy()
    ds = ta.explain(emulator(), X, ta.Saliency(), target=t.Projection(eof.T, lead=1.0), outputs=OUTPUTS)
    np.testing.assert_allclose(ds.prediction, (maps[:, 0] * eof.values).sum((1, 2)), rtol=1e-10)


# ---- several variables


def test_variables_on_two_grids_with_masks_of_their_own():
    """Completeness over both, and each variable as if the other were part of the model."""
    sst = X.where(~LAND)
    wind = c.histories(RECORD.isel(lat=slice(1, 4), lon=slice(0, None, 2)).rename(lat="y", lon="x"), lags=4)[0]
    wind = wind.sel(sample=X.sample)
    wind = wind.where(wind.y > -30)
    model = emulator()

    def both(sst, wind):
        fine = torch.nan_to_num(wind).repeat_interleave(2, 3)
        return model(torch.nan_to_num(sst) + nn.functional.pad(fine, (0, 0, 1, 1))).tanh()

    inputs = xr.Dataset({"sst": sst, "wind": wind})
    clim = b.Climatology.fit(RECORD)
    other = b.Climatology.fit(RECORD.isel(lat=slice(1, 4), lon=slice(0, None, 2)).rename(lat="y", lon="x"))
    method = ta.IntegratedGradients({"sst": clim, "wind": other}, steps=200, rule="midpoint")
    ds = ta.explain(both, inputs, method, target=TARGET, outputs=OUTPUTS)
    assert ds.attribution_wind.dims == ("sample", "lag", "y", "x")
    np.testing.assert_array_equal(ds.attribution_sst.isnull(), sst.isnull())
    np.testing.assert_array_equal(ds.attribution_wind.isnull(), wind.isnull())
    total = ds.attribution_sst.sum(("lag", "lat", "lon")) + ds.attribution_wind.sum(("lag", "y", "x"))
    np.testing.assert_allclose(total, ds.prediction - ds.reference, rtol=1e-2)
    groups = {"sst": g.Windows(lat=1, lon="90deg"), "wind": g.Along("lag")}
    occluded = ta.explain(
        both, inputs, ta.Occlusion(groups, {"sst": clim, "wind": other}), target=TARGET, outputs=OUTPUTS
    )
    assert occluded.sizes["group"] == 5 * 4 + 4
    alone = ta.explain(
        lambda rows, w: both(rows, w),
        sst,
        ta.Occlusion(groups["sst"], clim),
        target=TARGET,
        outputs=OUTPUTS,
        context={"w": wind},
    )
    np.testing.assert_allclose(occluded.group_value[:, :20], alone.group_value, rtol=1e-9, atol=1e-12)


# ---- calendars, files


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "proleptic_gregorian"])
def test_cftime_calendars_there_and_back(calendar, tmp_path):
    dates = xr.date_range("1999-05-01", periods=60, freq="MS", calendar=calendar, use_cftime=True)
    x = c.histories(RECORD.assign_coords(time=dates), lags=4)[0].isel(sample=[42, 47, 51])
    method = ta.IntegratedGradients(b.Climatology.fit(RECORD.assign_coords(time=dates)), steps=5, rule="midpoint")
    ds = ta.explain(emulator(), x, method, target=TARGET, outputs=OUTPUTS)
    np.testing.assert_allclose(ds.attribution, plain("ig, climatology"), rtol=1e-12)
    ds.to_netcdf(tmp_path / "a.nc")
    coder = xr.coders.CFDatetimeCoder(use_cftime=True)
    with xr.open_dataset(tmp_path / "a.nc", decode_times=coder) as back:
        xr.testing.assert_identical(back.load(), ds)


@pytest.mark.filterwarnings("ignore:The data type")  # strings of a fixed length are not in the specification yet
def test_zarr_there_and_back(tmp_path):
    pytest.importorskip("zarr")
    ds = ta.explain(emulator(), X, METHODS["ig, state"], target=TARGET, outputs=OUTPUTS)
    ds.to_zarr(tmp_path / "a.zarr", consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "a.zarr", consolidated=False).load(), ds)
