"""What a coordinate measures, as its attributes (CF conventions) or its name say: one answer for everything that asks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAMES = {"lat": "latitude", "latitude": "latitude", "lon": "longitude", "longitude": "longitude", "time": "time"}
_AXES = {"y": "latitude", "x": "longitude", "t": "time"}
_DEGREES = {"latitude": "degrees_north", "longitude": "degrees_east"}


def role(name: Any, attrs: Mapping[Any, Any]) -> str | None:
    """ "latitude", "longitude", "time", or None for anything else.

    A coordinate is what its ``units`` (degrees_north, degreeE, ...), its ``standard_name``, its name or its ``axis`` say, in this
    order. What has another unit than degrees is no place on a sphere, whatever it is called.

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
    if kind in _DEGREES and not unit.lower().startswith("rad"):
        return _DEGREES[kind]
    return "s" if kind == "time" and not unit else unit


def time_dim(array: Any, dims: Iterable[str]) -> str | None:
    """The one of the dims that is time: that of this name, else the only one whose coordinate is time by its attributes.

    Examples
    --------
    >>> import xarray as xr
    >>> hours = xr.DataArray([0.0], dims="t", coords={"t": ("t", [0.0], {"axis": "T"})})
    >>> time_dim(hours, ["t"]), time_dim(hours, ["lead", "time"]), time_dim([0.0], ["dim_1"])
    ('t', 'time', None)
    """
    names, coords = list(dims), getattr(array, "coords", None) or {}
    found = [d for d in names if d in coords and role(d, getattr(coords[d], "attrs", {})) == "time"]
    return "time" if "time" in names else found[0] if len(found) == 1 else None


def units_of(array: Any) -> dict[str, str]:
    """The unit of each dim's own coordinate of a labelled array; of none that has no labels."""
    coords = getattr(array, "coords", None) or {}
    return {str(d): unit_of(d, getattr(coords[d], "attrs", {})) for d in getattr(array, "dims", ()) if d in coords}
