"""What is asked of a model by every method that takes parts of the input away: samples without some of their groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def fill_boxes(
        self, baseline: BoundBaseline, i: Tensor, draw: Tensor, start: Tensor, absent: Tensor
    ) -> Tensor | None:
        """Cells (r, *size) of a box of each row, of `start` and of the size of `absent`; None where only whole rows tell."""
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
        if (hull := self.hull(at)) is None:
            return None
        size = hull[1].amax(0) if len(hull[1]) else hull[1].sum(0)
        start = torch.minimum(hull[0], torch.as_tensor(self.samples.x.shape[1:], device=size.device) - size)
        found = self._solid(at, start, hull)
        # Else from whole rows: a baseline may look at cells far from the gap.
        return start, cut_out(self.rows(at), None, start, size.tolist()) if found is None else found

    def _solid(self, at: slice, start: Tensor, hull: tuple[Tensor, Tensor]) -> Tensor | None:
        """The cells of boxes without making whole rows, where all cells of the hulls are absent and the baseline looks at no others."""
        if self.groups is None or not self.groups.solid or (absent := self._absent(at)) is None or absent.ndim > 1:
            return None
        size = hull[1].amax(0).tolist() if len(hull[1]) else [0] * hull[1].shape[1]
        gone = torch.ones((len(start), *size), dtype=torch.bool, device=start.device)
        for axis, (w, first, cells) in enumerate(zip(size, (hull[0] - start).T, hull[1].T)):
            along = torch.arange(w, device=start.device) - first[:, None]
            gone &= ((along >= 0) & (along < cells[:, None])).reshape(
                len(start), *(w if a == axis else 1 for a in range(len(size)))
            )
        return self.samples.fill_boxes(self.baseline, self.i[at], self.draw[at], start, gone)

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


def cut_out(rows: Tensor, i: Tensor | None, start: Tensor, size: Sequence[int]) -> Tensor:
    """The cells (r, *size) of boxes of one size of the rows `i` (None: each in turn), each from its own start (r, axes)."""
    i = torch.arange(len(start), device=rows.device) if i is None else i
    index = [i.reshape(-1, *[1] * len(size))]
    for axis, length in enumerate(size):
        along = start[:, axis, None] + torch.arange(length, device=rows.device)
        index.append(along.reshape(len(i), *(length if a == axis else 1 for a in range(len(size)))))
    return rows[tuple(index)]
