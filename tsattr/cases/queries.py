"""What a gallery is asked about: samples, or embeddings of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..labels import parsing
from ..labels.inputs import Inputs
from .contents import made_by
from .embedding import DIM
from .identity import check_weights
from .labels import check_names


def are_embedded(q: Any) -> bool:
    """Whether queries are given as embeddings."""
    return isinstance(q, xr.DataArray) and DIM in q.dims


def read(q: Any, data: xr.Dataset, settings: Mapping[str, Any]) -> Inputs:
    """Queries as inputs; their samples lie along the dim that held the cases', where nothing else is said."""
    sample, own = settings["sample_dim"], data.attrs.get("sample_dim")
    if sample is None and isinstance(q, xr.DataArray | xr.Dataset) and own in q.dims:
        sample = own
    return parsing.read(q, settings["dims"], sample, settings["valid"])


def checked(a: xr.DataArray, data: xr.Dataset) -> xr.DataArray:
    """Embeddings in float64, samples first; ValueError where they are not as the gallery's."""
    others = [d for d in a.dims if d != DIM]
    if len(others) != 1:
        raise ValueError(f"embeddings have the dims (sample, {DIM}), got {list(a.dims)}")
    if a.sizes[DIM] != data.sizes[DIM]:
        raise ValueError(
            f"the query's embeddings have {a.sizes[DIM]} numbers, the gallery's {data.sizes[DIM]}: they are of "
            f"another layer or model than {made_by(data)}"
        )
    check_weights(data, str(a.attrs.get("fingerprint", "")))
    check_names([name for name in (*a.dims, *a.coords) if name != DIM])
    return a.transpose(*others, DIM).astype(np.float64)
