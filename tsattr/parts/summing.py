"""What all parts share: axes, gaps that are bridged, and the rest that makes the sum exact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.baselines.spectral import even_step
from ..labels import parsing

PART = "part"
REST = "rest"


def axes_of(x: xr.DataArray, sample_dim: str) -> Axes:
    """The axes of a signal, checked as an input of explain is."""
    if not isinstance(x, xr.DataArray):
        raise TypeError(
            f"parts are of an xarray.DataArray, got {type(x).__name__}; of a Dataset take each variable by itself"
        )
    if PART in x.dims or PART in x.coords:
        raise ValueError(f"x has {PART!r} already; rename it: x.rename(part='...')")
    return parsing.read(x, None, sample_dim, None).variables[0].axes


def step_of(axes: Axes, dim: str) -> float:
    """The step between the cells of a dim, in its kind's own unit (s, deg, m, months)."""
    step = even_step(axes, dim)
    if np.isnan(step):
        raise ValueError(f"dim {dim!r} has one cell, which has no frequencies")
    return step


def bridged(x: xr.DataArray, dim: str) -> xr.DataArray:
    """The signal in float64 without gaps: straight lines across them, the next known value at the ends, 0 where none is known."""
    whole = x.astype(float)
    if not bool(whole.isnull().any()):
        return whole
    lines: xr.DataArray = xr.apply_ufunc(
        _interpolated, whole, input_core_dims=[[dim]], output_core_dims=[[dim]], vectorize=True
    )
    return lines


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
