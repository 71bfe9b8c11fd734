"""How much an explanation moves when its input moves by little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..core.axes import Axes
from ..core.keys import Key
from .controls import sample_key

_NORMS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "max": lambda v: np.abs(v).max(1, initial=0),
    "l2": lambda v: np.sqrt((v**2).sum(1)),
    "l1": lambda v: np.abs(v).sum(1),
}
_STREAM = 2**38  # of random numbers, apart from those of baselines, methods and controls


def max_sensitivity(
    explain: Callable[[xr.DataArray], xr.DataArray],
    x: xr.DataArray,
    *,
    radius: Any,
    draws: int = 10,
    norm: str = "max",
    change: str = "noise",
    scale: Any = None,
    dim: str = "time",
    sample_dim: str = "sample",
    seed: int = 0,
) -> xr.DataArray:
    """Largest relative change of the explanation under small changes of its input.

    ``max_d |phi(x + d) - phi(x)| / |phi(x)|`` over random changes d, by sample. Lower is better; a map that ignores the
    input scores 0. It tells nothing of whether the map is right. Yeh et al., NeurIPS 2019.

    Parameters
    ----------
    explain
        ``explain(x) -> attribution`` with the dims of `x`. Cells that are NaN in either map are left out.
    x : DataArray
        With a dim `sample_dim`. NaN cells stay NaN.
    radius
        Size of the changes, as `change` says: a number, or a DataArray over some dims of `x` (by lead), or for "shift" a
        whole number of cells.
    draws
        Number of changes tried; more can only raise the result.
    norm
        Over the cells of a sample: "max", "l2" (what captum's `sensitivity_max` takes) or "l1".
    change
        - "noise": d uniform in the box ``|d_i| <= radius * scale``, each cell by itself.
        - "wander": a slow sinusoid along `dim`, half a period to two over its length, with an amplitude of its own in
          each channel and at most ``radius * scale``.
        - "amplitude": the whole sample times ``1 + u``, u uniform in ``[-radius, radius]``.
        - "shift": the whole sample moved along `dim` by up to `radius` cells, not 0, the value at the edge repeated. The
          explanation should move along, so phi(x) is moved too, and cells that came in at the edge are left out.
    scale
        What the radius is a multiple of, for "noise" and "wander": a number or a DataArray. By default each sample's own
        standard deviation in each channel, over its valid cells; 1.0 for a radius in the units of `x`.
    dim
        For "wander" and "shift".
    sample_dim
        The dim of samples.
    seed
        Of the changes, which depend on it and on the sample (by coordinate, else by position) alone.

    Returns
    -------
    DataArray
        By sample; 0 where the map is zero and stays so, inf where it is zero and does not, NaN where it has no values.

    Raises
    ------
    KeyError, TypeError, ValueError
        Where a setting does not fit `x`, or `explain` returns other dims.

    Examples
    --------
    >>> x = xr.DataArray(np.ones((1, 4)), dims=("sample", "time"))
    >>> max_sensitivity(lambda x: 0 * x + 2, x, radius=0.1, scale=1.0).item()  # a constant gradient
    0.0
    >>> max_sensitivity(lambda x: 3 * x, x, radius=0.1, scale=1.0).item() <= 0.1  # that of 3 x^2 / 2
    True
    """
    if norm not in _NORMS:
        raise ValueError(f"norm is one of {list(_NORMS)}, got {norm!r}")
    if draws < 1:
        raise ValueError(f"draws is 1 or more, got {draws}")
    if not isinstance(x, xr.DataArray) or sample_dim not in x.dims:
        found = x.dims if isinstance(x, xr.DataArray) else type(x).__name__
        raise TypeError(f"x is a DataArray with a dim {sample_dim!r}, got {found}; see x.expand_dims({sample_dim!r})")
    if x.dtype.kind != "f":
        raise TypeError(f"x holds real numbers, got {x.dtype}; small changes need x.astype(float)")
    if change not in _CHANGES:
        raise ValueError(f"change is one of {list(_CHANGES)}, got {change!r}")
    if change in ("wander", "shift") and dim not in x.dims:
        raise KeyError(f"{change!r} is a change along dim {dim!r}; the dims of x are {x.dims}")
    size = _size(x, change, radius, scale, dim, sample_dim)
    labels = x[sample_dim].values if sample_dim in x.coords else None
    before = _map(explain, x)
    worst = np.zeros(x.sizes[sample_dim])
    for draw in range(draws):
        key = sample_key(len(worst), labels=labels, seed=seed, draw=draw).fork(_STREAM)
        changed, along = _CHANGES[change](x.transpose(sample_dim, ...), key, size, dim)
        after = _map(explain, x.copy(data=changed.transpose(*x.dims).values.astype(x.dtype)))
        worst = np.maximum(worst, _relative_change(along(before), after, sample_dim, norm))
    coords = None if labels is None else {sample_dim: x[sample_dim]}
    attrs = {"change": change, "norm": norm, "draws": draws, "seed": seed}
    return xr.DataArray(worst, dims=(sample_dim,), coords=coords, attrs=attrs, name="max_sensitivity")


def _map(explain: Callable[[xr.DataArray], xr.DataArray], x: xr.DataArray) -> xr.DataArray:
    found = explain(x)
    if not isinstance(found, xr.DataArray) or set(found.dims) != set(x.dims):
        what = found.dims if isinstance(found, xr.DataArray) else type(found).__name__
        raise TypeError(f"explain(x) returns a DataArray with the dims {x.dims} of x, got {what}")
    return found.transpose(*x.dims).astype(np.float64)


def _relative_change(before: xr.DataArray, after: xr.DataArray, sample_dim: str, norm: str) -> NDArray[np.float64]:
    u, v = (m.transpose(sample_dim, ...).values.reshape(m.sizes[sample_dim], -1) for m in (before, after))
    known = ~(np.isnan(u) | np.isnan(v))
    change, size = (_NORMS[norm](np.where(known, w, 0)) for w in (v - u, u))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(change == 0, 0.0, change / size)
    return np.where(known.any(1), found, np.nan)


def _size(x: xr.DataArray, change: str, radius: Any, scale: Any, dim: str, sample_dim: str) -> Any:
    """The radius in the units of the change."""
    if not np.all(np.asarray(radius) > 0):
        raise ValueError(f"radius is above 0, got {radius!r}")
    if change == "shift":
        whole = isinstance(radius, int | np.integer) and not isinstance(radius, bool)
        if not whole or radius >= x.sizes[dim]:
            raise ValueError(f"the radius of a shift is a whole number of cells, below {x.sizes[dim]}, got {radius!r}")
        return int(radius)
    if change == "amplitude":
        return radius
    if scale is None:
        event = [str(d) for d in x.dims if d != sample_dim]
        channels = Axes(tuple(event), tuple(x.sizes[d] for d in event)).channels
        within = [d for d in event if d not in channels]
        if not within:
            raise ValueError(
                f"a sample has one value in each {channels[0]}, so no standard deviation of its own; give "
                "scale=train.std('sample'), or scale=1.0 for a radius in the units of x"
            )
        scale = ((x - x.mean(within)) ** 2).mean(within) ** 0.5  # std warns of samples that are all missing
    return radius * scale


Changed = tuple[xr.DataArray, Callable[[xr.DataArray], xr.DataArray]]


def _noise(x: xr.DataArray, key: Key, size: Any, dim: str) -> Changed:
    return _plus(x, size * _uniform(x, key, [str(d) for d in x.dims[1:]])), _stays


def _wander(x: xr.DataArray, key: Key, size: Any, dim: str) -> Changed:
    event = tuple(str(d) for d in x.dims[1:])
    amplitude = _uniform(x, key, Axes(event, x.shape[1:]).channels)
    course = xr.DataArray([key.fork(0).rng(row).random(2) for row in range(len(x))], dims=(x.dims[0], "number"))
    cycles, phase = 0.5 + 1.5 * course.isel(number=0), course.isel(number=1)
    along = xr.DataArray(np.arange(x.sizes[dim]) / x.sizes[dim], dims=dim)
    return _plus(x, size * amplitude * np.sin(2 * np.pi * (cycles * along + phase))), _stays


def _amplitude(x: xr.DataArray, key: Key, size: Any, dim: str) -> Changed:
    return _plus(x, size * _uniform(x, key, ()) * x), _stays


def _shift(x: xr.DataArray, key: Key, size: int, dim: str) -> Changed:
    draws = np.array([key.rng(row).integers(1, 2 * size + 1) for row in range(len(x))], np.int64)
    cells = np.where(draws > size, size - draws, draws)  # 1 ... size, -1 ... -size
    source = np.arange(x.sizes[dim]) - cells[:, None]
    inside = (source >= 0) & (source < x.sizes[dim])
    rows, at = np.arange(len(x))[:, None], source.clip(0, x.sizes[dim] - 1)

    def moved(m: xr.DataArray) -> xr.DataArray:
        by_sample = m.transpose(x.dims[0], dim, ...)
        return by_sample.copy(data=by_sample.values[rows, at])

    where = xr.DataArray(inside, dims=(x.dims[0], dim))
    return moved(x), lambda m: moved(m).where(where).transpose(*m.dims)


_CHANGES: dict[str, Callable[..., Changed]] = {
    "noise": _noise,
    "wander": _wander,
    "amplitude": _amplitude,
    "shift": _shift,
}


def _stays(m: xr.DataArray) -> xr.DataArray:
    return m


def _plus(x: xr.DataArray, d: xr.DataArray) -> xr.DataArray:
    with xr.set_options(arithmetic_join="exact"):
        changed = x + d
    if changed.sizes != x.sizes:
        raise ValueError(f"radius and scale have dims of x, {dict(x.sizes)}; together they make {dict(changed.sizes)}")
    return changed


def _uniform(x: xr.DataArray, key: Key, dims: Sequence[str]) -> xr.DataArray:
    """U(-1, 1) over the samples and some dims, drawn by their names, so that the order of the dims changes no number."""
    dims = sorted(dims)
    shape = [x.sizes[d] for d in dims]
    numbers = np.array([key.rng(row).uniform(-1, 1, shape) for row in range(len(x))]).reshape(len(x), *shape)
    return xr.DataArray(numbers, dims=(x.dims[0], *dims))
