"""An additive function of a field on the sphere: the benchmark of Mamalakis et al. (2022), with truth for any baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from .additive import AdditiveField, as_shapes, field_shapes
from .covariance import NormalStates, Teleconnection, cell_correlation, checked_mask, grid_cells


def additive_sphere(
    mask: xr.DataArray | None = None,
    *,
    grid: float = 10.0,
    covariance: Any = None,
    length_km: float = 2000.0,
    teleconnections: Sequence[Teleconnection] = (),
    breaks: int = 5,
    seed: int = 0,
) -> AdditiveField:
    """Draw an additive piecewise-linear function of a field on the sphere.

    ``y = 1/d sum_i c_i(x_i)`` over d cells, x ~ N(0, S). Each c_i is continuous, 0 at 0, and has slopes that change at
    `breaks` points, 0 among them; slopes and the other break points are draws from N(0, S) too, so that neighbours act
    alike. (The published recipe maps the points through each cell's empirical quantiles, which is the identity for N(0, 1).)

    The difficulty varies much between draws: the linear share of the variance, ``.linear().r2``, runs from .55 to .90 over the
    first 24 seeds (median .80). Average over several seeds, and say which.

    Parameters
    ----------
    mask
        Boolean over latitude and longitude, True where there is a cell (the sea, say). None: the whole sphere.
    grid
        Without a mask, the step of the grid in degrees.
    covariance
        Of the cells of the mask, in its row order: (cells, cells), scaled to correlations. None:
        `great_circle_correlation` with `length_km` and `teleconnections`.
    length_km, teleconnections
        Distance at which the correlation is 1/e; planted seesaws.
    breaks
        Number of points where the slope of each c_i changes.
    seed
        Of the function.

    Returns
    -------
    AdditiveField
        With ``sample``, ``truth``, ``shapley``, ``linear`` and ``model``.

    Raises
    ------
    TypeError, ValueError
        A mask that is not boolean or has no cell, a matrix that is no covariance of its cells, too few breaks.

    References
    ----------
    A. Mamalakis, I. Ebert-Uphoff, E. A. Barnes: Neural network attribution methods for problems in geoscience: a novel
    synthetic benchmark dataset. Environmental Data Science 1, e8, 2022.

    Examples
    --------
    >>> import tsattr as ta
    >>> field = additive_sphere(grid=30, seed=2)
    >>> ds = field.sample(5)
    >>> found = ta.explain(field.model(), ds.x, ta.IntegratedGradients(steps=2187))
    >>> bool((xr.corr(found.attribution, ds.truth, dim=["lat", "lon"]) > 1 - 1e-6).all())
    True
    """
    mask = grid_cells(grid) if mask is None else checked_mask(mask)
    states = NormalStates(cell_correlation(mask, covariance, length_km, teleconnections))
    weight = xr.ones_like(mask, dtype=float) / int(mask.sum())
    return AdditiveField(as_shapes(mask, *field_shapes(states, breaks, seed), weight), states, seed)
