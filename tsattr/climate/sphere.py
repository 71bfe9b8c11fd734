"""Places on the sphere: latitudes and longitudes, distances, area weights and area means.

Latitude and longitude are found by their CF attributes or names, in any order and direction, as dims or as coordinates
over two dims (curvilinear grids). Longitudes count modulo 360: 0..360 and -180..180 give the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..core.cf import in_radians, role

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth, (2 a + b) / 3 of the GRS 80 ellipsoid."""

_KINDS = ("latitude", "longitude")


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


def _coordinates_of_kind(field: xr.DataArray | xr.Dataset, kind: str) -> list[xr.DataArray]:
    """The first of the field's coordinates that is of a kind, latitude or longitude; [] where it has none."""
    return [c for name, c in field.coords.items() if role(name, c.attrs) == kind][:1]


def _coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> xr.DataArray:
    for found in _coordinates_of_kind(field, kind):
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
        places = _coordinates_of_kind(field, kind)
        found |= set(places[0].dims) if places else {d for d in field.dims if role(d, {}) == kind}
    return tuple(d for d in field.dims if d in found)


def everywhere(values: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """`values` broadcast to the dims of another array, in its order."""
    return values.broadcast_like(like).transpose(*like.dims)


def on_cells(values: xr.DataArray, field: xr.DataArray | xr.Dataset, name: str, **attrs: str) -> xr.DataArray:
    """Values of the cells in the order of the field's dims, with its latitudes and longitudes, and no attributes but those given."""
    places = {
        c.name: c.variable
        for kind in _KINDS
        for c in _coordinates_of_kind(field, kind)
        if set(c.dims) <= set(values.dims)
    }
    out = values.transpose(*(d for d in space_dims(field) if d in values.dims)).assign_coords(places)
    out.attrs = dict(attrs)
    return out.rename(name)


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
    return on_cells(weights, field, "area_weight", long_name="cosine of latitude", units="1")


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
        check_latitudes(lat)
        ends = _unit_vectors(np.array([lat]), np.array([lon]))
    else:
        inside = _checked_mask(region, cells[0])
        ends = _unit_vectors(*(c.values[inside] for c in cells))
    chord = KDTree(ends).query(_unit_vectors(*(c.values for c in cells)))[0]
    out = cells[0].copy(data=2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1)))
    return on_cells(out, field, "distance", long_name="great-circle distance", units="km")


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


def check_latitudes(*latitudes: float) -> None:
    """ValueError for a latitude beyond the poles."""
    if wrong := [v for v in latitudes if not -90 <= v <= 90]:
        raise ValueError(f"a latitude lies between -90 and 90 degrees, got {wrong[0]}; are lat and lon exchanged?")
