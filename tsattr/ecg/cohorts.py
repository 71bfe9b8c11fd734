"""Attributions of many patients together: by class, lead and wave, with intervals over patients."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..edge.warning import tell
from ..metrics import bootstrap
from .delineation import _check_samples, _rows, _seconds
from .sums import by


def aligned(values: xr.DataArray, r_peak: xr.DataArray, *, before: float = 0.25, after: float = 0.45) -> xr.DataArray:
    """Cut an attribution, or a signal, at every R peak: single beats on one axis, for a mean beat with its band.

    Parameters
    ----------
    values
        Dims ``time`` and any others.
    r_peak : DataArray of bool
        Dims ``time`` and optionally ``sample``, as from `r_peaks`.
    before, after
        Seconds round R. Beats that the record cuts off are left out.

    Returns
    -------
    DataArray
        Dims (``beat``, others of `values` without ``sample``, ``offset``): ``offset`` in seconds from R; along ``beat`` the number of the beat
        in its record, counted from 1 as `beats` does, is the coordinate ``number``, and ``sample`` whose it is.

    Raises
    ------
    ValueError
        No beat is whole, other times or samples than those of `r_peak`, or negative seconds.

    Examples
    --------
    >>> t = np.arange(300) / 100
    >>> r = xr.DataArray(np.isin(np.arange(300), [100, 200]), dims="time", coords={"time": t})
    >>> aligned(xr.DataArray(t, dims="time", coords={"time": t}), r, before=0.1, after=0.1).mean("offset").values.round(2)
    array([1., 2.])
    """
    time = _seconds(values)
    if len(time) != r_peak.sizes["time"] or not np.allclose(time, _seconds(r_peak), rtol=1e-6, atol=1e-9):
        raise ValueError("r_peak has other times than the values: select the same first")
    if "sample" in r_peak.dims:
        _check_samples(values, r_peak, "r_peak")
    if before < 0 or after < 0:
        raise ValueError(f"before and after are seconds round R, 0 or more, got {before!r} and {after!r}")
    step = float(np.median(np.diff(time)))
    around = np.arange(-round(before / step), round(after / step) + 1)
    sampled = "sample" in values.dims
    turned = values.transpose(*(["sample"] if sampled else []), ..., "time")
    rows = np.broadcast_to(_rows(r_peak), (values.sizes.get("sample", 1), len(time)))
    at = [(i, k, n + 1) for i, row in enumerate(rows) for n, k in enumerate(np.flatnonzero(row))]
    whole = [(i, k, n) for i, k, n in at if k + around[0] >= 0 and k + around[-1] < len(time)]
    if not whole:
        raise ValueError(f"no beat lies whole within the record, {before:g} s before and {after:g} s after its R peak")
    sample, cell, number = map(np.array, zip(*whole))
    data = turned.values if sampled else turned.values[None]
    cut = np.moveaxis(data[sample[:, None], ..., cell[:, None] + around], 1, -1)
    rest = [d for d in turned.dims if d not in ("sample", "time")]
    coords: dict[Any, Any] = {d: values.coords[d] for d in rest if d in values.coords}
    coords |= {"offset": ("offset", around * step, {"units": "s"}), "number": ("beat", number)}
    if sampled:
        coords |= {
            name: ("beat", c.values[sample], c.attrs) for name, c in values.coords.items() if c.dims == ("sample",)
        }
    attrs = {k: v for k, v in values.attrs.items() if k == "units"}
    return xr.DataArray(cut, dims=("beat", *rest, "offset"), coords=coords, attrs=attrs, name=values.name)


def cohort(
    attribution: xr.DataArray,
    *,
    over: Any,
    by_class: Any = None,
    wave: xr.DataArray | None = None,
    beat: xr.DataArray | None = None,
    size: str = "signed",
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Tables of a cohort: mean sums by class, lead and wave (and beat), with intervals over patients, and class differences.

    The sums of a sample are those of `by`, exact; a cell of the table is their mean over the samples of a class, its interval
    that of `tsattr.metrics.bootstrap` over patients, and a difference has the interval of the scatter of whole patients in both classes.

    Parameters
    ----------
    attribution
        Dims (sample, lead, time), any order.
    over
        The patient of each sample: values along ``sample``, or the name of a coordinate.
    by_class
        The class of each sample, given as `over`; one class by default.
    wave, beat
        Labels as for `by`, to sum over.
    size
        "signed" sums, or "absolute" ones.
    level
        Coverage of each interval.
    seed
        Of the draws for what holds of all cells together.

    Returns
    -------
    Dataset
        Along ``class``, ``lead`` and ``wave`` (``beat``): ``mean``, ``low``, ``high``, and ``apart``, whether 0 lies outside an interval that holds for
        all cells of all classes *together*; ``samples`` and ``patients`` (class). Along ``pair`` ("A - B") the same of the differences:
        ``difference``, ``difference_low``, ``difference_high``, ``difference_apart``. Along ``patient``: ``distance``, the root mean square
        over cells of what their mean lies from that of the other patients of their class, in standard deviations between
        patients; and ``unlike``, where it is an outlier (beyond the third quartile by three interquartile ranges).

    Raises
    ------
    ValueError
        Patients or classes of another number, of other samples or missing, or labels that do not fit.

    Warns
    -----
    ExplanationWarning
        A class has one patient: there are no intervals over patients then.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a = xr.DataArray(rng.normal(size=(40, 2, 9)), dims=("sample", "lead", "time"), coords={"lead": ["I", "II"]})
    >>> sick = np.arange(40) % 2 == 1
    >>> a[sick, 1] += 1
    >>> table = cohort(a, over=np.arange(40) // 4, by_class=np.where(sick, "MI", "NORM"))
    >>> table.difference_apart.sel(pair="MI - NORM").values.tolist()
    [False, True]
    """
    if size not in ("signed", "absolute"):
        raise ValueError(f'size is "signed" or "absolute", got {size!r}')
    if "sample" not in attribution.dims:
        raise ValueError(f"a cohort has a dim 'sample'; the attribution has {attribution.dims}")
    n = attribution.sizes["sample"]
    patient = _along_samples(over, attribution, "over")
    group = np.zeros(n, "<U1") if by_class is None else _along_samples(by_class, attribution, "by_class").astype(str)
    sums = by(attribution, wave=wave, beat=beat)[size].transpose(..., "sample")
    dims, shape = sums.dims[:-1], sums.shape[:-1]
    values = sums.values.reshape(-1, n)
    classes = sorted(set(group))
    masks = np.stack([group == c for c in classes])
    own = np.where(masks[:, None], values, np.nan)
    say_of_one_patient(patient[m] for m in masks)
    means = bootstrap(own, patient, level=level, seed=seed)
    table = xr.Dataset(
        {name: (("class", *dims), v.reshape(len(classes), *shape)) for name, v in vars(means).items()},
        {"class": classes, **{d: sums.coords[d] for d in dims if d in sums.coords}},
        {"level": level, "size": size, "apart": "intervals that hold for all cells together"},
    )
    table["samples"] = ("class", masks.sum(1))
    table["patients"] = ("class", [len(np.unique(patient[m])) for m in masks])
    pairs = list(itertools.combinations(range(len(classes)), 2))
    if pairs:
        differences = np.stack([_difference(own[a], own[b]) for a, b in pairs])
        found = bootstrap(differences, patient, level=level, seed=seed)
        named = {
            "difference": found.mean,
            "difference_low": found.low,
            "difference_high": found.high,
            "difference_apart": found.apart,
        }
        table = table.assign({k: (("pair", *dims), v.reshape(len(pairs), *shape)) for k, v in named.items()})
        table = table.assign_coords(pair=[f"{classes[a]} - {classes[b]}" for a, b in pairs])
    names, distance = _distances(values, patient, masks)
    first, third = np.nanquantile(distance, [0.25, 0.75]) if np.isfinite(distance).any() else (np.nan, np.nan)
    table = table.assign(distance=("patient", distance), unlike=("patient", distance > third + 3 * (third - first)))
    if "units" in sums.attrs:
        for name in table.data_vars:
            if set(dims) <= set(table[name].dims) and table[name].dtype.kind == "f":
                table[name].attrs["units"] = sums.attrs["units"]
    return table.assign_coords(patient=names)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Values (cells, n) whose mean over samples is mean a - mean b, and whose scatter between patients is that of both means."""
    known = ~np.isnan(a) | ~np.isnan(b)
    n, mean_a, mean_b = known.sum(1, keepdims=True), *(_mean(v) for v in (a, b))
    pull = np.where(np.isnan(a), 0, (a - mean_a) * n / _count(a)) - np.where(
        np.isnan(b), 0, (b - mean_b) * n / _count(b)
    )
    return np.where(known, mean_a - mean_b + pull, np.nan)


def _mean(v: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.nansum(v, axis=1, keepdims=True) / _count(v)
    return found


def _count(v: np.ndarray) -> np.ndarray:
    count: np.ndarray = (~np.isnan(v)).sum(1, keepdims=True).astype(float)
    return np.where(count > 0, count, np.nan)


def _distances(values: np.ndarray, patient: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each patient how far their means lie from those of the others of their classes."""
    names = np.unique(patient)
    total, count = np.zeros(len(names)), np.zeros(len(names))
    for mask in masks:
        mine = np.flatnonzero([(mask & (patient == p)).any() for p in names])
        if len(mine) < 4:
            continue
        mean = np.stack([_mean(values[:, mask & (patient == names[p])])[:, 0] for p in mine])
        for k, p in enumerate(mine):
            others = np.delete(mean, k, axis=0)
            spread = others.std(axis=0, ddof=1)
            z = np.where(spread > 0, (mean[k] - others.mean(axis=0)) / np.where(spread > 0, spread, 1), np.nan)
            total[p] += np.nansum(z**2)
            count[p] += np.isfinite(z).sum()
    return names, np.sqrt(total / np.where(count > 0, count, np.nan))


