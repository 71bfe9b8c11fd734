"""Exact sums of a map over leads, waves and beats."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..core.indexing import same_labels
from .delineation import WAVES
from .leads import lead_names


def by_lead(attribution: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over time, lead by lead.

    Parameters
    ----------
    attribution : DataArray
        Dims ``lead``, ``time`` and any others, which are kept. NaN cells are skipped.

    Returns
    -------
    Dataset
        ``signed`` (sums of the values), ``absolute`` (sums of their sizes) and ``cells`` (number of cells summed). The
        QRS complex is biphasic, so that its signed credit may cancel where the absolute does not: read both.

    Examples
    --------
    >>> a = xr.DataArray([[1.0, -2.0], [3.0, np.nan]], dims=("lead", "time"), coords={"lead": ["I", "II"]})
    >>> by_lead(a).absolute.values
    array([3., 3.])
    """
    lead_names(attribution)
    everything = xr.zeros_like(attribution.isel({d: 0 for d in attribution.dims if d != "time"}, drop=True), dtype=int)
    return _sums(attribution, everything, "all", ["all"]).squeeze("all", drop=True)


def by_wave(attribution: xr.DataArray, wave: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over the waves, ``"other"`` included, so that the sums add up to the total.

    Parameters
    ----------
    attribution : DataArray
        Dims ``time`` and any others, which are kept (``.sum("lead")`` of the result joins the leads). NaN cells are
        skipped.
    wave : DataArray of int
        Codes along ``time`` and optionally ``sample``, as from `waves` or the simulator; ``flag_meanings`` names them.

    Returns
    -------
    Dataset
        ``signed``, ``absolute`` and ``cells`` as in `by_lead`, with the new dim ``wave``.

    Examples
    --------
    >>> code = xr.DataArray([0, 1, 2, 2], dims="time", attrs={"flag_meanings": "none P QRS"})
    >>> by_wave(xr.DataArray([1.0, 2.0, 3.0, -4.0], dims="time"), code).signed.to_series().to_dict()
    {'other': 1.0, 'P': 2.0, 'QRS': -1.0}
    """
    return _sums(attribution, wave, "wave", _wave_names(wave))


def by_beat(attribution: xr.DataArray, beat: xr.DataArray) -> xr.Dataset:
    """Sum an attribution over the beats; number 0 collects the cells outside all beats, so that the sums add up.

    Parameters
    ----------
    attribution : DataArray
        Dims ``time`` and any others, which are kept. NaN cells are skipped.
    beat : DataArray of int
        Numbers from 1 along ``time`` and optionally ``sample``, as from `beats`; 0 for none.

    Returns
    -------
    Dataset
        ``signed``, ``absolute`` and ``cells`` as in `by_lead`, with the new dim ``beat``. Samples with fewer beats than
        the longest have sums 0 and ``cells`` 0 for those they lack.

    Examples
    --------
    >>> number = xr.DataArray([0, 1, 1, 2], dims="time")
    >>> by_beat(xr.DataArray([1.0, 2.0, 3.0, -4.0], dims="time"), number).absolute.values
    array([1., 5., 4.])
    """
    return _sums(attribution, beat, "beat", list(range(int(beat.max()) + 1)))


def by(attribution: xr.DataArray, *, wave: xr.DataArray | None = None, beat: xr.DataArray | None = None) -> xr.Dataset:
    """Sum an attribution over waves and beats at once, lead by lead: exact, as `by_wave` and `by_beat` are.

    Parameters
    ----------
    attribution : DataArray
        Dims ``time`` and any others, which are kept. NaN cells are skipped.
    wave, beat : DataArray of int
        As for `by_wave` and `by_beat`; without either, all of time is one sum.

    Returns
    -------
    Dataset
        ``signed``, ``absolute`` and ``cells`` as in `by_lead`, with the dims ``beat`` and ``wave``, of those given, last. For pandas:
        ``by(...).to_dataframe()``.

    Examples
    --------
    >>> code = xr.DataArray([0, 1, 1, 0], dims="time", attrs={"flag_meanings": "none P"})
    >>> number = xr.DataArray([1, 1, 2, 2], dims="time")
    >>> by(xr.DataArray([1.0, 2.0, 3.0, -4.0], dims="time"), wave=code, beat=number).signed.values
    array([[ 0.,  0.],
           [ 1.,  2.],
           [-4.,  3.]])
    """
    names: dict[str, list[Any]] = {} if beat is None else {"beat": list(range(int(beat.max()) + 1))}
    names |= {} if wave is None else {"wave": _wave_names(wave)}
    first = attribution.isel({d: 0 for d in attribution.dims if d != "time"}, drop=True)
    joint = xr.zeros_like(first, dtype=int).drop_attrs()
    for dim, labels in (("beat", beat), ("wave", wave)):
        if labels is not None:
            _check(attribution, labels, dim, len(names[dim]))
            joint = joint.drop_vars(joint.coords) * len(names[dim]) + labels.drop_vars(labels.coords)
    sizes = [len(n) for n in names.values()]
    ds = _sums(attribution, joint.astype(int), "sum", list(range(int(np.prod(sizes)))))
    found = {}
    for name, v in ds.data_vars.items():
        last = v.transpose(..., "sum")
        cells = last.values.reshape(*last.shape[:-1], *sizes)
        found[name] = xr.DataArray(cells, dims=(*last.dims[:-1], *names), attrs=v.attrs)
    coords = {k: c for k, c in ds.coords.items() if "sum" not in c.dims}
    return xr.Dataset(found, coords).assign_coords({d: list(n) for d, n in names.items()})


def _wave_names(wave: xr.DataArray) -> list[str]:
    meanings = str(wave.attrs.get("flag_meanings", " ".join(WAVES))).split()
    values = np.asarray(wave.attrs.get("flag_values", np.arange(len(meanings)))).tolist()
    if values != list(range(len(meanings))):
        raise ValueError(f"wave codes count up from 0 (= none); flag_values are {values} for {meanings}")
    return ["other", *meanings[1:]]


def _sums(attribution: xr.DataArray, labels: xr.DataArray, dim: str, names: list[Any]) -> xr.Dataset:
    """Sum over time by label; codes index `names`."""
    _check(attribution, labels, dim, len(names))
    attribution, labels = attribution.compute(), labels.compute()

    def total(values: xr.DataArray) -> xr.DataArray:
        summed: xr.DataArray = xr.apply_ufunc(
            _sum_by_code,
            values,
            labels.drop_vars(labels.coords),
            input_core_dims=[["time"], ["time"]],
            output_core_dims=[[dim]],
            kwargs={"size": len(names)},
            join="exact",
        )
        return summed.assign_coords({dim: names})

    known = attribution.notnull()
    values = attribution.fillna(0).astype(float)
    result = xr.Dataset({"signed": total(values), "absolute": total(abs(values)), "cells": total(known).astype(int)})
    for name in ("signed", "absolute"):
        result[name].attrs = {k: v for k, v in attribution.attrs.items() if k == "units"}
    return result


def _check(attribution: xr.DataArray, labels: xr.DataArray, dim: str, size: int) -> None:
    """ValueError unless labels from 0 to size - 1 lie where the attribution does."""
    if "time" not in attribution.dims or "time" not in labels.dims or not set(labels.dims) <= set(attribution.dims):
        raise ValueError(
            f"labels lie along 'time' and dims of the attribution {attribution.dims}; these have {labels.dims}"
        )
    if dim in attribution.dims:
        raise ValueError(f"the attribution already has a dim {dim!r}")
    for shared in labels.dims:
        if labels.sizes[shared] != attribution.sizes[shared]:
            raise ValueError(
                f"labels and attribution differ along {shared!r}: "
                f"{labels.sizes[shared]} and {attribution.sizes[shared]} cells"
            )
        ours, theirs = (a.coords[shared].values if shared in a.coords else None for a in (attribution, labels))
        if ours is not None and theirs is not None and not same_labels(ours, theirs):
            raise ValueError(f"labels and attribution lie at different places along {shared!r}: select the same first")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= size:
        raise ValueError(
            f"{dim} labels are integers from 0 to {size - 1}, "
            f"not {labels.dtype} from {labels.min().item()} to {labels.max().item()}"
        )


def _sum_by_code(values: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Sum the last axis of `values` by code, every row by itself."""
    values, codes = np.broadcast_arrays(values, codes)
    rows = np.arange(values[..., 0].size)[:, None] * size
    cells = (rows + codes.reshape(-1, codes.shape[-1])).ravel()
    return np.bincount(cells, weights=values.ravel(), minlength=rows.size * size).reshape(*values.shape[:-1], size)
