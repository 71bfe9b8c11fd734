"""Samples put together again along the recording they were cut from."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import xarray as xr

Signal = TypeVar("Signal", bound=xr.DataArray | xr.Dataset)

OVERLAPS = ("mean", "centre", "sum")
_WHOSE = ("record", "source", "sha256", "patient")  # coordinates that tell one recording from another


def join(samples: Signal, *, overlap: str = "mean", dim: str = "time", sample_dim: str = "sample") -> Signal:
    """Put samples side by side again along the recording that `split` cut them from: what it gave, and results over it.

    A cell t of the recording that lies in the samples i of cells a_i(t) becomes, by `overlap`,

    - "mean": sum_i w_i a_i(t) / sum_i w_i with w_i = 1;
    - "centre": the same with weights that fall linearly from the middle of a sample to its edges, where a model knows the
      least of what surrounds a cell: w_i = 1 - |2 j + 1 - k| / (k + 1) for cell j of k;
    - "sum": sum_i a_i(t). The sum over the recording is then that over all samples: an attribution explains the sum of the
      outputs, and stays complete.

    Without overlap all three are the same, and sums are kept. Numbers that are codes, marks or texts (beats, annotations,
    groups) are taken from the sample in whose middle the cell lies, so that nothing is counted twice.

    Parameters
    ----------
    samples
        With dims `sample_dim` and `dim`, whose coordinates add up to the place in the recording, as `split` gives them;
        without one of `dim`, that of `sample_dim` counts cells. In any order. Variables of a Dataset without `dim` stay as they
        are; what lies along `dim` alone, the same in each sample, is left out.
    overlap
        "mean", "centre" or "sum".
    dim, sample_dim
        The dim to join along, and that of the samples.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As `samples`, with `dim` of the whole recording in the place of (`sample_dim`, `dim`). Cells of no sample are missing:
        NaN, NaT of dates, 0 of codes, False of marks, "" of texts. Missing cells of a sample are left out of means, and make sums missing.
        `attrs["overlap"]` says how cells in several samples were put together.

    Raises
    ------
    ValueError
        No such dims; an unknown `overlap`; no sample; samples that start between cells, twice at one place, or nowhere; `dim` that
        falls; samples of several recordings, by a coordinate ``record``, ``source``, ``sha256`` or ``patient`` along `sample_dim`.

    Examples
    --------
    >>> from tsattr.io import split
    >>> x = xr.DataArray([0.0, 1, 2, 3, 4, 5], dims="time", coords={"time": [0, 0.5, 1, 1.5, 2, 2.5]})
    >>> join(split(x, "1s")).identical(x)
    True
    >>> join(split(x, "1s", step="0.5s"), overlap="sum").values
    array([0., 2., 4., 6., 8., 5.])
    """
    if overlap not in OVERLAPS:
        raise ValueError(f"overlap is one of {', '.join(OVERLAPS)}, got {overlap!r}")
    if lacking := {dim, sample_dim} - set(samples.dims):
        raise ValueError(
            f"needs the dims {sample_dim!r} and {dim!r}, as `split` gives them; no {sorted(lacking)} in {samples.dims}"
        )
    if isinstance(samples, xr.DataArray):
        name = samples.name
        joined = join(samples.to_dataset(name="joined"), overlap=overlap, dim=dim, sample_dim=sample_dim)["joined"]
        return cast(Signal, joined.rename(name))
    _check_one_recording(samples, sample_dim)
    first = _first_cells(samples, dim, sample_dim)
    size, coords, found = samples.sizes[dim], [c for c in samples.coords if c not in (dim, sample_dim)], {}
    several = len(first) > 1 and np.diff(np.sort(first)).min() < size
    for name, values in samples.variables.items():
        if {dim, sample_dim} <= set(values.dims):
            last = values.transpose(..., sample_dim, dim)
            mixed = last.dtype.kind in "fc"
            along = _weighted(last.values, first, overlap) if mixed else _of_the_nearest(last.values, first)
            attrs = values.attrs | ({"overlap": overlap} if mixed and several else {})
            kept = [d for d in values.dims if d != sample_dim]
            found[name] = xr.Variable((*last.dims[:-2], dim), along, attrs).transpose(*kept)
        elif dim not in values.dims:
            found[name] = values
    if dim in samples.coords:
        place = samples[sample_dim].values[:, None] + samples[dim].values
        found[dim] = xr.Variable(dim, _along(place, first), samples[dim].attrs)
    return cast(Signal, xr.Dataset(found, attrs=samples.attrs).set_coords([c for c in coords if c in found]))


def _check_one_recording(samples: xr.DataArray | xr.Dataset, sample_dim: str) -> None:
    """ValueError where a coordinate says that the samples are of several recordings: these share no axis to be put along."""
    for name in _WHOSE:
        if name in samples.coords and samples[name].dims == (sample_dim,):
            found = np.unique(samples[name].values.astype(str))
            if len(found) > 1:
                shown = ", ".join(found[:3].tolist()) + (f", ... ({len(found)} in all)" if len(found) > 3 else "")
                raise ValueError(
                    f"the samples are of several recordings ({name}: {shown}), which share no axis to be joined along: join each by itself, "
                    f"[join(one) for _, one in samples.groupby({name!r})]"
                )


def _first_cells(samples: xr.DataArray | xr.Dataset, dim: str, sample_dim: str) -> np.ndarray:
    """The cell of the recording in which each sample starts."""
    if sample_dim not in samples.coords:
        raise ValueError(f"needs a coordinate {sample_dim!r} that says where each sample starts, as `split` gives it")
    start = samples[sample_dim].to_index()
    if not len(start) or start.hasnans:
        raise ValueError(
            f"{len(start)} samples, of which {start.isna().sum()} have no place: select those that have one"
        )
    if not start.is_unique:
        raise ValueError(f"samples start twice at {start[start.duplicated()][0]}: join each recording by itself")
    size = samples.sizes[dim]
    try:
        cells = _number((start - start.min()).to_numpy())
        within = _number(samples[dim].values) if dim in samples.coords else np.arange(size, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{sample_dim!r} is labelled by {start.dtype} values, which say no place in a recording"
        ) from error
    steps = np.diff(within) if size > 1 else np.diff(np.sort(cells))
    step = float(np.median(steps)) if steps.size else 1.0
    first = cells / step
    if step <= 0:
        raise ValueError(f"{dim!r} falls within a sample, and is to rise: sort it first, x.sortby({dim!r})")
    if (np.abs(first - np.rint(first)) > 0.01).any():
        raise ValueError(
            f"samples start between cells of {dim!r}, {step:g} apart: samples of one sampling rate can be joined"
        )
    return np.rint(first).astype(int)


def _weighted(values: np.ndarray, first: np.ndarray, overlap: str) -> np.ndarray:
    """(..., samples, cells) -> (..., all cells): sums, or weighted means of what is known."""
    size = values.shape[-1]
    weight = 1 - np.abs(2 * np.arange(size) + 1 - size) / (size + 1) if overlap == "centre" else np.ones(size)
    total = np.zeros((*values.shape[:-2], first.max() + size), np.result_type(values.dtype, float))
    weights = np.zeros(total.shape)
    for i, start in enumerate(first):
        at, sample = slice(start, start + size), values[..., i, :]
        known = np.ones(sample.shape, bool) if overlap == "sum" else ~np.isnan(sample)
        total[..., at] += np.where(known, weight * sample, 0)
        weights[..., at] += weight * known
    with np.errstate(invalid="ignore"):
        joined = np.where(weights > 0, total if overlap == "sum" else total / weights, np.nan)
    return joined.astype(values.dtype)


def _of_the_nearest(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(..., samples, cells) -> (..., all cells), each of the sample in whose middle it lies; empty where there is none."""
    size = values.shape[-1]
    cell = np.arange(first.max() + size)
    order = np.argsort(first, kind="stable")
    later = np.searchsorted(first[order][1:] + first[order][:-1] + size - 1, 2 * cell)  # halfway between two middles
    sample = order[later]
    within = cell - first[sample]
    there = (within >= 0) & (within < size)
    joined = np.zeros((*values.shape[:-2], len(cell)), values.dtype)
    if values.dtype.kind in "mM":
        joined[...] = np.array("NaT", values.dtype)
    joined[..., there] = values[..., sample[there], within[there]]
    return joined


def _along(place: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The coordinate of the recording, evenly spaced in cells of no sample."""
    cell = (first[:, None] + np.arange(place.shape[1])).ravel()
    at, where = np.unique(cell, return_index=True)
    known = place.ravel()[where]
    if len(at) == at[-1] + 1:
        return known
    between = np.interp(np.arange(at[-1] + 1), at, _number(known - known[0]))
    whole: np.ndarray = known[0] + (between if known.dtype.kind != "M" else np.rint(between).astype("m8[ns]"))
    return whole


def _number(values: np.ndarray) -> np.ndarray:
    """As float; durations in ns."""
    return (values.astype("m8[ns]") if values.dtype.kind == "m" else values).astype(float)
