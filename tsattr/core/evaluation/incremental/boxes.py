"""Boxes of one size, one for each row, along some axes of a tensor: cut out, moved, held together.

Starts are numpy arrays, as the geometry is worked out beside the device that holds the cells, and does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Starts = tuple[np.ndarray, ...]  # int64 (rows,) for each boxed axis


def laid(cells: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Cells (rows, ...) with the boxed axes first after the rows, contiguous: (rows, *boxed, *others)."""
    return cells.permute(_order(cells.ndim, axes)).contiguous()


def unlaid(cells: Tensor, axes: tuple[int, ...]) -> Tensor:
    """What :func:`laid` laid, with its axes where they were."""
    return cells.permute(np.argsort(_order(cells.ndim, axes)).tolist())


def _order(ndim: int, axes: tuple[int, ...]) -> list[int]:
    return [0, *axes, *(a for a in range(1, ndim) if a not in axes)]


def places(start: Starts, size: Sequence[int], length: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell of each box (rows, *size) its place in a row that is laid flat, and whether it lies inside; edges for outside."""
    rows = len(start[0])
    place, inside = np.zeros(rows, np.int64), np.ones(rows, bool)
    for s, w, n in zip(start, size, length):
        at = s[:, None] + np.arange(w)
        shape = (rows, *[1] * (place.ndim - 1), w)
        place = place[..., None] * n + at.clip(0, n - 1).reshape(shape)
        inside = inside[..., None] & ((at >= 0) & (at < n)).reshape(shape)
    return place, inside


def cut(cells: Tensor, row: np.ndarray, start: Starts, size: Sequence[int], fill: float | None = None) -> Tensor:
    """Boxes (rows, *size, *others) of rows `row` of what is laid (n, *length, *others), `fill` outside; None: cells of the edge."""
    axes = len(start)
    length = cells.shape[1 : 1 + axes]
    place, inside = places(start, size, length)
    at = row.reshape(-1, *[1] * axes) * int(np.prod(length)) + place
    found = cells.flatten(0, axes).index_select(0, tensor(at.reshape(-1), cells.device))
    if fill is not None and not inside.all():
        found.index_fill_(0, tensor(np.flatnonzero(~inside), cells.device), fill)
    return found.reshape(*at.shape, *cells.shape[1 + axes :])


def moved(cells: Tensor, axes: tuple[int, ...], offset: Starts, size: Sequence[int]) -> Tensor:
    """Cells (rows, ...) laid at an offset of each row in a box of another size along the axes, 0 elsewhere; what sticks out is cut."""
    if all(o.min() == o.max() for o in offset):
        before = [int(o[0]) for o in offset]
        after = [n - b - cells.shape[a] for a, b, n in zip(axes, before, size)]
        if not any(before) and not any(after):
            return cells
        if all(min(b, a) + cells.shape[axis] > 0 for axis, b, a in zip(axes, before, after)):
            pads = [0, 0] * (cells.ndim - 1 - len(axes))
            for b, a in zip(reversed(before), reversed(after)):
                pads += [b, a]
            return unlaid(F.pad(cells.permute(_order(cells.ndim, axes)), pads), axes)
    found = cut(laid(cells, axes), np.arange(len(cells)), tuple(-o for o in offset), size, 0.0)
    return unlaid(found, axes)


def inside(cells: Tensor, axes: tuple[int, ...], start: Starts, length: Sequence[int], *, own: bool = True) -> Tensor:
    """Cells (rows, ...) of boxes, 0 where a box sticks out of the length; `own` says that they may be written into."""
    size = [cells.shape[a] for a in axes]
    out = np.logical_or.reduce([(s < 0) | (s + w > n) for s, w, n in zip(start, size, length)])
    if not out.any():
        return cells
    rows = np.flatnonzero(out)  # few as a rule
    within = places(tuple(s[rows] for s in start), size, length)[1]
    cells = cells if own else cells.clone()
    order = cells.permute(_order(cells.ndim, axes))
    if order.is_contiguous():
        place = np.arange(math.prod(size)).reshape(size) + rows.reshape(-1, *[1] * len(size)) * math.prod(size)
        order.flatten(0, len(axes)).index_fill_(0, tensor(place[~within], cells.device), 0)
        return cells
    keep = tensor(within, cells.device).reshape(*within.shape, *[1] * (cells.ndim - within.ndim))
    where = tensor(rows, cells.device)
    return cells.index_copy_(0, where, torch.where(unlaid(keep, axes), cells.index_select(0, where), 0))


def union(starts: Sequence[Starts], sizes: Sequence[Sequence[int]]) -> tuple[Starts, list[int]]:
    """The start and the one size of boxes that hold all of some."""
    start = tuple(np.minimum.reduce(list(each)) for each in zip(*starts))
    stops = [[s + w for s, w in zip(start_, size)] for start_, size in zip(starts, sizes)]
    stop = [np.maximum.reduce(list(each)) for each in zip(*stops)]
    return start, [int((e - s).max()) for s, e in zip(start, stop)]


def same(start: Starts, other: Starts) -> bool:
    """True where boxes begin at the same cells."""
    return all(a is b or np.array_equal(a, b) for a, b in zip(start, other))


def tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """An array of numpy on a device."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
