"""Pictures of fields: what is on them, in numbers; each is also rendered to PNG."""

import importlib.util

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from tsattr import plot
from tsattr.plot import shade

CARTOPY = importlib.util.find_spec("cartopy") is not None
plain_axes = pytest.mark.skipif(CARTOPY, reason="cartopy is installed: its axes are tested apart")


def field(lat=(-20.0, 0.0, 20.0), lon=(150.0, 170.0, 190.0, 210.0), seed=0, **more):
    shape = (*(len(v) for v in more.values()), len(lat), len(lon))
    values = np.random.default_rng(seed).normal(size=shape)
    a = xr.DataArray(values, dims=(*more, "lat", "lon"), coords={**more, "lat": list(lat), "lon": list(lon)})
    a[..., 0, 1] = np.nan
    return a.assign_attrs(units="degC")


def meshes(ax):
    return [c for c in ax.collections if isinstance(c, QuadMesh)]


def hatched(ax):
    """The value at the middle of every cell: inside a hatched contour or not."""
    (found,) = [c for c in ax.collections if isinstance(c, QuadContourSet) and any(c.hatches)]
    return lambda x, y: any(path.contains_point((x, y)) for path in found.get_paths())


def rendered(figure: Figure, tmp_path):
    target = tmp_path / "figure.png"
    figure.savefig(target, dpi=60)
    assert target.stat().st_size > 3000
    return figure


# ----------------------------------------------------------------------------------------------------------------- maps


