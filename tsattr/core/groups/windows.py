"""What goes absent together: cells, windows, the entries of a dim, labelled parts such as beats, waves and regions.

A group object is frozen settings; ``bind(axes)`` gives the bound groups with plain arrays, whose verbs are
``mask(position, k)`` (which cells group k of a sample covers), ``count`` (how many cells of a boolean array lie in each
group) and ``spread`` (from a value for each group to the mean over the groups that cover each cell).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..axes import Axes, period_of
from ..bound import BoundGroups, adopted_groups
from ..cf import units_of
from ..units import parse_extent, with_unit_of
from .masks import Boxes as Boxes
from .masks import Intervals as Intervals
from .masks import JoinedGroups as JoinedGroups
from .masks import Parts as Parts
from .masks import boxes

_MOST = 1_000_000  # windows along one dim


class Groups(ABC):
    """Base of groups: frozen settings, bound to an input's axes.

    Attributes
    ----------
    on_command_line
        True where they can be written on the command line: their settings are plain values.
    """

    on_command_line: ClassVar[bool] = True

    @abstractmethod
    def bind(self, axes: Axes) -> BoundGroups:
        """The groups as plain arrays for an input with these axes."""


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
            return _whole(axes.shape[axes.axis(dim)])
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


def _fits(axes: Axes, dim: str, size: str) -> bool:
    try:
        axes.extent(dim, size)
    except ValueError:
        return False
    return True


def _whole(n: int) -> Intervals:
    return Intervals(np.array([0]), np.array([n]), n)


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
        return _whole(n)
    at = _starts(n - 1e-6 * hop, hop, step, dim)
    start, stop = np.unique(np.ceil(np.stack([at, at + width]) - 1e-6).astype(np.int64), axis=1)
    return Intervals(first + start, first + (np.minimum(stop, n) if hop == width else stop), n)


def _first(axes: Axes, dim: str) -> int:
    """The cell of a periodic dim nearest after 0 of its coordinate."""
    coord = np.asarray(axes.coords[dim], np.float64)
    return int(np.argmin(np.round(coord / period_of(coord) * len(coord), 4) % len(coord)))


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
            tuple(_each(axes, d) if d in self.dims else _whole(n) for d, n in zip(axes.dims, axes.shape)),
        )


@dataclass(frozen=True)
class Labelled(Groups):
    """One group for each label: beats, waves, regions, seasons.

    Parameters
    ----------
    labels
        An integer, boolean or string DataArray over some of the input's dims; with the sample dim, each sample has its
        own. Every label is a group (0 too), named by CF ``flag_meanings`` if the array has them. Cells labelled NaN, None,
        "" or by a negative number are in no group: they are never removed and their attribution is NaN.
    """

    on_command_line: ClassVar[bool] = False
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


def bind(groups: Any, axes: Axes) -> BoundGroups:
    """The bound form of a groups object of any class, or what is bound already; a DataArray of labels is taken for `Labelled`."""
    if isinstance(groups, BoundGroups):
        return groups
    if hasattr(groups, "dims") and hasattr(groups, "coords"):
        groups = Labelled(groups)
    if isinstance(groups, type):
        raise TypeError(f"groups are an object with its settings: {groups.__name__}(...), not the class")
    if not hasattr(groups, "bind"):  # of any class: what it gives is adopted
        raise TypeError(
            f"groups are an object of tsattr.groups, such as Windows(time='200ms') or Along('lead'), got {groups!r}"
        )
    return adopted_groups(groups.bind(axes), axes)


def whole(axes: Axes) -> Boxes:
    """One group of everything."""
    return boxes(axes, tuple(_whole(n) for n in axes.shape))


def split(
    groups: Any, ds: Any, dim: str = "time", *, threshold: float, least: int = 1, most: int | None = None
) -> Labelled:
    """Windows of each sample's own: those whose value passes a threshold are halved, the others stay.

    For use in a loop that looks closer where it matters, as WindowSHAP's dynamic windows do (Nayebi et al., 2023): explain
    with a few long windows, split, explain with the result, until nothing is split any more (the result equals what went
    in). The windows always tile the dim, so that Shapley values over them sum to f(x) - f(x') in every round.

    Parameters
    ----------
    groups
        What `ds` was made with: ``Windows`` along `dim` alone that do not overlap, or what this function returned.
    ds
        The result of `explain`; its ``group_value`` is read, of several targets the largest by size.
    dim
        The dim along which the windows lie.
    threshold
        A window is halved where ``|group_value| > threshold``, in the units of the target.
    least
        The fewest cells of a window: one of fewer than ``2 * least`` stays whole.
    most
        The most windows of a sample; those with the largest values are halved first.

    Returns
    -------
    Labelled
        Each cell labelled by the first cell of its window, which names it: a window keeps its label while it stays, and its
        first half has it after that.

    Raises
    ------
    KeyError, ValueError
        No ``group_value`` or `dim` in `ds`; groups that overlap, have gaps, or vary along another dim.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f, x = lambda x: x[:, 5], torch.ones(1, 8)
    >>> windows = ta.groups.Windows(dim_1=4)
    >>> for _ in range(2):
    ...     ds = ta.explain(f, x, ta.KernelShap(windows))
    ...     windows = ta.groups.split(windows, ds, "dim_1", threshold=0.1)
    >>> windows.labels.values.tolist()
    [[0, 0, 0, 0, 4, 5, 6, 6]]
    """
    if "group_value" not in ds:
        raise KeyError("split reads the variable 'group_value' of a result of explain; ds has none")
    value = ds["group_value"]
    sample = str(ds["status"].dims[0])
    size = abs(value).max("target") if "target" in value.dims else abs(value)
    number = _windows_along(groups, _axes_of(ds, sample), dim)
    number = np.broadcast_to(number, (ds.sizes[sample], number.shape[1]))
    label = np.stack(
        [
            _halved(row, worth, threshold, least, most)
            for row, worth in zip(number, size.transpose(sample, "group").values)
        ]
    )
    coords = {d: np.asarray(ds[d].values) for d in (sample, dim) if d in ds.coords}
    return Labelled(Array(label, (sample, dim), coords))


def _axes_of(ds: Any, sample: str) -> Axes:
    """The axes of the input that a result explains."""
    if "attribution" not in ds:
        raise KeyError("split works on the result for an input of one variable, with a variable 'attribution'")
    a = ds["attribution"]
    dims = tuple(str(d) for d in a.dims if d not in (sample, "target"))
    coords = {d: a[d].values for d in dims if d in a.coords}
    units = units_of(a)
    own = a[sample].values if sample in a.coords else None
    return Axes(dims, tuple(a.sizes[d] for d in dims), coords, units, sample, a.sizes[sample], own)


def _windows_along(groups: Any, axes: Axes, dim: str) -> np.ndarray:
    """(samples or 1, n): the number of the group of each cell along `dim`; ValueError unless they are windows that tile it."""
    at, bound, fits = axes.axis(dim), bind(groups, axes), False
    if isinstance(bound, Boxes):
        own = bound.along[at]
        number = (np.searchsorted(own.start, np.arange(own.size), side="right") - 1)[None]
        fits = all(a.whole for b, a in enumerate(bound.along) if b != at) and not own.circular
        fits = fits and (own.start[1:] == own.stop[:-1]).all()
    elif isinstance(bound, Parts):
        label = np.moveaxis(bound.label, 1 + at, -1)
        number = label.reshape(len(label), -1, label.shape[-1])[:, 0]
        fits = label.size == number.size and number.shape[1] == axes.shape[at] and bool((number >= 0).all())
        fits = fits and all(len(np.unique(row)) == 1 + (np.diff(row) != 0).sum() for row in number)
    if not fits:
        raise ValueError(
            f"split halves windows along {dim!r} alone that neither overlap nor leave gaps, got {groups!r}"
        )
    return number


def _halved(number: np.ndarray, worth: np.ndarray, threshold: float, least: int, most: int | None) -> np.ndarray:
    """The first cell of each cell's window, after the windows above the threshold were halved."""
    n = len(number)
    start = np.flatnonzero(np.r_[True, np.diff(number) != 0])
    size = np.diff(np.r_[start, n])
    mine = worth[number[start]]
    open_ = np.flatnonzero((mine > threshold) & (size >= 2 * least))
    first = open_[np.argsort(-mine[open_], kind="stable")]
    chosen = first if most is None else first[: max(0, most - len(start))]
    start = np.sort(np.r_[start, start[chosen] + size[chosen] // 2])
    return start[np.searchsorted(start, np.arange(n), side="right") - 1]
