"""Baselines that are the usual course of things: a climatology by the calendar, a median beat at each R peak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..cf import units_of
from ..keys import Key
from ..units import parse_extent
from .fills import Baseline, Full, tensor_like
from .fitted import Fitted, Training, cell_index
from .spectral import even_step

# Part of the calendar: from days and hours of numpy dates, the attribute of cftime dates, the phases there are.
_PARTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, range]] = {
    "month": (lambda t: t.astype("M8[M]").astype(int) % 12 + 1, "month", range(1, 13)),
    "dayofyear": (lambda t: (t.astype("M8[D]") - t.astype("M8[Y]")).astype(int) + 1, "dayofyr", range(1, 367)),
    "hour": (lambda t: t.astype("M8[h]").astype(int) % 24, "hour", range(24)),
}


@dataclass(frozen=True)
class Climatology(Baseline):
    """What is usual at that time of the year or day: ``x'_t = mean of the reference over all times in the phase of t``.

    Anomalies against it with a baseline of 0 get the same attribution as raw values with it. A climatology explained
    against itself gets none.

    It assumes a stationary cycle: a trend between the period of the reference and the input stays in the difference and
    is attributed (detrend, or fit on a period like the input's), and the reference must not hold test data. Few years
    make a noisy cycle, which `harmonics` smooth. In leap years the days of the year from 29 February on are one later.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`; printed with the period it was fitted on.
    by, dim
        As in :meth:`fit`.

    Examples
    --------
    >>> import xarray as xr
    >>> dates = np.arange("2001-01", "2003-01", dtype="M8[M]").astype("M8[ns]")
    >>> train = xr.DataArray(np.arange(24.0), dims="sample", coords={"sample": dates}).expand_dims("lat", axis=1)
    >>> clim = Climatology.fit(train, by="month", dim="sample")
    >>> clim.fitted["mean"][:3, 0].tolist()  # the means of months 0 and 12, 1 and 13, 2 and 14
    [6.0, 7.0, 8.0]
    """

    sentence: ClassVar[str] = "what is usual at that place and season"
    fitted: Fitted
    by: str
    dim: str = "time"

    @classmethod
    def fit(
        cls,
        reference: Any,
        by: str = "month",
        dim: str = "time",
        harmonics: int | None = None,
        *,
        sample_dim: str = "sample",
    ) -> Climatology:
        """Mean over a reference's times (and samples) in each phase of a cycle; missing cells are left out.

        Parameters
        ----------
        reference
            A DataArray with `dim`, and possibly a sample dim besides.
        by
            "month", "dayofyear" or "hour" of dates (numpy's or cftime's) along `dim`; or the length of a cycle, such as
            "24h", along a numeric coordinate that is a whole number of steps long and starts at 0.
        dim
            The dim of the times. In the input it may be a dim of each sample or the sample dim itself, or a coordinate of
            dates over several dims, such as ``time(sample, lag)``: each lag then has its own phase.
        harmonics
            Keep the mean and that many harmonics of the cycle, fitted by least squares over the phases that occur,
            weighted by how often; so phases that do not occur have a value too.
        sample_dim
            Name of the reference's sample dim, where it has one besides `dim`.

        Raises
        ------
        ValueError
            No coordinate along `dim`, dates where there are none, a cycle of no whole number of steps, or too many harmonics.
        """
        r = Array.of(reference)
        if r.dims is None or dim not in r.dims or dim not in r.coords:
            raise ValueError(
                f"Climatology needs a reference with a coordinate along dim {dim!r}, its times; it has dims {r.dims}"
            )
        phase, phases = phases_of(r.coords[dim], units_of(reference).get(dim), by, dim)
        rest = tuple(d for d in r.dims if d not in (dim, sample_dim))
        order = [r.dims.index(d) for d in (dim, *(d for d in (sample_dim,) if d in r.dims and d != dim), *rest)]
        values = r.values.astype(np.float64).transpose(order)
        over = tuple(range(1, values.ndim - len(rest)))
        table = np.stack([_mean(values[phase == p], (0, *over)) for p in phases])
        count = np.array([(phase == p).sum() for p in phases])
        if harmonics is not None:
            table = _smoothed(table, count, harmonics)
        kept = np.flatnonzero((count > 0) | (harmonics is not None))
        coords = {d: c for d, c in r.coords.items() if d in rest}
        arrays = {
            "mean": Array(table[kept], (by, *rest), {**coords, by: np.array(phases)[kept]}),
        }
        period = f"{date_text(r.coords[dim][0])}..{date_text(r.coords[dim][-1])}"
        sizes = "".join(f", {d} {n}" for d, n in zip(r.dims, r.values.shape) if d != dim)
        return cls(
            Fitted(arrays, f"{len(phase)} times {period}{sizes}; cycle={len(phases)}, harmonics={harmonics}"), by, dim
        )

    def _bind(self, axes: Axes) -> Full:
        mean = self.fitted.arrays["mean"]
        table = mean.values.reshape(len(mean.values), -1)
        coords = {d: c for d, c in mean.coords.items() if d != self.by}
        index = cell_index(Array(mean.values[0], mean.dims and mean.dims[1:], coords), axes, "Climatology")
        at = self._rows(axes)

        def full(x: Tensor, key: Key) -> Tensor:
            rows = at if len(at) == 1 else at[key.position.cpu().numpy()]
            return tensor_like(table[rows, index], x)

        return Full(full, causal=True)

    def _rows(self, axes: Axes) -> np.ndarray:
        """The row of the table for each time of the input: (samples or 1, *event), 1 along dims the times do not vary with."""
        times, where = self._times(axes)
        phase, phases = phases_of(times.values.reshape(-1), axes.units.get(self.dim), self.by, where)
        have = self.fitted.arrays["mean"].coords[self.by]
        row = {int(p): i for i, p in enumerate(have)}
        lost = sorted({int(p) for p in phase if int(p) not in row})
        if lost or (self.by not in _PARTS and f"cycle={len(phases)}," not in self.fitted.source):
            raise ValueError(
                f"{self!r} lacks {self.by} {lost[:5]}, or counts another number of steps in the cycle than the input's "
                f"{len(phases)}; fit it on whole cycles at the input's step, or with harmonics=..."
            )
        rows = np.array([row[int(p)] for p in phase]).reshape(times.values.shape)
        return axes.align(replace(times, values=rows), "the times of the input")

    def _times(self, axes: Axes) -> tuple[Array, str]:
        """The times of the input with their dims, and what to call them."""
        if self.dim in axes.dates:
            return axes.dates[self.dim], self.dim
        where = self.dim if self.dim in axes.dims else axes.sample_dim
        times = axes.coords.get(where) if where in axes.dims else axes.sample_coord
        if times is None:
            raise ValueError(f"Climatology needs the times of the input, and dim {where!r} has no coordinate")
        return Array(times, (where,)), where


def phases_of(times: np.ndarray, unit: str | None, by: str, dim: str) -> tuple[np.ndarray, range]:
    """The phase of each time, and the phases there are in a cycle."""
    times = np.asarray(times)
    dates = times.dtype.kind == "M" or (times.dtype == object and hasattr(times[0], "calendar"))
    if by in _PARTS:
        if not dates:
            raise ValueError(
                f"by={by!r} needs dates along dim {dim!r}, whose coordinate is {times.dtype}; for numbers give the length of "
                "the cycle, such as by='24h'"
            )
        of_numpy, attribute, phases = _PARTS[by]
        if times.dtype.kind == "M":
            return of_numpy(times), phases
        return np.array([getattr(t, attribute) for t in times]), phases
    if dates:
        raise ValueError(f"by is one of {', '.join(_PARTS)} along dates, got {by!r}")
    axes = Axes((dim,), times.shape, {dim: times}, {} if unit is None else {dim: unit})
    if len(times) == 1:
        raise ValueError(
            f"by={by!r} needs steps along {dim!r}, which has one cell; a cycle of dates, by='month', needs none"
        )
    steps = axes.cells(dim, by)
    if not abs(steps - round(steps)) < 1e-3 or round(steps) < 1:
        raise ValueError(f"by={by!r} is {steps:.6g} steps of dim {dim!r}; a cycle is a whole number of steps")
    first = axes.positions(dim)[0] * (1 if times[-1] >= times[0] else -1)
    return np.round(first / even_step(axes, dim)).astype(int) % round(steps), range(round(steps))


def _mean(values: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    """Mean without the missing, NaN where there is nothing."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def _smoothed(table: np.ndarray, count: np.ndarray, harmonics: int) -> np.ndarray:
    """The weighted least-squares fit of a mean and harmonics to a table (phases, ...), at every phase."""
    seen = count > 0
    if harmonics < 0 or 2 * harmonics + 1 > seen.sum():
        raise ValueError(
            f"harmonics={harmonics} needs {2 * harmonics + 1} phases of the cycle; the reference has {int(seen.sum())}"
        )
    angle = 2 * np.pi * np.arange(len(table)) / len(table)
    waves = [f(k * angle) for k in range(1, harmonics + 1) for f in (np.cos, np.sin)]
    design = np.stack([np.ones_like(angle), *waves], 1)
    weight = np.sqrt(count[seen])[:, None]
    flat = table.reshape(len(table), -1)
    return (design @ (np.linalg.pinv(weight * design[seen]) @ (weight * flat[seen]))).reshape(table.shape)


def date_text(time: Any) -> str:
    """A date as it is printed: '2001-05-31' where it is a midnight."""
    return str(time.astype("M8[s]") if isinstance(time, np.datetime64) else time).removesuffix("T00:00:00")


@dataclass(frozen=True)
class MedianBeat(Baseline):
    """The usual beat at every R peak: what is left of `x` is how its beats deviate from it.

    The template is the median over the reference's beats, each lead by itself, of the window round the R peak; fit it to
    normal beats for "how does this differ from a normal beat". In the input it is laid at each R peak; where two windows
    overlap a cell takes the nearer peak's. Between windows runs the straight line from the end of one to the start of
    the next, before the first and after the last their end values: close to the isoelectric level. A record without R
    peaks gets the mean of the template's two ends.

    It answers nothing about rhythm: its beats come when the input's do. It fails where beats have no one shape or R peaks
    are wrong: paced rhythm, bundle branch block against a normal template, atrial fibrillation (its P wave is put where
    there is none), and at rates so unlike the reference's that T lies elsewhere, as the template is not stretched.
    Remove baseline wander from both first.

    Parameters
    ----------
    fitted
        Made by :meth:`fit`.
    dim
        The dim of time.
    r_peaks
        Where the input's R peaks are; given by :meth:`at`.

    Examples
    --------
    >>> import xarray as xr
    >>> beat = np.array([0.0, 1.0, 4.0, 2.0, 0.0, 0.0])
    >>> train = xr.DataArray(np.stack([np.tile(beat, 2) * size for size in (1, 2, 3)]), dims=("sample", "time"),
    ...                      coords={"time": np.arange(12) / 100})
    >>> normal = MedianBeat.fit(train, train == train.max("time"), window=("-20ms", "20ms"))
    >>> normal.fitted["template"].tolist()
    [0.0, 2.0, 8.0, 4.0, 0.0]
    """

    sentence: ClassVar[str] = "the record's own median beat"
    note: ClassVar[str] = (
        "The baseline is the record's own median beat: what every beat of the record shares gets nothing."
    )
    on_command_line: ClassVar[bool] = False  # needs the places of R peaks
    fitted: Fitted
    dim: str = "time"
    r_peaks: Array | None = None

    @classmethod
    def fit(
        cls,
        reference: Any,
        r_peaks: Any,
        dim: str = "time",
        window: tuple[str, str] = ("-250ms", "450ms"),
        *,
        sample_dim: str = "sample",
    ) -> MedianBeat:
        """The median of a reference's beats; those that the record cuts off count where they are.

        Parameters
        ----------
        reference
            DataArray with a sample dim and `dim`, such as (sample, lead, time); mV.
        r_peaks
            Its R peaks: a boolean DataArray over the sample dim and `dim`, such as `tsattr.ecg.r_peaks` gives.
        dim
            The dim of time, evenly spaced.
        window
            Where the template starts and ends, from the R peak.
        sample_dim
            Name of the reference's sample dim.

        Raises
        ------
        ValueError
            No R peak, a window that does not hold the peak, or an uneven time.
        """
        train = Training.of(reference, sample_dim)
        step = even_step(train.axes, dim)
        if np.isnan(step):
            raise ValueError(f"a beat needs more than one cell along {dim!r}; the reference has one")
        first, last = (_offset(size, step) for size in window)
        if not first <= 0 <= last:
            raise ValueError(f"window starts at or before the R peak and ends at or after it, got {window}")
        series = np.moveaxis(train.values, 1 + train.axes.axis(dim), -1)
        peaks = _peaks(_as_peaks(r_peaks, sample_dim, dim), train.axes, dim)
        sample, cell = np.nonzero(np.broadcast_to(peaks, (len(series), series.shape[-1])))
        if len(sample) == 0:
            raise ValueError("r_peaks marks no R peak in the reference")
        around = cell[:, None] + np.arange(first, last + 1)
        inside = (around >= 0) & (around < series.shape[-1])
        beats = series[sample[:, None], ..., around.clip(0, series.shape[-1] - 1)]
        beats[~inside] = np.nan
        rest = tuple(d for d in train.axes.dims if d != dim)
        template = np.moveaxis(_median(beats), 0, -1)
        source = train.source(beats=len(sample), window=window)
        grid = Array(np.array([first, step]))
        return cls(Fitted({"template": train.cells((*rest, ""), template), "grid": grid}, source), dim)

    def at(self, r_peaks: Any) -> MedianBeat:
        """This template at the R peaks of an input: a boolean DataArray over its sample dim and `dim`."""
        return replace(self, r_peaks=_as_peaks(r_peaks, "sample", self.dim))

    def _bind(self, axes: Axes) -> Full:
        if self.r_peaks is None:
            raise ValueError(
                "MedianBeat does not know where the input's R peaks are; give them: baseline.at(ta.ecg.r_peaks(x))"
            )
        step, (first, fitted) = even_step(axes, self.dim), self.fitted["grid"]
        if not np.isclose(step, fitted, rtol=1e-3):
            raise ValueError(f"MedianBeat was fitted at steps of {fitted:.6g}, the input has {step:.6g}; resample one")
        t = self.fitted.arrays["template"]
        template = t.values.reshape(-1, t.values.shape[-1])
        leads = Array(t.values[..., 0], t.dims and t.dims[:-1], t.coords)
        index = cell_index(leads, axes, "MedianBeat")
        peaks = _peaks(self.r_peaks, axes, self.dim)
        time = np.arange(peaks.shape[1]).reshape([-1 if d == self.dim else 1 for d in axes.dims])

        def full(x: Tensor, key: Key) -> Tensor:
            which, back = np.unique(
                key.position.cpu().numpy() if len(peaks) > 1 else np.zeros(len(x), int), return_inverse=True
            )
            laid = np.stack([_laid(template, int(first), peaks[i])[index, time] for i in which])
            return tensor_like(laid, x)[torch.as_tensor(back.reshape(-1), device=x.device)]

        return Full(full)


def _offset(size: str, step: float) -> int:
    """A signed extent such as '-250ms' as a number of cells, of `step` seconds each."""
    text = size.strip()
    number, unit = parse_extent(text.removeprefix("-"))
    cells = Axes(("time",), (2,), {"time": np.array([0.0, step])}).cells("time", f"{number} {unit}")
    return round(-cells if text.startswith("-") else cells)


def _as_peaks(r_peaks: Any, sample_dim: str, dim: str) -> Array:
    peaks = Array.of(r_peaks)
    return peaks if peaks.dims is not None else Array(peaks.values, (sample_dim, dim)[-peaks.values.ndim :])


def _peaks(peaks: Array, axes: Axes, dim: str) -> np.ndarray:
    """Marks of R peaks as bool (samples or 1, times)."""
    found = np.moveaxis(axes.align(peaks, "r_peaks"), 1 + axes.axis(dim), -1)
    if any(n > 1 for n in found.shape[1:-1]) or found.shape[-1] != axes.shape[axes.axis(dim)]:
        raise ValueError(f"r_peaks has dims {peaks.dims}; it needs {dim!r}, and besides only {axes.sample_dim!r}")
    return found.reshape(len(found), -1) != 0


def _median(beats: np.ndarray) -> np.ndarray:
    """Median over (beats, window, ...) of the known cells, by sorting: NaN come last."""
    count = (~np.isnan(beats)).sum(0)[None]
    ordered = np.sort(beats, 0)
    low, high = (np.take_along_axis(ordered, np.maximum(at, 0), 0)[0] for at in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def _laid(template: np.ndarray, first: int, peaks: np.ndarray) -> np.ndarray:
    """The template (leads, window) at each peak of one series, and lines between: (leads, times)."""
    at, cells = np.flatnonzero(peaks), np.arange(len(peaks))
    if len(at) == 0:
        return np.repeat(template[:, [0, -1]].mean(1, keepdims=True), len(peaks), 1)
    middles = (at[:-1] + at[1:]) / 2
    from_start = cells - at[np.searchsorted(middles, cells)] - first
    inside = (from_start >= 0) & (from_start < template.shape[1])
    return np.stack([np.interp(cells, cells[inside], lead[from_start[inside]]) for lead in template])