@plain_axes
def test_values_land_and_limits(tmp_path):
    a = field()
    figure = rendered(plot.world(a, limit=2.0), tmp_path)
    ground, mesh = meshes(figure.axes[0])
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan).reshape(a.shape), a.values)
    assert mesh.get_clim() == (-2, 2)
    np.testing.assert_array_equal(np.asarray(ground.get_array()).reshape(a.shape), a.notnull())
    assert ground.cmap(0.0)[:3] == pytest.approx([int(shade.LAND[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert ground.cmap(1.0)[:3] == (1, 1, 1)
    assert "degC" in figure.axes[-1].get_xlabel()


@plain_axes
def test_one_scale_for_all_panels_symmetric_about_zero(tmp_path):
    a = field(lag=[-3, -2, -1])
    figure = rendered(plot.world(a, title="three lags"), tmp_path)
    limits = {meshes(ax)[1].get_clim() for ax in figure.axes[:3]}
    assert limits == {(-shade.symmetric_limit(a), shade.symmetric_limit(a))}
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == ["lag: -3", "lag: -2", "lag: -1"]
    assert not figure.axes[3].axison  # the place of a fourth


@plain_axes
def test_importance_of_at_least_zero_has_half_a_colour_bar():
    bar = plot.world(abs(field()), limit=1.5).axes[-1]
    assert bar.get_xlim() == (0, 1.5)
    assert "blue" not in bar.get_xlabel()


@plain_axes
def test_hatching_is_where_the_interval_includes_zero(tmp_path):
    a = field(lat=np.arange(-30.0, 31, 10), lon=np.arange(100.0, 181, 10))
    figure = rendered(plot.world(a, a - 0.8, a + 0.8), tmp_path)
    inside = hatched(figure.axes[0])
    for lat in a.lat.values[1:-1]:
        for lon in a.lon.values[1:-1]:
            value = float(a.sel(lat=lat, lon=lon))
            assert inside(lon, lat) == (abs(value) <= 0.8 and not np.isnan(value))
    assert "includes 0" in figure.axes[-1].get_title(loc="right")
    sure = plot.world(a, a + 10, a + 11)
    assert not [c for c in sure.axes[0].collections if isinstance(c, QuadContourSet)]


@plain_axes
@pytest.mark.parametrize("convention", [0, 180])
@pytest.mark.parametrize("turned", [0, 2, 5])
def test_a_field_over_the_seam_is_drawn_in_one_piece(convention, turned):
    lon = np.array([150.0, 170.0, 190.0, 210.0]) + (180 if convention == 0 else 0)
    lon = (lon + convention) % 360 - convention
    a = field(lon=lon).roll(lon=turned, roll_coords=True)
    figure = plot.world(a)
    low, high = figure.axes[0].get_xlim()
    assert high - low == pytest.approx(80)
    mesh = meshes(figure.axes[0])[1]
    whole = np.ma.filled(mesh.get_array(), np.nan).reshape(a.shape)
    np.testing.assert_array_equal(whole, field(lon=lon).values)


@plain_axes
def test_a_globe_begins_where_its_coordinate_does_or_is_centred():
    globe = field(lon=np.arange(0.0, 360, 30))
    assert plot.world(globe).axes[0].get_xlim() == (-15, 345)
    centred = plot.world(globe, centre=0)
    assert centred.axes[0].get_xlim() == (-195, 165)
    values = np.ma.filled(meshes(centred.axes[0])[1].get_array(), np.nan).reshape(globe.shape)
    np.testing.assert_array_equal(values, globe.roll(lon=6).values)
    west = globe.assign_coords(lon=(globe.lon + 180) % 360 - 180).sortby("lon")
    assert plot.world(west).axes[0].get_xlim() == (-195, 165)


@plain_axes
def test_descending_latitude_and_transposed_maps_look_the_same():
    a = field()
    other = plot.world(a.transpose("lon", "lat").isel(lat=slice(None, None, -1)))
    mesh = meshes(other.axes[0])[1]
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan).reshape(a.shape), a.values[::-1])
    assert other.axes[0].get_ylim() == (-30, 30)


@plain_axes
def test_labels_name_the_side():
    figure = plot.world(field(lon=np.arange(0.0, 360, 30), lat=np.arange(-60.0, 61, 30)))
    ax = figure.axes[0]
    x, y = ax.xaxis.get_major_formatter(), ax.yaxis.get_major_formatter()
    assert [x(v, 0) for v in (0, 90, 180, 270, -90, 360)] == ["0°", "90°E", "180°", "90°W", "90°W", "0°"]
    assert [y(v, 0) for v in (-30, 0, 30)] == ["30°S", "0°", "30°N"]


def test_a_region_is_outlined(tmp_path):
    a = field(lat=np.arange(-30.0, 31, 10), lon=np.arange(100.0, 181, 10))
    region = (abs(a.lat) < 15) & (a.lon > 125) & (a.lon < 155)
    figure = rendered(plot.world(a, region=region), tmp_path)
    (outline,) = [c for c in figure.axes[0].collections if isinstance(c, QuadContourSet)]
    assert outline.get_linewidth()[0] == 1.2


@pytest.mark.skipif(not CARTOPY, reason="cartopy is not installed")
def test_cartopy_axes_where_there_is_cartopy(tmp_path):
    a = field(lon=np.arange(0.0, 360, 30))
    figure = rendered(plot.world(a, a - 0.8, a + 0.8, centre=180, region=a > 1), tmp_path)
    assert type(figure.axes[0]).__name__ == "GeoAxes"
    low, high = figure.axes[0].get_xlim()
    assert high - low == pytest.approx(360, abs=1)


@plain_axes
@pytest.mark.parametrize(
    "turned",
    [
        lambda v: v.isel(lat=slice(None, None, -1)),
        lambda v: v.roll(lon=5, roll_coords=True),
        lambda v: v.assign_coords(lon=(v.lon + 180) % 360 - 180).sortby("lon"),
    ],
)
def test_regions_and_intervals_are_matched_by_label(turned):
    a = field(lat=np.arange(-30.0, 31, 10), lon=np.arange(0.0, 360, 30))
    region = (a.lat > 0) & (a.lon > 100) & (a.lon < 200)
    ends = a - 0.8, a + 0.8
    expected, found = plot.world(a, *ends, region=region), plot.world(a, *map(turned, ends), region=turned(region))
    lines = [
        [path.vertices for c in figure.axes[0].collections if isinstance(c, QuadContourSet) for path in c.get_paths()]
        for figure in (expected, found)
    ]
    assert len(lines[0]) == len(lines[1]) > 1
    for one, other in zip(*lines):
        np.testing.assert_array_equal(one, other)


def test_other_cells_are_refused():
    a = field()
    with pytest.raises(ValueError, match=r"region lacks 1 of the map's labels along dim 'lat', such as \[-20.0\]"):
        plot.world(a, region=a.notnull().isel(lat=slice(1, None)))
    with pytest.raises(ValueError, match=r"low has dims .* and needs a coordinate along 'lat'"):
        plot.world(a, a.drop_vars("lat"), a)
    lags = field(lag=[-2, -1])
    with pytest.raises(ValueError, match="high lacks 1 of the map's labels along dim 'lag'"):
        plot.world(lags, lags, lags.assign_coords(lag=[-3, -1]))


@plain_axes
@pytest.mark.parametrize("lon", [np.linspace(0, 360, 13), np.arange(0, 4000, 400.0)])
def test_a_cyclic_column_and_projected_cells_are_drawn(lon):
    a = field(lon=lon)
    a["lon"].attrs["units"] = "km" if lon.max() > 360 else "degrees_east"
    plot.world(a, a - 1, a + 1, region=a > 0)


@plain_axes
@pytest.mark.parametrize("n", [94, 128])
def test_gaussian_latitudes_match_in_either_precision(n):
    lat = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(n)[0]))
    a = field(lat=lat)
    plot.world(a, region=(a > 0).assign_coords(lat=lat.astype(np.float32)))


