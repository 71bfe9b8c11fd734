"""Cells of a labelled input taken away and filled by a baseline, as methods and metrics do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr

from ..core.arrays import Array
from ..core.engine import Engine
from ..core.groups.masks import OneGroup
from ..edge.call import Call


def ablated(
    x: xr.DataArray,
    absent: xr.DataArray,
    fill: Any,
    *,
    draw: int = 0,
    seed: int = 0,
    valid: Any = None,
    sample_dim: str | None = None,
) -> xr.DataArray:
    """`x` with the absent cells filled by a baseline, as the methods and metrics of tsattr fill them.

    Parameters
    ----------
    absent
        Boolean over some dims of `x`, True where values are taken away. Invalid cells stay as they are.
    fill
        A baseline of `tsattr.baselines`.
    draw, seed
        Which draw of a fill that draws.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> x = xr.DataArray([[1.0, 2.0, np.nan]], dims=("sample", "lat"))
    >>> absent = xr.DataArray([False, True, True], dims="lat")
    >>> ablated(x, absent, ta.baselines.Constant(0.0)).values.tolist()
    [[1.0, 0.0, nan]]
    """
    call = Call.of(_no_output, x, valid=valid, sample_dim=sample_dim, seed=seed, device="cpu", check=False)
    bound = call.inputs.bind(fill, "baseline")
    group, parts = group_of(call, absent), []
    with call.running(call.inputs.n) as engine:
        for _, samples in call.chunks(engine):
            every = torch.arange(samples.n)
            removal = samples.removal(group, bound, every, torch.full_like(every, draw), torch.zeros_like(every))
            parts.append(removal.rows(slice(None)))
    check_filled(engine, call, fill)
    order = (call.inputs.sample_dim, *call.inputs.variables[0].axes.dims)
    return x.transpose(*order).copy(data=torch.cat(parts).numpy()).transpose(*x.dims)


def group_of(call: Call, absent: xr.DataArray) -> OneGroup:
    """The absent cells as one group of the call's input."""
    if absent.dtype != bool:
        raise TypeError(f"absent is boolean, True where values go, got {absent.dtype}")
    return OneGroup(torch.as_tensor(call.inputs.variables[0].axes.align(Array.of(absent), "absent")))


def check_filled(engine: Engine, call: Call, fill: Any) -> None:
    """ValueError where a fill gave NaN for cells that are present."""
    if engine.unfilled:
        raise ValueError(
            f"the fill {fill!r} gives NaN at cells that are present in {call.inputs.sample_dim} "
            f"{', '.join(call.inputs.names(sorted(engine.unfilled)[:10]))}; give it a reference without missing values there, or "
            "mark those cells with valid=False"
        )


def valid_cells(x: xr.DataArray, settings: Mapping[str, Any]) -> xr.DataArray:
    """Which cells of `x` are valid, bool of its shape, samples first."""
    inputs = Call.of(
        _no_output, x, device="cpu", **{k: settings[k] for k in ("valid", "sample_dim") if k in settings}
    ).inputs
    valid = inputs.load(slice(0, inputs.n))[1]
    dims = (inputs.sample_dim, *inputs.variables[0].axes.dims)
    ordered = x.transpose(*dims)
    return xr.ones_like(ordered, dtype=bool) if valid is None else ordered.copy(data=valid.numpy())


def _no_output(rows: torch.Tensor) -> torch.Tensor:
    """A model for calls that only read the input: zeros (rows,)."""
    return torch.zeros(len(rows))
