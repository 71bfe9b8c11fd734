"""Reference data on an input's axes: ranges, tables of samples, and whether a constant lies where values occur."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from ..arrays import Array, numbers_of
from ..axes import Axes
from ..cf import time_dim
from ..keys import Key
from .fills import tensor_like

_MIN_COUNT = 10  # known values, below which ties for the most frequent one say nothing
_RARE = 0.01  # share of rows up to which several equally frequent values are no mode


def checked_reference(reference: Any, sample_dim: str) -> Array:
    """A reference as an `Array`; raises unless it has samples, real values, and a sample dim where it has dims."""
    r = Array.of(reference)
    if r.dims is not None and sample_dim not in r.dims:
        raise ValueError(
            f"the reference has dims {r.dims}, none of them {sample_dim!r}; say which holds its samples: sample_dim=..."
        )
    if len(r.values) == 0:
        raise ValueError("the reference has no samples")
    if r.values.dtype.kind == "c":
        raise TypeError("the reference holds complex numbers; give real ones, such as abs(reference)")
    return r


def fitted_range(reference: Any, quantiles: tuple[float, float], over: Any, sample_dim: str) -> tuple[Array, Array]:
    """Quantiles of a reference over its samples and `over` (by default time, else every dim that is no channel)."""
    low, high = _over_samples(reference, over, sample_dim, lambda v, axis: np.nanquantile(v, quantiles, axis=axis))
    return low, high


def fitted_mean(reference: Any, over: Any, sample_dim: str) -> Array:
    """The mean of a reference over its samples and `over`, as in `fitted_range`."""
    (mean,) = _over_samples(reference, over, sample_dim, lambda v, axis: np.nanmean(v, axis)[None])
    return mean


def _over_samples(
    reference: Any, over: Any, sample_dim: str, of: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
) -> list[Array]:
    """Statistics ``of(values, axes)`` (one or several, \\*kept dims) of a reference's numbers, with the labels of the dims left."""
    r = checked_reference(reference, sample_dim)
    dims = r.dims or (sample_dim, *(f"dim_{i}" for i in range(1, r.values.ndim)))
    rest = [d for d in dims if d != sample_dim]
    if over is None:
        time = time_dim(reference, rest)
        over = [d for d in rest if d not in Axes(tuple(rest), ()).channels] if time is None else (time,)
    drop = {sample_dim, *((over,) if isinstance(over, str) else over)}
    axis = tuple(i for i, d in enumerate(dims) if d in drop)
    kept = tuple(d for d in dims if d not in drop)
    coords = {d: c for d, c in r.coords.items() if d in kept}
    return [Array(np.asarray(v), kept, coords) for v in of(numbers(r), axis)]


def numbers(reference: Array) -> np.ndarray:
    """A reference's values as float64, NaN where missing; TypeError for categories and dates."""
    values = reference.values
    try:
        return np.where(missing(values), np.nan, values).astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            "the reference holds categories or dates, which have no mean or quantiles; use Typical.fit(reference), "
            "Samples.fit(reference) or Mode.fit(reference)"
        ) from None


def missing(values: np.ndarray) -> np.ndarray:
    """Where cells are missing: None, NaN, NaT, pandas.NA.

    >>> missing(np.array([None, float("nan"), np.datetime64("NaT"), "", 0], object)).tolist()
    [True, True, True, False, False]
    """
    try:
        found: np.ndarray = np.asarray(values != values, bool) | np.asarray(values == np.array(None), bool)
        return found
    except TypeError:  # pandas.NA compares to NA, which is neither true nor false
        return np.array([_is_missing(v) for v in values.reshape(-1)], bool).reshape(values.shape)


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def reference_table(reference: Array, sample_dim: str, axes: Axes, what: str) -> np.ndarray:
    """A reference as float64 (samples, *event) on these axes, categories coded, NaN where missing."""
    values, dims = reference.values, reference.dims
    if dims is not None and sample_dim in dims:
        values = np.moveaxis(values, dims.index(sample_dim), 0)
        dims = tuple(d for d in dims if d != sample_dim)
    coords = {d: c for d, c in reference.coords.items() if d != sample_dim}
    # One sample stands for all: they share their dims and coordinates.
    flat = np.arange(values[0].size).reshape(values[0].shape)
    order = axes.align(Array(flat, dims, coords), f"the reference of {what}")
    if order.shape[1:] != axes.shape:
        raise ValueError(f"the reference of {what} has shape {values.shape[1:]} per sample, the input {axes.shape}")
    rows = values.reshape(len(values), -1)[:, order.reshape(-1)]
    if axes.code is None:
        known = np.where(missing(rows), np.nan, rows) if rows.dtype == object else rows
        rows = numbers_of(known.astype(np.float64) if known.dtype == bool else known, f"the reference of {what}")
    out = axes.coded(rows, reference.orders)
    return out.reshape(len(values), *axes.shape)


def nominal_cells(axes: Axes) -> np.ndarray:
    """Bool (cells,): True where a cell holds codes of categories."""
    return np.zeros(math.prod(axes.shape), bool) if axes.nominal is None else axes.nominal.reshape(-1)


