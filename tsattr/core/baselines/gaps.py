"""Baselines that fill a gap from its present neighbours along one dim: the last value held, a straight line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Ahead
from ..keys import Key
from .fills import Baseline, Causal, Conditional


@dataclass(frozen=True)
class Hold(Baseline):
    """The last value before the gap: ``x'_t = x_s``, s the last time before t that is present. Causal.

    Parameters
    ----------
    dim
        The dim to hold along.
    otherwise
        Where nothing earlier is present; so the end point of a path is this constant. None: 0, but methods on prefixes (WinIT
        and its family) leave the first value as it is, as nothing was known that could be lost, and hold it from there on.
    """

    sentence: ClassVar[str] = "the last value before the gap"
    note: ClassVar[str] = "Gaps are filled with the last value before them: a cell that repeats it gets nothing."
    dim: str = "time"
    otherwise: float | None = None

    def _bind(self, axes: Axes) -> Causal:
        axis = 1 + axes.axis(axes.called(self.dim))
        constant = 0.0 if self.otherwise is None else self.otherwise

        def last_value(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            return torch.where(before >= 0, lines[row, before.clamp(min=0)], constant)

        def ahead(known: Tensor) -> Ahead:
            series = known.movedim(axis, 1)
            steps = torch.arange(series.shape[1], device=known.device).reshape(1, -1, *[1] * (series.ndim - 2))
            last = torch.where(torch.isnan(series), -1, steps).cummax(1).values
            first = (last >= 0).int().argmax(1, keepdim=True)  # which stays, where a series begins within the gap
            opening = series.gather(1, first)

            def values(i: Tensor, start: Tensor, length: int, absent: Tensor, key: Key) -> Tensor:
                at = last[i, start - 1]
                value = series[i].gather(1, at.clamp(min=0)[:, None])
                time = start[:, None] + torch.arange(length, device=start.device)
                begun = time.reshape(*time.shape, *[1] * (series.ndim - 2)) > first[i]
                otherwise = torch.where(begun, opening[i], torch.nan) if self.otherwise is None else self.otherwise
                return torch.where(at[:, None] >= 0, value, otherwise).expand(-1, length, *value.shape[2:])

            return values

        return Causal(
            lambda x, absent, key: fill_lines(x, absent, axis, last_value), ahead, begins=self.otherwise is not None
        )


@dataclass(frozen=True)
class Bridge(Baseline):
    """The straight line across the gap, by coordinate: exact for a linear series, and continuous.

    ``x'_t = x_s + (t - s) / (e - s) (x_e - x_s)`` with s and e the nearest present neighbours. A gap that reaches an edge
    takes the nearest present value.

    Parameters
    ----------
    dim
        The dim to interpolate along.
    otherwise
        Where nothing along the dim is present; so the end point of a path is this constant.
    """

    sentence: ClassVar[str] = "a straight line across the gap"
    note: ClassVar[str] = (
        "Gaps are bridged by straight lines: slow change survives removal, only what departs from the line is credited."
    )
    dim: str = "time"
    otherwise: float = 0.0

    def _bind(self, axes: Axes) -> Conditional:
        dim = axes.called(self.dim)
        axis, n, where = 1 + axes.axis(dim), axes.shape[axes.axis(dim)], axes.line(dim)

        def line(lines: Tensor, row: Tensor, cell: Tensor, before: Tensor, after: Tensor) -> Tensor:
            p = torch.as_tensor(where, device=lines.device)
            # At an edge both ends are the only neighbour, and the share between them does not matter.
            left = torch.where(before >= 0, before, after).clamp(max=n - 1)
            right = torch.where(after < n, after, before).clamp(min=0)
            share = torch.where(right > left, (p[cell] - p[left]) / (p[right] - p[left]), 0).to(lines.dtype)
            values = torch.lerp(lines[row, left], lines[row, right], share)
            return torch.where((before >= 0) | (after < n), values, self.otherwise)

        return Conditional(lambda x, absent, key: fill_lines(x, absent, axis, line))


def fill_lines(x: Tensor, absent: Tensor, axis: int, value: Callable[..., Tensor]) -> Tensor:
    """`x` with the absent cells of each line along `axis` filled from its nearest present cells; only lines with gaps are computed.

    ``value(lines, row, cell, before, after)`` gives the value of each absent cell: `before` and `after` are the cells of
    its nearest present neighbours, -1 and n where there is none.
    """
    n = x.shape[axis]
    out = x.movedim(axis, -1).reshape(-1, n)
    if out.data_ptr() == x.data_ptr():
        out = out.clone()
    absent_lines = absent.expand_as(x).movedim(axis, -1).reshape(-1, n)
    touched = absent_lines.any(1).nonzero()[:, 0]
    lines, absent_lines = out[touched], absent_lines[touched]
    row, cell = absent_lines.nonzero(as_tuple=True)
    unknown = absent_lines | torch.isnan(lines)
    index = torch.arange(n, device=x.device, dtype=torch.int32)
    before = torch.where(unknown, -1, index).cummax(1).values[row, cell].long()
    after = torch.where(unknown, n, index).flip(1).cummin(1).values[row, n - 1 - cell].long()
    out[touched[row], cell] = value(lines, row, cell, before, after)
    return out.reshape(x.movedim(axis, -1).shape).movedim(-1, axis)
