"""The baseline that is a climatology: the mean of a reference in each phase of the year, the day or another cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..cf import units_of
from ..keys import Key
from .fills import Baseline, Full, tensor_like
from .fitted import Fitted, cell_index
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
    """The mean of the known values, NaN where there are none."""
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
    found: np.ndarray = design @ (np.linalg.pinv(weight * design[seen]) @ (weight * flat[seen]))
    return found.reshape(table.shape)


def date_text(time: Any) -> str:
    """A date as it is printed: '2001-05-31' where it is a midnight."""
    return str(time.astype("M8[s]") if isinstance(time, np.datetime64) else time).removesuffix("T00:00:00")
