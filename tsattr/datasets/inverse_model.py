"""A linear inverse model of a field: unlimited months with realistic covariance, and forecasts whose attribution is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from ..climate.records import step_unit
from ..climate.sphere import area_weights
from ..labels.alignment import in_order_of
from .benchmark import check_sizes, exact_join
from .covariance import PACIFIC, blob, checked_mask, great_circle_correlation, grid_cells, square_root

Floats = NDArray[np.float64]

_SD, _WARM = 0.4, 0.8  # degC: of the synthetic field everywhere, and more of it in the middle of the ocean
_WARM_POOL, _WARM_KM = (0.0, 230.0), 3000.0
_PERIOD, _LONGEST, _SHORTEST = 48.0, 14.0, 1.5  # months: of the rotation of the first two modes, and decay times


@dataclass(frozen=True, eq=False, repr=False)
class LinearInverseModel:
    """A field that is a few patterns times a first-order autoregression: ``x = E z``, ``z(t+1) = G z(t) + e``, e ~ N(0, Q).

    Its best forecast of any linear target, ``E[v'x(t+L) | x(t)] = v' E G^L P x(t)`` with P the projection on the patterns, is
    linear, so that what each cell contributes is known exactly: the row of the propagator times the cell's departure from the
    baseline. Only the last known month counts, at every lead: an explanation that finds more memory is wrong here.

    Made by `linear_inverse_model`.

    Parameters
    ----------
    patterns
        E, (mode, lat, lon), in the units of the field; NaN where there is no cell.
    projection
        P, (mode, lat, lon), with ``sum P_k E_j = 1`` for k = j, else 0.
    propagator, noise
        G and Q, (modes, modes), of one month.

    References
    ----------
    C. Penland, P. D. Sardeshmukh: The optimal growth of tropical sea surface temperature anomalies. Journal of Climate 8,
    1995.
    """

    patterns: xr.DataArray
    projection: xr.DataArray
    propagator: Floats
    noise: Floats

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}={n}" for d, n in self.patterns.sizes.items())
        return f"LinearInverseModel({sizes}; {int(self.cells.sum())} cells)"

    @cached_property
    def covariance(self) -> Floats:
        """The stationary covariance of z: the C with ``C = G C G' + Q``."""
        from scipy.linalg import solve_discrete_lyapunov

        covariance: Floats = solve_discrete_lyapunov(self.propagator, self.noise)
        return covariance

    def record(self, months: int, *, seed: int = 0) -> xr.DataArray:
        """Draw consecutive months, the first from the stationary distribution.

        Parameters
        ----------
        months
            How many; month t depends on `seed` and t, never on `months`.

        Returns
        -------
        DataArray
            (time, lat, lon), float32, NaN where there is no cell; ``time`` counts months.

        Examples
        --------
        >>> x = linear_inverse_model().record(12)
        >>> x.dims, x.units
        (('time', 'lat', 'lon'), 'degC')
        """
        check_sizes(seed, months=(months, 1))
        z = np.random.default_rng(seed).standard_normal((months, len(self.propagator)))
        z[1:] = z[1:] @ square_root(self.noise)
        z[0] = square_root(self.covariance) @ z[0]
        for t in range(1, months):
            z[t] += self.propagator @ z[t - 1]
        states = xr.DataArray(z, dims=("time", "mode"), coords={"time": np.arange(months)})
        out: xr.DataArray = xr.dot(states, self.patterns, dim="mode").where(self.cells).astype(np.float32)
        out.attrs = {"long_name": "anomaly", "units": self.patterns.attrs["units"]}
        out["time"].attrs = {"long_name": "month", "units": "month"}
        return out.rename("x")

    @property
    def cells(self) -> xr.DataArray:
        """True where there is a cell: a mask over the field's dims."""
        return self.patterns.isel(mode=0, drop=True).notnull().rename("mask")

    def rows(self, target: xr.DataArray, leads: Sequence[int] = (1, 6, 9)) -> xr.DataArray:
        """What a unit in each cell now adds to the forecast of a target: ``r_L = v' E G^L P``, v being weights that sum to 1.

        Parameters
        ----------
        target
            Weights, or a mask, over the field's dims.
        leads
            Months ahead.

        Returns
        -------
        DataArray
            (lead, lat, lon); NaN where there is no cell.

        Raises
        ------
        ValueError
            A target without weight on any cell; a lead below 1.
        """
        row, propagators = self._target_row(target), self._propagators(leads)
        rows = xr.DataArray(row @ propagators, dims=("lead", "mode"), coords={"lead": list(leads)})
        out: xr.DataArray = xr.dot(rows, self.projection, dim="mode").where(self.cells)
        return out.rename("row").assign_attrs(long_name="row of the propagator", units="1")

    def truth(
        self, x: xr.DataArray, target: xr.DataArray, leads: Sequence[int] = (1, 6, 9), baseline: Any = 0.0
    ) -> xr.DataArray:
        """What each cell contributes to the forecast: ``r_i (x_i - b_i)`` at the last lag, 0 before; sums to F(x) - F(b).

        Parameters
        ----------
        x
            States with the field's dims in any order and direction, and any others; the largest ``lag`` (without
            labels, the last) is the last known month.
        target, leads
            As for `rows`.
        baseline
            b: a number, or a DataArray over dims of `x`; the mean of a distribution gives the exact Shapley value against it.

        Returns
        -------
        DataArray
            float64, the dims of `x`, then ``lead``.
        """
        b = in_order_of(x, baseline, "the baseline") if isinstance(baseline, xr.DataArray) else baseline
        with exact_join():
            found: xr.DataArray = (x.astype(np.float64) - b) * in_order_of(x, self.rows(target, leads), "the field")
        if "lag" in x.dims:
            lags = x["lag"].variable  # without labels, their numbers
            last = xr.DataArray(lags == lags.max())
            found = found.where(last | found.isnull(), 0)
        attrs = {"long_name": "exact contribution", "units": self.patterns.attrs["units"]}
        return found.transpose(*x.dims, "lead").rename("truth").assign_attrs(attrs)

    def skill(self, target: xr.DataArray, leads: Sequence[int] = (1, 6, 9)) -> xr.DataArray:
        """Anomaly correlation of the best forecast with what follows, the most that any emulator reaches.

        ``sqrt(Var(forecast) / Var(target))``, as the forecast's error is independent of it.
        """
        row, propagators = self._target_row(target), self._propagators(leads)
        rows = row @ propagators
        ratio = np.einsum("lj,jk,lk->l", rows, self.covariance, rows) / (row @ self.covariance @ row)
        return xr.DataArray(
            np.sqrt(ratio), dims="lead", coords={"lead": list(leads)}, name="skill", attrs={"units": "1"}
        )

    def model(self, leads: Sequence[int] = (1, 6, 9)) -> LinearEmulator:
        """The best forecast of the whole field as a torch module: (rows, [lag,] lat, lon) to (rows, lead, lat, lon).

        NaN where there is no cell, in as out; of several lags it reads the last.
        """
        cells = self.cells.values
        patterns, projection = (v.values[:, cells] for v in (self.patterns, self.projection))
        return LinearEmulator(cells, patterns, projection, self._propagators(leads))

    def _propagators(self, leads: Sequence[int]) -> Floats:
        """Return the propagator to each lead, (leads, modes, modes)."""
        if not len(leads) or min(leads) < 1:
            raise ValueError(f"leads are months ahead, at least 1, got {list(leads)}")
        return np.stack([np.linalg.matrix_power(self.propagator, lead) for lead in leads])

    def _target_row(self, target: xr.DataArray) -> Floats:
        """Return the target's value for a unit of each mode, (modes,)."""
        with exact_join():
            weights = (target * self.cells).fillna(0).astype(np.float64)
        if not weights.sum() > 0:
            raise ValueError("the target has no weight on any cell of the field; give a mask or weights over its dims")
        row: xr.DataArray = xr.dot(weights / weights.sum(), self.patterns.fillna(0), dim=self.cells.dims)
        return row.values


class LinearEmulator(nn.Module):
    """The best forecast of a linear inverse model; see `LinearInverseModel.model`."""

    cells: Tensor
    patterns: Tensor
    projection: Tensor
    propagators: Tensor

    def __init__(self, cells: NDArray[np.bool_], patterns: Floats, projection: Floats, propagators: Floats) -> None:
        super().__init__()
        self.shape = cells.shape
        self.register_buffer("cells", torch.as_tensor(np.flatnonzero(cells)))
        for name, values in (("patterns", patterns), ("projection", projection), ("propagators", propagators)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return forecasts (rows, lead, lat, lon)."""
        rows = len(x)
        last = x.reshape(rows, -1, *self.shape)[:, -1].flatten(1)
        z = last[:, self.cells].to(self.patterns.dtype) @ self.projection.T
        y = torch.einsum("rk,ljk,jc->rlc", z, self.propagators, self.patterns)
        out = y.new_full((*y.shape[:2], last.shape[1]), torch.nan)
        return out.index_copy(2, self.cells, y).reshape(*y.shape[:2], *self.shape)


def linear_inverse_model(
    record: xr.DataArray | None = None, *, modes: int = 20, grid: float = 10.0
) -> LinearInverseModel:
    """Fit a linear inverse model to a record of anomalies, or make a synthetic one.

    The patterns are the first `modes` empirical orthogonal functions, cells weighted by area; with z their amplitudes,
    ``G = <z(t+1) z(t)'> <z(t) z(t)'>^-1`` and Q the covariance of what is left.

    Parameters
    ----------
    record
        Monthly anomalies (time, lat, lon), evenly spaced. Months without any value are gaps, over which no step is taken;
        cells that miss another month are left out. None: a synthetic model of
        a tropical ocean, with an exponential great-circle covariance that is largest on the equator, decay times from 14
        months for the largest pattern to 1.5 for the smallest, and the first two turning into each other within 48 months.
    modes
        Number of patterns.
    grid
        Without a record, the step of the grid in degrees.

    Returns
    -------
    LinearInverseModel
        With ``record``, ``rows``, ``truth``, ``skill`` and ``model``; ``patterns.attrs["explained"]`` is the share of the
        variance by area that the patterns hold.

    Raises
    ------
    ValueError
        A record that is not evenly spaced, has fewer months than 2 modes, or no complete cell; a fit that grows without
        bound.

    Examples
    --------
    >>> fitted = linear_inverse_model(linear_inverse_model(modes=5).record(4000), modes=5)
    >>> bool(abs(np.linalg.eigvals(fitted.propagator)).max() < 1)
    True
    """
    if record is None:
        return _synthetic(modes, grid)
    if set(record.dims) - {"time"} == set(record.dims) or record.ndim != 3:
        raise ValueError(f"record has a dim 'time' and two of space, got dims {list(record.dims)}")
    step_unit(record, "time")
    record = record.transpose("time", ...)
    known = record.notnull().any(record.dims[1:]).values
    follows = known[1:] & known[:-1]
    record = record[known]
    mask = record.notnull().all("time")
    check_sizes(0, modes=(modes, 1), months=(len(record), 2 * modes))
    rows = (record - record.mean("time")).values[:, checked_mask(mask).values].astype(np.float64)
    patterns, projection = _orthogonal_functions(rows / np.sqrt(len(rows)), mask, modes)
    patterns.attrs["units"] = str(record.attrs.get("units", "1"))
    z = np.full((len(known), modes), np.nan)
    z[known] = rows @ projection.values[:, mask.values].T
    before, after = z[:-1][follows], z[1:][follows]
    propagator = np.linalg.lstsq(before, after, rcond=None)[0].T
    if (largest := np.abs(np.linalg.eigvals(propagator)).max()) >= 1:
        raise ValueError(
            f"the fitted model grows, by {largest:.3f} a month; detrend the record, or keep fewer than {modes} modes"
        )
    residual = after - before @ propagator.T
    return LinearInverseModel(patterns, projection, propagator, residual.T @ residual / len(residual))


def _synthetic(modes: int, grid: float) -> LinearInverseModel:
    mask = grid_cells(grid, **PACIFIC)
    check_sizes(0, modes=(modes, 2))
    if modes > int(mask.sum()):
        raise ValueError(f"modes are at most the {int(mask.sum())} cells of the grid, got {modes}")
    sd = (_SD + _WARM * blob(mask, _WARM_POOL, _WARM_KM)).values[mask.values]
    patterns, projection = _orthogonal_functions(square_root(great_circle_correlation(mask)) * sd, mask, modes)
    patterns.attrs["units"] = "degC"
    decay = np.exp(-1 / np.geomspace(_LONGEST, _SHORTEST, modes))
    propagator = np.diag(decay)
    turn = 2 * np.pi / _PERIOD
    propagator[:2, :2] = decay[0] * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    # In amplitudes of unit variance, so that the noise that keeps them so is what the decay leaves room for.
    return LinearInverseModel(patterns, projection, propagator, np.eye(modes) - propagator @ propagator.T)


def _orthogonal_functions(rows: Floats, mask: xr.DataArray, modes: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Return patterns of unit amplitude variance and the projection on them; ``rows' rows`` is the covariance."""
    from scipy.linalg import svd

    weight = np.sqrt(area_weights(mask).broadcast_like(mask).transpose(*mask.dims).values[mask.values])
    _, size, across = svd(rows * weight, full_matrices=False)
    scaled = size[:modes, None]

    def labelled(values: Floats) -> xr.DataArray:
        out = np.full((modes, *mask.shape), np.nan)
        out[:, mask.values] = values
        return xr.DataArray(out, dims=("mode", *mask.dims), coords=mask.coords)

    patterns = labelled(scaled * across[:modes] / weight).assign_attrs(
        explained=float((size[:modes] ** 2).sum() / (size**2).sum())
    )
    return patterns, labelled(across[:modes] * weight / scaled)
