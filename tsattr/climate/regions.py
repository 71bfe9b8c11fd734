"""Places on the sphere: distances, area weights, masks of boxes, discs and polygons, and area means.

Latitude and longitude are found by their CF attributes or names, in any order and direction, as dims or as coordinates
over two dims (curvilinear grids). Longitudes count modulo 360: 0..360 and -180..180 give the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..core.axes import eastward
from ..core.cf import in_radians, role
from ..core.results import check_count

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth, (2 a + b) / 3 of the GRS 80 ellipsoid."""

NINO_BOXES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "nino12": {"lat": (-10, 0), "lon": (270, 280)},
    "nino3": {"lat": (-5, 5), "lon": (210, 270)},
    "nino34": {"lat": (-5, 5), "lon": (190, 240)},
    "nino4": {"lat": (-5, 5), "lon": (160, 210)},
}
"""The boxes of the usual El Nino indices, for :func:`box`."""

_KINDS = ("latitude", "longitude")
_ROUNDING = 5e-5  # degrees: float32 keeps no more of a longitude, and a cell on the edge of a box is inside


def coordinates(field: xr.DataArray | xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Latitude and longitude of a field in degrees, as float64.

    Raises
    ------
    KeyError
        Where there is none by name, ``standard_name`` or ``units``.

    Examples
    --------
    >>> lat, lon = coordinates(xr.DataArray([[1.0]], dims=("y", "longitude"), coords={
    ...     "y": ("y", [5.0], {"units": "degrees_north"}), "longitude": [7]}))
    >>> float(lat[0]), float(lon[0])
    (5.0, 7.0)
    """
    return _coordinate(field, "latitude"), _coordinate(field, "longitude")


def _found(field: xr.DataArray | xr.Dataset, kind: str) -> list[xr.DataArray]:
    """The field's coordinates that are latitudes, or longitudes, as they are."""
    return [c for name, c in field.coords.items() if role(name, c.attrs) == kind][:1]


def _coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> xr.DataArray:
    for found in _found(field, kind):
        degrees = found.astype(np.float64).reset_coords(drop=True)
        return degrees.copy(data=np.rad2deg(degrees.values)) if in_radians(found.attrs) else degrees
    raise KeyError(
        f"no {kind} among the coordinates {list(map(str, field.coords))}; name it {kind[:3]!r}, or set its "
        f"attribute standard_name={kind!r}"
    )


def space_dims(field: xr.DataArray | xr.Dataset, kinds: Sequence[str] = _KINDS) -> tuple[Hashable, ...]:
    """The dims of the field's latitudes and longitudes; where it has no such coordinate, a dim of that name."""
    found: set[Hashable] = set()
    for kind in kinds:
        places = _found(field, kind)
        found |= set(places[0].dims) if places else {d for d in field.dims if role(d, {}) == kind}
    return tuple(d for d in field.dims if d in found)


def _on_cells(values: xr.DataArray, field: xr.DataArray | xr.Dataset, name: str, **attrs: str) -> xr.DataArray:
    """Values of the cells in the order of the field's dims, with its latitudes and longitudes and no other attributes."""
    places = {c.name: c.variable for kind in _KINDS for c in _found(field, kind) if set(c.dims) <= set(values.dims)}
    out = values.transpose(*(d for d in space_dims(field) if d in values.dims)).assign_coords(places)
    out.attrs = dict(attrs)
    return out.rename(name)


def _as_mask(inside: xr.DataArray, field: xr.DataArray | xr.Dataset, what: str) -> xr.DataArray:
    if not inside.any():
        lat, lon = coordinates(field)
        raise ValueError(
            f"no cell of the field lies in {what}; its latitudes run {lat.min().item():g} to {lat.max().item():g}, its "
            f"longitudes {lon.min().item():g} to {lon.max().item():g}"
        )
    return _on_cells(inside, field, "mask")


def _check_latitudes(*latitudes: float) -> None:
    if wrong := [v for v in latitudes if not -90 <= v <= 90]:
        raise ValueError(f"a latitude lies between -90 and 90 degrees, got {wrong[0]}; are lat and lon exchanged?")


def area_weights(field: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Weights in proportion to the area of the cells of a regular grid: ``cos(latitude)``.

    For ``field.weighted(...)``, or for a target: ``ta.targets.Region(area_weights(y) * box(y, ...), lead=0)``.

    Examples
    --------
    >>> y = xr.DataArray([[1.0], [4.0]], dims=("lat", "lon"), coords={"lat": [0.0, 60.0], "lon": [0.0]})
    >>> float(y.weighted(area_weights(y)).mean().round(9))
    2.0
    """
    lat = _coordinate(field, "latitude")
    weights = lat.copy(data=np.cos(np.deg2rad(lat.values)).clip(0))
    return _on_cells(weights, field, "area_weight", long_name="cosine of latitude", units="1")


def distance(
    field: xr.DataArray | xr.Dataset,
    region: xr.DataArray | None = None,
    *,
    lat: float | None = None,
    lon: float | None = None,
) -> xr.DataArray:
    """Great-circle distance of each cell from a point, or from the nearest cell of a region, in km.

    ``2 R asin(c / 2)`` with c the chord between unit vectors and R = 6371.0088 km.

    Parameters
    ----------
    field
        Whatever has the cells' latitudes and longitudes.
    region
        A boolean mask over them, such as :func:`box` gives; 0 km inside.
    lat, lon
        The point, in degrees.

    Raises
    ------
    TypeError, ValueError
        Neither or both of region and point; a region without cells; a latitude beyond the poles.

    Examples
    --------
    >>> y = xr.DataArray([[0.0, 0.0]], dims=("lat", "lon"), coords={"lat": [0.0], "lon": [-90.0, 180.0]})
    >>> (distance(y, lat=0, lon=180) / (np.pi * EARTH_RADIUS_KM)).round(6).values.tolist()
    [[0.5, 0.0]]
    """
    from scipy.spatial import KDTree

    if (region is None) == (lat is None) or (lat is None) != (lon is None):
        raise TypeError(
            "distance is from a region, distance(field, mask), or from a point, distance(field, lat=0, lon=180)"
        )
    cells = xr.broadcast(*coordinates(field))
    if region is None:
        assert lat is not None
        _check_latitudes(lat)
        ends = _unit_vectors(np.array([lat]), np.array([lon]))
    else:
        inside = _checked_mask(region, cells[0])
        ends = _unit_vectors(*(c.values[inside] for c in cells))
    chord = KDTree(ends).query(_unit_vectors(*(c.values for c in cells)))[0]
    out = cells[0].copy(data=2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1)))
    return _on_cells(out, field, "distance", long_name="great-circle distance", units="km")


def _unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    phi, along = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(along), np.cos(phi) * np.sin(along), np.sin(phi)], -1)


def _checked_mask(region: xr.DataArray, cells: xr.DataArray) -> np.ndarray:
    if region.dtype != bool:
        raise TypeError(f"a region is a boolean mask, True inside, got {region.dtype}; give weights > 0, say")
    if set(region.dims) - set(cells.dims):
        raise ValueError(f"a region lies along {list(cells.dims)}, got dims {list(region.dims)}")
    inside: np.ndarray = xr.align(region, cells, join="exact")[0].broadcast_like(cells).transpose(*cells.dims).values
    if not inside.any():
        raise ValueError("the region has no cell: nothing to measure a distance from")
    return inside


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
    _check_latitudes(south, north)
    if south > north:
        raise ValueError(f"lat is (south, north), got {lat}")
    west, east = lon or (0.0, 360.0)
    inside = (y >= south - _ROUNDING) & (y <= north + _ROUNDING) & eastward(x, west, east)
    return _as_mask(inside, field, f"lat={lat}, lon={lon}")


def disc(field: xr.DataArray | xr.Dataset, radius_km: float, *, lat: float, lon: float) -> xr.DataArray:
    """True within a great-circle distance of a point.

    Examples
    --------
    >>> y = xr.DataArray(np.zeros((1, 3)), dims=("lat", "lon"), coords={"lat": [0.0], "lon": [0.0, 10.0, 355.0]})
    >>> disc(y, 1000, lat=0, lon=0).values.tolist()
    [[True, False, True]]
    """
    return _as_mask(distance(field, lat=lat, lon=lon) <= radius_km, field, f"{radius_km} km of lat={lat}, lon={lon}")


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
    return _as_mask(y.copy(data=inside.reshape(y.shape)), field, f"the polygon lat={list(lat)}, lon={list(lon)}")


def random_regions(
    region: xr.DataArray,
    number: int,
    *,
    valid: xr.DataArray | None = None,
    area: xr.DataArray | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Discs of the area of a region, anywhere else: the control for whether *this* region matters.

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
    wanted, left = (float(size.where(cells).sum()) for cells in (region & usable, usable & ~region))
    if not (wanted and left):
        raise ValueError(
            f"the region holds {int((region & usable).sum())} of {int(usable.sum())} valid cells: there is no other"
        )
    chance = size.where(usable & ~region if left >= wanted else usable, 0).values.ravel()
    lat, lon = (everywhere(c, region).values.ravel() for c in coordinates(region))
    found = np.zeros((number, region.size), bool)
    for row, at in zip(found, np.random.default_rng(seed).choice(region.size, number, p=chance / chance.sum())):
        km = distance(region, lat=lat[at], lon=lon[at]).transpose(*region.dims).values.ravel()
        order = np.lexsort((km, chance == 0))
        row[order[: 1 + np.abs(chance[order].cumsum() - wanted).argmin()]] = True
    dims = ("control", *region.dims)
    return xr.DataArray(found.reshape(number, *region.shape), dims=dims, coords=region.coords)


def everywhere(values: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """`values` over all the dims of another array, in its order."""
    return values.broadcast_like(like).transpose(*like.dims)


def area_mean(field: Any, region: xr.DataArray | None = None) -> Any:
    """Mean over the sphere's area, by xarray's own ``weighted``: ``sum(w y) / sum(w)``, w the cosine of latitude; missing cells left out.

    Parameters
    ----------
    field
        A DataArray or a Dataset; its other dims are kept.
    region
        A mask, or weights of any kind, over latitude and longitude.

    Examples
    --------
    >>> y = xr.DataArray([[1.0], [4.0]], dims=("lat", "lon"), coords={"lat": [0.0, 60.0], "lon": [0.0]})
    >>> float(area_mean(y).round(9))
    2.0
    """
    weights = area_weights(field)
    if region is not None:
        weights = weights * xr.align(region, weights, join="exact")[0].fillna(0)
    return field.weighted(weights).mean(space_dims(field), keep_attrs=True)


def nino34(field: xr.DataArray) -> xr.DataArray:
    """The area mean over 5 S to 5 N, 170 W to 120 W: of anomalies, the Nino 3.4 index.

    Examples
    --------
    >>> y = xr.DataArray([[[2.0, 9.0]]], dims=("time", "lat", "lon"), coords={"lat": [0.0], "lon": [-150.0, 0.0]})
    >>> nino34(y).values.tolist()
    [2.0]
    """
    index = area_mean(field, box(field, **NINO_BOXES["nino34"])).rename("nino34")
    index.attrs["long_name"] = "area mean over 5S-5N, 170W-120W"
    return index
