"""A long recording cut into samples of equal length, which is what models take, and put together again."""

from __future__ import annotations

import math
import warnings
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.cf import units_of

Signal = TypeVar("Signal", bound=xr.DataArray | xr.Dataset)


def split(
    signal: Signal, length: str | int, *, step: str | int | None = None, dim: str = "time", sample_dim: str = "sample"
) -> Signal:
    """Cut `dim` into samples of equal length, side by side along a new first dim; `join` puts them together again.

    With a step of s cells, cell j of sample i is cell i s + j of `signal`. What is left at the end and too short for a
    sample is dropped, with a warning that says how much.

    Parameters
    ----------
    signal
        A DataArray or Dataset with `dim` and without `sample_dim`. A Dataset's variables without `dim` stay as they are.
    length
        A number of cells, or an extent with a unit, such as "10s", in the unit of the coordinate of `dim` (its `units`
        attr; without one, "time" is in seconds). An extent must be a whole number of cells.
    step
        From the start of one sample to that of the next, as `length` is given; shorter than it where samples overlap, as
        long as it by default.
    dim, sample_dim
        The dim to cut, and the name of the new one.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As `signal`, with dims (`sample_dim`, ...). The coordinate of `sample_dim` is where the sample starts: the value
        of `dim` there, or the number of the cell where `dim` has no coordinate. The coordinate of `dim` counts from 0
        within each sample, in the same unit (dates become time differences), so that the two add up to the original
        one. Other coordinates along `dim`, such as `annotation` and `rhythm`, have dims (`sample_dim`, `dim`).

    Raises
    ------
    ValueError
        A length longer than the signal or not a whole number of cells, or in a unit that the coordinate lacks; no `dim`,
        or `sample_dim` there already; a coordinate that is no number or date, or so uneven that the samples' own
        coordinates differ by half a step.

    Warns
    -----
    UserWarning
        A rest at the end is dropped.

    Examples
    --------
    >>> x = xr.DataArray([0, 1, 2, 3, 4, 5], dims="time", coords={"time": [0, 0.5, 1, 1.5, 2, 2.5]})
    >>> split(x, "1s")
    <xarray.DataArray (sample: 3, time: 2)> Size: 48B
    array([[0, 1],
           [2, 3],
           [4, 5]])
    Coordinates:
      * sample   (sample) float64 24B 0.0 1.0 2.0
      * time     (time) float64 16B 0.0 0.5
    """
    if dim not in signal.dims:
        raise ValueError(f"no dim {dim!r} to cut; the dims are {list(signal.dims)}: name one with dim=")
    if sample_dim in {*signal.dims, *signal.coords}:
        raise ValueError(
            f"{sample_dim!r} is there already: name the new dim otherwise with sample_dim=, or, if it is one sample that "
            f"is to be cut, first take it alone: x.isel({sample_dim}=0, drop=True)"
        )
    n = signal.sizes[dim]
    size = _cells(signal, length, dim)
    stride = size if step is None else _cells(signal, step, dim)
    if stride > size:
        raise ValueError(
            f"a step of {step!r} leaves out cells between samples of {length!r}: at most the length of one"
        )
    count = (n - size) // stride + 1
    if rest := n - size - (count - 1) * stride:
        warnings.warn(
            f"the last {rest} of {n} cells along {dim!r} (from {signal[dim].values[-rest]} on) are too short for a sample of "
            f"{length!r} and are dropped",
            stacklevel=2,
        )
    whole: Any = signal.drop_vars(dim, errors="ignore")
    if stride == size:  # without a copy, and lazily
        cut = whole.isel({dim: slice(0, count * size)}).coarsen({dim: size}).construct({dim: (sample_dim, dim)})
    else:
        cell = np.arange(count)[:, None] * stride + np.arange(size)
        cut = whole.isel({dim: xr.DataArray(cell, dims=(sample_dim, dim))})
    labelled = cut.transpose(sample_dim, ...).assign_coords(_coordinates(signal, dim, sample_dim, count, size, stride))
    return cast(Signal, labelled)  # a DataArray of a DataArray, a Dataset of a Dataset


def _cells(signal: xr.DataArray | xr.Dataset, length: str | int, dim: str) -> int:
    n = signal.sizes[dim]
    cells: float
    if n == 0:
        raise ValueError(f"dim {dim!r} has no cells to cut")
    if isinstance(length, str):
        known = dim in signal.coords
        coords = {dim: signal[dim].values} if known else {}
        cells = Axes((dim,), (n,), coords, units_of(signal)).cells(dim, length)
    elif isinstance(length, int | np.integer) and not isinstance(length, bool) and length > 0:
        cells = int(length)
    else:
        raise ValueError(f"length is a number of cells >= 1 or an extent with a unit, such as '10s', got {length!r}")
    if cells > n + 0.5:
        raise ValueError(f"a sample of {length!r} is longer than dim {dim!r}, which has {n} cells")
    size = max(1, round(cells))
    if not math.isclose(cells, size, rel_tol=1e-6, abs_tol=0.01):
        raise ValueError(
            f"{length!r} is {cells:.6g} cells along {dim!r}, and samples of equal length need a whole number: give a number "
            f"of cells, such as {size}, or resample first"
        )
    return size


def _coordinates(
    signal: xr.DataArray | xr.Dataset, dim: str, sample_dim: str, count: int, size: int, stride: int
) -> dict[str, tuple[str, Any, dict[Any, Any]]]:
    """Give where samples start, and the coordinate within each sample."""
    starts = signal[dim].values[: (count - 1) * stride + 1 : stride]
    if dim not in signal.coords:
        return {sample_dim: (sample_dim, starts, {"long_name": f"first cell of the sample along {dim}"})}
    index, attrs = signal[dim].to_index()[: (count - 1) * stride + size], signal[dim].attrs
    try:
        offsets = index - index[0]  # of dates: time differences
    except TypeError as error:
        raise ValueError(
            f"dim {dim!r} is labelled by {index.dtype} values, which cannot count from 0 in each sample: drop them first, "
            f"x.drop_vars({dim!r})"
        ) from error
    along = offsets.to_numpy().astype(float)
    within = along[np.arange(count)[:, None] * stride + np.arange(size)]
    step = np.median(np.abs(np.diff(along))) if along.size > 1 else 1.0
    if not (np.abs(within - within[:, :1] - within[0]) < step / 2).all():
        raise ValueError(
            f"the coordinate of dim {dim!r} is uneven (a gap?), so that samples cannot share one: interpolate first, or drop "
            f"it, x.drop_vars({dim!r})"
        )
    return {
        sample_dim: (sample_dim, starts, attrs | {"long_name": f"{dim} at the start of the sample"}),
        dim: (dim, offsets[:size], attrs),
    }
