"""The object that goes through a model in the place of its input, and stands for rows of which only a box has changed.

`Delta.__torch_function__` sends each operation of the model to its rule. A rule is a function with the signature of the operation,
named by :func:`rule`, that gives a `Delta`, or whole rows where the boxes end; ``NotImplemented`` says that it does not know these
arguments. What has no rule is asked of whole rows, and all that follows goes on densely: never wrong, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..stand_in import Func as Func
from ..stand_in import Rules, StandIn, stand_ins
from ..stand_in import called as called
from . import boxes
from .boxes import Starts
from .tape import Intact, Tape

NEARLY = 0.75  # share of a row from which on a box is as dear as the row


class Rows:
    """The rows of one call of the model: of which sample each is, on which tape.

    `stops` says that a recurrent layer ends where its state is the intact one again, but for rounding.
    """

    def __init__(self, tape: Tape, sample: np.ndarray, device: torch.device, stops: bool = True) -> None:
        self.tape, self.sample, self.device, self.stops = tape, sample, device, stops
        self.index = boxes.tensor(sample, device)

    def __len__(self) -> int:
        return len(self.sample)


class Delta(StandIn):
    """Rows (r, ...) that are the intact samples but for a box of each.

    Parameters
    ----------
    rows
        The rows of this call.
    intact
        The same activation of the intact samples.
    axes, start
        The axes along which there are boxes, the first after the rows is 1, and where each row's box begins along each. Along
        the other axes everything may have changed. A box may stick out at the edges; what it holds there means nothing.
    change, new
        The difference to the intact activation in the boxes, or the new values; (r, ...) with the boxes' size along the axes.
    source
        What this is a view of: what is written into one is in the other too, which is then not to be used any more.
    """

    rules = Rules()

    def __init__(
        self,
        rows: Rows,
        intact: Intact,
        axes: tuple[int, ...],
        start: Starts,
        *,
        change: Tensor | None = None,
        new: Tensor | None = None,
        source: Delta | None = None,
    ) -> None:
        super().__init__(source)
        self.rows, self.intact, self.axes, self.start = rows, intact, axes, start
        self._change, self._new = change, new
        self._old: Tensor | None = None
        self.part: tuple[Delta, Any] | None = None  # of a delta that holds the same boxes, by an index of its tensors

    # ---- what it holds

    @property
    def values(self) -> Tensor:
        """Whichever of the change and the new values there is."""
        found = self._new if self._change is None else self._change
        assert found is not None
        return found

    @property
    def box(self) -> list[int]:
        """The size of the boxes along their axes."""
        return [self.values.shape[a] for a in self.axes]

    @property
    def length(self) -> list[int]:
        """The length of those axes."""
        return [self.intact.cells.shape[a] for a in self.axes]

    @property
    def old(self) -> Tensor:
        """The intact activation in the boxes."""
        if self._old is None:
            self._old = self.window(self.start, self.box)
        return self._old

    @property
    def change(self) -> Tensor:
        """The difference to the intact activation, 0 outside the edges."""
        if self._change is None:
            self._change = boxes.inside(self.new - self.old, self.axes, self.start, self.length)
        return self._change

    @property
    def new(self) -> Tensor:
        """The new values; anything outside the edges."""
        if self._new is None:
            self._new = self.old + self.change if self.part is None else self.part[0].new[self.part[1]]
        return self._new

    def window(self, start: Starts, size: Sequence[int], fill: float | None = None) -> Tensor:
        """The intact activation in boxes of the rows; outside the edges `fill`, or anything."""
        found = boxes.cut(self.intact.laid(self.axes), self.rows.sample, start, size, fill)
        return boxes.unlaid(found, self.axes)

    def change_in(self, start: Starts, size: Sequence[int]) -> Tensor:
        """The change in other boxes, which are cut where they do not hold all of it."""
        return boxes.moved(self.change, self.axes, tuple(s - t for s, t in zip(self.start, start)), size)

    def new_in(self, start: Starts, size: Sequence[int]) -> Tensor:
        """The new values in boxes that hold these."""
        if list(size) == self.box and boxes.same(start, self.start):
            return self.new
        return self.window(start, size) + self.change_in(start, size)

    def made(self) -> Tensor:
        """Whole rows (r, ...), contiguous."""
        at, inner = boxes.places(self.start, self.box, self.length)
        out = self.intact.laid(self.axes).index_select(0, self.rows.index)
        place = np.arange(len(at)).reshape(-1, *[1] * len(self.axes)) * int(np.prod(self.length)) + at
        found, lines = boxes.laid(self.new, self.axes).flatten(0, len(self.axes)), out.flatten(0, len(self.axes))
        if not inner.all():
            kept = np.flatnonzero(inner)
            found, place = found.index_select(0, boxes.tensor(kept, found.device)), place.reshape(-1)[kept]
        lines.index_copy_(0, boxes.tensor(place.reshape(-1), out.device), found)
        return boxes.unlaid(out, self.axes).contiguous()

    # ---- others like it

    def like(self, intact: Intact, **values: Any) -> Delta:
        """Other values in the same boxes."""
        return Delta(self.rows, intact, self.axes, self.start, **values)

    def held(self, values: Tensor) -> dict[str, Any]:
        """Values made of :attr:`values` without arithmetic, as the keyword that says which they are."""
        return {"new" if self._change is None else "change": values}

    def clipped(self) -> Delta:
        """Without the cells of the boxes that no row has inside its edges."""
        start, values = list(self.start), self.values
        for k, (axis, s, n) in enumerate(zip(self.axes, self.start, self.length)):
            w = values.shape[axis]
            low, high = max(0, -int(s.max())), max(0, int(s.min()) + w - n)
            if low + high and low + high < w:
                values = values.narrow(axis, low, w - low - high)
                start[k] = s + low
        if values is self.values:
            return self
        return Delta(self.rows, self.intact, self.axes, tuple(start), **self.held(values))

    def widened(self, axes: Iterable[int]) -> Delta:
        """Whole along some of the axes."""
        gone = [a for a in self.axes if a in set(axes)]
        if not gone:
            return self
        size = [n if a in gone else w for a, w, n in zip(self.axes, self.box, self.length)]
        start = tuple(np.zeros_like(s) if a in gone else s for a, s in zip(self.axes, self.start))
        kept = [k for k, a in enumerate(self.axes) if a not in gone]
        return Delta(
            self.rows,
            self.intact,
            tuple(self.axes[k] for k in kept),
            tuple(start[k] for k in kept),
            change=self.change_in(start, size),
        )

    def take(self, other: StandIn) -> None:
        """Take the values of another: what was written into this one."""
        for name in ("intact", "axes", "start", "_change", "_new", "_old", "part"):
            setattr(self, name, getattr(other, name))

    @property
    def cells(self) -> Tensor:
        """The intact activation."""
        return self.intact.cells

    def __len__(self) -> int:
        return len(self.rows)


class Flat(Delta):
    """Rows laid flat (r, cells): what has changed lies in the boxes of another."""

    def __init__(self, of: Delta, intact: Intact) -> None:
        super().__init__(of.rows, intact, (), (), change=of.change, source=of)
        self.of = of

    def made(self) -> Tensor:
        """Whole rows (r, cells)."""
        return self.of.whole().flatten(1)


class Turned(StandIn):
    """Rows of series with time first (times, r, ...), as recurrent layers like them: a view of rows (r, times, ...)."""

    rules = Rules()

    def __init__(self, of: Delta) -> None:
        super().__init__(of)
        self.of = of

    @property
    def cells(self) -> Tensor:
        """The intact activation."""
        return self.of.cells

    @property
    def shape(self) -> torch.Size:
        """With time first."""
        rows, times, *rest = self.of.shape
        return torch.Size((times, rows, *rest))

    def __len__(self) -> int:
        return self.shape[0]

    def made(self) -> Tensor:
        """Whole rows (times, r, ...), contiguous."""
        return self.of.made().transpose(0, 1).contiguous()

    def take(self, other: StandIn) -> None:
        """Take the values of another: what was written into this one."""
        assert isinstance(other, Turned)
        self.of = other.of


def rule(*funcs: Func, flat: bool = False) -> Callable[[Func], Func]:
    """Name the operations that a function is the rule of; it has their signature but for `inplace`. `flat`: it knows a `Flat` too."""

    def named(f: Func) -> Func:
        Delta.rules(*funcs)(f if flat else _of_boxes(f))
        return f

    return named


def _of_boxes(f: Func) -> Func:
    """A rule that does not know a `Flat`."""

    @wraps(f)
    def asked(*args: Any, **kwargs: Any) -> Any:
        return NotImplemented if any(isinstance(d, Flat) for d in deltas((args, kwargs))) else f(*args, **kwargs)

    return asked


def deltas(value: Any) -> Iterator[Delta]:
    """Those in tuples, lists and mappings."""
    return (s for s in stand_ins(value) if isinstance(s, Delta))


def intact(func: Func, *args: Any, **kwargs: Any) -> Any:
    """`func` of the intact activations of the deltas among the arguments, from the tape: an `Intact`, or a list of them."""
    tape = next(deltas((args, kwargs))).rows.tape
    found = tape(func, *_intact(args), **_intact(kwargs))
    return found


def _intact(value: Any) -> Any:
    if isinstance(value, Delta):
        return value.intact
    if isinstance(value, tuple | list):
        return type(value)(_intact(v) for v in value)
    return {k: _intact(v) for k, v in value.items()} if isinstance(value, dict) else value


def settled(found: Delta) -> Delta | Tensor:
    """A delta, or whole rows where its boxes are nearly all of them."""
    return found.whole() if np.prod(found.box) >= NEARLY * np.prod(found.length) else found
