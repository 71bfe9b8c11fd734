"""What a gallery holds: its Dataset, made and looked into by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
import xarray as xr

from ..labels.inputs import Inputs
from ..version import __version__
from .embedding import DIM
from .labels import writable
from .search import check_metric
from .stored import CASE

FORMAT = "gallery of tsattr"
EMBEDDING = "embedding"
SIDE = "side"
SIDE_DIM = "side_number"
UNCERTAINTY = "uncertainty"


def check(data: xr.Dataset) -> None:
    """ValueError where it is not that of a gallery."""
    if data.attrs.get("format") != FORMAT or EMBEDDING not in data:
        raise ValueError("this is no gallery: it is made by Gallery.fit(model, x) and read by Gallery.read(path)")
    check_metric(metric(data))


def metric(data: xr.Dataset) -> str:
    """The distance between its embeddings."""
    return str(data.attrs["metric"])


def embeddings(data: xr.Dataset) -> np.ndarray:
    """(cases, numbers) float64."""
    return np.asarray(data[EMBEDDING].transpose(CASE, DIM).values, np.float64)


def side_information(data: xr.Dataset) -> np.ndarray | None:
    """(cases, numbers) float64; None where there is none."""
    return np.asarray(data[SIDE].transpose(CASE, SIDE_DIM).values, np.float64) if SIDE in data else None


def embedded(data: xr.Dataset) -> np.ndarray:
    """Positions of the cases that the model itself embedded."""
    return np.flatnonzero(data[UNCERTAINTY] == 0) if UNCERTAINTY in data.coords else np.arange(data.sizes[CASE])


def made_by(data: xr.Dataset) -> str:
    """The model, and the layer where one is named."""
    layer = data.attrs.get("layer", "")
    return str(data.attrs.get("model", "")) + (f" at {layer!r}" if layer else "")


def names(inputs: Inputs) -> set[Any]:
    """Those of the dims and coordinates of x."""
    return {name for v in inputs.variables for name in (*v.array.dims, *v.array.coords)}


def coords(inputs: Inputs, labels: Any) -> dict[str, Any]:
    """The coordinates of the samples as those of cases, and their labels."""
    found = {
        CASE if name == inputs.sample_dim else name: (CASE, writable(np.asarray(c.values)), c.attrs)
        for name, c in inputs.sample_coords().items()
    }
    if labels is None:
        return found
    values = np.asarray(labels.values if isinstance(labels, xr.DataArray | pd.Series) else labels)
    if values.shape != (inputs.n,):
        raise ValueError(f"labels has shape {values.shape}; give one for each of the {inputs.n} samples of x")
    return found | {"label": (CASE, writable(values))}


def versions() -> dict[str, str]:
    """What made it."""
    found = {"tsattr": __version__, "torch": torch.__version__, "scikit_learn": sklearn.__version__}
    return {f"version_{name}": str(v) for name, v in found.items()}
