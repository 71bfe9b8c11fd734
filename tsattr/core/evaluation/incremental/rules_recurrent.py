"""Rules of recurrent layers: from the intact state before a box, until the state is the intact one again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...evaluator import ROUNDING
from ..stand_in import apply
from . import boxes
from .delta import Delta, Func, Turned, called, intact, rule
from .rules_cells import CELLWISE

BLOCK = 16  # steps between two states that are kept

RECURRENT = (torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu)


def _stepped(
    func: Func, x: Tensor, state: Sequence[Tensor], weights: list[Tensor], bias: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs (r, times, hidden) of one direction of one layer, and its state after them: h, and c of an LSTM, (r, hidden) each."""
    parts = tuple(part[None].contiguous() for part in state)
    with warnings.catch_warnings():
        if x.is_cuda:  # the weights of one layer are a part of those of all, which cuDNN copies
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        y, *after = func(x, parts if len(parts) > 1 else parts[0], weights, bias, 1, 0.0, False, False, True)
    return y, [part[0] for part in after]


def _intact_pass(func: Func, x: Tensor, state: list[Tensor], weights: list[Tensor], bias: bool) -> list[Tensor]:
    """Outputs (n, times, hidden), and each part of the state before each block and at the end."""
    now: Sequence[Tensor] = [part.expand(len(x), -1) for part in state]
    found, kept = [], [now]
    for block in x.split(BLOCK, 1):
        y, now = _stepped(func, block, now, weights, bias)
        found.append(y)
        kept.append(now)
    return [torch.cat(found, 1), *(torch.stack(list(parts), 1) for parts in zip(*kept))]


