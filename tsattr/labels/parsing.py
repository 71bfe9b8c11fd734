"""Parsing of what a call is given: DataArrays, Datasets, DataFrames and bare arrays as `Inputs`, and the context of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..core.arrays import Array, column_labels, unmasked
from ..core.axes import Axes
from ..core.cf import goes_round, time_dim, units_of
from ..core.indexing import is_dates, repeated
from .inputs import Inputs, Variable
from .tables import Codes, as_pandas


@dataclass(frozen=True)
class SharedDraws:
    """An input whose samples all take the same random draws, so that a transformer gives equal rows equal values."""

    x: Any


def read(x: Any, dims: Sequence[str] | None, sample_dim: str | None, valid: Any) -> Inputs:
    """An input of any accepted kind, checked.

    Raises
    ------
    TypeError
        A kind that is none of DataArray, Dataset, DataFrame, numpy array, torch tensor; numbers that are not floating.
    ValueError, KeyError
        No samples, an empty dim, a sample dim or dims that do not fit, a `valid` of another shape.
    """
    if isinstance(x, Inputs):
        return x
    if isinstance(x, SharedDraws):
        return replace(read(x.x, dims, sample_dim, valid), shared_draws=True)
    found = _read(x, dims, sample_dim, valid)
    found.check_names()
    history = x.attrs.get("history", "") if isinstance(x, xr.DataArray | xr.Dataset | pd.DataFrame) else ""
    return replace(found, history=str(history or ""))


def _read(x: Any, dims: Sequence[str] | None, sample_dim: str | None, valid: Any) -> Inputs:
    device = x.device if isinstance(x, Tensor) else None
    table, x, valid = x, as_pandas(x), as_pandas(valid)
    codes = Codes.of(table) if isinstance(x, pd.DataFrame) else None
    x = _labelled(x, dims, codes)
    if codes is not None and isinstance(valid, pd.DataFrame):
        valid = valid.to_numpy()
    name = _sample_dim(x, sample_dim)
    if isinstance(x, xr.Dataset):
        return Inputs(name, _variables(x, name, valid), device=device)
    if x.ndim == 1:
        raise ValueError(
            f"x has no dim besides its sample dim {name!r}: nothing to divide an attribution among; for one number a "
            "sample use x.expand_dims('feature', axis=1)"
        )
    only = _variable(None, x, name, slice(None), valid)
    if codes is not None:
        nominal = np.array([u is not None for u in codes.levels])
        only.axes = replace(only.axes, nominal=nominal, code=codes.code)
    return Inputs(name, [only], codes, device)


def _labelled(x: Any, dims: Sequence[str] | None, codes: Codes | None) -> xr.DataArray | xr.Dataset:
    """Any accepted input as a DataArray or a Dataset."""
    if codes is not None:
        index = [str(v) for v in x.index] if isinstance(x.index, pd.MultiIndex) else x.index.to_numpy()
        coords = {"sample": index, "feature": column_labels(x.columns)}
        x = xr.DataArray(codes.coded, dims=("sample", "feature"), coords=coords)
    elif isinstance(x, np.ndarray | Tensor):
        if isinstance(x, np.ndarray) and x.dtype.names is not None:
            raise TypeError(f"x is an array of records with the fields {list(x.dtype.names)}; give pandas.DataFrame(x)")
        if isinstance(x, Tensor):
            if x.dtype == torch.bfloat16:
                raise TypeError(
                    "x is bfloat16, which numpy does not have: give x.float(), and autocast='bfloat16' for a model of it"
                )
            x = x.detach().cpu().numpy()
        names = ("sample", *(f"dim_{i}" for i in range(1, x.ndim))) if dims is None else tuple(dims)
        if len(names) != x.ndim:
            raise ValueError(f"dims names {len(names)} dims {list(names)}, but x has shape {x.shape}")
        if len(set(names)) < len(names):
            raise ValueError(f"dims names {list(names)}: every dim needs a name of its own")
        x = xr.DataArray(x, dims=names)
    elif not isinstance(x, xr.DataArray | xr.Dataset):
        conversions = {
            "LazyFrame": "x.collect()",
            "Series": "x.to_frame()",
            "dict": "pandas.DataFrame(x)",
            "list": "numpy.array(x)",
        }
        fix = "x.toarray()" if hasattr(x, "toarray") else conversions.get(type(x).__name__, "one of these made of it")
        raise TypeError(
            "x is an xarray.DataArray or Dataset, a pandas DataFrame, a polars one, a numpy array or a torch tensor, got "
            f"{type(x).__name__}; give {fix}"
        )
    if unnamed := [d for d in x.dims if not isinstance(d, str)]:
        raise TypeError(f"a dim is named by text, got {unnamed[0]!r}; rename it: x.rename({{{unnamed[0]!r}: 'time'}})")
    if dims is not None and isinstance(x, xr.DataArray) and tuple(x.dims) != tuple(dims):
        raise ValueError(f"x already has dims {list(x.dims)}; dims={tuple(dims)} is for bare arrays")
    labelled: xr.DataArray | xr.Dataset = x
    return labelled


def _variables(x: xr.Dataset, sample: str, valid: Any) -> list[Variable]:
    """The variables of a Dataset, side by side in one flat event."""
    given = {str(k): v for k, v in x.data_vars.items()}
    if not given:
        raise ValueError("the Dataset has no variables to explain")
    lacking = [k for k, v in given.items() if sample not in v.dims]
    if lacking:
        raise ValueError(f"variables {lacking} lack the sample dim {sample!r}; give what is not explained in context=")
    if valid is not None and not isinstance(valid, Mapping | xr.Dataset):
        raise TypeError("valid for several variables is a Dataset or a mapping by variable")
    masks = {} if valid is None else valid
    if unknown := [k for k in masks if k not in given]:
        raise KeyError(f"valid names {unknown[0]!r}, which is none of the variables {list(given)}")
    variables, first = [], 0
    for k, v in given.items():
        size = math.prod(n for d, n in v.sizes.items() if d != sample)
        variables.append(_variable(k, v, sample, slice(first, first + size), masks.get(k)))
        first += size
    return variables


def _sample_dim(x: xr.DataArray | xr.Dataset, sample_dim: str | None) -> str:
    """The name of the sample dim: the one given, else "sample"; ValueError where `x` does not have it."""
    name = "sample" if sample_dim is None else sample_dim
    if name not in x.dims:
        what = "x has no sample dim" if sample_dim is None else f"x has no dim {sample_dim!r} to be the sample dim"
        raise ValueError(
            f"{what}: its dims are {list(map(str, x.dims))}; for one sample use x.expand_dims('sample'), else say which dim holds "
            "the samples: sample_dim=..."
        )
    return name


def _variable(name: str | None, array: xr.DataArray, sample: str, at: slice, valid: Any) -> Variable:
    """One variable, checked, at a slice of the flat event."""
    what = "x" if name is None else f"variable {name!r}"
    if array.dtype.kind != "f":
        fix = "x.astype('float32')" if array.dtype.kind in "biu" else "numbers, or a DataFrame for categories"
        raise TypeError(f"{what} has dtype {array.dtype}; attribution needs floating-point cells: give {fix}")
    if not array.dtype.isnative:  # torch knows the machine's own byte order only
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.itemsize > 8:
        raise TypeError(f"{what} has dtype {array.dtype}, which torch does not have; give x.astype('float64')")
    empty = [str(d) for d, n in array.sizes.items() if n == 0]
    if empty:
        raise ValueError(f"{what} has no {'samples' if sample in empty else 'cells'}: dim {empty[0]!r} is empty")
    dims = tuple(str(d) for d in array.dims if d != sample)
    parts = array.coords.variables  # array[d] would be a labelled array of its own
    coords = {d: parts[d].values for d in dims if d in parts}
    axes = Axes(
        dims,
        tuple(array.sizes[d] for d in dims),
        coords,
        units_of(array),
        sample,
        array.sizes[sample],
        parts[sample].values if sample in parts else None,
        frozenset(d for d in coords if goes_round(coords[d], d, parts[d].attrs)),
        {
            str(k): Array.of(array.coords[k])
            for k, c in parts.items()
            if c.ndim and k not in array.dims and is_dates(c.values)
        },
        time=time_dim(array, dims),
    )
    return Variable(name, array, axes, at, _valid(valid, array, axes, what))


def _valid(valid: Any, array: xr.DataArray, axes: Axes, what: str) -> np.ndarray | None:
    """The mask of a variable as bool (samples or 1, *shape); None where none was given."""
    if valid is None:
        return None
    if not isinstance(valid, xr.DataArray):
        v = valid.detach().cpu().numpy() if isinstance(valid, Tensor) else unmasked(valid)
        if v.shape != array.shape:
            raise ValueError(
                f"valid has shape {v.shape}, {what} has {array.shape}; give the same shape, or a DataArray with its dims"
            )
        valid = xr.DataArray(v, dims=array.dims)
    if valid.dtype != bool:
        raise TypeError(f"valid is boolean, True where a cell counts, got {valid.dtype}")
    return axes.align(Array.of(valid), "valid")


def read_context(context: Mapping[str, Any] | None, inputs: Inputs) -> dict[str, Tensor]:
    """Per-sample arrays for the model as tensors, samples first."""
    out = {}
    for name, value in (context or {}).items():
        if isinstance(value, xr.DataArray):
            if inputs.sample_dim not in value.dims:
                raise ValueError(
                    f"context {name!r} has dims {list(value.dims)}, none of them the sample dim {inputs.sample_dim!r}"
                )
            labels = value.indexes.get(inputs.sample_dim)
            own = inputs.sample_coord
            if labels is not None and own is not None and not np.array_equal(labels.to_numpy(), own):
                twice = repeated(own)
                dim = inputs.sample_dim
                fix = f"context.sel({dim}=x.{dim})" if twice is None else f"by position, as {twice!r} is there twice"
                raise ValueError(f"context {name!r} has other sample labels than x; align them first, e.g. {fix}")
            value = value.transpose(inputs.sample_dim, ...).values
        v = value if isinstance(value, Tensor) else torch.as_tensor(_numbers(name, value))
        if v.ndim == 0 or len(v) != inputs.n:
            raise ValueError(
                f"context {name!r} has shape {tuple(v.shape)}; its first axis must hold the {inputs.n} samples"
            )
        out[str(name)] = v
    return out


def _numbers(name: str, value: Any) -> np.ndarray:
    """An entry of the context as an array of numbers."""
    v = unmasked(value)
    if v.dtype.kind not in "biuf":
        raise TypeError(f"context {name!r} has dtype {v.dtype}; give numbers, one entry for each sample")
    return v
