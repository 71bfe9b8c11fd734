"""Modes of a reference: empirical orthogonal functions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ..climate.sphere import area_weights, space_dims
from ..core.indexing import positions_of
from ..core.results import check_count
from .summing import axes_of, summing


def modes(
    x: xr.DataArray,
    reference: xr.DataArray,
    number: int = 5,
    dims: str | Iterable[str] | None = None,
    *,
    sample_dim: str = "sample",
) -> xr.DataArray:
    """A field as the mean of a reference, its leading modes (empirical orthogonal functions), and the rest.

    Mode k is ``(e_k . (x - mean)) e_k``, with e_k the k-th principal direction of the reference over the cells of `dims`, in the
    metric of the cells' areas where there are latitudes; all other dims of the reference are its samples. Signs are such
    that the largest cell of a mode is positive. Cells missing in any time of the reference belong to no mode.

    Parameters
    ----------
    x
        The fields, with their sample dim; they may have other dims beside `dims`, each field of which is parted by itself.
    reference
        The record on which the modes are found; it should not hold what is tested. Same cells as `x`, matched by their labels.
    number
        How many modes.
    dims
        The dims of a mode's cells; None: those of the latitudes and longitudes.

    Returns
    -------
    xr.DataArray
        `x` with the dim ``part``; names of modes say the share of the reference's variance.

    Raises
    ------
    ValueError
        No such dims, or other cells along them; more modes than the reference has fields less one, or cells.

    Examples
    --------
    >>> wave = np.array([1.0, -1.0, 0.0])
    >>> train = xr.DataArray(np.arange(4.0)[:, None] * wave, dims=("sample", "cell"))
    >>> abs(modes(train[:1], train, 1, "cell").sel(part="rest")).values.round(9).tolist()
    [[0.0, 0.0, 0.0]]
    """
    check_count("number", number)
    axes_of(x, sample_dim)
    over = list(map(str, space_dims(reference))) if dims is None else [dims] if isinstance(dims, str) else list(dims)
    if not over or not set(over) <= set(x.dims) & set(reference.dims):
        raise ValueError(
            f"modes are over dims of x and of the reference, got {over} of {list(x.dims)} and {list(reference.dims)}"
        )
    reference = _like(reference, x, over)
    area = area_weights(reference) if dims is None else xr.DataArray(1.0)
    weight = (area**0.5).broadcast_like(reference.isel({d: 0 for d in reference.dims if d not in over}, drop=True))
    stacked = {"cell_": over}
    known = reference.notnull().all([d for d in reference.dims if d not in over]) & (weight > 0)
    inside = known.stack(stacked).values
    table = (reference * weight).transpose(..., *over).values.reshape(-1, inside.size)[:, inside].astype(float)
    most = min(len(table) - 1, table.shape[1])
    if number > most:
        raise ValueError(
            f"the reference of {len(table)} fields of {table.shape[1]} cells has {most} modes at most, got number={number}"
        )
    from sklearn.decomposition import PCA

    fit = PCA(number).fit(table)
    directions = fit.components_ * np.sign(fit.components_[np.arange(number), abs(fit.components_).argmax(1)])[:, None]
    shape = [x.sizes[d] for d in over]

    def unstacked(rows: np.ndarray) -> xr.DataArray:
        out = np.zeros((*rows.shape[:-1], inside.size))
        out[..., inside] = rows
        lead = [f"lead_{k}" for k in range(rows.ndim - 1)]
        return xr.DataArray(out.reshape(*rows.shape[:-1], *shape), dims=[*lead, *over])

    scale = weight.transpose(*over).values.ravel()[inside]
    mean, pattern = unstacked(fit.mean_ / scale), unstacked(directions / scale).rename(lead_0="mode")
    dual = unstacked(directions * scale).rename(lead_0="mode")
    score = ((x.astype(float) - mean).fillna(0) * dual).sum(over)
    found = {"mean": mean.broadcast_like(x)} | {
        f"mode {k + 1} ({share:.0%})": score.isel(mode=k) * pattern.isel(mode=k)
        for k, share in enumerate(fit.explained_variance_ratio_)
    }
    assumed = "patterns of the reference; a missing cell counts as the reference's mean"
    return summing(x, found, sample_dim, what="mode of the reference", assumes=assumed)


def _like(reference: xr.DataArray, x: xr.DataArray, dims: Iterable[str]) -> xr.DataArray:
    """The reference with the cells in the order of those of `x`; ValueError where they are others."""
    for d in dims:
        if d in x.coords and d in reference.coords:
            at = positions_of(x[d].values, reference[d].values, "the reference", d)
            reference = reference.isel({d: at})
        if reference.sizes[d] != x.sizes[d]:
            raise ValueError(
                f"the reference has {reference.sizes[d]} cells along {d!r}, and x {x.sizes[d]}; give both the same"
            )
    return reference
