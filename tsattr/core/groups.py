"""What goes absent together: cells, windows, the entries of a dim, labelled parts such as beats, waves and regions.

A group object is frozen settings; ``bind(axes)`` gives the bound groups with plain arrays, whose verbs are
``mask(position, k)`` (which cells group k of a sample covers), ``count`` (how many cells of a boolean array lie in each
group) and ``spread`` (from a value for each group to the mean over the groups that cover each cell).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .axes import Array, Axes, parse_extent


class Bound(Protocol):
    """Groups as plain arrays for one input's axes."""

    names: list[str]

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event) or broadcasting to it: True in group ``k[r]`` of the sample at ``position[r]``."""
        ...

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups): how many of the True cells (rows, *event) lie in each group."""
        ...

    def spread(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., *event): each cell's mean over the groups that cover it, NaN for none."""
        ...


@dataclass(frozen=True)
class Intervals:
    """Windows along one dim: sorted starts and stops that leave no cell out; `whole` where there is only one."""

    start: np.ndarray
    stop: np.ndarray
    size: int

    @property
    def whole(self) -> bool:
        """True where one window covers the dim."""
        return len(self.start) == 1

    def first_last(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last window that covers each cell."""
        cells = np.arange(self.size)
        first = np.searchsorted(self.stop, cells, side="right")
        return first, np.searchsorted(self.start, cells, side="right") - 1


@dataclass(frozen=True)
class Boxes:
    """The product of windows along each dim, numbered in the order of the dims, the last one fastest."""

    dims: tuple[str, ...]
    along: tuple[Intervals, ...]
    names: list[str] = field(compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of windows along each dim."""
        return tuple(len(a.start) for a in self.along)

    def box(self, k: int) -> dict[str, tuple[int, int]]:
        """Start and size of group k along each dim."""
        at = np.unravel_index(k, self.shape)
        return {
            d: (int(a.start[j]), int(a.stop[j] - a.start[j])) for d, a, j in zip(self.dims, self.along, at, strict=True)
        }

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event), of size 1 along dims that are taken whole."""
        out = torch.ones((len(k),) + (1,) * len(self.along), dtype=torch.bool, device=k.device)
        for axis, (a, j) in enumerate(zip(self.along, _unravel(k, self.shape))):
            if not a.whole:
                cells = torch.arange(a.size, device=k.device)
                start, stop = (torch.as_tensor(v, device=k.device)[j, None] for v in (a.start, a.stop))
                inside = (cells >= start) & (cells < stop)
                out = out & inside.reshape([len(k)] + [a.size if b == axis else 1 for b in range(len(self.along))])
        return out

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups), by differences of running sums."""
        total = cells.to(torch.int64)
        for axis, a in enumerate(self.along, start=1):
            running = torch.nn.functional.pad(total.movedim(axis, -1).cumsum(-1), (1, 0))
            start, stop = (torch.as_tensor(v, device=cells.device) for v in (a.start, a.stop))
            total = (running[..., stop] - running[..., start]).movedim(-1, axis)
        return total.reshape(len(total), -1)

    def spread(self, values: Tensor, position: Tensor) -> Tensor:
        """Means over covering windows, dim by dim: a window's cover is a product too."""
        lead = values.ndim - 1
        out = values.reshape(*values.shape[:-1], *self.shape)
        for axis, a in enumerate(self.along, start=lead):
            first, last = (torch.as_tensor(v, device=values.device) for v in a.first_last())
            depth = int((last - first).max()) + 1
            total = out.index_select(axis, first)
            for more in range(1, depth):
                covered = (first + more <= last).reshape([-1 if b == axis else 1 for b in range(out.ndim)])
                total = total + torch.where(covered, out.index_select(axis, torch.minimum(first + more, last)), 0)
            cover = (last - first + 1).to(out.dtype).reshape([-1 if b == axis else 1 for b in range(out.ndim)])
            out = total / cover if depth > 1 else total
        return out


