"""Labelled results: whether maps add up, and attributes that any file takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..core.completeness import incompleteness


def completeness(total: xr.DataArray, change: xr.DataArray, size: xr.DataArray) -> dict[str, xr.DataArray]:
    """The gap and the error of maps with sums `total` and norms `size`, as `core.completeness.completeness` gives them.

    >>> one = xr.DataArray(2.0)
    >>> [float(v) for v in completeness(one + 1, one, one).values()]
    [1.0, 0.5]
    """

    def measured(*values: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(v.numpy() for v in incompleteness(*map(torch.as_tensor, values)))

    gap, error = xr.apply_ufunc(measured, total, change, size, output_core_dims=[[], []], keep_attrs=False)
    return {"completeness_gap": gap, "completeness_error": error}


def plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that any file format takes: numbers, strings and arrays of numbers; anything else as text."""
    out: dict[str, Any] = {}
    for k, v in attrs.items():
        if isinstance(v, bool | np.bool_):
            out[str(k)] = int(v)
        elif isinstance(v, str | int | float | np.integer | np.floating):
            out[str(k)] = v
        elif isinstance(v, np.ndarray | list | tuple) and np.asarray(v).dtype.kind in "iuf":
            out[str(k)] = np.asarray(v)
        else:
            out[str(k)] = str(v)
    return out
