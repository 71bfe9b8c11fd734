"""What all parts share: axes, gaps that are bridged, and the rest that makes the sum exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.baselines.spectral import even_step
from ..core.indexing import is_dates
from ..core.units import UNITS, parse_extent
from ..labels import parsing

PART = "part"
REST = "rest"
EDGE = "edge"
_YEARS = {"noleap": 365.0, "365_day": 365.0, "all_leap": 366.0, "366_day": 366.0, "360_day": 360.0, "julian": 365.25}
_YEAR = 365.2425  # days, of the calendar in use


def axes_of(x: xr.DataArray, sample_dim: str, dim: str | None = None) -> Axes:
    """The axes of a signal, checked as an input of explain is; dates along `dim` that step by whole months are counted in months."""
    if not isinstance(x, xr.DataArray):
        raise TypeError(
            f"parts are of an xarray.DataArray, got {type(x).__name__}; of a Dataset take each variable by itself"
        )
    if taken := [name for name in (PART, EDGE) if name in x.dims or name in x.coords]:
        raise ValueError(f"x has {taken[0]!r} already; rename it: x.rename({taken[0]}='...')")
    axes = parsing.read(x, None, sample_dim, None).variables[0].axes
    if bool(np.isinf(x).any()):
        raise ValueError("x has infinite values; replace them, or make them NaN if they are missing")
    return axes if dim is None else _in_months(axes, axes.called(dim))


def _in_months(axes: Axes, dim: str) -> Axes:
    dates = axes.coords.get(dim)
    if dates is None or not is_dates(dates) or len(dates) < 3:
        return axes
    when = xr.DataArray(dates, dims="cell").dt
    month = (12 * when.year + when.month).values.astype(float)
    if np.ptp(np.diff(month)) > 0 or month[0] == month[1]:
        return axes
    return replace(axes, coords={**axes.coords, dim: month - month[0]}, units={**axes.units, dim: "months"})


def period_of(axes: Axes, dim: str, period: str) -> float:
    """A period such as "2 years" in the unit of the positions along a dim; along days and seconds a year has its mean length."""
    number, unit = parse_extent(period)
    kind, factor = UNITS[unit]
    if kind != "month" or axes.positions(dim)[1] != "time":
        return axes.extent(dim, period)[0]
    calendar = getattr(np.asarray(axes.coords[dim]).flat[0], "calendar", "standard")
    return number * factor / 12 * _YEARS.get(calendar, _YEAR) * 86400


def step_of(axes: Axes, dim: str) -> float:
    """The step between the cells of a dim, in its kind's own unit (s, deg, m, months)."""
    step = even_step(axes, dim)
    if np.isnan(step):
        raise ValueError(f"dim {dim!r} has one cell, which has no frequencies")
    return step


def applied(
    function: Callable[..., Any],
    *arrays: xr.DataArray,
    over: Sequence[Sequence[str]],
    gives: Sequence[str],
    sizes: Mapping[str, int] | None = None,
    vectorize: bool = False,
) -> xr.DataArray:
    """A function of NumPy arrays along some dims, chunk by chunk where an array is chunked; see `xarray.apply_ufunc`."""
    whole = [a if a.chunks is None else a.chunk(dict.fromkeys(dims, -1)) for a, dims in zip(arrays, over)]
    found: xr.DataArray = xr.apply_ufunc(
        function,
        *whole,
        input_core_dims=over,
        output_core_dims=[gives],
        vectorize=vectorize,
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": dict(sizes or {})},
    )
    return found


def bridged(x: xr.DataArray, dim: str) -> xr.DataArray:
    """The signal in float64 without gaps: straight lines across them, the next known value at the ends, 0 where none is known."""
    whole = x.astype(float)
    if not bool(whole.isnull().any()):
        return whole
    return applied(_interpolated, whole, over=[[dim]], gives=[dim], vectorize=True)


def _interpolated(line: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(line))
    return np.interp(np.arange(len(line)), known, line[known]) if len(known) else np.zeros_like(line)


def summing(x: xr.DataArray, found: Mapping[str, xr.DataArray], sample_dim: str, rest: str = REST) -> xr.DataArray:
    """The parts and what they leave, in the dtype of x, missing where x is; the dim ``part`` comes after the samples."""
    known = x.notnull()
    parts = {name: part.transpose(*x.dims).astype(x.dtype).where(known) for name, part in found.items()}
    left = x.astype(float) - sum(part.astype(float) for part in parts.values())
    joined = xr.concat(
        [*parts.values(), left.astype(x.dtype)], PART, coords="minimal", compat="override", join="override"
    )
    joined = joined.assign_coords(x.coords).assign_coords({PART: [*parts, rest]})
    at = x.dims.index(sample_dim) + 1
    out = joined.transpose(*x.dims[:at], PART, *x.dims[at:])
    out.attrs, out.name = dict(x.attrs), x.name
    return out
