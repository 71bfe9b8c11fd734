"""What is asked of a model by every method that takes parts of the input away: samples without some of their groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .bound import BoundBaseline, BoundGroups
from .engine import Engine

Absent = Tensor | Callable[[slice], Tensor] | None


class Source(Protocol):
    """The samples that a removal takes from, as far as it and those who evaluate it need them; see `SampleChunk`."""

    engine: Engine
    x: Tensor
    position: Tensor

    def fill(self, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Tensor | None = None) -> Tensor:
        """Rows of sample `i` with the absent cells (all, for None) replaced by the baseline's values."""
        ...

    def outputs(self, i: Tensor, rows: Tensor) -> Tensor:
        """The model's outputs (r, *out) at rows in the place of sample `i`."""
        ...


@dataclass(frozen=True)
class Removal:
    """Samples without some of their groups, a row for each: what is asked, before any row is built.

    Nothing is kept: whatever is asked of some rows is made for those rows.

    Parameters
    ----------
    samples
        The intact samples.
    groups
        Bound groups; None where everything is absent.
    baseline
        The bound baseline: what takes the place of the absent cells.
    i
        (r,) the sample of each row.
    draw
        (r,) the number of the baseline's draw.
    absent
        Of each row one group (r,), or a set of groups: bool (r, groups). Or a function of a slice of the rows that gives
        either, as all sets at once may take more room than there is. None: everything.
    """

    samples: Source
    groups: BoundGroups | None
    baseline: BoundBaseline
    i: Tensor
    draw: Tensor
    absent: Absent = None

    def __len__(self) -> int:
        return len(self.i)

    def mask(self, at: slice) -> Tensor:
        """Bool, broadcasting to (rows, *event): the absent cells, valid or not."""
        i, absent = self.i[at], self._absent(at)
        if self.groups is None or absent is None:
            return torch.ones((len(i), *[1] * (self.samples.x.ndim - 1)), dtype=torch.bool, device=i.device)
        position = self.samples.position[i]
        return self.groups.mask(position, absent) if absent.ndim == 1 else self.groups.union(absent, position)

    def rows(self, at: slice) -> Tensor:
        """Whole rows (rows, *event), absent cells filled; invalid cells are as they were."""
        everything = self.groups is None or self.absent is None
        return self.samples.fill(self.baseline, self.i[at], self.draw[at], None if everything else self.mask(at))

    def hull(self, at: slice) -> tuple[Tensor, Tensor] | None:
        """Start and size, int64 (rows, axes), of the smallest box that holds a row's absent cells; None for everything.

        Size 0 where no cell is absent.
        """
        absent = self._absent(at)
        if self.groups is None or absent is None:
            return None
        if absent.ndim == 1 and (box := self.groups.hull(self.samples.position[self.i[at]], absent)) is not None:
            return box
        return _bounding_box(self.mask(at), self.samples.x.shape[1:])

    def patch(self, at: slice) -> tuple[Tensor, Tensor] | None:
        """Start (rows, axes) and cells (rows, *size) of a box of each row that holds its hull; None for everything.

        Boxes have the size of the largest hull, so that they are one tensor: a smaller hull has intact cells beside it.
        """
        # From whole rows: a baseline may look at cells far from the gap.
        if (hull := self.hull(at)) is None:
            return None
        size = hull[1].amax(0) if len(hull[1]) else hull[1].sum(0)
        start = torch.minimum(hull[0], torch.as_tensor(self.samples.x.shape[1:], device=size.device) - size)
        return start, _cut_out(self.rows(at), start, size.tolist())

    def pick(self, rows: Tensor) -> Removal:
        """Some of the rows, by their numbers."""
        absent = self.absent
        if callable(absent):
            absent = torch.cat([absent(slice(k, k + 1)) for k in rows.tolist()])
        elif absent is not None:
            absent = absent[rows]
        return replace(self, i=self.i[rows], draw=self.draw[rows], absent=absent)

    def _absent(self, at: slice) -> Tensor | None:
        if self.absent is None:
            return None
        return self.absent(at) if callable(self.absent) else self.absent[at]


def _bounding_box(mask: Tensor, event: torch.Size) -> tuple[Tensor, Tensor]:
    """Start and size (rows, axes) of the smallest box round the True cells of a mask that broadcasts to (rows, *event)."""
    start, size = [], []
    for axis, length in enumerate(event, start=1):
        occupied = mask.movedim(axis, 1)[..., None].flatten(2).any(2).expand(-1, length)
        first = occupied.int().argmax(1)
        start.append(first)
        size.append(torch.where(occupied.any(1), length - occupied.flip(1).int().argmax(1) - first, 0))
    return torch.stack(start, 1), torch.stack(size, 1)


def _cut_out(rows: Tensor, start: Tensor, size: list[int]) -> Tensor:
    """The cells (rows, *size) of boxes of one size, each row's from its own start (rows, axes)."""
    index = [torch.arange(len(rows), device=rows.device).reshape(-1, *[1] * len(size))]
    for axis, length in enumerate(size):
        along = start[:, axis, None] + torch.arange(length, device=rows.device)
        index.append(along.reshape(len(rows), *(length if a == axis else 1 for a in range(len(size)))))
    return rows[tuple(index)]
