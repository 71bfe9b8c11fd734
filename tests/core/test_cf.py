import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr import climate, plot
from tsattr.core.axes import Axes
from tsattr.core.cf import direction, role, unit_of
from tsattr.core.shift.novelty import VariableReference

EAST = [
    ("lon", {}),
    ("Longitude", {}),
    ("lon", {"units": "degrees"}),
    ("x", {"standard_name": "longitude"}),
    ("x", {"standard_name": "longitude", "units": "degrees"}),
    ("x", {"axis": "X", "units": "degrees"}),
    *[
        ("x", {"units": unit})
        for unit in ("degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE")
    ],
]
NORTH = [
    (name.replace("x", "y").replace("lon", "lat").replace("Longitude", "LATITUDE"), attrs)
    for name, attrs in (
        (
            name,
            {
                k: v.replace("east", "north").replace("E", "N").replace("X", "Y").replace("longi", "lati")
                for k, v in attrs.items()
            },
        )
        for name, attrs in EAST
    )
]


@pytest.mark.parametrize(("name", "attrs"), EAST + NORTH)
def test_places_on_the_sphere_are_known_however_they_are_written(name, attrs):
    east = (name, attrs) in EAST
    assert role(name, attrs) == ("longitude" if east else "latitude")
    assert unit_of(name, attrs) == ("degrees_east" if east else "degrees_north")


@pytest.mark.parametrize(
    ("name", "attrs", "found", "unit"),
    [
        ("time", {}, "time", "s"),
        ("t", {"axis": "T", "units": "days since 2000-01-01"}, "time", "days since 2000-01-01"),
        ("when", {"standard_name": "time"}, "time", "s"),
        ("lon", {"units": "km"}, None, "km"),
        ("x", {"axis": "X"}, None, ""),
        ("x", {"axis": "X", "units": "m"}, None, "m"),
        ("rlon", {"axis": "X", "standard_name": "grid_longitude", "units": "degrees"}, None, "degrees"),
        ("lon", {"standard_name": "grid_longitude", "units": "degrees"}, None, "degrees"),
        ("lat", {"standard_name": "projection_y_coordinate"}, None, ""),
        ("lon", {"units": "radians"}, "longitude", "radians"),
        ("lead", {"units": "month"}, None, "month"),
        ("depth", {}, None, ""),
    ],
)
def test_other_dims(name, attrs, found, unit):
    assert (role(name, attrs), unit_of(name, attrs)) == (found, unit)


def field(lon, name="lon", **attrs):
    values = np.random.default_rng(0).normal(size=(3, 2, len(lon)))
    return xr.DataArray(values, dims=("sample", "y", name), coords={"y": [-30.0, 30.0], name: (name, lon, attrs)})


WEST = [-10.0, -5.0, 0.0, 5.0, 10.0]
CUT = [350.0, 355.0, 0.0, 5.0, 10.0]
b, g = ta.baselines, ta.groups
METHODS = {
    "windows": lambda dim: ta.Occlusion(g.Windows(**{dim: "10deg"}, step="5deg"), b.Mean(dim)),
    "shapley": lambda dim: ta.ShapleySampling(g.Windows(**{dim: "10deg"}), b.Uniform(-1, 1), draws=3),
    "blur": lambda dim: ta.IntegratedGradients(b.Blur(**{dim: "7deg"}), steps=4),
    "bridge": lambda dim: ta.Occlusion(g.Windows(**{dim: 2, "y": 1}), b.Bridge(dim)),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("dim", "attrs"), [("lon", {}), ("x", {"standard_name": "longitude"}), ("x", {"units": "degreesE"})]
)
def test_a_longitude_may_be_cut_anywhere(name, dim, attrs):
    f = lambda x: torch.tanh(x).sum((1, 2))  # noqa: E731
    method = METHODS[name](dim)
    expected = ta.explain(f, field(WEST), METHODS[name]("lon")).attribution.values
    found = ta.explain(f, field(CUT, dim, **attrs), method).attribution
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    down = ta.explain(f, field(CUT, dim, **attrs).isel({dim: slice(None, None, -1)}), method).attribution
    if name not in ("shapley",):  # whose draws differ in the cells
        np.testing.assert_allclose(down.isel({dim: slice(None, None, -1)}), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "attrs"), EAST)
def test_a_full_circle_is_one_whatever_it_is_called(name, attrs):
    f = lambda x: torch.tanh(x).sum((1, 2))  # noqa: E731
    lon = np.arange(0.0, 360.0, 60.0)
    x = field(lon, name, **attrs)
    ds = ta.explain(f, x, ta.Occlusion(g.Windows(**{name: "120deg", "y": 2}, step={name: "60deg"})))
    assert ds.sizes["group"] == 6  # round the seam too


# ---- every place follows: a field whose places are known by their names, and the same by attributes or in radians

RADIANS = {"units": "radians"}
SAME = {
    "standard names": ({"standard_name": "latitude"}, {"standard_name": "longitude"}, 1.0),
    "units": ({"units": "degrees_north"}, {"units": "degreesE"}, 1.0),
    "axes": ({"axis": "Y", "units": "degrees"}, {"axis": "X", "units": "degrees"}, 1.0),
    "radians": ({"standard_name": "latitude"} | RADIANS, {"standard_name": "longitude"} | RADIANS, np.pi / 180),
}
LAT, LON = np.array([-60.0, -20.0, 20.0, 60.0]), np.arange(0.0, 360.0, 60.0)