class _Way:
    """One direction of one layer over rows of which a box has changed, block by block.

    Each row joins at the last kept state before its box. After the box it leaves where its state is the intact one, but for as much
    as the order of sums makes: then all that follows is what it was. A chaotic layer never comes to that.
    """

    def __init__(self, x: Delta, func: Func, state: list[Tensor], weights: list[Tensor], bias: bool) -> None:
        self.x, self.func, self.weights, self.bias = x, func, weights, bias
        self.y, *self.states = intact(_intact_pass, func, x, state, weights, bias)
        self.sample, self.times = x.rows.sample, x.length[0]
        (start,), (w,) = x.start, x.box
        self.begin, self.end = start.clip(0, self.times - 1) // BLOCK, start + w  # a block, a time
        self.found: list[tuple[np.ndarray, int, Tensor]] = []  # rows, a block, and their outputs in it

    def __call__(self) -> tuple[Delta, list[Tensor]]:
        """Outputs, and the last state of all rows."""
        changed = self._changed()
        blocks = -(-self.times // BLOCK)
        rows, now = np.empty(0, np.int64), [part.cells[:0, 0] for part in self.states]
        for k in range(int(self.begin.min()), blocks):
            joining = np.flatnonzero(self.begin == k)
            if len(joining):
                rows = np.concatenate([rows, joining])
                now = [torch.cat(parts) for parts in zip(now, self._states(k, joining))]
            if len(rows):
                y, now = _stepped(self.func, self._cells(changed, k, rows), now, self.weights, self.bias)
                self.found.append((rows, k, y))
                if k + 1 < blocks:
                    rows, now = self._going_on(k + 1, rows, now)
        return self._outputs(), self._last(now, rows, blocks)

    def _changed(self) -> Tensor:
        """Inputs (r, blocks, BLOCK, channels) from where each row joins to the end of its box."""
        n = max(1, int((-(-self.end // BLOCK) - self.begin).max()))
        found = self.x.new_in((self.begin * BLOCK,), [n * BLOCK])
        return found.reshape(len(found), n, BLOCK, found.shape[2])

    def _cells(self, changed: Tensor, k: int, rows: np.ndarray) -> Tensor:
        """The inputs of rows in a block, which are in the order in which they joined."""
        at, stop, n = k * BLOCK, min(self.times, (k + 1) * BLOCK), changed.shape[1]
        past = int(np.searchsorted(self.begin[rows], k - n, side="right"))  # so many are past their box
        found = []
        if past < len(rows):
            inner = rows[past:]
            place = boxes.tensor(inner * n + k - self.begin[inner], changed.device)
            found.append(changed.flatten(0, 1).index_select(0, place)[:, : stop - at])
        if past:
            sample = boxes.tensor(self.sample[rows[:past]], changed.device)
            found.insert(0, self.x.intact.laid((1,))[:, at:stop].index_select(0, sample))
        return torch.cat(found) if len(found) > 1 else found[0]

    def _states(self, k: int, rows: np.ndarray) -> list[Tensor]:
        """The intact state of rows before a block, or after all."""
        sample = boxes.tensor(self.sample[rows], self.x.device)
        return [part.cells[:, k].index_select(0, sample) for part in self.states]

    def _going_on(self, k: int, rows: np.ndarray, now: list[Tensor]) -> tuple[np.ndarray, list[Tensor]]:
        """The rows that are not yet what they were before a block, and their state."""
        ended = np.flatnonzero(self.end[rows] <= k * BLOCK)
        if not self.x.rows.stops or not len(ended):
            return rows, now
        there, away = boxes.tensor(ended, self.x.device), np.ones(len(rows), bool)
        away[ended] = self._differ([part.index_select(0, there) for part in now], self._states(k, rows[ended]))
        if away.all():
            return rows, now
        left = boxes.tensor(np.flatnonzero(away), self.x.device)
        return rows[away], [part.index_select(0, left) for part in now]

    def _differ(self, now: list[Tensor], intact: list[Tensor]) -> np.ndarray:
        """Which rows are in another state than the intact ones; also those of which nothing is known."""
        away = torch.zeros(len(now[0]), dtype=torch.bool, device=self.x.device)
        for part, known in zip(now, intact):
            size = known.abs()
            # Of its own size, or of the largest beside it up to 1: a unit that grows or counts does not hide the others.
            size = torch.maximum(size, size.amax(1, keepdim=True).clamp(max=1))
            away |= ~((part - known).abs() <= ROUNDING * torch.finfo(part.dtype).eps * size).all(1)
        found: np.ndarray = away.cpu().numpy()
        return found

    def _outputs(self) -> Delta:
        """Boxes as long as the longest stretch of a row, which hold intact outputs beside a shorter one."""
        until = np.zeros(len(self.sample), np.int64)
        for rows, k, _ in self.found:
            until[rows] = k + 1
        size = int((until - self.begin).max())
        begin = np.minimum(self.begin, -(-self.times // BLOCK) - size)
        new = boxes.cut(self.y.cells, self.sample, (begin * BLOCK,), [size * BLOCK])
        lines = new.view(len(new) * size, BLOCK, -1)
        for length in {y.shape[1] for *_, y in self.found}:  # that of a block, and perhaps of the last one
            some = [(rows * size + k - begin[rows], y) for rows, k, y in self.found if y.shape[1] == length]
            place = boxes.tensor(np.concatenate([at for at, _ in some]), new.device)
            lines[:, :length].index_copy_(0, place, torch.cat([y for _, y in some]))
        return Delta(self.x.rows, self.y, (1,), (begin * BLOCK,), new=new)

    def _last(self, now: list[Tensor], rows: np.ndarray, blocks: int) -> list[Tensor]:
        """The last state of all rows, of which some came to the end."""
        ends, there = self._states(blocks, np.arange(len(self.sample))), boxes.tensor(rows, self.x.device)
        return [end.index_copy_(0, there, part) for end, part in zip(ends, now)]


def _backwards(x: Delta) -> Delta:
    """The other way in time."""
    start = x.length[0] - x.start[0] - x.box[0]
    return Delta(x.rows, intact(torch.flip, x, [1])[0], (1,), (start,), **x.held(x.values.flip(1)))


def _beside(x: Delta, y: Delta) -> Delta:
    """Features of both, in boxes that hold the boxes of both."""
    start, size = boxes.union([x.start, y.start], [x.box, y.box])
    base = intact(torch.cat, [x, y], 2)[0]
    return Delta(x.rows, base, (1,), start, new=torch.cat([x.new_in(start, size), y.new_in(start, size)], 2))


def _all_layers(
    x: Delta, func: Func, state: list[Tensor], weights: list[Tensor], bias: bool, ways: int
) -> tuple[Delta, list[Tensor]]:
    """Outputs of the last layer, and the parts of the last state (layers x ways, r, hidden); `state` is that of one row."""
    each, last = 4 if bias else 2, []
    for k in range(0, len(state[0]), ways):
        found = []
        for way in range(ways):
            begin, mine = [part[k + way] for part in state], weights[each * (k + way) : each * (k + way + 1)]
            y, end = _Way(_backwards(x) if way else x, func, begin, mine, bias)()
            found.append(_backwards(y) if way else y)
            last.append(end)
        x = _beside(*found) if ways > 1 else found[0]
    return x, [torch.stack(parts) for parts in zip(*last)]


def _recurrent(func: Func) -> Func:
    """The rule of a recurrent layer that begins in the same state for all rows."""

    def layer(
        input: Any,
        hx: Any,
        params: Any,
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        x = input.of if isinstance(input, Turned) else input
        parts = list(hx) if isinstance(hx, tuple | list) else [hx]
        if not isinstance(x, Delta) or batch_first is isinstance(input, Turned) or (train and dropout):
            return NotImplemented
        known = [*parts, *params] if isinstance(params, tuple | list) else [None]
        if x.dim() != 3 or 1 not in x.axes or not all(isinstance(v, Tensor) for v in known):
            return NotImplemented
        ways, each = 1 + bidirectional, 4 if has_biases else 2
        if len(params) != num_layers * ways * each or not all(bool((part == part[:, :1]).all()) for part in parts):
            return NotImplemented  # projected, or in a state of each row's own
        x = x.clipped().widened([2])
        y, last = _all_layers(x, func, [part[:, :1] for part in parts], list(params), has_biases, ways)
        return (Turned(y) if isinstance(input, Turned) else y), *last

    return layer


for _func in RECURRENT:
    rule(_func)(_recurrent(_func))
    Turned.rules(_func)(_recurrent(_func))


# ---- what is done to series with time first


def _turned(func: Func) -> Func:
    """The rule of a function that looks at each time by itself."""

    def each(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Turned):
            return NotImplemented
        y = apply(func, (input.of, *args), kwargs)
        return Turned(y) if isinstance(y, Delta) and 1 in y.axes else _whole(y).transpose(0, 1)

    return each


def _whole(y: Any) -> Any:
    return y.whole() if isinstance(y, Delta) else y


for _func in called(*CELLWISE.split(), "linear", "dropout", "contiguous", "detach", "layer_norm"):
    Turned.rules(_func)(_turned(_func))


def _over_time(func: Func) -> Func:
    """The rule of a reduction over all times."""

    def over(input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        if dim not in (0, -3, (0,), [0]) or input.dim() != 3 or keepdim or dtype is not None:
            return NotImplemented
        return apply(func, (input.of, 1), {})

    return over


for _func in called("mean", "sum", "amax"):
    Turned.rules(_func)(_over_time(_func))


@Turned.rules(Tensor.__getitem__)
def at_times(input: Any, at: Any) -> Any:
    """Some times, or one."""
    time, *rest = at if isinstance(at, tuple) else (at,)
    if not isinstance(time, int | slice) or isinstance(time, bool) or any(v is None or v is Ellipsis for v in rest):
        return NotImplemented
    if rest and rest[0] != slice(None):
        return NotImplemented
    y = apply(Tensor.__getitem__, (input.of, (slice(None), time, *rest[1:])), {})
    if isinstance(time, int):
        return y
    return Turned(y) if isinstance(y, Delta) and 1 in y.axes else _whole(y).transpose(0, 1)
