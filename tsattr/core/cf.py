"""What a coordinate measures, as its attributes (CF conventions) or its name say: one answer for everything that asks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_NAMES = {"lat": "latitude", "latitude": "latitude", "lon": "longitude", "longitude": "longitude", "time": "time"}
_AXES = {"y": "latitude", "x": "longitude", "t": "time"}
_DEGREES = {"latitude": "degrees_north", "longitude": "degrees_east"}
_DIRECTIONS = {
    "Y": ("y", "rlat", "latitude", "lat", "grid_latitude", "projection_y_coordinate"),
    "X": ("x", "rlon", "longitude", "lon", "grid_longitude", "projection_x_coordinate"),
}


def role(name: Any, attrs: Mapping[Any, Any]) -> str | None:
    """ "latitude", "longitude", "time", or None for anything else.

    A coordinate is what its ``units`` (degrees_north, degreeE, ...), its ``standard_name``, its name or its ``axis`` say, in this
    order. What has another unit than degrees or radians, or another ``standard_name`` (grid_longitude of a rotated pole), is no
    place on a sphere, whatever it is called.

    Examples
    --------
    >>> role("y", {"units": "degreesN"}), role("nav_lon", {"standard_name": "longitude"}), role("lon", {"units": "km"})
    ('latitude', 'longitude', None)
    """
    unit, standard = str(attrs.get("units", "")).strip().lower(), attrs.get("standard_name")
    found = re.fullmatch(r"degrees?_?(north|east|n|e|)|deg|°|radians?|rad", unit)
    if found and found[1]:
        return "latitude" if found[1].startswith("n") else "longitude"
    by_axis = _AXES.get(str(attrs.get("axis", "")).lower()) if standard is None else None
    meant = standard if standard in _NAMES.values() else _NAMES.get(str(name).lower(), by_axis)
    if meant in _DEGREES and standard not in (None, meant):
        return None
    if meant in _DEGREES:
        named = standard == meant or str(name).lower() in _NAMES
        return str(meant) if found or (named and not unit) else None
    return None if meant is None else str(meant)


def unit_of(name: Any, attrs: Mapping[Any, Any]) -> str:
    """The unit of a coordinate: degrees_north and degrees_east of places however they are written, s of a time without one.

    Examples
    --------
    >>> unit_of("x", {"axis": "X", "units": "degrees"}), unit_of("time", {}), unit_of("depth", {"units": "m"})
    ('degrees_east', 's', 'm')
    """
    unit, kind = str(attrs.get("units", "")).strip(), role(name, attrs)
    if kind in _DEGREES and not in_radians(attrs):
        return _DEGREES[kind]
    return "s" if kind == "time" and not unit else unit


def in_radians(attrs: Mapping[Any, Any]) -> bool:
    """Whether angles are in radians and not in degrees."""
    return str(attrs.get("units", "")).strip().lower().startswith("rad")


def goes_round(values: np.ndarray, name: Any, attrs: Mapping[Any, Any]) -> bool:
    """Whether a coordinate closes on itself: longitudes evenly round the globe, or what spans its ``modulo`` attribute.

    Examples
    --------
    >>> east = np.arange(0, 360, 90)
    >>> goes_round(east, "lon", {}), goes_round(east[:3], "lon", {}), goes_round(np.deg2rad(east), "lon", {"units": "rad"})
    (True, False, True)
    """
    whole = 2 * np.pi if in_radians(attrs) else 360.0
    turn = attrs.get("modulo", whole if role(name, attrs) == "longitude" else None)
    if turn is None or values.size < 3 or values.dtype.kind not in "fiu":
        return False
    steps = np.diff(np.unwrap(values.astype(float), period=float(turn)))  # a circle may be cut anywhere
    return bool(np.allclose(steps, steps[0]) and np.isclose(abs(steps[0]) * values.size, float(turn)))


def direction(name: Any, attrs: Mapping[Any, Any]) -> str | None:
    """ "Y" for what runs up a map, "X" for what runs across it: on the sphere, a rotated pole or a projection; else None.

    Examples
    --------
    >>> direction("lat", {}), direction("j", {"axis": "Y"}), direction("easting", {"standard_name": "projection_x_coordinate"})
    ('Y', 'Y', 'X')
    """
    axis = str(attrs.get("axis", "")).upper()
    said = [role(name, attrs), attrs.get("standard_name"), str(name).lower()]
    return axis if axis in _DIRECTIONS else next((d for s in said for d, of in _DIRECTIONS.items() if s in of), None)


def time_dim(array: Any, dims: Iterable[str]) -> str | None:
    """The one of the dims that is time: that of this name, else the only one whose coordinate is time by its attributes.

    Examples
    --------
    >>> import xarray as xr
    >>> hours = xr.DataArray([0.0], dims="t", coords={"t": ("t", [0.0], {"axis": "T"})})
    >>> time_dim(hours, ["t"]), time_dim(hours, ["lead", "time"]), time_dim([0.0], ["dim_1"])
    ('t', 'time', None)
    """
    names = list(dims)
    if "time" in names:
        return "time"
    found = [d for d, attrs in _attrs_of(array).items() if d in names and role(d, attrs) == "time"]
    return found[0] if len(found) == 1 else None


def units_of(array: Any) -> dict[str, str]:
    """The unit of each dim's own coordinate of a labelled array; of none that has no labels."""
    coords = _attrs_of(array)
    return {str(d): unit_of(d, coords[d]) for d in getattr(array, "dims", ()) if d in coords}


def _attrs_of(array: Any) -> dict[Any, Mapping[Any, Any]]:
    """The attributes of each coordinate of a labelled array."""
    coords = getattr(array, "coords", None) or {}
    parts = getattr(coords, "variables", coords)  # of xarray's, each of which coords[d] would label first
    return {d: getattr(c, "attrs", {}) for d, c in parts.items()}