def test_map_refusals():
    a = field()
    with pytest.raises(ValueError, match="two ends"):
        plot.world(a, a)
    with pytest.raises(ValueError, match="coordinates along 'lat' and 'lon'"):
        plot.world(a.drop_vars("lon"))
    with pytest.raises(ValueError, match=r"\{'lag': 20\} are more than the 12"):
        plot.world(field(lag=np.arange(20)))
    with pytest.raises(ValueError, match="limit must be a positive number"):
        plot.world(a, limit=-1)


# ----------------------------------------------------------------------------------------------------- lag and distance


def shares(**more):
    lag, km = np.arange(-12, 0), np.arange(250.0, 5000, 500)
    rng = np.random.default_rng(0)
    shape = tuple(len(v) for v in more.values())
    a = rng.gamma(1.0, size=(*shape, 12, 10))
    coords = {**more, "lag": ("lag", lag, {"units": "month"}), "distance": ("distance", km, {"units": "km"})}
    return xr.DataArray(a / a.sum((-2, -1), keepdims=True), dims=(*more, "lag", "distance"), coords=coords)


def test_lag_by_distance(tmp_path):
    a = shares(target=["lead 1", "lead 9"])
    null = shares(member=[0, 1, 2], target=["lead 1", "lead 9"])
    figure = rendered(plot.lag_distance(xr.Dataset({"mass_share": a, "mass_share_null": null}), title="t"), tmp_path)
    first, second, bar = figure.axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["target: lead 1", "target: lead 9"]
    assert first.get_xlabel() == "lag [month]"
    np.testing.assert_array_equal(np.asarray(meshes(second)[0].get_array()).reshape(10, 12), a[1].T)
    inside = hatched(first)
    top = null[:, 0].max("member")
    for i, lag in enumerate(a.lag.values[1:-1], 1):
        for j, km in enumerate(a.distance.values[1:-1], 1):
            assert inside(lag, km) == bool(a[0, i, j] <= top[i, j])
    assert bar.get_xlim() == (0, shade.symmetric_limit(a))
    assert "untrained" in bar.get_xlabel()
    assert f"the largest at {float(a.max()):.3g}" in bar.get_xlabel()
    whole = plot.lag_distance(xr.Dataset({"mass_share": a}), limit=float(a.max())).axes[-1]
    assert (whole.get_xlim()[1], whole.get_xlabel()) == (float(a.max()), "share of the mass")
    alone = plot.lag_distance(a.isel(target=0).to_dataset(name="mass_share"))
    assert "untrained" not in alone.axes[-1].get_xlabel()


