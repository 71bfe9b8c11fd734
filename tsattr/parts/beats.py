"""The usual beat, and what deviates from it."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from ..core.baselines import MedianBeat
from ..core.keys import Key
from ..labels import parsing
from .summing import axes_of, summing


def beats_and_residual(x: xr.DataArray, beats: MedianBeat, *, sample_dim: str = "sample") -> xr.DataArray:
    """A record as its usual beats, laid at its R peaks, and what deviates from them.

    Parameters
    ----------
    x
        The record (sample, lead, time).
    beats
        ``MedianBeat.fit(train, r_peaks).at(r_peaks_of_x)``: what is usual, and where.

    Examples
    --------
    >>> x = xr.DataArray([[0.0, 1.0, 0.0, 0.5]], dims=("sample", "time"), coords={"time": np.arange(4) / 100})
    >>> usual = MedianBeat.fit(x, x == 1, window=("-10ms", "10ms")).at(x == 1)
    >>> beats_and_residual(x, usual).sel(part="residual").values.tolist()
    [[0.0, 0.0, 0.0, 0.5]]
    """
    axes_of(x, sample_dim)
    inputs = parsing.read(x, None, sample_dim, None)
    bound = beats.bind(inputs.variables[0].axes)
    rows = torch.from_numpy(inputs.variables[0].load(slice(0, inputs.n))[0])
    key = Key(0, inputs.ids, torch.arange(inputs.n), np.zeros(inputs.n, int))
    template = bound.fill(rows, torch.ones_like(rows, dtype=torch.bool), key).numpy()
    usual = x.transpose(sample_dim, ...).copy(data=template)
    assumed = "beats that follow the R peaks given, as those of the reference do"
    return summing(x, {"median beat": usual}, sample_dim, "residual", what="beats and residual", assumes=assumed)
