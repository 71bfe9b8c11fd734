"""Samples cut from a record: the history before each forecast, by lag and by time, and labels of lags, regions and seasons."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def histories(
    field: Any, lags: int = 36, lead: int | Sequence[int] | None = None, *, dim: str = "time"
) -> tuple[Any, Any]:
    """Every window of a record, and what comes after it: input and truth of an emulator.

    Sample s holds the steps s - lags + 1 .. s, whose ``lag`` runs from -lags to -1, so that lag -1 is the last step that is
    known; truth at lead L is step s + L: the step right after it is lead 1. Nothing is copied until it is used, and chunked
    data stay chunked.

    Parameters
    ----------
    field
        DataArray or Dataset with an evenly spaced `dim`.
    lags
        Number of steps of a history.
    lead
        Steps ahead of the truth: one, or several, which make a dim ``lead``. None: no truth.
    dim
        The dim of time.

    Returns
    -------
    x
        ``sample``, ``lag`` and the field's other dims. ``sample`` is labelled by the time of lag -1, and a coordinate with
        the name of `dim` over (sample, lag) says when each lag was.
    y
        ``sample``, ``lead`` (for several) and the other dims, with the time of the truth beside; None without `lead`.

    Raises
    ------
    ValueError
        A record too short, lags or leads below 1, a coordinate of time with a gap or that runs backwards.

    Examples
    --------
    >>> dates = np.arange("2001-01", "2001-07", dtype="M8[M]").astype("M8[ns]")
    >>> field = xr.DataArray(np.arange(6.0), dims="time", coords={"time": dates})
    >>> x, y = histories(field, lags=2, lead=3)
    >>> x.values.tolist(), y.values.tolist()
    ([[0.0, 1.0], [1.0, 2.0]], [4.0, 5.0])
    >>> x.lag.values.tolist(), x.lag.units
    ([-2, -1], 'month')
    """
    leads = np.atleast_1d([] if lead is None else lead).astype(int)
    if lags < 1 or (leads < 1).any():
        raise ValueError(f"lags and leads are numbers of steps of at least 1, got lags={lags}, lead={lead}")
    n, ahead = field.sizes[dim], int(leads.max(initial=0))
    if n < lags + ahead:
        raise ValueError(
            f"{lags} lags and a lead of {ahead} need {lags + ahead} steps along {dim!r}; the record has {n}"
        )
    units = {} if (unit := step_unit(field, dim)) is None else {"units": unit}
    last = np.arange(lags - 1, n - ahead)
    x = field.rolling({dim: lags}).construct("lag").isel({dim: slice(lags - 1, n - ahead)}).rename({dim: "sample"})
    x = x.assign_coords(lag=("lag", np.arange(-lags, 0), {"long_name": "steps before the forecast", **units}))
    if dim in field.coords:
        x.coords[dim] = ("sample", "lag"), field[dim].values[last[:, None] + x.lag.values + 1]
    x = x.transpose("sample", "lag", ...)
    if lead is None:
        return x, None
    y = field.isel({dim: xr.DataArray(last[:, None] + leads, dims=("sample", "lead"))}).transpose("sample", "lead", ...)
    y = y.assign_coords(lead=("lead", leads, {"long_name": "steps after lag -1", **units}))
    if "sample" in x.coords:
        y = y.assign_coords(sample=x["sample"])
    return x, y if np.ndim(lead) else y.isel(lead=0)


def step_unit(field: Any, dim: str) -> str | None:
    """The unit of a record's step; None where it is no whole unit of the calendar, or has no dates.

    Raises ValueError where the record has a coordinate of numbers or dates that does not increase evenly.
    """
    if dim not in field.coords or field.sizes[dim] < 2:
        return None
    time = field[dim]
    dates = hasattr(time, "dt")
    if not dates and time.dtype.kind not in "iuf":
        return None
    steps = np.diff(time.values)
    if (backward := steps <= 0 * steps[0]).any():
        raise _uneven(
            time, backward, "does not increase", f"sort it, field.sortby({dim!r}), and drop what is there twice"
        )
    months = np.diff(12 * time.dt.year.values + time.dt.month.values) if dates else np.zeros(1)
    if (months == months[0]).all() and months[0] > 0:
        return {1: "month", 12: "year"}.get(int(months[0]))
    usual = np.sort(steps)[len(steps) // 2]
    # Decimal years in float32 are rounded to an hour.
    odd = steps != usual if dates else ~np.isclose(steps, usual, 1e-3, 4 * np.spacing(abs(time.values).max()))
    if odd.any():
        typical = np.median(months)
        if typical and (months == typical).mean() > 0.5:  # months, whose lengths differ by themselves
            odd = months != typical
        whole = f"field.resample({dim}='MS').asfreq()" if dates else f"field.reindex({dim}=...)"
        fix = f"fill the gap with NaN, such as {whole}, or cut the pieces apart"
        raise _uneven(time, odd, "is not evenly spaced", fix)
    if not dates:
        return None
    hours = usual / np.timedelta64(1, "h") if time.dtype.kind == "M" else usual.total_seconds() / 3600
    return {1.0: "h", 24.0: "day"}.get(float(hours))  # names that a reader of NetCDF does not take for a timedelta


def _uneven(time: xr.DataArray, where: NDArray[np.bool_], rule: str, fix: str) -> ValueError:
    """The error that names the first two times between which a rule is broken."""
    at = int(np.flatnonzero(where)[0])
    return ValueError(f"{time.name!r} {rule}: {time.values[at]} is followed by {time.values[at + 1]}; {fix}")


def bins(values: xr.DataArray, edges: Sequence[float]) -> xr.DataArray:
    """Label what lies in ``edges[i] <= value < edges[i + 1]``: lags in bins, distances in rings.

    Returns
    -------
    DataArray of int
        Bin numbers named by CF ``flag_meanings``, -1 outside all bins: labels for ``ta.groups.Labelled``.

    Raises
    ------
    ValueError
        Edges that do not increase.

    Examples
    --------
    >>> lag = xr.DataArray([-4, -3, -2, -1], dims="lag", attrs={"units": "month"})
    >>> bins(lag, [-3, -1, 0]).values.tolist(), bins(lag, [-3, -1, 0]).flag_meanings
    ([-1, 0, 0, 1], '-3..-1month -1..0month')
    """
    at = np.asarray(edges, np.float64)
    if len(at) < 2 or not (np.diff(at) > 0).all():
        raise ValueError(f"edges are at least two increasing numbers, got {list(edges)}")
    number = values.copy(data=np.digitize(values.values, at) - 1)
    unit = str(values.attrs.get("units", "")).replace(" ", "_")
    names = [f"{low:g}..{high:g}{unit}" for low, high in itertools.pairwise(at)]
    return _coded(number.where((number < len(names)) & values.notnull(), -1), names)


def partition(masks: Mapping[str, xr.DataArray], rest: str | None = None) -> xr.DataArray:
    """One label for each of several regions that do not overlap: boxes, discs, basins.

    Parameters
    ----------
    masks
        Boolean masks by name.
    rest
        Name of what lies in none of them; None leaves it without a label, so that it is never removed.

    Returns
    -------
    DataArray of int
        As from :func:`bins`.

    Raises
    ------
    ValueError
        Regions that overlap.

    Examples
    --------
    >>> lat = xr.DataArray([-20.0, 0.0, 20.0], dims="lat")
    >>> partition({"south": lat < 0, "north": lat > 0}, rest="equator").values.tolist()
    [0, 2, 1]
    """
    names = list(masks)
    which = xr.concat(xr.align(*masks.values(), join="exact"), dim="region", coords="minimal", compat="override")
    if (which.sum("region") > 1).any():
        both = [n for n, inside in zip(names, which.where(which.sum("region") > 1, False)) if inside.any()]
        raise ValueError(f"regions {both} overlap; a cell has one label: take one from the other, a & ~b")
    number = which.argmax("region").where(which.any("region"), -1 if rest is None else len(names))
    return _coded(number, names if rest is None else [*names, rest])


def crossed(*labels: xr.DataArray) -> xr.DataArray:
    """Labels of every combination that occurs: basins by lag bins, regions by season.

    Parameters
    ----------
    *labels
        Integers or strings over any dims, such as :func:`partition`, :func:`bins` or ``time.dt.season`` give. What is in
        no group of one of them is in none of the result's.

    Returns
    -------
    DataArray of int
        As from :func:`bins`; a name joins those of its parts by "/".

    Examples
    --------
    >>> side = xr.DataArray(["west", "east"], dims="lon")
    >>> late = bins(xr.DataArray([-2, -1], dims="lag"), [-2, -1, 0])
    >>> crossed(side, late).flag_meanings
    'east/-2..-1 east/-1..0 west/-2..-1 west/-1..0'
    """
    parts = xr.broadcast(*(_numbered(label) for label in labels))
    names = [p.attrs["flag_meanings"].split() for p in (_numbered(label) for label in labels)]
    none = np.any([p.values < 0 for p in parts], axis=0)
    code = np.ravel_multi_index([np.maximum(p.values, 0) for p in parts], [len(n) for n in names])
    levels, number = np.unique(code[~none], return_inverse=True)
    out = np.full(code.shape, -1)
    out[~none] = number
    combined = [
        "/".join(n[i] for n, i in zip(names, at)) for at in zip(*np.unravel_index(levels, [len(n) for n in names]))
    ]
    return _coded(parts[0].copy(data=out), combined)


def _numbered(label: xr.DataArray) -> xr.DataArray:
    """Labels as numbers 0, 1, ... with a name for each; -1 for no label."""
    if label.dtype.kind in "iub" and "flag_meanings" not in label.attrs:
        levels = [v for v in np.unique(label.values).tolist() if v >= 0]
        names = [str(v) for v in levels]
    elif label.dtype.kind in "iub":
        names = str(label.attrs["flag_meanings"]).split()
        levels = np.atleast_1d(label.attrs["flag_values"]).tolist()
    else:
        levels = sorted({str(v) for v in label.values.flat} - {"", "nan", "None"})
        names = levels
        label = label.astype(str)
    number = np.full(label.shape, -1)
    for i, level in enumerate(levels):
        number[label.values == level] = i
    return _coded(label.copy(data=number), names)


def _coded(number: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    """Numbers as CF flags; their meanings are separated by blanks, so that blanks in names become underscores."""
    out = number.astype(np.int64)
    out.attrs = {"flag_values": np.arange(len(names)), "flag_meanings": " ".join(n.replace(" ", "_") for n in names)}
    return out
