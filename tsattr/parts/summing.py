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
BRIDGED = "missing cells are bridged by straight lines"
_PER = {"time": " Hz", "month": " per month", "angle": " per degree", "length": " per metre", None: ""}
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


def unit_of_frequency(axes: Axes, dim: str) -> str:
    """What follows a frequency along a dim, as in "5 Hz" and "0.1 per month"; empty where its unit is not known."""
    if dim not in axes.coords:
        return " per cell"
    kind = "time" if is_dates(axes.coords[dim]) else axes.kind(dim)
    return _PER[kind]


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


def near_ends(x: xr.DataArray, dim: str, reach: Sequence[float]) -> xr.DataArray:
    """Cells nearer than some cells to an end or to a gap, for each part (part, dim), or as x where it has gaps."""
    known = x.notnull()
    if bool(known.all()):
        known = known.isel({d: 0 for d in x.dims if d != dim}, drop=True)
    far = applied(_to_unknown, known, over=[[dim]], gives=[dim])
    near = far - 1 < xr.DataArray(np.asarray(reach, float), dims=PART)
    return near.transpose(..., PART, *x.dims, missing_dims="ignore").drop_vars(list(near.coords))


def _to_unknown(known: np.ndarray) -> np.ndarray:
    """How many cells each is from the next one along the last axis that is missing, or beyond an end."""
    n = known.shape[-1]
    cells = np.arange(n, dtype=float)
    before = np.maximum.accumulate(np.where(known, -1, cells), -1)
    after = np.minimum.accumulate(np.where(known, n, cells)[..., ::-1], -1)[..., ::-1]
    return np.asarray(np.minimum(cells - before, after - cells))


def summing(
    x: xr.DataArray,
    found: Mapping[str, xr.DataArray],
    sample_dim: str,
    rest: str = REST,
    *,
    what: str,
    assumes: str,
    near: xr.DataArray | None = None,
) -> xr.DataArray:
    """The parts and what they leave, in the dtype of x, missing where x is; the dim ``part`` comes after the samples.

    The coordinate ``part`` says in its attributes what the parts are and what they assume. `near` holds for each part which
    cells rest on what is assumed beyond an end or across a gap; of the rest those of any.
    """
    known = x.notnull()
    parts = {name: part.transpose(*x.dims).astype(x.dtype).where(known) for name, part in found.items()}
    left = x.astype(float) - sum(part.astype(float) for part in parts.values())
    joined = xr.concat(
        [*parts.values(), left.astype(x.dtype)], PART, coords="minimal", compat="override", join="override"
    )
    names = xr.Variable(PART, [*parts, rest], {"long_name": what, "assumes": assumes})
    joined = joined.assign_coords(x.coords).assign_coords({PART: names})
    if near is not None:
        joined = joined.assign_coords({EDGE: xr.concat([near, near.any(PART).expand_dims(PART)], PART)})
    at = x.dims.index(sample_dim) + 1
    out = joined.transpose(*x.dims[:at], PART, *x.dims[at:])
    out.attrs, out.name = dict(x.attrs), x.name
    return out
