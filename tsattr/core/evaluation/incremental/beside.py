"""Removals from one variable of several that lie side by side: it goes through the model as a box, the others as they are."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from ...bound import BoundBaseline
from ...evaluator import Dense, RemovalEvaluation
from ...removal import Removal, Source
from ..stand_in import Rules, StandIn
from .delta import Delta, Flat
from .tape import Intact


class Beside(StandIn):
    """Rows (r, cells) of several variables in one flat event: one is a delta, the `others` are intact."""

    rules = Rules()

    def __init__(self, others: Tensor, at: slice, of: Delta) -> None:
        super().__init__()
        self.others, self.at, self.of = others, at, of

    @property
    def cells(self) -> Tensor:
        """The intact rows."""
        return self.others

    def __len__(self) -> int:
        return len(self.others)

    def made(self) -> Tensor:
        """Whole rows (r, cells)."""
        rows = self.others.clone()
        rows[:, self.at] = self.of.whole().flatten(1)
        return rows

    def take(self, other: StandIn) -> None:
        """Take the values of another: what was written into this one."""
        assert isinstance(other, Beside)
        self.others, self.at, self.of = other.others, other.at, other.of


@Beside.rules(Tensor.__getitem__)
def _variable(x: Any, index: Any) -> Any:
    """The cells of one variable."""
    if not (isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and isinstance(index[1], slice)):
        return NotImplemented
    if index[1] == x.at:
        return Flat(x.of, Intact(x.of.intact.cells.flatten(1)))
    start, stop, step = index[1].indices(x.others.shape[1])
    apart = step == 1 and (stop <= x.at.start or start >= x.at.stop)
    return x.others[index] if apart else NotImplemented


class Variable:
    """Samples of one of several variables, whose rows are asked about beside the other variables of the sample."""

    def __init__(self, samples: Source, at: slice, shape: tuple[int, ...]) -> None:
        self.samples, self.at = samples, at
        self.engine, self.position = samples.engine, samples.position
        self.x = samples.x[:, at].reshape(-1, *shape)

    def fill(self, baseline: BoundBaseline, i: Tensor, draw: Tensor, absent: Tensor | None = None) -> Tensor:
        """Rows of the variable without absent cells; `baseline` is that of all variables."""
        if absent is not None:
            flat = torch.zeros((len(i), self.samples.x.shape[1]), dtype=torch.bool, device=i.device)
            flat[:, self.at] = absent.expand(-1, *self.x.shape[1:]).flatten(1)
            absent = flat
        return self.samples.fill(baseline, i, draw, absent)[:, self.at].reshape(-1, *self.x.shape[1:])

    def fill_boxes(
        self, baseline: BoundBaseline, i: Tensor, draw: Tensor, start: Tensor, absent: Tensor
    ) -> Tensor | None:
        """None: only whole rows tell."""
        return None

    def outputs(self, i: Tensor, rows: Tensor) -> Tensor:
        """The model's outputs at rows of the variable, or a delta, in the place of sample `i`."""
        others, given = self.samples.x.index_select(0, i), cast(Any, rows)
        if isinstance(given, Delta):
            return self.samples.outputs(i, cast(Tensor, Beside(others, self.at, given)))
        others[:, self.at] = rows.flatten(1)
        return self.samples.outputs(i, others)


def largest(removal: Removal) -> tuple[Removal, Tensor]:
    """The rows of a removal that take a group of the largest variable away, as a removal from it, and their numbers."""
    assert removal.groups is not None
    assert isinstance(removal.absent, Tensor)
    first, variable = 0, (0, *removal.groups.variables[0])
    for at, shape, groups in removal.groups.variables:
        if math.prod(shape) > math.prod(variable[2]):
            variable = (first, at, shape, groups)
        first += len(groups.names)
    first, at, shape, groups = variable
    mine = ((removal.absent >= first) & (removal.absent < first + len(groups.names))).nonzero()[:, 0]
    source = Variable(removal.samples, at, shape)
    return Removal(
        source, groups, removal.baseline, removal.i[mine], removal.draw[mine], removal.absent[mine] - first
    ), mine


class Largest(RemovalEvaluation):
    """Rows that change the largest variable by another evaluation, which knows it alone; those that change another densely."""

    def __init__(self, samples: Source, inner: RemovalEvaluation) -> None:
        super().__init__(samples)
        self.name, self.inner, self.dense = inner.name, inner, Dense(samples)
        self.known: tuple[Removal, tuple[Removal, Tensor]] | None = None

    def _own(self, removal: Removal) -> tuple[Removal, Tensor]:
        """See `largest`; the same for the batches of a removal."""
        if self.known is None or self.known[0] is not removal:
            self.known = removal, largest(removal)
        return self.known[1]

    def work(self, removal: Removal) -> Tensor:
        """(r,) of each variable what its evaluation says."""
        work = self.dense.work(removal)
        if one_by_one(removal):
            own, mine = self._own(removal)
            work[mine] = self.inner.work(own)
        return work

    def room(self, removal: Removal, work: Tensor) -> float:
        """That of the rows of the largest variable; the others come in batches of their own."""
        own, mine = self._own(removal)
        return self.inner.room(own, work[mine])

    def __call__(self, removal: Removal, at: slice) -> Tensor:
        """Each row in its way."""
        own, mine = self._own(removal)
        at = slice(at.start, min(at.stop, len(removal)))
        first, last = torch.searchsorted(mine, torch.tensor([at.start, at.stop], device=mine.device)).tolist()
        left = torch.ones(at.stop - at.start, dtype=torch.bool, device=mine.device)
        left[mine[first:last] - at.start] = False
        others = left.nonzero()[:, 0]
        found = [self.inner(own, slice(first, last))] if last > first else []
        pieces = others.split(self.samples.engine.batch_size) if len(others) else ()
        found += [self.dense(removal.pick(at.start + rows), slice(0, len(rows))) for rows in pieces]
        return torch.cat(found)[torch.cat([mine[first:last] - at.start, others]).argsort()]


def one_by_one(removal: Removal) -> bool:
    """Whether each row lacks one group."""
    return isinstance(removal.absent, Tensor) and removal.absent.ndim == 1
