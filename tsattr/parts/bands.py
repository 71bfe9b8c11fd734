"""Frequency bands and octaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.results import check_choice, check_count
from ..core.units import parse_extent
from .summing import (
    BRIDGED,
    PART,
    REST,
    applied,
    axes_of,
    bridged,
    near_ends,
    period_of,
    step_of,
    summing,
    unit_of_frequency,
)

ENDS = {
    "mirrored": "beyond its ends the series goes on as its mirror image",
    "periodic": "after its end the series goes on as from its start",
}


def bands(
    x: xr.DataArray,
    limits: Sequence[tuple[float | str | None, float | str | None]],
    dim: str = "time",
    *,
    ends: str = "mirrored",
    sample_dim: str = "sample",
) -> xr.DataArray:
    """A signal as the sum of bands of frequencies, without any shift of phase, and of the rest.

    The Fourier transform of the series is divided: each frequency belongs to the band with ``low <= f < high``. So parts
    are orthogonal, and a filter that passes a band alone gives everything to that band (Parseval).

    Parameters
    ----------
    x
        The signal, evenly spaced along `dim`; with a sample dim as for `tsattr.explain`.
    limits
        Pairs (low, high): numbers are frequencies, in Hz along a time, else in cycles per month (of dates that step by whole
        months too), degree, metre, unit of the coordinate, or cell where there is no coordinate. Texts with a unit are periods,
        ``("2 years", "7 years")``; along other dates a year is that of the calendar in the mean. None: no limit on that side, as
        in ``(None, "8 years")``, all that is slower, the mean included, and ``("9 months", None)``, all that is faster. Parts are
        named by their limits: by periods, all of them, where one is given.
    dim
        The dim it works along.
    ends
        "mirrored": the series goes on as its mirror image at both ends, so that unlike ends make no jump. "periodic": it goes on as
        from its start; the parts are those of the plain discrete Fourier transform.

    Returns
    -------
    xr.DataArray
        `x` with the dim ``part``, whose attribute ``assumes`` says what is taken for what is not known. The coordinate ``edge`` is
        True for cells within one period of the band's lowest frequency (half a series, at most) of an end or of a missing cell,
        where that tells; its dims are (part, dim), or those of the parts where there are missing cells.

    Raises
    ------
    ValueError
        Bands that overlap, run downwards or hold no frequency of the series; an uneven coordinate.

    Examples
    --------
    >>> x = xr.DataArray([[1.0, 2.0, 4.0, 1.0]], dims=("sample", "time"), coords={"time": [0.0, 0.1, 0.2, 0.3]})
    >>> parts = bands(x, [(0, 2.0)])
    >>> parts.part.values.tolist(), bool((abs(parts.sum("part") - x) < 1e-12).all())
    (['0-2 Hz', 'rest'], True)
    """
    check_choice("ends", ends, tuple(ENDS))
    axes = axes_of(x, sample_dim, dim)
    dim = axes.called(dim)
    step, n = step_of(axes, dim), axes.shape[axes.axis(dim)]
    periods = 2 * n if ends == "mirrored" else n
    frequency = np.arange(periods // 2 + 1) / (periods * step)
    cuts = [_frequencies(axes, dim, pair) for pair in _pairs(limits)]
    _check_bands(cuts, frequency)
    margin = 1e-9 / step  # a frequency that is a limit up to rounding is on its upper side
    kept = [(frequency >= low - margin) & (frequency < high - margin) for low, high in cuts]
    for pair, inside in zip(limits, kept):
        if not inside[:n].any():
            raise ValueError(
                f"the band {pair!r} holds no frequency of {n} cells {step:.4g} apart: they are multiples of {frequency[1]:.4g} up "
                f"to {frequency[-1]:.4g}; widen it"
            )

    def of(inside: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def part(series: np.ndarray) -> np.ndarray:
            whole = np.concatenate([series, series[..., ::-1]], -1) if ends == "mirrored" else series
            return np.fft.irfft(np.fft.rfft(whole) * inside, periods)[..., :n]

        return part

    names = [_name(pair, unit_of_frequency(axes, dim)) for pair in _in_one_language(axes, dim, limits)]
    series = bridged(x, dim)
    found = {name: applied(of(inside), series, over=[[dim]], gives=[dim]) for name, inside in zip(_unlike(names), kept)}
    lowest = [low for low, _ in cuts]
    near = near_ends(x, dim, [n / 2 if low <= 0 else min(n / 2, 1 / (low * step)) for low in lowest])
    return summing(x, found, sample_dim, what="band of frequencies", assumes=f"{ENDS[ends]}; {BRIDGED}", near=near)


def octaves(
    x: xr.DataArray, number: int = 5, dim: str = "time", *, ends: str = "mirrored", sample_dim: str = "sample"
) -> xr.DataArray:
    """A signal as octaves below the Nyquist frequency, each half as wide as the one above, and the rest below them.

    Octave k of N holds ``f_max / 2^k <= f < f_max / 2^(k-1)`` with f_max half the sampling rate, which belongs to the first.
    See :func:`bands`, whose arguments the others are.

    Parameters
    ----------
    number
        How many octaves.

    Examples
    --------
    >>> x = xr.DataArray(np.ones((1, 32)), dims=("sample", "time"), coords={"time": np.arange(32) / 100})
    >>> octaves(x, 2).part.values.tolist()
    ['25-50 Hz', '12.5-25 Hz', 'rest']
    """
    check_count("number", number)
    axes = axes_of(x, sample_dim, dim)
    top = 1 / (2 * step_of(axes, axes.called(dim)))
    limits = [(top / 2**k, top / 2 ** (k - 1)) for k in range(1, number + 1)]
    out = bands(x, [(limits[0][0], None), *limits[1:]], dim, ends=ends, sample_dim=sample_dim)
    unit = unit_of_frequency(axes, axes.called(dim))
    return out.assign_coords({PART: (PART, [*(_name(pair, unit) for pair in limits), REST], out[PART].attrs)})


def _pairs(limits: Any) -> list[Any]:
    """The limits as a list; TypeError where they are no list of pairs."""
    if (
        isinstance(limits, str)
        or not isinstance(limits, Iterable)
        or any(not isinstance(v, tuple | list) for v in limits)
    ):
        raise TypeError(f"limits is a list of pairs (low, high), as [(0.5, 5), (5, 15)], got {limits!r}")
    return list(limits)


def _frequencies(axes: Axes, dim: str, pair: tuple[Any, Any]) -> tuple[float, float]:
    """Low and high of a band, as frequencies."""
    if len(pair) != 2:
        raise ValueError(f"a band is a pair (low, high), got {pair!r}")
    found = [1 / period_of(axes, dim, v) if isinstance(v, str) else v for v in pair]
    if None not in found and any(isinstance(v, str) for v in pair):
        found = sorted(found)
    low, high = found
    return 0.0 if low is None else float(low), np.inf if high is None else float(high)


def _check_bands(cuts: Sequence[tuple[float, float]], frequency: np.ndarray) -> None:
    if not cuts:
        raise ValueError("no bands are given; give limits=[(low, high), ...]")
    for low, high in cuts:
        if not 0 <= low < high:
            raise ValueError(f"a band runs from a frequency of 0 or more upwards, got ({low:g}, {high:g})")
    ordered = sorted(cuts)
    for (low, high), (after, top) in itertools.pairwise(ordered):
        if after < high * (1 - 1e-9):
            raise ValueError(
                f"the bands ({low:g}, {high:g}) and ({after:g}, {top:g}) overlap; a frequency belongs to one part"
            )


def _in_one_language(axes: Axes, dim: str, limits: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The limits, with frequencies written as periods where some are, in the unit of the first of them."""
    texts = [v for pair in limits for v in pair if isinstance(v, str)]
    if not texts:
        return list(limits)
    unit = parse_extent(texts[0])[1]
    one = period_of(axes, dim, f"1 {unit}")

    def period(v: Any) -> str | None:
        return v if isinstance(v, str) else f"{1 / (v * one):.4g} {unit}" if v else None

    return [(period(low), period(high)) for low, high in limits]


def _name(pair: tuple[Any, Any], unit: str) -> str:
    low, high = (f"{v:.4g}" if isinstance(v, int | float) else v for v in pair)
    periods = any(isinstance(v, str) for v in pair)
    unit = "" if periods else unit
    if low is None and high is None:
        return "all"
    if low is None or high is None:
        slow, fast = ("over", "under") if periods else ("below", "from")
        return f"{slow} {high}{unit}" if low is None else f"{fast} {low}{unit}"
    return f"{low}-{high}{unit}"


def _unlike(names: list[str]) -> list[str]:
    """Names, numbered where one occurs twice."""
    return [f"{name} ({k})" if names.count(name) > 1 else name for k, name in enumerate(names)]
