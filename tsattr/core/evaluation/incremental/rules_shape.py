"""Rules of what moves cells about: padding, cutting, joining, turning, resampling, flattening."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import boxes
from .delta import Delta, Flat, Func, Turned, called, deltas, intact, rule, settled

# ---- along boxed axes


def resampled(x: Delta, axis: int, source: np.ndarray, change: Tensor, start: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """The change, and where its boxes begin, of cells that lie at `source` along an axis of which each row's box begins at `start`.

    A source between two cells is the mean of both, weighted by nearness; NaN is a cell that depends on none.
    """
    w = change.shape[axis]
    reached = (source > start[:, None] - 1) & (source < start[:, None] + w)
    first = reached.argmax(1)
    last = np.where(reached.any(1), source.size - 1 - reached[:, ::-1].argmax(1), first)
    j = first[:, None] + np.arange(int((last - first).max()) + 1)
    at = np.where(j < source.size, source[j.clip(max=source.size - 1)], np.nan)
    known = np.isfinite(at)
    lower = np.floor(np.where(known, at, -2)).astype(np.int64)
    share = np.where(known, at - lower, 0.0)
    rows, cells = np.arange(len(change)), boxes.laid(change, (axis,))
    found = _taken(cells, rows, lower - start[:, None], np.where(known, 1 - share, 0.0))
    if (share > 0).any():
        found = found + _taken(cells, rows, lower + 1 - start[:, None], share)
    return boxes.unlaid(found, (axis,)), first.astype(np.int64)


def _taken(cells: Tensor, rows: np.ndarray, at: np.ndarray, share: np.ndarray) -> Tensor:
    """Cells (rows, w, ...) at places (rows, m) of each row, times a share, 0 outside."""
    w = cells.shape[1]
    share = np.where((at >= 0) & (at < w), share, 0.0)
    place = rows[:, None] * w + at.clip(0, w - 1)
    found = cells.flatten(0, 1).index_select(0, boxes.tensor(place.reshape(-1), cells.device))
    found = found.reshape(*at.shape, *cells.shape[2:])
    if (share == 1).all():
        return found
    return found * boxes.tensor(share, cells.device).to(cells.dtype).reshape(*at.shape, *[1] * (cells.ndim - 2))


def _along_axes(func: Func, x: Delta, sources: dict[int, np.ndarray], *args: Any, **kwargs: Any) -> Any:
    """A function that resamples along axes, from where each cell of the result comes along each boxed one."""
    base = intact(func, x, *args, **kwargs)[0]
    x = x.clipped()
    change, start = x.change, list(x.start)
    for k, axis in enumerate(x.axes):
        if axis in sources:
            change, start[k] = resampled(x, axis, sources[axis], change, start[k])
    return settled(Delta(x.rows, base, x.axes, tuple(start), change=change))


def _ramp(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


@rule(F.pad)
def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """Zeros or another constant beside the boxes; copies of cells, for which a box grows."""
    if not isinstance(input, Delta) or (mode != "constant" and len(pad) != 2 * (input.dim() - 2)):
        return NotImplemented
    padded = {input.dim() - 1 - k: tuple(pad[2 * k : 2 * k + 2]) for k in range(len(pad) // 2)}
    if any(padded[a] != (0, 0) and a not in input.axes for a in padded):
        return NotImplemented if 0 in padded and any(padded[0]) else _padded_beside(input, pad, mode, value, padded)
    return _padded(input, pad, mode, value, padded)


def _padded(x: Delta, pads: Any, mode: str, value: Any, padded: dict[int, tuple[int, int]]) -> Any:
    if mode == "constant":
        base = intact(F.pad, x, pads, mode, value)[0]
        start = tuple(s + padded.get(a, (0, 0))[0] for a, s in zip(x.axes, x.start))
        cells = x.change
        if any(low < 0 or high < 0 for low, high in padded.values()):
            cells = boxes.inside(cells, x.axes, start, [base.cells.shape[a] for a in x.axes], own=False)
        return Delta(x.rows, base, x.axes, start, change=cells)
    sources = {a: F.pad(_ramp(x.shape[a])[None, None], padded[a], mode)[0, 0].numpy() for a in x.axes if a in padded}
    return _along_axes(F.pad, x, sources, pads, mode, value)


def _padded_beside(x: Delta, pads: Any, mode: str, value: Any, padded: dict[int, tuple[int, int]]) -> Any:
    """Along axes without boxes too: there what the boxes hold is padded as whole rows are, their change with 0 for a constant."""
    shown = [0 if x.dim() - 1 - k // 2 in x.axes else v for k, v in enumerate(pads)]
    x = x.clipped()
    change = F.pad(x.change, shown) if mode == "constant" else F.pad(x.change, shown, mode)
    middle = Delta(x.rows, intact(F.pad, x, shown, mode, value)[0], x.axes, x.start, change=change)
    rest = [v if x.dim() - 1 - k // 2 in x.axes else 0 for k, v in enumerate(pads)]
    return _padded(middle, rest, mode, value, {a: v if a in x.axes else (0, 0) for a, v in padded.items()})


@rule(F.interpolate)
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Any:
    """To the nearest cell, or linearly along each axis."""
    linear = mode in ("linear", "bilinear", "trilinear")
    if not isinstance(input, Delta) or antialias or not (linear or mode in ("nearest", "nearest-exact")):
        return NotImplemented
    x = input.widened([1])
    settings = (size, scale_factor, mode, align_corners, recompute_scale_factor)
    n = x.dim() - 2
    if len(x.axes) < n:
        return NotImplemented

    def along(axis: int) -> np.ndarray:
        def own(setting: Any) -> Any:
            return setting[axis - 2] if isinstance(setting, tuple | list) else setting

        kind = "linear" if linear else mode
        ramp = _ramp(x.shape[axis])[None, None]
        return F.interpolate(ramp, own(size), own(scale_factor), kind, align_corners, recompute_scale_factor)[
            0, 0
        ].numpy()

    return _along_axes(F.interpolate, x, {axis: along(axis) for axis in x.axes}, *settings)


# ---- cutting and joining


@rule(Tensor.__getitem__)
def getitem(input: Any, at: Any) -> Any:
    """Slices and places along any axis but that of the rows; new axes."""
    if not isinstance(input, Delta) or list(deltas(at)):
        return NotImplemented
    items = list(at) if isinstance(at, tuple) else [at]
    if any(not (v is None or v is Ellipsis or isinstance(v, int | slice)) or isinstance(v, bool) for v in items):
        return NotImplemented
    named = sum(v is not None and v is not Ellipsis for v in items)
    rest = [slice(None)] * (input.dim() - named)
    k = next((k for k, v in enumerate(items) if v is Ellipsis), len(items))
    items = items[:k] + rest + items[k + 1 :]
    if items[0] != slice(None) or any(v is Ellipsis for v in items):
        return NotImplemented
    return _sliced(input, items)


def _sliced(x: Delta, items: list[Any]) -> Any:
    own = [k for k, item in enumerate(items) if item is not None]  # of each axis its item
    if (axis := next((a for a in x.axes if not isinstance(items[own[a]], slice)), None)) is not None:
        k = own[axis]
        found = _at_place(x, axis, range(x.shape[axis])[items[k]])
        rest = (*items[:k], *items[k + 1 :])
        return getitem(found, rest) if isinstance(found, Delta) else found[rest]
    shown, axes, start, axis, out = [], [], list(x.start), 0, 0
    cuts: dict[int, slice] = {}
    for item in items:
        boxed = item is not None and axis in x.axes
        shown.append(slice(None) if boxed else item)
        if boxed:
            cuts[axis] = item
            axes.append(out)
        axis += item is not None
        out += not isinstance(item, int)
    base = intact(Tensor.__getitem__, x, tuple(items))[0]
    kind = "new" if x._change is None else "change"
    values = x.values
    for k, a in enumerate(x.axes):
        low, _, step = cuts[a].indices(x.shape[a])
        if step != 1:
            where = np.arange(x.shape[a], dtype=np.float64)[cuts[a]]
            values, start[k] = resampled(x, a, where, x.change if kind == "new" else values, start[k])
            kind = "change"
        else:
            start[k] = start[k] - low
    values = values[tuple(shown)]
    cut = any(each != slice(None) for each in cuts.values())
    if kind == "change" and cut:
        values = boxes.inside(values, tuple(axes), tuple(start), [base.cells.shape[a] for a in axes], own=False)
    found = Delta(x.rows, base, tuple(axes), tuple(start), source=x, **{kind: values})
    found.part = None if cut else (x, tuple(shown))  # parts of channels share what is new in all of them
    return found


def _at_place(x: Delta, axis: int, place: int) -> Delta | Tensor:
    """One place of a boxed axis; whole rows where it is the only one."""
    k = x.axes.index(axis)
    at, w = place - x.start[k], x.box[k]
    within = (at >= 0) & (at < w)
    if (at == at[0]).all():
        values = x.values.select(axis, int(at[0].clip(0, w - 1)))
    else:
        cells = boxes.laid(x.values, (axis,))
        values = boxes.unlaid(boxes.cut(cells, np.arange(len(cells)), (at,), [1]), (axis,)).squeeze(axis)
    base = intact(torch.select, x, axis, place)[0]
    axes = tuple(a - (a > axis) for a in x.axes if a != axis)
    start = tuple(s for a, s in zip(x.axes, x.start) if a != axis)
    keep = boxes.tensor(within, x.device).reshape(-1, *[1] * (values.ndim - 1))
    if axes:
        found = Delta(x.rows, base, axes, start, source=x, **x.held(values))
        return found if within.all() else found.like(base, change=torch.where(keep, found.change, 0), source=x)
    known = base.cells.index_select(0, x.rows.index)
    values = values if x._change is None else known + values
    rows = values.clone() if within.all() else torch.where(keep, values, known)
    x.memory.views.append((rows, rows._version))
    return rows


@rule(*called("narrow"))
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """A slice."""
    at = [slice(None)] * input.dim()
    at[dim] = slice(start, start + length)
    return getitem(input, tuple(at)) if isinstance(start, int) else NotImplemented


@rule(*called("select"))
def select(input: Any, dim: int, index: int) -> Any:
    """One place of an axis."""
    at: list[Any] = [slice(None)] * input.dim()
    at[dim] = index
    return getitem(input, tuple(at))


@rule(*called("chunk"))
def chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    """Parts of equal size."""
    return split(input, -(-input.shape[dim] // chunks), dim)


@rule(*called("split"))
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    """Parts along an axis."""
    n = tensor.shape[dim]
    sizes = split_size_or_sections
    sizes = [min(sizes, n - at) for at in range(0, n, sizes)] if isinstance(sizes, int) else list(sizes)
    if not isinstance(tensor, Delta) or dim % tensor.dim() == 0:
        return NotImplemented
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(narrow(tensor, dim, at, size) for at, size in zip(ends, sizes))


@rule(*called("cat", "concat", "concatenate"))
def cat(tensors: Any, dim: int = 0) -> Any:
    """Along an axis without boxes."""
    if not all(isinstance(x, Delta) and x.dim() == tensors[0].dim() for x in tensors):
        return NotImplemented
    dim = dim % tensors[0].dim()
    common = set.intersection(*(set(x.axes) for x in tensors)) - {dim}
    parts = [x.widened(set(x.axes) - common) for x in tensors]
    first = parts[0]
    if dim == 0 or not common or any(x.axes != first.axes for x in parts):
        return NotImplemented
    base = intact(torch.cat, list(parts), dim)[0]
    start, size = boxes.union([x.start for x in parts], [x.box for x in parts])
    change = torch.cat([x.change_in(start, size) for x in parts], dim)
    return settled(Delta(first.rows, base, first.axes, start, change=change))


# ---- turning


def _turning(func: Func) -> Func:
    """The rule of a function that only permutes axes, or adds and drops some of size 1."""

    def turned(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Delta):
            return NotImplemented
        marks = [1 if n == 1 and a not in input.axes and a else a + 2 for a, n in enumerate(input.shape)]
        found = list(func(torch.empty(marks, device="meta"), *args, **kwargs).shape)
        if len(found) > 1 and found[1] == 2 and found[0] - 2 in input.axes:
            y = _rows_first(input, func, *args, **kwargs)
            return Turned(y) if isinstance(y, Delta) else y
        if found[0] != 2 or any(a + 2 not in found for a in input.axes):
            return NotImplemented
        order = sorted(range(len(input.axes)), key=lambda k: found.index(input.axes[k] + 2))
        return Delta(
            input.rows,
            intact(func, input, *args, **kwargs)[0],
            tuple(found.index(input.axes[k] + 2) for k in order),
            tuple(input.start[k] for k in order),
            source=input,
            **input.held(func(input.values, *args, **kwargs)),
        )

    return turned


def _turned_back(x: Tensor, func: Func, *args: Any, **kwargs: Any) -> Any:
    """A function that gives the rows second, and then rows first."""
    return func(x, *args, **kwargs).transpose(0, 1)


def _turned_before(x: Tensor, func: Func, *args: Any, **kwargs: Any) -> Any:
    """A function of rows that come second."""
    return func(x.transpose(0, 1), *args, **kwargs)


_rows_first = _turning(_turned_back)


def _turning_again(func: Func) -> Func:
    turn = _turning(_turned_before)
    return lambda input, *args, **kwargs: turn(input.of, func, *args, **kwargs)


for _func in called("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "unsqueeze", "squeeze"):
    rule(_func)(_turning(_func))
    Turned.rules(_func)(_turning_again(_func))


def _reshaped(x: Delta, shape: list[int]) -> Any:
    """Rows of another shape: the boxed axes stay where only the axes before or after them are laid together or apart."""
    if shape.count(-1) > 1 or (shape[0] not in (-1, len(x))):
        return NotImplemented
    known = math.prod(n for n in shape if n != -1)
    shape = [x.numel() // known if n == -1 else n for n in shape]
    own = list(x.shape)
    if math.prod(shape) != x.numel() or shape[0] != own[0]:
        return NotImplemented
    if len(shape) == 2 and shape != own:
        return Flat(x, intact(_with_shape, x, [-1])[0])
    before = next((k for k, (a, b) in enumerate(zip(own, shape)) if a != b), min(len(own), len(shape)))
    after = next((k for k, (a, b) in enumerate(zip(own[::-1], shape[::-1])) if a != b), 0)
    if any(before <= a < len(own) - after for a in x.axes):
        return NotImplemented
    axes = tuple(a if a < before else a + len(shape) - len(own) for a in x.axes)
    inner = list(shape)
    for a, w in zip(axes, x.box):
        inner[a] = w
    base = intact(_with_shape, x, shape[1:])[0]
    return Delta(x.rows, base, axes, x.start, source=x, **x.held(x.values.reshape(inner)))


def _with_shape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(len(x), *shape)


@rule(*called("reshape", "view"), flat=True)
def reshape(input: Any, *shape: Any) -> Any:
    """See :func:`_reshaped`; flat rows as they were before."""
    sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else list(shape)
    if not isinstance(input, Delta) or not all(isinstance(n, int) for n in sizes):
        return NotImplemented
    if isinstance(input, Flat):
        own = input.of.shape
        back = len(sizes) == len(own) and sizes[0] in (-1, own[0]) and tuple(sizes[1:]) == tuple(own[1:])
        return input.of if back else NotImplemented
    return _reshaped(input, sizes)


@rule(*called("flatten"))
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes laid together; of all but the rows, a `Flat`."""
    start, end = start_dim % input.dim(), end_dim % input.dim()
    shape = list(input.shape)
    return _reshaped(input, [*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]])
