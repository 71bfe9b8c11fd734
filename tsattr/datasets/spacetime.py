"""An additive function of the history of a field: locality, memory by lead and a remote influence are planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..climate.sphere import distance
from .additive import AdditiveField, as_shapes, field_shapes, mean_absolute
from .benchmark import check_sizes
from .covariance import (
    PACIFIC,
    NormalStates,
    Teleconnection,
    autoregressive_correlation,
    blob,
    cell_correlation,
    checked_mask,
    grid_cells,
)


def additive_history(
    mask: xr.DataArray | None = None,
    *,
    grid: float = 10.0,
    lags: int = 36,
    efolding: Mapping[int, float] | None = None,
    target: tuple[float, float] = (0.0, 215.0),
    radius_km: float = 2000.0,
    remote: tuple[float, float] | None = None,
    remote_share: float = 0.3,
    remote_km: float = 1000.0,
    persistence: float = 0.8,
    covariance: Any = None,
    length_km: float = 2000.0,
    teleconnections: Sequence[Teleconnection] = (),
    breaks: int = 5,
    seed: int = 0,
) -> AdditiveField:
    """Draw an additive function of the last months of a field, with a known reach in space and in time.

    ``y_lead = sum_(lag, i) w(lead, lag, i) c_(lag, i)(x_(lag, i))`` with the shapes c as in `additive_sphere`, scaled to
    ``E |c| = 1``, and planted weights that sum to 1 for each lead::

        w ~ exp(-(|lag| - 1) / efolding[lead]) h(i)
        h = (1 - share) exp(-r_i / radius) / sum + share exp(-q_i^2 / 2 remote_km^2) / sum

    with r the great-circle distance from the target and q that from the remote place. So the expected importance,
    ``.importance``, is w itself, and three findings about an emulator are true by construction: importance is local (but for
    the remote place, if any), a longer lead reaches further back, and the decay with lag is the same everywhere. Histories
    are normal: first-order autoregressive in time, with the correlation S in space.

    Parameters
    ----------
    mask
        Boolean over latitude and longitude, True where there is a cell. None: 30 S to 30 N and 120 E to 60 W.
    grid
        Without a mask, the step of the grid in degrees.
    lags
        Steps of a history; the coordinate ``lag`` runs from -lags to -1.
    efolding
        For each lead, the lags after which importance has fallen to 1/e; by default ``{1: 2.0, 6: 4.0, 9: 6.0}``.
    target
        (lat, lon) of the place that y speaks of.
    radius_km
        Distance over which importance falls to 1/e.
    remote
        (lat, lon) of a distant place that matters too: whoever finds importance to be local must not miss it.
    remote_share, remote_km
        Its share of the importance, and its width.
    persistence
        Correlation of neighbouring months of each cell.
    covariance, length_km, teleconnections, breaks, seed
        As in `additive_sphere`. A teleconnection correlates the states; it gives no importance to either place.

    Returns
    -------
    AdditiveField
        Its samples have ``x`` (sample, lag, lat, lon), ``y`` (sample, lead) and ``truth`` (sample, lag, lat, lon, lead).

    Raises
    ------
    TypeError, ValueError
        As `additive_sphere`; sizes, distances or shares out of range.

    References
    ----------
    W. Xu, X. Luo, Y. Ren, J. H. Park, S. Yoo, B. T. Nadiga: Feature importance in a deep learning climate emulator.
    arXiv 2108.13203, 2021: the findings that are planted here.

    Examples
    --------
    >>> field = additive_history(grid=10, lags=12, seed=1)
    >>> dict(field.sample(4).truth.sizes)
    {'sample': 4, 'lag': 12, 'lat': 6, 'lon': 18, 'lead': 3}
    >>> by_lag = field.importance.sum(["lat", "lon"])
    >>> (np.log(by_lag.sel(lag=-1) / by_lag.sel(lag=-7)) ** -1 * 6).round(9).to_series().to_dict()
    {1: 2.0, 6: 4.0, 9: 6.0}
    """
    efolding = {1: 2.0, 6: 4.0, 9: 6.0} if efolding is None else dict(efolding)
    check_sizes(seed, lags=(lags, 1))
    _check_planted(efolding, radius_km, remote_share, remote_km)
    mask = grid_cells(grid, **PACIFIC) if mask is None else checked_mask(mask)
    steps = ("lag", np.arange(-lags, 0), {"long_name": "steps before the forecast"})
    cells = mask.expand_dims(lag=lags).assign_coords(lag=steps)
    space = cell_correlation(mask, covariance, length_km, teleconnections)
    states = NormalStates(space, autoregressive_correlation(lags, persistence))
    knots, slopes = field_shapes(states, breaks, seed)
    away = distance(mask, lat=target[0], lon=target[1])
    place = _share(xr.apply_ufunc(np.exp, -away / radius_km), mask)
    if remote is not None:
        place = (1 - remote_share) * place + remote_share * _share(blob(mask, remote, remote_km), mask)
    leads = xr.DataArray(list(efolding.values()), dims="lead", coords={"lead": list(efolding)})
    decay = xr.apply_ufunc(np.exp, (cells["lag"] + 1) / leads)
    weight = (decay / decay.sum("lag") * place).transpose("lead", *cells.dims)
    return AdditiveField(as_shapes(cells, knots, slopes / mean_absolute(knots, slopes), weight), states, seed)


def _share(values: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
    inside = values.where(mask)
    return inside / inside.sum()


def _check_planted(efolding: Mapping[int, float], radius_km: float, share: float, remote_km: float) -> None:
    if not efolding or min(efolding.values()) <= 0:
        raise ValueError(f"efolding gives each lead a number of lags above 0, such as {{1: 2.0}}, got {dict(efolding)}")
    if min(radius_km, remote_km) <= 0:
        raise ValueError(f"radius_km and remote_km are distances above 0, got {radius_km} and {remote_km}")
    if not 0 <= share <= 1:
        raise ValueError(f"remote_share is between 0 and 1, got {share}")
