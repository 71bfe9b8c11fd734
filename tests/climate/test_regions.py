"""Distances, masks and area means, against slow references and on every kind of grid."""

import math

import numpy as np
import pytest
import xarray as xr

from tsattr import climate as c


def grid(lat, lon, **coords):
    return xr.DataArray(np.zeros((len(lat), len(lon))), dims=("lat", "lon"), coords={"lat": lat, "lon": lon, **coords})


EAST = grid(np.arange(80.0, -81, -10), np.arange(0.0, 360, 15))
WEST = grid(np.arange(-80.0, 81, 10), np.arange(-180.0, 180, 15))


def same_place(a, b):
    """b, of another convention, on the cells of a."""
    return b.assign_coords(lon=b.lon % 360).sel(lat=a.lat, lon=a.lon).transpose(*a.dims)


def haversine(lat1, lon1, lat2, lon2):
    p, q, d = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(d / 2) ** 2
    return 2 * c.EARTH_RADIUS_KM * math.asin(min(1, math.sqrt(h)))


@pytest.mark.parametrize(("lat", "lon"), [(0, 0), (37.5, -120), (90, 10), (-80, 359)])
def test_distance_from_a_point_is_the_haversine(lat, lon):
    found = c.distance(EAST, lat=lat, lon=lon)
    expected = [[haversine(lat, lon, y, x) for x in EAST.lon.values] for y in EAST.lat.values]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-3)  # km; a chord near the antipode keeps 1e-8 of 2 R
    assert found.dims == ("lat", "lon")
    assert found.units == "km"
    xr.testing.assert_allclose(same_place(found, c.distance(WEST, lat=lat, lon=lon)), found, atol=1e-6)


def test_distance_from_a_region_is_that_of_its_nearest_cell():
    region = c.box(EAST, lat=(-10, 20), lon=(330, 30))
    found = c.distance(EAST, region)
    ends = [(y, x) for y in EAST.lat.values for x in EAST.lon.values if region.sel(lat=y, lon=x)]
    expected = [[min(haversine(y, x, *end) for end in ends) for x in EAST.lon.values] for y in EAST.lat.values]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-3)
    assert (found.where(region, 0) == 0).all()
    xr.testing.assert_identical(c.distance(EAST.T, region).transpose("lat", "lon"), found)


def test_the_order_of_the_dims_is_the_fields():
    field = EAST.T.expand_dims(lag=[-2, -1])
    for mask in (c.distance(field, lat=0, lon=0), c.box(field, lat=(0, 10)), c.disc(field, 2000, lat=0, lon=0)):
        assert mask.dims == ("lon", "lat")


# ---- boxes


def reference_box(field, lat, lon):
    """Every cell that a walk eastward from `west` to `east`, a degree at a time, comes by."""
    steps = round((lon[1] - lon[0]) % 360) if lon[1] - lon[0] < 360 else 359
    walk = {(lon[0] + k) % 360 for k in range(steps + 1)}
    return [[lat[0] <= y <= lat[1] and x % 360 in walk for x in field.lon.values] for y in field.lat.values]


@pytest.mark.parametrize("field", [EAST, WEST])
@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        ((-5, 5), (190, 240)),
        ((-5, 5), (-170, -120)),
        ((0, 80), (350, 20)),
        ((0, 80), (-30, 15)),
        ((-90, 0), (165, -165)),
        ((-20, 20), (0, 360)),
        ((-20, 20), (-180, 180)),
        ((10, 10), (45, 45)),
    ],
)
def test_a_box_in_any_convention(field, lat, lon):
    np.testing.assert_array_equal(c.box(field, lat=lat, lon=lon), reference_box(field, lat, lon))


def test_a_box_without_a_side_goes_all_round():
    assert int(c.box(EAST, lat=(0, 0)).sum()) == 24
    assert int(c.box(EAST, lon=(0, 0)).sum()) == 17


