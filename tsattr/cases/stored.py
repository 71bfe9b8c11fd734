"""Samples kept beside their embeddings in one Dataset, and given back as a model takes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from ..labels.inputs import Inputs, Variable
from ..labels.results import plain
from ..labels.tables import Codes, Numbers

CASE = "case"
_INPUT, _VALID, _CONTEXT, _TABLE = "input", "valid", "context_", "columns"


def keep(inputs: Inputs, context: dict[str, Tensor]) -> dict[str, xr.DataArray]:
    """The input's variables (case, ...), what of them is valid, and the context of the model, by their names in a gallery."""
    found: dict[str, xr.DataArray] = {}
    for v in inputs.variables:
        array = v.array.drop_vars([name for name in inputs.sample_coords() if name in v.array.coords])
        array = array.rename({inputs.sample_dim: CASE}).copy(deep=False)  # the attrs of x stay as they are
        array.attrs = plain(v.array.attrs)
        for c in array.coords.values():
            c.attrs = plain(c.attrs)
        found[_INPUT + v.suffix] = array
        if v.valid is not None:
            found[_VALID + v.suffix] = _mask(v, inputs)
    for name, value in context.items():
        dims = [CASE, *(f"{_CONTEXT}{name}_{i}" for i in range(1, value.ndim))]
        found[_CONTEXT + name] = xr.DataArray(value.cpu().numpy(), dims=dims)
    if inputs.codes is not None:
        found[_INPUT].attrs[_TABLE] = _columns(inputs.codes)
    return found


def _mask(v: Variable, inputs: Inputs) -> xr.DataArray:
    assert v.valid is not None
    mask = np.broadcast_to(v.valid, (inputs.n, *v.axes.shape))
    return xr.DataArray(mask.copy(), dims=(CASE, *v.axes.dims))


def is_kept(data: xr.Dataset) -> bool:
    """Whether a gallery has its cases' own input."""
    return any(str(name).split("_")[0] == _INPUT for name in data.data_vars)


def restore(data: xr.Dataset, at: np.ndarray, sample_dim: str) -> tuple[Any, dict[str, Any]]:
    """The input of the cases at some positions as it was given (without labels of samples), and its `valid` and `context`."""
    some = data.drop_vars([name for name, c in data.coords.items() if c.dims == (CASE,)]).isel({CASE: at})
    named = {str(name): v.rename({CASE: sample_dim}) for name, v in some.data_vars.items()}

    def of(prefix: str) -> dict[str, xr.DataArray]:
        return {name.removeprefix(prefix): v for name, v in named.items() if name.startswith(prefix)}

    context = {name: v.values for name, v in of(_CONTEXT).items()}
    settings: dict[str, Any] = {"context": context} if context else {}
    if _INPUT in named:
        x: Any = named[_INPUT].rename(None)
        if _TABLE in x.attrs:
            x = _frame(x)
        if _VALID in named:
            settings["valid"] = named[_VALID].values if isinstance(x, pd.DataFrame) else named[_VALID]
        return x, settings
    if masks := of(_VALID + "_"):
        settings["valid"] = masks
    return xr.Dataset(of(_INPUT + "_")), settings


def _columns(codes: Codes) -> str:
    """What the columns of a table are, as JSON: name, dtype, levels and whether these have an order."""
    kinds = [
        {
            "name": name if isinstance(name, str | int) else str(name),
            "dtype": str(dtype),
            "levels": None if levels is None else levels,
            "ordered": bool(isinstance(dtype, pd.CategoricalDtype) and dtype.ordered),
        }
        for (name, dtype), levels in zip(codes.frame.dtypes.items(), codes.levels)
    ]
    try:
        return json.dumps(kinds)
    except TypeError as error:
        raise TypeError(f"the columns of x hold what no file can ({error}); give keep=False to leave x out") from None


def _frame(coded: xr.DataArray) -> pd.DataFrame:
    """The table of codes."""
    kinds = json.loads(coded.attrs[_TABLE])
    columns = [_column(kind, codes) for kind, codes in zip(kinds, np.asarray(coded.values, np.float64).T)]
    return pd.concat(columns, axis=1).set_axis([kind["name"] for kind in kinds], axis=1)


def _column(kind: dict[str, Any], codes: np.ndarray) -> pd.Series:
    if kind["levels"] is None:
        return Numbers(kind["name"], pd.api.types.pandas_dtype(kind["dtype"])).values(codes)
    levels = np.array([*kind["levels"], None], object)
    missing = np.isnan(codes)
    values = levels[np.where(missing, -1, np.nan_to_num(codes)).astype(int)]
    if kind["dtype"] == "category":
        return pd.Series(pd.Categorical(values, kind["levels"], kind["ordered"]))
    values[missing] = np.nan
    return pd.Series(values, dtype=object if missing.any() and kind["dtype"] == "bool" else kind["dtype"])
