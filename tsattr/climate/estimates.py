"""Functions of a map of importance, with intervals where it is a `Pool` and beside those of untrained networks."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from .blocks import within
from .pooling import Function, Pool

Importance = Pool | xr.DataArray
"""A `Pool`, or a map of at least 0."""


def estimate(
    f: Function, importance: Pool | xr.DataArray, null: xr.DataArray | None = None, shares: Sequence[str] = ()
) -> xr.Dataset:
    """``f(map)`` of at least 0, with intervals where `importance` is a `Pool`, and ``<name>_null`` of the null's maps beside it.

    Shares are variables that are at most 1.
    """
    if isinstance(importance, Pool):
        out = importance.interval(f)
        out = within(out, {str(name): (0.0, 1.0 if name in shares else None) for name in out.data_vars})
    else:
        out = f(_importances(importance))
    if null is not None:
        for name, values in f(_importances(null)).data_vars.items():
            if "member" in values.dims:
                out[f"{name}_null"] = values
    return out


def _importances(maps: xr.DataArray) -> xr.DataArray:
    if not isinstance(maps, xr.DataArray):
        raise TypeError(
            f"importance is a Pool or a DataArray, got {type(maps).__name__}; of a result: abs(ds.attribution)"
        )
    if bool((maps < 0).any()):
        raise ValueError(
            f"importance is at least 0, got {float(maps.min()):.3g}; give abs(attribution), or a Pool of it"
        )
    return maps