def test_the_edges_of_a_box_hold_for_float32():
    lon = np.arange(0, 360, 0.1, dtype=np.float32)
    inside = c.box(grid(np.array([0.1, 0.3], np.float32), lon), lat=(0.1, 0.3), lon=(190.1, 240.3))
    assert int(inside.sum()) == 2 * 503


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: c.box(EAST, lat=(5, -5)), ValueError, r"lat is \(south, north\), got \(5, -5\)"),
        (lambda: c.box(EAST, lat=(1, 2)), ValueError, "no cell of the field lies in lat=.1, 2."),
        (lambda: c.disc(EAST, 10, lat=5, lon=5), ValueError, "no cell of the field lies in 10 km of lat=5"),
        (lambda: c.distance(EAST), TypeError, "distance is from a region"),
        (lambda: c.distance(EAST, lat=0), TypeError, "distance is from a region"),
        (lambda: c.distance(EAST, EAST), TypeError, "a region is a boolean mask"),
        (lambda: c.distance(EAST, EAST > 1), ValueError, "the region has no cell"),
        (lambda: c.distance(EAST, (EAST == 0).expand_dims("lag")), ValueError, "a region lies along"),
        (lambda: c.distance(EAST, c.box(WEST, lat=(0, 9))), ValueError, "align"),
        (lambda: c.polygon(EAST, lat=[0, 1], lon=[0, 1]), ValueError, "at least three corners"),
        (lambda: c.polygon(EAST, lat=[70] * 4, lon=[0, 90, 180, 270]), ValueError, "run round a pole"),
        (lambda: c.area_weights(xr.DataArray([0.0], dims="time")), KeyError, "no latitude among the coordinates"),
        (lambda: c.distance(EAST.drop_vars("lon"), lat=0, lon=0), KeyError, "no longitude among .*'lat'"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- polygons and discs


@pytest.mark.parametrize("shift", [0, 90, 175, 180, 300, -200])
@pytest.mark.parametrize("field", [EAST, WEST])
def test_a_rectangle_is_a_box_wherever_the_seam_is(field, shift):
    lon = [shift + 2, shift + 2, shift + 49, shift + 49]
    found = c.polygon(field, lat=[-25, 33, 33, -25], lon=lon)
    xr.testing.assert_equal(found, c.box(field, lat=(-25, 33), lon=(shift + 2, shift + 49)))


def test_a_triangle_holds_what_its_three_sides_do():
    found = c.polygon(EAST, lat=[-41, -41, 62], lon=[100, 221, 161])
    y, x = EAST.lat.values[:, None], EAST.lon.values[None]
    left = (x - 100) * 103 - (y + 41) * 61 >= 0  # right of the side from (100, -41) to (161, 62)
    right = (221 - x) * 103 - (y + 41) * 60 >= 0
    np.testing.assert_array_equal(found, left & right & (y >= -41))


def test_a_polygon_is_the_same_either_way_round():
    lat, lon = [-31, 43, 12], [331, 22, 77]
    xr.testing.assert_equal(c.polygon(EAST, lat=lat, lon=lon), c.polygon(EAST, lat=lat[::-1], lon=lon[::-1]))


def test_a_disc_round_a_pole_is_a_cap():
    xr.testing.assert_equal(c.disc(EAST, 2500, lat=90, lon=123), c.box(EAST, lat=(90 - 2500 / 111.2, 90)))


# ---- grids


def test_coordinates_by_name_standard_name_or_units():
    y = xr.DataArray(
        np.zeros((2, 3)),
        dims=("j", "i"),
        coords={
            "geolat": (("j", "i"), np.full((2, 3), 60.0), {"standard_name": "latitude"}),
            "geolon": (("j", "i"), np.array([[0.0, 120, 240], [10, 130, 250]]), {"units": "degrees_east"}),
        },
    )
    np.testing.assert_allclose(c.area_weights(y), 0.5)
    assert c.box(y, lon=(115, 245)).values.tolist() == [[False, True, True], [False, True, False]]
    assert c.distance(y, lat=60, lon=10).values[1, 0] < 1e-3
    assert c.distance(y, lat=60, lon=10).dims == ("j", "i")
    assert float(c.area_mean(y + c.coordinates(y)[1])) == 125


def test_area_means_leave_out_what_is_missing_and_keep_other_dims():
    rng = np.random.default_rng(0)
    field = xr.concat([EAST + rng.normal(size=EAST.shape) for _ in range(3)], "time")
    field = field.where(rng.random(field.shape) < 0.8)
    region = c.box(field, lat=(-20, 60), lon=(300, 40))
    expected = []
    for t in range(3):
        total = weight = 0.0
        for y in field.lat.values:
            for x in field.lon.values:
                v = float(field.sel(lat=y, lon=x)[t])
                if region.sel(lat=y, lon=x) and not math.isnan(v):
                    total, weight = total + math.cos(math.radians(y)) * v, weight + math.cos(math.radians(y))
        expected.append(total / weight)
    np.testing.assert_allclose(c.area_mean(field, region), expected, rtol=1e-12)
    assert c.area_mean(field.assign_attrs(units="degC")).units == "degC"


def test_the_mean_of_a_zonal_field_over_the_sphere():
    fine = grid(np.arange(-89.5, 90), np.arange(0.0, 360, 30))
    field = fine + np.sin(np.deg2rad(fine.lat)) ** 2
    assert float(c.area_mean(field)) == pytest.approx(1 / 3, rel=1e-4)  # of sin^2 latitude


def test_nino34_is_the_mean_of_its_box():
    fine = grid(np.arange(-9.0, 10, 2), np.arange(1.0, 360, 2))
    inside = (abs(fine.lat) <= 5) & (fine.lon >= 190) & (fine.lon <= 240)
    assert float(c.nino34(fine + xr.where(inside, 1.5, -9.0))) == pytest.approx(1.5, rel=1e-12)
    assert c.nino34(fine).name == "nino34"
    assert set(c.NINO_BOXES) == {"nino12", "nino3", "nino34", "nino4"}


@pytest.mark.parametrize("step", [2.8125, 1.40625, 0.7, 0.1, 1 / 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_cell_on_the_edge_of_a_box_is_in_it(step, dtype):
    lat = (-20 + step * np.arange(int(40 / step))).astype(dtype)
    lon = (step * np.arange(int(360 / step))).astype(dtype)
    y = xr.DataArray(np.zeros((len(lat), len(lon))), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    for i, j in [(1, 5), (3, 12), (7, 13), (2, 2)]:
        for convention in (0, -360):
            ends = {d: (float(y[d][i]) + turn, float(y[d][j]) + turn) for d, turn in (("lat", 0), ("lon", convention))}
            inside = c.box(y, **ends)
            assert inside.any("lon").values.nonzero()[0].tolist() == list(range(i, j + 1))
            assert inside.any("lat").values.nonzero()[0].tolist() == list(range(i, j + 1))


def test_masks_and_distances_keep_the_places_of_a_curvilinear_grid():
    lat, lon = np.meshgrid(np.linspace(-20, 20, 5), np.arange(150, 210, 10), indexing="ij")
    places = {
        "nav_lat": (("j", "i"), lat, {"units": "degrees_north"}),
        "nav_lon": (("j", "i"), lon, {"units": "degrees_east"}),
    }
    x = xr.DataArray(np.ones((3, 5, 6)), dims=("lag", "j", "i"), coords={"lag": [-3, -2, -1], **places})
    b = c.box(x, lat=(-5, 5), lon=(170, 190))
    km = c.distance(x, b)
    for made in (b, km, c.disc(x, 2000, lat=0, lon=180), c.area_weights(x)):
        xr.testing.assert_equal(made["nav_lat"].variable, x["nav_lat"].variable)
    assert c.random_regions(b, 2).sizes == {"control": 2, "j": 5, "i": 6}
    share = c.radial_profile(x, km).mass_share
    np.testing.assert_allclose(share.sum(), 1)
    assert c.lag_profile(x).mass_share.dims == ("lag",)


def test_masks_say_only_that_they_are_masks():
    y = xr.DataArray(np.zeros((3, 4)), dims=("lat", "lon"), coords={"lat": [-30.0, 0, 30], "lon": [0.0, 90, 180, 270]})
    y["lat"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
    polygon = c.polygon(y, lat=[-40, 40, 40, -40], lon=[80, 80, 190, 190])
    for mask in (c.box(y, lat=(-10, 10)), c.disc(y, 1e4, lat=0, lon=0), polygon):
        assert (mask.name, mask.attrs) == ("mask", {})
        assert mask["lat"].attrs == y["lat"].attrs


def test_exchanged_coordinates_are_refused():
    y = xr.DataArray(np.zeros((1, 1)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": [0.0]})
    for call in (
        lambda: c.distance(y, lat=200, lon=0),
        lambda: c.disc(y, 100, lat=-120, lon=5),
        lambda: c.box(y, lat=(-5, 240)),
    ):
        with pytest.raises(ValueError, match=r"between -90 and 90 degrees.*exchanged"):
            call()
