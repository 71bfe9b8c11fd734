"""The baseline that is a template beat: the median beat of a reference, laid at each R peak of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..axes import Axes
from ..keys import Key
from ..units import parse_extent
from .fills import Baseline, Full, tensor_like
from .fitted import Fitted, Training, cell_index
from .spectral import even_step


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
    marked: np.ndarray = found.reshape(len(found), -1) != 0
    return marked


def _median(beats: np.ndarray) -> np.ndarray:
    """Median over (beats, window, ...) of the known cells, by sorting: NaN come last."""
    count = (~np.isnan(beats)).sum(0)[None]
    ordered = np.sort(beats, 0)
    low, high = (np.take_along_axis(ordered, np.maximum(at, 0), 0)[0] for at in ((count - 1) // 2, count // 2))
    median: np.ndarray = (low + high) / 2
    return median


def _laid(template: np.ndarray, first: int, peaks: np.ndarray) -> np.ndarray:
    """The template (leads, window) at each peak of one series, and lines between: (leads, times)."""
    at, cells = np.flatnonzero(peaks), np.arange(len(peaks))
    if len(at) == 0:
        return np.repeat(template[:, [0, -1]].mean(1, keepdims=True), len(peaks), 1)
    middles = (at[:-1] + at[1:]) / 2
    from_start = cells - at[np.searchsorted(middles, cells)] - first
    inside = (from_start >= 0) & (from_start < template.shape[1])
    return np.stack([np.interp(cells, cells[inside], lead[from_start[inside]]) for lead in template])
