"""Normal states on the sphere: grids, correlation in great-circle distance, planted teleconnections, memory in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..climate.sphere import EARTH_RADIUS_KM, coordinates, distance

Floats = NDArray[np.float64]

PACIFIC: dict[str, tuple[float, float]] = {"lat": (-30, 30), "lon": (120, 300)}
"""About the tropical Pacific, for :func:`grid_cells`."""

_ROUNDING = 1e-8  # an eigenvalue this far below 0, as a share of the largest, is taken for 0


@dataclass(frozen=True)
class Teleconnection:
    """Two distant places that vary against each other: a term ``v v'`` of a covariance.

    ``v = strength (exp(-r^2 / 2 w^2) + sign exp(-q^2 / 2 w^2))`` with r and q the great-circle distances from the two
    places. Where these are far apart, their correlation is about ``sign s^2 / (1 + s^2)``.

    Parameters
    ----------
    one, other
        (lat, lon) of the centres, degrees.
    strength
        Standard deviation at a centre, as a multiple of that of the rest.
    width_km
        w.
    sign
        -1 for a seesaw, 1 for places that vary together.

    Examples
    --------
    >>> Teleconnection((0, 210), (50, 330)).strength
    1.0
    """

    one: tuple[float, float]
    other: tuple[float, float]
    strength: float = 1.0
    width_km: float = 1500.0
    sign: int = -1

    def pattern(self, mask: xr.DataArray) -> Floats:
        """Return v at each cell of a mask, in row order."""
        near, far = (blob(mask, place, self.width_km).values[mask.values] for place in (self.one, self.other))
        pattern: Floats = self.strength * (near + self.sign * far)
        return pattern


def blob(mask: xr.DataArray, place: tuple[float, float], width_km: float) -> xr.DataArray:
    """Return ``exp(-r^2 / 2 w^2)`` with r the great-circle distance from a place (lat, lon)."""
    lat, lon = place
    values: xr.DataArray = xr.apply_ufunc(np.exp, -((distance(mask, lat=lat, lon=lon) / width_km) ** 2) / 2)
    return values


def grid_cells(
    step: float, *, lat: tuple[float, float] = (-90, 90), lon: tuple[float, float] = (0, 360)
) -> xr.DataArray:
    """Return a mask, True everywhere, over the centres of the cells of a regular grid.

    Examples
    --------
    >>> cells = grid_cells(10)
    >>> dict(cells.sizes), cells.lat.values[:2].tolist(), cells.lon.values[:2].tolist()
    ({'lat': 18, 'lon': 36}, [-85.0, -75.0], [5.0, 15.0])
    """
    if not step > 0:
        raise ValueError(f"a grid's step is above 0 degrees, got {step}")
    cells = np.array([(high - low) / step for low, high in (lat, lon)])
    rows, columns = cells.round().astype(int)
    if not np.allclose(cells, (rows, columns)):
        raise ValueError(f"a grid's step divides lat={lat} and lon={lon} into whole cells, got {step} degrees")
    return xr.DataArray(
        np.ones((rows, columns), bool),
        dims=("lat", "lon"),
        coords={
            "lat": ("lat", lat[0] + step * (np.arange(rows) + 0.5), {"units": "degrees_north"}),
            "lon": ("lon", lon[0] + step * (np.arange(columns) + 0.5), {"units": "degrees_east"}),
        },
        name="mask",
    )


def checked_mask(mask: xr.DataArray) -> xr.DataArray:
    """Return `mask` if it is a boolean mask over latitude and longitude with a cell in it, else raise."""
    if not isinstance(mask, xr.DataArray) or mask.dtype != bool or mask.ndim != 2:
        raise TypeError(
            f"mask is a boolean DataArray over latitude and longitude, True where there is a cell, got {mask!r}"
        )
    coordinates(mask)
    if not mask.any():
        raise ValueError("mask is False everywhere: no cell is left")
    return mask


def great_circle_correlation(
    mask: xr.DataArray, length_km: float = 2000.0, teleconnections: Sequence[Teleconnection] = ()
) -> Floats:
    """Correlation of the cells of a mask, ``exp(-r / L)`` with r the great-circle distance, plus planted teleconnections.

    ``S = D (exp(-r / L) + sum_k v_k v_k') D`` with D such that the diagonal is 1. The exponential of the great-circle distance
    is positive definite on the sphere for every L; the squared exponential is not. T. Gneiting: Strictly and non-strictly
    positive definite functions on spheres. Bernoulli 19(4), 2013.

    Parameters
    ----------
    mask
        Boolean over latitude and longitude, True where there is a cell.
    length_km
        L, the distance at which the correlation has fallen to 1/e.
    teleconnections
        Planted seesaws between distant places.

    Returns
    -------
    array (cells, cells), in the mask's row order.

    Examples
    --------
    >>> two = grid_cells(90, lat=(-45, 45), lon=(0, 180))
    >>> S = great_circle_correlation(two, length_km=EARTH_RADIUS_KM * np.pi / 2)
    >>> S.round(3).tolist()
    [[1.0, 0.368], [0.368, 1.0]]
    """
    from sklearn.metrics.pairwise import haversine_distances

    if not length_km > 0:
        raise ValueError(f"length_km is a distance above 0, got {length_km}")
    lat, lon = xr.broadcast(*coordinates(checked_mask(mask)))
    places = np.deg2rad([c.transpose(*mask.dims).values[mask.values] for c in (lat, lon)]).T
    covariance = np.exp(-haversine_distances(places) * EARTH_RADIUS_KM / length_km)
    for v in (t.pattern(mask) for t in teleconnections):
        covariance += np.outer(v, v)
    return as_correlation(covariance, len(places))


def cell_correlation(
    mask: xr.DataArray, covariance: Any, length_km: float, teleconnections: Sequence[Teleconnection]
) -> Floats:
    """Return the correlation of the cells: of the user's covariance, else by `great_circle_correlation`."""
    if covariance is None:
        return great_circle_correlation(mask, length_km, teleconnections)
    return as_correlation(covariance, int(mask.sum()))


def as_correlation(covariance: Any, cells: int) -> Floats:
    """Return the covariance scaled to a unit diagonal; ValueError unless it is a covariance of `cells` cells."""
    c = np.asarray(covariance, np.float64)
    if c.shape != (cells, cells):
        raise ValueError(f"covariance has a row and a column for each of the mask's {cells} cells, got shape {c.shape}")
    if not np.isfinite(c).all() or not np.allclose(c, c.T, atol=_ROUNDING * np.abs(c).max()):
        raise ValueError("covariance is symmetric and finite, got one that is not")
    if (variance := np.diag(c)).min() <= 0:
        raise ValueError(f"each cell varies: cell {variance.argmin()} has variance {variance.min():g}; mask it out")
    scale = 1 / np.sqrt(variance)
    correlation = c * scale[:, None] * scale
    np.fill_diagonal(correlation, 1)
    square_root(correlation)
    return correlation


def square_root(covariance: Floats) -> Floats:
    """Return the symmetric root R of a positive semidefinite matrix, ``R R = S``.

    Cholesky's needs a positive definite one, which no record shorter than its number of cells gives.
    """
    from scipy.linalg import eigh

    values, vectors = eigh(covariance)
    if values[0] < -_ROUNDING * values[-1]:
        raise ValueError(
            f"a covariance is positive semidefinite, this one has the eigenvalue {values[0]:.3g} (largest {values[-1]:.3g}); "
            "the squared exponential of great-circle distance is not one on the sphere, that of chords is"
        )
    root: Floats = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root


@dataclass(frozen=True, eq=False, repr=False)
class NormalStates:
    """Normal states with unit variances: correlation in time and in space, ``Cov(x_ti, x_sj) = T_ts S_ij``.

    Parameters
    ----------
    space
        S, (cells, cells).
    time
        T, (times, times); by default a single time.
    """

    space: Floats
    time: Floats = field(default_factory=lambda: np.ones((1, 1)))

    def __repr__(self) -> str:
        return f"NormalStates({len(self.time)} times of {len(self.space)} cells)"

    @cached_property
    def _roots(self) -> tuple[Floats, Floats]:
        return square_root(self.time), square_root(self.space)

    def draw(self, samples: int, seed: Sequence[int], first: int = 0) -> Floats:
        """Return samples `first`, `first` + 1, ... as (samples, times * cells), each from a random stream of its own."""
        time, space = self._roots
        rows = range(first, first + samples)
        z = np.stack([np.random.default_rng((*seed, i)).standard_normal((len(time), len(space))) for i in rows])
        return ((time @ z).reshape(-1, len(space)) @ space).reshape(samples, -1)

    def covariance(self, weights: Floats, power: int = 1) -> Floats:
        """Return ``w' (T x S)^power w`` for each row w of `weights` (rows, times * cells), with elementwise powers."""
        w = weights.reshape(len(weights), len(self.time), len(self.space))
        variances: Floats = ((w @ self.space**power @ w.transpose(0, 2, 1)) * self.time**power).sum((1, 2))
        return variances


def autoregressive_correlation(times: int, persistence: float) -> Floats:
    """Return the correlation of a first-order autoregression, ``T_ts = persistence^|t - s|``."""
    from scipy.linalg import toeplitz

    if not 0 <= persistence < 1:
        raise ValueError(f"persistence is the correlation of neighbouring times, from 0 to below 1, got {persistence}")
    correlation: Floats = toeplitz(persistence ** np.arange(times, dtype=float))
    return correlation
