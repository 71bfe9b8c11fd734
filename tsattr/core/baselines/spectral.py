"""Baselines in the frequency domain: a band taken out, and surrogates that keep the spectrum and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..keys import Key
from .fills import Baseline, Full
from .gaps import Bridge


@dataclass(frozen=True)
class PhaseRandomised(Baseline):
    """A surrogate with the same spectrum and random phases: ``X'(w) = X(w) exp(i theta(w))``, theta uniform.

    The same phases are added to all other dims, so that every periodogram and every cross-spectrum is kept exactly, and
    with them means, variances and correlations at every lag on the circle; shapes and their timing are lost. The mean
    and, for an even number of cells, the Nyquist frequency stay as they are. Prichard and Theiler, 1994. It is the null
    for "timing or shape against spectrum"; use several draws.

    It assumes a stationary series. Where the two ends differ, the jump between them is part of the spectrum and is spread
    over the series: detrend first. A series of few frequencies stays itself, moved in time.

    A sample's series runs from its first to its last known cell (in any channel). Holes within are bridged by straight
    lines, and what is kept is the spectrum of the bridged series; a channel without any known cell counts as 0.

    Parameters
    ----------
    dim
        The dim whose phases are drawn; evenly spaced.

    Examples
    --------
    >>> PhaseRandomised()
    PhaseRandomised(dim='time')
    """

    sentence: ClassVar[str] = "a copy with the same spectrum and scrambled timing"
    dim: str = "time"
    random: ClassVar[bool] = True

    def _bind(self, axes: Axes) -> Full:
        dim = axes.called(self.dim)
        even_step(axes, dim)
        lines = _Lines.of(axes, dim)
        half = axes.shape[axes.axis(dim)] // 2

        def full(x: Tensor, key: Key) -> Tensor:
            turns = key.each(lambda row: key.rng(row).random(half), x.new_empty((), dtype=torch.float64))

            def turned(series: Tensor, rows: Tensor) -> Tensor:
                n = series.shape[-1]
                phase = torch.zeros(len(rows), n // 2 + 1, dtype=torch.float64, device=x.device)
                inner = (n - 1) // 2
                phase[:, 1 : 1 + inner] = 2 * torch.pi * turns[rows, :inner]
                factor = torch.polar(torch.ones_like(phase), phase)
                factor = factor.reshape(len(rows), *[1] * (series.ndim - 2), -1)
                found: Tensor = torch.fft.irfft(torch.fft.rfft(series) * factor, n)
                return found

            return lines.each(x, key, turned)

        return Full(full)


@dataclass(frozen=True)
class BandStop(Baseline):
    """A copy without one band of frequencies: ``x' = x - x_band``, so that path methods credit that band alone.

    ``x_band`` is the part of `x` with ``low <= f <= high``, edges of the band included, with no shift of phase. The
    series is mirrored at both ends (``d c b a | a b c d | d c b a``) and taken apart by the Fourier transform of the
    mirrored series, whose frequencies are multiples of ``1 / (2 n step)``; so this is an orthogonal projection, and doing
    it twice changes nothing more.

    It is not causal. The band is cut off sharply, so that a step in `x` rings at the frequencies of its edges. A sinusoid
    that mirroring bends leaks, at a time d from an end by less than ``1 / (pi d |f - edge|)`` of its size.

    A sample's series runs from its first to its last known cell (in any channel), with holes bridged by straight lines.
    In a series too short for any frequency of the band nothing is removed.

    Parameters
    ----------
    low, high
        The band that is taken out, in Hz along a time; else in cycles per unit of the coordinate (deg, m, month), and per
        cell where the dim has no coordinate. ``low=None`` takes out everything up to `high`, the mean included;
        ``high=None`` everything from `low` on.
    dim
        The dim it works along; evenly spaced.

    Raises
    ------
    ValueError
        No band, one that runs downwards or holds no frequency of a series as long as the input's, or an uneven coordinate.

    Examples
    --------
    >>> import tsattr as ta
    >>> t = np.arange(100) / 100
    >>> slow, fast = np.cos(2 * np.pi * 3 * (t + 0.005)), np.cos(2 * np.pi * 20 * (t + 0.005))
    >>> x = (slow + fast)[None]
    >>> import xarray as xr
    >>> x = xr.DataArray(x, dims=("sample", "time"), coords={"time": t})
    >>> ds = ta.explain(lambda x: (x * x).sum(1), x, ta.IntegratedGradients(BandStop(2.0, 5.0)))
    >>> ds.attribution.sum().round(6).item()  # the power of what is slow
    50.0
    """

    sentence: ClassVar[str] = "the input without one band of frequencies"
    low: float | None = None
    high: float | None = None
    dim: str = "time"

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"BandStop needs {name} >= 0, a frequency, or None, got {value!r}")
        if self.low is None and self.high is None:
            raise ValueError("BandStop needs low, high or both: the band of frequencies to take out")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"BandStop needs low <= high, got low={self.low!r}, high={self.high!r}")

    def _kept(self, n: int, step: float) -> np.ndarray:
        """True for the frequencies of a mirrored series of n cells that stay."""
        f = np.arange(n + 1) / (2 * n * step)
        # A frequency that is an edge of the band up to rounding is in it.
        margin = 1e-9 / step
        low = -np.inf if self.low is None else self.low - margin
        high = np.inf if self.high is None else self.high + margin
        return (f < low) | (f > high)

    def _bind(self, axes: Axes) -> Full:
        dim = axes.called(self.dim)
        step = even_step(axes, dim)
        lines = _Lines.of(axes, dim)
        n = axes.shape[axes.axis(dim)]
        if n == 1:
            raise ValueError(f"{self!r} takes frequencies out, and dim {dim!r} has one cell, which has none")
        if self._kept(n, step)[:n].all():  # the last, Nyquist, is nothing but 0 in a mirrored series
            raise ValueError(
                f"{self!r} holds no frequency of {n} cells a step of {step:.4g} apart: they are multiples of "
                f"{1 / (2 * n * step):.4g} below {1 / (2 * step):.4g}; widen the band"
            )

        def stopped(series: Tensor, rows: Tensor) -> Tensor:
            n = series.shape[-1]
            kept = torch.as_tensor(self._kept(n, step), device=series.device)
            mirrored = torch.cat([series, series.flip(-1)], -1)
            found: Tensor = torch.fft.irfft(torch.fft.rfft(mirrored) * kept, 2 * n)
            return found[..., :n]

        return Full(lambda x, key: lines.each(x, key, stopped))


@dataclass(frozen=True)
class _Lines:
    """The series of an input along one axis, each over its sample's known stretch, without holes."""

    axis: int
    bridge: Any

    @classmethod
    def of(cls, axes: Axes, dim: str) -> _Lines:
        return cls(1 + axes.axis(dim), Bridge(dim).bind(axes))

    def each(self, x: Tensor, key: Key, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`x` with ``change(series, rows)`` in the place of its series (rows, ..., cells), in float64 meanwhile."""
        missing, whole = torch.isnan(x), x.to(torch.float64)
        whole = self.bridge.fill(whole, missing, key) if missing.any() else whole
        lines = whole.movedim(self.axis, -1)
        known = ~missing.movedim(self.axis, -1).flatten(1, -2).all(1) if x.ndim > 2 else ~missing
        first, last = known.int().argmax(1), known.shape[1] - known.flip(1).int().argmax(1)
        out = torch.zeros_like(lines)
        for start, stop in torch.unique(torch.stack([first, last], 1), dim=0).tolist():
            rows = ((first == start) & (last == stop)).nonzero()[:, 0]
            out[rows, ..., start:stop] = change(lines[rows][..., start:stop], rows)
        return out.movedim(-1, self.axis).to(x.dtype)


def even_step(axes: Axes, dim: str) -> float:
    """The step between the cells of a dim: in s, deg, m or months where its unit is known, else in the coordinate's own.

    NaN where there is one cell, and so no step.
    """
    try:
        where = axes.positions(dim)[0]
    except ValueError:  # no unit is known: frequencies are in cycles per whatever the coordinate counts
        where = axes.line(dim)
    steps = np.diff(where)
    if len(steps) == 0:
        return float("nan")
    if not np.allclose(steps, steps.mean(), rtol=1e-3):
        raise ValueError(
            f"the coordinate of dim {dim!r} is not evenly spaced, as it must be here; interpolate first, or number the "
            f"cells: x.assign_coords({dim}=range(...))"
        )
    return float(steps.mean())