def say_of_one_patient(patients: Iterable[np.ndarray]) -> None:
    """Warn where the samples of something are all of one patient: there is no scatter of patients to take an interval from."""
    alone = sum(len(np.unique(p)) == 1 for p in patients)
    if alone:
        tell(
            "all samples (of a class) are of one patient: an interval over patients takes two at least, so low and high are NaN "
            "and nothing is called apart. Give more patients, or patient (over) by sample, where samples are of several"
        )


def _along_samples(given: Any, array: xr.DataArray, name: str, whose: str = "the attribution") -> np.ndarray:
    """What is given of each sample of an array, as values or the name of a coordinate."""
    if isinstance(given, str) and given not in array.coords:
        raise ValueError(f"{name}: no coordinate {given!r} among {list(map(str, array.coords))}")
    values = array.coords[given] if isinstance(given, str) else given
    found = np.asarray(values)
    if found.shape != (array.sizes["sample"],):
        raise ValueError(f"{name} names {found.size} samples, {whose} has {array.sizes['sample']}: give one for each")
    if isinstance(values, xr.DataArray) and "sample" in values.dims:
        _check_samples(array, values, name)
    if (missing := pd.isna(found)).any():
        raise ValueError(f"{name} is missing of {missing.sum()} samples: leave them out, or name each")
    return found
