"""A simulated tropical ocean whose later fields follow from its past by a planted reach in space and in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..climate import area_weights, histories, polygon
from ..datasets.covariance import PACIFIC, great_circle_correlation, grid_cells, square_root

LAGS, RADIUS_KM = 24, 1000.0
EFOLDING = {1: 2.0, 6: 4.0, 9: 6.0}
TARGETS = tuple(f"lead {lead}" for lead in EFOLDING)
_LENGTH_KM, _PERSISTENCE, _NOISE = 1000.0, 0.6, 0.2

Floats = NDArray[np.floating[Any]]


def ocean() -> xr.DataArray:
    """A mask of a tropical ocean on a grid of 5 degrees, with land in the south west and along the east."""
    cells = grid_cells(5.0, **PACIFIC)
    west = polygon(cells, lat=[-31, -31, -10, -10], lon=[119, 153, 143, 119])
    east = polygon(cells, lat=[-31, 0, 12, 18, 31, 31], lon=[289, 279, 276, 262, 251, 301])
    return cells & ~(west | east)


def response(x: Any) -> Any:
    """Return the response to an anomaly, piecewise linear: slopes 1.25 (warm) and 0.75 (cold), 0.5 and 0.25 beyond 1.5 degrees."""
    warm, cold = np.clip(x, 0, 1.5), np.clip(x, -1.5, 0)
    return 1.25 * warm + 0.75 * cold + 0.5 * np.maximum(x - 1.5, 0) + 0.25 * np.minimum(x + 1.5, 0)


def _neighbourhood(cells: xr.DataArray) -> Floats:
    """Return ``exp(-r / R)`` between all cells, scaled so that the largest row sum is 1."""
    near: Floats = great_circle_correlation(cells, RADIUS_KM)
    scaled: Floats = near / near.sum(1).max()
    return scaled


def _memory(lead: int) -> Floats:
    """Return weights of the past months, the latest first, that decay with the e-folding of a lead and sum to 1."""
    weights: Floats = np.exp(-np.arange(LAGS) / EFOLDING[lead])
    scaled: Floats = weights / weights.sum()
    return scaled


def simulate(months: int, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Draw a record of an ocean and what follows it at each lead, with a planted reach in space and in time.

    ``y_lead(t, j) = sum_(lag, i) exp(-lag / efolding[lead]) exp(-r_ij / R) c(x(t - lag, i)) + noise``, weights scaled, with x a
    first-order autoregression in time that is correlated in space, c the `response`, and R = 1000 km.

    Returns
    -------
    x
        (sample, lag, lat, lon): the last `LAGS` months before each forecast.
    y
        (sample, lead, lat, lon), NaN on land as x is.
    """
    from scipy.signal import lfilter

    cells = ocean()
    rng = np.random.default_rng(seed)
    root = square_root(great_circle_correlation(cells, _LENGTH_KM))

    def states(persistence: float) -> Floats:
        shocks = rng.standard_normal((months, len(root))) @ root
        shocks[1:] *= np.sqrt(1 - persistence**2)
        return np.asarray(lfilter([1.0], [1.0, -persistence], shocks, axis=0))

    x = states(_PERSISTENCE)
    near = response(x) @ _neighbourhood(cells).T
    signal = np.stack([lfilter(_memory(lead), [1.0], near, axis=0) for lead in EFOLDING], 1)
    noise = np.stack([states(0.5) for _ in EFOLDING], 1)
    y = signal + _NOISE * signal.std((0, 2), keepdims=True) * noise
    date = np.datetime64("1801-01") + np.arange(months)
    times = {"time": date.astype("M8[ns]")}
    lead = {"lead": ("lead", list(EFOLDING), {"units": "month"})}
    past, _ = histories(_on_grid(x, cells, times), LAGS)
    later = _on_grid(y, cells, times | lead).isel(time=slice(LAGS - 1, None)).rename(time="sample")
    return past, later


def _on_grid(values: Floats, cells: xr.DataArray, coords: dict[str, Any]) -> xr.DataArray:
    out = np.full((*values.shape[:-1], *cells.shape), np.nan, np.float32)
    out[..., cells.values] = values
    attrs = {"long_name": "anomaly", "units": "degC"}
    return xr.DataArray(out, dims=(*coords, *cells.dims), coords={**coords, **cells.coords}, attrs=attrs)


def planted(cells: xr.DataArray, region: xr.DataArray) -> xr.DataArray:
    """Return the weight (target, lag, lat, lon) of each cell's `response` in the mean of a region: the true importance."""
    weight = (area_weights(cells) * region).transpose(*cells.dims).values[cells.values]
    near = _on_grid(weight @ _neighbourhood(cells) / weight.sum(), cells, {}).astype(np.float64)
    memory = np.stack([_memory(lead)[::-1] for lead in EFOLDING])
    lags = {"target": list(TARGETS), "lag": ("lag", np.arange(-LAGS, 0), {"units": "month"})}
    return (xr.DataArray(memory, dims=("target", "lag"), coords=lags) * near).rename("planted")