@dataclass(frozen=True)
class Parts:
    """Groups given by an integer label for each cell, -1 for a cell in no group; shared or one array per sample."""

    label: np.ndarray  # (samples or 1, *event), 1 along dims the labels do not vary with
    names: list[str] = field(compare=False)

    def _of(self, position: Tensor) -> Tensor:
        rows = self.label if len(self.label) == 1 else self.label[position.cpu().numpy()]
        return torch.as_tensor(rows, device=position.device)

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event), of size 1 along dims the labels do not vary with."""
        label = self._of(position)
        return label == k.reshape([-1] + [1] * (label.ndim - 1))

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups)."""
        label = self._of(position).expand_as(cells).reshape(len(cells), -1)
        out = torch.zeros(len(cells), len(self.names) + 1, dtype=torch.int64, device=cells.device)
        return out.scatter_add_(1, label + 1, cells.reshape(len(cells), -1).to(torch.int64))[:, 1:]

    def spread(self, values: Tensor, position: Tensor) -> Tensor:
        """Each cell its group's value; NaN for a cell in no group."""
        label = self._of(position)
        label = label.expand(len(values), *label.shape[1:])
        inner = (1,) * (values.ndim - 2)
        index = (label + 1).reshape(len(values), *inner, -1).expand(*values.shape[:-1], -1)
        out = torch.nn.functional.pad(values, (1, 0), value=float("nan")).gather(-1, index)
        return out.reshape(*values.shape[:-1], *label.shape[1:])


def _unravel(k: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    out = []
    for n in reversed(shape):
        out.append(k % n)
        k = torch.div(k, n, rounding_mode="floor")
    return out[::-1]


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
        raise ValueError(f"a window of {size!r} is longer than dim {dim!r}, which spans {_like(end, str(size))}")
    if width < gap - eps:
        raise ValueError(f"a window of {size!r} is shorter than the spacing of dim {dim!r}, {_like(gap, str(size))}")
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


def _like(value: float, example: str) -> str:
    """A number in a kind's own unit, written in the unit of `example`."""
    from .axes import _UNITS

    unit = parse_extent(example)[1]
    return f"{value / _UNITS[unit][1]:.6g} {unit}"


def boxes(axes: Axes, along: tuple[Intervals, ...]) -> Boxes:
    """Boxes with a readable name for each: 'lead=V2, time=0.2..0.39'."""
    parts: list[list[str]] = [[]]
    labels = []
    for d, a in zip(axes.dims, along):
        if not a.whole or a.size == 1:
            c = axes.coords.get(d, np.arange(a.size))
            labels.append([_name(d, c, int(s), int(e)) for s, e in zip(a.start, a.stop)])
    if len(labels) == 1:
        names = [label.split("=", 1)[1] if ".." not in label else label for label in labels[0]]
    else:
        for column in labels:
            parts = [[*row, label] for row in parts for label in column]
        names = [", ".join(row) or "all" for row in parts]
    return Boxes(axes.dims, along, names)


def _name(dim: str, coord: np.ndarray, start: int, stop: int) -> str:
    def text(v: Any) -> str:
        return f"{v:.6g}" if isinstance(v, float | np.floating) else str(v)

    first = text(coord[start])
    return f"{dim}={first}" if stop - start == 1 else f"{dim}={first}..{text(coord[stop - 1])}"


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
        levels = sorted(set(kept.tolist()))
        number = {level: i for i, level in enumerate(levels)}
        label = np.full(v.shape, -1, np.int64)
        label[~none] = [number[u] for u in kept.tolist()]
        meanings = dict(self.meanings)
        return Parts(label, [_text(u, meanings) for u in levels])


def _text(level: Any, meanings: dict[int, str]) -> str:
    if isinstance(level, float):
        level = int(level)
    return meanings.get(level, str(level)) if isinstance(level, int) else str(level)


@dataclass(frozen=True)
class Joined:
    """Bound groups of several variables that lie side by side in one flat event, numbered one after another."""

    parts: tuple[tuple[slice, tuple[int, ...], Any], ...]
    names: list[str] = field(compare=False)

    @property
    def _offsets(self) -> list[int]:
        return np.cumsum([0] + [len(g.names) for *_, g in self.parts]).tolist()

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, cells)."""
        out = torch.zeros(len(k), self.parts[-1][0].stop, dtype=torch.bool, device=k.device)
        for (at, shape, g), first in zip(self.parts, self._offsets):
            mine = (k >= first) & (k < first + len(g.names))
            if mine.any():
                m = g.mask(position[mine], k[mine] - first)
                out[mine, at] = m.expand(-1, *shape).reshape(len(m), -1)
        return out

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups)."""
        return torch.cat([g.count(cells[:, at].reshape(-1, *shape), position) for at, shape, g in self.parts], 1)

    def spread(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., cells)."""
        out = []
        for (_, shape, g), first in zip(self.parts, self._offsets):
            part = g.spread(values[..., first : first + len(g.names)], position)
            lead = values.shape[:-1]
            out.append(part.expand(*lead, *shape).reshape(*lead, -1))
        return torch.cat(out, -1)


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
