"""Harmonics of a fundamental frequency; trend and season."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.baselines.climatology import phases_of
from ..core.cf import units_of
from ..core.results import check_choice, check_count
from .summing import BRIDGED, applied, axes_of, bridged, near_ends, period_of, step_of, summing

_TREND = "trend and season"


def harmonics(
    x: xr.DataArray, f0: Any, number: int = 3, dim: str = "time", *, sample_dim: str = "sample"
) -> xr.DataArray:
    """A signal as its mean, harmonics of a fundamental frequency, and the rest: the heart rate, the annual cycle.

    Harmonic k is ``a_k cos(2 pi k f0 t) + b_k sin(2 pi k f0 t)``; all and the mean are fitted to the known cells of a series
    together, by least squares. The frequency need not fit into the series a whole number of times.

    Parameters
    ----------
    x, dim
        As for :func:`bands`; `dim` need not be evenly spaced.
    f0
        The fundamental frequency, in Hz along a time, else in cycles per unit of the coordinate; or a period with its unit, as "1 year".
        A DataArray over the samples gives each its own, such as the heart rate over 60.
    number
        How many harmonics, the fundamental the first.

    Raises
    ------
    ValueError
        A frequency that is not above 0; as many unknowns as cells.

    Examples
    --------
    >>> t = np.arange(10) / 10
    >>> x = xr.DataArray(3 + np.cos(2 * np.pi * t)[None], dims=("sample", "time"), coords={"time": t})
    >>> abs(harmonics(x, 1.0, 2).isel(time=0)).values.round(9).tolist()
    [[3.0, 1.0, 0.0, 0.0]]
    """
    check_count("number", number)
    axes = axes_of(x, sample_dim, dim)
    dim = axes.called(dim)
    if isinstance(f0, str):
        f0 = 1 / period_of(axes, dim, f0)
    try:
        where = axes.positions(dim)[0]
    except ValueError:
        where = axes.line(dim)
    if not isinstance(f0, xr.DataArray) and np.ndim(f0) > 0:
        raise TypeError(
            f"f0 is a number, a period with its unit, or a DataArray over the samples, got {type(f0).__name__}; give "
            f"xr.DataArray(f0, dims={sample_dim!r})"
        )
    frequency = f0 if isinstance(f0, xr.DataArray) else xr.DataArray(float(f0))
    if not (frequency > 0).all():
        raise ValueError(f"f0 is a frequency above 0, got {frequency.values.tolist()}")
    if len(where) <= 1 + 2 * number:
        raise ValueError(
            f"{number} harmonics and a mean have {1 + 2 * number} unknowns, and {dim!r} {len(where)} cells"
        )
    if (
        sample_dim in frequency.coords
        and sample_dim in x.coords
        and (lacking := sorted(set(x[sample_dim].values.tolist()) - set(frequency[sample_dim].values.tolist())))
    ):
        raise ValueError(
            f"f0 has no frequency of {sample_dim} {', '.join(map(str, lacking[:10]))}; give one of every sample"
        )
    angle = 2 * np.pi * frequency * xr.DataArray(where - where[0], dims=dim)
    waves = [angle.copy(data=f(k * angle.values)) for k in range(1, number + 1) for f in (np.cos, np.sin)]
    columns: list[xr.DataArray] = [xr.ones_like(angle), *waves]
    design = xr.concat(columns, "column").broadcast_like(
        x.isel({d: 0 for d in x.dims if d not in (dim, sample_dim)}, drop=True)
    )
    fitted = applied(
        _least_squares,
        x.astype(float),
        design,
        over=[[dim], [dim, "column"]],
        gives=["column"],
        sizes={"column": 1 + 2 * number},
        vectorize=True,
    )
    terms = fitted * design
    found = {"mean": terms.isel(column=0)} | {
        f"harmonic {k}": terms.isel(column=[2 * k - 1, 2 * k]).sum("column") for k in range(1, number + 1)
    }
    assumed = "waves whose frequency, size and phase stay the same, fitted to the cells that are known"
    return summing(x, found, sample_dim, what="mean and harmonics", assumes=assumed)


def _least_squares(series: np.ndarray, design: np.ndarray) -> np.ndarray:
    known = np.isfinite(series)
    fit, *_ = np.linalg.lstsq(design[known], series[known], rcond=None)
    return np.asarray(fit)


def trend_season(
    x: xr.DataArray,
    period: int | str,
    dim: str = "time",
    *,
    method: str = "stl",
    robust: bool = False,
    sample_dim: str = "sample",
) -> xr.DataArray:
    """A signal as a trend, a season and the rest.

    Parameters
    ----------
    x, dim
        As for :func:`bands`.
    period
        Of "stl" the length of the season, in cells or with its unit, as "1 year", a whole number of cells. Of "cycle" that, or
        "month", "dayofyear" or "hour" of dates along `dim`.
    method
        "stl": a smooth trend and a season that may change, by local regression (Cleveland et al., 1990; `statsmodels`, in the extra
        ``tsattr[parts]``). "cycle": a straight trend, and the same season in every cycle, the mean of what the trend leaves in
        each phase. Dates that step by whole months are counted in months.
    robust
        Of "stl": outliers count less.

    Returns
    -------
    xr.DataArray
        `x` with the dim ``part``. Of "stl" the coordinate ``edge`` is True for cells within a season of an end or a gap.

    Raises
    ------
    ValueError
        Fewer than two cycles; of "cycle" so few cells that a trend is not told from a season.

    Examples
    --------
    >>> x = xr.DataArray([[0.0, 3.0, 2.0, 5.0, 4.0, 7.0]], dims=("sample", "time"))
    >>> trend_season(x, 2, method="cycle").sel(part="season").values.round(2).tolist()
    [[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]]
    """
    check_choice("method", method, ("stl", "cycle"))
    axes = axes_of(x, sample_dim, dim)
    dim = axes.called(dim)
    n = axes.shape[axes.axis(dim)]
    if method == "cycle":
        found = _cycle(x.astype(float), _phases(x, period, axes, dim), dim)
        assumed = "a straight trend and the same season in every cycle, fitted to the cells that are known"
        return summing(x, found, sample_dim, what=_TREND, assumes=assumed)
    length = _cells(axes, dim, period)
    if n < 2 * length:
        raise ValueError(
            f"a season of {length} cells is told from a trend in two cycles or more, and {dim!r} has {n} cells"
        )
    try:
        from statsmodels.tsa.seasonal import STL
    except ImportError as error:
        raise ImportError("trend_season by method='stl' needs statsmodels: pip install 'tsattr[parts]'") from error

    def stl(series: np.ndarray) -> np.ndarray:
        fit = STL(series, period=length, robust=robust).fit()
        return np.stack([fit.trend, fit.seasonal])

    both = applied(stl, bridged(x, dim), over=[[dim]], gives=["piece", dim], sizes={"piece": 2}, vectorize=True)
    found = {"trend": both.isel(piece=0), "season": both.isel(piece=1)}
    assumed = f"a smooth trend, and a season of {length} cells that changes slowly; {BRIDGED}"
    return summing(x, found, sample_dim, what=_TREND, assumes=assumed, near=near_ends(x, dim, [length, length]))


def _cells(axes: Axes, dim: str, period: int | str) -> int:
    cells = period_of(axes, dim, period) / step_of(axes, dim) if isinstance(period, str) else float(period)
    if abs(cells - round(cells)) > 1e-3 * cells or round(cells) < 2:
        raise ValueError(f"a season is a whole number of cells, two or more; {period!r} is {cells:.4g} along {dim!r}")
    return round(cells)


def _phases(x: xr.DataArray, period: int | str, axes: Axes, dim: str) -> np.ndarray:
    """The phase of each cell in its cycle."""
    if isinstance(period, str) and period in ("month", "dayofyear", "hour"):
        return np.asarray(phases_of(x[dim].values, units_of(x).get(dim), period, dim)[0])
    return np.arange(x.sizes[dim]) % _cells(axes, dim, period)


def _cycle(series: xr.DataArray, phase: np.ndarray, dim: str) -> dict[str, xr.DataArray]:
    """A straight trend and one season in every cycle, by least squares of both together on the known cells of each series."""
    levels, which = np.unique(phase, return_inverse=True)
    time = np.arange(len(which)) - (len(which) - 1) / 2
    design = np.column_stack([np.eye(len(levels))[which], time])
    if np.linalg.matrix_rank(design) <= len(levels):
        raise ValueError(
            f"a season of {len(levels)} phases is told from a trend where a phase comes again, and {dim!r} has {len(which)} cells"
        )

    def both(line: np.ndarray) -> np.ndarray:
        fit, known = _least_squares(line, design), np.isfinite(line)
        season = fit[which]
        level = season[known].mean() if known.any() else 0.0
        return np.stack([level + fit[-1] * time, season - level])

    found = applied(both, series, over=[[dim]], gives=["piece", dim], sizes={"piece": 2}, vectorize=True)
    return {"trend": found.isel(piece=0), "season": found.isel(piece=1)}
