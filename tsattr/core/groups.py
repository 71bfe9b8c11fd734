"""What goes absent together: cells, windows, the entries of a dim, labelled parts such as beats, waves and regions.

A group object is frozen settings; ``bind(axes)`` gives the bound groups with plain arrays, whose verbs are
``mask(position, k)`` (which cells group k of a sample covers), ``count`` (how many cells of a boolean array lie in each
group) and ``spread`` (from a value for each group to the mean over the groups that cover each cell).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .axes import Array, Axes, parse_extent, with_unit_of
from .masks import Bound as Bound
from .masks import Boxes as Boxes
from .masks import Intervals as Intervals
from .masks import Joined as Joined
from .masks import Parts as Parts
from .masks import boxes


@dataclass(frozen=True, init=False)
class Windows:
    """Windows along the named dims; a dim that is not named is taken whole.

    ``Windows(time="200ms", step="100ms", lead=1)``: an int counts cells, a string with a unit is an extent along the
    coordinate. Windows start at 0, step, 2 step, ... and end with the first that reaches the end of the dim, cut short
    there if it must be. None wraps and none leaves a cell out.

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
        along = tuple(
            _intervals(axes, d, sizes[d], steps[d]) if d in sizes else _whole(n) for d, n in zip(axes.dims, axes.shape)
        )
        return boxes(axes, along)

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


def _fits(axes: Axes, dim: str, size: str) -> bool:
    try:
        axes.extent(dim, size)
    except ValueError:
        return False
    return True


def _whole(n: int) -> Intervals:
    return Intervals(np.array([0]), np.array([n]), n)


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
    at = np.arange(math.ceil(max(end - width - eps, 0) / hop) + 1) * hop
    start = np.searchsorted(p - p[0], at - eps)
    stop = np.searchsorted(p - p[0], at + width - eps)
    keep = stop > start  # a gap of the coordinate may leave a window without cells
    start, stop = start[keep], stop[keep]
    distinct = np.r_[True, (np.diff(start) > 0) | (np.diff(stop) > 0)]
    return Intervals(start[distinct], stop[distinct], n)


@dataclass(frozen=True)
class Cells:
    """Every cell by itself."""

    def bind(self, axes: Axes) -> Boxes:
        """One box a cell."""
        return boxes(axes, tuple(_intervals(axes, d, 1, 1) for d in axes.dims))


@dataclass(frozen=True, init=False)
class Along:
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
            tuple(_intervals(axes, d, 1, 1) if d in self.dims else _whole(n) for d, n in zip(axes.dims, axes.shape)),
        )


@dataclass(frozen=True)
class Labelled:
    """One group for each label: beats, waves, regions, seasons.

    Parameters
    ----------
    labels
        An integer, boolean or string DataArray over some of the input's dims; with the sample dim, each sample has its
        own. Every label is a group (0 too), named by CF ``flag_meanings`` if the array has them. Cells labelled NaN, None,
        "" or by a negative number are in no group: they are never removed and their attribution is NaN.
    """

    labels: Any
    meanings: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.labels, Array):
            attrs = getattr(self.labels, "attrs", {})
            values, names = attrs.get("flag_values"), attrs.get("flag_meanings")
            if values is not None and names is not None:
                flags = zip((int(v) for v in np.atleast_1d(values)), str(names).split())
                object.__setattr__(self, "meanings", tuple(flags))
            object.__setattr__(self, "labels", Array.of(self.labels))
        if self.labels.dims is None:
            raise TypeError("Labelled needs labels with dims: an xarray.DataArray over some of the input's dims")

    def bind(self, axes: Axes) -> Parts:
        """Labels numbered 0, 1, ... in sorted order."""
        v = axes.align(self.labels, "the array of Labelled")
        if v.dtype.kind == "f":
            none = np.isnan(v) | (v < 0)
            if (v[~none] % 1 != 0).any():
                raise TypeError("labels are integers or strings, got fractional numbers")
        elif v.dtype.kind in "biu":
            none = v < 0
        else:
            none = np.frompyfunc(lambda s: s is None or s == "" or s != s, 1, 1)(v).astype(bool)
        kept = v[~none]
        if kept.size == 0:
            raise ValueError("no cell has a label: nothing to remove")
        levels = np.unique(kept)
        label = np.full(v.shape, -1, np.int64)
        label[~none] = np.searchsorted(levels, kept)
        meanings = dict(self.meanings)
        return Parts(label, [_text(u, meanings) for u in levels.tolist()])


def _text(level: Any, meanings: dict[int, str]) -> str:
    if isinstance(level, float):
        level = int(level)
    return meanings.get(level, str(level)) if isinstance(level, int) else str(level)


def bind(groups: Any, axes: Axes) -> Any:
    """The bound form of a groups object; a DataArray of labels is taken for `Labelled`."""
    if hasattr(groups, "dims") and hasattr(groups, "coords"):
        groups = Labelled(groups)
    if isinstance(groups, type):
        raise TypeError(f"groups are an object with its settings: {groups.__name__}(...), not the class")
    if not hasattr(groups, "bind"):
        raise TypeError(
            f"groups are an object of tsattr.groups, such as Windows(time='200ms') or Along('lead'), got {groups!r}"
        )
    return groups.bind(axes)


def whole(axes: Axes) -> Boxes:
    """One group of everything."""
    return boxes(axes, tuple(_whole(n) for n in axes.shape))