def test_lag_by_distance_refusals():
    with pytest.raises(KeyError, match="no variable 'mass_share'"):
        plot.lag_distance(xr.Dataset({"share": shares()}))
    with pytest.raises(ValueError, match=r"a lag and 'distance', got dims \('lag',\)"):
        plot.lag_distance(shares().sum("distance").to_dataset(name="mass_share"))


# ------------------------------------------------------------------------------------------------------ profiles, skill


def test_a_profile_with_its_interval_its_null_and_the_area(tmp_path):
    share = shares().sum("lag")
    null = shares(member=[0, 1, 2]).sum("lag")
    area = xr.full_like(share, 0.1)
    ds = xr.Dataset(
        {
            "mass_share": share,
            "mass_share_low": share * 0.8,
            "mass_share_high": share * 1.3,
            "area_share": area,
            "mass_share_null": null,
        }
    )
    figure = rendered(plot.profile(ds, title="where"), tmp_path)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "distance from the target [km]"
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata())]
    for expected in (share, area, *null):
        assert any(np.array_equal(y, expected) for y in drawn)
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(float(share.min()) * 0.8)
    assert heights.max() == pytest.approx(float(share.max()) * 1.3)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["share of the area", "untrained networks"]


def test_profiles_of_several_targets(tmp_path):
    share = shares(target=["lead 1", "lead 9"]).sum("distance")
    null = shares(member=[0, 1], target=["lead 1", "lead 9"]).sum("distance")
    figure = rendered(plot.profile(xr.Dataset({"mass_share": share, "mass_share_null": null})), tmp_path)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "lag [month]"
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["target: lead 1", "target: lead 9", "untrained networks"]
    assert len([line for line in ax.lines if line.get_linewidth() == 0.6 and len(line.get_xdata())]) == 4
    with pytest.raises(ValueError, match="at most one other"):
        plot.profile(shares(target=["a", "b"]).to_dataset(name="mass_share"))
    with pytest.raises(KeyError, match="no variable 'density'"):
        plot.profile(xr.Dataset({"mass_share": share}), "density")


def test_density_is_drawn_beside_that_of_a_uniform_map():
    density = shares().sum("lag") * 10
    ax = plot.profile(density.to_dataset(name="density"), "density").axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a uniform map"]


def test_skill_with_intervals_and_random_regions(tmp_path):
    case = ["intact", "keep region", "drop region", "last 3"]
    rmse = xr.DataArray([0.5, 0.55, 0.9, 0.6], dims="case", coords={"case": case}, attrs={"units": "degC"})
    random = xr.DataArray(np.full((4, 5), np.nan), dims=("case", "control"))
    random[1:3] = np.random.default_rng(0).uniform(0.5, 0.9, (2, 5))
    ds = xr.Dataset({"rmse": rmse, "rmse_low": rmse - 0.1, "rmse_high": rmse + 0.2, "rmse_random": random})
    figure = rendered(plot.skill(ds, title="without"), tmp_path)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == case
    assert ax.get_xlabel() == "rmse [degC]"
    assert ax.yaxis_inverted()
    ends = np.array([s[:, 0] for s in ax.collections[0].get_segments()])
    np.testing.assert_allclose(ends, np.stack([rmse - 0.1, rmse + 0.2], 1))
    dots = np.concatenate([line.get_xdata() for line in ax.lines if line.get_markersize() == 4])
    assert np.isfinite(dots).sum() == 10
    with pytest.raises(ValueError, match=r"'rmse_random' has dims"):
        plot.skill(ds, "rmse_random")
