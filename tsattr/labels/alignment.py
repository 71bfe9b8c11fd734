"""Alignment: attributions, masks, references and values of samples matched to an input by its labels, and laid out like it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..core.arrays import Array
from ..core.axes import Axes
from ..core.baselines import references
from ..core.cf import units_of
from ..core.indexing import positions_of
from .inputs import Inputs


def read_maps(inputs: Inputs, ds: Any, targets: int) -> np.ndarray:
    """The attributions of a result (or of one DataArray) as (samples, targets, *event): the inverse of `Inputs.label`.

    Raises
    ------
    KeyError, ValueError
        For a result without attributions of these variables, of other samples, dims or labels.
    """
    parts = []
    for v in inputs.variables:
        name = "attribution" + v.suffix
        if isinstance(ds, xr.DataArray) and inputs.single:
            a = ds
        elif name in ds:
            a = ds[name]
        else:
            raise KeyError(f"the explanation has no variable {name!r}; give what ta.explain returned for this x")
        a = _as_unnamed(a, v.dims)
        many = "target" in a.dims
        extra = [str(d) for d in a.dims if d not in (*v.dims, "target")]
        if extra:
            raise ValueError(
                f"the attribution has a dim {extra[0]!r} beside those of x; choose one or sum: a.sum({extra[0]!r})"
            )
        if (a.sizes["target"] if many else 1) != targets:
            raise ValueError(
                f"the attribution is of {a.sizes['target'] if many else 1} targets, the call of {targets}; give the "
                "target that was explained: target=..."
            )
        a = a.transpose(v.axes.sample_dim, *(["target"] if many else []), *v.axes.dims)
        coords = {d: c for d, c in Array.of(a).coords.items() if d != "target"}
        order = np.arange(math.prod(n for d, n in a.sizes.items() if d != "target"))
        own = tuple(str(d) for d in a.dims if d != "target")
        sizes = [a.sizes[d] for d in own]
        at = v.axes.align(
            Array(order.reshape(sizes), own, coords), f"the attribution{' of ' + str(v.name) if v.name else ''}"
        )
        flat = np.moveaxis(a.values.reshape(a.shape[0], targets, -1), 1, 0).reshape(targets, -1)
        parts.append(np.moveaxis(flat[:, at.reshape(-1)].reshape(targets, *at.shape), 0, 1))
    if inputs.single:
        return parts[0]
    return np.concatenate([p.reshape(inputs.n, targets, -1).astype(inputs.dtype) for p in parts], 2)


def _as_unnamed(a: xr.DataArray, dims: tuple[str, ...]) -> xr.DataArray:
    """`a` with the dims dim_1, ... of a bare array in place of the names that its explanation gave them, in order."""
    unnamed = [d for i, d in enumerate(dims) if d == f"dim_{i}" and d not in a.dims]
    own = [str(d) for d in a.dims if d not in (*dims, "target")]
    if not unnamed or len(own) != len(unnamed):
        return a
    return a.drop_vars(own, errors="ignore").rename(dict(zip(own, unnamed)))


def other_target(ds: Any, found: xr.Dataset) -> str:
    """A sentence where a map was made for another target than that of the call in `found`; else empty.

    By name and by the predictions: one target has several names. A shift of the prediction belongs to no output.
    """
    made, question = str(ds.attrs.get("target", "")) if isinstance(ds, xr.Dataset) else "", found.attrs["target"]
    if made in ("", question) or made.startswith("Divergence") or "prediction" not in ds:
        return ""
    own, other = (np.sort(p.values, None) for p in (ds["prediction"], found["prediction"]))  # in any order of samples
    if own.shape == other.shape and np.allclose(own, other, rtol=1e-3, atol=1e-3 * np.nanstd(other), equal_nan=True):
        return ""
    return (
        f"the map was made for the target {made!r}, and the model is asked about {question!r}: give the same target=..."
    )


def read_mask(inputs: Inputs, mask: Any, what: str) -> np.ndarray:
    """A boolean array like the input (a mapping by variable, for several) as (samples or 1, *event)."""
    parts = []
    for v in inputs.variables:
        given = mask if inputs.single else mask[v.name]
        array = Array.of(given)
        if array.values.dtype != bool:
            raise TypeError(f"{what} is boolean, True where attribution belongs, got {array.values.dtype}")
        if array.dims is None and array.values.shape == (v.axes.samples, *v.axes.shape):
            array = Array(array.values, (v.axes.sample_dim, *v.axes.dims))
        aligned = v.axes.align(array, what)
        parts.append(np.broadcast_to(aligned, (inputs.n, *v.axes.shape)))
    return parts[0] if inputs.single else np.concatenate([p.reshape(inputs.n, -1) for p in parts], 1)


def read_samples(inputs: Inputs, values: Any, what: str) -> np.ndarray:
    """Values of the samples in the input's order: labelled ones by their labels, others as they come."""
    own, dim = inputs.sample_coord, inputs.sample_dim
    if isinstance(values, pd.Series) and own is not None:
        counted = isinstance(values.index, pd.RangeIndex)  # the order it came in, unless x is labelled so too
        if not counted or not len(values.index.symmetric_difference(pd.Index(own))):
            values = xr.DataArray(values.to_numpy(), dims=dim, coords={dim: values.index})
    if own is not None and isinstance(values, xr.DataArray) and dim in values.indexes and values.ndim == 1:
        found: np.ndarray = values.values[positions_of(own, values[dim].values, what, dim)]
        return found
    return np.asarray(values.values if hasattr(values, "values") else values)


def read_reference(inputs: Inputs, reference: Any, gaps: bool = False) -> np.ndarray:
    """Training-like data (a Dataset or mapping for several variables) as float64 (samples, *event).

    Missing cells are imputed; with `gaps` they stay NaN.
    """
    read = references.with_gaps if gaps else references.imputed
    if inputs.single:
        return read(reference, inputs.variables[0].axes)
    parts = [read(reference[v.name], v.axes) for v in inputs.variables]
    return np.concatenate([p.reshape(len(p), -1) for p in parts], 1)


def in_order_of(like: xr.DataArray, values: Any, what: str, whose: str = "the input's") -> Any:
    """The entries of `values` that belong to the labels of `like`, in its order, along the dims that both label.

    Numbers match within rounding, longitudes modulo a turn. ValueError where `what` lacks labels that are `whose`.
    """
    for d in values.dims:
        if d not in values.indexes or d not in like.dims or d not in like.indexes:
            continue
        own, labels = like[d].values, values[d].values
        axes = Axes((str(d),), own.shape, {str(d): own}, units_of(like))
        period = 360.0 if axes.is_longitude(str(d)) and labels.dtype.kind in "fiu" else None
        at = positions_of(own, labels, what, str(d), period=period, whose=whose)
        values = values.isel({d: at}).assign_coords({d: like[d].variable})
    return values
