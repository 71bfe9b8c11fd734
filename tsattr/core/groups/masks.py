"""The base of groups and their bound forms, as plain arrays: boxes, labelled parts, groups of several variables, one mask."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..axes import Axes
from ..bound import BoundGroups


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


@dataclass(frozen=True)
class Intervals:
    """Windows along one dim: sorted starts and stops that leave no cell out; `whole` where there is only one.

    Windows round a circle run past `size`: cells then count modulo `size`, and all starts lie within one turn. `down` says
    that the coordinate decreases, `first` is the window of a circle nearest after 0 of its coordinate: random numbers are
    drawn in the order of windows, and must not depend on how the dim is stored.
    """

    start: np.ndarray
    stop: np.ndarray
    size: int
    down: bool = False
    first: int = 0

    @classmethod
    def of_all(cls, size: int) -> Intervals:
        """One window over the whole dim."""
        return cls(np.array([0]), np.array([size]), size)

    @property
    def order(self) -> np.ndarray:
        """The windows in the order of the coordinate."""
        numbers = np.arange(len(self.start))
        return numbers[::-1].copy() if self.down else np.roll(numbers, -self.first)

    @property
    def whole(self) -> bool:
        """True where one window covers the dim."""
        return len(self.start) == 1

    def first_last(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last window that covers each cell, modulo the number of windows."""
        turns = 2 if self.circular else 0  # windows that began in one of the two turns before may still run
        cells = np.arange(self.size) + turns * self.size
        offset = np.arange(turns + 1)[:, None] * self.size
        first = np.searchsorted((self.stop + offset).ravel(), cells, side="right")
        return first, np.searchsorted((self.start + offset).ravel(), cells, side="right") - 1

    def covering(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """The first window that covers each cell, then the next ones: their numbers, and where there is one."""
        numbers = self.first_last()
        first, last = (torch.as_tensor(v, device=device) for v in numbers)
        for more in range(int((numbers[1] - numbers[0]).max()) + 1):
            yield (first + more) % len(self.start), first + more <= last

    @property
    def circular(self) -> bool:
        """True where windows run past the end."""
        return bool(self.stop[-1] > self.size)


@dataclass(frozen=True)
class Boxes(BoundGroups):
    """The product of windows along each dim, numbered in the order of the dims, the last one fastest."""

    dims: tuple[str, ...]
    along: tuple[Intervals, ...]
    names: list[str] = field(compare=False)
    shared = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of windows along each dim."""
        return tuple(len(a.start) for a in self.along)

    @property
    def order(self) -> np.ndarray:
        """The numbers of the groups, sorted by the names of the dims and along each by its coordinate; see `BoundGroups.order`."""
        numbers = np.arange(math.prod(self.shape)).reshape(self.shape)[np.ix_(*(a.order for a in self.along))]
        order: np.ndarray = numbers.transpose(np.argsort(self.dims)).reshape(-1)
        return order

    @property
    def solid(self) -> bool:  # type: ignore[override]
        """True where no window runs past the end of a circle, which is then in two pieces."""
        return not any(a.circular for a in self.along)

    def box(self, k: int) -> dict[str, tuple[int, int]]:
        """Start and size of group k along each dim; round a circle it may run past the end."""
        at = np.unravel_index(k, self.shape)
        return {
            d: (int(a.start[j] % a.size), int(a.stop[j] - a.start[j]))
            for d, a, j in zip(self.dims, self.along, at, strict=True)
        }

    def _windows_of(self, k: Tensor) -> list[Tensor]:
        """The number of the window along each dim of groups k (r,)."""
        found = []  # torch.unravel_index would import sympy, half a second
        for n in reversed(self.shape):
            found.append(k % n)
            k = torch.div(k, n, rounding_mode="floor")
        return found[::-1]

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event), of size 1 along dims that are taken whole."""
        out = torch.ones((len(k),) + (1,) * len(self.along), dtype=torch.bool, device=k.device)
        for axis, (a, j) in enumerate(zip(self.along, self._windows_of(k))):
            if not a.whole:
                cells = torch.arange(a.size, device=k.device)
                start, stop = (torch.as_tensor(v, device=k.device)[j, None] for v in (a.start, a.stop))
                inside = (cells - start) % a.size < stop - start
                out = out & inside.reshape([len(k)] + [a.size if b == axis else 1 for b in range(len(self.along))])
        return out

    def hull(self, position: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Start and size (rows, axes) of each box; the whole of an axis where a window runs past the end of a circle."""
        ends = []
        for a, j in zip(self.along, self._windows_of(k)):
            start, size = (torch.as_tensor(v, device=k.device)[j] for v in (a.start % a.size, a.stop - a.start))
            past = start + size > a.size
            ends.append((torch.where(past, 0, start), torch.where(past, a.size, size)))
        starts, sizes = zip(*ends)
        return torch.stack(starts, 1), torch.stack(sizes, 1)

    @property
    def cells(self) -> bool:
        """True where every cell is a group by itself."""
        return self.shape == tuple(a.size for a in self.along)

    def union(self, absent: Tensor, position: Tensor) -> Tensor:
        """Bool (rows, *event)."""
        out = absent.reshape(-1, *self.shape)
        if self.cells:
            return out
        for axis, a in enumerate(self.along, start=1):
            windows = a.covering(out.device)
            found = out.index_select(axis, next(windows)[0])
            for number, covered in windows:
                inside = covered.reshape([-1 if b == axis else 1 for b in range(out.ndim)])
                found = found | inside & out.index_select(axis, number)
            out = found
        return out

    def total(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, groups): the sum over each window, by differences of cumulative sums."""
        if self.cells:
            return values.reshape(len(values), -1)
        total = values
        for axis, a in enumerate(self.along, start=1):
            line = total.movedim(axis, -1)
            if a.circular:
                line = line[..., torch.arange(a.stop[-1], device=values.device) % a.size]
            running = torch.nn.functional.pad(line.cumsum(-1), (1, 0))
            start, stop = (torch.as_tensor(v, device=values.device) for v in (a.start, a.stop))
            total = (running[..., stop] - running[..., start]).movedim(-1, axis)
        return total.reshape(len(total), -1)

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """Means or sums over covering windows, dim by dim: a window's cover is a product too."""
        lead = values.ndim - 1
        out = values.reshape(*values.shape[:-1], *self.shape)
        for axis, a in enumerate(self.along, start=lead):
            inner = [-1 if b == axis else 1 for b in range(out.ndim)]
            (number, cover), *more = a.covering(out.device)
            total, cover = out.index_select(axis, number), cover.to(out.dtype)
            for number, covered in more:
                total = total + torch.where(covered.reshape(inner), out.index_select(axis, number), 0)
                cover = cover + covered
            out = total / cover.reshape(inner) if mean and more else total
        return out


@dataclass(frozen=True)
class Parts(BoundGroups):
    """Groups given by an integer label for each cell, -1 for a cell in no group; shared or one array per sample."""

    label: np.ndarray  # (samples or 1, *event), 1 along dims the labels do not vary with
    names: list[str] = field(compare=False)

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """True where the labels are those of all samples."""
        return len(self.label) == 1

    def _of(self, position: Tensor) -> Tensor:
        rows = self.label if len(self.label) == 1 else self.label[position.cpu().numpy()]
        return torch.as_tensor(rows, device=position.device)

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event), of size 1 along dims the labels do not vary with."""
        label = self._of(position)
        return label == k.reshape([-1] + [1] * (label.ndim - 1))

    @cached_property
    def _boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Start and size (samples or 1, groups, axes) of each group's smallest box; 0 of a group that a sample does not have."""
        from scipy import ndimage

        ends = np.zeros((len(self.label), len(self.names), self.label.ndim - 1, 2), np.int64)
        for sample, found in zip(ends, self.label):
            for k, box in enumerate(ndimage.find_objects(found + 1, len(self.names))):
                if box is not None:
                    sample[k] = [(along.start, along.stop) for along in box]
        return ends[..., 0], ends[..., 1] - ends[..., 0]

    @property
    def _full(self) -> bool:
        """True where labels are given along all dims, so that their shape is the event's."""
        return min(self.label.shape[1:], default=1) > 1

    @cached_property
    def solid(self) -> bool:  # type: ignore[override]
        """True where every group is a box."""
        if not self._full:
            return False
        count = [np.bincount(found.ravel() + 1, minlength=len(self.names) + 1)[1:] for found in self.label]
        return bool((self._boxes[1].prod(2) == count).all())

    def hull(self, position: Tensor, k: Tensor) -> tuple[Tensor, Tensor] | None:
        """Start and size (rows, axes) of the smallest box of each group; None where labels lack dims, whose length they do not tell."""
        if not self._full:
            return None
        at = np.zeros(len(k), np.int64) if self.shared else position.cpu().numpy()
        start, size = (torch.as_tensor(v[at, k.cpu().numpy()], device=k.device) for v in self._boxes)
        return start, size

    def union(self, absent: Tensor, position: Tensor) -> Tensor:
        """Bool (rows, *event), of size 1 along dims the labels do not vary with: True in one of the absent groups."""
        label = self._of(position)
        index = (label + 1).reshape(len(label), -1).expand(len(absent), -1)
        return torch.nn.functional.pad(absent, (1, 0), value=False).gather(1, index).reshape(-1, *label.shape[1:])

    def total(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, groups)."""
        label = self._of(position).expand_as(values).reshape(len(values), -1)
        out = torch.zeros(len(values), len(self.names) + 1, dtype=values.dtype, device=values.device)
        return out.scatter_add_(1, label + 1, values.reshape(len(values), -1))[:, 1:]

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """Each cell its group's value, which is its mean and its sum; NaN for a cell in no group."""
        label = self._of(position)
        label = label.expand(len(values), *label.shape[1:])
        inner = (1,) * (values.ndim - 2)
        index = (label + 1).reshape(len(values), *inner, -1).expand(*values.shape[:-1], -1)
        out = torch.nn.functional.pad(values, (1, 0), value=float("nan")).gather(-1, index)
        return out.reshape(*values.shape[:-1], *label.shape[1:])


@dataclass(frozen=True)
class JoinedGroups(BoundGroups):
    """Bound groups of several variables that lie side by side in one flat event, numbered one after another."""

    variables: tuple[tuple[slice, tuple[int, ...], BoundGroups], ...] = (
        field()
    )  # no default, unlike those of one variable
    names: list[str] = field(compare=False)

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """True where the groups of every variable are those of all samples."""
        return all(g.shared for *_, g in self.variables)

    @property
    def _offsets(self) -> list[int]:
        return list(itertools.accumulate((len(g.names) for *_, g in self.variables), initial=0))

    @property
    def order(self) -> np.ndarray:
        """The numbers of the groups, those of each variable in its own order; see `BoundGroups.order`."""
        return np.concatenate([first + g.order for (*_, g), first in zip(self.variables, self._offsets)])

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, cells)."""
        out = torch.zeros(len(k), self.variables[-1][0].stop, dtype=torch.bool, device=k.device)
        for (at, shape, g), first in zip(self.variables, self._offsets):
            mine = (k >= first) & (k < first + len(g.names))
            if mine.any():
                m = g.mask(position[mine], k[mine] - first)
                out[mine, at] = m.expand(-1, *shape).reshape(len(m), -1)
        return out

    def count(self, cells: Tensor, position: Tensor) -> Tensor:
        """Int (rows, groups)."""
        return torch.cat([g.count(cells[:, at].reshape(-1, *shape), position) for at, shape, g in self.variables], 1)

    def total(self, values: Tensor, position: Tensor) -> Tensor:
        """(rows, groups)."""
        return torch.cat([g.total(values[:, at].reshape(-1, *shape), position) for at, shape, g in self.variables], 1)

    def spread(self, values: Tensor, position: Tensor, *, mean: bool = True) -> Tensor:
        """(rows, ..., groups) -> (rows, ..., cells)."""
        out = []
        for (_, shape, g), first in zip(self.variables, self._offsets):
            part = g.spread(values[..., first : first + len(g.names)], position, mean=mean)
            lead = values.shape[:-1]
            out.append(part.expand(*lead, *shape).reshape(*lead, -1))
        return torch.cat(out, -1)


@dataclass(frozen=True, eq=False)
class OneGroup(BoundGroups):
    """One group, given by its cells: a mask of all samples, or of some, the first of which is at a position in the input."""

    cells: Tensor  # bool (samples or 1, *event), 1 along dims it does not vary with
    first: int = 0
    name: str = "absent"

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        """Its name."""
        return [self.name]

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """True where all samples have the same mask."""
        return len(self.cells) == 1

    def mask(self, position: Tensor, k: Tensor) -> Tensor:
        """Bool (rows, *event) or broadcasting to it."""
        cells = self.cells.to(position.device)
        return cells.expand(len(position), *cells.shape[1:]) if self.shared else cells[position - self.first]


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


def whole(axes: Axes) -> Boxes:
    """One group of everything."""
    return boxes(axes, tuple(Intervals.of_all(n) for n in axes.shape))


def _name(dim: str, coord: np.ndarray, start: int, stop: int) -> str:
    def text(v: Any) -> str:
        return f"{v:.6g}" if isinstance(v, float | np.floating) else str(v)

    first, last = (text(coord[at % len(coord)]) for at in (start, stop - 1))
    return f"{dim}={first}" if stop - start == 1 else f"{dim}={first}..{last}"
