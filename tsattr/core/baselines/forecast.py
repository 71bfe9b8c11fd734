"""How a causal baseline goes on from a time: what WinIT and its family put in the place of a feature's recent past.

A bound causal baseline may have, beside ``fill``, a verb ``ahead(known) -> Ahead`` and ``nested = True``, which says that
what it puts at a time does not depend on how far the gap goes on. Then a window is filled without building the whole row,
and one draw from a start serves every prediction time after it. One that has only ``fill`` serves as well, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..bound import Ahead, BoundBaseline
from ..keys import Key


def noise(key: Key, start: Tensor, length: int, times: int, channels: Sequence[tuple[str, int]]) -> Tensor:
    """N(0, 1) of shape (r, length, \\*channels), which depends on seed, sample, draw and start alone.

    `channels` are names and sizes of the event's dims without time, in their order; numbers are drawn in the order of the
    names, so that transposing the input only transposes them.
    """
    order = sorted(range(len(channels)), key=lambda c: channels[c][0])
    shape = (times, length, *(channels[c][1] for c in order))
    # The table of a (sample, draw) holds the numbers of all its starts: making a generator costs more than they do.
    pairs: dict[tuple[int, int], int] = {}
    tables: list[np.ndarray] = []
    index = []
    for row, pair in enumerate(zip(key.sample.tolist(), key.draw.tolist())):
        if pair not in pairs:
            pairs[pair] = len(tables)
            tables.append(key.rng(row).standard_normal(shape))
        index.append(pairs[pair])
    back = [0, *(1 + int(a) for a in np.argsort(order))]
    values = np.stack(tables)[np.asarray(index), start.cpu().numpy()]
    return torch.as_tensor(values).permute(0, *(1 + b for b in back)).to(start.device)


def window(x: Tensor, i: Tensor, start: Tensor, length: int) -> Tensor:
    """Cells start .. start + length of sample `i` of `x` (n, times, ...), the last cell repeated beyond the end."""
    at = start[:, None] + torch.arange(length, device=x.device)
    return x[i[:, None], at.clamp(max=x.shape[1] - 1)]


def ahead_of(bound: BoundBaseline, known: Tensor, axis: int) -> Ahead:
    """The `Ahead` of a causal baseline: its own, or one made of its values or its ``fill``; `axis` is the time axis of `known`."""
    ahead = bound.ahead(known)
    if ahead is not None:
        return ahead
    return _AheadByFill(bound, known, axis) if bound.conditional else _AheadByValues(bound, known, axis)


class _AheadByValues:
    """The `Ahead` of a baseline that is not conditional: its values are computed once for each (sample, draw)."""

    def __init__(self, bound: BoundBaseline, known: Tensor, axis: int) -> None:
        self.bound, self.known, self.axis = bound, known, axis

    def __call__(self, i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
        first, own = key.distinct(i)
        full = self.bound.full(self.known[i[first]], key.at(first))
        full = full.expand(len(first), *self.known.shape[1:]).movedim(self.axis, 1)
        return window(full, own, start, length)


class _AheadByFill:
    """The `Ahead` of any other: whole rows are filled."""

    def __init__(self, bound: BoundBaseline, known: Tensor, axis: int) -> None:
        self.bound, self.known, self.axis = bound, known, axis

    def __call__(self, i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
        rows = self.known[i]
        time = torch.arange(rows.shape[self.axis], device=rows.device)
        inside = (time >= start[:, None]) & (time < start[:, None] + length)
        inside = inside.reshape(len(rows), -1, *[1] * (absent.ndim - 1)).movedim(1, self.axis)
        filled = self.bound.fill(rows, inside & absent.unsqueeze(self.axis), key)
        if filled.shape != rows.shape:
            raise ValueError(
                f"baseline {self.bound!r} gave shape {tuple(filled.shape)} for rows of shape {tuple(rows.shape)}"
            )
        return window(filled.movedim(self.axis, 1), torch.arange(len(rows), device=rows.device), start, length)


def fill_gaps(x: Tensor, absent: Tensor, axis: int, key: Key, after: Callable[[Tensor, int, Key], Tensor]) -> Tensor:
    """Fill any pattern of gaps from the past, gap by gap in the order of their starts.

    ``after(rows, start, key)`` gives values (r, some times, \\*channels) from `start` on for rows (r, \\*event), of which it
    uses what comes before `start`; what was filled earlier is part of that. A gap that goes on longer is continued.
    """
    out = torch.where(absent, torch.nan, x).movedim(axis, 1).clone()
    gaps = absent.expand_as(x).movedim(axis, 1)
    begins = gaps & ~torch.nn.functional.pad(gaps, (0, 0) * (gaps.ndim - 2) + (1, 0))[:, :-1]
    for start in range(out.shape[1]):
        rows = begins[:, start].reshape(len(out), -1).any(1).nonzero()[:, 0]
        if not len(rows):
            continue
        values = after(out[rows].movedim(1, axis), start, key.at(rows))[:, : out.shape[1] - start]
        length = values.shape[1]
        run = gaps[rows, start : start + length].cumprod(1).bool() & begins[rows, start, None]
        out[rows, start : start + length] = torch.where(run, values.to(out.dtype), out[rows, start : start + length])
        if start + length < out.shape[1]:
            begins[rows, start + length] |= run[:, -1] & gaps[rows, start + length]
    return out.movedim(1, axis)
