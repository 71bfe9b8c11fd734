"""Controls for importance that has other causes: untrained networks, and filters that look ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from ..core.results import check_count
from ..metrics.sanity import randomised
from .estimates import Importance, estimate
from .pooling import Pool
from .profiles import lag_profile, lags_back, over_space


def null(module: nn.Module, importance: Callable[[nn.Module], Any], *, number: int = 5, seed: int = 0) -> xr.DataArray:
    """Importance in networks of the same architecture that have learnt nothing: the receptive field.

    A convolutional network with a small receptive field looks local whatever the climate, so a profile says something of
    what was learnt only where it differs from that of re-initialised copies.

    Parameters
    ----------
    module
        Left exactly as it is; see `tsattr.metrics.randomised` for how its copies are re-initialised.
    importance
        ``importance(module)`` returns a `Pool` or a map of at least 0, as of the trained network:
        ``lambda m: ta.climate.pooled(m, x, method, target=box)``.
    number
        Of copies.

    Returns
    -------
    DataArray
        The pooled mean of ``|attribution|`` of each copy, along ``member``.

    Examples
    --------
    >>> import torch
    >>> net = nn.Linear(3, 1)
    >>> maps = null(net, lambda m: xr.DataArray(m.weight[0].detach().abs().numpy(), dims="lat"), number=2)
    >>> maps.sizes["member"], bool((maps[0] != maps[1]).any())
    (2, True)
    """
    check_count("number", number)
    maps = []
    for k in range(number):
        ((_, untrained),) = deque(randomised(module, seed=seed + k), maxlen=1)
        found = importance(untrained)
        maps.append(found.maps() if isinstance(found, Pool) else found)
    return xr.concat(maps, pd.RangeIndex(number, name="member"))


def filtered(
    field: xr.DataArray, period: float, *, dim: str = "time", causal: bool = False, order: int = 4
) -> xr.DataArray:
    """Low-pass a series: what is slower than `period` stays (Butterworth, scipy.signal).

    Parameters
    ----------
    field
        Evenly spaced along `dim`; lines that are NaN throughout stay so.
    period
        At which half of the power is left (a quarter, two-sided), in steps.
    causal
        False runs the filter forwards and backwards: no delay, but the value at t then holds some of what comes after t.
        True runs it forwards only.
    order
        Of the filter.

    Raises
    ------
    ValueError
        A period of no more than two steps, too few steps, or lines with gaps.

    Examples
    --------
    >>> x = xr.DataArray(np.ones(50), dims="time")
    >>> bool(np.allclose(filtered(x, 12), 1))
    True
    """
    from scipy import signal

    if not period > 2:
        raise ValueError(f"period is more than two steps, the shortest there is in a series of steps, got {period}")
    missing = field.isnull()
    if bool((missing.any(dim) & ~missing.all(dim)).any()):
        raise ValueError(f"the field has gaps along {dim!r}, which a filter spreads; fill them, or mask those cells")
    sections = signal.butter(order, 2 / period, output="sos")
    least = 6 * len(sections) + 4  # what scipy mirrors at either end, and one more
    if not causal and field.sizes[dim] < least:
        raise ValueError(
            f"a filter of order {order} needs at least {least} steps, the field has {field.sizes[dim]} along {dim!r}"
        )

    def run(lines: NDArray[np.float64]) -> NDArray[np.float64]:
        if not causal:
            return np.asarray(signal.sosfiltfilt(sections, lines))
        start = signal.sosfilt_zi(sections).reshape(len(sections), *[1] * (lines.ndim - 1), 2) * lines[..., :1]
        return np.asarray(signal.sosfilt(sections, lines, zi=start)[0])

    out: xr.DataArray = xr.apply_ufunc(run, field, input_core_dims=[[dim]], output_core_dims=[[dim]], keep_attrs=True)
    return out.transpose(*field.dims).astype(np.result_type(field.dtype, np.float32))


def leakage(
    field: xr.DataArray,
    importance: Callable[[xr.DataArray], Importance],
    period: float,
    *,
    last: float = 3,
    dim: str = "time",
    order: int = 4,
    lag: str = "lag",
    space: Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """Whether importance at the last lags comes from a filter that looks ahead: the lag profiles with and without.

    A two-sided filter puts some of month t + k into month t, so a network that predicts t + k finds it in its input. If the
    importance of the last lags falls when the filter is made causal, that much of it was leakage.

    Parameters
    ----------
    field
        Unfiltered, along `dim`.
    importance
        ``importance(filtered)`` trains on histories of the filtered field and returns a `Pool` or a map of at least 0 with a dim
        `lag`. Let it predict the unfiltered field, so that the two differ in their input only.
    period, order
        Of the filter; see `filtered`.
    last
        Lags counted as the last: those of at most this size.

    Returns
    -------
    Dataset
        Along ``filter`` ("two-sided", "causal"): ``mass`` (lag), the importance summed over space; ``mass_share``, ``center``,
        ``efolding`` and ``reach`` as of `lag_profile`; ``recent`` and ``recent_share``, the mass of the last lags and their
        share; with intervals for a `Pool`.
    """

    def profile(maps: xr.DataArray) -> xr.Dataset:
        mass = over_space(maps, space)
        out = lag_profile(maps, lag=lag, space=space).assign(mass=mass)
        recent = mass.where(lags_back(maps, lag) <= last, 0).sum(lag)
        return out.assign(recent=recent, recent_share=recent / mass.sum(lag))

    found = {
        name: estimate(
            profile,
            importance(filtered(field, period, dim=dim, causal=causal, order=order)),
            shares=("mass_share", "recent_share"),
        )
        for name, causal in (("two-sided", False), ("causal", True))
    }
    return xr.concat(found.values(), "filter").assign_coords(filter=list(found))