def drawn_without_replacement(table: np.ndarray, x: Tensor, key: Key, pool: Callable[[int], np.ndarray]) -> Tensor:
    """For each row of `x` one of the table's, of those numbered by ``pool(position of its sample)``, without replacement.

    Each sample takes its own random order through its pool; after all have been used the order starts again.
    """
    number = np.empty(len(key.draw), np.int64)
    # Rows come sample by sample: one permutation of the pool serves all draws of a sample.
    begins = np.flatnonzero(np.diff(key.sample, prepend=key.sample[:1] + np.uint64(1)))
    for start, stop in itertools.pairwise([*begins.tolist(), len(number)]):
        numbers = pool(int(key.position[start]))
        laps, at = np.divmod(np.asarray(key.draw[start:stop]), len(numbers))
        for lap in np.unique(laps).tolist():
            order = replace(key, stream=lap).rng(start, per_sample=True).permutation(len(numbers))
            number[start:stop][laps == lap] = numbers[order[at[laps == lap]]]
    return tensor_like(table[number], x)


def most_frequent(values: np.ndarray) -> float:
    """The most frequent of the known values, the smallest of them at a tie; NaN where none is known."""
    levels, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return float(levels[counts.argmax()]) if len(levels) else math.nan


def median(values: np.ndarray) -> float:
    """The median of the known values; of whole numbers one of them, the lower of the middle two; NaN where none is known."""
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan
    return float(np.quantile(known, 0.5, method="inverted_cdf" if (known % 1 == 0).all() else "linear"))


def without_mode(columns: np.ndarray, axes: Axes) -> np.ndarray:
    """Bool (cells,): True where the values of `columns` (cells, samples) are numbers without a mode: ties, all of them rare."""

    def rare(column: np.ndarray) -> bool:
        counts = np.unique(column[~np.isnan(column)], return_counts=True)[1]
        most = counts.max(initial=0)
        return bool(counts.sum() >= _MIN_COUNT and (counts == most).sum() > 1 and most <= max(1, _RARE * counts.sum()))

    found: np.ndarray = np.array([rare(column) for column in columns]) & ~nominal_cells(axes)
    return found


def with_gaps(reference: Any, axes: Axes) -> np.ndarray:
    """A reference along the input's sample dim as (samples, *event), NaN where missing."""
    return reference_table(checked_reference(reference, axes.sample_dim), axes.sample_dim, axes, "explain")


def imputed(reference: Any, axes: Axes) -> np.ndarray:
    """The same with missing cells imputed by their mean or most frequent level."""
    table = with_gaps(reference, axes)
    out, nominal = table.reshape(len(table), -1), nominal_cells(axes)
    for i in np.flatnonzero(np.isnan(out).any(0)):
        known = out[~np.isnan(out[:, i]), i]
        if len(known):
            out[np.isnan(out[:, i]), i] = most_frequent(known) if nominal[i] else known.mean()
    return table


def outside_range(values: np.ndarray, axes: Axes, x: np.ndarray) -> list[str]:
    """The channels in which constants (samples or 1, *event) lie outside the observed range, widened by a tenth, each with that range.

    With fewer than 32 observed values a range says little, and nothing is reported.
    """
    keep = [1 + axes.axis(d) for d in axes.channels]
    if x.size < 32 * math.prod(x.shape[a] for a in keep):
        return []
    values = np.broadcast_to(values, (len(values), *axes.shape))
    rest = tuple(a for a in range(x.ndim) if a not in keep)
    known = ~np.isnan(x)
    low = np.where(known, x, np.inf).min(rest)
    high = np.where(known, x, -np.inf).max(rest)
    margin = 0.1 * (high - low)
    inner = tuple(a for a in range(values.ndim) if a not in keep)
    bad = (known.sum(rest) >= 32) & ((values.max(inner) < low - margin) | (values.min(inner) > high + margin))
    if axes.nominal is not None:
        bad = bad & ~axes.nominal
    names = ["all"] if not keep else ["/".join(map(str, p)) for p in _labels(axes)]
    return [
        f"{name} [{lo:.4g}, {hi:.4g}]"
        for name, lo, hi, b in zip(names, low.reshape(-1), high.reshape(-1), np.asarray(bad).reshape(-1))
        if b
    ]


def ratio_of_scales(axes: Axes, x: np.ndarray, reference: np.ndarray) -> float:
    """How many times as much samples (n, *event) vary as those of a reference: standard deviations, the median over channels.

    NaN where no channel has 32 values that vary in both.
    """
    keep = [1 + axes.axis(d) for d in axes.channels]
    spread = []
    for values in (x, reference):
        lines = np.moveaxis(values, keep, range(len(keep))).reshape(math.prod(values.shape[a] for a in keep), -1)
        enough = (~np.isnan(lines)).sum(1) >= 32
        known = lines[enough]
        spread.append(np.full(len(lines), np.nan))
        spread[-1][enough] = np.nanstd(known, 1)
    both = (spread[0] > 0) & (spread[1] > 0)
    if axes.nominal is not None:
        both &= ~axes.nominal.reshape(-1)
    return float(np.median(spread[0][both] / spread[1][both])) if both.any() else math.nan


def share_far_from_mean(value: float, axes: Axes, x: np.ndarray) -> float:
    """The share of places (cells along dims in degrees) whose mean is more than three standard deviations from a constant.

    0 without such dims, or where a place has fewer than 12 values.
    """
    places = [1 + axes.axis(d) for d in axes.dims if axes.kind(d) == "angle"]
    if not places:
        return 0.0
    series = np.moveaxis(x, places, range(len(places))).reshape(*(x.shape[a] for a in places), -1)
    count = (~np.isnan(series)).sum(-1)
    if not (seen := count >= 12).any():
        return 0.0
    mean, sd = np.nanmean(series[seen], -1), np.nanstd(series[seen], -1)
    return float((np.abs(mean - value) > 3 * sd).mean())


def _labels(axes: Axes) -> list[tuple[Any, ...]]:
    return list(
        itertools.product(*(axes.coords.get(d, np.arange(axes.shape[axes.axis(d)])).tolist() for d in axes.channels))
    )
