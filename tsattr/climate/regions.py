"""Masks of regions: boxes, discs and polygons, random regions of equal area, and the index over a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ..core.axes import eastward
from ..core.results import check_count
from .sphere import area_mean, area_weights, check_latitudes, coordinates, distance, everywhere, on_cells

NINO_BOXES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "nino12": {"lat": (-10, 0), "lon": (270, 280)},
    "nino3": {"lat": (-5, 5), "lon": (210, 270)},
    "nino34": {"lat": (-5, 5), "lon": (190, 240)},
    "nino4": {"lat": (-5, 5), "lon": (160, 210)},
}
"""The boxes of the usual El Nino indices, for :func:`box`."""

_ROUNDING = 5e-5  # degrees: float32 keeps no more of a longitude, and a cell on the edge of a box is inside


def box(
    field: xr.DataArray | xr.Dataset, *, lat: tuple[float, float] | None = None, lon: tuple[float, float] | None = None
) -> xr.DataArray:
    """True in a box, ends included; ``lon=(170, -120)`` runs eastward from 170 E over the date line to 120 W.

    Parameters
    ----------
    field
        Whatever has the cells' latitudes and longitudes.
    lat
        (south, north) in degrees; None for all.
    lon
        (west, east) in degrees, in any convention; None for all.

    Raises
    ------
    ValueError
        South of it lies north or beyond a pole, or no cell lies in the box.

    Examples
    --------
    >>> y = xr.DataArray(np.zeros((1, 4)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": [-180.0, -90.0, 0.0, 90.0]})
    >>> box(y, lon=(90, 200)).values.tolist()
    [[True, False, False, True]]
    """
    y, x = coordinates(field)
    south, north = lat or (-90.0, 90.0)
    check_latitudes(south, north)
    if south > north:
        raise ValueError(f"lat is (south, north), got {lat}")
    west, east = lon or (0.0, 360.0)
    inside = (y >= south - _ROUNDING) & (y <= north + _ROUNDING) & eastward(x, west, east)
    return _nonempty_mask(inside, field, f"lat={lat}, lon={lon}")


def disc(field: xr.DataArray | xr.Dataset, radius_km: float, *, lat: float, lon: float) -> xr.DataArray:
    """True within a great-circle distance of a point.

    Examples
    --------
    >>> y = xr.DataArray(np.zeros((1, 3)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": [0.0, 10.0, 355.0]})
    >>> disc(y, 1000, lat=0, lon=0).values.tolist()
    [[True, False, True]]
    """
    return _nonempty_mask(
        distance(field, lat=lat, lon=lon) <= radius_km, field, f"{radius_km} km of lat={lat}, lon={lon}"
    )


def polygon(field: xr.DataArray | xr.Dataset, *, lat: Sequence[float], lon: Sequence[float]) -> xr.DataArray:
    """True where a cell's centre lies in a polygon, whose sides are straight in latitude and longitude.

    The sides go the shorter way round, also over the date line. Found by ``matplotlib.path``; a centre on a side may count
    either way. Masks of `regionmask` or `shapely` are boolean DataArrays too and need no help.

    Parameters
    ----------
    field
        Whatever has the cells' latitudes and longitudes.
    lat, lon
        The corners, in degrees, in order.

    Raises
    ------
    ValueError
        Fewer than three corners, sides that run round a pole, or no cell inside.

    Examples
    --------
    >>> y = xr.DataArray(np.zeros((1, 3)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": [150.0, 181.0, 210.0]})
    >>> polygon(y, lat=[-10, 10, 0], lon=[170, 170, -160]).values.tolist()
    [[False, True, False]]
    """
    from matplotlib.path import Path

    if len(lat) != len(lon) or len(lat) < 3:
        raise ValueError(
            f"a polygon has at least three corners, a lat and a lon for each; got {len(lat)} and {len(lon)}"
        )
    around = np.unwrap([*lon, lon[0]], period=360)
    if not np.isclose(around[0], around[-1]):
        raise ValueError(
            f"the polygon's sides run round a pole, lon={list(lon)}; give a box(lat=...) or a disc instead"
        )
    middle = (around.min() + around.max()) / 2
    y, x = xr.broadcast(*coordinates(field))
    x = (x - middle + 180) % 360 - 180 + middle
    inside = Path(np.stack([around[:-1], lat], 1)).contains_points(np.stack([x.values.ravel(), y.values.ravel()], 1))
    return _nonempty_mask(y.copy(data=inside.reshape(y.shape)), field, f"the polygon lat={list(lat)}, lon={list(lon)}")


def _nonempty_mask(inside: xr.DataArray, field: xr.DataArray | xr.Dataset, what: str) -> xr.DataArray:
    if not inside.any():
        lat, lon = coordinates(field)
        raise ValueError(
            f"no cell of the field lies in {what}; its latitudes run {lat.min().item():g} to {lat.max().item():g}, its "
            f"longitudes {lon.min().item():g} to {lon.max().item():g}"
        )
    return on_cells(inside, field, "mask")


def random_regions(
    region: xr.DataArray,
    number: int,
    *,
    valid: xr.DataArray | None = None,
    area: xr.DataArray | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Discs of the area of a region, elsewhere: the control for whether *this* region matters.

    A disc is grown cell by cell, by great-circle distance, from a centre drawn by area, until its area is nearest to that of
    the region. It keeps out of the region where there is room for it.

    Parameters
    ----------
    region
        Boolean, with latitudes and longitudes.
    valid
        Boolean of the same dims: the cells that count (no land); by default all.
    area
        Of each cell; by default the cosine of latitude.

    Returns
    -------
    DataArray
        Boolean: ``control`` and the dims of the region.

    Examples
    --------
    >>> grid = {"lat": [-30.0, 0.0, 30.0], "lon": np.arange(0.0, 360.0, 30.0)}
    >>> region = xr.DataArray(np.zeros((3, 12), bool), dims=("lat", "lon"), coords=grid)
    >>> region[1, :2] = True
    >>> random_regions(region, 2).sum(["lat", "lon"]).values.tolist()
    [2, 2]
    """
    check_count("number", number)
    if region.dtype != bool:
        raise TypeError(f"a region is boolean, True inside, got {region.dtype}")
    usable = xr.ones_like(region) if valid is None else valid.transpose(*region.dims)
    size = everywhere(area_weights(region) if area is None else area, region)
    region_area, other_area = (float(size.where(cells).sum()) for cells in (region & usable, usable & ~region))
    if not (region_area and other_area):
        raise ValueError(
            f"the region holds {int((region & usable).sum())} of {int(usable.sum())} valid cells: there is no other"
        )
    chance = size.where(usable & ~region if other_area >= region_area else usable, 0).values.ravel()
    lat, lon = (everywhere(c, region).values.ravel() for c in coordinates(region))
    found = np.zeros((number, region.size), bool)
    for row, at in zip(found, np.random.default_rng(seed).choice(region.size, number, p=chance / chance.sum())):
        km = distance(region, lat=lat[at], lon=lon[at]).transpose(*region.dims).values.ravel()
        order = np.lexsort((km, chance == 0))
        row[order[: 1 + np.abs(chance[order].cumsum() - region_area).argmin()]] = True
    dims = ("control", *region.dims)
    return xr.DataArray(found.reshape(number, *region.shape), dims=dims, coords=region.coords)


def nino34(field: xr.DataArray) -> xr.DataArray:
    """The area mean over 5 S to 5 N, 170 W to 120 W: of anomalies, the Nino 3.4 index.

    Examples
    --------
    >>> y = xr.DataArray([[[2.0, 9.0]]], dims=("time", "lat", "lon"), coords={"lat": [0.0], "lon": [-150.0, 0.0]})
    >>> nino34(y).values.tolist()
    [2.0]
    """
    index: xr.DataArray = area_mean(field, box(field, **NINO_BOXES["nino34"])).rename("nino34")
    index.attrs["long_name"] = "area mean over 5S-5N, 170W-120W"
    return index
