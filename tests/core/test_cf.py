import numpy as np
import pytest
import torch
import xarray as xr

import tsattr as ta
from tsattr.core.cf import role, unit_of

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
