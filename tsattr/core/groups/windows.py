"""Groups that are boxes: cells, windows along some dims, the entries of a dim."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..axes import Axes, period_of
from ..units import parse_extent, with_unit_of
from .masks import Boxes, Groups, Intervals, boxes

_MOST = 1_000_000  # windows along one dim


@dataclass(frozen=True, init=False)
class Windows(Groups):
    """Windows along the named dims; a dim that is not named is taken whole.

    ``Windows(time="200ms", step="100ms", lead=1)``: an int counts cells, a string with a unit is an extent along the
    coordinate. Windows start at 0, step, 2 step, ... and end with the first that reaches the end of the dim, cut
    short there if it must be; they count from the low end of a coordinate of numbers or dates, whichever way it is
    stored. None leaves a cell out and none wraps, except along a dim that is periodic (a full circle of longitude, or
    a coordinate whose `modulo` attribute is its span): there they start at the cell nearest after 0 of the
    coordinate, wherever the grid is cut, one every step of one whole turn; without overlap the last ends where the
    first starts.

    Parameters
    ----------
    step
        Distance between starts, by default the size. One value holds for every named dim whose windows are longer than
        one cell (a string: for those whose coordinate has such a unit); a mapping names the dims.
    **size
        Size along each dim.

    Raises
    ------
    KeyError, ValueError
        At the call: a dim the input lacks, a window longer than the dim or shorter than its spacing, a step longer than
        the window (cells would stay unseen), a unit the coordinate lacks.

    Examples
    --------
    >>> Windows(time="200ms", lead=1)
    Windows(time='200ms', lead=1)
    """

    size: tuple[tuple[str, int | str], ...]
    step: Any = None

    def __init__(self, step: Any = None, **size: int | str) -> None:
        if not size:
            raise ValueError("Windows needs a size along at least one dim, like Windows(time='200ms')")
        object.__setattr__(self, "size", tuple(size.items()))
        object.__setattr__(self, "step", tuple(step.items()) if isinstance(step, dict) else step)

    def __repr__(self) -> str:
        step = dict(self.step) if isinstance(self.step, tuple) else self.step
        sizes = ", ".join(f"{d}={s!r}" for d, s in self.size)
        return f"Windows({sizes})" if step is None else f"Windows({sizes}, step={step!r})"

    def bind(self, axes: Axes) -> Boxes:
        """Windows as starts and stops along each dim."""
        for d, _ in self.size:
            axes.axis(d)
        sizes = dict(self.size)
        steps = sizes | self._steps(axes)
        return boxes(axes, tuple(self._along(axes, d, sizes, steps) for d in axes.dims))

    @staticmethod
    def _along(axes: Axes, dim: str, sizes: dict[str, int | str], steps: dict[str, int | str]) -> Intervals:
        if dim not in sizes:
            return Intervals.of_all(axes.shape[axes.axis(dim)])
        found = _line(axes, dim, sizes[dim], steps[dim])  # for a circle too: it checks the sizes
        return _circle(axes, dim, sizes[dim], steps[dim]) if dim in axes.periodic else found

    def _steps(self, axes: Axes) -> dict[str, int | str]:
        """The steps that were given, by dim."""
        if self.step is None:
            return {}
        if isinstance(self.step, tuple):
            unknown = [d for d, _ in self.step if d not in dict(self.size)]
            if unknown:
                raise KeyError(
                    f"Windows has a step along {unknown[0]!r} but no size; name it: Windows({unknown[0]}=...)"
                )
            return dict(self.step)
        longer = [d for d, size in self.size if size != 1] or [d for d, _ in self.size]
        if isinstance(self.step, str) and len(longer) > 1:
            parse_extent(self.step)
            fits = [d for d in longer if _fits(axes, d, self.step)]
            if not fits:
                raise ValueError(
                    f"step {self.step!r} is no size along any of the dims {longer}; name its dim, step={{{longer[0]!r}: ...}}"
                )
            longer = fits
        return dict.fromkeys(longer, self.step)


@dataclass(frozen=True)
class Cells(Groups):
    """Every cell by itself."""

    def bind(self, axes: Axes) -> Boxes:
        """One box a cell."""
        return boxes(axes, tuple(_each(axes, d) for d in axes.dims))


@dataclass(frozen=True, init=False)
class Along(Groups):
    """One group for each coordinate value of a dim (or each combination of several): ``Along("lead")``."""

    dims: tuple[str, ...]

    def __init__(self, *dims: str) -> None:
        if not dims:
            raise ValueError("Along needs at least one dim, like Along('lead')")
        object.__setattr__(self, "dims", dims)

    def __repr__(self) -> str:
        return f"Along({', '.join(map(repr, self.dims))})"

    def bind(self, axes: Axes) -> Boxes:
        """One box for each entry."""
        for d in self.dims:
            axes.axis(d)
        return boxes(
            axes,
            tuple(_each(axes, d) if d in self.dims else Intervals.of_all(n) for d, n in zip(axes.dims, axes.shape)),
        )


def _fits(axes: Axes, dim: str, size: str) -> bool:
    try:
        axes.extent(dim, size)
    except ValueError:
        return False
    return True


def _line(axes: Axes, dim: str, size: int | str, step: int | str) -> Intervals:
    """Windows along a dim from the low end of its coordinate, whichever way it is stored."""
    if not axes.descends(dim):
        return _intervals(axes, dim, size, step)
    up = _intervals(replace(axes, coords={**axes.coords, dim: axes.coords[dim][::-1]}), dim, size, step)
    start, stop = ((up.size - ends)[::-1].copy() for ends in (up.stop, up.start))
    return Intervals(start, stop, up.size, down=True)


def _each(axes: Axes, dim: str) -> Intervals:
    """Every cell of a dim by itself."""
    found = _line(axes, dim, 1, 1)
    return replace(found, first=_first(axes, dim)) if dim in axes.periodic else found


def _intervals(axes: Axes, dim: str, size: int | str, step: int | str) -> Intervals:
    n = axes.shape[axes.axis(dim)]
    for name, value in (("size", size), ("step", step)):
        if isinstance(value, str):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(
                f"a window's {name} along {dim!r} is a number of cells >= 1 or a string like '200ms', got {value!r}"
            )
    if not isinstance(size, str) and not isinstance(step, str):
        if size > n:
            raise ValueError(f"a window of {size} cells is longer than dim {dim!r}, which has {n}")
        if step > size:
            raise ValueError(
                f"step {step} along {dim!r} is longer than the window {size}: cells between would stay unseen"
            )
        start = np.arange(0, max(n - size, 0) + step, step)
        return Intervals(start, np.minimum(start + size, n), n)
    if isinstance(size, str) != isinstance(step, str):
        # One of them in cells: an evenly spaced coordinate turns the other into cells as well.
        cells = [max(1, round(axes.cells(dim, v))) for v in (size, step)]
        return _intervals(axes, dim, cells[0], cells[1])
    width, p = axes.extent(dim, str(size))
    hop, _ = axes.extent(dim, str(step))
    gap = float(np.median(np.diff(p))) if n > 1 else width
    end, eps = float(p[-1] - p[0]) + gap, 1e-6 * gap
    if width > end + eps:
        raise ValueError(f"a window of {size!r} is longer than dim {dim!r}, which spans {with_unit_of(end, str(size))}")
    if width < gap - eps:
        raise ValueError(
            f"a window of {size!r} is shorter than the spacing of dim {dim!r}, {with_unit_of(gap, str(size))}"
        )
    if hop > width + eps:
        raise ValueError(
            f"step {step!r} along {dim!r} is longer than the window {size!r}: cells between would stay unseen"
        )
    at = _starts(max(end - width - eps, 0), hop, step, dim, last=1)
    start = np.searchsorted(p - p[0], at - eps)
    stop = np.searchsorted(p - p[0], at + width - eps)
    keep = stop > start  # a gap of the coordinate may leave a window without cells
    start, stop = start[keep], stop[keep]
    distinct = np.r_[True, (np.diff(start) > 0) | (np.diff(stop) > 0)]
    return Intervals(start[distinct], stop[distinct], n)


def _starts(length: float, hop: float, step: int | str, dim: str, last: int = 0) -> np.ndarray:
    """Where windows start: 0, hop, 2 hop, ... below `length`, and `last` more."""
    if hop <= 0 or not length / hop < _MOST:
        many = "no end of" if hop <= 0 else f"{length / hop:.3g}"
        raise ValueError(f"step {step!r} makes {many} windows along {dim!r}, more than {_MOST}; give a longer step")
    return np.arange(math.ceil(length / hop) + last) * hop


def _circle(axes: Axes, dim: str, size: int | str, step: int | str) -> Intervals:
    """Windows round a periodic dim, from the cell nearest after 0 of its coordinate on."""
    n, first = axes.shape[axes.axis(dim)], _first(axes, dim)
    width, hop = (axes.cells(dim, v) for v in (size, step))
    if width > n - 1e-6:  # wherever it starts
        return Intervals.of_all(n)
    at = _starts(n - 1e-6 * hop, hop, step, dim)
    start, stop = np.unique(np.ceil(np.stack([at, at + width]) - 1e-6).astype(np.int64), axis=1)
    return Intervals(first + start, first + (np.minimum(stop, n) if hop == width else stop), n)


def _first(axes: Axes, dim: str) -> int:
    """The cell of a periodic dim nearest after 0 of its coordinate."""
    coord = np.asarray(axes.coords[dim], np.float64)
    return int(np.argmin(np.round(coord / period_of(coord) * len(coord), 4) % len(coord)))
