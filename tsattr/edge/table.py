"""The arrays of a result as they come, chunk by chunk, and the labelled variables that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..core.results import Field
from ..core.status import Status
from ..labels.inputs import Inputs

STATUS = np.array([str(state) for state in Status])


class Table:
    """The result's arrays, filled chunk by chunk."""

    def __init__(self, inputs: Inputs, groups: Any) -> None:
        self.inputs = inputs
        self.fields: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        self.groups = groups

    def put(self, at: slice, found: dict[str, Field], valid: torch.Tensor | None) -> None:
        """Take one chunk."""
        bad = found["status"].values >= Status.GRADIENT
        some = bool(bad.any())
        for name, f in found.items():
            values = f.values
            event = "..." in f.dims
            if event and valid is not None:
                where = valid.reshape(len(valid), *[1] * f.dims.index("..."), *valid.shape[1:])
                values = torch.where(where, values, torch.nan)
            if (event or "group" in f.dims) and some:  # half a map is no map: the status says why there is none
                values = torch.where(bad.reshape(-1, *[1] * (values.ndim - 1)), torch.nan, values)
            array = values.cpu().numpy()
            if name not in self.fields:
                dtype = self.inputs.dtype if event else array.dtype
                self.fields[name] = f.dims, np.empty((self.inputs.n, *values.shape[1:]), dtype)
            self.fields[name][1][at] = array

    def dataset(self, names: list[str] | None, classes: np.ndarray, coords: Mapping[str, Any]) -> xr.Dataset:
        """The fields as labelled variables, `names` being those of several targets, with more coordinates if there are."""
        out: dict[str, xr.Variable] = {}
        for name, (dims, values) in self.fields.items():
            if name == "status":
                values = STATUS[values]
            if name == "predicted":
                values = _chosen(classes, values)
            out.update(self.inputs.label(name, dims, values, names is None))
        order = [k for k in out if k.startswith("attribution")] + ["prediction"]
        order += [k for k in out if k not in order and k != "status"] + ["status"]
        more: dict[str, Any] = {}
        if self.groups is not None and any("group" in v.dims for v in out.values()):
            more["group"] = self.groups.names
        if names is not None:
            more["target"] = names
        more |= coords
        own = self.inputs.coords
        return xr.Dataset({k: out[k] for k in order}, own | xr.Coordinates(more) if more else own)


def _chosen(classes: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The classes with these indices; where there is none (-1) "", NaT, or NaN among numbers."""
    known = index >= 0
    found = classes[index] if len(classes) else index
    if known.all():
        return found
    if found.dtype.kind in "US":
        return np.where(known, found, "")
    return np.where(known, found, np.datetime64("NaT")) if found.dtype.kind == "M" else np.where(known, found, np.nan)


def no_class(predicted: np.ndarray) -> np.ndarray:
    """Bool: True where there is no predicted class."""
    return predicted == "" if predicted.dtype.kind in "US" else np.asarray(pd.isna(predicted))


def words_of_class(predicted: xr.DataArray) -> str:
    """One sample's predicted class as text, empty where there is none; whole numbers that share an array with NaN are whole."""
    value = predicted.item()
    return "" if no_class(predicted.values) else f"{value:g}" if isinstance(value, float) else str(value)