def globe(name=None):
    """(sample, lat, lon); by attributes `north` and `east`, whose names say nothing."""
    values = np.random.default_rng(0).normal(size=(3, 4, 6))
    if name is None:
        return xr.DataArray(values, dims=("sample", "lat", "lon"), coords={"lat": LAT, "lon": LON})
    up, across, unit = SAME[name]
    coords = {"north": ("north", LAT * unit, up), "east": ("east", LON * unit, across)}
    return xr.DataArray(values, dims=("sample", "north", "east"), coords=coords)


def windows(f):
    y, x = f.dims[1:]
    size, step = {y: "80deg", x: "120deg"}, {x: "60deg"}
    return ta.explain(lambda v: torch.tanh(v).sum((1, 2)), f, ta.Occlusion(g.Windows(**size, step=step))).attribution


def blurred(f):
    y, x = f.dims[1:]
    blur = b.Blur(**{y: "30deg", x: "70deg"})
    return ta.explain(lambda v: torch.tanh(v).sum((1, 2)), f, ta.IntegratedGradients(blur, steps=4)).attribution


def drawn(f):
    ax = plot.world(f[0], centre=180).axes[0]
    return np.array([*ax.get_xlim(), *ax.get_ylim(), *np.asarray(ax.collections[0].get_array()).ravel()])


def maps(f):
    return plot.field(f[0].transpose()).axes[0].collections[0].get_array()


PLACES = {
    "area weights": climate.area_weights,
    "area means": climate.area_mean,
    "dims of space": lambda f: [f.dims.index(d) for d in climate.sphere.space_dims(f)],
    "boxes": lambda f: climate.box(f, lat=(-30, 70), lon=(290, 70)),
    "distances": lambda f: climate.distance(f, lat=10, lon=50),
    "random regions": lambda f: climate.random_regions(climate.box(f, lat=(0, 30), lon=(0, 70)), 2),
    "windows, round the globe": windows,
    "blurs, round the globe": blurred,
    "maps": maps,
    "maps of the world": drawn,
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("place", PLACES)
def test_every_place_follows_the_attributes(place, name):
    found, expected = (np.asarray(PLACES[place](globe(n))) for n in (name, None))
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "attrs", "found"),
    [
        ("lat", {}, "Y"),
        ("lat", {"units": "km"}, "Y"),
        ("rlon", {"standard_name": "grid_longitude"}, "X"),
        ("j", {"axis": "Y"}, "Y"),
        ("northing", {"standard_name": "projection_y_coordinate", "units": "m"}, "Y"),
        ("east", {"standard_name": "longitude"}, "X"),
        ("X", {}, "X"),
        ("time", {}, None),
        ("depth", {"axis": "Z"}, None),
    ],
)
def test_what_runs_up_and_across_a_map(name, attrs, found):
    assert direction(name, attrs) == found


def test_a_rotated_pole_is_no_place_but_has_a_map():
    f = field(WEST, "lon", standard_name="grid_longitude", units="degrees")[0].transpose("lon", "y")
    with pytest.raises(KeyError, match="no latitude"):
        climate.area_weights(f)
    assert plot.maps.map_dims(f) == ("y", "lon")
    ds = ta.explain(lambda v: v.sum((1, 2)), f.expand_dims("sample"), ta.Occlusion(g.Windows(lon="10deg", y=1)))
    assert ds.attribution.shape == (1, 5, 2)


def test_blocks_are_cut_by_what_is_time():
    x = xr.DataArray(
        np.zeros((3, 1)), dims=("sample", "lead"), coords={"when": ("sample", [2.0, 0.0, 1.0], {"axis": "T"})}
    )
    assert climate.blocks.time_of(x, "sample").tolist() == [2.0, 0.0, 1.0]


def test_scores_go_along_what_is_time():
    values = np.random.default_rng(0).normal(size=(30, 2, 120)).cumsum(-1)
    x = xr.DataArray(values, dims=("sample", "lead", "time"), coords={"time": np.arange(120.0)})
    hours = x.rename(time="t").assign_coords(t=("t", np.arange(120.0), {"axis": "T"}))
    f = lambda v: torch.tanh(v).sum((1, 2))  # noqa: E731
    found, expected = (
        ta.evaluate(f, v, ta.explain(f, v, ta.InputXGradient()), metrics=["gap", "deletion"], reference=v, draws=1)
        for v in (hours, x)
    )
    assert found.fill.values.tolist() == expected.fill.values.tolist() == ["mean", "bridge", "samples"]
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())


def test_the_detector_looks_along_what_is_time():
    rows = np.random.default_rng(0).normal(size=(30, 80)).cumsum(-1)
    found, expected = (
        VariableReference(rows, Axes(("lead", t), (2, 40), time=t), 0).distances(rows[:5])[0] for t in ("t", "time")
    )
    assert "spectrum" in found
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
